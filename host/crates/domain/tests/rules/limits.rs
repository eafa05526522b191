//! Limits by dated rows: what counts, over which days and months, and for whom.

use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::time::Timestamp;

use crate::world::{DAY_MS, HANAKO, KENJI, NOON, TARO, World, arrived};

fn row(wallet: WalletKind, action: Action, window: Window, yen: i64, from: Timestamp) -> Limit {
    Limit { wallet, action, window, amount: Money::yen(yen), from }
}

fn sending(window: Window, yen: i64) -> Limit {
    row(WalletKind::Funds, Action::Send, window, yen, Timestamp(0))
}

#[test]
fn a_days_limit_counts_the_japanese_day_and_begins_anew_at_midnight() {
    let mut world = World::new();
    world.charge(HANAKO, 500_000, "r1").unwrap();
    world.send(HANAKO, KENJI, 60_000).unwrap();
    assert_eq!(world.send(HANAKO, KENJI, 40_001), Err(Refusal::DayLimit));
    world.send(HANAKO, KENJI, 40_000).unwrap();
    world.now = NOON.plus_ms(12 * 3_600_000 - 1);
    assert_eq!(world.send(HANAKO, KENJI, 1), Err(Refusal::DayLimit), "one millisecond before midnight");
    world.now = NOON.plus_ms(12 * 3_600_000);
    world.send(HANAKO, KENJI, 100_000).unwrap();
}

#[test]
fn a_months_limit_begins_anew_on_the_first() {
    let mut world = World::limited_by(vec![sending(Window::Day, 100), sending(Window::Month, 250)]);
    world.charge(HANAKO, 10_000, "r1").unwrap();
    for day in 0..2 {
        world.now = NOON.plus_ms(day * DAY_MS);
        world.send(HANAKO, KENJI, 100).unwrap();
    }
    world.now = NOON.plus_ms(2 * DAY_MS);
    assert_eq!(world.send(HANAKO, KENJI, 51), Err(Refusal::MonthLimit));
    assert_eq!(world.send(HANAKO, KENJI, 101), Err(Refusal::DayLimit), "the day is asked first");
    world.send(HANAKO, KENJI, 50).unwrap();
    world.now = NOON.plus_ms(6 * DAY_MS); // the 1st of October
    world.send(HANAKO, KENJI, 100).unwrap();
}

#[test]
fn a_later_row_applies_from_its_date_and_not_before() {
    let raise = NOON.plus_ms(DAY_MS);
    let mut limits = koban_domain::limits::published();
    limits.push(row(WalletKind::Prepaid, Action::Hold, Window::Once, 150_000, raise));
    let mut world = World::limited_by(limits);
    world.charge(TARO, 100_000, "r1").unwrap();
    assert_eq!(world.charge(TARO, 1_000, "r2"), Err(Refusal::BalanceLimit));
    world.now = raise;
    world.charge(TARO, 50_000, "r2").unwrap();
    assert_eq!(world.charge(TARO, 1_000, "r3"), Err(Refusal::BalanceLimit));
}

#[test]
fn a_limit_for_one_time_lets_exactly_itself_through() {
    let mut world = World::new();
    assert_eq!(world.charge(TARO, 100_001, "r1"), Err(Refusal::AmountLimit));
    world.charge(TARO, 100_000, "r1").unwrap();
}

#[test]
fn what_was_refused_or_suspended_does_not_count() {
    let charging = row(WalletKind::Prepaid, Action::Charge, Window::Day, 10_000, Timestamp(0));
    let holding = row(WalletKind::Prepaid, Action::Hold, Window::Once, 12_000, Timestamp(0));
    let mut world = World::limited_by(vec![charging, holding]);
    world.hold_prepaid(TARO, 8_000);
    assert_eq!(world.charge(TARO, 5_000, "r1"), Err(Refusal::BalanceLimit));
    world.does(arrived(TARO, 5_000, "r2")).unwrap();
    world.pay(TARO, 8_000, 1).unwrap();
    world.charge(TARO, 10_000, "r3").unwrap();
    assert_eq!(world.charge(TARO, 1, "r4"), Err(Refusal::DayLimit));
}

#[test]
fn what_repays_a_debt_does_not_fill_the_wallet() {
    let mut world = World::new();
    world.charge(TARO, 50_000, "r1").unwrap();
    world.pay(TARO, 50_000, 1).unwrap();
    world.reverse(TARO, 30_000, "r1", "v1").unwrap();
    world.hold_prepaid(TARO, 80_000);
    world.charge(TARO, 50_000, "r2").unwrap();
    assert_eq!(world.wallet(TARO), (100_000, 0));
}

#[test]
fn one_commit_cannot_overshoot_a_limit_by_parts() {
    let mut world = World::new();
    world.charge(HANAKO, 500_000, "r1").unwrap();
    let send = |number: u128| {
        Command::Transfer(koban_domain::transfers::Send {
            transfer: koban_domain::ids::TransferId(uuid::Uuid::from_u128(number)),
            sender: HANAKO,
            receiver: KENJI,
            amount: Money::yen(40_000),
            message: None,
            decision: None,
            review: false,
        })
    };
    let batch: Vec<Work> = (1..=3).map(|number| Work { commands: vec![send(number)], ..world.work() }).collect();
    let (decided, _) = world.shelf.commit(&batch, world.now);
    assert_eq!(decided[2], Decided::Refused(0, Refusal::DayLimit));
    assert!(matches!(decided[..2], [Decided::Done(_), Decided::Done(_)]));
}

#[test]
fn verification_lifts_the_limits_of_a_prepaid_wallet() {
    let mut world = World::new();
    world.charge(TARO, 100_000, "r1").unwrap();
    assert_eq!(world.charge(TARO, 1_000, "r2"), Err(Refusal::BalanceLimit));
    world.verify(TARO).unwrap();
    world.charge(TARO, 400_000, "r2").unwrap();
    assert_eq!(world.wallet(TARO), (500_000, 0));
    world.send(TARO, HANAKO, 100_000).unwrap();
}
