//! Attempts to mint, to spend twice and to overflow: amounts at the edge of their type, and floors under reservations.

use koban_domain::accounts::{Account, AccountKey, Class, PostingSide};
use koban_domain::guest::Side;
use koban_domain::limits::{self, Action, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::settlements::LINES_MAX;

use crate::world::{HANAKO, KENJI, TARO, World, arrived, pay};

const EDGES: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX / 4 + 1, i64::MAX - 1, i64::MAX];

/// A platform that limits nothing, with a charge of 1,000 and a payment of 600.
fn unlimited() -> World {
    let mut world = World::limited_by(vec![]);
    world.budget(i64::MAX, i64::MAX);
    world.charge(HANAKO, 1_000, "r1").unwrap();
    world.pay(HANAKO, 600, 1).unwrap();
    world
}

#[test]
fn no_amount_at_the_edge_of_its_type_moves_money() {
    for edge in EDGES {
        let mut world = unlimited();
        let before = world.shelf.head;
        assert!(world.charge(HANAKO, edge, "r2").is_err(), "charge {edge}");
        assert!(world.does(arrived(HANAKO, edge, "r2")).is_err(), "arrived {edge}");
        assert!(world.reverse(HANAKO, edge, "r1", "v1").is_err(), "reversal {edge}");
        assert!(world.does(pay(HANAKO, edge, 2)).is_err(), "payment {edge}");
        assert!(world.refund(HANAKO, edge, 1).is_err(), "refund {edge}");
        assert!(world.send(HANAKO, KENJI, edge).is_err(), "transfer {edge}");
        assert_eq!(world.shelf.head, before);
        world.audit();
    }
}

#[test]
fn a_settlement_line_at_the_edge_opens_a_difference_that_cannot_be_posted() {
    for side in [Side::Credit, Side::Reversal, Side::Capture, Side::Fee] {
        let mut world = unlimited();
        world.settle(&[(side, "r1", i64::MAX)]).unwrap();
        assert_eq!(world.write_off(side, "r1"), Err(Refusal::Overflow), "{side:?}");
        world.audit();
    }
}

#[test]
fn a_fee_that_its_credit_cannot_bear_moves_nothing_and_waits_for_an_operator() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.settle(&[(Side::Fee, "r1", 1_001), (Side::Fee, "r2", 1)]).unwrap();
    assert_eq!((world.platform(Class::Fees), world.platform(Class::Bank)), (0, 0));
    assert_eq!(world.open_differences().len(), 2);
    world.settle(&[(Side::Fee, "r1", 1_000)]).unwrap();
    assert_eq!(world.platform(Class::Fees), 0, "what waits for an operator is not posted by a later file");
}

#[test]
fn many_large_amounts_never_wrap() {
    let mut world = World::limited_by(vec![]);
    world.budget(i64::MAX, 0);
    let part = i64::MAX / 12;
    let credits = (0..20).filter(|number| world.charge(HANAKO, part, &format!("r{number}")).is_ok()).count();
    assert_eq!(credits, 3, "the sums stop at a quarter of the type");
    assert_eq!(world.charge(HANAKO, part, "more"), Err(Refusal::Overflow));
    assert_eq!(world.wallet(HANAKO), (3 * part, 0));
    world.audit();
}

#[test]
fn an_exposure_that_would_overflow_is_over_its_cap() {
    let mut world = World::limited_by(vec![]);
    world.budget(i64::MAX, 0);
    world.charge(HANAKO, 1_000, "r1").unwrap();
    assert_eq!(world.charge(HANAKO, i64::MAX, "r2"), Err(Refusal::ExposureCapReached));
}

#[test]
fn a_lowered_cap_stops_new_credits_and_takes_nothing_back() {
    let mut world = World::new();
    world.charge(HANAKO, 10_000, "r1").unwrap();
    world.budget(5_000, 0);
    assert_eq!(world.charge(HANAKO, 1, "r2"), Err(Refusal::ExposureCapReached));
    world.settle(&[(Side::Credit, "r1", 10_000)]).unwrap();
    world.charge(HANAKO, 5_000, "r2").unwrap();
}

#[test]
fn the_most_that_a_lying_plugin_costs_is_its_cap_and_its_budget() {
    let mut world = World::limited_by(vec![]);
    world.budget(100_000, 30_000);
    world.charge(HANAKO, 29_999, "lost").unwrap();
    world.write_off(Side::Credit, "lost").unwrap();
    let lent = (0..20).filter(|number| world.charge(HANAKO, 10_000, &format!("r{number}")).is_ok()).count();
    assert_eq!(lent, 10, "the cap");
    for number in 0..10 {
        assert_eq!(world.write_off(Side::Credit, &format!("r{number}")), Err(Refusal::LossBudgetExhausted));
    }
    assert_eq!(world.wallet(HANAKO).0, 129_999, "less than cap and budget together, whatever it says");
    assert_eq!(world.platform(Class::Bank), 0, "the partner never paid");
    world.audit();
}

#[test]
fn what_is_reserved_cannot_be_spent_sent_or_refunded() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let key = AccountKey::user(Class::Funds, HANAKO, Currency::JPY);
    let held = Account { debits_pending: 700, ..world.shelf.books.account(key) };
    world.shelf.books.accounts.load(key.id(), held);
    assert_eq!(world.pay(HANAKO, 301, 1), Err(Refusal::InsufficientFunds));
    assert_eq!(world.send(HANAKO, KENJI, 301), Err(Refusal::InsufficientFunds));
    world.reverse(HANAKO, 1_000, "r1", "r1").unwrap();
    assert_eq!(world.wallet(HANAKO), (700, 700), "a reversal leaves what is reserved, and the rest is owed");
    world.check();
}

#[test]
fn a_ceiling_counts_what_is_announced() {
    let mut world = World::new();
    let key = AccountKey::user(Class::Prepaid, TARO, Currency::JPY);
    let expecting = Account { credits_pending: 60_000, ..world.shelf.books.account(key) };
    world.shelf.books.accounts.load(key.id(), expecting);
    assert_eq!(world.charge(TARO, 40_001, "r1"), Err(Refusal::BalanceLimit));
    world.charge(TARO, 40_000, "r1").unwrap();
}

#[test]
fn sending_in_a_circle_mints_nothing() {
    let mut world = World::limited_by(vec![]);
    world.charge(HANAKO, 1_000, "r1").unwrap();
    for _ in 0..10 {
        world.send(HANAKO, KENJI, 1_000).unwrap();
        world.send(KENJI, HANAKO, 1_000).unwrap();
    }
    assert_eq!((world.wallet(HANAKO).0, world.wallet(KENJI).0), (1_000, 0));
    assert_eq!(world.send(HANAKO, HANAKO, 1_000), Err(Refusal::SameParty));
}

#[test]
fn a_reversal_under_a_new_reference_cannot_reverse_the_same_credit_again() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.reverse(TARO, 600, "r1", "v1").unwrap();
    assert_eq!(world.reverse(TARO, 401, "r1", "v2"), Err(Refusal::ReversalExceedsCredit));
    world.reverse(TARO, 400, "r1", "v2").unwrap();
    assert_eq!(world.reverse(TARO, 1, "r1", "v3"), Err(Refusal::ReversalExceedsCredit));
    assert_eq!(world.clearing(), 0);
}

#[test]
fn a_credit_and_its_reversal_may_share_a_reference_but_two_credits_may_not() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.reverse(TARO, 1_000, "r1", "r1").unwrap();
    assert_eq!(world.charge(TARO, 1_000, "r1"), Err(Refusal::ReferenceUsed), "a reversed credit stays used");
    assert_eq!(world.reverse(TARO, 1_000, "r1", "r1"), Err(Refusal::ReferenceUsed));
}

#[test]
fn a_fee_is_taken_once_whatever_file_lists_it() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    for _ in 0..3 {
        world.settle(&[(Side::Fee, "r1", 110)]).unwrap();
    }
    assert_eq!((world.platform(Class::Fees), world.platform(Class::Bank)), (110, -110));
}

#[test]
fn the_largest_settlement_command_makes_one_small_entry() {
    let mut world = World::limited_by(vec![]);
    let names: Vec<String> = (0..LINES_MAX).map(|number| format!("r{number}")).collect();
    for name in &names {
        world.charge(TARO, 1_000, name).unwrap();
    }
    let lines: Vec<_> = names.iter().map(|name| (Side::Credit, name.as_str(), 1_000)).collect();
    world.settle(&lines).unwrap();
    assert_eq!(world.shelf.entries.last().unwrap().draft.postings.len(), 2);
    assert_eq!(world.platform(Class::Bank), 1_000_000);
    world.audit();
}

#[test]
fn limits_at_the_edge_do_not_wrap() {
    let row = limits::Limit {
        wallet: limits::WalletKind::Funds,
        action: Action::Send,
        window: Window::Day,
        amount: Money::yen(i64::MAX),
        from: koban_domain::time::Timestamp(0),
    };
    let mut world = World::limited_by(vec![row]);
    world.budget(i64::MAX, 0);
    world.charge(HANAKO, i64::MAX / 8, "r1").unwrap();
    world.send(HANAKO, KENJI, i64::MAX / 8).unwrap();
    assert_eq!(world.send(HANAKO, KENJI, i64::MAX), Err(Refusal::InsufficientFunds));
}

#[test]
fn an_account_takes_no_sum_beyond_a_quarter_of_its_type_on_either_side() {
    let account = Account::empty(AccountKey::platform(Class::Bank, Currency::JPY));
    let full = account.posted(PostingSide::Debit, i64::MAX / 4).unwrap();
    assert!(full.posted(PostingSide::Debit, 1).is_none());
    let both = full.posted(PostingSide::Credit, i64::MAX / 4).unwrap();
    assert_eq!(both.balance(), 0);
}
