//! Charging a wallet by a transfer to an account number of its own, and taking money out of it to a bank account.
//!
//! A charge asks the bank for an account number, shows it, and credits the transfer that the bank says has come. A withdrawal holds amount and fee, asks in a
//! form where the money shall go, and asks the bank once to transfer it; when the answer is lost it never asks again but how the transfer stands, and one that
//! never came is taken back before the money is let go.

use koban_sdk::flow::{Call, Event, Refusal, Request, Routing, Step};
use koban_sdk::settlement::Line;
use koban_sdk::{
    Charge, Context, Failure, Inbound, Machine, Plugin, Settlement, Withdraw, charge_channel, inbound, settlement,
    withdraw,
};

use crate::settings::BankSettings;
use crate::state::Transfer;

mod incoming;
mod outgoing;
mod settings;
mod settlement_file;
mod state;
#[cfg(test)]
mod tests;

/// The plugin.
pub struct BankTransfer;

charge_channel!(BankTransfer);
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
            Transfer::Out(outgoing) => outgoing::resume(ctx, outgoing, event, refused),
        }
    }
}

impl Inbound for BankTransfer {
    fn route(_: &Context, _: &BankSettings, call: &Call) -> Result<Routing, Failure> {
        Ok(incoming::route(call))
    }
}

impl Settlement for BankTransfer {
    fn parse(_: &Context, _: &BankSettings, content: &[u8]) -> Result<Vec<Line>, Failure> {
        settlement_file::parse(content)
    }
}
