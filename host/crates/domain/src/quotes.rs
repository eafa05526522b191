//! Prices that plugins name for exchanges: what a quote is, and how far it is trusted.
//!
//! A plugin names a rate and nothing else. The amounts are worked out here, and the rate is held against the platform's own reference when it is
//! named and once more in the commit that trades on it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::exchanges::{Pair, REFERENCE_AGE_MS_MAX, Rate, Reference, Sides};
use crate::guest::Price;
use crate::ids::{QuoteId, RecordId, UserId};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::time::Timestamp;

/// How long a price may hold, in milliseconds after it was named.
pub const HOLDS_MS_MAX: i64 = 120_000;
/// How long it holds at least.
pub const HOLDS_MS_MIN: i64 = 1_000;
/// How far ahead of the host's clock a feed may say that a rate was fixed.
pub const AHEAD_MS_MAX: i64 = 86_400_000;

/// A price that a plugin named and a customer accepts: what the books hold it against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// The quote.
    pub quote: QuoteId,
    /// Of which currency one unit has the rate, and in which it is written.
    pub pair: Pair,
    /// When the oldest rate that it rests on was fixed.
    pub fixed_at: Timestamp,
    /// Until when it may be accepted.
    pub expires_at: Timestamp,
}

/// How far quotes are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotePolicy {
    /// The furthest that a quoted rate may be from the reference, as a share of it: 0.05 is one in twenty.
    pub band: Decimal,
    /// How old the last good quote may be when the plugin gives no new one, in seconds; 0 for none.
    pub last_good_s: u32,
}

impl QuotePolicy {
    /// The longest that a last good quote may serve: an hour.
    pub const LAST_GOOD_S_MAX: u32 = 3_600;

    /// Whether it can be used: a band from 0 to below a half with at most 6 decimals, and at most an hour.
    pub fn is_sound(&self) -> bool {
        let half = Decimal::new(5, 1);
        (Decimal::ZERO..half).contains(&self.band)
            && self.band.scale() <= 6
            && self.last_good_s <= QuotePolicy::LAST_GOOD_S_MAX
    }
}

impl Default for QuotePolicy {
    /// One in twenty, and five minutes.
    fn default() -> QuotePolicy {
        QuotePolicy { band: Decimal::new(5, 2), last_good_s: 300 }
    }
}

/// Whether a quoted rate may be traded at now, held against the platform's own reference. Refusals, in this order: the quote ran out, its rates are too
/// old, it is too far from the reference.
pub fn check(
    policy: &QuotePolicy,
    (pair, reference): (Pair, Reference),
    quoted: &Quoted,
    rate: Rate,
    now: Timestamp,
) -> Result<(), Refusal> {
    if now > quoted.expires_at {
        return Err(Refusal::QuoteExpired);
    }
    if now.since_ms(quoted.fixed_at) > REFERENCE_AGE_MS_MAX {
        return Err(Refusal::RateStale);
    }
    // A pair may be quoted the other way round than it is referenced.
    let mid = if quoted.pair == pair { Some(reference.mid) } else { Decimal::ONE.checked_div(reference.mid) };
    let within = mid.and_then(|mid| {
        let apart = rate.decimal().checked_sub(mid)?.abs();
        Some(apart <= mid.checked_mul(policy.band)?)
    });
    if within == Some(true) { Ok(()) } else { Err(Refusal::RateOutOfBand) }
}

/// A price that was named to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Its id.
    pub id: QuoteId,
    /// To whom.
    pub user: UserId,
    /// The plugin that named it.
    pub plugin: String,
    /// Its component.
    pub component: Digest,
    /// The decision that named the rate.
    pub decision: RecordId,
    /// What was asked for: one of the two amounts.
    pub asked: Money,
    /// What the user gives.
    pub sell: Money,
    /// What the user gets.
    pub buy: Money,
    /// Of which currency one unit has the rate, and in which it is written.
    pub pair: Pair,
    /// The rate, spread included.
    pub rate: Rate,
    /// The rate before the spread.
    pub mid: Decimal,
    /// When the oldest rate that it rests on was fixed.
    pub fixed_at: Timestamp,
    /// When it was named.
    pub at: Timestamp,
    /// Until when it may be accepted.
    pub expires_at: Timestamp,
    /// The plugin gave no new price: an earlier one was named again.
    pub last_good: bool,
}

impl Quote {
    /// What the books hold it against.
    pub fn quoted(&self) -> Quoted {
        Quoted { quote: self.id, pair: self.pair, fixed_at: self.fixed_at, expires_at: self.expires_at }
    }
}

/// A price as a plugin named it, read exactly. None if no rate of the books is that number, or it holds for a wrong time.
pub fn read(price: &Price, now: Timestamp) -> Option<(Quoted, Rate, Decimal)> {
    let exact = |decimal: &crate::guest::Decimal| {
        Decimal::try_from_i128_with_scale(i128::from(decimal.mantissa), u32::from(decimal.scale)).ok()
    };
    let time = |at: u64| i64::try_from(at).ok().map(Timestamp);
    let rate = crate::exchanges::rate_exactly(exact(&price.rate)?)?;
    let (fixed_at, expires_at) = (time(price.fixed)?, time(price.expires)?);
    let holds = (HOLDS_MS_MIN..=HOLDS_MS_MAX).contains(&expires_at.since_ms(now));
    let pair = Pair { base: price.base, quote: price.quote };
    let quoted = Quoted { quote: QuoteId::default(), pair, fixed_at, expires_at };
    (holds && fixed_at.since_ms(now) <= AHEAD_MS_MAX).then_some((quoted, rate, exact(&price.mid)?))
}

/// Whether both amounts are worth something. Refusals: one of them comes to nothing.
pub fn check_sides(sides: &Sides) -> Result<(), Refusal> {
    if sides.sell.minor <= 0 || sides.buy.minor <= 0 { Err(Refusal::AmountTooSmall) } else { Ok(()) }
}
