//! Domain values as the contract's parameters: borrowed, so that nothing is copied before the guest's memory.

use koban_domain::guest::{self, Named, Value};
use koban_domain::money::Money;

use crate::bindings::exports::koban::plugin::{
    assess, charge, files, inbound, link_account, on_event, pay_bill, quote, sync, table, withdraw,
};
use crate::bindings::koban::plugin::{accounts, flow, market, types};

pub(crate) fn money(money: &Money) -> types::MoneyParam<'_> {
    types::MoneyParam { minor: money.minor, currency: money.currency.code() }
}

fn value(value: &Value) -> types::ValueParam<'_> {
    match value {
        Value::Text(text) => types::ValueParam::Text(text),
        Value::Whole(number) => types::ValueParam::Whole(*number),
        Value::Amount(amount) => types::ValueParam::Amount(money(amount)),
        Value::Rate(rate) => types::ValueParam::Rate(decimal(rate)),
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

/// Lists that a request borrows, lowered before it.
pub(crate) struct Lent<'a> {
    facts: Vec<types::NamedParam<'a>>,
}

impl<'a> Lent<'a> {
    pub(crate) fn of(facts: &'a [Named]) -> Lent<'a> {
        Lent { facts: named(facts) }
    }
}

fn decimal(decimal: &guest::Decimal) -> types::Decimal {
    types::Decimal { mantissa: decimal.mantissa, scale: decimal.scale }
}

fn mandate(mandate: &guest::Mandate) -> flow::Mandate<'_> {
    flow::Mandate { each: money(&mandate.each), month: mandate.month.as_ref().map(money), expires: mandate.expires }
}

fn link(link: &guest::Link) -> flow::Link<'_> {
    flow::Link {
        reference: &link.reference,
        kind: &link.kind,
        label: &link.label,
        data: &link.data,
        since: link.since,
        expires: link.expires,
        mandate: link.mandate.as_ref().map(mandate),
    }
}

pub(crate) fn charge_request<'a>(
    request: &'a guest::ChargeRequest,
    its_link: Option<&'a guest::Link>,
    lent: &'a Lent<'a>,
) -> charge::Request<'a> {
    charge::Request {
        wallet: &request.wallet,
        amount: request.amount.as_ref().map(money),
        at_most: money(&request.at_most),
        link: its_link.map(link),
        facts: &lent.facts,
    }
}

pub(crate) fn withdraw_request<'a>(request: &'a guest::WithdrawRequest, lent: &'a Lent<'a>) -> withdraw::Request<'a> {
    withdraw::Request {
        wallet: &request.wallet,
        amount: money(&request.amount),
        at_most: money(&request.at_most),
        link: request.link.as_ref().map(link),
        facts: &lent.facts,
    }
}

pub(crate) fn link_request<'a>(request: &'a guest::LinkRequest, lent: &'a Lent<'a>) -> link_account::Request<'a> {
    link_account::Request {
        wallet: &request.wallet,
        kind: &request.kind,
        link: request.link.as_ref().map(link),
        mandate: request.mandate.as_ref().map(mandate),
        facts: &lent.facts,
    }
}

pub(crate) fn bill_code(code: &guest::BillCode) -> pay_bill::Code<'_> {
    let source = match code.source {
        guest::BillSource::BarCode => pay_bill::Source::BarCode,
        guest::BillSource::Qr => pay_bill::Source::Qr,
        guest::BillSource::Typed => pay_bill::Source::Typed,
    };
    pay_bill::Code { source, content: &code.content }
}

pub(crate) fn bill_request<'a>(
    request: &'a guest::BillRequest,
    lent: &'a Lent<'a>,
    fields: &'a [types::NamedParam<'a>],
) -> pay_bill::Request<'a> {
    let bill = &request.bill;
    pay_bill::Request {
        wallet: &request.wallet,
        code: bill_code(&request.code),
        bill: pay_bill::BillParam {
            biller: &bill.biller,
            name: &bill.name,
            reference: &bill.reference,
            amount: money(&bill.amount),
            fee: money(&bill.fee),
            due: bill.due,
            fields,
        },
        at_most: money(&request.at_most),
        link: request.link.as_ref().map(link),
        facts: &lent.facts,
    }
}

pub(crate) fn rows(account: &guest::StatementAccount) -> Vec<accounts::Row<'_>> {
    account.rows.iter().map(row).collect()
}

fn row(row: &guest::StatementRow) -> accounts::Row<'_> {
    accounts::Row {
        id: &row.id,
        at: row.at,
        kind: &row.kind,
        amount: money(&row.amount),
        balance: row.balance,
        counterpart: &row.counterpart,
        memo: &row.memo,
        refers_to: row.refers_to.as_deref(),
    }
}

pub(crate) fn account<'a>(
    account: &'a guest::StatementAccount,
    rows: &'a [accounts::Row<'a>],
) -> accounts::Account<'a> {
    accounts::Account {
        name: &account.name,
        currency: account.currency.code(),
        since: account.since,
        until: account.until,
        opening: account.opening,
        closing: account.closing,
        rows,
    }
}

pub(crate) fn sync_request<'a>(
    request: &'a guest::SyncRequest,
    lent: &'a Lent<'a>,
    rows: &'a [accounts::Row<'a>],
) -> sync::Request<'a> {
    sync::Request {
        wallet: &request.wallet,
        link: link(&request.link),
        account: account(&request.account, rows),
        facts: &lent.facts,
    }
}

pub(crate) fn rates(rates: &[guest::MarketRate]) -> Vec<market::RateParam<'_>> {
    rates
        .iter()
        .map(|rate| market::RateParam {
            base: rate.base.code(),
            quote: rate.quote.code(),
            mid: decimal(&rate.mid),
            at: rate.at,
        })
        .collect()
}

pub(crate) fn quote_request<'a>(
    request: &'a guest::QuoteRequest,
    rates: &'a [market::RateParam<'a>],
    facts: &'a [types::NamedParam<'a>],
) -> quote::Request<'a> {
    quote::Request { sell: request.sell.code(), buy: request.buy.code(), amount: money(&request.amount), rates, facts }
}

pub(crate) fn happening<'a>(event: &'a guest::Happening, facts: &'a [types::NamedParam<'a>]) -> on_event::Event<'a> {
    on_event::Event {
        id: &event.id,
        kind: &event.kind,
        at: event.at,
        amount: event.amount.as_ref().map(money),
        user: event.user.as_deref(),
        merchant: event.merchant.as_deref(),
        facts,
    }
}

pub(crate) fn remembered(list: &[guest::Remembered]) -> Vec<on_event::Remembered<'_>> {
    let about = |about| match about {
        guest::About::User => on_event::About::User,
        guest::About::Scope => on_event::About::Scope,
    };
    list.iter()
        .map(|kept| on_event::Remembered { about: about(kept.about), name: &kept.name, value: value(&kept.value) })
        .collect()
}

pub(crate) fn subjects<'a>(
    request: &'a guest::TableRequest,
    values: &'a [Vec<types::NamedParam<'a>>],
) -> Vec<table::Subject<'a>> {
    let subjects = request.subjects.iter().zip(values);
    subjects.map(|(subject, values)| table::Subject { name: &subject.name, values }).collect()
}

pub(crate) fn inbound_call<'a>(call: &'a guest::InboundCall, query: &'a [types::NamedParam<'a>]) -> inbound::Call<'a> {
    inbound::Call { endpoint: &call.endpoint, operation: &call.operation, path: &call.path, query, body: &call.body }
}

pub(crate) fn outgoing_file(file: &guest::OutgoingFile) -> files::Outgoing<'_> {
    files::Outgoing { file: &file.file, called: &file.called, number: file.number, cut_off: file.cut_off }
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
            | guest::What::CancelAsked
            | guest::What::Agreed => {}
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
            guest::What::Agreed => flow::What::Agreed,
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
