//! Decisions in a pretend host: each is asked twice, must answer the same, and its answer is held to the bounds of the contract.

use super::context;
use crate::assess::{Answer, Payment, Signal};
use crate::bill::{Bill, Code};
use crate::files::Outgoing;
use crate::market::{Price, Rate, Request};
use crate::on_event::{Action, Event, Remembered};
use crate::statement::{Account, Document};
use crate::{
    Assess, Failure, Files, Named, OnEvent, PayBill, Quote, Rates, Statement, Table, Value, export, table as pages,
};

/// Largest file.
const FILE_BYTES_MAX: usize = 3 * 1024 * 1024;

fn twice<T: PartialEq + std::fmt::Debug>(call: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let (once, again) = (call(), call());
    assert_eq!(once, again, "the same question has two different answers");
    once
}

/// What a rule says of a payment. Errors: the plugin's own refusal.
pub fn assess<P: Assess>(
    now: u64,
    settings: &[Named],
    payment: &Payment,
    facts: &[Named],
    signals: &[Signal],
) -> Result<Answer, Failure> {
    let answer = twice(|| export::assess::<P>(&context(now), settings, payment, facts, signals))?;
    assert!(answer.score <= 1_000, "a score of {}", answer.score);
    assert!(answer.reasons.iter().all(|reason| reason.weight <= 1_000), "a weight above 1000: {:?}", answer.reasons);
    Ok(answer)
}

/// What a feed says. Errors: the plugin's own refusal.
pub fn rates<P: Rates>(now: u64, settings: &[Named], content: &[u8]) -> Result<Vec<Rate>, Failure> {
    let rates = twice(|| export::parse_rates::<P>(&context(now), settings, content))?;
    assert!(rates.len() <= 1_000, "{} rates", rates.len());
    for rate in &rates {
        assert!(rate.mid.mantissa > 0 && rate.mid.scale <= 12, "{rate:?} is no rate");
        assert_ne!(rate.base, rate.quote, "a currency is priced in itself");
        let same = |other: &&Rate| (&other.base, &other.quote, other.at) == (&rate.base, &rate.quote, rate.at);
        assert_eq!(rates.iter().filter(same).count(), 1, "{rate:?} is there twice");
    }
    Ok(rates)
}

/// The file that comes of these records. Errors: the plugin's own refusal.
pub fn compose_file<P: Files>(
    now: u64,
    settings: &[Named],
    file: &Outgoing,
    records: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, Failure> {
    let content = twice(|| export::compose_file::<P>(&context(now), settings, file, records))?;
    assert!((1..=FILE_BYTES_MAX).contains(&content.len()), "a file of {} bytes", content.len());
    Ok(content)
}

/// The records of a partner's file. Errors: the plugin's own refusal.
pub fn parse_file<P: Files>(
    now: u64,
    settings: &[Named],
    file: &str,
    content: &[u8],
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    twice(|| export::parse_file::<P>(&context(now), settings, file, content))
}

/// A price. Errors: the plugin's own refusal.
pub fn quote<P: Quote>(now: u64, settings: &[Named], request: &Request) -> Result<Price, Failure> {
    let price = twice(|| export::quote::<P>(&context(now), settings, request))?;
    let pair = [(&price.base, &price.quote), (&price.quote, &price.base)];
    assert!(pair.contains(&(&request.sell, &request.buy)), "{price:?} is for another pair");
    assert!(price.rate.mantissa > 0 && price.rate.scale <= 4, "{:?} is no rate for customers", price.rate);
    assert!(price.mid.mantissa > 0 && price.mid.scale <= 12, "{:?} is no rate", price.mid);
    let holds_ms = price.expires.saturating_sub(now);
    assert!((1_000..=120_000).contains(&holds_ms), "the price holds {holds_ms} ms");
    Ok(price)
}

/// The bill that a code is. Errors: the plugin's own refusal.
pub fn recognise<P: PayBill>(
    now: u64,
    settings: &[Named],
    code: &Code,
    facts: &[Named],
) -> Result<Option<Bill>, Failure> {
    let bill = twice(|| export::recognise::<P>(&context(now), settings, code, facts))?;
    if let Some(bill) = &bill {
        assert!(bill.amount.minor > 0, "a bill over {:?}", bill.amount);
        assert!(bill.fee.minor >= 0 && bill.fee.is_in(&bill.amount.currency), "a fee of {:?}", bill.fee);
        assert!(bill.fields.len() <= 20, "{} lines", bill.fields.len());
    }
    Ok(bill)
}

/// A file of a statement. Errors: the plugin's own refusal.
pub fn statement<P: Statement>(
    now: u64,
    settings: &[Named],
    format: &str,
    account: &Account,
) -> Result<Document, Failure> {
    let sum: i64 = account.rows.iter().map(|row| row.amount.minor).sum();
    assert_eq!(account.opening + sum, account.closing, "the test's own statement does not add up");
    let document = twice(|| export::compose_statement::<P>(&context(now), settings, format, account))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name = &document.name;
    assert!(!name.is_empty() && name.len() <= 80 && !name.starts_with('.') && name.bytes().all(plain), "`{name}`");
    Ok(document)
}

/// What shall follow from an event. Errors: the plugin's own refusal.
pub fn on_event<P: OnEvent>(
    now: u64,
    settings: &[Named],
    event: &Event,
    remembered: &[Remembered],
) -> Result<Vec<Action>, Failure> {
    let actions = twice(|| export::on_event::<P>(&context(now), settings, event, remembered))?;
    assert!(actions.len() <= 16, "{} actions", actions.len());
    for action in &actions {
        match action {
            Action::Bonus(bonus) => {
                assert!(bonus.amount.minor > 0, "a bonus of {:?}", bonus.amount);
                assert!(
                    !event.kind.starts_with("bonus."),
                    "a bonus for a bonus, which would go on until the budget is gone"
                );
            }
            Action::Begin(step) => assert!(step.proposals.is_empty(), "an event's flow proposes {:?}", step.proposals),
            Action::Put(_) | Action::Tell(_) | Action::Reclaim(_) => {}
        }
        let of_user = match action {
            Action::Put(put) => put.about == crate::on_event::About::User,
            Action::Bonus(_) | Action::Tell(_) => true,
            Action::Begin(_) | Action::Reclaim(_) => false,
        };
        assert!(event.user.is_some() || !of_user, "{action:?} needs a user, and the event has none");
    }
    Ok(actions)
}

/// The rows of a page of so many columns. Errors: the plugin's own refusal.
pub fn table<P: Table>(
    now: u64,
    settings: &[Named],
    columns: usize,
    request: &pages::Request,
) -> Result<Vec<Vec<Value>>, Failure> {
    let rows = twice(|| export::table_rows::<P>(&context(now), settings, request))?;
    assert!(rows.len() <= 200, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(row.cells.len(), columns, "a row with other columns: {row:?}");
    }
    Ok(rows.into_iter().map(|row| row.cells).collect())
}
