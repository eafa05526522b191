//! Correlations: the first flow that expects one has it for ever, and a call that came first belongs to none.

use super::{Arrival, Expectation};
use crate::books::Books;
use crate::guest::{Lost, What};
use crate::ledger::{Expect, Unexpected};
use crate::outcomes::Refusal;
use crate::time::Timestamp;

/// Gives a correlation to a flow, or tells it that it cannot have it.
pub(crate) fn expect(books: &mut Books, command: &Expect, now: Timestamp) -> Option<Arrival> {
    let key = (command.plugin, command.correlation.clone());
    match books.expectations.get(&key) {
        Some(known) if known.flow == Some(command.flow) => None,
        Some(_) => Some(Arrival {
            flow: command.flow,
            key: command.key.clone(),
            what: What::Lost(Lost::Refused, "another flow or an earlier call has this correlation".into()),
            call: None,
            at: now,
        }),
        None => {
            let expectation = Expectation { flow: Some(command.flow), key: command.key.clone(), at: now };
            books.expectations.put(key, expectation);
            None
        }
    }
}

/// Notes that a call came which no flow expects. Errors: [`Refusal::CorrelationTaken`] if one does.
pub(crate) fn unexpected(books: &mut Books, command: &Unexpected, now: Timestamp) -> Result<(), Refusal> {
    let key = (command.plugin, command.correlation.clone());
    match books.expectations.get(&key) {
        Some(known) if known.flow.is_some() => Err(Refusal::CorrelationTaken),
        Some(_) => Ok(()),
        None => {
            books.expectations.put(key, Expectation { flow: None, key: String::new(), at: now });
            Ok(())
        }
    }
}
