//! A store in memory that is as forgetful as the real one: a commit sees the rows that its work touches, and no others.

use std::sync::Arc;

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::books::{Books, Table};
use koban_domain::charges::ReferenceKey;
use koban_domain::journal::{Entry, Head};
use koban_domain::ledger::{Commit, Decided, News, Work};
use koban_domain::payments::Source;
use koban_domain::policy::Policy;
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;

/// Everything that was committed.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) head: Head,
    pub(crate) books: Books,
    pub(crate) entries: Vec<Entry>,
    pub(crate) news: Vec<News>,
}

impl Shelf {
    pub(crate) fn new(policy: Policy) -> Shelf {
        let books = Books { policy: Arc::new(policy), ..Books::default() };
        Shelf { head: Head::EMPTY, books, entries: Vec::new(), news: Vec::new() }
    }

    /// One commit: loads what the batch touches, decides it in order and keeps what changed.
    pub(crate) fn commit(&mut self, batch: &[Work], now: Timestamp) -> (Vec<Decided>, Commit) {
        let now = now.max(self.head.at);
        let mut commit = Commit::new(self.head, self.load(&Touched::by(batch, now)), now);
        let decided = batch.iter().map(|work| commit.decide(work)).collect();
        self.keep(&commit);
        (decided, commit)
    }

    fn load(&self, touched: &Touched) -> Books {
        let (all, mut some) = (&self.books, Books { policy: self.books.policy.clone(), ..Books::default() });
        copy(&all.accounts, &mut some.accounts, &touched.accounts);
        copy(&all.users, &mut some.users, &touched.users);
        copy(&all.adjustments, &mut some.adjustments, &touched.adjustments);
        copy(&all.campaigns, &mut some.campaigns, &touched.campaigns);
        copy(&all.merchants, &mut some.merchants, &touched.merchants);
        copy(&all.payments, &mut some.payments, &touched.payments);
        copy(&all.transfers, &mut some.transfers, &touched.transfers);
        copy(&all.reviews, &mut some.reviews, &touched.reviews);
        copy(&all.arrangements, &mut some.arrangements, &touched.arrangements);
        copy(&all.disputes, &mut some.disputes, &touched.disputes);
        copy(&all.closings, &mut some.closings, &touched.closings);
        copy(&all.payout_references, &mut some.payout_references, &touched.payout_references);
        copy(&all.step_ups, &mut some.step_ups, &touched.step_ups);
        copy(&all.merchant_references, &mut some.merchant_references, &touched.merchant_references);
        copy(&all.references, &mut some.references, &touched.references);
        // The store loads the credit that a reversal names together with the reversal.
        let named = touched.references.iter().filter_map(|key| {
            let of = all.references.get(key)?.of.as_deref()?;
            Some(ReferenceKey::credit(key.plugin, of))
        });
        copy(&all.references, &mut some.references, &named.collect::<Vec<_>>());
        copy(&all.held, &mut some.held, &touched.held);
        copy(&all.bills, &mut some.bills, &touched.bills);
        copy(&all.links, &mut some.links, &touched.links);
        let of_linkers = all.links.iter().filter(|(key, link)| touched.linkers.contains(&(key.plugin, link.user)));
        let of_linkers: Vec<_> = of_linkers.map(|(key, _)| key.clone()).collect();
        copy(&all.links, &mut some.links, &of_linkers);
        copy(&all.exposures, &mut some.exposures, &touched.exposures);
        copy(&all.counters, &mut some.counters, &touched.counters);
        copy(&all.differences, &mut some.differences, &touched.differences);
        copy(&all.files, &mut some.files, &touched.files);
        copy(&all.expectations, &mut some.expectations, &touched.expectations);
        copy(&all.signals, &mut some.signals, &touched.signals);
        copy(&all.flows, &mut some.flows, &touched.flows);
        copy(&all.operations, &mut some.operations, &touched.operations);
        copy(&all.gifts, &mut some.gifts, &touched.gifts);
        copy(&all.subscriptions, &mut some.subscriptions, &touched.subscriptions);
        self.load_lots(touched, &mut some);
        // What users have had of campaigns is worked out from all lots, as the store does.
        for (campaign, user) in &touched.shares {
            let lots = self.books.lots.iter().filter(|(_, lot)| (lot.campaign, lot.user) == (*campaign, *user));
            let share: i64 = lots.map(|(_, lot)| lot.amount.minor).sum();
            if share > 0 {
                some.shares.load((*campaign, *user), share);
            }
        }
        some
    }

    /// The lots that are named, those that payments and holds at hand were taken from, and what is left in wallets at hand.
    fn load_lots(&self, touched: &Touched, some: &mut Books) {
        let parts = some.payments.iter().flat_map(|(_, payment)| &payment.parts);
        let parts = parts.chain(some.held.iter().flat_map(|(_, held)| &held.parts));
        let mut named: Vec<_> = parts
            .filter_map(|part| match part.source {
                Source::Bonus(lot) => Some(lot),
                Source::Prepaid | Source::Funds => None,
            })
            .collect();
        named.extend(&touched.lots);
        for (id, lot) in self.books.lots.iter() {
            let purse = (lot.user, lot.amount.currency);
            let bonus = some.account(AccountKey::user(Class::Bonus, purse.0, purse.1)).balance();
            if named.contains(id) || touched.purses.contains(&purse) && lot.left > 0 && bonus > 0 {
                some.load_lot(*lot);
            }
        }
    }

    fn keep(&mut self, commit: &Commit) {
        let (from, to) = (&commit.books, &mut self.books);
        absorb(&from.accounts, &mut to.accounts);
        absorb(&from.users, &mut to.users);
        absorb(&from.merchants, &mut to.merchants);
        absorb(&from.adjustments, &mut to.adjustments);
        absorb(&from.campaigns, &mut to.campaigns);
        absorb(&from.lots, &mut to.lots);
        absorb(&from.gifts, &mut to.gifts);
        absorb(&from.subscriptions, &mut to.subscriptions);
        absorb(&from.payments, &mut to.payments);
        absorb(&from.arrangements, &mut to.arrangements);
        absorb(&from.disputes, &mut to.disputes);
        absorb(&from.closings, &mut to.closings);
        absorb(&from.payout_references, &mut to.payout_references);
        absorb(&from.step_ups, &mut to.step_ups);
        absorb(&from.merchant_references, &mut to.merchant_references);
        absorb(&from.captures, &mut to.captures);
        absorb(&from.refunds, &mut to.refunds);
        absorb(&from.reviews, &mut to.reviews);
        absorb(&from.transfers, &mut to.transfers);
        absorb(&from.exchanges, &mut to.exchanges);
        absorb(&from.references, &mut to.references);
        absorb(&from.held, &mut to.held);
        absorb(&from.bills, &mut to.bills);
        absorb(&from.links, &mut to.links);
        absorb(&from.exposures, &mut to.exposures);
        absorb(&from.counters, &mut to.counters);
        absorb(&from.differences, &mut to.differences);
        absorb(&from.files, &mut to.files);
        absorb(&from.expectations, &mut to.expectations);
        absorb(&from.signals, &mut to.signals);
        absorb(&from.flows, &mut to.flows);
        absorb(&from.operations, &mut to.operations);
        self.head = commit.head;
        self.entries.extend(commit.entries.iter().cloned());
        self.news.extend(commit.news.iter().cloned());
    }
}

fn copy<'a, K, V>(from: &Table<K, V>, to: &mut Table<K, V>, keys: impl IntoIterator<Item = &'a K>)
where
    K: std::hash::Hash + Eq + Clone + 'a,
    V: Clone,
{
    for key in keys {
        if let Some(row) = from.get(key) {
            to.load(key.clone(), row.clone());
        }
    }
}

/// A row that the commit takes for new must be new, as the database's insert would find.
fn absorb<K, V>(from: &Table<K, V>, to: &mut Table<K, V>)
where
    K: std::hash::Hash + Eq + Clone + std::fmt::Debug,
    V: Clone,
{
    for row in from.changed() {
        assert_eq!(row.stored, to.contains(row.key), "{:?} was not loaded", row.key);
        to.load(row.key.clone(), row.value.clone());
    }
}
