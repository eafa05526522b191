//! What happens to payments when the fraud rules fail.

use axum::extract::State;
use koban_domain::guest::Verdict;
use koban_domain::policy::FailurePolicy;
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

/// What happens to payments when the fraud rules give no verdict.
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
}

impl From<FailurePolicy> for PolicyBody {
    fn from(policy: FailurePolicy) -> PolicyBody {
        PolicyBody { on_fault: policy.on_fault, on_missing: policy.on_missing }
    }
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/operator/policy", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PolicyBody)))]
pub(crate) async fn get(State(app): State<App>, _: Operator) -> Result<Json<PolicyBody>, Problem> {
    Ok(Json(policy::get(&app).into()))
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
    policy::set(&app, &operator.reading(), wanted).await?;
    Ok(Json(policy::get(&app).into()))
}
