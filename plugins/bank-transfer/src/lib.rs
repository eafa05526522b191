//! Charging a wallet by a transfer to an account number of its own, and taking money out of it to a bank account.
//!
//! A charge asks the bank for an account number, shows it, and credits the transfer that the bank says has come. A withdrawal holds amount and fee, asks in a
//! form where the money shall go, and asks the bank once to transfer it; when the answer is lost it never asks again but how the transfer stands, and one that
//! never came is taken back before the money is let go. Where the operator prefers it, withdrawals are collected in a Zengin transfer file that goes to the
//! bank at its cut-off, and the bank's result file says what it did.

use koban_sdk::flow::{Call, Event, Refusal, Request, Routing, Step};
use koban_sdk::settlement::Line;
use koban_sdk::{
    Charge, Context, Failure, Files, Inbound, Machine, Plugin, Settlement, Withdraw, charge_channel, files, inbound,
    settlement, withdraw,
};

use crate::settings::BankSettings;
use crate::state::Transfer;

mod incoming;
mod kana;
mod outgoing;
mod results;
mod settings;
mod settlement_file;
mod state;
#[cfg(test)]
mod tests;
mod zengin;

/// The plugin.
pub struct BankTransfer;

charge_channel!(BankTransfer);
files!(BankTransfer);
inbound!(BankTransfer);
settlement!(BankTransfer);
withdraw!(BankTransfer);

impl Plugin for BankTransfer {
    type Settings = BankSettings;
}

impl Charge for BankTransfer {
    fn begin(ctx: &Context, _: &BankSettings, request: &Request) -> Result<Step<Transfer>, Failure> {
        incoming::begin(ctx, request)
    }
}

impl Withdraw for BankTransfer {
    fn begin(ctx: &Context, settings: &BankSettings, request: &withdraw::Request) -> Result<Step<Transfer>, Failure> {
        outgoing::begin(ctx, settings, request)
    }
}

impl Machine for BankTransfer {
    type State = Transfer;

    fn resume(
        ctx: &Context,
        settings: &BankSettings,
        transfer: Transfer,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Transfer>, Failure> {
        match transfer {
            Transfer::In(incoming) => Ok(incoming::resume(ctx, settings, incoming, event, refused)),
            Transfer::Out(outgoing) => outgoing::resume(ctx, settings, outgoing, event, refused),
        }
    }
}

impl Inbound for BankTransfer {
    fn route(_: &Context, _: &BankSettings, call: &Call) -> Result<Routing, Failure> {
        Ok(incoming::route(call))
    }
}

impl Files for BankTransfer {
    fn compose(
        _: &Context,
        settings: &BankSettings,
        file: &files::Outgoing,
        records: &[(String, Vec<u8>)],
    ) -> Result<Vec<u8>, Failure> {
        zengin::compose(settings, file, records)
    }

    fn parse(_: &Context, _: &BankSettings, _: &str, content: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        results::parse(content)
    }
}

impl Settlement for BankTransfer {
    fn parse(_: &Context, _: &BankSettings, content: &[u8]) -> Result<Vec<Line>, Failure> {
        settlement_file::parse(content)
    }
}
