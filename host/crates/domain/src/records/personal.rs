//! What of personal data a call's content holds: words that the record's head tells for ever, so that whoever must erase knows where to look.

use super::Input;
use crate::guest::{Named, Value, What};

/// Facts of the catalogue that are texts and say nothing about a person.
const HARMLESS: [&str; 2] = ["account.kind", "merchant.category"];

/// The words for this input and this log, in the order of the format's page, each once.
pub fn held_by(input: &Input, log: &[(u8, String)]) -> Vec<&'static str> {
    let mut words = match input {
        Input::Describe | Input::CheckSettings => Vec::new(),
        Input::Assess(_, facts, signals) => {
            let mut words = vec!["payment"];
            words.extend(identifying(facts).then_some("facts"));
            words.extend((!signals.is_empty()).then_some("signals"));
            words
        }
        Input::BeginCharge(request) => with_facts(&["wallet"], &request.facts),
        Input::Resume(state, event, _) => {
            let mut words = Vec::new();
            words.extend((!state.is_empty()).then_some("state"));
            words.extend(match &event.what {
                What::Form(_) => Some("form"),
                What::Answer(_) | What::Message(_) => Some("message"),
                What::Lost(..) | What::Rang | What::Queued | What::Sealed(_) | What::CancelAsked | What::Agreed => None,
            });
            words
        }
        Input::Route(_) => vec!["message"],
        Input::ParseSettlement(_) | Input::ComposeFile(..) | Input::ParseFile(..) => vec!["file"],
        Input::BeginLinkedCharge(request, _) => with_facts(&["wallet", "link"], &request.facts),
        Input::BeginWithdraw(request) => with_facts(&["wallet", "link"], &request.facts),
        Input::BeginLink(request) => with_facts(&["wallet", "link"], &request.facts),
        Input::Recognise(_, facts) => with_facts(&["bill"], facts),
        Input::BeginBill(request) => with_facts(&["wallet", "bill"], &request.facts),
        Input::BeginSync(request) => with_facts(&["wallet", "link", "statement"], &request.facts),
        Input::MigrateState(..) => vec!["state"],
        Input::ParseRates(_) => Vec::new(),
        Input::Quote(request) => with_facts(&["payment"], &request.facts),
        Input::ComposeStatement(..) => vec!["statement"],
        Input::OnEvent(happening, _) => with_facts(&["event"], &happening.facts),
        Input::TableRows(_) => vec!["table"],
    };
    words.extend((!log.is_empty()).then_some("log"));
    words
}

/// These words, and one more if the facts may tell people apart.
fn with_facts(words: &[&'static str], facts: &[Named]) -> Vec<&'static str> {
    words.iter().copied().chain(identifying(facts).then_some("facts")).collect()
}

/// Whether one of these facts may tell people apart: every text but those known to be harmless, and every handle.
fn identifying(facts: &[Named]) -> bool {
    facts.iter().any(|fact| match fact.value {
        Value::Text(_) => !HARMLESS.contains(&fact.name.as_str()),
        Value::Secret(_) => true,
        Value::Whole(_) | Value::Amount(_) | Value::Rate(_) | Value::Flag(_) | Value::Moment(_) => false,
    })
}
