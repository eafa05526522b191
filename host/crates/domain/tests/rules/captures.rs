//! Held amounts told as short stories: captured in parts, increased, voided, run out, looked at.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::paths::EntryKind;
use koban_domain::payments::{PaymentState, Source, Terms};
use koban_domain::reviews::{Conclude, ReviewState, Reviewed, Ruling};
use koban_domain::transfers::{Send, TransferState};

use crate::world::{DAY_MS, HANAKO, HOUR_MS, KENJI, NOON, OPERATOR, SHOP, TARO, World, pay, with_terms};

fn state(world: &World, number: u128) -> (PaymentState, i64, i64) {
    let payment = world.payment(number);
    (payment.state, payment.held(), payment.captured)
}

fn split(world: &World) -> (i64, i64) {
    let of = |class| world.balance(AccountKey::user(class, HANAKO, Currency::JPY));
    (of(Class::Prepaid), of(Class::Funds))
}

/// Hanako with 500 of prepaid value and 1,000 of funds, of which 1,200 are held.
fn held() -> World {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    world.hold_prepaid(HANAKO, 500);
    world.authorise(HANAKO, 1_200, 1).unwrap();
    world
}

#[test]
fn what_is_held_cannot_be_spent_and_is_not_the_merchants_yet() {
    let mut world = held();
    assert_eq!(split(&world), (500, 1_000), "nothing has moved");
    assert_eq!((world.available(HANAKO), world.payable()), (300, 0));
    assert_eq!(world.pay(HANAKO, 301, 2), Err(Refusal::InsufficientFunds));
    assert_eq!(world.send(HANAKO, KENJI, 301), Err(Refusal::InsufficientFunds));
    assert_eq!(world.refund(HANAKO, 1, 1), Err(Refusal::RefundExceedsPayment), "nothing was captured");
    world.pay(HANAKO, 300, 2).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Authorised, 1_200, 0));
}

#[test]
fn captures_take_the_parts_in_the_order_in_which_they_were_held() {
    let mut world = held();
    world.capture(1, Some(400), false).unwrap();
    assert_eq!(split(&world), (100, 1_000));
    world.capture(1, Some(300), false).unwrap();
    assert_eq!(split(&world), (0, 800));
    assert_eq!(state(&world, 1), (PaymentState::Authorised, 500, 700));
    assert_eq!(world.capture(1, Some(501), false), Err(Refusal::CaptureExceedsHold));
    let Ok(Answer::Captured(last)) = world.capture(1, None, false) else { panic!() };
    assert!(last.last, "a capture of all that is held is the last");
    assert_eq!((last.amount, last.let_go), (Money::yen(500), 0));
    assert_eq!(state(&world, 1), (PaymentState::Captured, 0, 1_200));
    assert_eq!(world.capture(1, Some(1), false), Err(Refusal::HoldEnded));
    assert_eq!((world.payable(), world.available(HANAKO)), (1_200, 300));
}

#[test]
fn a_last_capture_lets_go_of_the_rest() {
    let mut world = held();
    let Ok(Answer::Captured(capture)) = world.capture(1, Some(700), true) else { panic!() };
    assert_eq!((capture.let_go, world.available(HANAKO)), (500, 800));
    assert_eq!(world.void(1), Err(Refusal::HoldEnded));
    let parts: Vec<_> = world.payment(1).parts.iter().map(|part| (part.source, part.captured)).collect();
    assert_eq!(parts, [(Source::Prepaid, 500), (Source::Funds, 200)]);
}

#[test]
fn a_refund_of_a_captured_part_gives_back_no_more_than_was_captured() {
    let mut world = held();
    world.capture(1, Some(700), false).unwrap();
    assert_eq!(world.refund(HANAKO, 701, 1), Err(Refusal::RefundExceedsPayment));
    world.refund(HANAKO, 700, 1).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Authorised, 500, 700));
    world.capture(1, None, false).unwrap();
    world.refund(HANAKO, 500, 1).unwrap();
    assert_eq!(world.refund(HANAKO, 1, 1), Err(Refusal::RefundExceedsPayment));
    assert_eq!((world.wallet(HANAKO), world.payable()), ((1_500, 0), 0));
    world.shelf.books.payments.iter().for_each(|(_, payment)| assert_eq!(payment.refundable(), 0));
}

#[test]
fn a_void_lets_go_of_everything_once() {
    let mut world = held();
    world.void(1).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Voided, 0, 0));
    assert_eq!(
        (split(&world), world.available(HANAKO)),
        ((0, 1_500), 1_500),
        "of somebody verified all of it is funds"
    );
    for refused in [world.void(1), world.capture(1, None, true), world.increase(1, 1), world.expire(1)] {
        assert_eq!(refused, Err(Refusal::HoldEnded));
    }
}

#[test]
fn a_void_after_a_capture_keeps_what_was_captured() {
    let mut world = held();
    world.capture(1, Some(200), false).unwrap();
    world.void(1).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Captured, 0, 200));
    world.refund(HANAKO, 200, 1).unwrap();
}

#[test]
fn an_expired_hold_cannot_be_captured_before_the_sweeper_has_come_either() {
    let mut world = held();
    world.now = NOON.plus_ms(HOUR_MS - 1);
    assert_eq!(world.expire(1), Err(Refusal::NotExpired));
    world.capture(1, Some(100), false).unwrap();
    world.now = NOON.plus_ms(HOUR_MS);
    for refused in [world.capture(1, Some(1), false), world.increase(1, 1), world.void(1)] {
        assert_eq!(refused, Err(Refusal::HoldExpired));
    }
    assert_eq!(world.available(HANAKO), 300, "the sweeper has not come");
    world.expire(1).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Captured, 0, 100));
    assert_eq!(world.available(HANAKO), 1_400);
    assert_eq!(world.expire(1), Err(Refusal::HoldEnded));
    world.authorise(HANAKO, 1, 2).unwrap();
    world.now = world.now.plus_ms(HOUR_MS);
    world.expire(2).unwrap();
    assert_eq!(world.payment(2).state, PaymentState::Expired);
    assert_eq!(world.capture(2, None, false), Err(Refusal::HoldExpired));
    world.check();
}

#[test]
fn an_increment_holds_more_in_spend_order_and_ends_with_the_hold() {
    let mut world = held();
    world.charge(HANAKO, 1_000, "r2").unwrap();
    world.now = NOON.plus_ms(60_000);
    world.increase(1, 800).unwrap();
    let payment = world.payment(1);
    assert_eq!((payment.amount, payment.held()), (Money::yen(2_000), 2_000));
    assert_eq!(payment.expires_at, Some(NOON.plus_ms(HOUR_MS)));
    assert_eq!(world.increase(1, 501), Err(Refusal::InsufficientFunds));
    world.capture(1, None, false).unwrap();
    assert_eq!((split(&world), world.payable()), ((0, 500), 2_000));
}

#[test]
fn increments_together_stay_under_the_limit_for_one_time() {
    let mut world = World::new();
    world.charge(TARO, 100_000, "r1").unwrap();
    world.authorise(TARO, 60_000, 1).unwrap();
    world.capture(1, Some(60_000), false).unwrap();
    world.charge(TARO, 60_000, "r2").unwrap();
    world.authorise(TARO, 60_000, 2).unwrap();
    assert_eq!(world.increase(2, 40_001), Err(Refusal::AmountLimit));
    world.increase(2, 40_000).unwrap();
}

#[test]
fn prepaid_value_that_is_let_go_after_a_verification_becomes_funds() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.authorise(TARO, 600, 1).unwrap();
    assert_eq!(world.verify(TARO), Ok(Answer::Verified(TARO, 400)), "what is held stays what it is");
    world.capture(1, Some(100), false).unwrap();
    world.void(1).unwrap();
    let of = |class| world.balance(AccountKey::user(class, TARO, Currency::JPY));
    assert_eq!((of(Class::Prepaid), of(Class::Funds)), (0, 900));
    world.audit();
}

#[test]
fn what_is_let_go_repays_first_what_is_owed() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.authorise(TARO, 800, 1).unwrap();
    assert_eq!(world.reverse(TARO, 1_000, "r1", "v1"), Ok(Answer::Reversed(800)), "a hold is not taken back");
    assert_eq!(world.wallet(TARO), (800, 800));
    assert_eq!(world.increase(1, 1), Err(Refusal::RepaymentDue));
    world.capture(1, Some(300), true).unwrap();
    assert_eq!(world.wallet(TARO), (0, 300));
    world.audit();
}

#[test]
fn of_capture_void_and_expiry_in_one_commit_the_first_wins() {
    let mut world = held();
    let of = world.of(1);
    let ends = [Command::Void(of), Command::Expire(of), Command::Void(of)];
    let batch: Vec<Work> = ends.into_iter().map(|command| Work { commands: vec![command], ..world.work() }).collect();
    let (decided, commit) = world.shelf.commit(&batch, NOON.plus_ms(HOUR_MS - 1));
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(decided[1..], [Decided::Refused(0, Refusal::HoldEnded), Decided::Refused(0, Refusal::HoldEnded)]);
    assert_eq!(commit.entries.len(), 1);
}

#[test]
fn nobody_captures_or_voids_another_merchants_hold() {
    let mut world = held();
    let other = koban_domain::ids::MerchantId(uuid::Uuid::from_u128(99));
    let theirs = koban_domain::captures::OfPayment { merchant: other, ..world.of(1) };
    assert_eq!(world.does(Command::Void(theirs)), Err(Refusal::PaymentNotFound));
    let theirs = koban_domain::captures::OfPayment { payer: KENJI, ..world.of(1) };
    assert_eq!(world.does(Command::Void(theirs)), Err(Refusal::PaymentNotFound));
}

#[test]
fn a_reviewed_payment_is_held_and_then_made_as_it_was_asked_for() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay_in_review(TARO, 1_000, 1, Terms::AtOnce).unwrap();
    world.pay_in_review(TARO, 2_000, 2, Terms::Held { for_ms: HOUR_MS }).unwrap();
    world.pay_in_review(TARO, 4_000, 3, Terms::AtOnce).unwrap();
    assert_eq!((world.available(TARO), world.payable()), (3_000, 0));
    for refused in [world.capture(1, None, true), world.void(1), world.increase(1, 1), world.expire(1)] {
        assert_eq!(refused, Err(Refusal::PaymentInReview));
    }
    let entries = world.shelf.entries.len();
    world.now = NOON.plus_ms(10 * HOUR_MS);
    world.conclude(1, Ruling::Approved(OPERATOR)).unwrap();
    assert_eq!(world.shelf.entries[entries].draft.kind, EntryKind::Payment);
    world.conclude(2, Ruling::Approved(OPERATOR)).unwrap();
    assert_eq!(world.shelf.entries.len(), entries + 1, "what is held stays held: nothing moves");
    world.conclude(3, Ruling::Declined(OPERATOR)).unwrap();
    assert_eq!(state(&world, 1), (PaymentState::Captured, 0, 1_000));
    assert_eq!(state(&world, 2), (PaymentState::Authorised, 2_000, 0));
    assert_eq!(state(&world, 3), (PaymentState::Declined, 0, 0));
    assert_eq!(world.payment(2).expires_at, Some(world.now.plus_ms(HOUR_MS)), "its time begins with the approval");
    assert_eq!((world.available(TARO), world.payable()), (7_000, 1_000));
    assert_eq!(world.conclude(3, Ruling::Approved(OPERATOR)), Err(Refusal::ReviewClosed));
    world.refund(TARO, 1_000, 1).unwrap();
    world.audit();
}

#[test]
fn a_review_that_nobody_decides_in_time_ends_by_itself() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay_in_review(TARO, 1_000, 1, Terms::AtOnce).unwrap();
    world.now = NOON.plus_ms(DAY_MS - 1);
    assert_eq!(world.conclude(1, Ruling::Expired), Err(Refusal::NotExpired));
    world.now = NOON.plus_ms(DAY_MS);
    assert_eq!(world.conclude(1, Ruling::Approved(OPERATOR)), Err(Refusal::ReviewClosed), "too late");
    let Ok(Answer::Reviewed(ended)) = world.conclude(1, Ruling::Expired) else { panic!() };
    let review = ended.0;
    assert_eq!((review.state, review.operator), (ReviewState::Expired, None));
    assert_eq!((state(&world, 1), world.available(TARO)), ((PaymentState::Expired, 0, 0), 1_000));
    world.audit();
}

#[test]
fn a_reviewed_transfer_counts_to_the_receivers_ceiling_and_repays_what_they_owe() {
    let mut world = World::new();
    world.charge(HANAKO, 100_000, "r1").unwrap();
    world.charge(KENJI, 1_000, "r2").unwrap();
    world.pay(KENJI, 1_000, 1).unwrap();
    world.reverse(KENJI, 1_000, "r2", "v1").unwrap();
    let send = |number: u128, amount| Send {
        transfer: koban_domain::ids::TransferId(uuid::Uuid::from_u128(number)),
        sender: HANAKO,
        receiver: KENJI,
        amount: Money::yen(amount),
        message: None,
        decision: None,
        review: true,
    };
    let of = |number: u128| Reviewed::Transfer {
        transfer: send(number, 1).transfer,
        sender: HANAKO,
        receiver: KENJI,
        currency: Currency::JPY,
    };
    world.does(Command::Transfer(send(1, 3_000))).unwrap();
    world.does(Command::Transfer(send(2, 500))).unwrap();
    assert_eq!((world.available(HANAKO), world.wallet(KENJI)), (96_500, (0, 1_000)));
    let approve = Conclude { of: of(1), ruling: Ruling::Approved(OPERATOR) };
    world.does(Command::Conclude(approve.clone())).unwrap();
    assert_eq!((world.wallet(HANAKO), world.wallet(KENJI)), ((97_000, 0), (2_000, 0)));
    assert_eq!(world.does(Command::Conclude(approve)), Err(Refusal::ReviewClosed));
    world.does(Command::Conclude(Conclude { of: of(2), ruling: Ruling::Declined(OPERATOR) })).unwrap();
    assert_eq!(world.available(HANAKO), 97_000);
    let states: Vec<_> = [1, 2].map(|n| world.shelf.books.transfers.get(&send(n, 1).transfer).unwrap().state).into();
    assert_eq!(states, [TransferState::Sent, TransferState::Declined]);
    world.audit();
}

#[test]
fn a_hold_of_one_commit_is_captured_in_the_next_and_both_say_who_and_why() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    let decision = koban_domain::ids::RecordId(uuid::Uuid::from_u128(5));
    let Command::Pay(mut command) = with_terms(pay(TARO, 500, 1), Terms::Held { for_ms: HOUR_MS }, false) else {
        panic!()
    };
    command.decision = Some(decision);
    world.does(Command::Pay(command)).unwrap();
    let Ok(Answer::Captured(capture)) = world.capture(1, None, false) else { panic!() };
    assert_eq!((capture.decision, capture.merchant), (Some(decision), SHOP), "the decision that authorised");
    let entry = world.shelf.entries.last().unwrap();
    assert!(entry.draft.meta.contains(&decision.to_string()), "{}", entry.draft.meta);
}
