//! One call on one instance: the input lowered, the function run, the raw answer lifted.

use koban_domain::guest::{Context, Named};
use koban_domain::records::Input;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::exports::koban::plugin::{
    assess, inbound, on_event, pay_bill, plugin, quote, settlement, statement, table,
};
use crate::bindings::koban::plugin::{flow, market, types};
use crate::convert::{self, Lent};
use crate::exports::Exports;
use crate::state::State;

/// What a guest answered, in the contract's own types; `admit` makes domain values of it.
pub(crate) enum Raw {
    Description(plugin::Description),
    Checked(Result<(), Vec<types::Failure>>),
    Assessment(Result<assess::Answer, types::Failure>),
    Step(Result<flow::Step, types::Failure>),
    Routing(Result<inbound::Routing, types::Failure>),
    Lines(Result<Vec<settlement::Line>, types::Failure>),
    Bill(Result<Option<pay_bill::BillResult>, types::Failure>),
    Bytes(Result<Vec<u8>, types::Failure>),
    Records(Result<Vec<(String, Vec<u8>)>, types::Failure>),
    Rates(Result<Vec<market::RateResult>, types::Failure>),
    Price(Result<quote::Price, types::Failure>),
    Document(Result<statement::Document, types::Failure>),
    Actions(Result<Vec<on_event::Action>, types::Failure>),
    Rows(Result<Vec<table::Row>, types::Failure>),
    /// The component does not export the interface.
    NotExported,
}

/// The functions of an interface, or the answer that the component does not export it.
macro_rules! guest {
    ($exports:expr, $interface:ident, $store:expr, $instance:expr) => {
        match &$exports.$interface {
            Some(indices) => indices.load(&mut *$store, $instance)?,
            None => return Ok(Raw::NotExported),
        }
    };
}

/// Runs the function that the input belongs to. Errors: wasmtime's, for `faults::from_error`.
pub(crate) async fn run(
    exports: &Exports,
    store: &mut Store<State>,
    instance: &Instance,
    context: &Context,
    settings: &[Named],
    input: &Input,
) -> wasmtime::Result<Raw> {
    let context = convert::context(context);
    let settings = convert::named(settings);
    let settings = settings.as_slice();
    Ok(match input {
        Input::Describe => {
            let guest = exports.plugin.load(&mut *store, instance)?;
            Raw::Description(guest.call_describe(store).await?)
        }
        Input::CheckSettings => {
            let guest = exports.plugin.load(&mut *store, instance)?;
            Raw::Checked(guest.call_check_settings(store, settings).await?)
        }
        Input::Assess(payment, facts, signals) => {
            let guest = guest!(exports, assess, store, instance);
            let (facts, signals) = (convert::named(facts), convert::signals(signals));
            let payment = convert::payment(payment);
            Raw::Assessment(guest.call_assess(store, context, settings, payment, &facts, &signals).await?)
        }
        Input::BeginCharge(request) => {
            let guest = guest!(exports, charge, store, instance);
            let lent = Lent::of(&request.facts);
            Raw::Step(guest.call_begin(store, context, settings, convert::charge_request(request, None, &lent)).await?)
        }
        Input::BeginLinkedCharge(request, link) => {
            let guest = guest!(exports, charge, store, instance);
            let lent = Lent::of(&request.facts);
            let request = convert::charge_request(request, Some(link), &lent);
            Raw::Step(guest.call_begin(store, context, settings, request).await?)
        }
        Input::BeginWithdraw(request) => {
            let guest = guest!(exports, withdraw, store, instance);
            let lent = Lent::of(&request.facts);
            Raw::Step(guest.call_begin(store, context, settings, convert::withdraw_request(request, &lent)).await?)
        }
        Input::BeginLink(request) => {
            let guest = guest!(exports, link_account, store, instance);
            let lent = Lent::of(&request.facts);
            Raw::Step(guest.call_begin(store, context, settings, convert::link_request(request, &lent)).await?)
        }
        Input::Recognise(code, facts) => {
            let guest = guest!(exports, pay_bill, store, instance);
            let facts = convert::named(facts);
            Raw::Bill(guest.call_recognise(store, context, settings, convert::bill_code(code), &facts).await?)
        }
        Input::BeginBill(request) => {
            let guest = guest!(exports, pay_bill, store, instance);
            let (lent, fields) = (Lent::of(&request.facts), convert::named(&request.bill.fields));
            let request = convert::bill_request(request, &lent, &fields);
            Raw::Step(guest.call_begin(store, context, settings, request).await?)
        }
        Input::BeginSync(request) => {
            let guest = guest!(exports, sync, store, instance);
            let (lent, rows) = (Lent::of(&request.facts), convert::rows(&request.account));
            let request = convert::sync_request(request, &lent, &rows);
            Raw::Step(guest.call_begin(store, context, settings, request).await?)
        }
        Input::Resume(state, event, refused) => {
            let guest = guest!(exports, machine, store, instance);
            let parts = convert::EventParts::of(event);
            let refused = refused.as_ref().map(convert::refusal);
            Raw::Step(guest.call_resume(store, context, settings, state, parts.event(event), refused).await?)
        }
        Input::Route(call) => {
            let guest = guest!(exports, inbound, store, instance);
            let query = convert::named(&call.query);
            Raw::Routing(guest.call_route(store, context, settings, convert::inbound_call(call, &query)).await?)
        }
        Input::ParseSettlement(content) => {
            let guest = guest!(exports, settlement, store, instance);
            Raw::Lines(guest.call_parse(store, context, settings, content).await?)
        }
        Input::ComposeFile(file, records) => {
            let guest = guest!(exports, files, store, instance);
            let records: Vec<_> = records.iter().map(|(name, record)| (name.as_str(), record.as_slice())).collect();
            Raw::Bytes(guest.call_compose(store, context, settings, convert::outgoing_file(file), &records).await?)
        }
        Input::ParseFile(file, content) => {
            let guest = guest!(exports, files, store, instance);
            Raw::Records(guest.call_parse(store, context, settings, file, content).await?)
        }
        Input::MigrateState(version, state) => {
            let guest = guest!(exports, migrate, store, instance);
            Raw::Bytes(guest.call_state(store, context, settings, version, state).await?)
        }
        Input::ParseRates(content) => {
            let guest = guest!(exports, rates, store, instance);
            Raw::Rates(guest.call_parse(store, context, settings, content).await?)
        }
        Input::Quote(request) => {
            let guest = guest!(exports, quote, store, instance);
            let (facts, rates) = (convert::named(&request.facts), convert::rates(&request.rates));
            let request = convert::quote_request(request, &rates, &facts);
            Raw::Price(guest.call_quote(store, context, settings, request).await?)
        }
        Input::ComposeStatement(format, account) => {
            let guest = guest!(exports, statement, store, instance);
            let rows = convert::rows(account);
            let account = convert::account(account, &rows);
            Raw::Document(guest.call_compose(store, context, settings, format, account).await?)
        }
        Input::OnEvent(event, remembered) => {
            let guest = guest!(exports, on_event, store, instance);
            let (facts, remembered) = (convert::named(&event.facts), convert::remembered(remembered));
            let event = convert::happening(event, &facts);
            Raw::Actions(guest.call_on_event(store, context, settings, event, &remembered).await?)
        }
        Input::TableRows(request) => {
            let guest = guest!(exports, table, store, instance);
            let values: Vec<_> = request.subjects.iter().map(|subject| convert::named(&subject.values)).collect();
            let subjects = convert::subjects(request, &values);
            let request = table::Request { table: &request.table, subjects: &subjects, more: request.more };
            Raw::Rows(guest.call_rows(store, context, settings, request).await?)
        }
    })
}
