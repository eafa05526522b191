//! What happens to payments when the fraud rules fail, and how long reviews wait.

use axum::extract::State;
use koban_domain::guest::Verdict;
use koban_domain::policy::{FailurePolicy, ReviewPolicy};
use koban_service::{App, policy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::identity::Operator;
use crate::json::Json;
use crate::problem::Problem;

/// Routes of the policy.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get, put))
}

/// What operators decided beside limits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Policy)]
pub(crate) struct PolicyBody {
    /// A rule faulted: `allow`, `step-up` or `decline`.
    #[schema(value_type = String, example = "decline")]
    on_fault: Verdict,
    /// No rule is enabled: `allow`, `step-up` or `decline`.
    #[schema(value_type = String, example = "decline")]
    on_missing: Verdict,
    /// How many hours a payment or transfer waits for its review, 1 to 168. Left out, it stays as it is.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 168, example = 24)]
    review_hours: Option<u16>,
}

fn in_force(app: &App) -> PolicyBody {
    let FailurePolicy { on_fault, on_missing } = policy::get(app);
    PolicyBody { on_fault, on_missing, review_hours: Some(policy::review(app).hours) }
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/operator/policy", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PolicyBody)))]
pub(crate) async fn get(State(app): State<App>, _: Operator) -> Result<Json<PolicyBody>, Problem> {
    Ok(Json(in_force(&app)))
}

/// Set the policy.
#[utoipa::path(put, path = "/v1/operator/policy", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PolicyBody)))]
pub(crate) async fn put(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<PolicyBody>,
) -> Result<Json<PolicyBody>, Problem> {
    let wanted = FailurePolicy { on_fault: body.on_fault, on_missing: body.on_missing };
    let ctx = operator.reading();
    if let Some(hours) = body.review_hours {
        policy::set_review(&app, &ctx, ReviewPolicy { hours }).await?;
    }
    policy::set(&app, &ctx, wanted).await?;
    Ok(Json(in_force(&app)))
}
