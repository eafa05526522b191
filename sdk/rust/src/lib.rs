//! Plugins for Koban in Rust: a trait per interface of the contract, one macro line per kind, native tests.
//!
//! A plugin never does input or output. It is a type with traits: [`Plugin`] for every plugin, then those of its kind. One macro line per kind exports them,
//! and one more line per option:
//!
//! | kind | macro | traits | options, each a macro of its own |
//! |---|---|---|---|
//! | charge channel | [`charge_channel!`] | [`Machine`], [`Charge`] | [`Inbound`], [`Settlement`], [`Files`], [`Withdraw`], [`LinkAccount`], [`Migrate`] |
//! | bill payer | [`bill_payer!`] | [`Machine`], [`PayBill`] | [`Inbound`], [`Settlement`], [`Files`], [`LinkAccount`], [`Migrate`] |
//! | exchange | [`exchange!`] | [`Rates`], [`Quote`] | |
//! | budget link | [`budget_link!`] | [`Statement`] | [`Machine`], [`Sync`](crate::Sync), [`LinkAccount`], [`Inbound`], [`Migrate`] |
//! | fraud rule | [`fraud_rule!`] | [`Assess`] | |
//! | merchant tool | [`merchant_tool!`] | [`OnEvent`] | [`Machine`], [`Table`], [`Inbound`], [`Migrate`] |
//!
//! A fraud rule, whole:
//!
//! ```
//! use koban_sdk::{assess, Assess, Context, Failure, Named, Plugin, Settings, Values};
//!
//! struct Cautious;
//!
//! struct Limits {
//!     most: i64,
//! }
//!
//! impl Settings for Limits {
//!     fn read(list: &[Named]) -> Result<Self, Vec<Failure>> {
//!         let mut read = koban_sdk::Reader::of(list);
//!         let limits = Limits { most: read.one("most") };
//!         read.finish(limits)
//!     }
//! }
//!
//! impl Plugin for Cautious {
//!     type Settings = Limits;
//! }
//!
//! impl Assess for Cautious {
//!     fn assess(
//!         _: &Context, limits: &Limits, payment: &assess::Payment, _: Values<'_>, _: &[assess::Signal],
//!     ) -> Result<assess::Answer, Failure> {
//!         Ok(match payment.amount.minor > limits.most {
//!             true => assess::Answer::decline().because("amount_high", 1000),
//!             false => assess::Answer::allow(),
//!         })
//!     }
//! }
//!
//! koban_sdk::fraud_rule!(Cautious);
//! # fn main() {}
//! ```
//!
//! The traits are plain Rust, so tests run natively with `cargo test`; [`pretend`] plays the host for flows. The exports exist only when the target is
//! WebAssembly. Nothing else is needed to write a plugin: [`serde`] (with `#[serde(crate = "koban_sdk::serde")]`) and [`json!`] come from here.
//!
//! What a plugin must not count on: there is no clock but `Context::now`, no randomness but `Context::seed`, and nothing remembered between calls but a
//! flow's state. Prefer `BTreeMap` to `HashMap`: the order of the latter is an accident, and decisions are replayed.

#[doc(hidden)]
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
pub mod bindings;
#[doc(hidden)]
pub mod export;

pub mod assess;
pub mod bill;
pub mod files;
pub mod flow;
pub mod link_account;
pub mod log;
pub mod market;
pub mod on_event;
pub mod pretend;
pub mod settlement;
pub mod statement;
pub mod sync;
pub mod table;
pub mod time;
pub mod withdraw;

mod interfaces;
mod memory;
mod money;
mod settings;

pub use bindings::plugin::koban::plugin::types::{Context, Decimal, Failure, Money, Named, Value};
pub use interfaces::{
    Assess, Charge, Files, Inbound, LinkAccount, Machine, Migrate, OnEvent, PayBill, Plugin, Quote, Rates, Settlement,
    Statement, Sync, Table, Withdraw,
};
pub use settings::{FromValue, Reader, SETTINGS_INVALID, Secret, Settings, Values};

pub use serde;
pub use serde_json::{Value as Json, json};

/// The contract that this crate speaks: what a manifest writes as `contract`.
pub const CONTRACT: &str = "koban:plugin@0.1.0";

impl Failure {
    /// A refusal with one of the manifest's codes. `message` is for operators; it is cut to 1,000 bytes, for the host refuses long ones and it may quote a
    /// partner. Retrying does not help unless [`Failure::retryable`] says so.
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        let message = cut(message.into(), 1_000);
        Failure { code: code.to_owned(), message, text: None, retryable: false }
    }

    /// With the key of the text that the user sees.
    pub fn text(mut self, key: &str) -> Failure {
        self.text = Some(key.to_owned());
        self
    }

    /// Asking again later can help.
    pub fn retryable(mut self) -> Failure {
        self.retryable = true;
        self
    }
}

/// At most so many bytes of a text, whole characters.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(Failure::new("x", "short").message, "short");
        assert_eq!(Failure::new("x", "あ".repeat(400)).message, "あ".repeat(333));
    }
}
