//! Merchants as operators make them, with their first keys.

use axum::extract::State;
use koban_domain::ids::MerchantId;
use koban_service::merchants::{self, NewMerchant};
use koban_service::{App, keys};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::api::keys::{KeyBody, KeyRequest, NewKeyBody};
use crate::api::merchant::{MerchantBody, OwnMerchantBody};
use crate::identity::Operator;
use crate::json::{Created, Json};
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of merchants, for operators.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get)).routes(routes!(create_key, list_keys))
}

/// What a merchant is made from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MerchantRequest {
    /// What payers see, 1 to 60 characters.
    #[schema(value_type = String, example = "喫茶こばん")]
    name: Line,
    /// The four digits of an ISO 18245 category code.
    #[schema(value_type = String, example = "5812")]
    category: Line,
}

/// Make a merchant that is paid in yen.
#[utoipa::path(post, path = "/v1/operator/merchants", tag = "operator", security(("operator" = [])),
    responses((status = 201, body = MerchantBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<MerchantRequest>,
) -> Result<Created<MerchantBody>, Problem> {
    let input = NewMerchant { name: body.name.0, category: body.category.0 };
    let merchant = MerchantBody::from(merchants::create(&app, &operator.reading(), input).await?);
    Ok(Created::new(format!("/v1/operator/merchants/{}", merchant.id), merchant))
}

/// Merchants, newest first.
#[utoipa::path(get, path = "/v1/operator/merchants", tag = "operator", security(("operator" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<MerchantBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<MerchantBody>>, Problem> {
    Ok(Json(PageBody::of(merchants::list(&app, &query.page()?).await?)))
}

/// One merchant, and what it is owed.
#[utoipa::path(get, path = "/v1/operator/merchants/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id.")),
    responses((status = 200, body = OwnMerchantBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<MerchantId>,
) -> Result<Json<OwnMerchantBody>, Problem> {
    let merchant = merchants::get(&app, id).await?;
    let balance = merchants::balance(&app, id).await?;
    Ok(Json((merchant, balance).into()))
}

/// Make a key for a merchant.
///
/// This is how a merchant gets its first key; with the scope `keys:write` it makes the others itself.
#[utoipa::path(post, path = "/v1/operator/merchants/{id}/keys", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id.")),
    responses((status = 201, body = NewKeyBody)))]
pub(crate) async fn create_key(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<MerchantId>,
    Json(body): Json<KeyRequest>,
) -> Result<Created<NewKeyBody>, Problem> {
    let made = keys::create(&app, &operator.reading(), id, body.into()).await?;
    Ok(Created::new(format!("/v1/operator/merchants/{id}/keys"), made.into()))
}

/// A merchant's keys, newest first.
#[utoipa::path(get, path = "/v1/operator/merchants/{id}/keys", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id.")),
    responses((status = 200, body = PageBody<KeyBody>)))]
pub(crate) async fn list_keys(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<MerchantId>,
) -> Result<Json<PageBody<KeyBody>>, Problem> {
    merchants::get(&app, id).await?;
    Ok(Json(PageBody::whole(keys::list(&app, &operator.reading(), id).await?)))
}
