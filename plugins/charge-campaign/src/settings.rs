//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Decimal, Failure, Money, Named, Reader, Settings};

/// What the campaign gives, and for what.
pub struct Terms {
    pub(crate) first_charge_bonus: Money,
    pub(crate) first_charge_min: Money,
    pub(crate) spend_rate: Decimal,
    pub(crate) spend_min: Money,
    pub(crate) spend_most: Money,
    pub(crate) spend_merchants: Vec<String>,
    pub(crate) discount_reason: String,
}

impl Settings for Terms {
    fn read(list: &[Named]) -> Result<Terms, Vec<Failure>> {
        let mut read = Reader::of(list);
        let terms = Terms {
            first_charge_bonus: read.one("first_charge_bonus"),
            first_charge_min: read.one("first_charge_min"),
            spend_rate: read.one("spend_rate"),
            spend_min: read.one("spend_min"),
            spend_most: read.one("spend_most"),
            spend_merchants: read.list("spend_merchants"),
            discount_reason: read.one("discount_reason"),
        };
        read.finish(terms)
    }
}
