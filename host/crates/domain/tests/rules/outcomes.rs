//! Every refusal can be reached, and where several apply, the first of the command's list wins.

macro_rules! repair {
    ($variant:ident, $field:ident = $value:expr) => {
        |_: &mut World, command: &mut Command| match command {
            Command::$variant(command) => command.$field = $value,
            other => panic!("not the command that is repaired: {other:?}"),
        }
    };
}

mod exchanges;
mod holds;
mod merchants;

use std::collections::BTreeSet;

use koban_domain::access::{Access, Freeze, Holder};
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::adjustments::{Line, Propose};
use koban_domain::bonus::{Grant, LOTS_MAX, OfLot, Plan, Revoke};
use koban_domain::books::Postings;
use koban_domain::captures::{Collect, Increase, OfPayment};
use koban_domain::charges::{ChargeCredit, ChargeReversal, Exposure};
use koban_domain::closures::Close;
use koban_domain::flows::{self, Authorisation, Closing, Flow, Resolution};
use koban_domain::gifts::TakeBack;
use koban_domain::guest::Side;
use koban_domain::ids::{CampaignId, CaptureId, KeyId, MerchantId, PaymentId, RefundId, TransferId};
use koban_domain::ledger::{Command, Decided, Expect, Unexpected, Work};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::manifest::Beginning;
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::paths::EntryKind;
use koban_domain::payments::{Pay, Payment, PaymentState, Terms};
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::reviews::{Conclude, Reviewed, Ruling};
use koban_domain::settlements::{Settle, WriteOff};
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;
use koban_domain::verification::{Unverify, Verify};
use uuid::Uuid;

use crate::flows::{Charge, credit_of};
use crate::gifts;
use crate::pages;
use crate::world::{
    COLLEAGUE, DAY_MS, HANAKO, HOUR_MS, KENJI, NOBODY, NOON, OPERATOR, SHOP, TARO, World, arrived, atm, credit, flow,
    grant, judgement, pay, payment, plan, proposal, reverse, settle, submission, usd,
};

/// One after the other, what is wrong with a command; each repair uncovers the next refusal of its list.
struct Ladder {
    name: &'static str,
    world: World,
    command: Command,
    found: Vec<Refusal>,
}

impl Ladder {
    fn new(name: &'static str, world: World, command: Command) -> Ladder {
        Ladder { name, world, command, found: Vec::new() }
    }

    /// The command is refused with this, and then what is wrong is repaired.
    fn refused(mut self, refusal: Refusal, repair: impl FnOnce(&mut World, &mut Command)) -> Ladder {
        let before = (self.world.shelf.head, format!("{:?}", sorted(&self.world)));
        assert_eq!(self.world.does(self.command.clone()), Err(refusal), "{}", self.name);
        assert_eq!((self.world.shelf.head, format!("{:?}", sorted(&self.world))), before, "a refusal changes nothing");
        self.found.push(refusal);
        repair(&mut self.world, &mut self.command);
        self
    }

    fn done(mut self) -> (&'static str, Vec<Refusal>) {
        self.world.does(self.command.clone()).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", self.name));
        (self.name, self.found)
    }
}

/// A flow would take rows along to a link that has ended.
fn linking() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.does(crate::links::save(1, TARO)).unwrap();
    Ladder::new("rows sent", world, crate::links::begin(2, 0, 9))
        .refused(Refusal::LinkNotReady, |_, command| *command = crate::links::begin(1, 0, 9))
        .done()
}

/// All that a command may change, in an order of its own.
fn sorted(world: &World) -> Vec<String> {
    let books = &world.shelf.books;
    let mut rows: Vec<String> = Vec::new();
    rows.extend(books.accounts.iter().map(|row| format!("{row:?}")));
    rows.extend(books.lots.iter().map(|row| format!("{row:?}")));
    rows.extend(books.campaigns.iter().map(|row| format!("{row:?}")));
    rows.extend(books.users.iter().map(|row| format!("{row:?}")));
    rows.extend(books.payments.iter().map(|row| format!("{row:?}")));
    rows.extend(books.reviews.iter().map(|row| format!("{row:?}")));
    rows.extend(books.arrangements.iter().map(|row| format!("{row:?}")));
    rows.extend(books.disputes.iter().map(|row| format!("{row:?}")));
    rows.extend(books.closings.iter().map(|row| format!("{row:?}")));
    rows.extend(books.references.iter().map(|row| format!("{row:?}")));
    rows.extend(books.held.iter().map(|row| format!("{row:?}")));
    rows.extend(books.bills.iter().map(|row| format!("{row:?}")));
    rows.extend(books.links.iter().map(|row| format!("{row:?}")));
    rows.extend(books.exposures.iter().map(|row| format!("{row:?}")));
    rows.extend(books.counters.iter().map(|row| format!("{row:?}")));
    rows.extend(books.differences.iter().map(|row| format!("{row:?}")));
    rows.extend(books.files.iter().map(|row| format!("{row:?}")));
    rows.extend(books.expectations.iter().map(|row| format!("{row:?}")));
    rows.sort();
    rows
}

fn limit(wallet: WalletKind, action: Action, window: Window, yen: i64) -> Limit {
    Limit { wallet, action, window, amount: Money::yen(yen), from: Timestamp(0) }
}

/// Limits small enough to be all passed at once: one time 100, day 50, month 25, balance 10.
fn tight(wallet: WalletKind, action: Action) -> Vec<Limit> {
    vec![
        limit(wallet, action, Window::Once, 100),
        limit(wallet, action, Window::Day, 50),
        limit(wallet, action, Window::Month, 25),
        limit(wallet, Action::Hold, Window::Once, 10),
    ]
}

fn lift(world: &mut World, action: Action, window: Window) {
    let mut policy = (*world.shelf.books.policy).clone();
    policy.limits.0.retain(|limit| (limit.action, limit.window) != (action, window));
    world.shelf.books.policy = std::sync::Arc::new(policy);
}

fn charging() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(tight(WalletKind::Prepaid, Action::Charge));
    world.tombstone("r1").unwrap();
    let exposures = world.shelf.books.exposures.clone();
    world.shelf.books.exposures = Default::default();
    let Command::Credit(command) = credit(NOBODY, 0, "r1") else { panic!() };
    let bad = ChargeCredit { amount: Money::new(-1, usd()), ..command };
    Ladder::new("charge", world, Command::Credit(bad))
        .refused(Refusal::AmountNotPositive, repair!(Credit, amount = Money::new(200, usd())))
        .refused(Refusal::UserNotFound, |world, command| {
            repair!(Credit, user = TARO)(world, command);
            world.access(TARO, Access::Frozen);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(Credit, amount = Money::yen(200)))
        .refused(Refusal::ChannelNotAvailable, |world, _| {
            world.shelf.books.exposures = exposures;
            world.budget(199, 5);
            let exposure = Exposure { lost: 5, ..world.exposure() };
            world.shelf.books.exposures.load((atm(), Currency::JPY), exposure);
        })
        .refused(Refusal::ReferenceTombstoned, repair!(Credit, reference = "r2".into()))
        .refused(Refusal::LossBudgetExhausted, |world, _| world.budget(199, 6))
        .refused(Refusal::ExposureCapReached, |world, _| world.budget(200, 6))
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Charge, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Charge, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Charge, Window::Month))
        .refused(Refusal::BalanceLimit, |world, _| lift(world, Action::Hold, Window::Once))
        .done()
}

fn reference_used() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    Ladder::new("charge", world, credit(TARO, 1_000_000, "r1"))
        .refused(Refusal::ReferenceUsed, |_, command| *command = credit(TARO, 1_000_000, "r2"))
        .refused(Refusal::ExposureCapReached, |_, command| *command = credit(TARO, 1_000, "r2"))
        .done()
}

fn reversing() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.charge(TARO, 1_000, "r2").unwrap();
    world.reverse(TARO, 1, "r1", "v1").unwrap();
    let Command::Reverse(command) = reverse(NOBODY, 0, "r3", "v1") else { panic!() };
    let bad = ChargeReversal { flow: flow(2), ..command };
    Ladder::new("reversal", world, Command::Reverse(bad))
        .refused(Refusal::AmountNotPositive, repair!(Reverse, amount = Money::yen(1_001)))
        .refused(Refusal::UserNotFound, repair!(Reverse, user = HANAKO))
        .refused(Refusal::ReferenceUsed, repair!(Reverse, reference = "v2".into()))
        .refused(Refusal::CreditNotFound, repair!(Reverse, of = "r2".into()))
        .refused(Refusal::CreditNotFound, repair!(Reverse, user = TARO))
        .refused(Refusal::CreditNotFound, repair!(Reverse, flow = flow(1)))
        .refused(Refusal::ReversalExceedsCredit, repair!(Reverse, amount = Money::new(1_000, usd())))
        .refused(Refusal::ReversalExceedsCredit, repair!(Reverse, amount = Money::yen(1_000)))
        .done()
}

fn tombstoning() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    let tombstone = |reference: &str| {
        let (plugin, reference) = (atm(), reference.to_owned());
        Command::Tombstone(koban_domain::charges::Tombstone { plugin, flow: None, reference })
    };
    Ladder::new("tombstone", world, tombstone("r1"))
        .refused(Refusal::ReferenceCredited, |_, command| *command = tombstone("r2"))
        .done()
}

fn paying() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(tight(WalletKind::Prepaid, Action::Pay));
    lift(&mut world, Action::Hold, Window::Once);
    world.charge(TARO, 5, "r1").unwrap();
    world.pay(TARO, 5, 1).unwrap();
    world.reverse(TARO, 5, "r1", "r1").unwrap();
    world.shelf.books.merchant_references.load((SHOP, "order".into()), payment(1));
    let Command::Pay(command) = pay(NOBODY, 0, 2) else { panic!() };
    let bad = Pay { merchant: MerchantId(Uuid::nil()), reference: Some("order".into()), ..command };
    Ladder::new("payment", world, Command::Pay(bad))
        .refused(Refusal::AmountNotPositive, repair!(Pay, amount = Money::new(200, usd())))
        .refused(Refusal::UserNotFound, repair!(Pay, payer = TARO))
        .refused(Refusal::MerchantNotFound, |world, command| {
            repair!(Pay, merchant = SHOP)(world, command);
            world.freeze(Holder::User(TARO), true);
            world.freeze(Holder::Merchant(SHOP), true);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::MerchantFrozen, |world, _| world.freeze(Holder::Merchant(SHOP), false))
        .refused(Refusal::CurrencyNotAccepted, repair!(Pay, amount = Money::yen(200)))
        .refused(Refusal::RepaymentDue, |world, _| drop(world.charge(TARO, 5, "r2").unwrap()))
        .refused(Refusal::MerchantReferenceUsed, repair!(Pay, reference = Some("order 2".into())))
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Pay, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Pay, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Pay, Window::Month))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(TARO, 200, "r3").unwrap()))
        .done()
}

fn refunding() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(vec![limit(WalletKind::Prepaid, Action::Hold, Window::Once, 1_000)]);
    world.charge(TARO, 1_000, "r1").unwrap();
    world.pay(TARO, 1_000, 1).unwrap();
    world.charge(TARO, 1_000, "r2").unwrap();
    world.reserve_payable(500);
    let bad = GiveBack {
        refund: RefundId(Uuid::from_u128(1)),
        payment: PaymentId(Uuid::nil()),
        merchant: SHOP,
        payer: NOBODY,
        amount: Money::new(0, usd()),
    };
    Ladder::new("refund", world, Command::Refund(bad))
        .refused(Refusal::AmountNotPositive, repair!(Refund, amount = Money::new(1_001, usd())))
        .refused(Refusal::UserNotFound, repair!(Refund, payer = TARO))
        .refused(Refusal::PaymentNotFound, |world, command| {
            repair!(Refund, payment = payment(1))(world, command);
            world.access(TARO, Access::Closed);
        })
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(Refund, amount = Money::yen(1_001)))
        .refused(Refusal::RefundExceedsPayment, repair!(Refund, amount = Money::yen(1_000)))
        .refused(Refusal::BalanceLimit, |world, _| lift(world, Action::Hold, Window::Once))
        .refused(Refusal::MerchantBalanceTooLow, repair!(Refund, amount = Money::yen(500)))
        .done()
}

/// Two payments of Taro's: one that is held, and one that is looked at.
fn holding() -> World {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.authorise(TARO, 400, 1).unwrap();
    world.pay_in_review(TARO, 400, 2, Terms::AtOnce).unwrap();
    world
}

/// A state that the held payment does not leave, put there and back by hand.
fn stands(state: PaymentState) -> impl FnOnce(&mut World, &mut Command) {
    move |world, _| {
        let held = world.payment(1);
        world.shelf.books.payments.load(held.id, Payment { state, ..held });
    }
}

fn capturing() -> (&'static str, Vec<Refusal>) {
    let mut world = holding();
    let of = world.of(1);
    stands(PaymentState::InReview)(&mut world, &mut Command::Void(of));
    let nobody = OfPayment { payer: NOBODY, payment: PaymentId(Uuid::nil()), ..of };
    world.freeze(Holder::Merchant(SHOP), true);
    let bad = Collect { capture: CaptureId(Uuid::from_u128(1)), of: nobody, amount: Some(0), last: false };
    Ladder::new("capture", world, Command::Collect(bad))
        .refused(Refusal::AmountNotPositive, repair!(Collect, amount = Some(401)))
        .refused(Refusal::UserNotFound, repair!(Collect, of = OfPayment { payment: PaymentId(Uuid::nil()), ..of }))
        .refused(Refusal::PaymentNotFound, repair!(Collect, of = of))
        .refused(Refusal::MerchantFrozen, |world, _| world.freeze(Holder::Merchant(SHOP), false))
        .refused(Refusal::PaymentInReview, stands(PaymentState::Expired))
        .refused(Refusal::HoldExpired, stands(PaymentState::Voided))
        .refused(Refusal::HoldEnded, stands(PaymentState::Authorised))
        .refused(Refusal::CaptureExceedsHold, repair!(Collect, amount = Some(400)))
        .done()
}

fn voiding() -> (&'static str, Vec<Refusal>) {
    let mut world = holding();
    let of = world.of(1);
    stands(PaymentState::InReview)(&mut world, &mut Command::Void(of));
    let known = move |_: &mut World, command: &mut Command| *command = Command::Void(of);
    let nothing = OfPayment { payment: PaymentId(Uuid::nil()), ..of };
    Ladder::new("void", world, Command::Void(OfPayment { payer: NOBODY, ..nothing }))
        .refused(Refusal::UserNotFound, move |_, command| *command = Command::Void(nothing))
        .refused(Refusal::PaymentNotFound, known)
        .refused(Refusal::PaymentInReview, stands(PaymentState::Expired))
        .refused(Refusal::HoldExpired, stands(PaymentState::Declined))
        .refused(Refusal::HoldEnded, stands(PaymentState::Authorised))
        .done()
}

fn expiring() -> (&'static str, Vec<Refusal>) {
    let mut world = holding();
    let of = world.of(1);
    stands(PaymentState::InReview)(&mut world, &mut Command::Void(of));
    let nothing = OfPayment { payment: PaymentId(Uuid::nil()), ..of };
    Ladder::new("hold-expiry", world, Command::Expire(OfPayment { payer: NOBODY, ..nothing }))
        .refused(Refusal::UserNotFound, move |_, command| *command = Command::Expire(nothing))
        .refused(Refusal::PaymentNotFound, move |_, command| *command = Command::Expire(of))
        .refused(Refusal::PaymentInReview, stands(PaymentState::Captured))
        .refused(Refusal::HoldEnded, stands(PaymentState::Authorised))
        .refused(Refusal::NotExpired, |world, _| world.now = NOON.plus_ms(HOUR_MS))
        .done()
}

fn increasing() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.authorise(TARO, 400, 1).unwrap();
    world.reverse(TARO, 1_000, "r1", "r1").unwrap();
    let mut policy = (*world.shelf.books.policy).clone();
    policy.limits.0 = tight(WalletKind::Prepaid, Action::Pay);
    world.shelf.books.policy = std::sync::Arc::new(policy);
    lift(&mut world, Action::Hold, Window::Once);
    let of = world.of(1);
    stands(PaymentState::InReview)(&mut world, &mut Command::Void(of));
    let nothing = OfPayment { payment: PaymentId(Uuid::nil()), ..of };
    world.access(TARO, Access::Frozen);
    world.freeze(Holder::Merchant(SHOP), true);
    let bad = Increase { of: OfPayment { payer: NOBODY, ..nothing }, amount: Money::yen(0) };
    Ladder::new("increment", world, Command::Increase(bad))
        .refused(Refusal::AmountNotPositive, repair!(Increase, amount = Money::new(200, usd())))
        .refused(Refusal::UserNotFound, repair!(Increase, of = nothing))
        .refused(Refusal::PaymentNotFound, repair!(Increase, of = of))
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::MerchantFrozen, |world, _| world.freeze(Holder::Merchant(SHOP), false))
        .refused(Refusal::CurrencyNotAccepted, repair!(Increase, amount = Money::yen(200)))
        .refused(Refusal::RepaymentDue, |world, _| drop(world.charge(TARO, 400, "r2").unwrap()))
        .refused(Refusal::PaymentInReview, stands(PaymentState::Expired))
        .refused(Refusal::HoldExpired, stands(PaymentState::Captured))
        .refused(Refusal::HoldEnded, stands(PaymentState::Authorised))
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Pay, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Pay, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Pay, Window::Month))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(TARO, 800, "r3").unwrap()))
        .done()
}

fn reviewing() -> (&'static str, Vec<Refusal>) {
    let mut world = holding();
    let of = world.of(2);
    let nothing = Reviewed::Payment(OfPayment { payer: NOBODY, ..of });
    world.now = NOON.plus_ms(DAY_MS);
    world.access(TARO, Access::Frozen);
    world.freeze(Holder::Merchant(SHOP), true);
    let late = Conclude { of: nothing, ruling: Ruling::Approved(OPERATOR) };
    Ladder::new("review", world, Command::Conclude(late))
        .refused(Refusal::ReviewNotFound, repair!(Conclude, of = Reviewed::Payment(of)))
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::MerchantFrozen, |world, _| world.freeze(Holder::Merchant(SHOP), false))
        .refused(Refusal::ReviewClosed, |world, command| {
            world.now = NOON.plus_ms(DAY_MS - 1);
            world.shelf.head.at = world.now;
            *command = Command::Conclude(Conclude { of: Reviewed::Payment(of), ruling: Ruling::Expired });
        })
        .refused(Refusal::NotExpired, |world, _| world.now = NOON.plus_ms(DAY_MS))
        .done()
}

fn sending() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(tight(WalletKind::Funds, Action::Send));
    lift(&mut world, Action::Hold, Window::Once);
    world.charge(HANAKO, 5, "r1").unwrap();
    world.pay(HANAKO, 5, 1).unwrap();
    world.reverse(HANAKO, 5, "r1", "r1").unwrap();
    world.unverify(HANAKO);
    let bad = Send {
        transfer: TransferId(Uuid::from_u128(1)),
        sender: NOBODY,
        receiver: NOBODY,
        amount: Money::yen(0),
        message: None,
        decision: None,
        review: false,
    };
    Ladder::new("transfer", world, Command::Transfer(bad))
        .refused(Refusal::AmountNotPositive, repair!(Transfer, amount = Money::yen(200)))
        .refused(Refusal::UserNotFound, |_, command| {
            if let Command::Transfer(send) = command {
                (send.sender, send.receiver) = (HANAKO, HANAKO);
            }
        })
        .refused(Refusal::SameParty, |world, command| {
            if let Command::Transfer(send) = command {
                (send.receiver, send.amount) = (TARO, Money::new(200, usd()));
            }
            world.access(HANAKO, Access::Frozen);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(HANAKO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(HANAKO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(Transfer, amount = Money::yen(200)))
        .refused(Refusal::NotVerified, |world, _| drop(world.verify(HANAKO).unwrap()))
        .refused(Refusal::ReceiverNotVerified, |world, command| {
            repair!(Transfer, receiver = KENJI)(world, command);
            world.access(KENJI, Access::Frozen);
            world.revoke(HANAKO);
        })
        .refused(Refusal::ReceiverUnavailable, |world, _| world.access(KENJI, Access::Open))
        .refused(Refusal::VerificationRevoked, |world, _| drop(world.verify(HANAKO).unwrap()))
        .refused(Refusal::RepaymentDue, |world, _| {
            world.charge(HANAKO, 5, "r2").unwrap();
            let mut policy = (*world.shelf.books.policy).clone();
            policy.limits.0.push(limit(WalletKind::Funds, Action::Hold, Window::Once, 100));
            world.shelf.books.policy = std::sync::Arc::new(policy);
        })
        .refused(Refusal::AmountLimit, |world, _| lift(world, Action::Send, Window::Once))
        .refused(Refusal::DayLimit, |world, _| lift(world, Action::Send, Window::Day))
        .refused(Refusal::MonthLimit, |world, _| lift(world, Action::Send, Window::Month))
        .refused(Refusal::BalanceLimit, |world, _| lift(world, Action::Hold, Window::Once))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(HANAKO, 200, "r3").unwrap()))
        .done()
}

fn verifying() -> (&'static str, Vec<Refusal>) {
    Ladder::new("verification", World::new(), Command::Verify(Verify { user: NOBODY, operator: OPERATOR }))
        .refused(Refusal::UserNotFound, |world, command| {
            repair!(Verify, user = HANAKO)(world, command);
            world.access(HANAKO, Access::Closed);
        })
        .refused(Refusal::AccountClosed, |world, _| world.access(HANAKO, Access::Open))
        .refused(Refusal::AlreadyVerified, repair!(Verify, user = TARO))
        .done()
}

fn submitting() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.access(TARO, Access::Frozen);
    Ladder::new("submission", world, Command::Submit(submission(NOBODY)))
        .refused(Refusal::UserNotFound, repair!(Submit, user = TARO))
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| {
            world.access(TARO, Access::Open);
            world.verify(TARO).unwrap();
        })
        .refused(Refusal::AlreadyVerified, |world, _| {
            world.revoke(TARO);
            world.does(Command::Submit(submission(TARO))).unwrap();
        })
        .refused(Refusal::VerificationState, |world, _| {
            world.does(Command::Unverify(Unverify { user: TARO, revoked: false })).unwrap();
        })
        .done()
}

fn unverifying() -> (&'static str, Vec<Refusal>) {
    Ladder::new("rejection, revocation", World::new(), Command::Unverify(Unverify { user: NOBODY, revoked: true }))
        .refused(Refusal::UserNotFound, repair!(Unverify, user = TARO))
        .refused(Refusal::VerificationState, |world, _| drop(world.verify(TARO).unwrap()))
        .done()
}

fn freezing() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.access(TARO, Access::Closed);
    let merchant = Holder::Merchant(MerchantId(Uuid::nil()));
    Ladder::new("freeze", world, Command::Freeze(Freeze { holder: Holder::User(NOBODY), frozen: true }))
        .refused(Refusal::UserNotFound, repair!(Freeze, holder = merchant))
        .refused(Refusal::MerchantNotFound, repair!(Freeze, holder = Holder::User(TARO)))
        .refused(Refusal::AccountClosed, repair!(Freeze, holder = Holder::Merchant(SHOP)))
        .done()
}

fn closing() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 5, "r1").unwrap();
    world.pay(TARO, 5, 1).unwrap();
    world.reverse(TARO, 5, "r1", "r1").unwrap();
    world.access(TARO, Access::Closed);
    let close = Close { user: NOBODY, currencies: vec![Currency::JPY], reason: "asked".into() };
    Ladder::new("closure", world, Command::Close(close))
        .refused(Refusal::UserNotFound, repair!(Close, user = TARO))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::RepaymentDue, |world, _| {
            world.charge(TARO, 10, "r2").unwrap();
            world.hold_of(TARO, 3);
        })
        .refused(Refusal::HoldsOpen, |world, _| world.hold_of(TARO, 0))
        .done()
}

fn adjusting() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    let close = Close { user: KENJI, currencies: vec![Currency::JPY], reason: "asked".into() };
    world.does(Command::Close(close)).unwrap();
    let bad = Propose { lines: vec![], ..proposal(1, 10) };
    let to = |credit: AccountKey| {
        let debit = AccountKey::platform(Class::Suspense, credit.currency);
        Command::Propose(Propose { lines: vec![Line { debit, credit, amount: 10 }], ..proposal(1, 10) })
    };
    let prepaid = |user, currency| AccountKey::user(Class::Prepaid, user, currency);
    let nobodys = AccountKey::payable(MerchantId::default(), Currency::JPY);
    let (name, mut found) = Ladder::new("adjustment", world.clone(), Command::Propose(bad))
        .refused(Refusal::AmountNotPositive, |_, command| *command = to(prepaid(NOBODY, Currency::JPY)))
        .refused(Refusal::UserNotFound, |_, command| *command = to(nobodys))
        .refused(Refusal::MerchantNotFound, |_, command| *command = to(prepaid(KENJI, Currency::JPY)))
        .refused(Refusal::AccountClosed, |_, command| *command = to(prepaid(TARO, usd())))
        .refused(Refusal::CurrencyNotAccepted, |_, command| *command = Command::Propose(proposal(1, 10)))
        .done();
    world.does(Command::Propose(proposal(1, 10))).unwrap();
    world.does(Command::Propose(proposal(2, 10))).unwrap();
    world.does(Command::Judge(judgement(2, 10, COLLEAGUE, false))).unwrap();
    let (_, judged) = Ladder::new("adjustment", world, Command::Judge(judgement(3, 10, OPERATOR, true)))
        .refused(Refusal::AdjustmentNotFound, |_, command| *command = Command::Judge(judgement(2, 10, OPERATOR, true)))
        .refused(Refusal::AdjustmentClosed, |_, command| *command = Command::Judge(judgement(1, 10, OPERATOR, true)))
        .refused(Refusal::SecondPersonRequired, repair!(Judge, operator = COLLEAGUE))
        .refused(Refusal::InsufficientFunds, |world, _| {
            world.charge(TARO, 95_000, "r1").unwrap();
            world.does(arrived(TARO, 10_000, "r2")).unwrap();
        })
        .done();
    found.extend(judged);
    (name, found)
}

fn settling() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.settle_as(1, 1, &[(Side::Fee, "f", 1)]).unwrap();
    let exposures = world.shelf.books.exposures.clone();
    world.shelf.books.exposures = Default::default();
    let Command::Settle(command) = settle(2, 1, &[(Side::Credit, "r1", 10), (Side::Credit, "r2", 0)]) else { panic!() };
    let mut bad = command.clone();
    bad.lines[0].amount.currency = usd();
    let mut dollars = bad.clone();
    dollars.lines[1].amount.minor = 10;
    let mut yen = dollars.clone();
    yen.lines[0].amount.currency = Currency::JPY;
    Ladder::new("settlement", world, Command::Settle(bad))
        .refused(Refusal::AmountNotPositive, |_, command| *command = Command::Settle(dollars))
        .refused(Refusal::CurrencyNotAccepted, |_, command| *command = Command::Settle(yen))
        .refused(Refusal::ChannelNotAvailable, |world, _| world.shelf.books.exposures = exposures)
        .refused(Refusal::FileUsed, |_, command| {
            if let Command::Settle(settle) = command {
                *settle = Settle { digest: Digest::of(b"another"), ..settle.clone() };
            }
        })
        .done()
}

fn writing_off() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    let exposures = world.shelf.books.exposures.clone();
    world.shelf.books.exposures = Default::default();
    let (plugin, reason) = (atm(), "test".to_owned());
    let bad = WriteOff { plugin, side: Side::Credit, reference: "r2".into(), operator: OPERATOR, reason };
    Ladder::new("write-off", world, Command::WriteOff(bad))
        .refused(Refusal::DifferenceNotFound, repair!(WriteOff, reference = "r1".into()))
        .refused(Refusal::ChannelNotAvailable, |world, _| {
            world.shelf.books.exposures = exposures;
            world.budget(1_000_000, 999);
        })
        .refused(Refusal::LossBudgetExhausted, |world, _| world.budget(1_000_000, 1_000))
        .done()
}

fn expecting() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    let correlation = |name: &str| name.to_owned();
    let expect = Expect { plugin: atm(), correlation: correlation("s1"), flow: flow(1), key: "calls".into() };
    world.does(Command::Expect(expect)).unwrap();
    let call = Unexpected { plugin: atm(), correlation: correlation("s1") };
    Ladder::new("unexpected call", world, Command::Unexpected(call))
        .refused(Refusal::CorrelationTaken, repair!(Unexpected, correlation = "s2".into()))
        .done()
}

fn planning() -> (&'static str, Vec<Refusal>) {
    let mut world = World::new();
    world.grant(TARO, 10, 1, 1).unwrap();
    let Command::Plan(command) = plan(9) else { panic!() };
    Ladder::new("campaign", world, Command::Plan(Plan { budget: Money::new(0, usd()), ..command }))
        .refused(Refusal::AmountNotPositive, repair!(Plan, budget = Money::new(9, usd())))
        .refused(Refusal::CurrencyNotAccepted, repair!(Plan, budget = Money::yen(9)))
        .refused(Refusal::BudgetBelowGranted, repair!(Plan, budget = Money::yen(10)))
        .done()
}

fn granting() -> (&'static str, Vec<Refusal>) {
    let mut world = World::limited_by(vec![limit(WalletKind::Prepaid, Action::Hold, Window::Once, 109)]);
    let full = i64::try_from(LOTS_MAX).unwrap();
    for number in 0..full {
        world.grant(TARO, 1, u128::try_from(number).unwrap(), 1).unwrap();
    }
    let Command::Plan(open) = plan(full) else { panic!() };
    world.does(Command::Plan(Plan { open: false, ..open.clone() })).unwrap();
    let Command::Grant(good) = grant(TARO, 11, 1_000, world.now) else { panic!() };
    let (campaign, later) = (good.campaign, world.now.plus_ms(HOUR_MS));
    let (user, nothing) = (NOBODY, CampaignId(Uuid::nil()));
    let bad = Grant { user, campaign: nothing, amount: Money::new(0, usd()), ..good };
    Ladder::new("grant", world, Command::Grant(bad))
        .refused(Refusal::AmountNotPositive, repair!(Grant, amount = Money::new(11, usd())))
        .refused(Refusal::UserNotFound, repair!(Grant, user = TARO))
        .refused(Refusal::CampaignNotFound, |world, command| {
            repair!(Grant, campaign = campaign)(world, command);
            world.access(TARO, Access::Frozen);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(TARO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(TARO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(Grant, amount = Money::yen(11)))
        .refused(Refusal::CampaignClosed, |world, _| drop(world.does(Command::Plan(open)).unwrap()))
        .refused(Refusal::LotExpired, repair!(Grant, expires_at = later))
        .refused(Refusal::LotsFull, |world, _| drop(world.pay(TARO, 1, 1).unwrap()))
        .refused(Refusal::CampaignBudgetExhausted, |world, _| {
            let Command::Plan(wider) = plan(111) else { panic!() };
            world.does(Command::Plan(Plan { per_user: Some(110), ..wider })).unwrap();
        })
        .refused(Refusal::CampaignShareExhausted, |world, _| drop(world.does(plan(111)).unwrap()))
        .refused(Refusal::BalanceLimit, |world, _| drop(world.pay(TARO, 1, 2).unwrap()))
        .done()
}

/// A lot of Taro's for an hour, and how commands name it and another one.
fn with_a_lot() -> (World, OfLot, OfLot) {
    let mut world = World::new();
    world.grant(TARO, 10, 1, 1).unwrap();
    let of = world.of_lot(1);
    (world, of, OfLot { user: HANAKO, ..of })
}

fn lapsing() -> (&'static str, Vec<Refusal>) {
    let (mut world, of, other) = with_a_lot();
    world.authorise(TARO, 10, 1).unwrap();
    Ladder::new("lapse", world, Command::Lapse(other))
        .refused(Refusal::LotNotFound, move |_, command| *command = Command::Lapse(of))
        .refused(Refusal::LotEmpty, |world, _| drop(world.void(1).unwrap()))
        .refused(Refusal::NotExpired, |world, _| world.now = world.now.plus_ms(HOUR_MS))
        .done()
}

fn taking_back() -> (&'static str, Vec<Refusal>) {
    let (mut world, of, other) = with_a_lot();
    world.pay(TARO, 10, 1).unwrap();
    Ladder::new("taking back", world, Command::Revoke(Revoke { of: other, reason: "test".into() }))
        .refused(Refusal::LotNotFound, repair!(Revoke, of = of))
        .refused(Refusal::LotEmpty, |world, _| drop(world.refund(TARO, 1, 1).unwrap()))
        .done()
}

fn taking_back_a_gift() -> (&'static str, Vec<Refusal>) {
    let (world, of) = gifts::given();
    let other = TakeBack { key: gifts::key(2), ..of.clone() };
    Ladder::new("taking back a gift", world, Command::TakeBack(other))
        .refused(Refusal::LotNotFound, move |_, command| *command = Command::TakeBack(of))
        .done()
}

fn releasing() -> (&'static str, Vec<Refusal>) {
    let (mut world, of, other) = with_a_lot();
    let Command::Grant(grant) = grant(TARO, 10, 2, world.now.plus_ms(2 * HOUR_MS)) else { panic!() };
    world.does(Command::Grant(Grant { usable_from: Some(world.now.plus_ms(HOUR_MS)), ..grant })).unwrap();
    let later = world.of_lot(2);
    Ladder::new("release", world, Command::Release(other))
        .refused(Refusal::LotNotFound, move |_, command| *command = Command::Release(of))
        .refused(Refusal::LotEmpty, move |_, command| *command = Command::Release(later))
        .done()
}

fn ladders() -> Vec<(&'static str, Vec<Refusal>)> {
    vec![
        charging(),
        reference_used(),
        reversing(),
        tombstoning(),
        paying(),
        capturing(),
        increasing(),
        voiding(),
        expiring(),
        reviewing(),
        refunding(),
        sending(),
        exchanges::quoting(),
        exchanges::exchanging(),
        verifying(),
        submitting(),
        unverifying(),
        freezing(),
        closing(),
        adjusting(),
        planning(),
        granting(),
        lapsing(),
        taking_back(),
        taking_back_a_gift(),
        releasing(),
        settling(),
        writing_off(),
        merchants::contesting(),
        merchants::ending(),
        merchants::arranging(),
        merchants::closing(),
        merchants::paying_out(),
        holds::setting_aside(),
        holds::taking_held(),
        holds::letting_go(),
        holds::setting_aside_to_take_out(),
        holds::taking_out(),
        holds::not_taking_out(),
        holds::claiming(),
        linking(),
        expecting(),
    ]
}

/// Refusals that stand outside the commands' lists: verdicts, authorisations, and the two that guard the books themselves.
fn others() -> Vec<Refusal> {
    let mut found = Vec::new();
    for refusal in [Refusal::DeclinedByFraud, Refusal::StepUpRequired, Refusal::ReviewRequired] {
        let mut world = World::new();
        let work = Work { refused: Some(refusal), commands: vec![credit(TARO, 1, "r1")], ..world.work() };
        assert_eq!(world.commit(work).0, Decided::Refused(0, refusal));
        assert!(world.shelf.entries.is_empty());
        found.push(refusal);
    }
    for (key, device, refusal) in
        [(Some(KeyId::default()), None, Refusal::KeyFrozen), (None, Some("phone"), Refusal::DeviceFrozen)]
    {
        let mut world = World::new();
        let mut policy = (*world.shelf.books.policy).clone();
        policy.frozen_keys.insert(KeyId::default());
        policy.frozen_devices.insert("phone".into());
        world.shelf.books.policy = std::sync::Arc::new(policy);
        let commands = vec![credit(TARO, 1, "r1")];
        let work = Work { key, device: device.map(str::to_owned), commands, ..world.work() };
        assert_eq!(world.commit(work).0, Decided::Refused(0, refusal));
        found.push(refusal);
    }
    found.push(Charge::begun(10_000).message(|step| step.proposals.push(credit_of(10_001, "r1", 1))).refused());
    found.push(
        Charge::begun(10_000).later(300_001).message(|step| step.proposals.push(credit_of(10_000, "r1", 1))).refused(),
    );
    let authorisation = Authorisation { user: TARO, at_most: Money::yen(10), expires_at: NOON };
    let stuck = Flow::open(
        flow(1),
        "charge-atm",
        (Digest::default(), Digest::default()),
        Beginning::Charge,
        authorisation,
        "ja",
        NOON,
    );
    let confirmed = Resolution::ConfirmCredit { amount: Money::yen(11), reference: "r1".into() };
    assert_eq!(
        flows::resolved(&stuck, &confirmed, Closing::default(), NOON).unwrap_err(),
        Refusal::AuthorisationExceeded
    );

    let mut world = World::limited_by(vec![]);
    world.budget(i64::MAX, 0);
    found.push(world.charge(TARO, i64::MAX, "r1").unwrap_err());
    let [from, to] = [Class::Prepaid, Class::Bank].map(|class| AccountKey::platform(class, Currency::JPY));
    let posted = Postings::default().post(&mut world.shelf.books, EntryKind::Payment, from, to, 1);
    found.push(posted.unwrap_err());
    found
}

#[test]
fn every_refusal_is_reached() {
    let reached: BTreeSet<Refusal> = ladders().into_iter().flat_map(|(_, found)| found).chain(others()).collect();
    for refusal in Refusal::ALL {
        assert!(reached.contains(&refusal), "no case reaches {refusal:?}");
    }
}

#[test]
fn the_page_says_which_refusal_wins_where_several_apply() {
    let mut lists: Vec<(&str, Vec<Refusal>)> = Vec::new();
    for (name, found) in ladders() {
        match lists.iter_mut().find(|(known, _)| *known == name) {
            Some((_, list)) => {
                let new: Vec<_> = found.into_iter().filter(|refusal| !list.contains(refusal)).collect();
                let before = list.iter().position(|known| *known == Refusal::ReferenceTombstoned).unwrap_or(0);
                list.splice(before..before, new);
            }
            None => lists.push((name, found)),
        }
    }
    let mut rows = String::from("| command | checks, in order |\n|---|---|");
    for (name, mut list) in lists {
        list.dedup();
        let codes: Vec<String> = list.iter().map(|refusal| format!("`{}`", refusal.code())).collect();
        rows.push_str(&format!("\n| {name} | {} |", codes.join(", ")));
        // The one exception: which channel it is follows from what is found.
        let place = |refusal| Refusal::ALL.iter().position(|known| *known == refusal);
        let ascends = list.windows(2).all(|pair| place(pair[0]) < place(pair[1]));
        assert!(ascends || name == "write-off", "{name} leaves the order of the list: {list:?}");
    }
    pages::check_section("outcomes.md", "## What each command checks", &rows);
}
