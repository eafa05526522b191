//! Money as the contract has it: whole minor units with a currency, and arithmetic that says when it cannot.

use crate::Money;

impl Money {
    /// So many minor units of a currency.
    pub fn new(minor: i64, currency: &str) -> Money {
        Money { minor, currency: currency.to_owned() }
    }

    /// So many yen.
    pub fn yen(minor: i64) -> Money {
        Money::new(minor, "JPY")
    }

    /// Whether it is money of this currency.
    pub fn is_in(&self, currency: &str) -> bool {
        self.currency == currency
    }

    /// The sum; nothing when the currencies differ or the sum is too great.
    pub fn plus(&self, other: &Money) -> Option<Money> {
        let minor = self.minor.checked_add(other.minor)?;
        self.is_in(&other.currency).then(|| Money::new(minor, &self.currency))
    }

    /// The difference; nothing when the currencies differ or the difference is too great.
    pub fn minus(&self, other: &Money) -> Option<Money> {
        let minor = self.minor.checked_sub(other.minor)?;
        self.is_in(&other.currency).then(|| Money::new(minor, &self.currency))
    }

    /// Whether it is at most the other; `false` when the currencies differ.
    pub fn is_at_most(&self, other: &Money) -> bool {
        self.is_in(&other.currency) && self.minor <= other.minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_of_two_currencies_has_no_sum_and_no_order() {
        assert_eq!(Money::yen(1).plus(&Money::yen(2)), Some(Money::yen(3)));
        assert_eq!(Money::yen(1).plus(&Money::new(2, "USD")), None);
        assert_eq!(Money::yen(1).minus(&Money::yen(3)), Some(Money::yen(-2)));
        assert!(Money::yen(1).is_at_most(&Money::yen(1)));
        assert!(!Money::yen(1).is_at_most(&Money::new(2, "USD")));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_no_sum() {
        assert_eq!(Money::yen(i64::MAX).plus(&Money::yen(1)), None);
        assert_eq!(Money::yen(i64::MIN).minus(&Money::yen(1)), None);
    }
}
