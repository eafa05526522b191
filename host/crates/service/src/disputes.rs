//! Disputes: an operator sets a contested amount aside and says later whose it is; what nobody decides follows the platform's policy.

use koban_domain::captures::OfPayment;
use koban_domain::disputes::{DAYS_MAX, Dispute, EndDispute, OpenDispute, Outcome, REASON_MAX};
use koban_domain::ids::{DisputeId, PaymentId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::captures::end_all;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::payments;
use crate::plugins::check_reason;
use crate::users::audit;

/// Most disputes that are ended in one go.
const ENDED_AT_ONCE: u16 = 256;

/// What an operator asks for.
#[derive(Debug, Clone, Serialize)]
pub struct DisputeInput {
    /// About which payment.
    pub payment: PaymentId,
    /// How much of what was captured.
    pub amount: Money,
    /// What the payer says.
    pub reason: String,
    /// Where what proves it is kept.
    pub evidence: Option<String>,
    /// For how many days it may wait; the platform's own time if it does not say.
    pub days: Option<u16>,
}

/// Sets a contested amount aside from what the merchant is owed.
pub async fn open(app: &App, ctx: &Ctx, input: DisputeInput) -> Result<Answered<Dispute>, Error> {
    let operator = ctx.operator()?;
    payments::check_amount(input.amount)?;
    check_reason(&input.reason)?;
    if input.evidence.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > REASON_MAX) {
        return Err(Error::invalid("evidence", "name where the evidence is kept, in 1 to 500 characters"));
    }
    if input.days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return Err(Error::invalid("days", format!("use 1 to {DAYS_MAX} whole days")));
    }
    let payment = payments::get(app, ctx, input.payment).await?;
    let dispute = DisputeId(app.clock.id());
    let command = Command::OpenDispute(OpenDispute {
        dispute,
        of: OfPayment::from(&payment),
        amount: input.amount,
        reason: input.reason.clone(),
        evidence: input.evidence.clone(),
        operator,
        days: input.days,
    });
    let detail = json!({ "payment": payment.id, "amount": input.amount.minor, "reason": input.reason }).to_string();
    let row = audit(app, ctx, "dispute.open", dispute.to_string(), &detail);
    operations::act(app, ctx, ("POST /v1/operator/disputes", &input), command, Some(row)).await?.expect(dispute_of)
}

/// What an operator decides.
#[derive(Debug, Clone, Serialize)]
pub struct RulingInput {
    /// Which dispute.
    pub dispute: DisputeId,
    /// Whether the merchant gets the amount again; otherwise the payer gets it back.
    pub won: bool,
    /// Why; goes into the audit log.
    pub reason: String,
}

/// Decides a dispute. Of two operators, and of an operator and the clock, one wins.
pub async fn decide(app: &App, ctx: &Ctx, input: RulingInput) -> Result<Answered<Dispute>, Error> {
    let operator = ctx.operator()?;
    check_reason(&input.reason)?;
    let dispute = get(app, input.dispute).await?;
    let (act, outcome, route) = match input.won {
        true => ("dispute.win", Outcome::Won(operator), "POST /v1/operator/disputes/{id}/win"),
        false => ("dispute.lose", Outcome::Lost(operator), "POST /v1/operator/disputes/{id}/lose"),
    };
    let row = audit(app, ctx, act, dispute.id.to_string(), &json!({ "reason": input.reason }).to_string());
    let command = Command::EndDispute(EndDispute { dispute: dispute.id, of: dispute.of, outcome });
    operations::act(app, ctx, (route, &input), command, Some(row)).await?.expect(dispute_of)
}

fn dispute_of(answer: Answer) -> Option<Dispute> {
    match answer {
        Answer::Contested(dispute) | Answer::Adjudged(dispute) => Some(*dispute),
        _ => None,
    }
}

/// A dispute.
pub async fn get(app: &App, id: DisputeId) -> Result<Dispute, Error> {
    koban_store::disputes::by_id(&app.store, id).await?.ok_or(Error::NotFound("dispute"))
}

/// A dispute about one of the merchant's payments.
pub async fn of_merchant(app: &App, ctx: &Ctx, id: DisputeId) -> Result<Dispute, Error> {
    let merchant = ctx.merchant()?;
    Some(get(app, id).await?).filter(|dispute| dispute.of.merchant == merchant).ok_or(Error::NotFound("dispute"))
}

/// Disputes, newest first: all of them, or those that are open.
pub async fn list(app: &App, open: bool, page: &Page) -> Result<Paged<Dispute>, Error> {
    let limit = page.limit()?;
    let before = page.before()?.map(DisputeId);
    let rows = koban_store::disputes::list(&app.store, open, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |dispute| dispute.id.bytes().to_vec()))
}

/// The merchant's disputes, newest first.
pub async fn list_own(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<Dispute>, Error> {
    let (merchant, limit) = (ctx.merchant()?, page.limit()?);
    let before = page.before()?.map(DisputeId);
    let rows = koban_store::disputes::by_merchant(&app.store, merchant, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |dispute| dispute.id.bytes().to_vec()))
}

/// Ends what nobody decided in time, where the policy says so, and counts what waits all the same: an open dispute whose time is
/// over, because the policy leaves it to operators or because the payer's wallet cannot take the amount.
pub(crate) async fn expire_due(app: &App, now: Timestamp) -> Result<(), Error> {
    if app.ledger.policy().dispute.lost_when_over {
        let due = koban_store::disputes::due(&app.store, now, ENDED_AT_ONCE).await?;
        let end = |dispute: Dispute| EndDispute { dispute: dispute.id, of: dispute.of, outcome: Outcome::RanOut };
        end_all(app, due.into_iter().map(|dispute| Command::EndDispute(end(dispute)))).await?;
    }
    app.metrics.disputes_overdue.set(koban_store::disputes::overdue(&app.store, now).await?);
    Ok(())
}
