//! Exchanging money of one currency for money of another, at the platform's own rates.
//!
//! A trade has two legs over the platform's positions, so that each currency sums to zero by itself. Rates and amounts are
//! rounded against the customer; what rounding leaves, at most one minor unit, goes to an account of its own.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::books::{Books, Postings};
use crate::ids::{ExchangeId, UserId};
use crate::limits::WalletKind;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::quotes::{self, Quoted};
use crate::time::Timestamp;

/// Decimals of a rate that customers see.
pub const DECIMALS: u32 = 4;
const SCALE: i128 = 10_000;
/// The highest rate, in ten-thousandths: a million of the quote currency for one of the base.
const RATE_MAX: i64 = 10_000_000_000;
/// How long a reference stands: the week-end of a daily fixing and a holiday. Older ones are not traded on.
pub const REFERENCE_AGE_MS_MAX: i64 = 4 * 86_400_000;

/// How much of a quote currency one unit of a base currency costs, in ten-thousandths: 113.8727 is 1,138,727.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(i64);

/// The text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a rate; write a number above nought and below a million with at most four decimals, such as 113.8727"
)]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Rate, RateError> {
        let wrong = || RateError(text.chars().take(24).collect());
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let rate = Decimal::from_str_exact(text).ok().filter(|_| plain).ok_or_else(wrong)?;
        rate_of(rate, RoundingStrategy::ToZero).filter(|found| found.decimal() == rate).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;
    fn try_from(text: String) -> Result<Rate, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    /// With four decimals: `113.8727`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

impl Rate {
    /// The rate of so many ten-thousandths, if it can be one.
    pub fn of_units(units: i64) -> Option<Rate> {
        (1..=RATE_MAX).contains(&units).then_some(Rate(units))
    }

    /// Ten-thousandths.
    pub fn units(self) -> i64 {
        self.0
    }

    /// The rate as an exact number.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.0, DECIMALS)
    }
}

/// The rate that is this number exactly; none if it has more than four decimals or is out of reach.
pub fn rate_exactly(exact: Decimal) -> Option<Rate> {
    rate_of(exact, RoundingStrategy::ToZero).filter(|rate| rate.decimal() == exact)
}

/// The rate with four decimals, rounded as told; `None` if it is nought or out of reach.
fn rate_of(exact: Decimal, rounding: RoundingStrategy) -> Option<Rate> {
    use rust_decimal::prelude::ToPrimitive as _;
    let units = exact.checked_mul(Decimal::from(10_000))?.round_dp_with_strategy(0, rounding);
    Rate::of_units(units.to_i64()?)
}

/// Two currencies that are exchanged: prices are in `quote` for one unit of `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// What is priced.
    pub base: Currency,
    /// In what it is priced.
    pub quote: Currency,
}

/// What an operator set for a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The middle: how much of the quote currency one unit of the base is worth.
    pub mid: Decimal,
    /// What is added when customers buy the base and taken off when they sell it, as a share: 0.01 is one in a hundred.
    pub spread: Decimal,
    /// When it was set.
    pub at: Timestamp,
}

impl Reference {
    /// Whether prices can follow from it: the middle above nought with at most 12 decimals, the spread from nought to below a half
    /// with at most 6, so that their product is exact.
    pub fn is_sound(&self) -> bool {
        let half = Decimal::new(5, 1);
        self.mid > Decimal::ZERO
            && self.mid.scale() <= 12
            && self.spread >= Decimal::ZERO
            && self.spread < half
            && self.spread.scale() <= 6
            && self.selling().is_some()
            && self.buying().is_some()
    }

    /// What a customer who buys the base pays for one unit: rounded up.
    pub fn buying(&self) -> Option<Rate> {
        let exact = self.mid.checked_mul(Decimal::ONE.checked_add(self.spread)?)?;
        rate_of(exact, RoundingStrategy::ToPositiveInfinity)
    }

    /// What a customer who sells the base gets for one unit: rounded down.
    pub fn selling(&self) -> Option<Rate> {
        let exact = self.mid.checked_mul(Decimal::ONE.checked_sub(self.spread)?)?;
        rate_of(exact, RoundingStrategy::ToZero)
    }
}

/// Both sides of a trade. What rounding leaves is taken from the customer: it stands in one of the two `left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    /// What the customer gives.
    pub sell: Money,
    /// What the customer gets.
    pub buy: Money,
    /// What of the sold amount is more than the rate asks for: less than one minor unit, so 0 or 1.
    pub left_of_sell: i64,
    /// By how much the bought amount is less than the rate gives: 0 or 1.
    pub left_of_buy: i64,
}

/// Works out the side that was not named. Sells the base: `rate` is what it gives; buys the base: what it costs.
/// `None` if an amount would not fit.
pub fn sides(pair: Pair, sell: Currency, amount: Money, rate: Rate) -> Option<Sides> {
    let sells_base = sell == pair.base;
    let other = if sells_base { pair.quote } else { pair.base };
    // One minor unit of the base is worth `above / below` minor units of the quote.
    let ten = |exponent: u8| 10_i128.pow(u32::from(exponent));
    let above = i128::from(rate.0) * ten(pair.quote.exponent());
    let below = SCALE * ten(pair.base.exponent());
    let minor = i128::from(amount.minor);
    let (numerator, denominator) = if amount.currency == pair.base { (above, below) } else { (below, above) };
    let product = minor.checked_mul(numerator)?;
    let down = product.div_euclid(denominator);
    let rest = i64::from(product.rem_euclid(denominator) != 0);
    let down = i64::try_from(down).ok()?;
    if amount.currency == sell {
        // Rounded down: the customer gets less.
        let buy = Money::new(down, other);
        Some(Sides { sell: amount, buy, left_of_sell: 0, left_of_buy: rest })
    } else {
        // Rounded up: the customer pays more.
        let sell = Money::new(down.checked_add(rest)?, sell);
        Some(Sides { sell, buy: amount, left_of_sell: rest, left_of_buy: 0 })
    }
}

/// A customer's wish, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The exchange to be.
    pub exchange: ExchangeId,
    /// Who exchanges.
    pub user: UserId,
    /// The currency that is given.
    pub sell: Currency,
    /// The currency that is got.
    pub buy: Currency,
    /// How much of one of the two; the other follows from the rate.
    pub amount: Money,
    /// The rate that the customer agreed to. Another one in force: refused, never silently traded.
    pub rate: Rate,
    /// The quote that the rate is of; without one it is the platform's own.
    pub quoted: Option<Quoted>,
}

/// An exchange that was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Its id.
    pub id: ExchangeId,
    /// Who exchanged.
    pub user: UserId,
    /// What was given.
    pub sell: Money,
    /// What was got.
    pub buy: Money,
    /// Of which currency one unit had the rate, and in which it is written.
    pub pair: Pair,
    /// The rate.
    pub rate: Rate,
    /// What of the bought amount repaid what was owed in that currency, minor units.
    pub repaid: i64,
    /// When it was posted.
    pub at: Timestamp,
}

/// Exchanges funds of a verified user at the rate in force, over the platform's positions.
pub fn exchange(books: &mut Books, command: &Trade, now: Timestamp) -> Result<(Postings, Exchange), Refusal> {
    let Trade { sell, buy, amount, rate, .. } = *command;
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let (giving, getting) = (books.wallet(command.user, sell)?, books.wallet(command.user, buy)?);
    giving.user.check_open()?;
    let policy = books.policy.clone();
    let is_named = amount.currency == sell || amount.currency == buy;
    if sell == buy || !is_named || !policy.offers(sell) || !policy.offers(buy) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if giving.user.kind != WalletKind::Funds {
        return Err(Refusal::NotVerified);
    }
    giving.user.check_not_revoked()?;
    let (pair, reference) = policy.reference(sell, buy).ok_or(Refusal::RateNotAvailable)?;
    if now.since_ms(reference.at) > REFERENCE_AGE_MS_MAX {
        return Err(Refusal::RateNotAvailable);
    }
    let pair = match &command.quoted {
        Some(quoted) => {
            quotes::check(&policy.quotes, (pair, reference), quoted, rate, now)?;
            quoted.pair
        }
        None => {
            let in_force = if sell == pair.base { reference.selling() } else { reference.buying() };
            if in_force != Some(rate) {
                return Err(Refusal::RateChanged);
            }
            pair
        }
    };
    let sides = sides(pair, sell, amount, rate).ok_or(Refusal::Overflow)?;
    if sides.sell.minor <= 0 || sides.buy.minor <= 0 {
        return Err(Refusal::AmountTooSmall);
    }
    if giving.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    let repaid = getting.repayment(sides.buy.minor);
    books.check_balance_limit(&getting, Money::new(sides.buy.minor - repaid, buy), now)?;
    if giving.funds.available() < sides.sell.minor {
        return Err(Refusal::InsufficientFunds);
    }
    let sold = sides.sell.minor - sides.left_of_sell;
    let bought = sides.buy.minor.checked_add(sides.left_of_buy).ok_or(Refusal::Overflow)?;
    for (currency, change) in [(sell, sold), (buy, -bought)] {
        let position = books.account(AccountKey::platform(Class::FxPosition, currency)).balance();
        let after = position.saturating_add(change);
        // What brings a position back towards nought is always taken.
        if policy.position_limit(currency).is_some_and(|most| after.abs() > most && after.abs() > position.abs()) {
            return Err(Refusal::PositionLimit);
        }
    }

    // After this point the exchange must succeed.
    let kind = EntryKind::Exchange;
    let of = |class, currency| AccountKey::platform(class, currency);
    let mut postings = Postings::default();
    postings.post(books, kind, giving.funds.key, of(Class::FxPosition, sell), sold)?;
    postings.post(books, kind, giving.funds.key, of(Class::Rounding, sell), sides.left_of_sell)?;
    postings.post(books, kind, of(Class::FxPosition, buy), getting.receivable.key, repaid)?;
    postings.post(books, kind, of(Class::FxPosition, buy), getting.funds.key, sides.buy.minor - repaid)?;
    postings.post(books, kind, of(Class::FxPosition, buy), of(Class::Rounding, buy), sides.left_of_buy)?;
    let Sides { sell, buy, .. } = sides;
    let exchange = Exchange { id: command.exchange, user: command.user, sell, buy, pair, rate, repaid, at: now };
    books.exchanges.put(exchange.id, exchange.clone());
    Ok((postings, exchange))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_and_nothing_else_is_one() {
        let rate: Rate = "113.8727".parse().unwrap();
        assert_eq!((rate.units(), rate.to_string()), (1_138_727, "113.8727".to_owned()));
        assert_eq!("113.87".parse::<Rate>().unwrap().to_string(), "113.8700");
        for wrong in ["", "0", "-1", "+1", "1e3", "1.00001", "1000000.0001", "113,8727", " 1"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        assert_eq!("1000000".parse::<Rate>().unwrap().units(), RATE_MAX);
    }
}
