//! Records, the audit log and the outbox.

use koban_domain::guest::Context;
use koban_domain::ids::RecordId;
use koban_domain::ledger::{SealedRecord, Work};
use koban_domain::records::{Digest, Ending, Fault, FaultClass, Input, Part, Record};
use koban_store::audit::AuditFilter;
use koban_store::{Store, StoreErrorKind, audit as audit_log, outbox, records};

use crate::harness::*;

fn record(number: u128, plugin: &str) -> Record {
    Record {
        id: RecordId(uuid(number)),
        at: NOON,
        plugin: plugin.into(),
        part: Part::Live,
        about: None,
        component: Digest::of(b"component"),
        contract: "koban:plugin@0.1.0".into(),
        engine: "native".into(),
        settings: Digest::default(),
        grants: Digest::default(),
        context: Context {
            call: RecordId(uuid(number)).to_string(),
            scope: "platform".into(),
            now: 0,
            seed: 0,
            locale: "ja".into(),
        },
        input: Input::Describe,
        log: vec![],
        ending: Ending::Fault(Fault { class: FaultClass::Trap, detail: "unreachable".into() }),
        fuel: 10,
        salt: [u8::try_from(number % 251).unwrap(); 16],
    }
}

/// The record with this number, as it is read.
async fn found(store: &Store, number: u128) -> Option<Record> {
    records::find(store, RecordId(uuid(number))).await.unwrap().map(|found| found.kept.record().unwrap())
}

/// One commit with these records.
async fn keep(store: &Store, number: u128, kept: &[Record]) {
    let records = kept.iter().map(SealedRecord::from).collect();
    commit(store, &[Work { records, ..work(number, vec![]) }], NOON).await;
}

#[tokio::test]
async fn a_record_is_found_by_its_id_alone_also_where_pages_overlap() {
    on_each(async |store| {
        // Two hosts write by turns: the spans of their pages lie across each other.
        keep(store, 1, &[record(10, "a"), record(30, "a")]).await;
        keep(store, 2, &[record(20, "b"), record(40, "b")]).await;
        keep(store, 3, &[record(25, "c")]).await;
        for (number, plugin) in [(10, "a"), (20, "b"), (25, "c"), (30, "a"), (40, "b")] {
            assert_eq!(found(store, number).await, Some(record(number, plugin)));
        }
        for number in [5, 15, 26, 41] {
            assert_eq!(found(store, number).await, None, "{number}");
        }
        assert_eq!(records::page_of(store, RecordId(uuid(25))).await.unwrap(), Some(3));
        assert_eq!(records::newest(store).await.unwrap(), Some(RecordId(uuid(40))));
    })
    .await;
}

#[tokio::test]
async fn the_record_of_a_long_call_is_found_however_many_pages_ended_meanwhile() {
    // An id of so many milliseconds after noon.
    let id = |ms: i64, low: u128| (u128::from(u64::try_from(NOON.0 + ms).unwrap()) << 80) + low;
    on_each(async |store| {
        // Each page's calls were quick; then one ends that began before all of them, and one that took five hours.
        for page in 0..150_i64 {
            keep(store, u128::try_from(page).unwrap() + 1, &[record(id(100 + page * 10, 1), "quick")]).await;
        }
        keep(store, 200, &[record(id(50, 2), "slow"), record(id(1_700, 2), "quick")]).await;
        keep(store, 201, &[record(id(-5 * 3_600_000, 3), "slowest"), record(id(1_800, 3), "quick")]).await;
        for (number, plugin) in
            [(id(50, 2), "slow"), (id(-5 * 3_600_000, 3), "slowest"), (id(100, 1), "quick"), (id(1_800, 3), "quick")]
        {
            assert_eq!(found(store, number).await, Some(record(number, plugin)));
        }
        assert_eq!(found(store, id(50, 1)).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_record_is_named_and_not_passed_off_as_missing() {
    on_each(async |store| {
        keep(store, 1, &[record(10, "a")]).await;
        store.meddle("update record_pages set page = hash").await;
        let error = records::find(store, RecordId(uuid(10))).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Damaged);
        assert!(records::list(store, None, None, 10).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn records_are_listed_newest_first_without_skip_or_repeat() {
    on_each(async |store| {
        let mut expected = Vec::new();
        for page in 0..9_u128 {
            let kept: Vec<Record> =
                (1..=3).map(|place| record(page * 10 + place, if place == 2 { "b" } else { "a" })).collect();
            keep(store, page + 1, &kept).await;
            expected.extend(kept.iter().map(|record| (record.id, record.plugin.clone())));
        }
        expected.reverse();
        for plugin in [None, Some("a"), Some("b"), Some("nobody")] {
            for limit in [1, 2, 4, 100] {
                let mut seen = Vec::new();
                let mut before = None;
                loop {
                    let part = records::list(store, plugin, before, limit).await.unwrap();
                    seen.extend(part.records.into_iter().map(|(_, kept)| (kept.head.id, kept.head.plugin)));
                    before = part.next;
                    if before.is_none() {
                        break;
                    }
                }
                let of_plugin = expected.iter().filter(|(_, name)| plugin.is_none_or(|plugin| plugin == name));
                assert_eq!(seen, of_plugin.cloned().collect::<Vec<_>>(), "{plugin:?} {limit}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_searched_by_actor_act_and_subject() {
    on_each(async |store| {
        for (number, actor, act, subject) in [
            (1, "operator:a", "user.verify", "usr_1"),
            (2, "operator:b", "user.verify", "usr_2"),
            (3, "operator:a", "plugin.install", "charge-atm"),
            (4, "operator:a", "user.verify", "usr_2"),
        ] {
            let mut row = audit(number, act);
            (row.actor, row.subject) = (actor.into(), subject.into());
            audit_log::append(store, &row, NOON).await.unwrap();
        }
        let found = async |actor, act, subject, before| -> Vec<i64> {
            let filter = AuditFilter { actor, act, subject, ..AuditFilter::default() };
            audit_log::list(store, filter, before, 10).await.unwrap().iter().map(|row| row.sequence).collect()
        };
        assert_eq!(found(None, None, None, None).await, [4, 3, 2, 1]);
        assert_eq!(found(None, None, None, Some(3)).await, [2, 1]);
        assert_eq!(found(Some("operator:a"), None, None, None).await, [4, 3, 1]);
        assert_eq!(found(Some("operator:a"), Some("user.verify"), None, None).await, [4, 1]);
        assert_eq!(found(None, Some("user.verify"), None, None).await, [4, 2, 1]);
        assert_eq!(found(None, None, Some("usr_2"), None).await, [4, 2]);
        assert_eq!(found(Some("operator:b"), None, Some("usr_2"), None).await, [2]);
        assert_eq!(found(Some("operator:b"), Some("user.verify"), Some("usr_2"), None).await, [2]);
        assert_eq!(found(Some("operator:c"), None, None, None).await, [] as [i64; 0]);
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_searched_by_time_also_where_clocks_differed() {
    on_each(async |store| {
        // A host whose clock is behind writes the third row.
        for (number, minute) in [(1, 0), (2, 10), (3, 5), (4, 20), (5, 20)] {
            let row = audit(number, "user.verify");
            audit_log::append(store, &row, NOON.plus_ms(minute * 60_000)).await.unwrap();
        }
        let at = |minute: i64| Some(NOON.plus_ms(minute * 60_000));
        let found = async |from, to, act, before, limit| -> Vec<i64> {
            let filter = AuditFilter { from, to, act, ..AuditFilter::default() };
            audit_log::list(store, filter, before, limit).await.unwrap().iter().map(|row| row.sequence).collect()
        };
        assert_eq!(found(at(5), None, None, None, 10).await, [5, 4, 2, 3]);
        assert_eq!(found(at(5), at(20), None, None, 10).await, [2, 3], "the end is not in it");
        assert_eq!(found(None, at(6), None, None, 10).await, [3, 1]);
        // Pages follow each other without a gap and without a row twice.
        assert_eq!(found(at(0), None, None, None, 2).await, [5, 4]);
        assert_eq!(found(at(0), None, None, Some(4), 2).await, [2, 3]);
        assert_eq!(found(at(0), None, None, Some(3), 2).await, [1]);
        assert_eq!(found(at(5), at(20), Some("user.verify"), None, 10).await, [3, 2]);
        assert_eq!(found(at(5), at(20), Some("user.revoke"), None, 10).await, [] as [i64; 0]);
    })
    .await;
}

#[tokio::test]
async fn audit_rows_are_one_chain_whoever_writes_them() {
    on_each(async |store| {
        plugin(store).await;
        merchant(store, 1).await;
        audit_log::append(store, &audit(2, "user.search"), NOON).await.unwrap();
        let work = Work { audit: vec![audit(3, "user.verify"), audit(4, "user.verify")], ..work(1, vec![]) };
        commit(store, &[work], NOON).await;
        let rows = audit_log::after(store, 0, 100).await.unwrap();
        assert_eq!(rows.len(), 5);
        let mut before = Digest::default();
        for row in &rows {
            assert!(row.follows(before), "{}", row.sequence);
            before = row.hash;
        }
        let mut changed = rows[2].clone();
        changed.audit.actor = "operator:else".into();
        assert!(!changed.follows(rows[1].hash));
        assert!(!rows[2].follows(rows[0].hash));

        store.meddle("update audit set detail = '{\"forged\":true}' where sequence = 4").await;
        let rows = audit_log::after(store, 2, 2).await.unwrap();
        assert!(rows[0].follows(hash_before(store, 3).await) && !rows[1].follows(rows[0].hash));
    })
    .await;
}

/// The hash that the row with this sequence was written behind.
async fn hash_before(store: &Store, sequence: i64) -> Digest {
    let rows = audit_log::after(store, sequence - 2, 1).await.unwrap();
    rows[0].hash
}

#[tokio::test]
async fn many_acts_at_once_keep_the_chain_whole() {
    on_each(async |store| {
        let acts = (1..=20).map(|number| {
            let store = store.store.clone();
            tokio::spawn(async move { audit_log::append(&store, &audit(number, "act"), NOON).await })
        });
        for act in acts.collect::<Vec<_>>() {
            act.await.unwrap().unwrap();
        }
        let rows = audit_log::after(store, 0, 100).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), (1..=20).collect::<Vec<i64>>());
        let mut before = Digest::default();
        for row in rows {
            assert!(row.follows(before));
            before = row.hash;
        }
    })
    .await;
}

#[tokio::test]
async fn news_is_read_in_the_order_of_commits_and_trimmed_only_when_old_and_read() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, payer, 5_000)], NOON).await;
        commit(store, &[pay(100, payer, shop, 100), pay(101, payer, shop, 200)], NOON.plus_ms(1)).await;
        commit(store, &[pay(102, payer, shop, 300)], NOON.plus_ms(2)).await;
        let pages = outbox::after(store, 0, 10).await.unwrap();
        let kinds: Vec<Vec<&str>> =
            pages.iter().map(|page| page.news.iter().map(|news| news.kind.as_str()).collect()).collect();
        assert_eq!(
            kinds,
            [vec!["charge.credited"], vec!["payment.captured", "payment.captured"], vec!["payment.captured"]]
        );
        assert_eq!(outbox::after(store, pages[1].sequence, 10).await.unwrap(), pages[2..]);
        // Read up to the second, but only the first is old.
        assert_eq!(outbox::trim(store, pages[1].sequence, NOON.plus_ms(1), 10).await.unwrap(), 1);
        assert_eq!(outbox::after(store, 0, 10).await.unwrap(), pages[1..]);
        // All are old, but only two were read.
        assert_eq!(outbox::trim(store, pages[1].sequence, NOON.plus_ms(9), 10).await.unwrap(), 1);
        assert_eq!(outbox::after(store, 0, 10).await.unwrap(), pages[2..]);
    })
    .await;
}
