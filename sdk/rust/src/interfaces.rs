//! The interfaces of the contract as traits: what an author writes.

use crate::assess::{Answer, Payment, Signal};
use crate::bill::{Bill, Code};
use crate::flow::{Call, Event, Refusal, Request, Routing, Step};
use crate::market::{Price, Rate};
use crate::on_event::{Action, Remembered};
use crate::serde::Serialize;
use crate::serde::de::DeserializeOwned;
use crate::settlement::Line;
use crate::statement::{Account, Document};
use crate::{
    Context, Failure, Settings, Value, Values, bill, files, link_account, market, on_event, sync, table, withdraw,
};

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

/// The beginning of a withdrawal (optional for a charge channel).
pub trait Withdraw: Machine {
    /// Opens a flow for what the user authorised. Errors: a failure with one of the manifest's codes; then there is no flow.
    fn begin(
        ctx: &Context,
        settings: &Self::Settings,
        request: &withdraw::Request,
    ) -> Result<Step<Self::State>, Failure>;
}

/// The linking of a user's account at a partner (optional).
pub trait LinkAccount: Machine {
    /// Opens a flow that ends with [`Step::save_link`]. Errors: a failure with one of the manifest's codes; then there is no flow.
    fn begin(
        ctx: &Context,
        settings: &Self::Settings,
        request: &link_account::Request,
    ) -> Result<Step<Self::State>, Failure>;
}

/// Paying bills: recognising what a code is, and paying it.
pub trait PayBill: Machine {
    /// Says what bill a code is; nothing if it is none of this plugin's. Errors: a failure with one of the manifest's codes for a bill that cannot be paid.
    fn recognise(
        ctx: &Context,
        settings: &Self::Settings,
        code: &Code,
        facts: Values<'_>,
    ) -> Result<Option<Bill>, Failure>;

    /// Opens a flow that pays it. Errors: a failure with one of the manifest's codes; then there is no flow.
    fn begin(ctx: &Context, settings: &Self::Settings, request: &bill::Request) -> Result<Step<Self::State>, Failure>;
}

/// Pushing new rows to a live link (optional for a budget link).
pub trait Sync: Machine {
    /// Opens a flow that sends these rows. Errors: a failure with one of the manifest's codes; the host tries again later.
    fn begin(ctx: &Context, settings: &Self::Settings, request: &sync::Request) -> Result<Step<Self::State>, Failure>;
}

/// Carrying flows over from an earlier version of this plugin (optional).
pub trait Migrate: Machine {
    /// Reads the state that `version` wrote. Errors: a failure with one of the manifest's codes; the flow then stays where it is.
    fn state(ctx: &Context, settings: &Self::Settings, version: &str, state: &[u8]) -> Result<Self::State, Failure>;
}

/// Reading a feed of exchange rates.
pub trait Rates: Plugin {
    /// Reads the whole feed. Errors: anything in it that cannot be read, for half a feed is never kept.
    fn parse(ctx: &Context, settings: &Self::Settings, content: &[u8]) -> Result<Vec<Rate>, Failure>;
}

/// Pricing an exchange.
pub trait Quote: Rates {
    /// Names a price. Errors: a failure with one of the manifest's codes; the host then falls back on its last good quote while that is young enough.
    fn quote(ctx: &Context, settings: &Self::Settings, request: &market::Request) -> Result<Price, Failure>;
}

/// Making files of a wallet's statement.
pub trait Statement: Plugin {
    /// Makes a file in one of the manifest's formats. Errors: a failure with one of the manifest's codes; the user is told its text.
    fn compose(ctx: &Context, settings: &Self::Settings, format: &str, account: &Account) -> Result<Document, Failure>;
}

/// Reacting to what has happened.
pub trait OnEvent: Plugin {
    /// Says what shall follow from an event; nothing is fine. Errors: a failure with one of the manifest's codes; the host tries again later.
    fn on_event(
        ctx: &Context,
        settings: &Self::Settings,
        event: &on_event::Event,
        remembered: &[Remembered],
    ) -> Result<Vec<Action>, Failure>;
}

/// Rows for a page of the console (optional for a merchant tool).
pub trait Table: Plugin {
    /// Makes the rows of one page: as many cells each as the manifest names columns. Errors: a failure with one of the manifest's codes.
    fn rows(ctx: &Context, settings: &Self::Settings, request: &table::Request) -> Result<Vec<Vec<Value>>, Failure>;
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
        file: &files::Outgoing,
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
