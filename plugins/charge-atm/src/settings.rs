//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Failure, Money, Named, Reader, Settings};

/// The platform's number at the network, and the limits of one charge.
pub struct AtmSettings {
    pub(crate) company_number: String,
    pub(crate) max_prepaid: Money,
    pub(crate) max_funds: Money,
    pub(crate) session_minutes: i64,
}

impl AtmSettings {
    /// How long a session lives after the scan, in milliseconds.
    pub(crate) fn session_ms(&self) -> u64 {
        u64::try_from(self.session_minutes).unwrap_or(0).saturating_mul(60_000)
    }
}

impl Settings for AtmSettings {
    fn read(list: &[Named]) -> Result<AtmSettings, Vec<Failure>> {
        let mut read = Reader::of(list);
        let settings = AtmSettings {
            company_number: read.one("company_number"),
            max_prepaid: read.one("max_prepaid"),
            max_funds: read.one("max_funds"),
            session_minutes: read.one("session_minutes"),
        };
        read.finish(settings)
    }
}
