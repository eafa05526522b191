//! Exchanges as rows, and what operators set about currencies. The ledger writes the rows; here they are found and listed.

use koban_domain::exchanges::{Exchange, Pair, Rate, Reference};
use koban_domain::ids::{ExchangeId, UserId};
use koban_domain::ledger::Audit;
use koban_domain::money::{Currency, Money};
use koban_domain::policy::Policy;
use koban_domain::quotes::QuotePolicy;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, one};
use crate::error::StoreError;
use crate::limits::put_settings;
use crate::query::LAST_ID;

macro_rules! select_exchanges {
    ($rest:literal) => {
        concat!(
            "select id, user_id, sell_amount, sell_currency, buy_amount, buy_currency, base, quote, rate, repaid, at ",
            "from exchanges where ",
            $rest
        )
    };
}

/// The exchange with this id.
pub async fn by_id(store: &Store, id: ExchangeId) -> Result<Option<Exchange>, StoreError> {
    const SQL: &str = select_exchanges!("id = $1");
    one!(store, SQL, [blob(id.bytes())], read)
}

/// What a user exchanged, newest first, before this exchange.
pub async fn by_user(
    store: &Store,
    user: UserId,
    before: Option<ExchangeId>,
    limit: u16,
) -> Result<Vec<Exchange>, StoreError> {
    const SQL: &str = select_exchanges!("user_id = $1 and id < $2 order by id desc limit $3");
    let before = before.map_or(LAST_ID, |id| id.bytes());
    all!(store, SQL, [blob(user.bytes()), blob(before), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<Exchange, StoreError> {
    let id = ExchangeId(row.id("id")?);
    let rate = Rate::of_units(row.long("rate")?);
    Ok(Exchange {
        id,
        user: UserId(row.id("user_id")?),
        sell: Money::new(row.long("sell_amount")?, row.currency("sell_currency")?),
        buy: Money::new(row.long("buy_amount")?, row.currency("buy_currency")?),
        pair: Pair { base: row.currency("base")?, quote: row.currency("quote")? },
        rate: rate.ok_or_else(|| StoreError::damaged(format!("exchange {id}: its rate cannot be one")))?,
        repaid: row.long("repaid")?,
        at: row.time("at")?,
    })
}

const CURRENCY: &str = "currency.";
const REFERENCE: &str = "reference.";
const BAND: &str = "quote.band";
const LAST_GOOD: &str = "quote.last_good_s";

/// Sets how far quotes are trusted. Returns the new generation.
pub async fn put_quote_policy(
    store: &Store,
    policy: &QuotePolicy,
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let (band, last_good_s) = (policy.band.to_string(), policy.last_good_s.to_string());
    put_settings(store, &[(BAND, &band), (LAST_GOOD, &last_good_s)], audit, now).await
}

/// Offers a currency, or changes the limit of the platform's position in it. Returns the new generation.
pub async fn put_currency(
    store: &Store,
    (currency, position_limit): (Currency, i64),
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let (name, value) = (format!("{CURRENCY}{currency}"), position_limit.to_string());
    put_settings(store, &[(&name, &value)], audit, now).await
}

/// Sets what a pair is exchanged at. Returns the new generation.
pub async fn put_reference(
    store: &Store,
    (pair, reference): (Pair, Reference),
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let name = format!("{REFERENCE}{}.{}", pair.base, pair.quote);
    let value = format!("{} {} {}", reference.mid, reference.spread, reference.at.0);
    put_settings(store, &[(&name, &value)], audit, now).await
}

/// Takes a setting into the policy, if it is about currencies.
pub(crate) fn setting(policy: &mut Policy, name: &str, value: &str) -> Result<(), StoreError> {
    let damaged = || StoreError::damaged(format!("the setting `{name}` is `{value}`, which cannot be read"));
    if let Some(code) = name.strip_prefix(CURRENCY) {
        let currency = Currency::new(code).map_err(|_| damaged())?;
        policy.currencies.insert(currency, value.parse().map_err(|_| damaged())?);
    } else if let Some(pair) = name.strip_prefix(REFERENCE) {
        let (pair, reference) = read_reference(pair, value).ok_or_else(damaged)?;
        policy.references.insert(pair, reference);
    } else if name == BAND {
        policy.quotes.band = value
            .parse()
            .ok()
            .filter(|band| QuotePolicy { band: *band, ..policy.quotes }.is_sound())
            .ok_or_else(damaged)?;
    } else if name == LAST_GOOD {
        let seconds = value.parse().ok().filter(|seconds| *seconds <= QuotePolicy::LAST_GOOD_S_MAX);
        policy.quotes.last_good_s = seconds.ok_or_else(damaged)?;
    }
    Ok(())
}

fn read_reference(pair: &str, value: &str) -> Option<(Pair, Reference)> {
    let (base, quote) = pair.split_once('.')?;
    let pair = Pair { base: Currency::new(base).ok()?, quote: Currency::new(quote).ok()? };
    let mut parts = value.split(' ');
    let reference = Reference {
        mid: parts.next()?.parse().ok()?,
        spread: parts.next()?.parse().ok()?,
        at: Timestamp(parts.next()?.parse().ok()?),
    };
    reference.is_sound().then_some((pair, reference))
}
