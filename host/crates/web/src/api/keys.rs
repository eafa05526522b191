//! A merchant's API keys.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::ids::{KeyId, MerchantId};
use koban_service::App;
use koban_service::keys::{self, KeyView, NewKey, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::{MerchantKey, WriteKeys};
use crate::json::{Created, Json};
use crate::place::{Id, PageBody};
use crate::problem::Problem;

/// Routes of a merchant's keys.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(rotate)).routes(routes!(revoke))
}

/// What a key is made from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// What you call it, 1 to 60 characters.
    #[schema(value_type = String, example = "till 1")]
    name: Line,
    /// What it may do: `payments:read`, `payments:capture`, `payments:refund`, `keys:write`, `webhooks:write`. No more than the key
    /// that makes it.
    #[schema(value_type = Vec<String>, example = json!(["payments:read", "payments:refund"]))]
    scopes: BTreeSet<Scope>,
}

impl From<KeyRequest> for NewKey {
    fn from(body: KeyRequest) -> NewKey {
        NewKey { name: body.name.0, scopes: body.scopes }
    }
}

/// How long the old key goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// Seconds that the old key goes on beside the new one, at most seven days.
    #[schema(minimum = 0, maximum = 604_800, example = 3600)]
    overlap_s: u32,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyBody {
    /// Which.
    #[schema(value_type = String, example = "key_019a3f0c7b2e7c41a5d3000000000000")]
    id: KeyId,
    /// Whose.
    #[schema(value_type = String)]
    merchant: MerchantId,
    /// What the merchant calls it.
    name: String,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<Scope>,
    /// Since when.
    created_at: String,
    /// Until when, if it was rotated.
    expires_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
}

impl From<KeyView> for KeyBody {
    fn from(key: KeyView) -> KeyBody {
        KeyBody {
            id: key.id,
            merchant: key.merchant,
            name: key.name,
            scopes: key.scopes,
            created_at: moment(key.created_at),
            expires_at: key.expires_at.map(moment),
            revoked_at: key.revoked_at.map(moment),
        }
    }
}

/// A new key with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewKey)]
pub(crate) struct NewKeyBody {
    /// The key.
    key: KeyBody,
    /// Send it as `Authorization: Bearer …`. It is shown once; keep it where secrets are kept.
    #[schema(example = "kbn_live_…")]
    secret: String,
}

impl From<(KeyView, String)> for NewKeyBody {
    fn from((key, secret): (KeyView, String)) -> NewKeyBody {
        NewKeyBody { key: key.into(), secret }
    }
}

/// The merchant's keys, newest first.
#[utoipa::path(get, path = "/v1/merchant/keys", tag = "merchant", security(("api_key" = ["keys:write"])),
    responses((status = 200, body = PageBody<KeyBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    key: MerchantKey<WriteKeys>,
) -> Result<Json<PageBody<KeyBody>>, Problem> {
    Ok(Json(PageBody::whole(keys::list(&app, &key.reading(), key.merchant).await?)))
}

/// Make a key.
#[utoipa::path(post, path = "/v1/merchant/keys", tag = "merchant", security(("api_key" = ["keys:write"])),
    responses((status = 201, body = NewKeyBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    key: MerchantKey<WriteKeys>,
    Json(body): Json<KeyRequest>,
) -> Result<Created<NewKeyBody>, Problem> {
    key.check_grants(&body.scopes)?;
    let made = keys::create(&app, &key.reading(), key.merchant, body.into()).await?;
    Ok(Created::new("/v1/merchant/keys".to_owned(), made.into()))
}

/// Replace a key.
///
/// The new key has the old one's name and scopes; the old one goes on for the overlap, so that no request fails meanwhile. A merchant
/// has at most 50 live keys; a key that has expired or is revoked cannot be replaced.
#[utoipa::path(post, path = "/v1/merchant/keys/{id}/rotate", tag = "merchant", security(("api_key" = ["keys:write"])),
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 201, body = NewKeyBody)))]
pub(crate) async fn rotate(
    State(app): State<App>,
    key: MerchantKey<WriteKeys>,
    Id(id): Id<KeyId>,
    Json(body): Json<RotateRequest>,
) -> Result<Created<NewKeyBody>, Problem> {
    key.check_grants(&keys::get(&app, &key.reading(), key.merchant, id).await?.scopes)?;
    let made = keys::rotate(&app, &key.reading(), key.merchant, id, body.overlap_s).await?;
    Ok(Created::new("/v1/merchant/keys".to_owned(), made.into()))
}

/// Revoke a key at once.
#[utoipa::path(delete, path = "/v1/merchant/keys/{id}", tag = "merchant", security(("api_key" = ["keys:write"])),
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 204, description = "The key is worth nothing any more.")))]
pub(crate) async fn revoke(
    State(app): State<App>,
    key: MerchantKey<WriteKeys>,
    Id(id): Id<KeyId>,
) -> Result<StatusCode, Problem> {
    keys::revoke(&app, &key.reading(), key.merchant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
