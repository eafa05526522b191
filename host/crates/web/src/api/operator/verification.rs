//! What users submitted, and the operators' decision against them. The decision for them stands with the users.

use axum::extract::State;
use koban_domain::ids::UserId;
use koban_service::{App, users, verification};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::moment;
use crate::api::KeyHeader;
use crate::api::users::UserBody;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::Id;
use crate::problem::Problem;

/// Routes of verification.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(reject)).routes(routes!(revoke))
}

/// What a user submitted.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenedSubmission)]
pub(crate) struct SubmissionBody {
    /// The name in full.
    name: String,
    /// The day of birth.
    #[schema(example = "1990-04-01")]
    birth_date: String,
    /// Where they live.
    address: String,
    /// What the account is for.
    purpose: String,
    /// What they do for a living.
    occupation: String,
    /// When it was submitted.
    at: String,
}

/// What a user submitted last.
///
/// The look itself stands in the audit log.
#[utoipa::path(get, path = "/v1/operator/users/{id}/submission", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id.")),
    responses((status = 200, body = SubmissionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<UserId>,
) -> Result<Json<SubmissionBody>, Problem> {
    let (particulars, at) = verification::read(&app, &operator.reading(), id).await?;
    Ok(Json(SubmissionBody {
        name: particulars.name,
        birth_date: particulars.birth_date,
        address: particulars.address,
        purpose: particulars.purpose,
        occupation: particulars.occupation,
        at: moment(at),
    }))
}

/// Reject what a user submitted.
///
/// They may submit anew.
#[utoipa::path(post, path = "/v1/operator/users/{id}/verification/reject", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), KeyHeader),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn reject(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<UserId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<UserBody>, Problem> {
    let done = verification::reject(&app, &operator.ctx(key), id, &body.reason.0).await?;
    Ok(Done::answered(done.with(users::get(&app, id).await?)))
}

/// Take a verification back.
///
/// What is there may still be paid with; nothing is sent and nothing charged before the user is verified again.
#[utoipa::path(post, path = "/v1/operator/users/{id}/verification/revoke", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), KeyHeader),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<UserId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<UserBody>, Problem> {
    let done = verification::revoke(&app, &operator.ctx(key), id, &body.reason.0).await?;
    Ok(Done::answered(done.with(users::get(&app, id).await?)))
}
