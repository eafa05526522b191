//! The partner's end-of-day file: stored at once, matched once, and exposure falls.

use koban_domain::accounts::PluginKey;
use koban_domain::guest::Standing;
use koban_store::files::{self, FileRow, FileStatus};

use crate::house::{House, cash, said};

const HEADER: &str = "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at";

fn file(rows: &[(&str, u32, i64, i64)]) -> String {
    let mut text = format!("{HEADER}\n");
    for (seq, (kind, serial, amount, fee)) in rows.iter().enumerate() {
        let reference = format!("7A01/2026-04-01/{serial:06}");
        text +=
            &format!("f1,atm,2026-04-01,{},{kind},{reference},,{amount},{fee},2026-04-01T12:00:00+09:00\n", seq + 1);
    }
    text + &format!("T,{},{}\n", rows.len(), rows.iter().map(|row| row.2).sum::<i64>())
}

async fn ended(house: &House) -> FileRow {
    let newest = async || {
        files::list(&house.app.store, PluginKey::of("charge-atm"), None, 1).await.unwrap().into_iter().next().unwrap()
    };
    house.until_true("the file is dealt with".to_owned(), async || newest().await.status != FileStatus::Waiting).await;
    newest().await
}

/// The length of the journal.
async fn entries(house: &House) -> i64 {
    house.app.store.lane_head().await.unwrap().head.sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_answered_at_once_matched_once_and_releases_exposure() {
    let mut house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    assert_eq!(house.exposure().await, 10_000);

    let content = file(&[("CHARGE", 1, 10_000, 25)]);
    let reply = house.calls_with("settlement", content.as_bytes(), "m1").await.unwrap();
    let answer = said(&house, &reply);
    assert!(answer.starts_with(r#"200 {"file":"fil_"#), "{answer}");
    let row = ended(&house).await;
    assert_eq!((row.status, row.matched, row.differences), (FileStatus::Taken, Some(2), Some(0)));
    assert_eq!(house.exposure().await, 0);

    let commits = entries(&house).await;
    let again = house.calls_with("settlement", content.as_bytes(), "m2").await.unwrap();
    assert_eq!(said(&house, &again), answer);
    house.restart().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(entries(&house).await, commits, "the same file changes nothing");
    assert_eq!(ended(&house).await.matched, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_take_a_file_at_once_match_it_once() {
    let mut house = House::with_atm().await;
    house.stop_jobs().await;
    let rows: Vec<_> = (1..=400).map(|serial| ("CHARGE", serial, 5_000, 25)).collect();
    house.calls_with("settlement", file(&rows).as_bytes(), "m1").await.unwrap();
    // Both look at once and read the file before either has matched it. The books know none of the deposits, and fees need theirs.
    let other = house.another_host().await;
    let other = koban_service::jobs::start(&other);
    house.jobs = Some(koban_service::jobs::start(&house.app));
    let row = ended(&house).await;
    other.stop().await;
    house.stop_jobs().await;
    assert_eq!((row.status, row.matched, row.differences), (FileStatus::Taken, Some(0), Some(800)));
    assert_eq!(ended(&house).await, row);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_never_settled_and_says_why() {
    let house = House::with_atm().await;
    let content = file(&[("CHARGE", 1, 10_000, 0)]).replace("T,1,10000", "T,2,10000");
    let reply = house.calls_with("settlement", content.as_bytes(), "m1").await.unwrap();
    assert_eq!(reply.status, 200, "the file has come, whatever is in it");
    let row = ended(&house).await;
    assert_eq!((row.status, row.matched), (FileStatus::Unreadable, None));
    assert!(row.note.unwrap().contains("the trailer says 2 rows"), "an operator can read why");
}
