//! Operators among themselves: who they are, their own password, and the end of one's account.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use koban_domain::ids::OperatorId;
use koban_service::{App, operators};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::api::me::PasswordRequest;
use crate::api::sessions::OperatorBody;
use crate::headers;
use crate::identity::Operator;
use crate::json::Json;
use crate::layers::Address;
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of operators' own accounts.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(remove)).routes(routes!(change_password))
}

/// Operators, newest first.
#[utoipa::path(get, path = "/v1/operator/operators", tag = "operator", security(("operator" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<OperatorBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<OperatorBody>>, Problem> {
    Ok(Json(PageBody::of(operators::list(&app, &operator.reading(), &query.page()?).await?)))
}

/// Remove an operator.
///
/// Their sessions end at once; what they did stays theirs in the audit log. The last operator cannot be removed.
#[utoipa::path(post, path = "/v1/operator/operators/{id}/removal", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The operator's id.")),
    responses((status = 204, description = "The operator is gone.")))]
pub(crate) async fn remove(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<OperatorId>,
    Json(body): Json<ReasonRequest>,
) -> Result<StatusCode, Problem> {
    operators::remove(&app, &operator.reading(), id, &body.reason.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change your own password.
///
/// Your other sessions end, this one goes on. Tries are limited like those of signing in.
#[utoipa::path(post, path = "/v1/operator/password", tag = "operator", security(("operator" = [])),
    responses((status = 204, description = "The new password holds.")))]
pub(crate) async fn change_password(
    State(web): State<Web>,
    State(app): State<App>,
    operator: Operator,
    Address(address): Address,
    headers: HeaderMap,
    Json(body): Json<PasswordRequest>,
) -> Result<StatusCode, Problem> {
    let ctx = operator.reading();
    web.limits.sign_in(address, &ctx.actor.to_string())?;
    operators::change_password(&app, &ctx, headers::bearer(&headers)?, body.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
