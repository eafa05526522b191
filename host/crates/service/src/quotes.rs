//! Prices for exchanges: a user asks, a plugin names a rate, the platform works out the amounts, and the user accepts in time or not.
//!
//! A quote is held against the platform's own reference twice: when it is named, and in the commit that trades on it. Without a new price an
//! earlier one of the same pair and side is named again while it is young enough.

use koban_domain::exchanges::{Exchange, REFERENCE_AGE_MS_MAX, Trade, sides};
use koban_domain::guest::QuoteRequest;
use koban_domain::ids::{ExchangeId, QuoteId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Kind;
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::quotes::{self as domain, Quote, QuotePolicy};
use koban_domain::records::{FaultClass, Input, Output};
use koban_domain::releases::Scope;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::quotes as rows;
use koban_store::users::UserRow;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::begin;
use crate::guests::{self, For};
use crate::operations::Answered;
use crate::orders::Order;
use crate::payments::check_amount;
use crate::plugins;
use crate::users::audit;

/// How long a quote that ran out is kept, to be looked at.
const KEPT_MS: i64 = 86_400_000;
/// Most quotes that one sweep forgets.
const FORGOTTEN_MAX: u16 = 1_000;

/// What a user asks the price of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteInput {
    /// The currency that is given.
    pub sell: Currency,
    /// The currency that is got.
    pub buy: Currency,
    /// How much of one of the two.
    pub amount: Money,
}

/// Names a price to the signed-in user. Nothing moves and nothing is held. Errors: refusals of the books that can be foreseen, or
/// `rate_not_available` where no exchange names a price that the platform stands by.
pub async fn ask(app: &App, ctx: &Ctx, input: QuoteInput) -> Result<Quote, Error> {
    let user = ctx.user()?;
    ctx.not_on_trial()?;
    check_amount(input.amount)?;
    let QuoteInput { sell, buy, amount } = input;
    if sell == buy {
        return Err(Error::invalid("buy", "is the currency that is sold; name another one"));
    }
    if amount.currency != sell && amount.currency != buy {
        return Err(Error::invalid("currency", "name the currency that is sold or the one that is bought"));
    }
    let (policy, now) = (app.ledger.policy(), app.clock.now());
    if !policy.offers(sell) || !policy.offers(buy) {
        return Err(Error::refused(Refusal::CurrencyNotAccepted));
    }
    let user = koban_store::users::by_id(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    if user.kind != WalletKind::Funds {
        return Err(Error::refused(Refusal::NotVerified));
    }
    let reference = policy.reference(sell, buy).filter(|(_, it)| now.since_ms(it.at) <= REFERENCE_AGE_MS_MAX);
    if reference.is_none() {
        return Err(Error::refused(Refusal::RateNotAvailable));
    }
    let person = user.id.0.as_bytes();
    let mut refusal = Refusal::RateNotAvailable;
    for plugin in plugins::all_in_force_for(app, Kind::Exchange, &[Scope::Platform], person).await? {
        match name(app, ctx, &plugin, &user, input).await? {
            Ok(quote) => {
                rows::put(&app.store, &quote).await?;
                return Ok(quote);
            }
            Err(why) => refusal = why,
        }
    }
    Err(Error::refused(refusal))
}

/// One plugin's price, or an earlier one of its. Refusals: why the platform does not stand by either.
async fn name(
    app: &App,
    ctx: &Ctx,
    plugin: &Plugin,
    user: &UserRow,
    input: QuoteInput,
) -> Result<Result<Quote, Refusal>, Error> {
    let named = fresh(app, ctx, plugin, user, input).await?;
    let Err(refusal) = named else { return Ok(named) };
    let (policy, now) = (app.ledger.policy(), app.clock.now());
    let since = now.plus_ms(-i64::from(policy.quotes.last_good_s) * 1_000);
    let earlier = match policy.quotes.last_good_s {
        0 => None,
        _ => rows::last_good(&app.store, plugin.id(), (input.sell, input.buy), since).await?,
    };
    // What a component named that was revoked since is no price any more.
    let earlier = earlier.filter(|earlier| policy.honours(&relies_on(earlier)));
    let Some(earlier) = earlier else { return Ok(Err(refusal)) };
    let again = Quote {
        id: QuoteId(app.clock.id()),
        user: user.id,
        asked: input.amount,
        at: now,
        expires_at: now.plus_ms(earlier.expires_at.since_ms(earlier.at)),
        last_good: true,
        ..earlier
    };
    Ok(stand_by(app, again, now))
}

/// What the plugin names now.
async fn fresh(
    app: &App,
    ctx: &Ctx,
    plugin: &Plugin,
    user: &UserRow,
    input: QuoteInput,
) -> Result<Result<Quote, Refusal>, Error> {
    let QuoteInput { sell, buy, amount } = input;
    let rates = koban_store::feeds::rates(&app.store, plugin.id()).await?;
    let owner = Some((user.kind, user.created_at));
    let facts = begin::facts(&plugin.manifest().facts, ctx, owner, app.clock.now());
    let whom = For { scope: "platform", locale: &ctx.locale, about: Some(user.id) };
    let request = QuoteRequest { sell, buy, amount, rates, facts };
    let (answer, record) = guests::call(app, plugin, whom, Input::Quote(request)).await;
    let decision = record.id;
    if answer.as_ref().is_err_and(|fault| fault.class == FaultClass::Busy) {
        return Err(Error::Busy);
    }
    begin::keep(app, ctx, vec![record]).await?;
    let Ok(Output::Price(price)) = answer else { return Ok(Err(Refusal::RateNotAvailable)) };
    let now = app.clock.now();
    let Some((quoted, rate, mid)) = domain::read(&price, now) else {
        tracing::warn!(plugin = plugin.id(), %decision, "a price was named that the books cannot trade at");
        return Ok(Err(Refusal::RateNotAvailable));
    };
    let quote = Quote {
        id: QuoteId(app.clock.id()),
        user: user.id,
        plugin: plugin.id().to_owned(),
        component: plugin.digest(),
        decision,
        asked: amount,
        sell: Money::new(0, sell),
        buy: Money::new(0, buy),
        pair: quoted.pair,
        rate,
        mid,
        fixed_at: quoted.fixed_at,
        at: now,
        expires_at: quoted.expires_at,
        last_good: false,
    };
    Ok(stand_by(app, quote, now))
}

/// Holds a price against the platform's own, and works out the two amounts.
fn stand_by(app: &App, quote: Quote, now: Timestamp) -> Result<Quote, Refusal> {
    let policy = app.ledger.policy();
    let (sell, buy) = (quote.sell.currency, quote.buy.currency);
    let reference = policy.reference(sell, buy).ok_or(Refusal::RateNotAvailable)?;
    if let Err(refusal) = domain::check(&policy.quotes, reference, &quote.quoted(), quote.rate, now) {
        tracing::warn!(plugin = quote.plugin, decision = %quote.decision, %refusal, "a price is not stood by");
        return Err(refusal);
    }
    let sides = sides(quote.pair, sell, quote.asked, quote.rate).ok_or(Refusal::Overflow)?;
    domain::check_sides(&sides)?;
    Ok(Quote { sell: sides.sell, buy: sides.buy, ..quote })
}

/// A quote of the signed-in user.
pub async fn get(app: &App, ctx: &Ctx, id: QuoteId) -> Result<Quote, Error> {
    let user: UserId = ctx.user()?;
    rows::by_id(&app.store, id, user).await?.ok_or(Error::NotFound("quote"))
}

/// Exchanges at a quote of the signed-in user. A quote is accepted once: its id is the key of the operation, so the same request again has the
/// first answer. Errors: refusals of the books, `quote_expired` among them, also when the component that named the price was revoked.
pub async fn accept(app: &App, ctx: &Ctx, id: QuoteId) -> Result<Answered<Exchange>, Error> {
    let quote = get(app, ctx, id).await?;
    let ctx = Ctx { key: id.to_string(), ..ctx.clone() };
    order(&quote)?.decide(app, &ctx).await?.expect(|answer| match answer {
        Answer::Exchanged(exchange) => Some(exchange),
        _ => None,
    })
}

#[derive(Serialize)]
struct Accepted {
    quote: QuoteId,
}

fn order(quote: &Quote) -> Result<Order, Error> {
    let (user, sell, buy, amount, rate) =
        (quote.user, quote.sell.currency, quote.buy.currency, quote.asked, quote.rate);
    let quoted = Some(quote.quoted());
    let order = Order::new("exchange", "POST /v1/quotes/{id}/accept", &Accepted { quote: quote.id }, move |id, _| {
        Command::Exchange(Trade { exchange: ExchangeId(id), user, sell, buy, amount, rate, quoted })
    })?;
    Ok(order.resting_on(relies_on(quote), Refusal::QuoteExpired))
}

/// The component that named the price: it may be replaced meanwhile, and must not be revoked.
fn relies_on(quote: &Quote) -> Reliance {
    Reliance { plugin: quote.plugin.clone(), digest: quote.component, in_force: false }
}

/// How far quotes are trusted.
pub fn policy(app: &App) -> QuotePolicy {
    app.ledger.policy().quotes
}

/// Sets how far quotes are trusted, from the next commit on. Errors: a band or an age that cannot be used.
pub async fn set_policy(app: &App, ctx: &Ctx, band: &str, last_good_s: u32) -> Result<(), Error> {
    ctx.operator()?;
    let wrong = || Error::invalid("band", "use a share from 0 to below 0.5 with at most 6 decimals, such as 0.05");
    let policy = QuotePolicy { band: band.parse().map_err(|_| wrong())?, last_good_s };
    if last_good_s > QuotePolicy::LAST_GOOD_S_MAX {
        let most = QuotePolicy::LAST_GOOD_S_MAX;
        return Err(Error::invalid("last_good_s", format!("use 0 to {most} seconds")));
    }
    if !policy.is_sound() {
        return Err(wrong());
    }
    let detail = json!({ "band": policy.band, "last_good_s": last_good_s });
    let audit = audit(app, ctx, "policy.quotes", "quotes".to_owned(), &detail.to_string());
    koban_store::exchanges::put_quote_policy(&app.store, &policy, &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// Forgets quotes that ran out a day ago.
pub(crate) async fn sweep(app: &App, now: Timestamp) -> Result<(), Error> {
    rows::forget(&app.store, now.plus_ms(-KEPT_MS), FORGOTTEN_MAX).await?;
    Ok(())
}
