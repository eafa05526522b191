//! From the generated bindings to an author's traits and back; used by the export macros and by `pretend`, by nobody else.

mod macros;

use crate::assess::{Answer, Payment, Signal};
use crate::bill::{Bill, Code};
use crate::bindings::machine::koban::plugin::flow;
use crate::flow::{Call, Event, Refusal, Request, Routing, Step};
use crate::market::{Price, Rate};
use crate::on_event::{Action, Remembered};
use crate::settlement::Line;
use crate::statement::{Account, Document};
use crate::table::Row;
use crate::{
    Assess, Charge, Context, Failure, Files, Inbound, LinkAccount, Machine, Migrate, Named, OnEvent, PayBill, Plugin,
    Quote, Rates, Settings, Settlement, Statement, Sync, Table, Values, Withdraw,
};
use crate::{bill, files, link_account, market, on_event, sync, table, withdraw};

/// Makes the text and the place of a panic reach the host's log before the trap. Called first in every export: each call has a fresh instance.
pub fn arm() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| crate::log::error(&info.to_string())));
}

/// Leaves arguments where they are: the instance ends with the call, and taking them apart piece by piece would be work for nothing.
pub fn leave<T>(arguments: T) {
    std::mem::forget(arguments);
}

/// `plugin.check-settings`.
pub fn check_settings<P: Plugin>(settings: &[Named]) -> Result<(), Vec<Failure>> {
    arm();
    P::check_settings(&P::Settings::read(settings)?)
}

/// `assess.assess`.
pub fn assess<P: Assess>(
    ctx: &Context,
    settings: &[Named],
    payment: &Payment,
    facts: &[Named],
    signals: &[Signal],
) -> Result<Answer, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::assess(ctx, settings, payment, Values(facts), signals))
}

/// `charge.begin`.
pub fn begin<P: Charge>(ctx: &Context, settings: &[Named], request: &Request) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `withdraw.begin`.
pub fn begin_withdraw<P: Withdraw>(
    ctx: &Context,
    settings: &[Named],
    request: &withdraw::Request,
) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `link-account.begin`.
pub fn begin_link<P: LinkAccount>(
    ctx: &Context,
    settings: &[Named],
    request: &link_account::Request,
) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `pay-bill.recognise`.
pub fn recognise<P: PayBill>(
    ctx: &Context,
    settings: &[Named],
    code: &Code,
    facts: &[Named],
) -> Result<Option<Bill>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::recognise(ctx, settings, code, Values(facts)))
}

/// `pay-bill.begin`.
pub fn begin_bill<P: PayBill>(
    ctx: &Context,
    settings: &[Named],
    request: &bill::Request,
) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `sync.begin`.
pub fn begin_sync<P: Sync>(ctx: &Context, settings: &[Named], request: &sync::Request) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `migrate.state`.
pub fn migrate<P: Migrate>(ctx: &Context, settings: &[Named], version: &str, state: &[u8]) -> Result<Vec<u8>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::state(ctx, settings, version, state)).map(|state| write_state(&state))
}

/// `rates.parse`.
pub fn parse_rates<P: Rates>(ctx: &Context, settings: &[Named], content: &[u8]) -> Result<Vec<Rate>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::parse(ctx, settings, content))
}

/// `quote.quote`.
pub fn quote<P: Quote>(ctx: &Context, settings: &[Named], request: &market::Request) -> Result<Price, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::quote(ctx, settings, request))
}

/// `statement.compose`.
pub fn compose_statement<P: Statement>(
    ctx: &Context,
    settings: &[Named],
    format: &str,
    account: &Account,
) -> Result<Document, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::compose(ctx, settings, format, account))
}

/// `on-event.on-event`.
pub fn on_event<P: OnEvent>(
    ctx: &Context,
    settings: &[Named],
    event: &on_event::Event,
    remembered: &[Remembered],
) -> Result<Vec<Action>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::on_event(ctx, settings, event, remembered))
}

/// `table.rows`.
pub fn table_rows<P: Table>(ctx: &Context, settings: &[Named], request: &table::Request) -> Result<Vec<Row>, Failure> {
    arm();
    let rows = with_settings::<P, _>(settings, |settings| P::rows(ctx, settings, request))?;
    Ok(rows.into_iter().map(|cells| Row { cells }).collect())
}

/// `machine.resume`.
pub fn resume<P: Machine>(
    ctx: &Context,
    settings: &[Named],
    state: &[u8],
    event: &Event,
    refused: Option<&Refusal>,
) -> Result<flow::Step, Failure> {
    arm();
    let state = postcard::from_bytes(state).unwrap_or_else(|error| {
        // Not an answer to the partner but a mistake of ours: a fault keeps the event and stops the flow where an operator sees it.
        panic!("the flow's state cannot be read ({error}); was it written by another version of this plugin?")
    });
    with_settings::<P, _>(settings, |settings| P::resume(ctx, settings, state, event, refused)).map(write_step)
}

/// `inbound.route`.
pub fn route<P: Inbound>(ctx: &Context, settings: &[Named], call: &Call) -> Result<Routing, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::route(ctx, settings, call))
}

/// `settlement.parse`.
pub fn parse_settlement<P: Settlement>(
    ctx: &Context,
    settings: &[Named],
    content: &[u8],
) -> Result<Vec<Line>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::parse(ctx, settings, content))
}

/// `files.compose`.
pub fn compose_file<P: Files>(
    ctx: &Context,
    settings: &[Named],
    file: &files::Outgoing,
    records: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::compose(ctx, settings, file, records))
}

/// `files.parse`.
pub fn parse_file<P: Files>(
    ctx: &Context,
    settings: &[Named],
    file: &str,
    content: &[u8],
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::parse(ctx, settings, file, content))
}

/// Reads the settings and calls with them. They were judged when they were set, so that the first thing wrong is enough here.
fn with_settings<P: Plugin, T>(
    list: &[Named],
    call: impl FnOnce(&P::Settings) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = P::Settings::read(list).map_err(|failures| {
        let first = failures.into_iter().next();
        first.unwrap_or_else(|| Failure::new(crate::SETTINGS_INVALID, "the settings cannot be read"))
    })?;
    let answer = call(&settings);
    leave(settings);
    answer
}

/// A step as the contract has it.
pub fn write_step<S: serde::Serialize>(step: Step<S>) -> flow::Step {
    flow::Step {
        state: write_state(&step.state),
        standing: step.standing,
        effects: step.effects,
        proposals: step.proposals,
        reply: step.reply,
        note: step.note,
    }
}

fn write_state<S: serde::Serialize>(state: &S) -> Vec<u8> {
    postcard::to_allocvec(state)
        .unwrap_or_else(|error| panic!("the flow's state cannot be written as postcard: {error}"))
}
