//! Records in their chain, and their contents beside it: erased one by one or by the page, and the chain stays whole.

use std::collections::BTreeSet;

use koban_domain::guest::Context;
use koban_domain::ids::RecordId;
use koban_domain::ledger::{Audit, SealedRecord, Work};
use koban_domain::records::{Digest, Ending, Fault, FaultClass, Input, Part, Record, RecordError, link};
use koban_domain::time::Timestamp;
use koban_store::records::{self, Retention};
use koban_store::{Store, StoreErrorKind};

use crate::harness::*;

const DAY_MS: i64 = 86_400_000;

fn record(number: u128) -> Record {
    let call = RecordId(uuid(number)).to_string();
    Record {
        id: RecordId(uuid(number)),
        at: NOON,
        plugin: "plugin".into(),
        part: Part::Live,
        about: None,
        component: Digest::of(b"component"),
        contract: "koban:plugin@0.1.0".into(),
        engine: "native".into(),
        settings: Digest::default(),
        grants: Digest::default(),
        context: Context { call, scope: "platform".into(), now: 0, seed: 0, locale: "ja".into() },
        input: Input::ParseSettlement(format!("a secret of {number}").into_bytes()),
        log: vec![],
        ending: Ending::Fault(Fault { class: FaultClass::Trap, detail: "unreachable".into() }),
        fuel: 10,
        salt: [u8::try_from(number % 251).unwrap(); 16],
    }
}

async fn keep(store: &Store, number: u128, at: Timestamp, numbers: &[u128]) {
    let records = numbers.iter().map(|number| SealedRecord::from(&record(*number))).collect();
    commit(store, &[Work { records, ..work(number, vec![]) }], at).await;
}

fn note(number: u128) -> Audit {
    audit(number, "decision.erase")
}

async fn whole(store: &Store, number: u128) -> Result<Record, RecordError> {
    records::find(store, RecordId(uuid(number))).await.unwrap().unwrap().kept.record()
}

/// The end of the chain as its pages make it, which the lane's head must say.
async fn chain_end(store: &Store) -> Digest {
    let mut journal = store.journal().await.unwrap();
    let mut hash = Digest::default();
    for page in journal.record_pages_after(0, 100).await.unwrap() {
        hash = page.hash_after(hash).unwrap();
        assert_eq!(hash, page.hash);
        page.kept().unwrap();
    }
    assert_eq!(store.lane_head().await.unwrap().record_hash, hash);
    hash
}

#[tokio::test]
async fn each_record_is_linked_to_the_one_before_it_across_pages() {
    on_each(async |store| {
        keep(store, 1, NOON, &[10, 11]).await;
        keep(store, 2, NOON, &[12]).await;
        let mut before = Digest::default();
        for number in [10, 11, 12] {
            let found = records::find(store, RecordId(uuid(number))).await.unwrap().unwrap();
            assert_eq!(found.previous, before, "{number}");
            assert_eq!(found.link, link(before, record(number).keep().digest()), "{number}");
            before = found.link;
        }
        assert_eq!(chain_end(store).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_content_that_was_erased_is_gone_and_the_chain_is_whole() {
    on_each(async |store| {
        keep(store, 1, NOON, &[10, 11, 12]).await;
        let before = chain_end(store).await;
        let wanted = BTreeSet::from([RecordId(uuid(11)), RecordId(uuid(99))]);
        let erased = records::erase(store, 1, &wanted, |_| note(1), NOON).await.unwrap();
        assert_eq!(erased, [RecordId(uuid(11))]);
        assert_eq!(whole(store, 11).await, Err(RecordError::Erased));
        assert_eq!(whole(store, 10).await, Ok(record(10)));
        assert_eq!(whole(store, 12).await, Ok(record(12)));
        assert_eq!(chain_end(store).await, before);
        let again = records::erase(store, 1, &wanted, |_| unreachable!("nothing is left to note"), NOON).await;
        assert_eq!(again.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn contents_older_than_the_policy_go_page_by_page_and_each_sweep_is_bounded() {
    on_each(async |store| {
        for page in 0..5_u128 {
            keep(store, page + 1, NOON.plus_ms(i64::try_from(page).unwrap() * DAY_MS), &[10 + page]).await;
        }
        let before = chain_end(store).await;
        let cut = NOON.plus_ms(3 * DAY_MS);
        assert_eq!(records::oldest_unswept(store).await.unwrap(), Some(NOON));
        let mut swept = Vec::new();
        while let Some(pages) =
            records::sweep(store, cut, 2, |_, _| note(50 + swept.len() as u128), NOON).await.unwrap()
        {
            swept.push(pages);
        }
        assert_eq!(swept, [(1, 2), (3, 3)]);
        assert_eq!(records::retention(store).await.unwrap(), Retention { keep_days: None, swept_to: 3 });
        assert_eq!(records::oldest_unswept(store).await.unwrap(), Some(cut));
        assert_eq!(whole(store, 12).await, Err(RecordError::Erased));
        assert_eq!(whole(store, 13).await, Ok(record(13)));
        assert_eq!(chain_end(store).await, before);
        records::set_retention(store, Some(730), &note(60), NOON).await.unwrap();
        assert_eq!(records::retention(store).await.unwrap(), Retention { keep_days: Some(730), swept_to: 3 });
    })
    .await;
}

#[tokio::test]
async fn a_content_that_is_not_its_records_is_never_passed_off_as_its_own() {
    on_each(async |store| {
        keep(store, 1, NOON, &[10]).await;
        keep(store, 2, NOON, &[11]).await;
        store
            .meddle("update record_pages set contents = (select contents from record_pages where sequence = 2) where sequence = 1")
            .await;
        let error = records::find(store, RecordId(uuid(10))).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Damaged);
        assert_eq!(whole(store, 11).await, Ok(record(11)));
    })
    .await;
}

#[tokio::test]
async fn the_first_page_of_a_time_is_found_without_reading_all() {
    on_each(async |store| {
        assert_eq!(records::first_page_at(store, NOON).await.unwrap(), 1, "there is none");
        for page in 0..9_u128 {
            keep(store, page + 1, NOON.plus_ms(i64::try_from(page).unwrap() * 10), &[10 + page]).await;
        }
        for (ms, first) in [(-5, 1), (0, 1), (1, 2), (10, 2), (75, 9), (80, 9), (81, 10)] {
            assert_eq!(records::first_page_at(store, NOON.plus_ms(ms)).await.unwrap(), first, "{ms}");
        }
        let some = records::pages(store, 3, 6, 2).await.unwrap();
        assert_eq!(some.iter().map(|page| page.sequence).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(some[0].open().unwrap()[0].record(), Ok(record(12)));
    })
    .await;
}
