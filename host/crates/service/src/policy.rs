//! What happens to payments when the fraud rules fail, how long reviews and disputes wait, and when merchants are closed with: an
//! operator's choice.

use koban_domain::arrangements::CutOff;
use koban_domain::disputes::DAYS_MAX;
use koban_domain::guest::Verdict;
use koban_domain::policy::{DisputePolicy, FailurePolicy, ReviewPolicy};
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::users::audit;

/// The policy in force.
pub fn get(app: &App) -> FailurePolicy {
    app.ledger.policy().fraud
}

/// How long reviews wait.
pub fn review(app: &App) -> ReviewPolicy {
    app.ledger.policy().review
}

/// Sets how long reviews wait; those that are open keep their time.
pub async fn set_review(app: &App, ctx: &Ctx, policy: ReviewPolicy) -> Result<(), Error> {
    ctx.operator()?;
    if !(1..=ReviewPolicy::HOURS_MAX).contains(&policy.hours) {
        let most = ReviewPolicy::HOURS_MAX;
        return Err(Error::invalid("review_hours", format!("use 1 to {most} whole hours")));
    }
    let audit = audit(app, ctx, "policy.review", "review".to_owned(), &json!(policy).to_string());
    let hours = policy.hours.to_string();
    koban_store::limits::put_settings(&app.store, &[("review.hours", &hours)], &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// How long disputes wait, and what comes of one that nobody decided.
pub fn dispute(app: &App) -> DisputePolicy {
    app.ledger.policy().dispute
}

/// Sets how long disputes wait; those that are open keep their time, but end as this says when it is over.
pub async fn set_dispute(app: &App, ctx: &Ctx, policy: DisputePolicy) -> Result<(), Error> {
    ctx.operator()?;
    if !(1..=DAYS_MAX).contains(&policy.days) {
        return Err(Error::invalid("dispute_days", format!("use 1 to {DAYS_MAX} whole days")));
    }
    let audit = audit(app, ctx, "policy.dispute", "dispute".to_owned(), &json!(policy).to_string());
    let (days, over) = (policy.days.to_string(), if policy.lost_when_over { "lost" } else { "open" });
    let settings = [("dispute.days", days.as_str()), ("dispute.when_over", over)];
    koban_store::limits::put_settings(&app.store, &settings, &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// Whether a fraud rule decides only where a back-test within its bound was made of it.
pub fn backtest_required(app: &App) -> bool {
    app.ledger.policy().backtest_required
}

/// Sets whether fraud rules need a back-test before they decide. What decides already goes on.
pub async fn set_backtest_required(app: &App, ctx: &Ctx, required: bool) -> Result<(), Error> {
    ctx.operator()?;
    let audit = audit(app, ctx, "policy.backtest", "release".to_owned(), &json!({ "required": required }).to_string());
    let value = if required { "required" } else { "free" };
    koban_store::limits::put_settings(&app.store, &[("release.backtest", value)], &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// Sets when merchants are closed with that have no cut-off of their own.
pub async fn set_cut_off(app: &App, ctx: &Ctx, cut_off: CutOff) -> Result<(), Error> {
    ctx.operator()?;
    let audit = audit(app, ctx, "policy.closing", "closing".to_owned(), &json!({ "cut_off": cut_off }).to_string());
    let settings = [("closing.cut_off", cut_off.word())];
    koban_store::limits::put_settings(&app.store, &settings, &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// Sets the policy. Without a verdict a payment is allowed, stepped up or declined; a review needs somebody to have looked.
pub async fn set(app: &App, ctx: &Ctx, policy: FailurePolicy) -> Result<(), Error> {
    ctx.operator()?;
    for (field, verdict) in [("on_fault", policy.on_fault), ("on_missing", policy.on_missing)] {
        if verdict == Verdict::Review {
            return Err(Error::invalid(field, "use `allow`, `step-up` or `decline`"));
        }
    }
    let audit = audit(app, ctx, "policy.fraud", "fraud".to_owned(), &json!(policy).to_string());
    koban_store::limits::set_failure_policy(&app.store, policy, &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}
