//! Refusals of what flows do with money that leaves, one ladder for each command.

use koban_domain::access::{Access, Holder};
use koban_domain::accounts::PluginKey;
use koban_domain::charges::Exposure;
use koban_domain::holds::{Held, LetGo, OfHold, SetAside, Take};
use koban_domain::ledger::Command;
use koban_domain::limits::{Action, WalletKind, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;

use super::{Ladder, lift, tight};
use crate::holds::{claim, of_hold, taking, withdrawing, withdrawn};
use crate::world::{HANAKO, NOBODY, NOON, TARO, World, flow, slips, usd};

fn exposed(world: &mut World, cap: i64, lost: i64) {
    let exposure = Exposure { cap, used: 0, loss_budget: 10, lost };
    world.shelf.books.exposures.load((slips(), Currency::JPY), exposure);
}

pub(super) fn setting_aside() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(tight(WalletKind::Funds, Action::Pay));
    lift(&mut world, Action::Hold, Window::Once);
    world.charge(HANAKO, 5, "r1").unwrap();
    world.pay(HANAKO, 5, 1).unwrap();
    world.reverse(HANAKO, 5, "r1", "r1").unwrap();
    exposed(&mut world, 199, 10);
    let of = of_hold(HANAKO, 1);
    world.shelf.books.held.load(of.row(), Held { of: of.clone(), amount: 1, parts: vec![], at: NOON });
    let dollars = OfHold { currency: usd(), plugin: PluginKey::of("nobody"), ..of.clone() };
    let yen = OfHold { currency: Currency::JPY, ..dollars.clone() };
    let bad = SetAside { of: OfHold { user: NOBODY, ..dollars.clone() }, amount: 0 };
    let again = OfHold { flow: flow(2), ..of.clone() };
    Ladder::new("bill-hold", world, Command::SetAside(bad))
        .refused(Refusal::AmountNotPositive, repair!(SetAside, amount = 200))
        .refused(Refusal::UserNotFound, move |world, command| {
            repair!(SetAside, of = dollars)(world, command);
            world.freeze(Holder::User(HANAKO), true);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(HANAKO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(HANAKO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, move |world, command| {
            repair!(SetAside, of = yen)(world, command);
            world.revoke(HANAKO);
        })
        .refused(Refusal::ChannelNotAvailable, repair!(SetAside, of = of))
        .refused(Refusal::VerificationRevoked, |world, _| drop(world.verify(HANAKO).unwrap()))
        .refused(Refusal::RepaymentDue, |world, _| drop(world.charge(HANAKO, 5, "r2").unwrap()))
        .refused(Refusal::ReferenceUsed, repair!(SetAside, of = again))
        .refused(Refusal::LossBudgetExhausted, |world, _| exposed(world, 199, 9))
        .refused(Refusal::ExposureCapReached, |world, _| exposed(world, 200, 9))
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Pay, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Pay, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Pay, Window::Month))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(HANAKO, 200, "r3").unwrap()))
        .done()
}

pub(super) fn setting_aside_to_take_out() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(tight(WalletKind::Funds, Action::Withdraw));
    lift(&mut world, Action::Hold, Window::Once);
    world.charge(TARO, 5, "r1").unwrap();
    world.pay(TARO, 5, 1).unwrap();
    world.reverse(TARO, 5, "r1", "r1").unwrap();
    exposed(&mut world, 199, 10);
    let of = withdrawn(of_hold(TARO, 1));
    world.shelf.books.held.load(of.row(), Held { of: of.clone(), amount: 1, parts: vec![], at: NOON });
    let dollars = OfHold { currency: usd(), plugin: PluginKey::of("nobody"), ..of.clone() };
    let yen = OfHold { currency: Currency::JPY, ..dollars.clone() };
    let bad = SetAside { of: OfHold { user: NOBODY, ..dollars.clone() }, amount: 0 };
    let again = OfHold { flow: flow(2), ..of.clone() };
    Ladder::new("withdrawal-hold", world, Command::SetAside(bad))
        .refused(Refusal::AmountNotPositive, repair!(SetAside, amount = 200))
        .refused(Refusal::UserNotFound, move |world, command| {
            repair!(SetAside, of = dollars)(world, command);
            world.freeze(Holder::User(TARO), true);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(SetAside, of = yen))
        .refused(Refusal::ChannelNotAvailable, repair!(SetAside, of = of))
        .refused(Refusal::NotVerified, |world, _| {
            world.verify(TARO).unwrap();
            world.revoke(TARO);
        })
        .refused(Refusal::VerificationRevoked, |world, _| drop(world.verify(TARO).unwrap()))
        .refused(Refusal::RepaymentDue, |world, _| drop(world.charge(TARO, 5, "r2").unwrap()))
        .refused(Refusal::ReferenceUsed, repair!(SetAside, of = again))
        .refused(Refusal::LossBudgetExhausted, |world, _| exposed(world, 199, 9))
        .refused(Refusal::ExposureCapReached, |world, _| exposed(world, 200, 9))
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Withdraw, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Withdraw, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Withdraw, Window::Month))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(TARO, 200, "r3").unwrap()))
        .done()
}

/// Taro with 100 yen set aside by his first flow, of which nothing is left, and by his second.
fn with_holds() -> World {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    for number in [1, 2] {
        world.does(crate::holds::set_aside(TARO, 100, number)).unwrap();
    }
    world.does(Command::Take(taking(TARO, 100, 1, "used"))).unwrap();
    world
}

pub(super) fn taking_held() -> (&'static str, Vec<Refusal>) {
    let bad = Take { of: of_hold(NOBODY, 1), amount: Money::new(0, usd()), ..taking(TARO, 1, 1, "used") };
    Ladder::new("bill", with_holds(), Command::Take(bad))
        .refused(Refusal::AmountNotPositive, repair!(Take, amount = Money::new(101, usd())))
        .refused(Refusal::UserNotFound, repair!(Take, of = of_hold(TARO, 1)))
        .refused(Refusal::CurrencyNotAccepted, repair!(Take, amount = Money::yen(101)))
        .refused(Refusal::HoldEnded, repair!(Take, of = of_hold(TARO, 2)))
        .refused(Refusal::ReferenceUsed, repair!(Take, reference = "new".into()))
        .refused(Refusal::CaptureExceedsHold, repair!(Take, amount = Money::yen(100)))
        .done()
}

pub(super) fn letting_go() -> (&'static str, Vec<Refusal>) {
    Ladder::new("bill-release", with_holds(), Command::LetGo(LetGo { of: of_hold(NOBODY, 1) }))
        .refused(Refusal::UserNotFound, repair!(LetGo, of = of_hold(TARO, 1)))
        .refused(Refusal::HoldEnded, repair!(LetGo, of = of_hold(TARO, 2)))
        .done()
}

pub(super) fn claiming() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.does(Command::ClaimBill(claim(1, 1))).unwrap();
    world.now = NOON.plus_ms(1);
    let mut bad = claim(1, 2);
    bad.due = Some(NOON);
    Ladder::new("bill begun", world, Command::ClaimBill(bad))
        .refused(Refusal::BillPaid, repair!(ClaimBill, bill = crate::holds::bill(2)))
        .refused(Refusal::BillOverdue, repair!(ClaimBill, due = None))
        .done()
}

/// Hanako with 100 yen set aside to be taken out by her first flow, of which nothing is left, and by her second.
fn with_withdrawals() -> World {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    for number in [1, 2] {
        world.does(withdrawing(HANAKO, 100, number)).unwrap();
    }
    let of = withdrawn(of_hold(HANAKO, 1));
    world.does(Command::Take(Take { of, ..taking(HANAKO, 100, 1, "used") })).unwrap();
    world
}

pub(super) fn taking_out() -> (&'static str, Vec<Refusal>) {
    let [nobodys, ended, open] =
        [(NOBODY, 1), (HANAKO, 1), (HANAKO, 2)].map(|(user, number)| withdrawn(of_hold(user, number)));
    let bad = Take { of: nobodys, amount: Money::new(0, usd()), ..taking(HANAKO, 1, 1, "used") };
    Ladder::new("withdrawal", with_withdrawals(), Command::Take(bad))
        .refused(Refusal::AmountNotPositive, repair!(Take, amount = Money::new(101, usd())))
        .refused(Refusal::UserNotFound, repair!(Take, of = ended))
        .refused(Refusal::CurrencyNotAccepted, repair!(Take, amount = Money::yen(101)))
        .refused(Refusal::HoldEnded, repair!(Take, of = open))
        .refused(Refusal::ReferenceUsed, repair!(Take, reference = "new".into()))
        .refused(Refusal::CaptureExceedsHold, repair!(Take, amount = Money::yen(100)))
        .done()
}

pub(super) fn not_taking_out() -> (&'static str, Vec<Refusal>) {
    let [nobodys, ended, open] =
        [(NOBODY, 1), (HANAKO, 1), (HANAKO, 2)].map(|(user, number)| withdrawn(of_hold(user, number)));
    Ladder::new("withdrawal-release", with_withdrawals(), Command::LetGo(LetGo { of: nobodys }))
        .refused(Refusal::UserNotFound, repair!(LetGo, of = ended))
        .refused(Refusal::HoldEnded, repair!(LetGo, of = open))
        .done()
}
