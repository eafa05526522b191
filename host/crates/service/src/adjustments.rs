//! Adjustments: one operator proposes a correction of the books, another posts or rejects it.

use koban_domain::accounts::{AccountKey, Class, PluginKey};
use koban_domain::adjustments::{Adjustment, Judge, LINES_MAX, Line, Propose};
use koban_domain::ids::{AdjustmentId, FlowId, IdError, MerchantId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Currency;
use koban_domain::paths::{self, EntryKind};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::plugins::check_reason;
use crate::users::audit;

#[derive(Serialize)]
struct Asked<'a> {
    lines: &'a [Line],
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowId>,
    adjustment: Option<AdjustmentId>,
    approve: Option<bool>,
    reason: &'a str,
}

/// Proposes an adjustment. Nothing moves before another operator approves it. One for a flow is posted by resolving that flow with
/// it.
pub async fn propose(
    app: &App,
    ctx: &Ctx,
    lines: Vec<Line>,
    flow: Option<FlowId>,
    reason: &str,
) -> Result<Answered<Adjustment>, Error> {
    let proposer = ctx.person()?;
    check_reason(reason)?;
    check_lines(&lines)?;
    if let Some(flow) = flow {
        koban_store::flows::by_id(&app.store, flow).await?.ok_or(Error::NotFound("flow"))?;
    }
    let adjustment = AdjustmentId(app.clock.id());
    let detail = json!({ "reason": reason, "flow": flow }).to_string();
    let row = audit(app, ctx, "adjustment.propose", adjustment.to_string(), &detail);
    let asked = Asked { lines: &lines, flow, adjustment: None, approve: None, reason };
    let propose = Propose { adjustment, lines: lines.clone(), reason: reason.to_owned(), flow, proposer };
    let command = Command::Propose(propose);
    operations::act(app, ctx, ("POST /v1/operator/adjustments", &asked), command, Some(row)).await?.expect(adjusted)
}

/// Approves or rejects a proposal of another operator. Of two who decide at once, one does.
pub async fn judge(
    app: &App,
    ctx: &Ctx,
    id: AdjustmentId,
    approve: bool,
    reason: &str,
) -> Result<Answered<Adjustment>, Error> {
    let operator = ctx.person()?;
    check_reason(reason)?;
    let proposed = get(app, id).await?;
    if let Some(flow) = proposed.flow.filter(|_| approve) {
        let text = format!("this adjustment ends the flow {flow}: resolve the flow with it, and it is posted");
        return Err(Error::Conflict(text));
    }
    let lines = proposed.lines;
    let (act, route) = match approve {
        true => ("adjustment.approve", "POST /v1/operator/adjustments/{id}/approve"),
        false => ("adjustment.reject", "POST /v1/operator/adjustments/{id}/reject"),
    };
    let row = audit(app, ctx, act, id.to_string(), &json!({ "reason": reason }).to_string());
    let asked = Asked { lines: &[], flow: None, adjustment: Some(id), approve: Some(approve), reason };
    let command = Command::Judge(Judge { adjustment: id, lines, flow: None, operator, approve });
    operations::act(app, ctx, (route, &asked), command, Some(row)).await?.expect(adjusted)
}

fn adjusted(answer: Answer) -> Option<Adjustment> {
    match answer {
        Answer::Proposed(adjustment) | Answer::Judged(adjustment) => Some(adjustment),
        _ => None,
    }
}

/// One adjustment.
pub async fn get(app: &App, id: AdjustmentId) -> Result<Adjustment, Error> {
    koban_store::adjustments::by_id(&app.store, id).await?.ok_or(Error::NotFound("adjustment"))
}

/// Adjustments, newest first.
pub async fn list(app: &App, page: &Page) -> Result<Paged<Adjustment>, Error> {
    let limit = page.limit()?;
    let before = page.before()?.map(AdjustmentId);
    let rows = koban_store::adjustments::list(&app.store, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |adjustment| adjustment.id.bytes().to_vec()))
}

/// The account of this class that somebody names: its owner is a user's or a merchant's id, or a plugin's. Errors: what to
/// write as owner instead.
pub fn account(class: Class, owner: Option<&str>, currency: Currency) -> Result<AccountKey, String> {
    Ok(match (class, owner) {
        (Class::Prepaid | Class::Funds | Class::Receivable | Class::Bonus, Some(owner)) => {
            AccountKey::user(class, owner.parse().map_err(|error: IdError| error.to_string())?, currency)
        }
        (Class::Payable, Some(owner)) => {
            AccountKey::payable(owner.parse().map_err(|error: IdError| error.to_string())?, currency)
        }
        (Class::Clearing, Some(owner)) => AccountKey::clearing(PluginKey::of(owner), currency),
        (Class::Prepaid | Class::Funds | Class::Receivable | Class::Bonus | Class::Payable | Class::Clearing, None) => {
            return Err("name the user, the merchant or the plugin whose account it is".to_owned());
        }
        (_, None) => AccountKey::platform(class, currency),
        (_, Some(_)) => return Err("leave the owner out: the platform has one such account".to_owned()),
    })
}

/// How an account is written: its class, and behind a slash its owner, as far as its id says who that is.
pub fn account_name(account: &AccountKey) -> String {
    let class = account.class.word();
    match account.class {
        _ if account.owner.is_nil() => class.to_owned(),
        Class::Prepaid | Class::Funds | Class::Receivable | Class::Bonus => {
            format!("{class}/{}", UserId(account.owner))
        }
        Class::Payable => format!("{class}/{}", MerchantId(account.owner)),
        // A plugin's key is a digest of its name.
        _ => format!("{class}/{}", account.owner.simple()),
    }
}

fn check_lines(lines: &[Line]) -> Result<(), Error> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Error::invalid("lines", format!("give 1 to {LINES_MAX} lines")));
    }
    for (place, line) in lines.iter().enumerate() {
        let field = format!("lines[{place}]");
        let (debit, credit) = (line.debit, line.credit);
        if !(1..=1_000_000_000_000).contains(&line.amount) {
            return Err(Error::invalid(format!("{field}.amount"), "give whole minor units, 1 to 1,000,000,000,000"));
        }
        if debit.currency != credit.currency {
            return Err(Error::invalid(field, "both accounts must be in one currency"));
        }
        if !paths::allowed(EntryKind::Adjustment, debit.class, credit.class) {
            let (debit, credit) = (debit.class.word(), credit.class.word());
            let text = format!("no adjustment may debit {debit} and credit {credit}; see the table of paths");
            return Err(Error::invalid(field, text));
        }
    }
    Ok(())
}
