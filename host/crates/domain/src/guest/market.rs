//! Exchange rates and prices as guests read and name them.

use serde::{Deserialize, Serialize};

use super::{Decimal, Named};
use crate::money::{Currency, Money};

/// What one unit of a currency is worth in another, as a feed says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketRate {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency in which it is priced.
    pub quote: Currency,
    /// Units of the quote currency for one unit of the base.
    pub mid: Decimal,
    /// When it was fixed, Unix milliseconds.
    pub at: u64,
}

/// What a user asks the price of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteRequest {
    /// The currency that is given.
    pub sell: Currency,
    /// The currency that is got.
    pub buy: Currency,
    /// How much of one of the two.
    pub amount: Money,
    /// The newest rates of the plugin's feed.
    pub rates: Vec<MarketRate>,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// A price that a guest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency in which it is priced.
    pub quote: Currency,
    /// The rate, spread included: at most four decimals.
    pub rate: Decimal,
    /// The rate before the spread.
    pub mid: Decimal,
    /// When the oldest rate that it rests on was fixed, Unix milliseconds.
    pub fixed: u64,
    /// Until when it may be accepted, Unix milliseconds.
    pub expires: u64,
}

impl std::fmt::Display for Decimal {
    /// With all its digits, such as `132.78`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scale, sign) = (usize::from(self.scale), if self.mantissa < 0 { "-" } else { "" });
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        let (whole, part) = digits.split_at(digits.len() - scale);
        if part.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}
