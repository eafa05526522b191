//! Closing an account, for ever: an operator's act after everything on it has ended.

use koban_domain::closures::Close;
use koban_domain::ids::UserId;
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::plugins::check_reason;
use crate::users::{self, audit};

#[derive(Serialize)]
struct Asked<'a> {
    user: UserId,
    reason: &'a str,
}

/// Closes a user's account and sets aside what it holds. A flow that opens at the same moment finds the account closed: its
/// money, if it arrives all the same, waits in suspense. Errors: something is owed, held or under way.
pub async fn close(app: &App, ctx: &Ctx, user: UserId, reason: &str) -> Result<Answered<Vec<Money>>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    users::get(app, user).await?;
    if koban_store::flows::user_has_open(&app.store, user).await? {
        // Decides nothing: the same key may be used once the flow has ended.
        return Err(Error::refused(Refusal::HoldsOpen));
    }
    let row = audit(app, ctx, "user.close", user.to_string(), &json!({ "reason": reason }).to_string());
    // Yen, and whatever else wallets may hold.
    let policy = app.ledger.policy();
    let currencies = std::iter::once(Currency::JPY).chain(policy.currencies.keys().copied()).collect();
    let command = Command::Close(Close { user, currencies, reason: reason.to_owned() });
    let asked = Asked { user, reason };
    let route = "POST /v1/operator/users/{id}/closure";
    operations::act(app, ctx, (route, &asked), command, Some(row)).await?.expect(|answer| match answer {
        Answer::Closed(_, set_aside) => Some(set_aside),
        _ => None,
    })
}
