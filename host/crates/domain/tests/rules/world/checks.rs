//! What must hold of the small platform: after every commit, and of all that was ever committed.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::accounts::{Account, AccountKey, Class, Layer, PostingSide};
use koban_domain::charges::ReferenceState;
use koban_domain::ids::{CampaignId, LotId};
use koban_domain::journal::{Head, canonical, chain};
use koban_domain::money::Currency;
use koban_domain::payments::{Part, PaymentState, Source};
use koban_domain::transfers::TransferState;

use super::World;

impl World {
    /// What must hold after every commit, whatever was tried.
    pub(crate) fn check(&self) {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (id, account) in self.shelf.books.accounts.iter() {
            assert_eq!(*id, account.key.id());
            *sums.entry(account.key.currency).or_default() +=
                i128::from(account.debits_posted) - i128::from(account.credits_posted);
            if let Some(floor) = account.key.class.floor() {
                assert!(account.available() >= floor, "{:?} is under its floor", account.key);
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "the books do not sum to zero: {sums:?}");
        self.check_holds();
        self.check_lots();
        self.check_shop();
        self.check_exposed();
        for (_, exposure) in self.shelf.books.exposures.iter() {
            assert!(exposure.used >= 0 && exposure.lost >= 0, "{exposure:?}");
        }
    }

    /// What counts against caps is what is not settled and what flows have set aside; what is in transit is what partners took.
    fn check_exposed(&self) {
        let books = &self.shelf.books;
        for ((plugin, currency), exposure) in books.exposures.iter() {
            let of_it = books.references.iter().filter(|(key, known)| key.plugin == *plugin && !known.released);
            let exposed: i64 = of_it.map(|(_, known)| known.exposed).sum();
            let held = books.held.iter().filter(|(_, held)| held.of.plugin == *plugin);
            assert_eq!(exposure.used, exposed + held.map(|(_, held)| held.held()).sum::<i64>());
            let taken = books.references.iter().filter(|(key, known)| {
                key.plugin == *plugin && known.state == ReferenceState::Captured && !known.released
            });
            let in_transit = books.account(AccountKey::in_transit(*plugin, *currency)).balance();
            assert_eq!(in_transit, taken.map(|(_, known)| known.amount.minor).sum::<i64>());
        }
    }

    /// A wallet's lots are its bonus account, and a campaign has granted its lots and no more than its budget.
    fn check_lots(&self) {
        let books = &self.shelf.books;
        let mut sums: BTreeMap<AccountKey, (i64, i64)> = BTreeMap::new();
        let mut granted: BTreeMap<CampaignId, i64> = BTreeMap::new();
        for (_, lot) in books.lots.iter() {
            assert!((0..=lot.left).contains(&lot.held) && lot.left <= lot.amount.minor, "{lot:?}");
            let sum = sums.entry(AccountKey::user(Class::Bonus, lot.user, lot.amount.currency)).or_default();
            *sum = (sum.0 + lot.left, sum.1 + lot.held);
            *granted.entry(lot.campaign).or_default() += lot.amount.minor;
        }
        for (_, account) in books.accounts.iter().filter(|(_, account)| account.key.class == Class::Bonus) {
            let sum = sums.remove(&account.key).unwrap_or_default();
            assert_eq!((account.balance(), account.debits_pending), sum, "{:?}", account.key);
        }
        assert!(sums.is_empty());
        for (id, campaign) in books.campaigns.iter() {
            assert_eq!(campaign.granted, granted.get(id).copied().unwrap_or(0));
            assert!(campaign.granted <= campaign.budget.minor, "{campaign:?}");
        }
    }

    /// A payment is the sum of its parts and is given back at most once.
    fn check_holds(&self) {
        let books = &self.shelf.books;
        for (_, payment) in books.payments.iter() {
            let sum = |of: fn(&Part) -> i64| payment.parts.iter().map(of).sum::<i64>();
            assert_eq!((payment.captured, payment.refunded), (sum(|part| part.captured), sum(|part| part.refunded)));
            assert!(payment.refundable() >= 0 && payment.captured + payment.held() <= payment.amount.minor);
            let sound = |part: &Part| part.held >= 0 && (0..=part.captured).contains(&part.refunded);
            assert!(payment.parts.iter().all(sound), "{payment:?}");
        }
    }

    /// What payments, flows and transfers in review hold is what is pending, and nothing else is.
    fn check_pending(&self) {
        let books = &self.shelf.books;
        let by_flows: i64 = books.held.iter().map(|(_, held)| held.held()).sum();
        let held = by_flows + books.payments.iter().map(|(_, payment)| payment.held()).sum::<i64>();
        let waiting = books.transfers.iter().filter(|(_, transfer)| transfer.state == TransferState::InReview);
        let sent: i64 = waiting.map(|(_, transfer)| transfer.amount.minor).sum();
        let pending = |of: fn(&Account) -> i64| books.accounts.iter().map(|(_, account)| of(account)).sum::<i64>();
        let mut of_lots: BTreeMap<LotId, i64> = BTreeMap::new();
        let parts = books.payments.iter().flat_map(|(_, payment)| &payment.parts);
        for part in parts.chain(books.held.iter().flat_map(|(_, held)| &held.parts)) {
            if let Source::Bonus(lot) = part.source {
                *of_lots.entry(lot).or_default() += part.held;
            }
        }
        for (id, lot) in books.lots.iter() {
            assert_eq!(lot.held, of_lots.get(id).copied().unwrap_or(0), "{lot:?}");
        }
        assert_eq!(pending(|account| account.debits_pending), held + sent);
        assert_eq!(pending(|account| account.credits_pending), held + sent);
    }

    /// What `ledger verify` looks at: the chain, each entry by itself, and the balances that follow from all entries.
    pub(crate) fn audit(&self) {
        for (_, payment) in self.shelf.books.payments.iter() {
            let open = matches!(payment.state, PaymentState::Authorised | PaymentState::InReview);
            assert_eq!(open, payment.held() > 0, "{payment:?}");
        }
        self.check_pending();
        let mut head = Head::EMPTY;
        let mut totals: BTreeMap<AccountKey, Account> = BTreeMap::new();
        for entry in &self.shelf.entries {
            assert_eq!(entry.sequence, head.sequence + 1);
            assert!(entry.at >= head.at, "time ran backwards");
            assert_eq!(entry.hash, chain(head.hash, &canonical(entry.sequence, entry.at, &entry.draft)));
            head = Head { sequence: entry.sequence, hash: entry.hash, at: entry.at };
            assert!(entry.draft.postings.len() >= 2);
            let mut sums: BTreeMap<(Layer, Currency), i64> = BTreeMap::new();
            for posting in &entry.draft.postings {
                assert!(posting.amount > 0 && posting.id == posting.account.id());
                let total = totals.entry(posting.account).or_insert_with(|| Account::empty(posting.account));
                let sum = match (posting.layer, posting.side) {
                    (Layer::Posted, PostingSide::Debit) => &mut total.debits_posted,
                    (Layer::Posted, PostingSide::Credit) => &mut total.credits_posted,
                    (_, PostingSide::Debit) => &mut total.debits_pending,
                    (_, PostingSide::Credit) => &mut total.credits_pending,
                };
                *sum += if posting.layer == Layer::Released { -posting.amount } else { posting.amount };
                let signed = if posting.side == PostingSide::Debit { posting.amount } else { -posting.amount };
                *sums.entry((posting.layer, posting.account.currency)).or_default() += signed;
            }
            assert!(sums.values().all(|sum| *sum == 0), "{entry:?} does not sum to zero");
            for posting in &entry.draft.postings {
                assert_eq!(posting.balance, totals[&posting.account].balance(), "{entry:?}");
            }
            let moved = entry.draft.postings.iter().filter(|posting| posting.layer == Layer::Posted);
            let moved: BTreeSet<AccountKey> = moved.map(|posting| posting.account).collect();
            for posting in &entry.draft.postings {
                let before = if moved.contains(&posting.account) { totals[&posting.account].last } else { 0 };
                assert_eq!(posting.previous, before, "{entry:?}");
            }
            for key in moved {
                let total = totals.get_mut(&key).expect("it was moved just now");
                (total.moved, total.last) = (total.moved + 1, entry.sequence);
            }
        }
        assert_eq!(head, self.shelf.head);
        for (_, account) in self.shelf.books.accounts.iter() {
            let made = totals.get(&account.key).copied().unwrap_or_else(|| Account::empty(account.key));
            assert_eq!(*account, made);
        }
    }
}
