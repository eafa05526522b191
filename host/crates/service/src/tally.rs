//! Two answers to the same question, compared, and what many such comparisons add up to: a back-test's report and a shadow's.

use std::collections::BTreeMap;

use koban_domain::guest::Named;
use koban_domain::ids::RecordId;
use koban_domain::money::Money;
use koban_domain::records::{Ending, Input, Outcome, Output, Record};
use koban_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Examples kept of each sort of flip: those with the least ids, so that every run keeps the same.
const EXAMPLES_MAX: usize = 3;
/// Sorts of flips and reasons told apart; what is beyond them counts in the sums alone.
const SORTS_MAX: usize = 200;

/// A decision that would have been another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// The recorded decision.
    pub decision: RecordId,
    /// When it was made.
    pub at: Timestamp,
    /// What it was about, if it was about an amount.
    pub amount: Option<Money>,
    /// What was answered.
    pub from: String,
    /// What would have been.
    pub to: String,
    /// The reasons that were given, by code.
    pub reasons_before: Vec<String>,
    /// Those that would have been.
    pub reasons_after: Vec<String>,
}

/// All flips of one sort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flips {
    /// What was answered.
    pub from: String,
    /// What would have been.
    pub to: String,
    /// How many.
    pub count: u64,
    /// What they were about, one sum for each currency.
    pub amounts: Vec<Money>,
    /// Some of them.
    pub examples: Vec<Flip>,
}

/// A reason of decisions that flipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonOfFlips {
    /// Its code.
    pub code: String,
    /// Flips that would have had it and had not.
    pub gained: u64,
    /// Flips that had it and would not have.
    pub lost: u64,
}

/// What was compared, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Decisions that were compared.
    pub decisions: u64,
    /// Those that would have been the same.
    pub same: u64,
    /// Those that would have been another one.
    pub flips: u64,
    /// Calls that ended in a fault instead of an answer.
    pub faults: u64,
    /// Flips by what was answered and what would have been, most first.
    pub by_answer: Vec<Flips>,
    /// Reasons that flips gained or lost, most first.
    pub by_reason: Vec<ReasonOfFlips>,
}

/// Adds up comparisons.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    decisions: u64,
    flips: u64,
    faults: u64,
    by_answer: BTreeMap<(String, String), Sort>,
    by_reason: BTreeMap<String, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Sort {
    count: u64,
    /// By the currency's code. An amount that would overflow stays at the largest there is.
    amounts: BTreeMap<String, Money>,
    examples: BTreeMap<RecordId, Flip>,
}

impl Sort {
    fn add_amount(&mut self, amount: Money) {
        let sum = self.amounts.entry(amount.currency.code().to_owned());
        let sum = sum.or_insert(Money::new(0, amount.currency));
        sum.minor = sum.minor.saturating_add(amount.minor);
    }

    fn add_example(&mut self, flip: Flip) {
        self.examples.insert(flip.decision, flip);
        if self.examples.len() > EXAMPLES_MAX {
            self.examples.pop_last();
        }
    }
}

impl Tally {
    /// Compares what was answered with what would be. Answers the flip, if it is one.
    pub(crate) fn compare(&mut self, recorded: &Record, would: &Ending) -> Option<Flip> {
        self.decisions += 1;
        self.faults += u64::from(matches!(would, Ending::Fault(_)));
        if is_same(&recorded.ending, would) {
            return None;
        }
        let flip = Flip {
            decision: recorded.id,
            at: recorded.at,
            amount: amount_of(&recorded.input),
            from: word(&recorded.ending),
            to: word(would),
            reasons_before: reasons(&recorded.ending),
            reasons_after: reasons(would),
        };
        self.add(flip.clone());
        Some(flip)
    }

    fn add(&mut self, flip: Flip) {
        self.flips += 1;
        for (code, is_gained) in changed(&flip) {
            if self.by_reason.len() < SORTS_MAX || self.by_reason.contains_key(&code) {
                let counts = self.by_reason.entry(code).or_default();
                counts.0 += u64::from(is_gained);
                counts.1 += u64::from(!is_gained);
            }
        }
        let key = (flip.from.clone(), flip.to.clone());
        if self.by_answer.len() < SORTS_MAX || self.by_answer.contains_key(&key) {
            let sort = self.by_answer.entry(key).or_default();
            sort.count += 1;
            if let Some(amount) = flip.amount {
                sort.add_amount(amount);
            }
            sort.add_example(flip);
        }
    }

    /// Takes in what another has counted.
    pub(crate) fn merge(&mut self, other: Tally) {
        self.decisions += other.decisions;
        self.flips += other.flips;
        self.faults += other.faults;
        for (key, sort) in other.by_answer {
            let mine = self.by_answer.entry(key).or_default();
            mine.count += sort.count;
            sort.amounts.into_values().for_each(|amount| mine.add_amount(amount));
            sort.examples.into_values().for_each(|flip| mine.add_example(flip));
        }
        for (code, (gained, lost)) in other.by_reason {
            let mine = self.by_reason.entry(code).or_default();
            *mine = (mine.0 + gained, mine.1 + lost);
        }
    }

    pub(crate) fn totals(self) -> Totals {
        let flips = |((from, to), sort): ((String, String), Sort)| Flips {
            from,
            to,
            count: sort.count,
            amounts: sort.amounts.into_values().collect(),
            examples: sort.examples.into_values().collect(),
        };
        let mut by_answer: Vec<Flips> = self.by_answer.into_iter().map(flips).collect();
        by_answer.sort_by_key(|flips| std::cmp::Reverse(flips.count));
        let reason = |(code, (gained, lost))| ReasonOfFlips { code, gained, lost };
        let mut by_reason: Vec<ReasonOfFlips> = self.by_reason.into_iter().map(reason).collect();
        by_reason.sort_by_key(|reason| std::cmp::Reverse(reason.gained + reason.lost));
        Totals {
            decisions: self.decisions,
            same: self.decisions - self.flips,
            flips: self.flips,
            faults: self.faults,
            by_answer,
            by_reason,
        }
    }
}

/// Whether two endings decide the same: verdicts by the verdict alone, since a score that decides nothing costs nobody anything; faults
/// by their class; everything else as a whole.
fn is_same(one: &Ending, other: &Ending) -> bool {
    match (one, other) {
        (Ending::Output(Output::Assessment(one)), Ending::Output(Output::Assessment(other))) => {
            one.verdict == other.verdict
        }
        (Ending::Output(Output::Failure(one)), Ending::Output(Output::Failure(other))) => one.code == other.code,
        (Ending::Fault(one), Ending::Fault(other)) => one.class == other.class,
        (one, other) => one == other,
    }
}

fn word(ending: &Ending) -> String {
    match (ending, Outcome::of(ending)) {
        (Ending::Fault(fault), _) => format!("fault {}", fault.class.word()),
        (_, Outcome::Refused(code)) => format!("refused {code}"),
        (_, outcome) => outcome.word().to_owned(),
    }
}

fn reasons(ending: &Ending) -> Vec<String> {
    match ending {
        Ending::Output(Output::Assessment(answer)) => answer.reasons.iter().map(|reason| reason.code.clone()).collect(),
        Ending::Output(_) | Ending::Fault(_) => Vec::new(),
    }
}

/// Reasons of a flip that were gained (true) or lost.
fn changed(flip: &Flip) -> Vec<(String, bool)> {
    let (before, after) = (&flip.reasons_before, &flip.reasons_after);
    let gained = after.iter().filter(|code| !before.contains(code)).map(|code| (code.clone(), true));
    let lost = before.iter().filter(|code| !after.contains(code)).map(|code| (code.clone(), false));
    gained.chain(lost).collect()
}

fn amount_of(input: &Input) -> Option<Money> {
    match input {
        Input::Assess(payment, ..) => Some(payment.amount),
        Input::Quote(request) => Some(request.amount),
        _ => None,
    }
}

/// The named values that this list of names asks for, in its order.
pub(crate) fn asked_for(names: &[String], values: &[Named]) -> Vec<Named> {
    names.iter().flat_map(|name| values.iter().filter(move |value| value.name == *name).cloned()).collect()
}
