//! Domain values as the contract's parameters: borrowed, so that nothing is copied before the guest's memory.

use koban_domain::guest::{self, Named, Value};
use koban_domain::money::Money;

use crate::bindings::exports::koban::plugin::{assess, charge, inbound};
use crate::bindings::koban::plugin::{flow, types};

pub(crate) fn money(money: &Money) -> types::MoneyParam<'_> {
    types::MoneyParam { minor: money.minor, currency: money.currency.code() }
}

fn value(value: &Value) -> types::ValueParam<'_> {
    match value {
        Value::Text(text) => types::ValueParam::Text(text),
        Value::Whole(number) => types::ValueParam::Whole(*number),
        Value::Amount(amount) => types::ValueParam::Amount(money(amount)),
        Value::Rate(rate) => types::ValueParam::Rate(types::Decimal { mantissa: rate.mantissa, scale: rate.scale }),
        Value::Flag(flag) => types::ValueParam::Flag(*flag),
        Value::Moment(moment) => types::ValueParam::Moment(*moment),
        Value::Secret(handle) => types::ValueParam::Secret(handle),
    }
}

pub(crate) fn named(list: &[Named]) -> Vec<types::NamedParam<'_>> {
    list.iter().map(|named| types::NamedParam { name: &named.name, value: value(&named.value) }).collect()
}

pub(crate) fn context(context: &guest::Context) -> types::Context<'_> {
    types::Context {
        call: &context.call,
        scope: &context.scope,
        now: context.now,
        seed: context.seed,
        locale: &context.locale,
    }
}

pub(crate) fn payment(payment: &guest::AssessPayment) -> assess::Payment<'_> {
    assess::Payment { id: &payment.id, kind: &payment.kind, amount: money(&payment.amount), at: payment.at }
}

pub(crate) fn signals(signals: &[guest::Signal]) -> Vec<assess::Signal<'_>> {
    signals
        .iter()
        .map(|signal| assess::Signal {
            name: &signal.name,
            window_s: signal.window_s,
            count: signal.count,
            sum: money(&signal.sum),
        })
        .collect()
}

pub(crate) fn charge_request<'a>(
    request: &'a guest::ChargeRequest,
    facts: &'a [types::NamedParam<'a>],
) -> charge::Request<'a> {
    charge::Request {
        wallet: &request.wallet,
        amount: request.amount.as_ref().map(money),
        at_most: money(&request.at_most),
        facts,
    }
}

pub(crate) fn inbound_call<'a>(call: &'a guest::InboundCall, query: &'a [types::NamedParam<'a>]) -> inbound::Call<'a> {
    inbound::Call { endpoint: &call.endpoint, operation: &call.operation, path: &call.path, query, body: &call.body }
}

/// The lists inside an event, lowered before the event that borrows them.
pub(crate) struct EventParts<'a> {
    named: Vec<types::NamedParam<'a>>,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> EventParts<'a> {
    pub(crate) fn of(event: &'a guest::Event) -> EventParts<'a> {
        let mut parts = EventParts { named: Vec::new(), headers: Vec::new() };
        match &event.what {
            guest::What::Answer(answer) => {
                parts.headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            }
            guest::What::Form(answers) => parts.named = named(answers),
            guest::What::Message(message) => parts.named = named(&message.query),
            guest::What::Lost(..)
            | guest::What::Rang
            | guest::What::Queued
            | guest::What::Sealed(_)
            | guest::What::CancelAsked => {}
        }
        parts
    }

    pub(crate) fn event(&'a self, event: &'a guest::Event) -> flow::Event<'a> {
        let what = match &event.what {
            guest::What::Answer(answer) => flow::What::Answer(flow::HttpAnswerParam {
                status: answer.status,
                headers: &self.headers,
                body: &answer.body,
            }),
            guest::What::Lost(lost, word) => flow::What::Lost((self::lost(*lost), word)),
            guest::What::Rang => flow::What::Rang,
            guest::What::Form(_) => flow::What::Form(&self.named),
            guest::What::Queued => flow::What::Queued,
            guest::What::Sealed(file) => flow::What::Sealed(file),
            guest::What::Message(message) => flow::What::Message(flow::Message {
                operation: &message.operation,
                path: &message.path,
                query: &self.named,
                body: &message.body,
            }),
            guest::What::CancelAsked => flow::What::CancelAsked,
        };
        flow::Event { number: event.number, key: &event.key, what }
    }
}

fn lost(lost: guest::Lost) -> flow::Lost {
    match lost {
        guest::Lost::Refused => flow::Lost::Refused,
        guest::Lost::NotSent => flow::Lost::NotSent,
        guest::Lost::Unknown => flow::Lost::Unknown,
        guest::Lost::BadSignature => flow::Lost::BadSignature,
    }
}

pub(crate) fn refusal(refusal: &guest::StepRefusal) -> flow::Refusal<'_> {
    flow::Refusal { proposal: refusal.proposal, outcome: &refusal.outcome }
}
