//! The gate after the answer: raw answers become domain values, and nothing passes that the manifest does not grant.
//!
//! `denied` is a wish for something that was not granted; `bad-answer` is an answer that makes no sense. What depends on the flow as a whole
//! (its authorisation, its open effects, its standing) is decided later, by `domain::flows`.

use koban_domain::guest::{self as domain, CONTRACT};
use koban_domain::manifest::Manifest;
use koban_domain::money::{Currency, Money};
use koban_domain::records::{Fault, Input, Output};
use koban_domain::texts::misleads;

use crate::bindings::exports::koban::plugin::plugin;
use crate::bindings::koban::plugin::types;
use crate::calls::Raw;
use crate::faults::{bad, denied};

mod decisions;
mod flows;
#[cfg(test)]
mod tests;

/// Keys, codes and names of the guest's own.
const NAME_BYTES_MAX: usize = 80;
/// References, correlations and other ids of partners.
const REFERENCE_BYTES_MAX: usize = 200;
/// Messages, links and whatever else is one line of text.
const LINE_BYTES_MAX: usize = 2_000;
/// A flow's state, and the body of a request or a reply.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A partner's file.
const FILE_BYTES_MAX: usize = 8 << 20;
const FAILURES_MAX: usize = 100;
const LINES_MAX: usize = 100_000;

/// What an answer is measured against.
pub(crate) struct Gate<'a> {
    pub(crate) manifest: &'a Manifest,
    /// Whether the component can take a partner's file apart, without which it may not ask for one.
    pub(crate) has_files: bool,
    /// Whether it can go on with a flow, without which it may not begin one.
    pub(crate) has_machine: bool,
}

impl Gate<'_> {
    /// Makes a domain value of a raw answer. Errors: the first thing that the manifest does not grant or that makes no sense, by its name.
    pub(crate) fn admit(&self, input: &Input, raw: Raw) -> Result<Output, Fault> {
        match raw {
            Raw::NotExported => Err(denied(format!("the component does not export `{}`", input.function()))),
            Raw::Description(description) => self.description(description).map(Output::Description),
            Raw::Checked(Ok(())) => Ok(Output::SettingsChecked(Vec::new())),
            Raw::Checked(Err(failures)) => {
                at_most("failures", failures.len(), FAILURES_MAX)?;
                let failures = failures.into_iter().map(|failure| self.failure(failure));
                failures.collect::<Result<_, _>>().map(Output::SettingsChecked)
            }
            Raw::Assessment(Ok(answer)) => self.assessment(answer).map(Output::Assessment),
            Raw::Step(Ok(step)) => self.step(input, step).map(Output::Step),
            Raw::Routing(Ok(routing)) => self.routing(routing).map(Output::Routing),
            Raw::Lines(Ok(lines)) => {
                at_most("lines", lines.len(), LINES_MAX)?;
                lines.into_iter().map(decisions::settlement_line).collect::<Result<_, _>>().map(Output::Lines)
            }
            Raw::Bill(Ok(bill)) => bill.map(|bill| self.bill(bill)).transpose().map(Output::Bill),
            Raw::Bytes(Ok(bytes)) => self.bytes(input, bytes),
            Raw::Records(Ok(records)) => decisions::records(records).map(Output::Records),
            Raw::Rates(Ok(rates)) => decisions::rates(rates).map(Output::Rates),
            Raw::Price(Ok(price)) => decisions::price(input, price).map(Output::Price),
            Raw::Document(Ok(document)) => decisions::document(document).map(Output::Document),
            Raw::Actions(Ok(actions)) => self.actions(input, actions).map(Output::Actions),
            Raw::Rows(Ok(rows)) => self.rows(input, rows).map(Output::Rows),
            Raw::Assessment(Err(failure))
            | Raw::Step(Err(failure))
            | Raw::Routing(Err(failure))
            | Raw::Lines(Err(failure))
            | Raw::Bill(Err(failure))
            | Raw::Bytes(Err(failure))
            | Raw::Records(Err(failure))
            | Raw::Rates(Err(failure))
            | Raw::Price(Err(failure))
            | Raw::Document(Err(failure))
            | Raw::Actions(Err(failure))
            | Raw::Rows(Err(failure)) => self.failure(failure).map(Output::Failure),
        }
    }

    fn description(&self, description: plugin::Description) -> Result<domain::Description, Fault> {
        for (what, said, written) in [
            ("id", &description.id, self.manifest.id.as_str()),
            ("version", &description.version, self.manifest.version.as_str()),
            ("contract", &description.contract, CONTRACT),
        ] {
            if said != written {
                return Err(bad(format!("describe says {what} {}, the manifest says `{written}`", quote(said))));
            }
        }
        Ok(domain::Description { id: description.id, version: description.version, contract: description.contract })
    }

    /// A file for a partner, or the state of a flow that was carried over.
    fn bytes(&self, input: &Input, bytes: Vec<u8>) -> Result<Output, Fault> {
        if let Input::MigrateState(..) = input {
            at_most("bytes of state", bytes.len(), BODY_BYTES_MAX)?;
            return Ok(Output::State(bytes));
        }
        at_most("bytes of a file", bytes.len(), FILE_BYTES_MAX)?;
        Ok(Output::File(bytes))
    }

    fn failure(&self, failure: types::Failure) -> Result<domain::Failure, Fault> {
        at_most("bytes of a failure's message", failure.message.len(), LINE_BYTES_MAX)?;
        Ok(domain::Failure {
            code: self.code("failure", failure.code)?,
            // It goes into logs and notes, where what is not seen could pass for something else.
            message: failure.message.chars().map(|c| if misleads(c) { ' ' } else { c }).collect(),
            text: failure.text.map(|key| self.text(key)).transpose()?,
            retryable: failure.retryable,
        })
    }

    fn code(&self, what: &str, code: String) -> Result<String, Fault> {
        if self.manifest.has_code(&code) {
            Ok(code)
        } else {
            Err(bad(format!("{what} code {} is not in the manifest", quote(&code))))
        }
    }

    fn text(&self, key: String) -> Result<String, Fault> {
        if self.manifest.texts.contains_key(&key) {
            Ok(key)
        } else {
            Err(bad(format!("text {} is not in the manifest", quote(&key))))
        }
    }
}

fn named(named: types::NamedResult) -> Result<domain::Named, Fault> {
    let value = value(named.value)?;
    Ok(domain::Named { name: word("a parameter's name", named.name, NAME_BYTES_MAX)?, value })
}

fn value(value: types::ValueResult) -> Result<domain::Value, Fault> {
    Ok(match value {
        types::ValueResult::Text(text) => {
            at_most("bytes of a text value", text.len(), LINE_BYTES_MAX)?;
            domain::Value::Text(text)
        }
        types::ValueResult::Whole(number) => domain::Value::Whole(number),
        types::ValueResult::Amount(amount) => domain::Value::Amount(money(amount)?),
        types::ValueResult::Rate(rate) => {
            domain::Value::Rate(domain::Decimal { mantissa: rate.mantissa, scale: rate.scale })
        }
        types::ValueResult::Flag(flag) => domain::Value::Flag(flag),
        types::ValueResult::Moment(moment) => domain::Value::Moment(moment),
        types::ValueResult::Secret(handle) => {
            domain::Value::Secret(word("a secret's handle", handle, REFERENCE_BYTES_MAX)?)
        }
    })
}

fn money(money: types::MoneyResult) -> Result<Money, Fault> {
    Ok(Money { minor: money.minor, currency: currency(&money.currency)? })
}

fn currency(code: &str) -> Result<Currency, Fault> {
    Currency::new(code).map_err(|_| bad(format!("currency {} is not a code of ISO 4217", quote(code))))
}

fn positive(amount: types::MoneyResult) -> Result<Money, Fault> {
    let amount = money(amount)?;
    if amount.minor > 0 { Ok(amount) } else { Err(bad(format!("the amount {amount} of a proposal is not positive"))) }
}

fn reference(reference: String) -> Result<String, Fault> {
    word("a reference", reference, REFERENCE_BYTES_MAX)
}

/// Text that names something: not empty, on one line, not too long, and all of it seen.
fn word(what: &str, text: String, bytes_max: usize) -> Result<String, Fault> {
    if text.is_empty() || text.len() > bytes_max || text.chars().any(misleads) {
        let length = text.len();
        return Err(bad(format!(
            "{what} has 1 to {bytes_max} bytes and no control characters or others that are not seen, not {length} bytes: {}",
            quote(&text)
        )));
    }
    Ok(text)
}

fn at_most(what: &str, length: usize, most: usize) -> Result<(), Fault> {
    if length > most { Err(bad(format!("{length} {what}, at most {most} are allowed"))) } else { Ok(()) }
}

/// The guest's own text in a fault's detail: short and on one line.
fn quote(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("`{}`", short.escape_debug())
}
