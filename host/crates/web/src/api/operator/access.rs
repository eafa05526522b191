//! Freezing and thawing: users, merchants, API keys and devices.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::access::Holder;
use koban_domain::ids::{KeyId, MerchantId, UserId};
use koban_service::{App, freezes, merchants, users};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::api::KeyHeader;
use crate::api::merchant::MerchantBody;
use crate::api::users::UserBody;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::Id;
use crate::problem::Problem;

/// Routes of freezing.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(user)).routes(routes!(merchant)).routes(routes!(key)).routes(routes!(device))
}

/// Whether somebody may deal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessRequest {
    /// `true` freezes from the next commit on, `false` lets them go on.
    frozen: bool,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "the phone was stolen")]
    reason: Line,
}

/// Whether a device may be used.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceAccessRequest {
    /// The device, as requests name it in `Koban-Device`.
    #[schema(value_type = String, example = "phone-7")]
    device: Line,
    /// `true` freezes from the next commit on, `false` lets it be used again.
    frozen: bool,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "the phone was stolen")]
    reason: Line,
}

/// Freeze a user, or let them go on.
///
/// A frozen user neither pays nor sends nor receives transfers nor begins charges. What was authorised is captured, what is
/// given back and what has arrived is taken.
#[utoipa::path(put, path = "/v1/operator/users/{id}/access", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), KeyHeader),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn user(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<UserId>,
    Json(body): Json<AccessRequest>,
) -> Result<Done<UserBody>, Problem> {
    let done = freezes::set(&app, &operator.ctx(key), Holder::User(id), body.frozen, &body.reason.0).await?;
    Ok(Done::answered(done.with(users::get(&app, id).await?)))
}

/// Freeze a merchant, or let it go on.
///
/// A frozen merchant gets no payments and captures nothing. Refunds go on.
#[utoipa::path(put, path = "/v1/operator/merchants/{id}/access", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id."), KeyHeader),
    responses((status = 200, body = MerchantBody)))]
pub(crate) async fn merchant(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<MerchantId>,
    Json(body): Json<AccessRequest>,
) -> Result<Done<MerchantBody>, Problem> {
    let done = freezes::set(&app, &operator.ctx(key), Holder::Merchant(id), body.frozen, &body.reason.0).await?;
    Ok(Done::answered(done.with(merchants::get(&app, id).await?)))
}

/// Freeze an API key, or let it be used again.
#[utoipa::path(put, path = "/v1/operator/keys/{id}/access", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 204, description = "It binds from the next commit on.")))]
pub(crate) async fn key(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<KeyId>,
    Json(body): Json<AccessRequest>,
) -> Result<StatusCode, Problem> {
    freezes::set_key(&app, &operator.reading(), id, body.frozen, &body.reason.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Freeze a device, or let it be used again.
#[utoipa::path(put, path = "/v1/operator/devices/access", tag = "operator", security(("operator" = [])),
    responses((status = 204, description = "It binds from the next commit on.")))]
pub(crate) async fn device(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<DeviceAccessRequest>,
) -> Result<StatusCode, Problem> {
    freezes::set_device(&app, &operator.reading(), &body.device.0, body.frozen, &body.reason.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
