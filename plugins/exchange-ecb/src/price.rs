//! A price for a pair: the cross of its two rates against the euro, with the spread, rounded against the customer.

use koban_sdk::market::{Price, Rate, Request};
use koban_sdk::{Decimal, Failure};

use crate::settings::Spread;

/// Decimals of a cross before the spread: enough that the fourth decimal of the price is exact.
const MID_SCALE: u8 = 10;
/// Decimals of a price.
const RATE_SCALE: u8 = 4;
/// Decimals with which the spread is worked out; what is cut off is less than a thousandth of the last decimal of a price.
const SPREAD_SCALE: u8 = 6;

/// What one unit of the base costs or brings. Yen are always what is paid with, otherwise the currency that is given.
pub(crate) fn price(now: u64, settings: &Spread, request: &Request) -> Result<Price, Failure> {
    let (sell, buy) = (request.sell.as_str(), request.buy.as_str());
    if let Some(unquoted) = [sell, buy].into_iter().find(|currency| !settings.quotes(currency)) {
        return Err(not_quoted(unquoted));
    }
    let (base, quote) = if sell == "JPY" || buy != "JPY" { (buy, sell) } else { (sell, buy) };
    let (of_base, base_at) = in_euros(&request.rates, base)?;
    let (of_quote, quote_at) = in_euros(&request.rates, quote)?;
    let fixed = base_at.unwrap_or(u64::MAX).min(quote_at.unwrap_or(u64::MAX));
    if now.saturating_sub(fixed) > settings.age_ms_max {
        let failure = Failure::new("rates_too_old", format!("the rates of {base} and {quote} are older than allowed"));
        return Err(failure.text("rates_too_old").retryable());
    }
    let too_large = || not_quoted(base);
    let mid = of_quote.divided_by(of_base, MID_SCALE).filter(|mid| mid.mantissa > 0).ok_or_else(too_large)?;
    let (one, buys) = (Decimal::new(1, 0), buy == base);
    let share = if buys { one.plus(settings.spread) } else { one.minus(settings.spread) };
    let share = share.and_then(|share| share.rounded_up(SPREAD_SCALE)).ok_or_else(too_large)?;
    let rate = with_spread(mid, share, buys).filter(|rate| rate.mantissa > 0).ok_or_else(too_large)?;
    Ok(Price {
        base: base.to_owned(),
        quote: quote.to_owned(),
        rate,
        mid,
        fixed,
        expires: now.saturating_add(settings.quote_ms),
    })
}

/// `mid * share`, rounded up for who buys and down for who sells: against the customer.
fn with_spread(mid: Decimal, share: Decimal, buys: bool) -> Option<Decimal> {
    let exact = i128::from(mid.mantissa).checked_mul(i128::from(share.mantissa))?;
    let unit = 10_i128.checked_pow(u32::from(mid.scale + share.scale - RATE_SCALE))?;
    let (down, rest) = (exact.div_euclid(unit), exact.rem_euclid(unit));
    let mantissa = if buys && rest != 0 { down + 1 } else { down };
    Some(Decimal { mantissa: i64::try_from(mantissa).ok()?, scale: RATE_SCALE })
}

/// How many units of a currency one euro is worth, and since when; the euro itself is worth one, always.
fn in_euros(rates: &[Rate], currency: &str) -> Result<(Decimal, Option<u64>), Failure> {
    if currency == "EUR" {
        return Ok((Decimal::new(1, 0), None));
    }
    let rate = rates.iter().filter(|rate| rate.base == "EUR" && rate.quote == currency).max_by_key(|rate| rate.at);
    rate.map(|rate| (rate.mid, Some(rate.at))).ok_or_else(|| not_quoted(currency))
}

fn not_quoted(currency: &str) -> Failure {
    Failure::new("not_quoted", format!("there is no rate for {currency}")).text("not_quoted")
}
