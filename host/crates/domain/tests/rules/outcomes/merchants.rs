//! Refusals of what operators do with merchants, one ladder for each command.

use koban_domain::arrangements::Arrange;
use koban_domain::captures::OfPayment;
use koban_domain::closings::{MakeClosing, PayOut};
use koban_domain::disputes::{EndDispute, OpenDispute, Outcome};
use koban_domain::ids::{ClosingId, DisputeId, MerchantId, PaymentId};
use koban_domain::ledger::Command;
use koban_domain::limits::{Action, WalletKind, Window};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::DisputePolicy;
use uuid::Uuid;

use super::{Ladder, lift, limit};
use crate::shops::{self, TODAY, close, payout};
use crate::world::{DAY_MS, NOBODY, OPERATOR, SHOP, TARO, World, usd};

pub(super) fn contesting() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.reserve_payable(500);
    let of = world.of(1);
    let nothing = OfPayment { payment: PaymentId(Uuid::nil()), ..of };
    let bad = OpenDispute {
        dispute: shops::dispute(1),
        of: OfPayment { payer: NOBODY, ..nothing },
        amount: Money::new(0, usd()),
        reason: "r".into(),
        evidence: None,
        operator: OPERATOR,
        days: None,
    };
    Ladder::new("dispute", world, Command::OpenDispute(bad))
        .refused(Refusal::AmountNotPositive, repair!(OpenDispute, amount = Money::new(1_001, usd())))
        .refused(Refusal::UserNotFound, repair!(OpenDispute, of = nothing))
        .refused(Refusal::PaymentNotFound, repair!(OpenDispute, of = of))
        .refused(Refusal::CurrencyNotAccepted, repair!(OpenDispute, amount = Money::yen(1_001)))
        .refused(Refusal::DisputeExceedsPayment, repair!(OpenDispute, amount = Money::yen(1_000)))
        .refused(Refusal::MerchantBalanceTooLow, repair!(OpenDispute, amount = Money::yen(500)))
        .done()
}

pub(super) fn ending() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(vec![limit(WalletKind::Prepaid, Action::Hold, Window::Once, 1_000)]);
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.charge(TARO, 1_000, "r2").unwrap();
    let mut policy = (*world.shelf.books.policy).clone();
    policy.dispute = DisputePolicy { days: 1, lost_when_over: true };
    world.shelf.books.policy = std::sync::Arc::new(policy);
    let dispute = world.contest(1, 600).unwrap();
    let (of, opened) = (dispute.of, world.now);
    world.now = opened.plus_ms(DAY_MS);
    let nobody = OfPayment { payer: NOBODY, ..of };
    let bad = EndDispute { dispute: DisputeId(Uuid::nil()), of: nobody, outcome: Outcome::Won(OPERATOR) };
    Ladder::new("dispute-end", world, Command::EndDispute(bad))
        .refused(Refusal::UserNotFound, repair!(EndDispute, of = of))
        .refused(Refusal::DisputeNotFound, repair!(EndDispute, dispute = dispute.id))
        .refused(Refusal::DisputeClosed, move |world, command| {
            repair!(EndDispute, outcome = Outcome::RanOut)(world, command);
            (world.now, world.shelf.head.at) = (opened, opened);
        })
        .refused(Refusal::NotExpired, repair!(EndDispute, outcome = Outcome::Lost(OPERATOR)))
        .refused(Refusal::BalanceLimit, |world, _| lift(world, Action::Hold, Window::Once))
        .done()
}

pub(super) fn closing() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.close(TODAY).unwrap();
    let bad = MakeClosing { merchant: MerchantId(Uuid::nil()), ..close(TODAY) };
    Ladder::new("closing", world, Command::MakeClosing(bad))
        .refused(Refusal::MerchantNotFound, repair!(MakeClosing, merchant = SHOP))
        .refused(Refusal::PeriodClosed, repair!(MakeClosing, until = TODAY + 1))
        .refused(Refusal::PeriodNotOver, |world, _| world.now = world.now.plus_ms(DAY_MS))
        .done()
}

pub(super) fn paying_out() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    for (until, number) in [(TODAY - 1, 1), (TODAY, 2)] {
        world.pay(TARO, 300, number).unwrap();
        world.close(until).unwrap();
    }
    world.pay_out(TODAY - 1, "bank 1").unwrap();
    let bad = PayOut { closing: ClosingId(Uuid::nil()), ..payout(TODAY - 1, "bank 1") };
    Ladder::new("payout", world, Command::PayOut(bad))
        .refused(Refusal::ClosingNotFound, repair!(PayOut, closing = shops::closing(TODAY - 1)))
        .refused(Refusal::ClosingPaid, repair!(PayOut, closing = shops::closing(TODAY)))
        .refused(Refusal::PayoutReferenceUsed, repair!(PayOut, reference = "bank 2".into()))
        .done()
}

pub(super) fn arranging() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.close(TODAY).unwrap();
    world.arrange(100, "0");
    world.refund(TARO, 100, 1).unwrap();
    let bad = Arrange { merchant: MerchantId(Uuid::nil()), currency: usd(), ..shops::terms(99, "0.5") };
    Ladder::new("arrangement", world, Command::Arrange(bad))
        .refused(Refusal::MerchantNotFound, repair!(Arrange, merchant = SHOP))
        .refused(Refusal::CurrencyNotAccepted, repair!(Arrange, currency = koban_domain::money::Currency::JPY))
        .refused(Refusal::CreditInUse, repair!(Arrange, credit_limit = 100))
        .done()
}
