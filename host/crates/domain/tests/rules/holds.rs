//! What flows set aside for billers: taken in spend order, captured or let go once, exposed until a settlement lists it; and each bill is paid once.

use koban_domain::access::{Access, Holder};
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::bills::{BillKey, ClaimBill, FreeBill};
use koban_domain::charges::Exposure;
use koban_domain::closures::Close;
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::holds::{Held, LetGo, OfHold, Purpose, SetAside, Take};
use koban_domain::ids::{FileId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::records::Digest;
use koban_domain::settlements::{Settle, WriteOff};
use uuid::Uuid;

use crate::accounts::Example;
use crate::world::{DAY_MS, HANAKO, HOUR_MS, NOON, OPERATOR, TARO, World, flow, slips};

pub(crate) fn of_hold(user: UserId, number: u128) -> OfHold {
    OfHold {
        flow: flow(number),
        key: "bill".into(),
        plugin: slips(),
        user,
        currency: Currency::JPY,
        purpose: Purpose::Bill,
    }
}

pub(crate) fn set_aside(user: UserId, yen: i64, number: u128) -> Command {
    Command::SetAside(SetAside { of: of_hold(user, number), amount: yen })
}

pub(crate) fn taking(user: UserId, yen: i64, number: u128, reference: &str) -> Take {
    let of = of_hold(user, number);
    Take { of, amount: Money::yen(yen), fee: 0, reference: reference.into(), last: true }
}

pub(crate) fn let_go(user: UserId, number: u128) -> Command {
    Command::LetGo(LetGo { of: of_hold(user, number) })
}

pub(crate) fn withdrawing(user: UserId, yen: i64, number: u128) -> Command {
    Command::SetAside(SetAside { of: withdrawn(of_hold(user, number)), amount: yen })
}

/// The same hold, for its owner to take out.
pub(crate) fn withdrawn(of: OfHold) -> OfHold {
    OfHold { purpose: Purpose::Withdrawal, ..of }
}

pub(crate) fn bill(number: u128) -> BillKey {
    BillKey { plugin: slips(), biller: "912345".into(), reference: format!("{number}") }
}

pub(crate) fn claim(number: u128, of_flow: u128) -> ClaimBill {
    ClaimBill { bill: bill(number), flow: flow(of_flow), due: None }
}

fn settle(world: &mut World, lines: &[(Side, &str, i64)]) -> Result<Answer, Refusal> {
    let line = |(side, reference, yen): &(Side, &str, i64)| SettlementLine {
        reference: (*reference).to_owned(),
        side: *side,
        amount: Money::yen(*yen),
        at: 0,
    };
    let number = 100 + u128::try_from(world.done.len()).unwrap();
    world.does(Command::Settle(Settle {
        plugin: slips(),
        file: FileId(Uuid::from_u128(number)),
        digest: Digest::of(&number.to_be_bytes()),
        lines: lines.iter().map(line).collect(),
    }))
}

fn write_off(world: &mut World, reference: &str) -> Result<Answer, Refusal> {
    let (plugin, side, reason) = (slips(), Side::Capture, "agreed with the collector".to_owned());
    world.does(Command::WriteOff(WriteOff { plugin, side, reference: reference.into(), operator: OPERATOR, reason }))
}

impl World {
    fn hold(&mut self, user: UserId, yen: i64, number: u128) -> Result<Answer, Refusal> {
        self.does(set_aside(user, yen, number))
    }

    fn take(&mut self, user: UserId, yen: i64, number: u128, reference: &str) -> Result<Answer, Refusal> {
        self.does(Command::Take(taking(user, yen, number, reference)))
    }

    fn of_slips(&self) -> Exposure {
        *self.shelf.books.exposures.get(&(slips(), Currency::JPY)).unwrap()
    }

    fn in_transit(&self) -> i64 {
        self.balance(AccountKey::in_transit(slips(), Currency::JPY))
    }

    fn held(&self, number: u128) -> Held {
        self.shelf.books.held.get(&(flow(number), "bill".into())).unwrap().clone()
    }

    fn cap(&mut self, cap: i64, loss_budget: i64) {
        let exposure = Exposure { cap, loss_budget, ..self.of_slips() };
        self.shelf.books.exposures.load((slips(), Currency::JPY), exposure);
    }
}

/// Taro, who has 20,000 yen.
fn charged() -> World {
    let mut world = World::new();
    world.charge(TARO, 20_000, "r1").unwrap();
    world
}

pub(crate) const EXAMPLES: &[Example] = &[
    (
        "A flow sets an amount aside for a bill, in spend order, and nothing moves",
        |world| {
            world.charge(HANAKO, 20_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
            world.grant(HANAKO, 300, 1, 1).unwrap();
        },
        |world| drop(world.hold(HANAKO, 12_800, 1).unwrap()),
    ),
    (
        "The biller takes what was set aside, and the platform keeps its fee with the tax in it",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_910, 1).unwrap();
        },
        |world| {
            let take = Take { fee: 110, ..taking(TARO, 12_910, 1, "p1") };
            world.does(Command::Take(take)).unwrap();
        },
    ),
    (
        "The biller takes less, and the rest is let go; prepaid value of a payer verified since becomes funds",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_800, 1).unwrap();
            world.verify(TARO).unwrap();
        },
        |world| drop(world.take(TARO, 12_000, 1, "p1").unwrap()),
    ),
    (
        "What was set aside for a bill is let go, and what is owed is repaid of it first",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_800, 1).unwrap();
            world.reverse(TARO, 10_000, "r1", "v1").unwrap();
        },
        |world| drop(world.does(let_go(TARO, 1)).unwrap()),
    ),
    (
        "A settlement that lists what the biller took: it has left the bank",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_800, 1).unwrap();
            world.take(TARO, 12_800, 1, "p1").unwrap();
        },
        |world| drop(settle(world, &[(Side::Capture, "p1", 12_800)]).unwrap()),
    ),
    (
        "A capture that the biller never listed waits in suspense",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_800, 1).unwrap();
            world.take(TARO, 12_800, 1, "p1").unwrap();
        },
        |world| drop(write_off(world, "p1").unwrap()),
    ),
    (
        "A capture of which the biller took more is lost as far as that goes",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.hold(TARO, 12_800, 1).unwrap();
            world.take(TARO, 12_800, 1, "p1").unwrap();
            settle(world, &[(Side::Capture, "p1", 13_000)]).unwrap();
        },
        |world| drop(write_off(world, "p1").unwrap()),
    ),
    (
        "A flow sets amount and fee aside for their owner to take out",
        |world| {
            world.charge(HANAKO, 20_000, "r1").unwrap();
        },
        |world| drop(world.does(withdrawing(HANAKO, 10_216, 1)).unwrap()),
    ),
    (
        "The bank has transferred what was set aside, and the platform keeps its fee with the tax in it",
        |world| {
            world.charge(HANAKO, 20_000, "r1").unwrap();
            world.does(withdrawing(HANAKO, 10_216, 1)).unwrap();
        },
        |world| {
            let of = withdrawn(of_hold(HANAKO, 1));
            let take = Take { of, fee: 216, ..taking(HANAKO, 10_216, 1, "b1") };
            world.does(Command::Take(take)).unwrap();
        },
    ),
    (
        "What was set aside to be taken out is let go, and what is owed is repaid of it first",
        |world| {
            world.charge(HANAKO, 10_216, "r1").unwrap();
            world.does(withdrawing(HANAKO, 10_216, 1)).unwrap();
            world.reverse(HANAKO, 216, "r1", "v1").unwrap();
        },
        |world| drop(world.does(Command::LetGo(LetGo { of: withdrawn(of_hold(HANAKO, 1)) })).unwrap()),
    ),
];

pub(crate) const SILENT: &[Example] = &[(
    "A flow begins to pay a bill, or ended without paying it",
    |_| {},
    |world| {
        world.does(Command::ClaimBill(claim(1, 1))).unwrap();
        world.does(Command::FreeBill(FreeBill { bill: bill(1), flow: flow(1) })).unwrap();
    },
)];

#[test]
fn what_is_set_aside_cannot_be_spent_and_is_taken_in_spend_order() {
    let mut world = charged();
    world.grant(TARO, 300, 1, 1).unwrap();
    world.hold(TARO, 12_800, 1).unwrap();
    assert_eq!((world.available(TARO), world.wallet(TARO).0), (7_500, 20_000));
    assert_eq!(world.pay(TARO, 7_501, 1), Err(Refusal::InsufficientFunds));
    // The lot ends while it is held: it is taken all the same.
    world.now = world.now.plus_ms(HOUR_MS);
    world.take(TARO, 12_800, 1, "p1").unwrap();
    assert_eq!((world.available(TARO), world.left([1]), world.in_transit()), (7_500, [0], 12_800));
    world.audit();
}

#[test]
fn a_hold_ends_once_by_capture_or_release_and_never_gives_more_than_it_has() {
    let mut world = charged();
    world.hold(TARO, 5_000, 1).unwrap();
    assert_eq!(world.take(TARO, 5_001, 1, "p1"), Err(Refusal::CaptureExceedsHold));
    let part = Take { last: false, ..taking(TARO, 2_000, 1, "p1") };
    world.does(Command::Take(part.clone())).unwrap();
    assert_eq!((world.held(1).held(), world.held(1).captured()), (3_000, 2_000));
    assert_eq!(world.does(Command::Take(part)), Err(Refusal::ReferenceUsed), "the partner's reference is good for one");
    world.does(let_go(TARO, 1)).unwrap();
    for again in [Command::Take(taking(TARO, 1, 1, "p2")), let_go(TARO, 1)] {
        assert_eq!(world.does(again), Err(Refusal::HoldEnded));
    }
    assert_eq!((world.available(TARO), world.in_transit()), (18_000, 2_000));
    world.audit();
}

#[test]
fn a_hold_is_its_flows_its_users_and_its_plugins_alone() {
    let mut world = charged();
    world.charge(HANAKO, 20_000, "r2").unwrap();
    world.hold(TARO, 5_000, 1).unwrap();
    let other = OfHold { plugin: crate::world::atm(), ..of_hold(TARO, 1) };
    for of in [of_hold(HANAKO, 1), of_hold(TARO, 2), OfHold { key: "other".into(), ..of_hold(TARO, 1) }, other] {
        assert_eq!(world.does(Command::LetGo(LetGo { of: of.clone() })), Err(Refusal::HoldEnded));
        let take = Take { of, ..taking(TARO, 5_000, 1, "p1") };
        assert_eq!(world.does(Command::Take(take)), Err(Refusal::HoldEnded));
    }
    assert_eq!(world.hold(TARO, 1, 1), Err(Refusal::ReferenceUsed), "a name is used once");
}

#[test]
fn what_is_set_aside_and_taken_counts_against_the_cap_until_a_settlement_lists_it() {
    let mut world = charged();
    world.cap(10_000, 0);
    world.hold(TARO, 6_000, 1).unwrap();
    assert_eq!(world.hold(TARO, 4_001, 2), Err(Refusal::ExposureCapReached), "what may be taken any moment counts");
    world.hold(TARO, 4_000, 2).unwrap();
    world.does(let_go(TARO, 2)).unwrap();
    assert_eq!(world.of_slips().used, 6_000);
    world.take(TARO, 5_000, 1, "p1").unwrap();
    assert_eq!(world.of_slips().used, 5_000, "the rest was let go with the last capture");
    settle(&mut world, &[(Side::Capture, "p1", 5_000), (Side::Fee, "p1", 50)]).unwrap();
    assert_eq!((world.of_slips().used, world.in_transit()), (0, 0));
    assert_eq!((world.platform(Class::Bank), world.platform(Class::Fees)), (-5_050, 50));
    settle(&mut world, &[(Side::Capture, "p1", 5_000)]).unwrap();
    assert_eq!(world.platform(Class::Bank), -5_050, "the same line again changes nothing");
    world.audit();
}

#[test]
fn a_capture_is_not_refused_for_a_cap_that_was_lowered_or_a_wallet_that_was_frozen_meanwhile() {
    let mut world = charged();
    world.hold(TARO, 6_000, 1).unwrap();
    world.cap(0, 0);
    world.freeze(Holder::User(TARO), true);
    world.take(TARO, 6_000, 1, "p1").unwrap();
    assert_eq!(world.of_slips().used, 6_000);
}

#[test]
fn a_fee_is_less_than_what_is_taken_and_the_partner_is_owed_the_rest() {
    let mut world = charged();
    world.hold(TARO, 1_000, 1).unwrap();
    for fee in [-1, 1_000, i64::MAX] {
        let take = Take { fee, ..taking(TARO, 1_000, 1, "p1") };
        assert_eq!(world.does(Command::Take(take)), Err(Refusal::AmountNotPositive), "{fee}");
    }
    world.does(Command::Take(Take { fee: 109, ..taking(TARO, 1_000, 1, "p1") })).unwrap();
    // Eight in a hundred in September 2018, within the fee: 109 * 8 / 108.
    assert_eq!((world.platform(Class::FeeIncome), world.platform(Class::ConsumptionTax)), (101, 8));
    assert_eq!((world.in_transit(), world.of_slips().used), (891, 891));
    settle(&mut world, &[(Side::Capture, "p1", 1_000)]).unwrap();
    assert_eq!(world.in_transit(), 891, "the partner's line is about its part");
    settle(&mut world, &[(Side::Capture, "p1", 891)]).unwrap();
    assert_eq!((world.in_transit(), world.of_slips().used), (0, 0));
    world.audit();
}

#[test]
fn what_the_partner_says_of_a_capture_that_we_do_not_have_waits_for_an_operator_and_may_be_lost() {
    let mut world = charged();
    settle(&mut world, &[(Side::Capture, "p9", 700)]).unwrap();
    assert_eq!(world.platform(Class::Bank), 0);
    world.cap(1_000, 699);
    assert_eq!(write_off(&mut world, "p9"), Err(Refusal::LossBudgetExhausted));
    world.cap(1_000, 700);
    write_off(&mut world, "p9").unwrap();
    assert_eq!((world.platform(Class::Bank), world.platform(Class::WriteOff)), (-700, 700));
    world.hold(TARO, 700, 1).unwrap_err();
    world.cap(1_000, 800);
    world.hold(TARO, 700, 1).unwrap();
    assert_eq!(world.take(TARO, 700, 1, "p9"), Err(Refusal::ReferenceUsed), "the books have taken that line already");
    world.audit();
}

#[test]
fn a_user_with_something_set_aside_cannot_close_and_gets_it_back_after_a_verification() {
    let mut world = charged();
    world.hold(TARO, 5_000, 1).unwrap();
    let close = Command::Close(Close { user: TARO, currencies: vec![Currency::JPY], reason: "asked".into() });
    assert_eq!(world.does(close.clone()), Err(Refusal::HoldsOpen));
    world.does(let_go(TARO, 1)).unwrap();
    world.does(close).unwrap();
    world.audit();
}

#[test]
fn who_owes_or_may_not_deal_sets_nothing_aside() {
    let mut world = charged();
    world.pay(TARO, 15_000, 1).unwrap();
    world.reverse(TARO, 10_000, "r1", "v1").unwrap();
    assert_eq!(world.hold(TARO, 1, 1), Err(Refusal::RepaymentDue));
    world.access(HANAKO, Access::Frozen);
    assert_eq!(world.hold(HANAKO, 1, 1), Err(Refusal::WalletFrozen));
}

#[test]
fn a_bill_is_paid_by_one_flow_and_by_another_only_if_that_came_to_nothing() {
    let mut world = World::new();
    world.does(Command::ClaimBill(claim(1, 1))).unwrap();
    world.does(Command::ClaimBill(claim(1, 1))).unwrap();
    assert_eq!(world.does(Command::ClaimBill(claim(1, 2))), Err(Refusal::BillPaid));
    world.does(Command::ClaimBill(claim(2, 2))).unwrap();
    let free = |of_flow| Command::FreeBill(FreeBill { bill: bill(1), flow: flow(of_flow) });
    world.does(free(2)).unwrap();
    assert_eq!(world.does(Command::ClaimBill(claim(1, 2))), Err(Refusal::BillPaid), "another's bill cannot be freed");
    world.does(free(1)).unwrap();
    world.does(Command::ClaimBill(claim(1, 2))).unwrap();
}

#[test]
fn a_bill_is_not_begun_after_its_last_moment() {
    let mut world = World::new();
    world.now = NOON.plus_ms(DAY_MS);
    let due = |due| Command::ClaimBill(ClaimBill { due: Some(due), ..claim(1, 1) });
    assert_eq!(world.does(due(NOON)), Err(Refusal::BillOverdue));
    world.does(due(world.now)).unwrap();
}

#[test]
fn only_funds_are_taken_out_never_prepaid_value_or_bonus() {
    let mut world = charged();
    assert_eq!(world.does(withdrawing(TARO, 1_000, 1)), Err(Refusal::NotVerified));
    world.charge(HANAKO, 10_000, "r2").unwrap();
    world.hold_prepaid(HANAKO, 500);
    world.grant(HANAKO, 300, 1, 1).unwrap();
    assert_eq!(world.does(withdrawing(HANAKO, 10_001, 1)), Err(Refusal::InsufficientFunds));
    world.does(withdrawing(HANAKO, 10_000, 1)).unwrap();
    assert_eq!((world.available(HANAKO), world.left([1])), (800, [300]));
}

#[test]
fn what_is_taken_out_counts_with_its_fee_against_the_days_limit() {
    let mut world = World::new();
    world.charge(HANAKO, 300_000, "r1").unwrap();
    assert_eq!(world.does(withdrawing(HANAKO, 100_001, 1)), Err(Refusal::DayLimit));
    world.does(withdrawing(HANAKO, 60_000, 1)).unwrap();
    assert_eq!(world.does(withdrawing(HANAKO, 40_001, 2)), Err(Refusal::DayLimit));
    world.does(withdrawing(HANAKO, 40_000, 2)).unwrap();
    world.now = world.now.plus_ms(DAY_MS);
    world.does(withdrawing(HANAKO, 100_000, 3)).unwrap();
    world.audit();
}
