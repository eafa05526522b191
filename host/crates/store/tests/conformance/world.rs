//! A small world that both stores and the model in memory begin with, and the way in which each commits.

use std::collections::BTreeSet;
use std::sync::Arc;

use koban_domain::accounts::PluginKey;
use koban_domain::books::{Books, Merchant, Table, User};
use koban_domain::charges::Exposure;
use koban_domain::ids::{AuditId, MerchantId, UserId};
use koban_domain::journal::{Entry, Head};
use koban_domain::ledger::{Audit, Commit, Decided, Work};
use koban_domain::limits::{self, Limits, WalletKind};
use koban_domain::money::Currency;
use koban_domain::policy::Policy;
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;
use koban_store::merchants::{self, MerchantRow};
use koban_store::plugins::{self, Allowance};
use koban_store::users::{self, UserRow};
use koban_store::{LedgerWriter, Store, StoreError};
use uuid::Uuid;

pub(crate) const USERS: u128 = 6;
pub(crate) const MERCHANTS: u128 = 2;
pub(crate) const START: Timestamp = Timestamp(1_537_851_600_000);
pub(crate) const PLUGIN: &str = "charge-atm";

pub(crate) fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(0x0a00 + number))
}

pub(crate) fn merchant(number: u128) -> MerchantId {
    MerchantId(Uuid::from_u128(0x0b00 + number))
}

pub(crate) fn plugin() -> PluginKey {
    PluginKey::of(PLUGIN)
}

/// The first three users begin verified.
fn kind(number: u128) -> WalletKind {
    if number < 3 { WalletKind::Funds } else { WalletKind::Prepaid }
}

pub(crate) fn audit(number: u128, act: &str) -> Audit {
    let subject = format!("subject \"{number}\" \\ 円\n");
    let id = AuditId(Uuid::from_u128(0x0c00_0000 + number));
    Audit { id, actor: "operator:test".into(), act: act.into(), subject, detail: "{}".into() }
}

/// Writes the world's users, merchants, limits and allowances.
pub(crate) async fn furnish(store: &Store) {
    for number in 0..USERS {
        let row = UserRow {
            id: user(number),
            kind: kind(number),
            access: koban_domain::access::Access::Open,
            verification: koban_domain::verification::Verification::of(kind(number)),
            created_at: START,
            display_name: format!("User {number}"),
            email: None,
            password_hash: None,
            locale: "ja".into(),
        };
        users::create(store, &row).await.unwrap();
    }
    for number in 0..MERCHANTS {
        let row = MerchantRow {
            id: merchant(number),
            access: koban_domain::access::Access::Open,
            name: format!("Shop {number}"),
            category: "5812".into(),
            currencies: vec![Currency::JPY],
            created_at: START,
        };
        merchants::create(store, &row, &audit(number, "merchant.create")).await.unwrap();
    }
    koban_store::limits::put(store, &limits::published(), &audit(100, "limits.put"), START).await.unwrap();
    let allowance = Allowance { currency: Currency::JPY, cap: 2_000_000, loss_budget: 200_000 };
    plugins::set_allowances(store, plugin(), &[allowance], &audit(101, "plugin.allow"), START).await.unwrap();
}

/// One commit on a store: lock, load, decide, write, commit.
pub(crate) async fn commit(
    writer: &mut LedgerWriter,
    batch: &[Work],
    now: Timestamp,
) -> Result<(Vec<Decided>, Head), StoreError> {
    let mut tx = writer.begin().await?;
    let policy = Arc::new(tx.policy().await?);
    let now = now.max(tx.head().at);
    let books = tx.load(&Touched::by(batch, now), policy).await?;
    let mut commit = Commit::new(tx.head(), books, now);
    let decided = batch.iter().map(|work| commit.decide(work)).collect();
    tx.write(&commit).await?;
    let head = commit.head;
    tx.commit().await?;
    Ok((decided, head))
}

/// The books in memory, with every row at hand and nothing ever loaded.
pub(crate) struct Memory {
    pub(crate) head: Head,
    pub(crate) books: Books,
    pub(crate) entries: Vec<Entry>,
}

impl Memory {
    pub(crate) fn furnished(policy: &Policy) -> Memory {
        let mut books = Books { policy: Arc::new(policy.clone()), ..Books::default() };
        for number in 0..USERS {
            let user = User {
                id: user(number),
                kind: kind(number),
                access: koban_domain::access::Access::Open,
                verification: koban_domain::verification::Verification::of(kind(number)),
                created_at: START,
            };
            books.users.load(user.id, user);
        }
        for number in 0..MERCHANTS {
            let merchant = Merchant {
                id: merchant(number),
                currencies: vec![Currency::JPY],
                access: koban_domain::access::Access::Open,
            };
            books.merchants.load(merchant.id, merchant);
        }
        let exposure = Exposure { cap: 2_000_000, used: 0, loss_budget: 200_000, lost: 0 };
        books.exposures.load((plugin(), Currency::JPY), exposure);
        Memory { head: Head::EMPTY, books, entries: Vec::new() }
    }

    pub(crate) fn commit(&mut self, batch: &[Work], now: Timestamp) -> Vec<Decided> {
        let mut commit = Commit::new(self.head, std::mem::take(&mut self.books), now);
        let decided = batch.iter().map(|work| commit.decide(work)).collect();
        self.head = commit.head;
        self.entries.extend(commit.entries.iter().cloned());
        self.books = commit.books;
        decided
    }
}

/// The published limits in the order in which a store reads them.
pub(crate) fn published() -> Limits {
    let mut limits = limits::published();
    limits.sort_by_key(|limit| (limit.wallet, limit.action, limit.window));
    Limits(limits)
}

/// Captures are not loaded by commits; they are listed for their payments.
pub(crate) async fn same_captures(store: &Store, all: &Books, name: &str) {
    let mut expected: Vec<_> = all.captures.iter().map(|(_, capture)| capture.clone()).collect();
    expected.sort_by_key(|capture| (capture.payment, capture.id));
    assert!(!expected.is_empty(), "no captures in the history");
    let payments: BTreeSet<_> = expected.iter().map(|capture| capture.payment).collect();
    let mut stored = Vec::new();
    for payment in payments {
        stored.extend(koban_store::captures::of_payment(store, payment, None, 1_000).await.unwrap());
    }
    assert_eq!(stored, expected, "{name}");
}

/// Every row that these books have, as the store has it.
pub(crate) async fn load_all(writer: &mut LedgerWriter, all: &Books) -> Books {
    let touched = Touched {
        accounts: keys(&all.accounts),
        users: keys(&all.users),
        merchants: keys(&all.merchants),
        payments: keys(&all.payments),
        transfers: keys(&all.transfers),
        reviews: keys(&all.reviews),
        arrangements: keys(&all.arrangements),
        disputes: keys(&all.disputes),
        closings: keys(&all.closings),
        payout_references: keys(&all.payout_references),
        step_ups: keys(&all.step_ups),
        merchant_references: keys(&all.merchant_references),
        references: keys(&all.references),
        held: keys(&all.held),
        bills: keys(&all.bills),
        links: keys(&all.links),
        linkers: BTreeSet::new(),
        exposures: keys(&all.exposures),
        counters: keys(&all.counters),
        differences: keys(&all.differences),
        files: keys(&all.files),
        expectations: keys(&all.expectations),
        signals: keys(&all.signals),
        adjustments: keys(&all.adjustments),
        campaigns: keys(&all.campaigns),
        shares: keys(&all.shares),
        gifts: keys(&all.gifts),
        subscriptions: keys(&all.subscriptions),
        purses: keys(&all.purses),
        lots: keys(&all.lots),
        flows: keys(&all.flows),
        operations: keys(&all.operations),
        warrants: BTreeSet::new(),
    };
    let mut tx = writer.begin().await.unwrap();
    let policy = Arc::new(tx.policy().await.unwrap());
    tx.load(&touched, policy).await.unwrap()
}

fn keys<K: Ord + Clone + std::hash::Hash + Eq, V: Clone>(table: &Table<K, V>) -> BTreeSet<K> {
    table.iter().map(|(key, _)| key.clone()).collect()
}
