//! Bonus in lots: what is taken first, what ends, what a hold and a refund do with a lot, and what bonus never is.

use koban_domain::access::Access;
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::bonus::{Grant, LOTS_MAX, Revoke};
use koban_domain::closures::Close;
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::payments::{Source, Terms};
use koban_domain::refunds::Refund;
use koban_domain::reviews::Ruling;

use crate::accounts::Example;
use crate::gifts;
use crate::world::{HANAKO, HOUR_MS, KENJI, OPERATOR, SPRING, TARO, World, grant, plan};

/// A lot of Taro's that may be spent in an hour, and ends in two.
pub(crate) fn granted_for_later(world: &mut World) {
    world.does(plan(1_000)).unwrap();
    let usable_from = Some(world.now.plus_ms(HOUR_MS));
    let Command::Grant(now) = grant(TARO, 300, 1, world.now.plus_ms(2 * HOUR_MS)) else { unreachable!() };
    world.does(Command::Grant(Grant { usable_from, ..now })).unwrap();
}

fn revoke(world: &mut World, number: u128) -> Result<Answer, Refusal> {
    let (of, reason) = (world.of_lot(number), "a mistake".to_owned());
    world.does(Command::Revoke(Revoke { of, reason }))
}

/// Lot 1 ends in one hour, lot 2 in two.
fn two_lots(world: &mut World) {
    world.grant(TARO, 200, 2, 2).unwrap();
    world.grant(TARO, 300, 1, 1).unwrap();
}

fn refunded(answer: Answer) -> Refund {
    match answer {
        Answer::Refunded(refund) => refund,
        other => panic!("not a refund: {other:?}"),
    }
}

fn bonus(world: &World) -> i64 {
    world.balance(AccountKey::user(Class::Bonus, TARO, Currency::JPY))
}

pub(crate) const EXAMPLES: &[Example] = &[
    ("A campaign grants bonus", |_| {}, |world| drop(world.grant(TARO, 300, 1, 1).unwrap())),
    (
        "A payment takes bonus first, then prepaid value, then funds",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
            world.grant(HANAKO, 300, 1, 1).unwrap();
        },
        |world| drop(world.pay(HANAKO, 1_280, 1).unwrap()),
    ),
    (
        "What is left of a lot whose time has run out is the platform's again",
        |world| {
            world.grant(TARO, 300, 1, 1).unwrap();
            world.pay(TARO, 100, 1).unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
        },
        |world| drop(world.does(Command::Lapse(world.of_lot(1))).unwrap()),
    ),
    (
        "An operator takes back what is left of a lot",
        |world| {
            world.grant(TARO, 300, 1, 1).unwrap();
            world.pay(TARO, 100, 1).unwrap();
        },
        |world| drop(revoke(world, 1).unwrap()),
    ),
    (
        "A refund gives bonus back to its lot after all money, and bonus of a lot that is over to nobody",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            two_lots(world);
            world.pay(TARO, 1_280, 1).unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
        },
        |world| drop(world.refund(TARO, 1_280, 1).unwrap()),
    ),
    (
        "Bonus that was held is captured although its lot is over by then, and ends if it is let go",
        |world| {
            world.grant(TARO, 300, 1, 1).unwrap();
            let terms = Terms::Held { for_ms: 2 * HOUR_MS };
            world.pay_in_review(TARO, 300, 1, terms).unwrap();
            world.conclude(1, Ruling::Approved(OPERATOR)).unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
        },
        |world| drop(world.capture(1, Some(200), true).unwrap()),
    ),
    (
        "A void of bonus whose lot is over",
        |world| {
            world.grant(TARO, 300, 1, 1).unwrap();
            world.pay_in_review(TARO, 300, 1, Terms::Held { for_ms: 2 * HOUR_MS }).unwrap();
            world.conclude(1, Ruling::Approved(OPERATOR)).unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
        },
        |world| drop(world.void(1).unwrap()),
    ),
    (
        "A campaign grants what the plugin asks for that it is bound to",
        |world| gifts::bind(world, 1_000, None),
        |world| drop(world.does(Command::Gift(gifts::gift(1, TARO, 64))).unwrap()),
    ),
    (
        "What was refunded of a payment goes back of the bonus that it brought, in proportion and rounded down",
        |world| {
            *world = gifts::given().0;
            world.refund(TARO, 500, 1).unwrap();
        },
        |world| drop(world.does(Command::TakeBack(gifts::given().1)).unwrap()),
    ),
    (
        "A closure gives bonus back to the platform",
        |world| {
            world.charge(TARO, 500, "r1").unwrap();
            world.grant(TARO, 300, 1, 1).unwrap();
        },
        |world| {
            let reason = "asked for".to_owned();
            world.does(Command::Close(Close { user: TARO, currencies: vec![Currency::JPY], reason })).unwrap();
        },
    ),
];

#[test]
fn the_lot_that_ends_first_is_spent_first_whatever_was_granted_first() {
    let mut world = World::new();
    two_lots(&mut world);
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 350, 1).unwrap();
    assert_eq!(world.left([1, 2]), [0, 150]);
    let parts = world.payment(1).parts;
    let lots: Vec<_> = parts.iter().map(|part| (part.source, part.captured)).collect();
    assert_eq!(lots, [(Source::Bonus(world.lot(1).id), 300), (Source::Bonus(world.lot(2).id), 50)]);
    world.pay(TARO, 1_151, 2).unwrap_err();
    world.pay(TARO, 1_150, 3).unwrap();
    assert_eq!((bonus(&world), world.wallet(TARO)), (0, (0, 0)));
}

#[test]
fn a_lot_that_is_over_is_not_spent_whether_a_sweeper_has_come_or_not() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.now = world.now.plus_ms(HOUR_MS - 1);
    world.pay(TARO, 100, 1).unwrap();
    world.now = world.now.plus_ms(1);
    assert_eq!((bonus(&world), world.available(TARO)), (200, 0), "nobody has swept");
    assert_eq!(world.pay(TARO, 1, 2).unwrap_err(), Refusal::InsufficientFunds);
    world.does(Command::Lapse(world.of_lot(1))).unwrap();
    assert_eq!((bonus(&world), world.platform(Class::BonusExpense)), (0, 100));
    assert_eq!(world.does(Command::Lapse(world.of_lot(1))).unwrap_err(), Refusal::LotEmpty);
}

#[test]
fn a_lot_may_not_be_spent_before_its_date_unless_an_operator_releases_it() {
    let mut world = World::new();
    granted_for_later(&mut world);
    assert_eq!(world.pay(TARO, 1, 1).unwrap_err(), Refusal::InsufficientFunds);
    let mut released = world.clone();
    released.does(Command::Release(released.of_lot(1))).unwrap();
    released.pay(TARO, 300, 1).unwrap();
    world.now = world.now.plus_ms(HOUR_MS);
    world.pay(TARO, 300, 1).unwrap();
}

#[test]
fn refunds_go_back_in_reverse_over_several_times_to_the_lots_that_paid() {
    let mut world = World::new();
    two_lots(&mut world);
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 700, 1).unwrap();
    for (yen, left, prepaid) in [(150, [0, 0], 950), (150, [0, 100], 1_000), (399, [299, 200], 1_000)] {
        let refund = refunded(world.refund(TARO, yen, 1).unwrap());
        assert_eq!((refund.lapsed, refund.repaid), (0, 0));
        assert_eq!((world.left([1, 2]), world.wallet(TARO).0), (left, prepaid), "after {yen}");
    }
    world.now = world.now.plus_ms(HOUR_MS);
    let refund = refunded(world.refund(TARO, 1, 1).unwrap());
    assert_eq!((refund.bonus, refund.lapsed), (0, 1), "the first lot is over, and is not revived");
    assert_eq!(world.left([1, 2]), [299, 200]);
    assert_eq!(world.refund(TARO, 1, 1).unwrap_err(), Refusal::RefundExceedsPayment);
    // A lot that was spent wholly can be spent again.
    world.pay(TARO, 200, 2).unwrap();
    assert_eq!(world.left([2]), [0]);
}

#[test]
fn a_refund_to_an_upgraded_user_brings_funds_and_bonus() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 800, 1).unwrap();
    world.verify(TARO).unwrap();
    world.refund(TARO, 800, 1).unwrap();
    let of = |class| world.balance(AccountKey::user(class, TARO, Currency::JPY));
    assert_eq!((of(Class::Bonus), of(Class::Prepaid), of(Class::Funds)), (300, 0, 1_000));
}

#[test]
fn bonus_never_repays_what_is_owed() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 24).unwrap();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 800, 1).unwrap();
    world.authorise(TARO, 500, 2).unwrap();
    world.reverse(TARO, 600, "r1", "v1").unwrap();
    assert_eq!(world.wallet(TARO), (500, 600), "what is held is not taken back");
    assert_eq!(world.left([1]), [0], "the reversal finds no money and takes no bonus");
    world.void(2).unwrap();
    assert_eq!(world.wallet(TARO), (0, 100), "500 of money repay");
    let refund = refunded(world.refund(TARO, 800, 1).unwrap());
    assert_eq!((refund.repaid, refund.bonus), (100, 300));
    assert_eq!((world.wallet(TARO), world.left([1])), ((400, 0), [300]));
}

#[test]
fn bonus_that_is_held_is_set_aside_in_its_lot_and_goes_back_to_it() {
    let mut world = World::new();
    two_lots(&mut world);
    world.authorise(TARO, 400, 1).unwrap();
    assert_eq!((world.lot(1).held, world.lot(2).held, world.available(TARO)), (300, 100, 100));
    assert_eq!(world.pay(TARO, 101, 2).unwrap_err(), Refusal::InsufficientFunds);
    world.increase(1, 50).unwrap();
    world.capture(1, Some(350), true).unwrap();
    assert_eq!((world.left([1, 2]), world.lot(2).held, world.available(TARO)), ([0, 150], 0, 150));
}

#[test]
fn what_is_let_go_into_a_lot_that_is_over_ends_however_it_is_let_go() {
    let ways: [fn(&mut World); 3] = [
        |world| drop(world.conclude(1, Ruling::Declined(OPERATOR)).unwrap()),
        |world| drop(world.conclude(1, Ruling::Expired).unwrap()),
        |world| {
            world.conclude(1, Ruling::Approved(OPERATOR)).unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
            world.expire(1).unwrap();
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut world = World::new();
        world.grant(TARO, 300, 1, 20).unwrap();
        world.pay_in_review(TARO, 300, 1, Terms::Held { for_ms: HOUR_MS }).unwrap();
        world.now = world.now.plus_ms(if number == 1 { 24 } else { 20 } * HOUR_MS);
        assert_eq!(world.does(Command::Lapse(world.of_lot(1))).unwrap_err(), Refusal::LotEmpty, "all of it is held");
        way(&mut world);
        assert_eq!((bonus(&world), world.platform(Class::BonusExpense), world.left([1])), (0, 0, [0]));
        world.audit();
    }
}

#[test]
fn a_revoked_lot_keeps_what_is_held_until_it_is_captured_or_let_go() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.authorise(TARO, 200, 1).unwrap();
    revoke(&mut world, 1).unwrap();
    assert_eq!((bonus(&world), world.available(TARO)), (200, 0));
    assert_eq!(revoke(&mut world, 1).unwrap_err(), Refusal::LotEmpty, "once");
    world.capture(1, Some(150), true).unwrap();
    assert_eq!((bonus(&world), world.payable()), (0, 150), "what was not captured ended");
    let refund = refunded(world.refund(TARO, 150, 1).unwrap());
    assert_eq!((refund.bonus, refund.lapsed), (0, 150));
    assert_eq!(world.platform(Class::BonusExpense), 0);
    world.audit();
}

#[test]
fn a_budget_is_met_exactly_and_never_passed_within_one_commit_either() {
    let mut world = World::new();
    world.does(plan(1_000)).unwrap();
    let until = world.now.plus_ms(HOUR_MS);
    let works: Vec<Work> =
        (1..=5).map(|number| Work { commands: vec![grant(TARO, 300, number, until)], ..world.work() }).collect();
    let (decided, _) = world.shelf.commit(&works, world.now);
    let done = decided.iter().filter(|decided| matches!(decided, Decided::Done(_))).count();
    assert_eq!(done, 3);
    assert_eq!(decided[4], Decided::Refused(0, Refusal::CampaignBudgetExhausted));
    world.check();
    world.grant(HANAKO, 100, 9, 1).unwrap();
    assert_eq!(world.grant(HANAKO, 1, 10, 1).unwrap_err(), Refusal::CampaignBudgetExhausted);
    // Nothing returns to it.
    world.does(Command::Lapse(world.of_lot(1))).unwrap_err();
    revoke(&mut world, 1).unwrap();
    assert_eq!(world.grant(HANAKO, 1, 10, 1).unwrap_err(), Refusal::CampaignBudgetExhausted);
    assert_eq!(world.does(plan(999)).unwrap_err(), Refusal::BudgetBelowGranted);
    world.does(plan(1_001)).unwrap();
    world.grant(HANAKO, 1, 10, 1).unwrap();
    assert_eq!(world.shelf.books.campaigns.get(&SPRING).unwrap().granted, 1_001);
}

#[test]
fn a_work_that_is_refused_leaves_its_lots_as_they_were() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    let until = world.now.plus_ms(HOUR_MS);
    let commands = vec![grant(TARO, 100, 2, until), crate::world::pay(TARO, 400, 1), crate::world::pay(TARO, 1, 2)];
    let work = Work { commands, ..world.work() };
    assert_eq!(world.commit(work).0, Decided::Refused(2, Refusal::InsufficientFunds));
    assert_eq!(world.left([1]), [300]);
    assert!(world.shelf.books.lots.iter().count() == 1 && world.payable() == 0);
}

#[test]
fn bonus_counts_toward_the_balance_limit_while_its_time_lasts() {
    let mut world = World::new();
    world.charge(TARO, 99_000, "r1").unwrap();
    assert_eq!(world.grant(TARO, 1_001, 1, 1).unwrap_err(), Refusal::BalanceLimit);
    world.grant(TARO, 1_000, 1, 1).unwrap();
    assert_eq!(world.charge(TARO, 1, "r2").unwrap_err(), Refusal::BalanceLimit);
    world.now = world.now.plus_ms(HOUR_MS);
    world.charge(TARO, 1_000, "r3").unwrap();
}

#[test]
fn a_refund_may_not_pass_the_balance_limit_but_what_has_lapsed_does_not_count() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.pay(TARO, 300, 1).unwrap();
    world.charge(TARO, 100_000, "r1").unwrap();
    assert_eq!(world.refund(TARO, 300, 1).unwrap_err(), Refusal::BalanceLimit);
    world.now = world.now.plus_ms(HOUR_MS);
    assert_eq!(refunded(world.refund(TARO, 300, 1).unwrap()).lapsed, 300);
}

#[test]
fn bonus_is_not_sent_converted_or_taken_back_by_partners() {
    let mut world = World::new();
    world.grant(HANAKO, 300, 1, 1).unwrap();
    assert_eq!(world.send(HANAKO, KENJI, 1).unwrap_err(), Refusal::InsufficientFunds);
    world.grant(TARO, 300, 2, 1).unwrap();
    world.verify(TARO).unwrap();
    assert_eq!((bonus(&world), world.wallet(TARO)), (300, (0, 0)), "a verification converts prepaid value alone");
    assert_eq!(world.send(TARO, HANAKO, 1).unwrap_err(), Refusal::InsufficientFunds);
}

#[test]
fn a_wallet_has_a_bounded_number_of_lots_and_an_empty_one_makes_room() {
    let mut world = World::new();
    for number in 0..LOTS_MAX {
        world.grant(TARO, 1, u128::try_from(number).unwrap(), 1).unwrap();
    }
    assert_eq!(world.grant(TARO, 1, 1_000, 1).unwrap_err(), Refusal::LotsFull);
    world.grant(HANAKO, 1, 1_001, 1).unwrap();
    world.pay(TARO, 1, 1).unwrap();
    world.grant(TARO, 1, 1_000, 1).unwrap();
    world.pay(TARO, i64::try_from(LOTS_MAX).unwrap(), 2).unwrap();
    assert_eq!(bonus(&world), 0);
    assert_eq!(world.payment(2).parts.len(), LOTS_MAX);
    world.refund(TARO, 100, 2).unwrap();
    world.audit();
}

#[test]
fn a_closed_account_has_no_lots_and_a_held_one_is_not_closed() {
    let mut world = World::new();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.authorise(TARO, 100, 1).unwrap();
    let close = Command::Close(Close { user: TARO, currencies: vec![Currency::JPY], reason: "asked".into() });
    assert_eq!(world.does(close.clone()).unwrap_err(), Refusal::HoldsOpen);
    world.void(1).unwrap();
    world.does(close).unwrap();
    assert_eq!((bonus(&world), world.lot(1).left, world.platform(Class::BonusExpense)), (0, 0, 0));
    assert_eq!(world.shelf.books.users.get(&TARO).unwrap().access, Access::Closed);
    assert_eq!(revoke(&mut world, 1).unwrap_err(), Refusal::LotEmpty);
}

#[test]
fn a_campaign_keeps_its_currency_and_grants_while_it_is_open() {
    let mut world = World::new();
    world.grant(TARO, 1, 1, 1).unwrap();
    let Command::Plan(open) = plan(1_000) else { unreachable!() };
    let ends_at = Some(world.now.plus_ms(HOUR_MS));
    world.does(Command::Plan(koban_domain::bonus::Plan { ends_at, ..open.clone() })).unwrap();
    world.grant(TARO, 1, 2, 2).unwrap();
    world.now = world.now.plus_ms(HOUR_MS);
    assert_eq!(world.grant(TARO, 1, 3, 2).unwrap_err(), Refusal::CampaignClosed);
    let dollars = Money::new(10, crate::world::usd());
    let other = Command::Plan(koban_domain::bonus::Plan { budget: dollars, ..open });
    assert_eq!(world.does(other).unwrap_err(), Refusal::CurrencyNotAccepted);
}
