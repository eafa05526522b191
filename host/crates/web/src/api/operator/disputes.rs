//! Disputes: contested amounts that operators set aside and decide.

use axum::extract::State;
use koban_domain::disputes::Dispute;
use koban_domain::ids::{DisputeId, MerchantId, OperatorId, PaymentId, UserId};
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::disputes::{self, DisputeInput, RulingInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Line, Minor};
use crate::api::KeyHeader;
use crate::api::disputes::DisputeBody;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Created, Done, Json};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of disputes, for operators.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get)).routes(routes!(win)).routes(routes!(lose))
}

/// What a payer contests.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisputeRequest {
    /// Which payment.
    #[schema(value_type = String, example = "pay_019a3f0c7b2e7c41a5d3000000000000")]
    payment: PaymentId,
    /// Whole minor units, at most what was captured and neither given back nor contested.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1280)]
    amount: Minor,
    /// ISO 4217 code: the payment's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// What the payer says, in 1 to 500 characters. The merchant sees it, and it goes into the audit log.
    #[schema(value_type = String, example = "the goods never came")]
    reason: Line,
    /// Where what proves it is kept, in 1 to 500 characters. The merchant does not see it.
    #[schema(value_type = Option<String>, example = "case 2018-117")]
    evidence: Option<Line>,
    /// For how many days it may wait; as the policy says unless told.
    #[schema(minimum = 1, maximum = 180, example = 30)]
    days: Option<u16>,
}

/// Which disputes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisputeQuery {
    /// Whether only those that nobody has decided yet.
    #[serde(default)]
    open: bool,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// A dispute as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorDispute)]
pub(crate) struct OperatorDisputeBody {
    /// What its merchant sees.
    #[serde(flatten)]
    dispute: DisputeBody,
    /// Whose payment it is.
    #[schema(value_type = String)]
    payer: UserId,
    /// Who was paid.
    #[schema(value_type = String)]
    merchant: MerchantId,
    /// Where what proves it is kept.
    evidence: Option<String>,
    /// Who opened it.
    #[schema(value_type = String)]
    operator: OperatorId,
    /// Who decided it; none if its time ran out.
    #[schema(value_type = Option<String>)]
    decider: Option<OperatorId>,
    /// What of a lost one repaid an amount that the payer owed.
    repaid: i64,
}

impl From<Dispute> for OperatorDisputeBody {
    fn from(dispute: Dispute) -> OperatorDisputeBody {
        OperatorDisputeBody {
            payer: dispute.of.payer,
            merchant: dispute.of.merchant,
            evidence: dispute.evidence.clone(),
            operator: dispute.operator,
            decider: dispute.decider,
            repaid: dispute.repaid,
            dispute: dispute.into(),
        }
    }
}

/// Open a dispute.
///
/// The amount is set aside from what the merchant is owed, or from its credit, until an operator has decided.
#[utoipa::path(post, path = "/v1/operator/disputes", tag = "operator", security(("operator" = [])),
    params(KeyHeader), responses((status = 201, body = OperatorDisputeBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Json(body): Json<DisputeRequest>,
) -> Result<Created<OperatorDisputeBody>, Problem> {
    let input = DisputeInput {
        payment: body.payment,
        amount: body.amount.of(body.currency),
        reason: body.reason.0,
        evidence: body.evidence.map(|line| line.0),
        days: body.days,
    };
    let opened = disputes::open(&app, &operator.ctx(key), input).await?;
    Ok(Created::answered(opened, |body: &OperatorDisputeBody| format!("/v1/operator/disputes/{}", body.dispute.id)))
}

/// Disputes, newest first.
#[utoipa::path(get, path = "/v1/operator/disputes", tag = "operator", security(("operator" = [])),
    params(DisputeQuery), responses((status = 200, body = PageBody<OperatorDisputeBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<DisputeQuery>,
) -> Result<Json<PageBody<OperatorDisputeBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    Ok(Json(PageBody::of(disputes::list(&app, query.open, &page).await?)))
}

/// One dispute.
#[utoipa::path(get, path = "/v1/operator/disputes/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The dispute's id.")),
    responses((status = 200, body = OperatorDisputeBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<DisputeId>,
) -> Result<Json<OperatorDisputeBody>, Problem> {
    Ok(Json(disputes::get(&app, id).await?.into()))
}

/// The merchant wins: it has the amount again.
#[utoipa::path(post, path = "/v1/operator/disputes/{id}/win", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The dispute's id."), KeyHeader),
    responses((status = 200, body = OperatorDisputeBody)))]
pub(crate) async fn win(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(dispute): Id<DisputeId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<OperatorDisputeBody>, Problem> {
    let input = RulingInput { dispute, won: true, reason: body.reason.0 };
    Ok(Done::answered(disputes::decide(&app, &operator.ctx(key), input).await?))
}

/// The merchant loses: the payer has the amount back, in the kinds that paid.
#[utoipa::path(post, path = "/v1/operator/disputes/{id}/lose", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The dispute's id."), KeyHeader),
    responses((status = 200, body = OperatorDisputeBody)))]
pub(crate) async fn lose(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(dispute): Id<DisputeId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<OperatorDisputeBody>, Problem> {
    let input = RulingInput { dispute, won: false, reason: body.reason.0 };
    Ok(Done::answered(disputes::decide(&app, &operator.ctx(key), input).await?))
}
