//! The rules of charging and withdrawing by bank, a sentence each, over the SDK's pretend host (which checks the host's own rules after every step).

use koban_sdk::flow::{Act, Lost, Routing, Show, Standing};
use koban_sdk::pretend::{self, Taken};
use koban_sdk::{Json, Money, Named, Value, json};

use crate::BankTransfer;

mod charges;
mod files;
mod settlement;
mod withdrawals;

type Flow = pretend::Flow<BankTransfer>;

/// 2018-09-25 12:00 in Japan.
const NOON: u64 = 1_537_844_400_000;

fn settings() -> Vec<Named> {
    settings_by(false)
}

fn settings_by(file: bool) -> Vec<Named> {
    vec![
        Named::new("fee", Money::yen(216)),
        Named::new("minutes", 30_i64),
        Named::new("by_file", file),
        Named::new("client_code", "1234567890"),
        Named::new("client_name", "ワズムペイ(カ"),
        Named::new("paying_account", "00010011234567"),
    ]
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
