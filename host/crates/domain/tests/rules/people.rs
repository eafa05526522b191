//! Freezing, verifying, closing and adjusting: who may still do what, and what becomes of money that comes all the same.

use koban_domain::access::{Access, Holder};
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::adjustments::{Judge, Line, Propose, WAITS_MS};
use koban_domain::closures::Close;
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::verification::{Unverify, Verification};

use crate::world::{COLLEAGUE, HANAKO, KENJI, SHOP, TARO, World, arrived, judgement, proposal, submission};

#[test]
fn a_frozen_user_does_nothing_and_is_given_what_is_theirs() {
    let mut world = World::new();
    world.charge(HANAKO, 10_000, "r1").unwrap();
    world.pay(HANAKO, 1_000, 1).unwrap();
    world.freeze(Holder::User(HANAKO), true);
    world.freeze(Holder::User(HANAKO), true);
    assert_eq!(world.pay(HANAKO, 1, 2), Err(Refusal::WalletFrozen));
    assert_eq!(world.send(HANAKO, KENJI, 1), Err(Refusal::WalletFrozen));
    assert_eq!(world.charge(HANAKO, 1, "r2"), Err(Refusal::WalletFrozen));
    world.charge(KENJI, 10, "r3").unwrap();
    assert_eq!(world.send(KENJI, HANAKO, 1), Err(Refusal::ReceiverUnavailable));
    world.refund(HANAKO, 1_000, 1).unwrap();
    world.does(arrived(HANAKO, 500, "r4")).unwrap();
    assert_eq!(world.wallet(HANAKO), (10_500, 0));
    world.freeze(Holder::User(HANAKO), false);
    world.pay(HANAKO, 1, 2).unwrap();
    world.audit();
}

#[test]
fn a_frozen_merchant_is_not_paid_and_may_give_back() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.freeze(Holder::Merchant(SHOP), true);
    assert_eq!(world.pay(TARO, 1, 2), Err(Refusal::MerchantFrozen));
    world.refund(TARO, 400, 1).unwrap();
    assert_eq!(world.payable(), 600);
}

#[test]
fn what_is_held_keeps_its_kind_when_its_owner_is_verified() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.hold_of(TARO, 3_000);
    let Answer::Verified(_, converted) = world.verify(TARO).unwrap() else { panic!() };
    assert_eq!(converted, 7_000);
    let of = |class| world.balance(AccountKey::user(class, TARO, Currency::JPY));
    assert_eq!((of(Class::Prepaid), of(Class::Funds)), (3_000, 7_000));
}

#[test]
fn a_rejected_user_submits_anew_and_a_revoked_one_pays_and_nothing_else() {
    let mut world = World::new();
    let state = |world: &World| world.shelf.books.users.get(&TARO).unwrap().verification;
    world.does(Command::Submit(submission(TARO))).unwrap();
    world.does(Command::Unverify(Unverify { user: TARO, revoked: false })).unwrap();
    assert_eq!(state(&world), Verification::Rejected);
    world.does(Command::Submit(submission(TARO))).unwrap();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.verify(TARO).unwrap();
    world.revoke(TARO);
    assert_eq!(state(&world), Verification::Revoked);
    world.pay(TARO, 100, 1).unwrap();
    assert_eq!(world.send(TARO, HANAKO, 1), Err(Refusal::VerificationRevoked));
    assert_eq!(world.send(HANAKO, TARO, 1), Err(Refusal::ReceiverUnavailable));
    assert_eq!(world.charge(TARO, 1, "r2"), Err(Refusal::VerificationRevoked));
    world.does(arrived(TARO, 50, "r3")).unwrap();
    assert_eq!((world.wallet(TARO), world.platform(Class::Suspense)), ((900, 0), 50));
    world.does(Command::Submit(submission(TARO))).unwrap();
    assert_eq!(world.send(TARO, HANAKO, 1), Err(Refusal::VerificationRevoked), "a submission is no verification");
    world.verify(TARO).unwrap();
    world.send(TARO, HANAKO, 1).unwrap();
}

#[test]
fn what_left_suspense_for_its_owner_is_the_owners_to_give_back() {
    let mut world = World::new();
    world.does(Command::Submit(submission(TARO))).unwrap();
    world.verify(TARO).unwrap();
    world.revoke(TARO);
    world.does(arrived(TARO, 10_000, "r1")).unwrap();
    assert_eq!(world.platform(Class::Suspense), 10_000);
    let lines = vec![Line {
        debit: AccountKey::platform(Class::Suspense, Currency::JPY),
        credit: AccountKey::user(Class::Funds, TARO, Currency::JPY),
        amount: 10_000,
    }];
    world.does(Command::Propose(Propose { lines: lines.clone(), ..proposal(1, 1) })).unwrap();
    world.does(Command::Judge(Judge { lines, ..judgement(1, 1, COLLEAGUE, true) })).unwrap();
    world.pay(TARO, 4_000, 1).unwrap();
    // A partner's reversal is never refused for lack of balance.
    world.reverse(TARO, 10_000, "r1", "r1").unwrap();
    let of = |class| world.balance(AccountKey::user(class, TARO, Currency::JPY));
    assert_eq!((of(Class::Funds), of(Class::Receivable), world.platform(Class::Suspense)), (0, 4_000, 0));
}

#[test]
fn a_closed_account_holds_nothing_and_takes_nothing() {
    let mut world = World::new();
    world.charge(HANAKO, 10_000, "r1").unwrap();
    world.hold_prepaid(HANAKO, 500);
    world.pay(HANAKO, 1_000, 1).unwrap();
    let close = Command::Close(Close { user: HANAKO, currencies: vec![Currency::JPY], reason: "asked".into() });
    assert_eq!(world.does(close.clone()), Ok(Answer::Closed(HANAKO, vec![Money::yen(9_500)])));
    assert_eq!((world.wallet(HANAKO), world.platform(Class::ClosedBalances)), ((0, 0), 9_500));
    assert_eq!(world.does(close), Err(Refusal::AccountClosed));
    assert_eq!(world.charge(HANAKO, 1, "r2"), Err(Refusal::AccountClosed));
    assert_eq!(world.refund(HANAKO, 1, 1), Err(Refusal::AccountClosed));
    world.charge(KENJI, 10, "r3").unwrap();
    assert_eq!(world.send(KENJI, HANAKO, 1), Err(Refusal::ReceiverUnavailable));
    world.does(arrived(HANAKO, 70, "r4")).unwrap();
    assert_eq!((world.wallet(HANAKO), world.platform(Class::Suspense)), ((0, 0), 70));
    assert_eq!(world.shelf.books.users.get(&HANAKO).unwrap().access, Access::Closed);
}

#[test]
fn an_adjustment_moves_nothing_before_another_operator_approves_it_and_then_once() {
    let mut world = World::new();
    world.charge(TARO, 95_000, "r1").unwrap();
    world.does(arrived(TARO, 10_000, "r2")).unwrap();
    let head = world.shelf.head;
    world.does(Command::Propose(proposal(1, 4_000))).unwrap();
    assert_eq!(world.shelf.head, head, "a proposal is no entry");
    let approve = Command::Judge(judgement(1, 4_000, COLLEAGUE, true));
    world.does(approve.clone()).unwrap();
    assert_eq!((world.wallet(TARO).0, world.platform(Class::Suspense)), (99_000, 6_000));
    assert_eq!(world.does(approve), Err(Refusal::AdjustmentClosed));
    world.does(Command::Propose(proposal(2, 1))).unwrap();
    assert_eq!(
        world.does(Command::Judge(judgement(2, 2, COLLEAGUE, true))),
        Err(Refusal::AdjustmentNotFound),
        "only the lines that were proposed are decided"
    );
    world.now = world.now.plus_ms(WAITS_MS);
    let late = Command::Judge(judgement(2, 1, COLLEAGUE, true));
    assert_eq!(world.does(late), Err(Refusal::AdjustmentClosed), "seven days are the last moment's end");
    world.audit();
}
