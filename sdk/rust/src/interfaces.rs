//! The interfaces of the contract as traits: what an author writes.

use crate::assess::{Answer, Payment, Signal};
use crate::flow::{Call, Event, Refusal, Request, Routing, Step};
use crate::serde::Serialize;
use crate::serde::de::DeserializeOwned;
use crate::settlement::Line;
use crate::{Context, Failure, Settings, Values};

/// What every plugin has. Its id and version are those of its package in Cargo.toml, and must be those of its manifest.
pub trait Plugin {
    /// Its settings as a type; `()` for none.
    type Settings: Settings;

    /// Judges what the manifest's bounds cannot say, for example that one limit must be below another. Errors: all that is wrong.
    fn check_settings(settings: &Self::Settings) -> Result<(), Vec<Failure>> {
        let _ = settings;
        Ok(())
    }
}

/// A fraud rule: one pure call before a payment.
pub trait Assess: Plugin {
    /// Says what it thinks of a payment. Errors: a failure with one of the manifest's codes; the operator's failure policy then decides.
    fn assess(
        ctx: &Context,
        settings: &Self::Settings,
        payment: &Payment,
        facts: Values<'_>,
        signals: &[Signal],
    ) -> Result<Answer, Failure>;
}

/// What drives a flow after its beginning.
pub trait Machine: Plugin {
    /// What the flow remembers, at most 64 KiB as postcard. Another version of the plugin that must read it keeps the shape.
    type State: Serialize + DeserializeOwned;

    /// Takes one event. The same state and event must always give the same step, but for `refused`: then the step given for this same event was refused by
    /// the ledger, nothing of it was taken, and a second refusal makes the flow stuck. Errors: a failure with one of the manifest's codes.
    fn resume(
        ctx: &Context,
        settings: &Self::Settings,
        state: Self::State,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Self::State>, Failure>;
}

/// The beginning of a charge.
pub trait Charge: Machine {
    /// Opens a flow for what the user authorised. Errors: a failure with one of the manifest's codes; then there is no flow.
    fn begin(ctx: &Context, settings: &Self::Settings, request: &Request) -> Result<Step<Self::State>, Failure>;
}

/// Calls that partners make (optional).
pub trait Inbound: Plugin {
    /// Says which flow a partner's call concerns. What cannot be read is best answered with [`Routing::Answer`] and status 400.
    fn route(ctx: &Context, settings: &Self::Settings, call: &Call) -> Result<Routing, Failure>;
}

/// A partner's end-of-day file (optional).
pub trait Settlement: Plugin {
    /// Reads the whole file. Errors: any line that cannot be read, for half a file is never settled.
    fn parse(ctx: &Context, settings: &Self::Settings, content: &[u8]) -> Result<Vec<Line>, Failure>;
}

/// Files for partners that work in batches (optional).
pub trait Files: Plugin {
    /// Makes one file of the records that were enqueued for it: correlation and record.
    fn compose(
        ctx: &Context,
        settings: &Self::Settings,
        file: &str,
        records: &[(String, Vec<u8>)],
    ) -> Result<Vec<u8>, Failure>;

    /// Takes a partner's file apart: correlation and record, each delivered to its flow as a message.
    fn parse(
        ctx: &Context,
        settings: &Self::Settings,
        file: &str,
        content: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure>;
}
