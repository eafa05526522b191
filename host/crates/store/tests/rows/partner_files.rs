//! Files with partners: a record is in one file, numbers have no gaps, bytes are fixed once, what comes in is taken once.

use koban_domain::calendars::Holidays;
use koban_domain::ids::{PartnerFileId, ReceivedFileId};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_store::partner_files::{self as files, FileKey, Opened, PartnerFileState, Put, ReceivedRow};
use koban_store::{Store, calendars, flows};

use crate::harness::*;

const LEASE_MS: i64 = 30 * SECOND;
const PATTERN: &str = "out-{date}-{time}-{number}.txt";

/// The cut-off so many hours after noon.
fn key(hours: i64) -> FileKey {
    FileKey { plugin: PLUGIN.to_owned(), file: "out".to_owned(), cut_off: NOON.plus_ms(hours * 3_600 * SECOND) }
}

fn id(number: u128) -> PartnerFileId {
    PartnerFileId(uuid(number))
}

/// Puts a record under a lease that is taken for it.
async fn put(store: &Store, number: u128, key: &FileKey, bounds: (i64, i64)) -> Put {
    let lease = flows::lease_due(store, "a", NOON.plus_ms(60 * SECOND), LEASE_MS, 1).await.unwrap().remove(0).lease();
    let opened = Opened { id: id(number), key, directory: "bank", called: PATTERN };
    files::put(store, &lease, &opened, ("c", b"record"), bounds, NOON).await.unwrap()
}

#[tokio::test]
async fn a_record_is_in_one_file_and_its_flow_is_told_once() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["record"]).await;
        let old = flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().remove(0).lease();
        let new = flows::lease_due(store, "b", NOON.plus_ms(LEASE_MS), LEASE_MS, 1).await.unwrap().remove(0).lease();
        let key = key(3);
        let opened = Opened { id: id(1), key: &key, directory: "bank", called: PATTERN };
        let bounds = (10, 1_000);
        let lost = files::put(store, &old, &opened, ("c", b"record"), bounds, NOON).await.unwrap();
        assert_eq!(lost, Put::LeaseLost);
        assert_eq!(files::by_id(store, id(1)).await.unwrap(), None, "who lost the lease opens no file");
        assert_eq!(files::put(store, &new, &opened, ("c", b"record"), bounds, NOON).await.unwrap(), Put::Done);
        let again = Opened { id: id(2), ..opened };
        assert_eq!(files::put(store, &new, &again, ("c", b"record"), bounds, NOON).await.unwrap(), Put::LeaseLost);
        let file = files::by_id(store, id(1)).await.unwrap().unwrap();
        assert_eq!((file.state, file.records, file.number), (PartnerFileState::Open, 1, None));
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 1);
        let [record] = files::records(store, id(1)).await.unwrap().try_into().unwrap();
        assert_eq!((record.flow, record.key.as_str(), record.record.as_slice()), (flow.id, "record", &b"record"[..]));
    })
    .await;
}

#[tokio::test]
async fn numbers_are_given_when_files_are_sealed_without_gaps_and_nothing_comes_in_afterwards() {
    on_each(async |store| {
        open_with_effects(store, 10, &["a", "b", "c", "d"]).await;
        for (number, hours) in [(1, 3), (2, 27)] {
            assert_eq!(put(store, number, &key(hours), (10, 1_000)).await, Put::Done);
        }
        assert!(files::due(store, NOON, 10).await.unwrap().is_empty());
        // The later one first, by an operator; the earlier one at its time.
        assert!(files::seal(store, id(2), Some(&audit(900, "partner-file.seal")), NOON).await.unwrap());
        assert!(!files::seal(store, id(2), Some(&audit(901, "partner-file.seal")), NOON).await.unwrap());
        assert!(files::seal(store, id(1), None, NOON).await.unwrap());
        assert!(!files::seal(store, id(3), None, NOON).await.unwrap(), "there is none");
        let numbered = files::list(store, Some(PLUGIN), None, 10).await.unwrap();
        let shown: Vec<_> = numbered.iter().map(|file| (file.number, file.name.as_str())).collect();
        assert_eq!(
            shown,
            [(Some(1), "out-20180926-1500-000001.txt"), (Some(2), "out-20180925-1500-000002.txt")],
            "newest first, by id"
        );
        assert_eq!(files::due(store, NOON, 10).await.unwrap().len(), 2, "what is sealed is due before its cut-off");
        assert_eq!(put(store, 4, &key(3), (10, 1_000)).await, Put::Sealed);
        assert!(files::list(store, Some("another"), None, 10).await.unwrap().is_empty());
        assert_eq!(files::list(store, None, Some(id(2)), 10).await.unwrap().len(), 1, "the page behind the first");
    })
    .await;
}

#[tokio::test]
async fn a_file_holds_so_many_records_and_bytes() {
    on_each(async |store| {
        open_with_effects(store, 10, &["a", "b", "c"]).await;
        assert_eq!(put(store, 1, &key(3), (1, 1_000)).await, Put::Done);
        assert_eq!(put(store, 2, &key(3), (1, 1_000)).await, Put::Full);
        assert_eq!(put(store, 3, &key(3), (10, 45)).await, Put::Full, "46 bytes: two records of 23");
        assert_eq!(files::by_id(store, id(1)).await.unwrap().unwrap().records, 1);
    })
    .await;
}

#[tokio::test]
async fn bytes_are_fixed_once_and_flows_are_told_once() {
    on_each(async |store| {
        open_with_effects(store, 10, &["a"]).await;
        put(store, 1, &key(3), (10, 1_000)).await;
        assert!(!files::compose(store, id(1), b"too early", NOON).await.unwrap());
        files::seal(store, id(1), None, NOON).await.unwrap();
        assert!(files::untold(store, PLUGIN).await.unwrap().contains("c"));
        assert!(files::refuse(store, id(1), "its plugin fails", NOON).await.unwrap());
        assert!(files::due(store, NOON.plus_ms(86_400 * SECOND), 10).await.unwrap().is_empty(), "an operator is asked");
        assert_eq!(files::late(store, NOON.plus_ms(86_400 * SECOND), 10).await.unwrap().len(), 1);
        assert!(files::retry(store, id(1), &audit(900, "partner-file.retry"), NOON).await.unwrap());
        assert!(!files::retry(store, id(1), &audit(901, "partner-file.retry"), NOON).await.unwrap());
        assert!(files::compose(store, id(1), b"first", NOON).await.unwrap());
        assert!(!files::compose(store, id(1), b"second", NOON).await.unwrap());
        assert!(!files::refuse(store, id(1), "too late", NOON).await.unwrap());
        assert_eq!(files::content(store, id(1)).await.unwrap().as_deref(), Some(&b"first"[..]));
        files::note(store, id(1), Some("the disk is full")).await.unwrap();
        let file = files::by_id(store, id(1)).await.unwrap().unwrap();
        assert_eq!((file.digest, file.note.as_deref()), (Some(Digest::of(b"first")), Some("the disk is full")));
        let records = files::records(store, id(1)).await.unwrap();
        assert!(files::written(store, &file, &records, NOON).await.unwrap());
        assert!(!files::written(store, &file, &records, NOON).await.unwrap());
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 2, "queued and sealed");
        assert!(files::untold(store, PLUGIN).await.unwrap().is_empty());
        assert_eq!(files::written_since(store, NOON, 10).await.unwrap().len(), 1);
        assert!(files::late(store, Timestamp(i64::MAX), 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_is_taken_once_and_what_was_unreadable_may_be_read_later() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["a"]).await;
        let row = |number: u128, taken, content: &[u8]| ReceivedRow {
            id: ReceivedFileId(uuid(number)),
            plugin: PLUGIN.to_owned(),
            file: "results".to_owned(),
            digest: Digest::of(content),
            name: "results-1.csv".to_owned(),
            taken,
            records: 1,
            note: (!taken).then(|| "no end".to_owned()),
            at: NOON,
        };
        let arrivals = [arrival(flow.id, "a")];
        assert!(files::take(store, &row(1, false, b"half"), &[]).await.unwrap());
        assert!(files::take(store, &row(2, true, b"half"), &arrivals).await.unwrap());
        assert!(!files::take(store, &row(3, true, b"half"), &arrivals).await.unwrap());
        assert!(!files::take(store, &row(4, false, b"half"), &[]).await.unwrap(), "what was taken stays so");
        assert!(files::take(store, &row(5, true, b"whole"), &[]).await.unwrap());
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 1);
        let known = files::received(store, PLUGIN, "results", Digest::of(b"half")).await.unwrap().unwrap();
        assert_eq!((known.taken, known.note), (true, None));
        assert_eq!(files::list_received(store, Some(PLUGIN), None, 10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_added_to_a_calendar_last_comes_first() {
    on_each(async |store| {
        let span = |from: i32| Holidays { from, until: from + 9, days: [from + 1, from + 3].into() };
        for from in [20_000, 20_010, 20_005] {
            calendars::add(
                store,
                "mine",
                &span(from),
                &audit(900 + u128::from(from.unsigned_abs()), "calendar.add"),
                NOON,
            )
            .await
            .unwrap();
        }
        assert_eq!(calendars::holidays(store, "mine").await.unwrap(), [span(20_005), span(20_010), span(20_000)]);
        assert!(calendars::holidays(store, "yours").await.unwrap().is_empty());
    })
    .await;
}
