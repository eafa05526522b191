//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Failure, Money, Named, Reader, Settings};

/// The limits of the rules and the bands of the verdict.
pub struct Limits {
    pub(crate) amount_high: Money,
    pub(crate) amount_limit: Money,
    pub(crate) user_10m_count: i64,
    pub(crate) user_1d_sum: Money,
    pub(crate) merchant_10m_count: i64,
    pub(crate) device_1h_count: i64,
    pub(crate) new_payee_amount: Money,
    pub(crate) night_amount: Money,
    pub(crate) night_from: i64,
    pub(crate) night_to: i64,
    pub(crate) deny_devices: Vec<String>,
    pub(crate) deny_categories: Vec<String>,
    pub(crate) step_up_from: i64,
    pub(crate) review_from: i64,
    pub(crate) decline_from: i64,
}

impl Settings for Limits {
    fn read(list: &[Named]) -> Result<Limits, Vec<Failure>> {
        let mut read = Reader::of(list);
        let limits = Limits {
            amount_high: read.one("amount_high"),
            amount_limit: read.one("amount_limit"),
            user_10m_count: read.one("user_10m_count"),
            user_1d_sum: read.one("user_1d_sum"),
            merchant_10m_count: read.one("merchant_10m_count"),
            device_1h_count: read.one("device_1h_count"),
            new_payee_amount: read.one("new_payee_amount"),
            night_amount: read.one("night_amount"),
            night_from: read.one("night_from"),
            night_to: read.one("night_to"),
            deny_devices: read.list("deny_devices"),
            deny_categories: read.list("deny_categories"),
            step_up_from: read.one("step_up_from"),
            review_from: read.one("review_from"),
            decline_from: read.one("decline_from"),
        };
        read.finish(limits)
    }
}
