//! Exchanging one currency for another: what the platform asks, what a user agreed to, and what operators set.
//!
//! The rate that a user sends is checked again in the commit: under another one nothing is traded.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::exchanges::{Exchange, Pair, REFERENCE_AGE_MS_MAX, Rate, Reference, Trade};
use koban_domain::ids::{ExchangeId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::limits::{Action, WalletKind, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::time::Timestamp;
use koban_store::exchanges as rows;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::Answered;
use crate::orders::Order;
use crate::page::{Page, Paged};
use crate::payments::check_amount;
use crate::users::audit;

/// What a pair is exchanged at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// The two currencies.
    pub pair: Pair,
    /// What who buys the base pays for one unit.
    pub buying: Rate,
    /// What who sells the base gets for one unit.
    pub selling: Rate,
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless another is set before.
    pub until: Timestamp,
}

/// What a user asks for.
#[derive(Debug, Clone, Serialize)]
pub struct ExchangeInput {
    /// The currency that is given.
    pub sell: Currency,
    /// The currency that is got.
    pub buy: Currency,
    /// How much of one of the two.
    pub amount: Money,
    /// The rate that the user agreed to.
    pub rate: Rate,
}

/// A currency as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrencyView {
    /// Which.
    pub currency: Currency,
    /// The most that the platform's position may reach either way, minor units; none for yen.
    pub position_limit: Option<i64>,
    /// What the platform holds of it by exchanges; below zero what it lacks. Minor units.
    pub position: i64,
    /// What rounding left, minor units.
    pub rounding: i64,
}

/// What can be exchanged now, and at what. A reference that is too old is no price.
pub fn prices(app: &App) -> Vec<Price> {
    let (policy, now) = (app.ledger.policy(), app.clock.now());
    let fresh = policy.references.iter().filter(|(_, reference)| now.since_ms(reference.at) <= REFERENCE_AGE_MS_MAX);
    fresh
        .filter(|(pair, _)| policy.offers(pair.base) && policy.offers(pair.quote))
        .filter_map(|(pair, reference)| {
            Some(Price {
                pair: *pair,
                buying: reference.buying()?,
                selling: reference.selling()?,
                since: reference.at,
                until: reference.at.plus_ms(REFERENCE_AGE_MS_MAX),
            })
        })
        .collect()
}

/// Exchanges funds of the signed-in user at the rate they agreed to, if it is still in force.
pub async fn exchange(app: &App, ctx: &Ctx, input: ExchangeInput) -> Result<Answered<Exchange>, Error> {
    order(ctx, input)?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Exchanged(exchange) => Some(exchange),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) fn order(ctx: &Ctx, input: ExchangeInput) -> Result<Order, Error> {
    let user = ctx.user()?;
    check_amount(input.amount)?;
    if input.amount.currency != input.sell && input.amount.currency != input.buy {
        return Err(Error::invalid("currency", "name the currency that is sold or the one that is bought"));
    }
    let ExchangeInput { sell, buy, amount, rate } = input;
    Order::new("exchange", "POST /v1/exchanges", &input, move |id, _| {
        Command::Exchange(Trade { exchange: ExchangeId(id), user, sell, buy, amount, rate, quoted: None })
    })
}

/// An exchange, for whoever made it.
pub async fn get(app: &App, ctx: &Ctx, id: ExchangeId) -> Result<Exchange, Error> {
    let user: UserId = ctx.user()?;
    rows::by_id(&app.store, id).await?.filter(|exchange| exchange.user == user).ok_or(Error::NotFound("exchange"))
}

/// The signed-in user's exchanges, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<Exchange>, Error> {
    let (user, limit) = (ctx.user()?, page.limit()?);
    let before = page.before()?.map(ExchangeId);
    let found = rows::by_user(&app.store, user, before, limit + 1).await?;
    Ok(Paged::of(found, limit, |exchange| exchange.id.bytes().to_vec()))
}

/// The platform's currencies, yen first, with its positions.
pub async fn currencies(app: &App, ctx: &Ctx) -> Result<Vec<CurrencyView>, Error> {
    ctx.operator()?;
    let policy = app.ledger.policy();
    let offered: Vec<Currency> = std::iter::once(Currency::JPY).chain(policy.currencies.keys().copied()).collect();
    let key = |class, currency| AccountKey::platform(class, currency).id();
    let keys: Vec<_> = offered
        .iter()
        .flat_map(|currency| [key(Class::FxPosition, *currency), key(Class::Rounding, *currency)])
        .collect();
    let accounts = koban_store::statements::balances(&app.store, &keys).await?;
    let balance = |class, currency| accounts.get(&key(class, currency)).map_or(0, |account| account.balance());
    Ok(offered
        .into_iter()
        .map(|currency| CurrencyView {
            currency,
            position_limit: policy.position_limit(currency),
            position: balance(Class::FxPosition, currency),
            rounding: balance(Class::Rounding, currency),
        })
        .collect())
}

/// Offers a currency beside yen, or changes the limit of the platform's position in it. What wallets hold is never taken back:
/// with a limit of nought the currency can only flow back.
pub async fn put_currency(app: &App, ctx: &Ctx, currency: Currency, position_limit: i64) -> Result<(), Error> {
    ctx.operator()?;
    if currency == Currency::JPY {
        return Err(Error::invalid(
            "currency",
            "the platform's books are in yen: yen is always offered, and has no limit",
        ));
    }
    if !(0..=1_000_000_000_000).contains(&position_limit) {
        return Err(Error::invalid("position_limit", "use whole minor units, 0 to 1,000,000,000,000"));
    }
    if position_limit > 0 {
        check_limited(app, currency)?;
    }
    let detail = json!({ "currency": currency, "position_limit": position_limit }).to_string();
    let audit = audit(app, ctx, "currency.put", currency.to_string(), &detail);
    rows::put_currency(&app.store, (currency, position_limit), &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// What a wallet may hold and send in a day is limited in every currency that is offered: without, one currency would be the way round the
/// limits of another.
fn check_limited(app: &App, currency: Currency) -> Result<(), Error> {
    let (policy, now) = (app.ledger.policy(), app.clock.now());
    for (action, window, words) in
        [(Action::Hold, Window::Once, "`hold` `once`"), (Action::Send, Window::Day, "`send` `day`")]
    {
        if policy.limits.most(WalletKind::Funds, action, window, currency, now).is_none() {
            let text = format!("limit {currency} first: PUT /v1/operator/limits for wallet `funds`, {words}");
            return Err(Error::invalid("currency", text));
        }
    }
    Ok(())
}

/// Sets what a pair is exchanged at from now on; it stands for four days.
pub async fn put_reference(app: &App, ctx: &Ctx, pair: Pair, mid: &str, spread: &str) -> Result<(), Error> {
    ctx.operator()?;
    let (mid, spread) = (decimal("mid", mid)?, decimal("spread", spread)?);
    let policy = app.ledger.policy();
    for (field, currency) in [("base", pair.base), ("quote", pair.quote)] {
        if !policy.offers(currency) {
            return Err(Error::invalid(field, format!("offer {currency} first: PUT /v1/operator/currencies")));
        }
    }
    if pair.base == pair.quote {
        return Err(Error::invalid("quote", "name two currencies"));
    }
    if policy.references.contains_key(&Pair { base: pair.quote, quote: pair.base }) {
        return Err(Error::invalid("base", "this pair is priced the other way round; keep to it"));
    }
    let reference = Reference { mid, spread, at: app.clock.now() };
    if !reference.is_sound() {
        let text = "use a middle above nought with at most 12 decimals, below a million, and a spread from 0 to below 0.5 with at most 6; \
            the selling rate must be at least 0.0001";
        return Err(Error::invalid("mid", text));
    }
    let detail = json!({ "mid": mid.to_string(), "spread": spread.to_string() }).to_string();
    let audit = audit(app, ctx, "reference.put", format!("{}/{}", pair.base, pair.quote), &detail);
    rows::put_reference(&app.store, (pair, reference), &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

/// A plain decimal number in text.
fn decimal(field: &str, text: &str) -> Result<Decimal, Error> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = Decimal::from_str_exact(text).ok().filter(|_| plain);
    number.ok_or_else(|| Error::invalid(field, "write a plain decimal number in text, such as 112.745"))
}
