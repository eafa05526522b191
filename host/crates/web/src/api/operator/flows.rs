//! Flows as operators see them, and what they may do with one that is stuck.

use axum::extract::State;
use koban_domain::flows::{EffectState, FlowCredit, FlowHold, Resolution, Unsure};
use koban_domain::guest::{Failure, Standing};
use koban_domain::ids::{AdjustmentId, FlowId, UserId};
use koban_domain::money::Currency;
use koban_domain::records::Digest;
use koban_service::flows::view::{DecisionView, EffectView, WaitingView};
use koban_service::flows::{self, FlowDetail, FlowFilter, FlowSummary, NextStep, Prospect, Reply, Which};
use koban_service::{App, Ctx};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Line, Minor, moment};
use crate::api::KeyHeader;
use crate::api::bills::BillData;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::{Id, Ids, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of flows.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(retry))
        .routes(routes!(foresee))
        .routes(routes!(move_to))
        .routes(routes!(resolve))
}

/// How a flow is ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveRequest {
    /// `confirm_credit`: the partner proved a credit that the flow never took; `confirm_capture`: it proved that it took what the flow has
    /// set aside, and the rest is let go; `reverse_credits`: what it credited is taken back; `adjust`: what another operator proposed for this flow is posted; `end`: it ends without money, and what it has set aside is let go.
    resolution: Way,
    /// For `confirm_credit` and `confirm_capture`: how much, in whole minor units.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64)]
    amount: Option<Minor>,
    /// For the same two: ISO 4217 code.
    #[schema(value_type = Option<String>)]
    currency: Option<Currency>,
    /// For the same two: the partner's reference.
    #[schema(value_type = Option<String>)]
    reference: Option<Line>,
    /// For `adjust`: the adjustment, which must name this flow.
    #[schema(value_type = Option<String>)]
    adjustment: Option<AdjustmentId>,
    /// What the partner's call that waits first (`next`) is told, in the manifest's words: `accept`, such as that an ATM may keep
    /// the cash, or `refuse`. Needed for `confirm_credit`, `confirm_capture` and `adjust` while a call waits; otherwise `refuse` unless told.
    reply: Option<ReplyWord>,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String)]
    reason: Line,
}

/// What a waiting call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FlowReply)]
pub(crate) enum ReplyWord {
    /// Yes.
    Accept,
    /// No.
    Refuse,
}

impl From<ReplyWord> for Reply {
    fn from(word: ReplyWord) -> Reply {
        match word {
            ReplyWord::Accept => Reply::Accept,
            ReplyWord::Refuse => Reply::Refuse,
        }
    }
}

/// A way to end a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FlowResolution)]
pub(crate) enum Way {
    /// The partner proved a credit that the flow never took.
    ConfirmCredit,
    /// The partner proved that it took what the flow has set aside.
    ConfirmCapture,
    /// What it credited is taken back.
    ReverseCredits,
    /// What another operator proposed is posted.
    Adjust,
    /// It ends without money.
    End,
}

impl ResolveRequest {
    /// Each way has fields of its own; none may be missing and no other may be there.
    fn check_fields(&self) -> Result<(), Problem> {
        const CONFIRMS: &[Way] = &[Way::ConfirmCredit, Way::ConfirmCapture];
        let given = [
            ("amount", CONFIRMS, self.amount.is_some()),
            ("currency", CONFIRMS, self.currency.is_some()),
            ("reference", CONFIRMS, self.reference.is_some()),
            ("adjustment", &[Way::Adjust], self.adjustment.is_some()),
        ];
        match given.into_iter().find(|(_, of, given)| *given != of.contains(&self.resolution)) {
            None => Ok(()),
            Some((field, _, false)) => Err(Problem::invalid(field, "the field is missing; send it")),
            Some((field, [Way::Adjust], true)) => Err(Problem::invalid(field, "only `adjust` takes this field")),
            Some((field, ..)) => {
                Err(Problem::invalid(field, "only `confirm_credit` and `confirm_capture` take this field"))
            }
        }
    }

    async fn resolution(&self, app: &App, ctx: &Ctx, flow: FlowId) -> Result<Resolution, Problem> {
        self.check_fields()?;
        if let Some(adjustment) = self.adjustment {
            return Ok(flows::adjusting(app, ctx, flow, adjustment).await?);
        }
        Ok(match (self.resolution, self.amount, self.currency, &self.reference) {
            (Way::ConfirmCredit, Some(amount), Some(currency), Some(reference)) => {
                Resolution::ConfirmCredit { amount: amount.of(currency), reference: reference.0.clone() }
            }
            (Way::ConfirmCapture, Some(amount), Some(currency), Some(reference)) => {
                Resolution::ConfirmCapture { amount: amount.of(currency), reference: reference.0.clone() }
            }
            (Way::ReverseCredits, ..) => Resolution::ReverseCredits,
            (Way::ConfirmCredit | Way::ConfirmCapture | Way::Adjust | Way::End, ..) => Resolution::End,
        })
    }
}

/// A flow in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Flow)]
pub(crate) struct FlowBody {
    /// Its id.
    #[schema(value_type = String, example = "flw_019a3f0c7b2e7c41a5d3000000000000")]
    id: FlowId,
    /// Whose flow it is.
    #[schema(example = "charge-atm")]
    plugin: String,
    /// The component that it runs on.
    #[schema(value_type = String)]
    digest: Digest,
    /// Whose wallet.
    #[schema(value_type = String)]
    user: UserId,
    /// Where it stands, as its plugin says.
    #[schema(value_type = String, example = "checking")]
    standing: Standing,
    /// Why it needs an operator, if it does.
    stuck: Option<String>,
    /// Since when it needs one.
    stuck_since: Option<String>,
    /// The money at stake, in whole minor units: what it credited, less what was taken back.
    credited: i64,
    /// The money that may still come; zero once it is final, and for a flow that takes money out.
    may_come: i64,
    /// What it has set aside for its partner.
    held: i64,
    /// What its partner has taken of that.
    taken: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Steps taken.
    steps: u32,
    /// When it was opened.
    opened_at: String,
    /// When it last changed.
    changed_at: String,
    /// When it became final.
    final_at: Option<String>,
    /// How old it is, in milliseconds: from its beginning to its end, or to now.
    age_ms: i64,
}

impl From<FlowSummary> for FlowBody {
    fn from(flow: FlowSummary) -> FlowBody {
        FlowBody {
            id: flow.id,
            plugin: flow.plugin,
            digest: flow.digest,
            user: flow.user,
            standing: flow.standing,
            stuck: flow.stuck,
            stuck_since: flow.stuck_since.map(moment),
            credited: flow.credited.minor,
            may_come: flow.may_come.minor,
            held: flow.held.minor,
            taken: flow.taken.minor,
            currency: flow.credited.currency,
            steps: flow.steps,
            opened_at: moment(flow.opened_at),
            changed_at: moment(flow.changed_at),
            final_at: flow.final_at.map(moment),
            age_ms: flow.age_ms,
        }
    }
}

/// A flow with everything about it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowDetail)]
pub(crate) struct FlowDetailBody {
    /// What a list shows.
    #[serde(flatten)]
    flow: FlowBody,
    /// The most that the user agreed to, in whole minor units.
    at_most: i64,
    /// Until when.
    expires_at: String,
    /// What it credited.
    credits: Vec<CreditBody>,
    /// What it set aside.
    holds: Vec<HoldBody>,
    /// The call of which nobody knows whether the partner did it; money stays set aside meanwhile.
    unsure: Option<UnsureBody>,
    /// The bill that it pays.
    bill: Option<BillData>,
    /// What it asked for, in order.
    effects: Vec<EffectBody>,
    /// What waits first in its inbox.
    next: Option<WaitingBody>,
    /// Why it failed, or what its plugin would like operators to know.
    note: Option<FailureBody>,
    /// Faults of its plugin in a row.
    faults: u32,
    /// The outcome that its last step was refused with, if it was.
    refused: Option<String>,
    /// The decisions that made it so, newest first.
    decisions: Vec<FlowDecisionBody>,
}

/// A credit that a flow brought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowCredit)]
pub(crate) struct CreditBody {
    /// The plugin's name for it.
    key: String,
    /// The partner's reference.
    reference: String,
    /// Whole minor units.
    amount: i64,
    /// What of it was taken back.
    reversed: i64,
}

/// Something that a flow set aside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowHold)]
pub(crate) struct HoldBody {
    /// The plugin's name for it.
    key: String,
    /// How much was set aside, in whole minor units.
    amount: i64,
    /// What still is.
    held: i64,
    /// What the partner took.
    taken: i64,
}

/// A call of which nobody knows whether the partner did it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowUnsure)]
pub(crate) struct UnsureBody {
    /// The call.
    key: String,
    /// Since when.
    since: String,
    /// When the flow gets stuck, if nobody knows by then.
    ask_at: String,
}

/// Something that a flow asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowEffect)]
pub(crate) struct EffectBody {
    /// The plugin's name for it.
    key: String,
    /// `call`, `timer`, `show` or `expectation`.
    #[schema(value_type = String, example = "call")]
    kind: &'static str,
    /// `open`, `ended` or `cancelled`.
    #[schema(value_type = String, example = "open")]
    state: EffectState,
    /// How often it was tried, while it is under way.
    attempts: Option<u32>,
    /// When it is due, while it is under way.
    due_at: Option<String>,
}

/// An event that waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowWaiting)]
pub(crate) struct WaitingBody {
    /// The effect or expectation it belongs to.
    key: String,
    /// What happened, in a word.
    what: String,
}

/// What a plugin said of a failure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginFailure)]
pub(crate) struct FailureBody {
    /// One of the codes in its manifest.
    code: String,
    /// For operators.
    message: String,
}

/// A guest call that a flow rests on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowDecision)]
pub(crate) struct FlowDecisionBody {
    /// What it was for, such as `flow.step`.
    act: String,
    /// Who.
    actor: String,
    /// When.
    at: String,
    /// The decision's id and particulars.
    detail: serde_json::Value,
}

impl From<FlowDetail> for FlowDetailBody {
    fn from(flow: FlowDetail) -> FlowDetailBody {
        FlowDetailBody {
            flow: flow.summary.into(),
            at_most: flow.at_most.minor,
            expires_at: moment(flow.expires_at),
            credits: flow.credits.into_iter().map(credit).collect(),
            holds: flow.holds.into_iter().map(hold).collect(),
            unsure: flow.unsure.map(|Unsure { key, since, ask_at }| UnsureBody {
                key,
                since: moment(since),
                ask_at: moment(ask_at),
            }),
            bill: flow.bill.map(BillData::from),
            effects: flow.effects.into_iter().map(effect).collect(),
            next: flow.next.map(|WaitingView { key, what }| WaitingBody { key, what }),
            note: flow.note.map(|Failure { code, message, .. }| FailureBody { code, message }),
            faults: flow.faults,
            refused: flow.refused,
            decisions: flow.decisions.into_iter().map(decision).collect(),
        }
    }
}

fn credit(credit: FlowCredit) -> CreditBody {
    let FlowCredit { key, reference, amount, reversed } = credit;
    CreditBody { key, reference, amount: amount.minor, reversed }
}

fn hold(hold: FlowHold) -> HoldBody {
    let FlowHold { key, amount, held, captured } = hold;
    HoldBody { key, amount: amount.minor, held, taken: captured }
}

fn effect(effect: EffectView) -> EffectBody {
    let EffectView { key, kind, state, attempts, due_at } = effect;
    EffectBody { key, kind, state, attempts, due_at: due_at.map(moment) }
}

fn decision(decision: DecisionView) -> FlowDecisionBody {
    let detail = serde_json::from_str(&decision.detail).unwrap_or(serde_json::Value::String(decision.detail));
    FlowDecisionBody { act: decision.act, actor: decision.actor, at: moment(decision.at), detail }
}

/// Which flows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlowQuery {
    /// `all` unless told, `open` for those that are not final, `stuck` for those that need an operator.
    #[param(inline)]
    which: Option<WhichQuery>,
    /// Of one plugin only.
    plugin: Option<String>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// A choice of flows.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhichQuery {
    All,
    Open,
    Stuck,
}

/// Flows, newest first.
#[utoipa::path(get, path = "/v1/operator/flows", tag = "operator", security(("operator" = [])),
    params(FlowQuery), responses((status = 200, body = PageBody<FlowBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<FlowQuery>,
) -> Result<Json<PageBody<FlowBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let which = match query.which.unwrap_or(WhichQuery::All) {
        WhichQuery::All => Which::All,
        WhichQuery::Open => Which::Open,
        WhichQuery::Stuck => Which::Stuck,
    };
    let filter = FlowFilter { which, plugin: query.plugin };
    Ok(Json(PageBody::of(flows::list(&app, &filter, &page).await?)))
}

/// One flow, with its credits, effects, waiting events and decisions.
#[utoipa::path(get, path = "/v1/operator/flows/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The flow's id.")),
    responses((status = 200, body = FlowDetailBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<FlowId>,
) -> Result<Json<FlowDetailBody>, Problem> {
    Ok(Json(flows::get(&app, id).await?.into()))
}

/// Give a stuck flow's event to its plugin again.
#[utoipa::path(post, path = "/v1/operator/flows/{id}/retry", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The flow's id."), KeyHeader),
    responses((status = 200, body = FlowDetailBody)))]
pub(crate) async fn retry(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<FlowId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<FlowDetailBody>, Problem> {
    Ok(Done::answered(flows::retry(&app, &operator.ctx(key), id, &body.reason.0).await?))
}

/// Which release a flow is moved to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveRequest {
    /// The component: a release of the flow's plugin that is installed.
    #[schema(value_type = String)]
    to: Digest,
    /// Why; goes into the audit log.
    #[schema(value_type = String, example = "its release is revoked")]
    reason: Line,
}

/// What a release would make of a flow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowProspect)]
pub(crate) struct ProspectBody {
    /// The component that the flow has.
    #[schema(value_type = String)]
    from: Digest,
    /// The one that it would have.
    #[schema(value_type = String)]
    to: Digest,
    /// That one's version.
    version: String,
    /// What it answers to the event that waits first; absent if nothing waits.
    next: Option<NextStepBody>,
}

/// A step that would be taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlowNextStep)]
pub(crate) struct NextStepBody {
    /// The event's key.
    event: String,
    /// Where the flow would stand.
    #[schema(value_type = String)]
    standing: Standing,
    /// What it would propose about money, in order.
    proposals: Vec<String>,
    /// What it would ask for, in order.
    effects: Vec<String>,
}

impl From<Prospect> for ProspectBody {
    fn from(prospect: Prospect) -> ProspectBody {
        let Prospect { from, to, version, next } = prospect;
        let next = next.map(|next| {
            let NextStep { event, standing, proposals, effects } = next;
            NextStepBody { event, standing, proposals, effects }
        });
        ProspectBody { from, to, version, next }
    }
}

/// What would come of moving a flow to another release.
///
/// The release is asked what it makes of the event that waits first. Nothing is changed, nothing leaves.
#[utoipa::path(get, path = "/v1/operator/flows/{id}/prospects/{digest}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The flow's id."),
        ("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 200, body = ProspectBody),
        (status = 409, description = "The flow is not stuck, or this release cannot take it over; `detail` says why.")))]
pub(crate) async fn foresee(
    State(app): State<App>,
    operator: Operator,
    Ids(id, digest): Ids<FlowId, Digest>,
) -> Result<Json<ProspectBody>, Problem> {
    Ok(Json(flows::foresee(&app, &operator.reading(), id, digest).await?.into()))
}

/// Move a flow to another release of its plugin.
///
/// It goes on there with the event that waits first, faults and refusals forgotten. What the release cannot go on with is not moved.
#[utoipa::path(post, path = "/v1/operator/flows/{id}/move", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The flow's id."), KeyHeader),
    responses((status = 200, body = FlowDetailBody)))]
pub(crate) async fn move_to(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<FlowId>,
    Json(body): Json<MoveRequest>,
) -> Result<Done<FlowDetailBody>, Problem> {
    Ok(Done::answered(flows::move_to(&app, &operator.ctx(key), id, body.to, &body.reason.0).await?))
}

/// End a flow by decision.
///
/// An ordinary command with operator and reason: it confirms a credit or a capture, takes the flow's credits back, posts an adjustment that
/// another operator proposed for this flow, or ends it without money.
#[utoipa::path(post, path = "/v1/operator/flows/{id}/resolve", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The flow's id."), KeyHeader),
    responses((status = 200, body = FlowDetailBody)))]
pub(crate) async fn resolve(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<FlowId>,
    Json(body): Json<ResolveRequest>,
) -> Result<Done<FlowDetailBody>, Problem> {
    let ctx = operator.ctx(key);
    let resolution = body.resolution(&app, &ctx, id).await?;
    let reply = body.reply.map(Reply::from);
    Ok(Done::answered(flows::resolve(&app, &ctx, id, &resolution, reply, &body.reason.0).await?))
}
