//! Calling a guest: gives the call its id, time and seed, counts it, and seals its record for the commit that uses the answer.

use koban_domain::ids::{RecordId, UserId};
use koban_domain::ledger::SealedRecord;
use koban_domain::records::{Fault, Input, Output, Part};
use koban_runtime::{CallContext, Plugin};
use tracing::Instrument as _;

use crate::app::App;
use crate::clock::Stopwatch;
use crate::quarantine;

/// Who a call is made for.
#[derive(Debug, Clone, Copy)]
pub struct For<'a> {
    /// `platform`, or the id of a merchant or a store.
    pub scope: &'a str,
    /// `ja` or `en`.
    pub locale: &'a str,
    /// The user whom the call is about, if it is about one. The guest is not told: the record is, so that it can be found when what
    /// is held of the user must be erased.
    pub about: Option<UserId>,
}

impl For<'_> {
    /// The platform itself.
    pub const PLATFORM: For<'static> = For { scope: "platform", locale: "en", about: None };
}

/// Runs one guest call. The answer has no effect until the record is committed with what it caused.
pub async fn call(app: &App, plugin: &Plugin, whom: For<'_>, input: Input) -> (Result<Output, Fault>, SealedRecord) {
    ask(app, plugin, whom, input, Part::Live).await
}

/// Asks a component in shadow what the one in force was asked in the call of this record. Its answer is for comparison alone.
pub async fn call_beside(
    app: &App,
    plugin: &Plugin,
    whom: For<'_>,
    input: Input,
    live: RecordId,
) -> (Result<Output, Fault>, SealedRecord) {
    ask(app, plugin, whom, input, Part::Shadow(live)).await
}

async fn ask(
    app: &App,
    plugin: &Plugin,
    whom: For<'_>,
    input: Input,
    part: Part,
) -> (Result<Output, Fault>, SealedRecord) {
    let id = RecordId(app.clock.id());
    let context = CallContext {
        id,
        at: app.clock.now(),
        scope: whom.scope.to_owned(),
        seed: u64::from_be_bytes(crate::clock::take()),
        locale: whom.locale.to_owned(),
    };
    let function = input.function();
    let stopwatch = Stopwatch::start();
    let span = tracing::info_span!(target: crate::TRACE, "guest.call",
        plugin = plugin.id(), function, decision = %id, failed = tracing::field::Empty, fault = tracing::field::Empty);
    let mut called = app.door.call(plugin, context, input).instrument(span.clone()).await;
    let fault = called.result.as_ref().err();
    app.metrics.called(plugin.id(), function, stopwatch.seconds(), fault.map(|fault| fault.class));
    if let Some(fault) = fault {
        span.record("failed", true).record("fault", fault.class.word());
        tracing::warn!(plugin = plugin.id(), function, decision = %id, %fault, "a guest call ended in a fault");
    }
    quarantine::note(app, plugin, fault);
    called.record.part = part;
    called.record.about = whom.about;
    called.record.salt = crate::clock::take();
    (called.result, SealedRecord::from(&called.record))
}
