//! Paying, refunding, sending and repaying, told as short stories.

use koban_domain::accounts::Class;
use koban_domain::ids::{MerchantId, RefundId};
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::payments::Pay;
use koban_domain::refunds::GiveBack;
use uuid::Uuid;

use crate::world::{HANAKO, KENJI, SHOP, TARO, World, arrived, pay, payment};

#[test]
fn a_deposit_that_is_reversed_after_it_was_spent_is_owed_and_the_next_charge_repays_it_first() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay(TARO, 9_000, 1).unwrap();
    assert_eq!(world.reverse(TARO, 10_000, "r1", "r1"), Ok(Answer::Reversed(9_000)));
    assert_eq!(world.wallet(TARO), (0, 9_000));
    assert_eq!(world.pay(TARO, 1, 2), Err(Refusal::RepaymentDue));
    world.charge(TARO, 8_000, "r2").unwrap();
    assert_eq!(world.wallet(TARO), (0, 1_000));
    assert_eq!(world.pay(TARO, 1, 2), Err(Refusal::RepaymentDue), "a part is still owed");
    world.charge(TARO, 3_000, "r3").unwrap();
    assert_eq!(world.wallet(TARO), (2_000, 0));
    world.pay(TARO, 2_000, 2).unwrap();
    world.audit();
}

#[test]
fn whoever_owes_cannot_send_but_can_receive() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    world.pay(HANAKO, 900, 1).unwrap();
    world.reverse(HANAKO, 1_000, "r1", "r1").unwrap();
    assert_eq!(world.send(HANAKO, KENJI, 1), Err(Refusal::RepaymentDue));
    world.charge(KENJI, 5_000, "r2").unwrap();
    world.send(KENJI, HANAKO, 1_000).unwrap();
    assert_eq!(world.wallet(HANAKO), (100, 0));
}

#[test]
fn a_credit_that_does_not_fit_is_refused_when_the_partner_asks_and_suspended_when_the_money_has_arrived() {
    let mut world = World::new();
    world.charge(TARO, 95_000, "r1").unwrap();
    assert_eq!(world.charge(TARO, 10_000, "r2"), Err(Refusal::BalanceLimit));
    let Ok(Answer::Credited(credited)) = world.does(arrived(TARO, 10_000, "r2")) else { panic!() };
    assert_eq!((credited.repaid, credited.suspended), (0, Some(Refusal::BalanceLimit)));
    assert_eq!(world.wallet(TARO), (95_000, 0));
    assert_eq!(world.platform(Class::Suspense), 10_000);
    assert_eq!(world.exposure().used, 95_000, "suspense is nobody's to spend, so nothing is exposed");
    assert_eq!(world.charge(TARO, 1_000, "r2"), Err(Refusal::ReferenceUsed));
    world.audit();
}

#[test]
fn money_that_has_arrived_for_nobody_or_in_a_dead_reference_is_still_refused() {
    let mut world = World::new();
    world.tombstone("r1").unwrap();
    assert_eq!(world.does(arrived(TARO, 10_000, "r1")), Err(Refusal::ReferenceTombstoned));
    assert_eq!(world.does(arrived(crate::world::NOBODY, 10_000, "r2")), Err(Refusal::UserNotFound));
}

#[test]
fn refunds_come_in_parts_in_reverse_order_and_never_exceed_the_payment() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    world.hold_prepaid(HANAKO, 500);
    world.pay(HANAKO, 1_280, 1).unwrap();
    world.unverify(HANAKO);
    let split = |world: &World| {
        let of = |class| world.balance(koban_domain::accounts::AccountKey::user(class, HANAKO, Money::yen(0).currency));
        (of(Class::Prepaid), of(Class::Funds))
    };
    assert_eq!(split(&world), (0, 220));
    world.refund(HANAKO, 700, 1).unwrap();
    assert_eq!(split(&world), (0, 920), "funds were spent last and come back first");
    world.refund(HANAKO, 100, 1).unwrap();
    assert_eq!(split(&world), (20, 1_000), "80 of funds were left, then prepaid value");
    assert_eq!(world.refund(HANAKO, 481, 1), Err(Refusal::RefundExceedsPayment));
    world.refund(HANAKO, 480, 1).unwrap();
    assert_eq!(split(&world), (500, 1_000));
    assert_eq!(world.refund(HANAKO, 1, 1), Err(Refusal::RefundExceedsPayment));
    assert_eq!(world.payable(), 0);
}

#[test]
fn a_merchant_cannot_refund_more_than_it_is_owed() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.pay(TARO, 500, 2).unwrap();
    world.refund(TARO, 1_000, 1).unwrap();
    world.reserve_payable(400);
    assert_eq!(world.refund(TARO, 101, 2), Err(Refusal::MerchantBalanceTooLow), "what is reserved does not count");
    world.refund(TARO, 100, 2).unwrap();
}

#[test]
fn a_refund_goes_to_the_payer_of_its_payment_from_its_merchant_and_to_nobody_else() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    assert_eq!(world.refund(HANAKO, 1_000, 1), Err(Refusal::PaymentNotFound));
    let refund = RefundId(Uuid::from_u128(77));
    let merchant = MerchantId(Uuid::from_u128(78));
    let theft = GiveBack { refund, payment: payment(1), merchant, payer: TARO, amount: Money::yen(1) };
    assert_eq!(world.does(Command::Refund(theft)), Err(Refusal::PaymentNotFound));
}

#[test]
fn a_merchants_reference_belongs_to_one_payment() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let order = |number| match pay(TARO, 100, number) {
        Command::Pay(pay) => Command::Pay(Pay { reference: Some("order 1".into()), ..pay }),
        other => other,
    };
    world.does(order(1)).unwrap();
    assert_eq!(world.does(order(2)), Err(Refusal::MerchantReferenceUsed));
    assert_eq!(world.shelf.books.merchant_references.get(&(SHOP, "order 1".into())), Some(&payment(1)));
}

#[test]
fn two_payments_of_one_commit_cannot_spend_the_same_money() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    let batch: Vec<Work> =
        (1..=3).map(|number| Work { commands: vec![pay(TARO, 400, number)], ..world.work() }).collect();
    let (decided, commit) = world.shelf.commit(&batch, world.now);
    assert!(matches!(decided[..2], [Decided::Done(_), Decided::Done(_)]));
    assert_eq!(decided[2], Decided::Refused(0, Refusal::InsufficientFunds));
    assert_eq!(commit.entries.len(), 2);
    assert_eq!(world.wallet(TARO), (200, 0));
    world.audit();
}
