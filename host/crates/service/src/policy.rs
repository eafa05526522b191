//! What happens to payments when the fraud rules fail, and how long reviews wait: an operator's choice.

use koban_domain::guest::Verdict;
use koban_domain::policy::{FailurePolicy, ReviewPolicy};
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
