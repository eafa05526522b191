//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Failure, Money, Named, Reader, Settings};

use crate::kana;

/// The fee of a withdrawal, how long a charge waits, and who asks for transfers in files.
pub struct BankSettings {
    pub(crate) fee: Money,
    pub(crate) minutes: i64,
    /// Whether withdrawals are asked for in files.
    pub(crate) by_file: bool,
    pub(crate) client_code: String,
    pub(crate) client_name: String,
    /// Bank, branch and account.
    pub(crate) paying_account: String,
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
        let settings = BankSettings {
            fee: read.one("fee"),
            minutes: read.one("minutes"),
            by_file: read.one("by_file"),
            client_code: read.one("client_code"),
            client_name: read.one("client_name"),
            paying_account: read.one("paying_account"),
        };
        if let Err(character) = kana::folded(&settings.client_name) {
            let message = format!("`client_name` has `{character}`, which banks do not use");
            return Err(vec![Failure::new(koban_sdk::SETTINGS_INVALID, message)]);
        }
        read.finish(settings)
    }
}
