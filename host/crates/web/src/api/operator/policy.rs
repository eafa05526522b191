//! What happens to payments when the fraud rules fail, how long reviews and disputes wait, when merchants are closed with, and what a rule
//! must have shown before it decides.

use axum::extract::State;
use koban_domain::arrangements::CutOff;
use koban_domain::guest::Verdict;
use koban_domain::policy::{DisputePolicy, FailurePolicy, ReviewPolicy};
use koban_service::{App, closings, policy};
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
    /// How many days a dispute waits unless told, 1 to 180. Left out, it stays as it is.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 180, example = 30)]
    dispute_days: Option<u16>,
    /// Whether a dispute that nobody decided in time is lost by the merchant; otherwise it stays open and operators are alarmed. Left out,
    /// it stays as it is.
    #[serde(default)]
    #[schema(example = false)]
    dispute_lost_when_over: Option<bool>,
    /// When merchants are closed with that have no cut-off of their own: `daily`, `twice-monthly`, `monthly`. Left out, it stays as it is.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "monthly")]
    cut_off: Option<CutOff>,
    /// Whether a fraud rule decides only where a back-test within its bound was made of it, under the settings that it decides with. Left
    /// out, it stays as it is.
    #[serde(default)]
    #[schema(example = false)]
    backtest_required: Option<bool>,
}

fn in_force(app: &App) -> PolicyBody {
    let FailurePolicy { on_fault, on_missing } = policy::get(app);
    let dispute = policy::dispute(app);
    PolicyBody {
        on_fault,
        on_missing,
        review_hours: Some(policy::review(app).hours),
        dispute_days: Some(dispute.days),
        dispute_lost_when_over: Some(dispute.lost_when_over),
        cut_off: Some(closings::own_cut_off(app)),
        backtest_required: Some(policy::backtest_required(app)),
    }
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
    if body.dispute_days.is_some() || body.dispute_lost_when_over.is_some() {
        let known = policy::dispute(&app);
        let days = body.dispute_days.unwrap_or(known.days);
        let lost_when_over = body.dispute_lost_when_over.unwrap_or(known.lost_when_over);
        policy::set_dispute(&app, &ctx, DisputePolicy { days, lost_when_over }).await?;
    }
    if let Some(cut_off) = body.cut_off {
        policy::set_cut_off(&app, &ctx, cut_off).await?;
    }
    if let Some(required) = body.backtest_required {
        policy::set_backtest_required(&app, &ctx, required).await?;
    }
    policy::set(&app, &ctx, wanted).await?;
    Ok(Json(in_force(&app)))
}
