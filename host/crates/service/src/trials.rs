//! What a trial foresaw, as who asked may see it: everything of their own accounts, and of others' no more than sums.

use koban_domain::accounts::{Class, Layer, PostingSide};
use koban_domain::journal::Posting;
use koban_domain::ledger::{Foreseen, LimitUse};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::paths::EntryKind;
use uuid::Uuid;

use crate::ctx::Actor;

/// What would have come of a request that was only tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foresight {
    /// One for each item of a bulk, up to the one that ends it; one for any other request.
    pub units: Vec<Unit>,
}

/// What would have come of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What would be written, in order.
    pub entries: Vec<EntryView>,
    /// What would then be used of the asker's limits.
    pub limits: Vec<LimitUse>,
    /// The refusal that would come instead.
    pub refusal: Option<Refusal>,
}

/// An entry that would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryView {
    /// What it is for.
    pub kind: EntryKind,
    /// Its postings.
    pub postings: Vec<PostingView>,
}

/// Whose account a posting is on, to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The asker's own.
    Own,
    /// Somebody else's.
    Other,
    /// The platform's.
    Platform,
}

impl Whose {
    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Whose::Own => "own",
            Whose::Other => "other",
            Whose::Platform => "platform",
        }
    }
}

/// One side of an entry that would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingView {
    /// On whose account.
    pub whose: Whose,
    /// What the account is for; not said of somebody else's, as it tells how they are verified or what they owe.
    pub class: Option<Class>,
    /// Whether it moves the amount, sets it aside or no longer does.
    pub layer: Layer,
    /// Which side.
    pub side: PostingSide,
    /// How much. On somebody else's accounts, all that such an entry posts there in this layer and on this side.
    pub amount: Money,
    /// The account's posted balance after the entry, minor units; of the asker's own accounts.
    pub balance: Option<i64>,
}

impl Foresight {
    /// What this actor may see of it. Operators see all of it.
    pub fn of(actor: Actor, units: Vec<Foreseen>) -> Foresight {
        let unit = |unit: Foreseen| Unit {
            entries: unit
                .entries
                .iter()
                .map(|draft| EntryView { kind: draft.kind, postings: seen(actor, &draft.postings) })
                .collect(),
            limits: unit
                .limits
                .into_iter()
                .filter(|used| sees_all(actor) || own(actor) == used.counter.user.0)
                .collect(),
            refusal: unit.refusal,
        };
        Foresight { units: units.into_iter().map(unit).collect() }
    }

    /// Whether anything of it would be refused.
    pub fn refused(&self) -> bool {
        self.units.iter().any(|unit| unit.refusal.is_some())
    }
}

fn sees_all(actor: Actor) -> bool {
    matches!(actor, Actor::Operator(_) | Actor::CommandLine(_) | Actor::IdentityCheck | Actor::System)
}

/// The owner of the actor's own accounts; nil if there are none.
fn own(actor: Actor) -> Uuid {
    match actor {
        Actor::User(user) | Actor::Schedule(_, user) => user.0,
        Actor::Merchant(merchant, _) => merchant.0,
        Actor::Operator(_) | Actor::CommandLine(_) | Actor::IdentityCheck | Actor::System => Uuid::nil(),
    }
}

fn seen(actor: Actor, postings: &[Posting]) -> Vec<PostingView> {
    let mut seen: Vec<PostingView> = Vec::with_capacity(postings.len());
    for posting in postings {
        let account = posting.account;
        let whose = match account.owner {
            owner if owner.is_nil() => Whose::Platform,
            owner if owner == own(actor) => Whose::Own,
            _ => Whose::Other,
        };
        let (layer, side) = (posting.layer, posting.side);
        if whose == Whose::Other && !sees_all(actor) {
            let same = |view: &&mut PostingView| {
                let place = (view.whose, view.layer, view.side, view.amount.currency);
                place == (whose, layer, side, account.currency)
            };
            if let Some(view) = seen.iter_mut().find(same) {
                view.amount.minor = view.amount.minor.saturating_add(posting.amount);
                continue;
            }
        }
        seen.push(PostingView {
            whose,
            class: (whose != Whose::Other || sees_all(actor)).then_some(account.class),
            layer,
            side,
            amount: Money::new(posting.amount, account.currency),
            balance: (whose == Whose::Own || sees_all(actor)).then_some(posting.balance),
        });
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use koban_domain::accounts::AccountKey;
    use koban_domain::ids::{KeyId, MerchantId, OperatorId, UserId};
    use koban_domain::money::Currency;

    fn posting(account: AccountKey, side: PostingSide, amount: i64, balance: i64) -> Posting {
        Posting { account, id: account.id(), layer: Layer::Posted, side, amount, balance, previous: 0 }
    }

    #[test]
    fn a_merchant_learns_neither_the_kinds_nor_the_balances_of_a_payer() {
        let (user, merchant) = (UserId(Uuid::from_u128(1)), MerchantId(Uuid::from_u128(2)));
        let payable = AccountKey::payable(merchant, Currency::JPY);
        let postings = [
            posting(payable, PostingSide::Debit, 300, 700),
            posting(AccountKey::user(Class::Receivable, user, Currency::JPY), PostingSide::Credit, 100, 0),
            posting(AccountKey::user(Class::Funds, user, Currency::JPY), PostingSide::Credit, 200, 5_200),
        ];
        let by_merchant = seen(Actor::Merchant(merchant, KeyId::default()), &postings);
        let short = |view: &PostingView| (view.whose, view.class, view.amount.minor, view.balance);
        assert_eq!(
            by_merchant.iter().map(short).collect::<Vec<_>>(),
            [(Whose::Own, Some(Class::Payable), 300, Some(700)), (Whose::Other, None, 300, None)]
        );
        let by_operator = seen(Actor::Operator(OperatorId::default()), &postings);
        assert_eq!(by_operator.len(), 3);
        assert!(by_operator.iter().all(|view| view.class.is_some() && view.balance.is_some()));
    }
}
