//! Corrections of the books that two operators make together.

use axum::extract::State;
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::adjustments::{self as rules, Adjustment};
use koban_domain::ids::{AdjustmentId, FlowId, OperatorId};
use koban_domain::money::Currency;
use koban_service::{App, adjustments};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Line, Minor, moment};
use crate::api::KeyHeader;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Created, Done, Json};
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of adjustments.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(propose, list))
        .routes(routes!(get))
        .routes(routes!(approve))
        .routes(routes!(reject))
}

/// An account: its class, and whose it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdjustedAccount)]
pub(crate) struct AccountRequest {
    /// `prepaid`, `funds`, `receivable` (of a user), `payable` (of a merchant), `clearing` (of a plugin), `suspense`,
    /// `bank`, `write-off` or `closed-balances` (the platform's).
    #[schema(value_type = String, example = "suspense")]
    class: Class,
    /// The user, the merchant or the plugin; nothing for the platform's own.
    #[schema(value_type = Option<String>)]
    owner: Option<Line>,
}

/// One movement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdjustmentLineRequest)]
pub(crate) struct LineRequest {
    /// The account debited.
    debit: AccountRequest,
    /// The account credited.
    credit: AccountRequest,
    /// Whole minor units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1280)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// A proposal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdjustmentRequest {
    /// What shall move, 1 to 20 lines, in this order.
    lines: Vec<LineRequest>,
    /// The flow that shall end with it: then it is posted by resolving that flow, and not by approving it here.
    #[schema(value_type = Option<String>)]
    flow: Option<FlowId>,
    /// Why, in 1 to 500 characters.
    #[schema(value_type = String, example = "the partner confirmed the deposit by letter")]
    reason: Line,
}

impl AccountRequest {
    fn key(&self, currency: Currency, field: &str) -> Result<AccountKey, Problem> {
        let owner = self.owner.as_ref().map(|owner| owner.0.as_str());
        adjustments::account(self.class, owner, currency)
            .map_err(|problem| Problem::invalid(format!("{field}.owner"), problem))
    }
}

/// One movement of an adjustment.
#[derive(Serialize, ToSchema)]
#[schema(as = AdjustmentLine)]
pub(crate) struct LineBody {
    /// The class debited.
    #[schema(value_type = String, example = "suspense")]
    debit: Class,
    /// Whose account is debited: 32 hexadecimal digits, zeros for the platform.
    debit_owner: String,
    /// The class credited.
    #[schema(value_type = String, example = "funds")]
    credit: Class,
    /// Whose account is credited.
    credit_owner: String,
    /// Whole minor units.
    #[schema(example = 1280)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// An adjustment.
#[derive(Serialize, ToSchema)]
#[schema(as = Adjustment)]
pub(crate) struct AdjustmentBody {
    /// Its id.
    #[schema(value_type = String, example = "adj_019a3f0c7b2e7c41a5d3000000000000")]
    id: AdjustmentId,
    /// `proposed`, `approved` or `rejected`.
    #[schema(value_type = String, example = "proposed")]
    state: rules::State,
    /// What it moves.
    lines: Vec<LineBody>,
    /// Why.
    reason: String,
    /// The flow that ends with it, if it is made for one.
    #[schema(value_type = Option<String>)]
    flow: Option<FlowId>,
    /// Who proposed it.
    #[schema(value_type = String)]
    proposer: OperatorId,
    /// Who decided it.
    #[schema(value_type = Option<String>)]
    decider: Option<OperatorId>,
    /// When it was proposed.
    at: String,
    /// From when on nobody can approve it.
    expires_at: String,
    /// When it was decided.
    decided_at: Option<String>,
}

impl From<Adjustment> for AdjustmentBody {
    fn from(adjustment: Adjustment) -> AdjustmentBody {
        let line = |line: &rules::Line| LineBody {
            debit: line.debit.class,
            debit_owner: line.debit.owner.simple().to_string(),
            credit: line.credit.class,
            credit_owner: line.credit.owner.simple().to_string(),
            amount: line.amount,
            currency: line.debit.currency,
        };
        AdjustmentBody {
            id: adjustment.id,
            state: adjustment.state,
            lines: adjustment.lines.iter().map(line).collect(),
            flow: adjustment.flow,
            proposer: adjustment.proposer,
            decider: adjustment.decider,
            at: moment(adjustment.at),
            expires_at: moment(adjustment.expires_at()),
            decided_at: adjustment.decided_at.map(moment),
            reason: adjustment.reason,
        }
    }
}

/// Propose an adjustment.
///
/// Nothing moves before another operator approves it, within seven days.
#[utoipa::path(post, path = "/v1/operator/adjustments", tag = "operator", security(("operator" = [])),
    params(KeyHeader), responses((status = 201, body = AdjustmentBody)))]
pub(crate) async fn propose(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Json(body): Json<AdjustmentRequest>,
) -> Result<Created<AdjustmentBody>, Problem> {
    let lines = body.lines.iter().enumerate().map(|(place, line)| {
        Ok(rules::Line {
            debit: line.debit.key(line.currency, &format!("lines[{place}].debit"))?,
            credit: line.credit.key(line.currency, &format!("lines[{place}].credit"))?,
            amount: line.amount.0,
        })
    });
    let lines = lines.collect::<Result<Vec<_>, Problem>>()?;
    let proposed = adjustments::propose(&app, &operator.ctx(key), lines, body.flow, &body.reason.0).await?;
    Ok(Created::answered(proposed, |made: &AdjustmentBody| format!("/v1/operator/adjustments/{}", made.id)))
}

/// Adjustments, newest first.
#[utoipa::path(get, path = "/v1/operator/adjustments", tag = "operator", security(("operator" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<AdjustmentBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<AdjustmentBody>>, Problem> {
    Ok(Json(PageBody::of(adjustments::list(&app, &query.page()?).await?)))
}

/// One adjustment.
#[utoipa::path(get, path = "/v1/operator/adjustments/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The adjustment's id.")),
    responses((status = 200, body = AdjustmentBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<AdjustmentId>,
) -> Result<Json<AdjustmentBody>, Problem> {
    Ok(Json(adjustments::get(&app, id).await?.into()))
}

/// Approve an adjustment of another operator: it is posted.
#[utoipa::path(post, path = "/v1/operator/adjustments/{id}/approve", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The adjustment's id."), KeyHeader),
    responses((status = 200, body = AdjustmentBody)))]
pub(crate) async fn approve(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<AdjustmentId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<AdjustmentBody>, Problem> {
    Ok(Done::answered(adjustments::judge(&app, &operator.ctx(key), id, true, &body.reason.0).await?))
}

/// Reject an adjustment of another operator.
#[utoipa::path(post, path = "/v1/operator/adjustments/{id}/reject", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The adjustment's id."), KeyHeader),
    responses((status = 200, body = AdjustmentBody)))]
pub(crate) async fn reject(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<AdjustmentId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<AdjustmentBody>, Problem> {
    Ok(Done::answered(adjustments::judge(&app, &operator.ctx(key), id, false, &body.reason.0).await?))
}
