//! What an operator sets: the spread, how long a price holds, how old rates may be, and which currencies are quoted.

use koban_sdk::{Decimal, Failure, Named, Reader, Settings};

/// The settings.
pub struct Spread {
    /// What is added or taken off, as a share.
    pub spread: Decimal,
    /// How long a price holds.
    pub quote_ms: u64,
    /// How old a rate may be.
    pub age_ms_max: u64,
    /// Those that are quoted; empty for all.
    pub currencies: Vec<String>,
}

impl Settings for Spread {
    fn read(list: &[Named]) -> Result<Spread, Vec<Failure>> {
        let mut read = Reader::of(list);
        let spread = read.one("spread");
        let (seconds, days): (i64, i64) = (read.one("quote_seconds"), read.one("age_days_max"));
        let settings = Spread {
            spread,
            quote_ms: u64::try_from(seconds).unwrap_or(0) * 1_000,
            age_ms_max: u64::try_from(days).unwrap_or(0) * 86_400_000,
            currencies: read.list("currencies"),
        };
        read.finish(settings)
    }
}

impl Spread {
    /// Whether prices can follow from it: 0 to 0.2, with at most 6 decimals.
    pub fn is_reasonable(&self) -> bool {
        let most = Decimal::new(2, 1);
        let rest = most.minus(self.spread);
        self.spread.mantissa >= 0 && self.spread.scale <= 6 && rest.is_some_and(|rest| rest.mantissa >= 0)
    }

    /// Whether this currency is quoted.
    pub fn quotes(&self, currency: &str) -> bool {
        currency == "JPY" || self.currencies.is_empty() || self.currencies.iter().any(|known| known == currency)
    }
}
