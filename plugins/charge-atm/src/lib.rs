//! Charging with cash at an ATM: the user scans a session, types a company number, and the network sends the deposit.
//!
//! One charge, as it goes well: the scanned session is approved with the network (`approve`), the company number is shown, the network sends `deposit`,
//! the wallet is credited. What may go wrong is the reason for the rest: answers are lost, deposits come twice, reversals come before their deposit.

use koban_sdk::flow::{Call, Event, Refusal, Request, Routing, Step};
use koban_sdk::settlement::Line;
use koban_sdk::{
    Charge, Context, Failure, Inbound, Machine, Plugin, SETTINGS_INVALID, Settlement, charge_channel, inbound,
    settlement,
};

use crate::settings::AtmSettings;
use crate::state::Session;

mod begin;
mod events;
mod messages;
mod settings;
mod settlement_file;
mod state;
#[cfg(test)]
mod tests;

/// The plugin.
pub struct ChargeAtm;

charge_channel!(ChargeAtm);
inbound!(ChargeAtm);
settlement!(ChargeAtm);

impl Plugin for ChargeAtm {
    type Settings = AtmSettings;

    fn check_settings(settings: &AtmSettings) -> Result<(), Vec<Failure>> {
        if settings.max_prepaid.is_at_most(&settings.max_funds) {
            return Ok(());
        }
        Err(vec![Failure::new(SETTINGS_INVALID, "max_prepaid must be at most max_funds")])
    }
}

impl Charge for ChargeAtm {
    fn begin(_: &Context, settings: &AtmSettings, request: &Request) -> Result<Step<Session>, Failure> {
        begin::begin(settings, request)
    }
}

impl Machine for ChargeAtm {
    type State = Session;

    fn resume(
        ctx: &Context,
        settings: &AtmSettings,
        session: Session,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Session>, Failure> {
        Ok(events::resume(ctx, settings, session, event, refused))
    }
}

impl Inbound for ChargeAtm {
    fn route(_: &Context, _: &AtmSettings, call: &Call) -> Result<Routing, Failure> {
        Ok(messages::route(call))
    }
}

impl Settlement for ChargeAtm {
    fn parse(_: &Context, _: &AtmSettings, content: &[u8]) -> Result<Vec<Line>, Failure> {
        settlement_file::parse(content)
    }
}
