//! Paying a convenience-store slip: its bar code is recognised, the amount is held, the collector is asked once to pay the biller.
//!
//! One payment, as it goes well: hold, `pay`, a signed receipt, capture. When the answer is lost nobody asks for the payment again: the collector is asked
//! how it stands (`status`), and one that never came is taken back (`cancel`), after which it can never come. Only then is the hold let go.

use koban_sdk::bill::{Bill, Code, Request};
use koban_sdk::flow::{Event, Refusal, Step};
use koban_sdk::settlement::Line;
use koban_sdk::{Context, Failure, Machine, PayBill, Plugin, Settlement, Values, bill_payer, settlement};

use crate::settings::SlipSettings;
use crate::state::Payment;

mod begin;
mod events;
mod settings;
mod settlement_file;
mod slip;
mod state;
#[cfg(test)]
mod tests;

/// The plugin.
pub struct BillSlip;

bill_payer!(BillSlip);
settlement!(BillSlip);

impl Plugin for BillSlip {
    type Settings = SlipSettings;
}

impl PayBill for BillSlip {
    fn recognise(ctx: &Context, settings: &SlipSettings, code: &Code, _: Values<'_>) -> Result<Option<Bill>, Failure> {
        begin::recognise(ctx, settings, code)
    }

    fn begin(ctx: &Context, settings: &SlipSettings, request: &Request) -> Result<Step<Payment>, Failure> {
        begin::begin(ctx, settings, request)
    }
}

impl Machine for BillSlip {
    type State = Payment;

    fn resume(
        ctx: &Context,
        _: &SlipSettings,
        payment: Payment,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Payment>, Failure> {
        events::resume(ctx, payment, event, refused)
    }
}

impl Settlement for BillSlip {
    fn parse(_: &Context, _: &SlipSettings, content: &[u8]) -> Result<Vec<Line>, Failure> {
        settlement_file::parse(content)
    }
}
