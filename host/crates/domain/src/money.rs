//! Money as whole minor units of an ISO 4217 currency; nothing here ever rounds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 alphabetic currency code that Koban knows the exponent of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Code, numeric code and exponent (digits after the decimal point). Source: ISO 4217:2015 list one.
const CURRENCIES: &[(&[u8; 3], u16, u8)] = &[
    (b"AED", 784, 2),
    (b"AUD", 36, 2),
    (b"BHD", 48, 3),
    (b"BIF", 108, 0),
    (b"BRL", 986, 2),
    (b"CAD", 124, 2),
    (b"CHF", 756, 2),
    (b"CLF", 990, 4),
    (b"CLP", 152, 0),
    (b"CNY", 156, 2),
    (b"CZK", 203, 2),
    (b"DKK", 208, 2),
    (b"EUR", 978, 2),
    (b"GBP", 826, 2),
    (b"GNF", 324, 0),
    (b"HKD", 344, 2),
    (b"HUF", 348, 2),
    (b"IDR", 360, 2),
    (b"ILS", 376, 2),
    (b"INR", 356, 2),
    (b"IQD", 368, 3),
    (b"ISK", 352, 0),
    (b"JOD", 400, 3),
    (b"JPY", 392, 0),
    (b"KMF", 174, 0),
    (b"KRW", 410, 0),
    (b"KWD", 414, 3),
    (b"LYD", 434, 3),
    (b"MXN", 484, 2),
    (b"MYR", 458, 2),
    (b"NOK", 578, 2),
    (b"NZD", 554, 2),
    (b"OMR", 512, 3),
    (b"PHP", 608, 2),
    (b"PLN", 985, 2),
    (b"PYG", 600, 0),
    (b"RON", 946, 2),
    (b"RWF", 646, 0),
    (b"SAR", 682, 2),
    (b"SEK", 752, 2),
    (b"SGD", 702, 2),
    (b"THB", 764, 2),
    (b"TND", 788, 3),
    (b"TRY", 949, 2),
    (b"TWD", 901, 2),
    (b"UGX", 800, 0),
    (b"USD", 840, 2),
    (b"UYW", 927, 4),
    (b"VND", 704, 0),
    (b"VUV", 548, 0),
    (b"XAF", 950, 0),
    (b"XOF", 952, 0),
    (b"XPF", 953, 0),
    (b"ZAR", 710, 2),
];

/// Why a piece of text is not an amount or a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The code is not three capital letters of a currency in the table.
    #[error("`{0}` is not a known ISO 4217 currency code; use three capital letters such as JPY")]
    UnknownCurrency(String),
    /// The text is not a plain decimal number.
    #[error("`{0}` is not an amount; write digits with at most one point, such as 1280 or 12.80")]
    NotANumber(String),
    /// The text has other decimals than the currency.
    #[error("{currency} has {expected} decimals, but the amount was given with {given}")]
    WrongExponent {
        /// The currency asked for.
        currency: Currency,
        /// Its ISO 4217 exponent.
        expected: u8,
        /// Digits given after the point.
        given: usize,
    },
    /// The amount does not fit 64 bits of minor units.
    #[error("the amount is too large")]
    Overflow,
}

impl Currency {
    /// Japanese yen, the currency of the house.
    pub const JPY: Currency = Currency(*b"JPY");

    /// The currency with this three-letter code, exactly as ISO 4217 writes it. Errors: [`MoneyError::UnknownCurrency`].
    pub fn new(code: &str) -> Result<Currency, MoneyError> {
        CURRENCIES
            .iter()
            .find(|(known, ..)| known.as_slice() == code.as_bytes())
            .map(|(known, ..)| Currency(**known))
            .ok_or_else(|| MoneyError::UnknownCurrency(code.chars().take(12).collect()))
    }

    /// Every currency of the table, in order of code.
    pub fn all() -> impl Iterator<Item = Currency> {
        CURRENCIES.iter().map(|(code, ..)| Currency(**code))
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// The three letters as bytes, for canonical encodings.
    pub fn bytes(&self) -> [u8; 3] {
        self.0
    }

    /// Digits after the decimal point: JPY 0, USD 2, KWD 3.
    pub fn exponent(&self) -> u8 {
        self.row().map_or(2, |(.., exponent)| *exponent)
    }

    /// The ISO 4217 numeric code: JPY 392.
    pub fn numeric(&self) -> u16 {
        self.row().map_or(0, |(_, numeric, _)| *numeric)
    }

    fn row(&self) -> Option<&'static (&'static [u8; 3], u16, u8)> {
        CURRENCIES.iter().find(|(code, ..)| **code == self.0)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Currency::new(code)
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, Self::Error> {
        Currency::new(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of whole minor units in one currency. May be negative where a difference is meant; commands ask for positive amounts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Whole minor units: yen for JPY, cents for USD.
    pub minor: i64,
    /// The currency of those units.
    pub currency: Currency,
}

impl Money {
    /// An amount of this many minor units.
    pub const fn new(minor: i64, currency: Currency) -> Money {
        Money { minor, currency }
    }

    /// This many yen.
    pub const fn yen(minor: i64) -> Money {
        Money { minor, currency: Currency::JPY }
    }

    /// Reads a plain decimal such as `12.80`; the number of decimals must be the currency's own. Errors: every [`MoneyError`].
    pub fn parse(text: &str, currency: Currency) -> Result<Money, MoneyError> {
        let not_a_number = || MoneyError::NotANumber(text.chars().take(24).collect());
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(decimals) || (digits.contains('.') && decimals.is_empty()) {
            return Err(not_a_number());
        }
        if decimals.len() != usize::from(currency.exponent()) {
            return Err(MoneyError::WrongExponent { currency, expected: currency.exponent(), given: decimals.len() });
        }
        let minor = format!("{sign}{whole}{decimals}").parse().map_err(|_| MoneyError::Overflow)?;
        Ok(Money { minor, currency })
    }
}

impl fmt::Display for Money {
    /// Plain decimal with the currency's own number of decimals, then the code: `1280 JPY`, `12.80 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = usize::from(self.currency.exponent());
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = exponent + 1);
        let (whole, decimals) = digits.split_at(digits.len() - exponent);
        match exponent {
            0 => write!(f, "{sign}{whole} {}", self.currency),
            _ => write!(f, "{sign}{whole}.{decimals} {}", self.currency),
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_decimals_of_their_currency() {
        assert_eq!(Money::yen(1_280).to_string(), "1280 JPY");
        assert_eq!(Money::new(1_280, Currency(*b"USD")).to_string(), "12.80 USD");
        assert_eq!(Money::new(-5, Currency(*b"KWD")).to_string(), "-0.005 KWD");
        assert_eq!(Money::new(i64::MIN, Currency::JPY).to_string(), "-9223372036854775808 JPY");
    }

    #[test]
    fn amounts_with_other_decimals_than_the_currency_are_refused() {
        let usd = Currency::new("USD").unwrap();
        assert_eq!(Money::parse("12.80", usd), Ok(Money::new(1_280, usd)));
        assert_eq!(Money::parse("-0.01", usd), Ok(Money::new(-1, usd)));
        assert!(matches!(Money::parse("12.8", usd), Err(MoneyError::WrongExponent { .. })));
        assert!(matches!(Money::parse("1280.0", Currency::JPY), Err(MoneyError::WrongExponent { .. })));
        for text in ["", "-", ".5", "5.", "1e3", "+1", " 1", "1 ", "１"] {
            assert!(matches!(Money::parse(text, Currency::JPY), Err(MoneyError::NotANumber(_))), "{text}");
        }
        assert_eq!(Money::parse("9223372036854775808", Currency::JPY), Err(MoneyError::Overflow));
    }

    #[test]
    fn only_codes_as_iso_4217_writes_them_are_known() {
        assert_eq!(Currency::new("JPY").map(|c| (c.exponent(), c.numeric())), Ok((0, 392)));
        assert!(Currency::new("jpy").is_err());
        assert!(Currency::new("ZZZ").is_err());
    }

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        assert!(CURRENCIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
