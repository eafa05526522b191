//! Exchange rates and prices, with exact arithmetic on decimals.

pub use crate::bindings::quote::exports::koban::plugin::quote::{Price, Request};
pub use crate::bindings::rates::koban::plugin::market::Rate;

use crate::{Decimal, Values};

/// Most decimals that a decimal of the contract has.
const SCALE_MAX: u8 = 18;

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}

impl Decimal {
    /// `mantissa * 10^-scale`.
    pub const fn new(mantissa: i64, scale: u8) -> Decimal {
        Decimal { mantissa, scale }
    }

    /// The number that a text such as `132.78` writes: digits with at most one point, no sign, at most 18 decimals. Nothing for anything else.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let dot_without_decimals = text.contains('.') && decimals.is_empty();
        if whole.is_empty() || dot_without_decimals {
            return None;
        }
        let scale = u8::try_from(decimals.len()).ok().filter(|scale| *scale <= SCALE_MAX)?;
        let digits = whole.bytes().chain(decimals.bytes());
        let mantissa = digits.into_iter().try_fold(0_i64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })?;
        Some(Decimal { mantissa, scale })
    }

    /// This divided by another, with so many decimals, cut off (not rounded). Nothing when the other is nought or the result does not fit.
    pub fn divided_by(self, other: Decimal, scale: u8) -> Option<Decimal> {
        // self / other = (m1 / m2) * 10^(s2 - s1); with `scale` decimals: m1 * 10^(scale + s2 - s1) / m2.
        let power = i32::from(scale) + i32::from(other.scale) - i32::from(self.scale);
        let (above, below) = match u32::try_from(power) {
            Ok(power) => (i128::from(self.mantissa).checked_mul(ten(power)?)?, i128::from(other.mantissa)),
            Err(_) => (i128::from(self.mantissa), i128::from(other.mantissa).checked_mul(ten(power.unsigned_abs())?)?),
        };
        let mantissa = i64::try_from(above.checked_div(below)?).ok()?;
        Some(Decimal { mantissa, scale })
    }

    /// This times another, exactly. Nothing when the result does not fit.
    pub fn times(self, other: Decimal) -> Option<Decimal> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Decimal { mantissa, scale: self.scale.checked_add(other.scale).filter(|scale| *scale <= SCALE_MAX)? })
    }

    /// The sum, exactly. Nothing when it does not fit.
    pub fn plus(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale.max(other.scale);
        let (one, two) = (self.with_scale(scale)?, other.with_scale(scale)?);
        Some(Decimal { mantissa: one.checked_add(two)?, scale })
    }

    /// The difference, exactly. Nothing when it does not fit.
    pub fn minus(self, other: Decimal) -> Option<Decimal> {
        self.plus(Decimal { mantissa: other.mantissa.checked_neg()?, scale: other.scale })
    }

    /// With so many decimals, rounded up (towards plus infinity).
    pub fn rounded_up(self, scale: u8) -> Option<Decimal> {
        self.rounded(scale, true)
    }

    /// With so many decimals, rounded down (towards minus infinity).
    pub fn rounded_down(self, scale: u8) -> Option<Decimal> {
        self.rounded(scale, false)
    }

    fn rounded(self, scale: u8, up: bool) -> Option<Decimal> {
        if scale >= self.scale {
            return Some(Decimal { mantissa: self.with_scale(scale)?, scale });
        }
        let unit = i64::try_from(ten(u32::from(self.scale - scale))?).ok()?;
        let (down, rest) = (self.mantissa.div_euclid(unit), self.mantissa.rem_euclid(unit));
        let mantissa = if up && rest != 0 { down.checked_add(1)? } else { down };
        Some(Decimal { mantissa, scale })
    }

    /// The mantissa with so many decimals, which must not be fewer than there are.
    fn with_scale(self, scale: u8) -> Option<i64> {
        let power = ten(u32::from(scale.checked_sub(self.scale)?))?;
        i64::try_from(i128::from(self.mantissa).checked_mul(power)?).ok()
    }
}

fn ten(power: u32) -> Option<i128> {
    10_i128.checked_pow(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        assert_eq!(number("132.78"), Decimal::new(13_278, 2));
        assert_eq!(number("0.89425"), Decimal::new(89_425, 5));
        assert_eq!(number("17"), Decimal::new(17, 0));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1.2.3", " 1", "N/A", "9223372036854775808"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_cross_rate_has_as_many_decimals_as_asked() {
        let cross = number("132.78").divided_by(number("1.1777"), 12).unwrap();
        assert_eq!(cross, Decimal::new(112_745_181_285_556, 12));
        assert_eq!(number("1").divided_by(number("3"), 4), Some(Decimal::new(3_333, 4)));
        assert_eq!(number("1").divided_by(Decimal::new(0, 0), 4), None);
    }

    #[test]
    fn a_spread_is_added_exactly_and_rounded_against_the_customer() {
        let mid = Decimal::new(112_745_181_285, 9);
        let (one, spread) = (Decimal::new(1, 0), Decimal::new(1, 2));
        let dearer = mid.times(one.plus(spread).unwrap()).unwrap();
        assert_eq!(dearer.rounded_up(4), Some(Decimal::new(1_138_727, 4)));
        let cheaper = mid.times(one.minus(spread).unwrap()).unwrap();
        assert_eq!(cheaper.rounded_down(4), Some(Decimal::new(1_116_177, 4)));
        assert_eq!(Decimal::new(5, 0).rounded_up(2), Some(Decimal::new(500, 2)));
        assert_eq!(Decimal::new(i64::MAX, 0).plus(Decimal::new(1, 0)), None);
    }
}
