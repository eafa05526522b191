//! Refusals of exchanges, at the platform's own rate and at a plugin's quote.

use koban_domain::access::Access;
use koban_domain::exchanges::{REFERENCE_AGE_MS_MAX, Trade};
use koban_domain::ids::QuoteId;
use koban_domain::ledger::Command;
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::quotes::Quoted;
use koban_domain::time::Timestamp;

use super::{Ladder, lift};
use crate::world::{HANAKO, NOBODY, World, dollar_in_yen, offer_dollars, trade, usd};

/// What every exchange is held against before its rate is.
fn up_to_the_rate(name: &'static str, quoted: Option<Quoted>) -> Ladder {
    let mut world = World::limited_by(vec![Limit {
        wallet: WalletKind::Funds,
        action: Action::Hold,
        window: Window::Once,
        amount: Money::new(10, usd()),
        from: Timestamp(0),
    }]);
    world.charge(HANAKO, 5, "r1").unwrap();
    world.pay(HANAKO, 5, 1).unwrap();
    world.reverse(HANAKO, 5, "r1", "r1").unwrap();
    world.unverify(HANAKO);
    let good = trade(Currency::JPY, usd(), Money::new(100, usd()));
    let bad =
        Trade { user: NOBODY, buy: Currency::JPY, amount: Money::yen(0), rate: "1".parse().unwrap(), quoted, ..good };
    Ladder::new(name, world, Command::Exchange(bad))
        .refused(Refusal::AmountNotPositive, repair!(Exchange, amount = Money::new(100, usd())))
        .refused(Refusal::UserNotFound, |world, command| {
            repair!(Exchange, user = HANAKO)(world, command);
            world.access(HANAKO, Access::Frozen);
        })
        .refused(Refusal::WalletFrozen, |world, _| world.access(HANAKO, Access::Closed))
        .refused(Refusal::AccountClosed, |world, _| world.access(HANAKO, Access::Open))
        .refused(Refusal::CurrencyNotAccepted, repair!(Exchange, buy = usd()))
        .refused(Refusal::CurrencyNotAccepted, |world, _| {
            offer_dollars(world, 99);
            let mut policy = (*world.shelf.books.policy).clone();
            policy.references.clear();
            world.shelf.books.policy = std::sync::Arc::new(policy);
        })
        .refused(Refusal::NotVerified, |world, _| {
            world.verify(HANAKO).unwrap();
            world.revoke(HANAKO);
        })
        .refused(Refusal::VerificationRevoked, |world, _| drop(world.verify(HANAKO).unwrap()))
        .refused(Refusal::RateNotAvailable, |world, _| {
            offer_dollars(world, 99);
            world.now = world.now.plus_ms(REFERENCE_AGE_MS_MAX + 1);
        })
        .refused(Refusal::RateNotAvailable, |world, command| {
            // The head's time does not run backwards: the reference is set anew instead.
            let mut policy = (*world.shelf.books.policy).clone();
            policy.references.values_mut().for_each(|reference| reference.at = world.now);
            world.shelf.books.policy = std::sync::Arc::new(policy);
            if let Command::Exchange(trade) = command {
                trade.amount = Money::yen(1);
            }
        })
}

pub(super) fn exchanging() -> (&'static str, Vec<Refusal>) {
    let ladder = up_to_the_rate("exchange", None);
    from_the_rate(ladder.refused(Refusal::RateChanged, repair!(Exchange, rate = "113.8727".parse().unwrap())))
}

pub(super) fn quoting() -> (&'static str, Vec<Refusal>) {
    let (pair, _) = dollar_in_yen();
    let quoted = Quoted { quote: QuoteId::default(), pair, fixed_at: Timestamp(0), expires_at: Timestamp(0) };
    let in_time = Quoted { expires_at: Timestamp(i64::MAX), ..quoted };
    let ladder = up_to_the_rate("exchange at a quote", Some(quoted))
        .refused(Refusal::QuoteExpired, repair!(Exchange, quoted = Some(in_time)))
        .refused(Refusal::RateStale, |world, command| {
            let fresh = Quoted { fixed_at: world.now, ..in_time };
            repair!(Exchange, quoted = Some(fresh))(world, command);
        })
        .refused(Refusal::RateOutOfBand, repair!(Exchange, rate = "113.8727".parse().unwrap()));
    from_the_rate(ladder)
}

fn from_the_rate(ladder: Ladder) -> (&'static str, Vec<Refusal>) {
    ladder
        .refused(Refusal::AmountTooSmall, repair!(Exchange, amount = Money::new(100, usd())))
        .refused(Refusal::RepaymentDue, |world, _| drop(world.charge(HANAKO, 5, "r2").unwrap()))
        .refused(Refusal::BalanceLimit, |world, _| lift(world, Action::Hold, Window::Once))
        .refused(Refusal::InsufficientFunds, |world, _| drop(world.charge(HANAKO, 200, "r3").unwrap()))
        .refused(Refusal::PositionLimit, |world, _| {
            let mut policy = (*world.shelf.books.policy).clone();
            policy.currencies.insert(usd(), 100);
            world.shelf.books.policy = std::sync::Arc::new(policy);
        })
        .done()
}
