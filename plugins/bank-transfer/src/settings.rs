//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Failure, Money, Named, Reader, Settings};

/// The fee of a withdrawal, and how long a charge waits.
pub struct BankSettings {
    pub(crate) fee: Money,
    pub(crate) minutes: i64,
}

impl BankSettings {
    /// How long a charge waits for its transfer, in milliseconds.
    pub(crate) fn waits_ms(&self) -> u64 {
        u64::try_from(self.minutes).unwrap_or(0) * 60_000
    }
}

impl Settings for BankSettings {
    fn read(list: &[Named]) -> Result<BankSettings, Vec<Failure>> {
        let mut read = Reader::of(list);
        let settings = BankSettings { fee: read.one("fee"), minutes: read.one("minutes") };
        read.finish(settings)
    }
}
