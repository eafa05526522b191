//! One call on one instance: the input lowered, the function run, the raw answer lifted.

use koban_domain::guest::{Context, Named};
use koban_domain::records::Input;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::exports::koban::plugin::{assess, inbound, plugin, settlement};
use crate::bindings::koban::plugin::{flow, types};
use crate::convert;
use crate::plugin::Exports;
use crate::state::State;

/// What a guest answered, in the contract's own types; `admit` makes domain values of it.
pub(crate) enum Raw {
    Description(plugin::Description),
    Checked(Result<(), Vec<types::Failure>>),
    Assessment(Result<assess::Answer, types::Failure>),
    Step(Result<flow::Step, types::Failure>),
    Routing(Result<inbound::Routing, types::Failure>),
    Lines(Result<Vec<settlement::Line>, types::Failure>),
    /// The component does not export the interface.
    NotExported,
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
    Ok(match input {
        Input::Describe => {
            let guest = exports.plugin.load(&mut *store, instance)?;
            Raw::Description(guest.call_describe(store).await?)
        }
        Input::CheckSettings => {
            let guest = exports.plugin.load(&mut *store, instance)?;
            Raw::Checked(guest.call_check_settings(store, &convert::named(settings)).await?)
        }
        Input::Assess(payment, facts, signals) => {
            let Some(indices) = &exports.assess else { return Ok(Raw::NotExported) };
            let guest = indices.load(&mut *store, instance)?;
            let (settings, facts, signals) =
                (convert::named(settings), convert::named(facts), convert::signals(signals));
            let payment = convert::payment(payment);
            Raw::Assessment(guest.call_assess(store, context, &settings, payment, &facts, &signals).await?)
        }
        Input::BeginCharge(request) => {
            let Some(indices) = &exports.charge else { return Ok(Raw::NotExported) };
            let guest = indices.load(&mut *store, instance)?;
            let (settings, facts) = (convert::named(settings), convert::named(&request.facts));
            let request = convert::charge_request(request, &facts);
            Raw::Step(guest.call_begin(store, context, &settings, request).await?)
        }
        Input::Resume(state, event, refused) => {
            let Some(indices) = &exports.machine else { return Ok(Raw::NotExported) };
            let guest = indices.load(&mut *store, instance)?;
            let settings = convert::named(settings);
            let parts = convert::EventParts::of(event);
            let refused = refused.as_ref().map(convert::refusal);
            Raw::Step(guest.call_resume(store, context, &settings, state, parts.event(event), refused).await?)
        }
        Input::Route(call) => {
            let Some(indices) = &exports.inbound else { return Ok(Raw::NotExported) };
            let guest = indices.load(&mut *store, instance)?;
            let (settings, query) = (convert::named(settings), convert::named(&call.query));
            let call = convert::inbound_call(call, &query);
            Raw::Routing(guest.call_route(store, context, &settings, call).await?)
        }
        Input::ParseSettlement(content) => {
            let Some(indices) = &exports.settlement else { return Ok(Raw::NotExported) };
            let guest = indices.load(&mut *store, instance)?;
            let settings = convert::named(settings);
            Raw::Lines(guest.call_parse(store, context, &settings, content).await?)
        }
    })
}

/// Bytes of the input's texts and bodies, which its class bounds before a guest sees it.
pub(crate) fn input_bytes(settings: &[Named], input: &Input) -> usize {
    use koban_domain::guest::{Value, What};
    fn named(list: &[Named]) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) | Value::Secret(text) => text.len(),
            Value::Whole(_) | Value::Amount(_) | Value::Rate(_) | Value::Flag(_) | Value::Moment(_) => 8,
        };
        list.iter().map(|named| named.name.len() + value(&named.value)).sum()
    }
    let input = match input {
        Input::Describe | Input::CheckSettings => 0,
        Input::Assess(payment, facts, signals) => {
            payment.id.len()
                + payment.kind.len()
                + named(facts)
                + signals.iter().map(|signal| signal.name.len() + 32).sum::<usize>()
        }
        Input::BeginCharge(request) => request.wallet.len() + named(&request.facts),
        Input::Resume(state, event, _) => {
            state.len()
                + match &event.what {
                    What::Answer(answer) => {
                        let headers = answer.headers.iter();
                        answer.body.len() + headers.map(|(name, value)| name.len() + value.len()).sum::<usize>()
                    }
                    What::Lost(_, word) => word.len(),
                    What::Form(answers) => named(answers),
                    What::Sealed(file) => file.len(),
                    What::Message(message) => message.path.len() + named(&message.query) + message.body.len(),
                    What::Rang | What::Queued | What::CancelAsked => 0,
                }
        }
        Input::Route(call) => call.path.len() + named(&call.query) + call.body.len(),
        Input::ParseSettlement(content) => content.len(),
    };
    named(settings).saturating_add(input)
}
