//! What happens to payments when the fraud rules fail: an operator's choice.

use koban_domain::guest::Verdict;
use koban_domain::policy::FailurePolicy;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::users::audit;

/// The policy in force.
pub fn get(app: &App) -> FailurePolicy {
    app.ledger.policy().fraud
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
