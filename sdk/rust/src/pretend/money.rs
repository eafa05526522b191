//! The pretend books of one flow: what its proposals may do, by the rules of the real ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::Money;
use crate::flow::{Capture, Credit, Event, Hold, Proposal, Reversal, What};

/// What the flow's beginning may propose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Credits, reversals of its own credits, tombstones.
    Credit,
    /// Holds, captures, releases.
    PayOut,
    /// Nothing.
    Nothing,
}

/// One hold.
struct Held {
    amount: Money,
    captured: i64,
    is_open: bool,
}

/// The books of one flow.
pub(super) struct Books {
    may: May,
    at_most: Money,
    credits: BTreeMap<String, (Money, String, Money)>,
    holds: BTreeMap<String, Held>,
    captures: BTreeSet<String>,
    tombstones: BTreeSet<String>,
}

impl Books {
    fn new(may: May, at_most: Money) -> Books {
        let (credits, holds) = (BTreeMap::new(), BTreeMap::new());
        Books { may, at_most, credits, holds, captures: BTreeSet::new(), tombstones: BTreeSet::new() }
    }

    pub(super) fn charge(at_most: Money) -> Books {
        Books::new(May::Credit, at_most)
    }

    pub(super) fn payout(at_most: Money) -> Books {
        Books::new(May::PayOut, at_most)
    }

    pub(super) fn without_money() -> Books {
        Books::new(May::Nothing, Money::yen(0))
    }

    pub(super) fn credited_minor(&self) -> i64 {
        self.credits.values().map(|(credited, _, reversed)| credited.minor - reversed.minor).sum()
    }

    pub(super) fn held_minor(&self) -> i64 {
        self.holds.values().filter(|held| held.is_open).map(|held| held.amount.minor - held.captured).sum()
    }

    pub(super) fn captured_minor(&self) -> i64 {
        self.holds.values().map(|held| held.captured).sum()
    }

    pub(super) fn is_dead(&self, reference: &str) -> bool {
        self.tombstones.contains(reference)
    }

    /// A final flow leaves nothing held.
    pub(super) fn is_settled(&self) {
        assert_eq!(self.held_minor(), 0, "the flow ends and leaves money held");
    }

    pub(super) fn post(&mut self, is_final: bool, proposal: &Proposal, because: Option<&Event>) {
        match (self.may, proposal) {
            (May::Credit, Proposal::Credit(credit)) => {
                assert!(!is_final, "a final flow proposes a credit");
                self.credit(credit, because);
            }
            (May::Credit, Proposal::Reverse(reversal)) => self.reverse(reversal, because),
            (May::Credit, Proposal::Tombstone(reference)) => {
                self.tombstones.insert(reference.clone());
            }
            (May::PayOut, Proposal::Hold(hold)) => {
                assert!(!is_final, "a final flow proposes a hold");
                self.hold(hold);
            }
            (May::PayOut, Proposal::Capture(capture)) => {
                assert!(!is_final, "a final flow proposes a capture");
                self.capture(capture, because);
            }
            (May::PayOut, Proposal::Release(key)) => {
                let held = self.holds.get_mut(key).filter(|held| held.is_open);
                held.unwrap_or_else(|| panic!("`{key}` is not held")).is_open = false;
            }
            (May::Credit, other) => panic!("a charge may never propose {other:?}"),
            (May::PayOut, other) => panic!("a withdrawal or a bill may never propose {other:?}"),
            (May::Nothing, other) => panic!("this flow may never propose anything about money, but {other:?}"),
        }
    }

    fn credit(&mut self, credit: &Credit, because: Option<&Event>) {
        rests_on(credit.because, because);
        assert!(credit.amount.minor > 0, "a credit of {:?}", credit.amount);
        let before: i64 = self.credits.values().map(|(credited, ..)| credited.minor).sum();
        let gross = Money::new(before + credit.amount.minor, &credit.amount.currency);
        assert!(gross.is_at_most(&self.at_most), "a credit beyond the authorisation");
        assert!(!self.tombstones.contains(&credit.reference), "a credit with a dead reference");
        let used = self.credits.values().any(|(_, reference, _)| *reference == credit.reference);
        assert!(!used, "the reference `{}` is credited twice", credit.reference);
        let row = (credit.amount.clone(), credit.reference.clone(), Money::new(0, &credit.amount.currency));
        let known = self.credits.insert(credit.key.clone(), row);
        assert!(known.is_none(), "the key `{}` is credited twice", credit.key);
    }

    fn reverse(&mut self, reversal: &Reversal, because: Option<&Event>) {
        rests_on(reversal.because, because);
        let credit = self.credits.get_mut(&reversal.of);
        let (credited, _, reversed) = credit.unwrap_or_else(|| panic!("`{}` was never credited", reversal.of));
        *reversed = reversed.plus(&reversal.amount).expect("a reversal in another currency");
        assert!(reversed.is_at_most(credited), "more is reversed than was credited");
    }

    fn hold(&mut self, hold: &Hold) {
        assert!(hold.amount.minor > 0, "a hold of {:?}", hold.amount);
        let before: i64 = self.holds.values().map(|held| held.amount.minor).sum();
        let gross = Money::new(before + hold.amount.minor, &hold.amount.currency);
        assert!(gross.is_at_most(&self.at_most), "a hold beyond the authorisation");
        let held = Held { amount: hold.amount.clone(), captured: 0, is_open: true };
        let known = self.holds.insert(hold.key.clone(), held);
        assert!(known.is_none(), "the key `{}` is held twice", hold.key);
    }

    fn capture(&mut self, capture: &Capture, because: Option<&Event>) {
        rests_on(capture.because, because);
        let fresh = self.captures.insert(capture.reference.clone());
        assert!(fresh, "the reference `{}` is captured twice", capture.reference);
        let held = self.holds.get_mut(&capture.hold).filter(|held| held.is_open);
        let held = held.unwrap_or_else(|| panic!("`{}` is not held", capture.hold));
        assert!(capture.amount.minor > 0, "a capture of {:?}", capture.amount);
        if let Some(fee) = &capture.fee {
            assert!(fee.minor > 0 && fee.is_at_most(&capture.amount), "the fee {fee:?} is no part of what is taken");
        }
        let left = Money::new(held.amount.minor - held.captured, &held.amount.currency);
        assert!(capture.amount.is_at_most(&left), "more is captured than is held");
        held.captured += capture.amount.minor;
        held.is_open = !capture.final_;
    }
}

fn rests_on(number: u32, event: Option<&Event>) {
    let event = event.expect("a beginning rests on no event, so it cannot propose this");
    assert_eq!(number, event.number, "a proposal that rests on another event");
    let authenticated = matches!(event.what, What::Answer(_) | What::Message(_));
    assert!(authenticated, "a proposal that rests on something that no partner said: {:?}", event.what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::HttpAnswer;
    use crate::json;

    fn answer() -> Event {
        Event { number: 1, key: "pay".into(), what: What::Answer(HttpAnswer::json(200, &json!({}))) }
    }

    fn held() -> Books {
        let mut books = Books::payout(Money::yen(1_100));
        let hold = Hold { key: "bill".into(), amount: Money::yen(1_100) };
        books.post(false, &Proposal::Hold(hold), None);
        books
    }

    #[test]
    fn a_hold_is_captured_once_and_its_rest_given_back() {
        let mut books = held();
        assert_eq!(books.held_minor(), 1_100);
        let capture = Capture::last("bill", Money::yen(1_000), "r-1", &answer()).fee(Money::yen(100));
        books.post(false, &Proposal::Capture(capture), Some(&answer()));
        assert_eq!((books.held_minor(), books.captured_minor()), (0, 1_000));
        books.is_settled();
    }

    #[test]
    #[should_panic(expected = "leaves money held")]
    fn a_flow_does_not_end_with_money_held() {
        held().is_settled();
    }

    #[test]
    #[should_panic(expected = "a hold beyond the authorisation")]
    fn holds_stay_within_the_authorisation() {
        let more = Hold { key: "more".into(), amount: Money::yen(1) };
        held().post(false, &Proposal::Hold(more), None);
    }

    #[test]
    #[should_panic(expected = "a withdrawal or a bill may never propose")]
    fn a_bill_kills_no_reference() {
        held().post(false, &Proposal::Tombstone("r".into()), None);
    }

    #[test]
    #[should_panic(expected = "`bill` is not held")]
    fn what_was_released_cannot_be_captured() {
        let mut books = held();
        books.post(false, &Proposal::Release("bill".into()), None);
        let capture = Capture::last("bill", Money::yen(1_000), "r-1", &answer());
        books.post(false, &Proposal::Capture(capture), Some(&answer()));
    }
}
