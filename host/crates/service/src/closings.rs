//! Closings: what is agreed with merchants, the periods that are closed with them, and what was paid out.

use koban_domain::arrangements::{Arrange, Arrangement, CutOff, Share};
use koban_domain::closings::{Closing, MakeClosing, PayOut};
use koban_domain::ids::{ClosingId, MerchantId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Currency;
use koban_domain::time::{self, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::captures::end_all;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::plugins::check_reason;
use crate::users::audit;

/// Most closings that are made in one go, and so perhaps in one commit.
const MADE_AT_ONCE: u16 = 256;
/// Most rounds of one sweep.
const ROUNDS_MAX: u32 = 40;
/// Most closings in one file.
pub const FILE_MAX: u16 = 10_000;
/// The most credit that a merchant can be given, minor units.
pub const CREDIT_MAX: i64 = 1_000_000_000_000;

/// What an operator agrees with a merchant.
#[derive(Debug, Clone, Serialize)]
pub struct ArrangementInput {
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// How far below nought refunds and disputes may take what it is owed, minor units.
    pub credit_limit: i64,
    /// What the platform keeps of what it captures.
    pub fee_rate: Share,
    /// When it is closed with; the platform's own cut-off if it does not say.
    pub cut_off: Option<CutOff>,
    /// Why; goes into the audit log.
    pub reason: String,
}

/// Sets the terms for a merchant. They count for everything that no closing has taken in yet.
pub async fn arrange(app: &App, ctx: &Ctx, input: ArrangementInput) -> Result<Answered<Arrangement>, Error> {
    ctx.operator()?;
    check_reason(&input.reason)?;
    if !(0..=CREDIT_MAX).contains(&input.credit_limit) {
        return Err(Error::invalid("credit_limit", "give whole minor units, 0 to 1,000,000,000,000"));
    }
    let ArrangementInput { merchant, currency, credit_limit, fee_rate, cut_off, .. } = input;
    let command = Command::Arrange(Arrange { merchant, currency, credit_limit, fee_rate, cut_off });
    let row = audit(app, ctx, "merchant.arrange", merchant.to_string(), &json!(input).to_string());
    let route = "PUT /v1/operator/merchants/{id}/arrangement";
    operations::act(app, ctx, (route, &input), command, Some(row)).await?.expect(|answer| match answer {
        Answer::Arranged(arrangement) => Some(arrangement),
        _ => None,
    })
}

/// What is agreed with a merchant in each of its currencies.
pub async fn arrangements(app: &App, merchant: MerchantId) -> Result<Vec<(Currency, Arrangement)>, Error> {
    let known = koban_store::closings::arrangements(&app.store, merchant).await?;
    let currencies = crate::merchants::get(app, merchant).await?.currencies;
    let found =
        |currency: Currency| known.iter().find(|(own, _)| *own == currency).map(|(_, arrangement)| *arrangement);
    Ok(currencies.into_iter().map(|currency| (currency, found(currency).unwrap_or_default())).collect())
}

/// The cut-off of merchants that have none of their own.
pub fn own_cut_off(app: &App) -> CutOff {
    app.ledger.policy().cut_off
}

/// What an operator asks for.
#[derive(Debug, Clone, Serialize)]
pub struct ClosingInput {
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// The Japanese day with whose beginning the period ends, such as `2018-10-01`.
    pub until: String,
}

/// Closes a period with a merchant out of turn. Errors: [`Error::Conflict`] if nothing has moved since the last closing.
pub async fn make(app: &App, ctx: &Ctx, input: ClosingInput) -> Result<Answered<Closing>, Error> {
    ctx.operator()?;
    let Some(until) = time::day_of_date(&input.until) else {
        return Err(Error::invalid("until", "write the day with whose beginning the period ends, such as 2018-10-01"));
    };
    let (merchant, currency, closing) = (input.merchant, input.currency, ClosingId(app.clock.id()));
    let command = Command::MakeClosing(MakeClosing { closing, merchant, currency, until });
    let row = audit(app, ctx, "closing.make", closing.to_string(), &json!(input).to_string());
    let route = "POST /v1/operator/merchants/{id}/closings";
    let made = operations::act(app, ctx, (route, &input), command, Some(row)).await?.expect(|answer| match answer {
        Answer::Closing(closing) => Some(closing),
        _ => None,
    })?;
    match made.value.clone() {
        Some(closing) => Ok(made.with(*closing)),
        None => Err(Error::Conflict("nothing has moved on this account since the last closing".into())),
    }
}

/// What an operator saw on the bank's statement.
#[derive(Debug, Clone, Serialize)]
pub struct PayoutInput {
    /// Which closing was paid.
    pub closing: ClosingId,
    /// The bank's reference of the transfer, unique for ever.
    pub reference: String,
}

/// Notes that the bank paid the whole of what a closing says is due.
pub async fn pay_out(app: &App, ctx: &Ctx, input: PayoutInput) -> Result<Answered<Closing>, Error> {
    let operator = ctx.operator()?;
    crate::payments::check_reference(Some(&input.reference))?;
    let Closing { id, merchant, currency, .. } = get(app, input.closing).await?;
    let reference = input.reference.clone();
    let command = Command::PayOut(PayOut { closing: id, merchant, currency, reference, operator });
    let row = audit(app, ctx, "closing.pay", id.to_string(), &json!({ "reference": input.reference }).to_string());
    let route = "POST /v1/operator/closings/{id}/payout";
    operations::act(app, ctx, (route, &input), command, Some(row)).await?.expect(|answer| match answer {
        Answer::PaidOut(closing) => Some(*closing),
        _ => None,
    })
}

/// A closing.
pub async fn get(app: &App, id: ClosingId) -> Result<Closing, Error> {
    koban_store::closings::by_id(&app.store, id).await?.ok_or(Error::NotFound("closing"))
}

/// A closing of the merchant's own.
pub async fn of_merchant(app: &App, ctx: &Ctx, id: ClosingId) -> Result<Closing, Error> {
    let merchant = ctx.merchant()?;
    Some(get(app, id).await?).filter(|closing| closing.merchant == merchant).ok_or(Error::NotFound("closing"))
}

/// Closings, newest first: a merchant's, or all of them.
pub async fn list(app: &App, merchant: Option<MerchantId>, page: &Page) -> Result<Paged<Closing>, Error> {
    let limit = page.limit()?;
    let before = page.before()?.map(ClosingId);
    let rows = koban_store::closings::list(&app.store, merchant, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |closing| closing.id.bytes().to_vec()))
}

/// Closings of periods that end on or after the one day and before the other, such as `2018-10-01`, the last period first: a merchant's, or
/// all of them. Errors: more than a file has room for.
pub async fn file(app: &App, merchant: Option<MerchantId>, (from, to): (&str, &str)) -> Result<Vec<Closing>, Error> {
    let day = |field: &str, text: &str| {
        time::day_of_date(text).ok_or_else(|| Error::invalid(field, "write a day such as 2018-10-01"))
    };
    let days = (day("from", from)?, day("to", to)?);
    let found = koban_store::closings::between(&app.store, merchant, days, FILE_MAX + 1).await?;
    if found.len() > usize::from(FILE_MAX) {
        return Err(Error::invalid("from", format!("ask for a shorter time: a file has at most {FILE_MAX} lines")));
    }
    Ok(found)
}

/// Closes every period that is over. Of two hosts that do it at once, one closes and the other is refused.
pub(crate) async fn make_due(app: &App, now: Timestamp) -> Result<(), Error> {
    for _ in 0..ROUNDS_MAX {
        let due = koban_store::closings::due(&app.store, now.jst_day(), own_cut_off(app), MADE_AT_ONCE).await?;
        let full = due.len() == usize::from(MADE_AT_ONCE);
        let commands = due.into_iter().map(|period| {
            let (merchant, currency, until) = (period.merchant, period.currency, period.until);
            Command::MakeClosing(MakeClosing { closing: ClosingId(app.clock.id()), merchant, currency, until })
        });
        if !end_all(app, commands).await? || !full {
            break;
        }
    }
    Ok(())
}
