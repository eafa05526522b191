//! What a store says of itself: settings that durability rests on, migrations, addresses, and the yardstick beside it.

use koban_domain::policy::FailurePolicy;
use koban_store::{Store, StoreErrorKind};
use uuid::Uuid;

use super::databases::databases;
use super::furnished;
use super::world::{self, START};

#[tokio::test]
async fn the_settings_that_durability_rests_on_are_read_back() {
    for database in databases().await {
        let settings = database.store.settings_read_back().await.unwrap();
        let is = |name: &str, value: &str| settings.iter().any(|row| row.0 == name && row.1 == value);
        match database.name {
            "sqlite" => assert!(is("journal_mode", "wal") && is("synchronous", "2"), "{settings:?}"),
            _ => {
                assert!(is("fsync", "on") && is("synchronous_commit", "on"), "{settings:?}");
                assert!(is("idle_in_transaction_session_timeout", "4000ms"), "{settings:?}");
                assert!(is("statement_timeout", "5000ms") && is("plan_cache_mode", "force_generic_plan"));
            }
        }
        assert!(database.store.syncs().await.unwrap() >= 0);
        database.store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn migrating_again_changes_nothing_and_the_policy_reads_back() {
    for database in furnished().await {
        database.store.migrate().await.unwrap();
        let read = database.store.policy().await.unwrap();
        assert_eq!(read.limits, world::published(), "{}", database.name);
        assert_eq!((read.generation, read.fraud), (2, FailurePolicy::default()));
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_explained() {
    for url in ["", "koban.db", "mysql://x/y", "sqlite::memory:", "sqlite:"] {
        let error = Store::open(&koban_store::Config::new(url)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Fatal, "{url}");
        assert!(error.to_string().contains("sqlite:"), "{error}");
    }
}

#[tokio::test]
async fn the_yardstick_moves_money_once_and_adds_up() {
    use koban_store::bench::{BaselineOutcome, BaselineTransfer, baseline_sql};
    for database in databases().await {
        let mut baseline = database.store.baseline(4).await.unwrap();
        baseline.prepare(10).await.unwrap();
        let transfer = |number: u8, amount: i64| BaselineTransfer {
            debit: usize::from(number % 10),
            credit: usize::from(number % 10 + 1) % 10,
            amount,
            entry: Uuid::from_u128(u128::from(number)),
            key: [number; 16],
            at: START,
        };
        for number in 0..20 {
            let outcome = baseline.transfer(transfer(number, 5)).await.unwrap();
            assert_eq!(outcome, BaselineOutcome::Posted, "{}", database.name);
        }
        assert_eq!(baseline.transfer(transfer(3, 5)).await.unwrap(), BaselineOutcome::Repeated);
        assert_eq!(baseline.transfer(transfer(30, i64::MAX)).await.unwrap(), BaselineOutcome::InsufficientFunds);
        assert!(baseline.transfer(BaselineTransfer { debit: 10, ..transfer(31, 5) }).await.is_err());
        let audit = baseline.audit().await.unwrap();
        assert_eq!((audit.entries, audit.postings, audit.drift), (20, 0, 0), "{}", database.name);
        let prepared = baseline_sql(database.store.dialect()).len() - 2;
        assert!(prepared <= 6, "{prepared} prepared statements");
    }
}
