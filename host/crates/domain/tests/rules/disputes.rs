//! Disputes: set aside once, ended once, and never more than was captured, whoever asks in which order.

use koban_domain::access::Access;
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::disputes::{DisputeState, Outcome};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::DisputePolicy;

use crate::shops::of_shop;
use crate::world::{COLLEAGUE, DAY_MS, HANAKO, OPERATOR, TARO, World};

/// Taro has paid the shop 1,000 yen and keeps 9,000.
fn paid() -> World {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world
}

fn lost_when_over(world: &mut World) {
    let mut policy = (*world.shelf.books.policy).clone();
    policy.dispute = DisputePolicy { days: 10, lost_when_over: true };
    world.shelf.books.policy = std::sync::Arc::new(policy);
}

#[test]
fn what_is_contested_is_the_merchants_no_more_and_not_yet_the_payers() {
    let mut world = paid();
    let dispute = world.contest(1, 600).unwrap();
    assert_eq!((dispute.state, dispute.due_at), (DisputeState::Open, world.now.plus_ms(30 * DAY_MS)));
    assert_eq!((world.payable(), world.balance(of_shop(Class::Disputed)), world.wallet(TARO).0), (400, 600, 9_000));
    let payment = world.payment(1);
    assert_eq!((payment.disputed, payment.refundable(), payment.refunded), (600, 400, 0));
    assert_eq!(world.refund(TARO, 401, 1).unwrap_err(), Refusal::RefundExceedsPayment);
    assert_eq!(world.contest_as(2, 1, 401).unwrap_err(), Refusal::DisputeExceedsPayment);
    world.refund(TARO, 400, 1).unwrap();
    assert_eq!(world.contest_as(2, 1, 1).unwrap_err(), Refusal::DisputeExceedsPayment);
}

#[test]
fn a_dispute_that_is_won_gives_the_merchant_its_money_and_the_payment_its_refunds() {
    let mut world = paid();
    world.contest(1, 600).unwrap();
    let dispute = world.end_dispute(1, Outcome::Won(COLLEAGUE)).unwrap();
    assert_eq!(
        (dispute.state, dispute.decider, dispute.ended_at),
        (DisputeState::Won, Some(COLLEAGUE), Some(world.now))
    );
    assert_eq!((world.payable(), world.payment(1).refundable()), (1_000, 1_000));
    world.refund(TARO, 1_000, 1).unwrap();
    world.audit();
}

#[test]
fn a_dispute_that_is_lost_counts_as_given_back() {
    let mut world = paid();
    world.contest(1, 600).unwrap();
    world.end_dispute(1, Outcome::Lost(OPERATOR)).unwrap();
    assert_eq!((world.payable(), world.wallet(TARO).0), (400, 9_600));
    let payment = world.payment(1);
    assert_eq!((payment.disputed, payment.refunded, payment.refundable()), (0, 600, 400));
    assert_eq!(world.refund(TARO, 401, 1).unwrap_err(), Refusal::RefundExceedsPayment);
    world.refund(TARO, 400, 1).unwrap();
    world.audit();
}

#[test]
fn a_dispute_ends_once_however_it_ends() {
    for (first, second) in [
        (Outcome::Won(OPERATOR), Outcome::Lost(COLLEAGUE)),
        (Outcome::Lost(OPERATOR), Outcome::Won(COLLEAGUE)),
        (Outcome::Lost(OPERATOR), Outcome::RanOut),
    ] {
        let mut world = paid();
        world.contest(1, 600).unwrap();
        world.end_dispute(1, first).unwrap();
        let entries = world.shelf.entries.len();
        assert_eq!(world.end_dispute(1, second).unwrap_err(), Refusal::DisputeClosed);
        assert_eq!(world.end_dispute(1, first).unwrap_err(), Refusal::DisputeClosed);
        assert_eq!(world.shelf.entries.len(), entries);
    }
}

#[test]
fn of_a_refund_and_a_dispute_in_one_commit_the_first_has_the_money() {
    let refund = |world: &mut World| {
        let (refund, merchant) = (koban_domain::ids::RefundId::default(), crate::world::SHOP);
        let (payment, amount) = (crate::world::payment(1), koban_domain::money::Money::yen(700));
        let give = koban_domain::refunds::GiveBack { refund, payment, merchant, payer: TARO, amount };
        Work { commands: vec![Command::Refund(give)], ..world.work() }
    };
    let contest = |world: &mut World| {
        let command = koban_domain::disputes::OpenDispute {
            dispute: crate::shops::dispute(1),
            of: world.of(1),
            amount: koban_domain::money::Money::yen(700),
            reason: "r".into(),
            evidence: None,
            operator: OPERATOR,
            days: Some(1),
        };
        Work { commands: vec![Command::OpenDispute(command)], ..world.work() }
    };
    let mut world = paid();
    let works = [refund(&mut world), contest(&mut world)];
    let (decided, _) = world.shelf.commit(&works, world.now);
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(decided[1], Decided::Refused(0, Refusal::DisputeExceedsPayment));
    let mut world = paid();
    let works = [contest(&mut world), refund(&mut world)];
    let (decided, _) = world.shelf.commit(&works, world.now);
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(decided[1], Decided::Refused(0, Refusal::RefundExceedsPayment));
    world.check();
}

#[test]
fn credit_lets_refunds_and_disputes_go_below_nought_and_no_further() {
    let mut world = paid();
    world.charge(HANAKO, 5_000, "r2").unwrap();
    world.pay(HANAKO, 1_000, 2).unwrap();
    world.arrange(300, "0");
    world.refund(TARO, 1_000, 1).unwrap();
    world.contest(2, 1_000).unwrap();
    assert_eq!(world.payable(), 0);
    world.pay(HANAKO, 400, 3).unwrap();
    world.close(crate::shops::TODAY).unwrap();
    assert_eq!(world.payable(), 0, "what was owed is due now");
    assert_eq!(world.refund(HANAKO, 301, 3).unwrap_err(), Refusal::MerchantBalanceTooLow);
    assert_eq!(world.contest(3, 301).unwrap_err(), Refusal::MerchantBalanceTooLow);
    world.refund(HANAKO, 200, 3).unwrap();
    assert_eq!(world.contest(3, 101).unwrap_err(), Refusal::MerchantBalanceTooLow);
    world.contest(3, 100).unwrap();
    assert_eq!(world.payable(), -300);
    let lower = crate::shops::terms(299, "0");
    assert_eq!(world.does(Command::Arrange(lower)).unwrap_err(), Refusal::CreditInUse);
    world.arrange(300, "0.01");
    world.pay(HANAKO, 50, 4).unwrap();
    assert_eq!(world.payable(), -250, "what comes in makes up for it");
    world.audit();
}

#[test]
fn without_credit_a_refund_needs_what_the_merchant_is_owed() {
    let mut world = paid();
    world.close(crate::shops::TODAY).unwrap();
    assert_eq!(world.refund(TARO, 1, 1).unwrap_err(), Refusal::MerchantBalanceTooLow);
    assert_eq!(world.contest(1, 1).unwrap_err(), Refusal::MerchantBalanceTooLow);
}

#[test]
fn a_dispute_that_nobody_decides_stays_open_unless_the_policy_says_that_it_is_lost() {
    let mut world = paid();
    world.contest(1, 600).unwrap();
    world.now = world.now.plus_ms(40 * DAY_MS);
    assert_eq!(world.end_dispute(1, Outcome::RanOut).unwrap_err(), Refusal::NotExpired);
    world.end_dispute(1, Outcome::Won(OPERATOR)).unwrap();

    let mut world = paid();
    lost_when_over(&mut world);
    world.contest(1, 600).unwrap();
    world.now = world.now.plus_ms(10 * DAY_MS - 1);
    assert_eq!(world.end_dispute(1, Outcome::RanOut).unwrap_err(), Refusal::NotExpired);
    world.now = world.now.plus_ms(1);
    // Time decides, whether the sweeper has come or not.
    assert_eq!(world.end_dispute(1, Outcome::Won(OPERATOR)).unwrap_err(), Refusal::DisputeClosed);
    let dispute = world.end_dispute(1, Outcome::RanOut).unwrap();
    assert_eq!((dispute.state, dispute.decider, world.wallet(TARO).0), (DisputeState::Lost, None, 9_600));
}

#[test]
fn what_a_closed_account_would_get_back_is_set_aside_for_its_owner() {
    let mut world = paid();
    world.contest(1, 600).unwrap();
    world.access(TARO, Access::Closed);
    world.end_dispute(1, Outcome::Lost(OPERATOR)).unwrap();
    assert_eq!((world.platform(Class::ClosedBalances), world.wallet(TARO).0), (600, 9_000));
    assert_eq!(world.payment(1).refunded, 600);
    world.check();
}

#[test]
fn a_lost_dispute_goes_back_in_reverse_order_and_repays_first_what_is_owed() {
    let mut world = World::new();
    world.charge(HANAKO, 10_000, "r1").unwrap();
    world.hold_prepaid(HANAKO, 500);
    world.pay(HANAKO, 10_400, 1).unwrap();
    world.contest(1, 600).unwrap();
    world.reverse(HANAKO, 300, "r1", "v1").unwrap();
    let dispute = world.end_dispute(1, Outcome::Lost(OPERATOR)).unwrap();
    assert_eq!((dispute.repaid, world.wallet(HANAKO)), (200, (400, 0)));
    let funds = AccountKey::user(Class::Funds, HANAKO, Currency::JPY);
    assert_eq!(world.balance(funds), 400, "funds paid last, so they come back first");
    assert_eq!(world.payment(1).parts.iter().map(|part| part.refunded).collect::<Vec<_>>(), [0, 600]);
}
