//! End-of-day files: exposure falls row by row, the same file changes nothing, and differences stay until an operator closes them.

use koban_domain::accounts::PluginKey;
use koban_domain::guest::Side;
use koban_service::differences::{self, DifferenceView, WriteOffInput};
use koban_service::page::Page;
use koban_store::files::{self, FileRow, FileStatus};
use serde_json::json;

use crate::harness::{ATM_SECRET, COMPANY_NUMBER, TestApp, eventually, say, sign};

const HEADER: &str = "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at\n";

async fn open_differences(app: &TestApp) -> Vec<DifferenceView> {
    let page = Page { after: None, limit: 100 };
    differences::list(&app.app, "charge-atm", &page).await.expect("the differences").items
}

async fn newest_file(app: &TestApp) -> Option<FileRow> {
    files::list(&app.app.store, PluginKey::of("charge-atm"), None, 1).await.expect("the files").into_iter().next()
}

/// Posts a file with these rows: kind, reference, amount.
async fn post_file(app: &TestApp, rows: &[(&str, &str, i64)]) -> FileRow {
    let mut file = HEADER.to_owned();
    for (place, (kind, reference, amount)) in rows.iter().enumerate() {
        let seq = place + 1;
        file.push_str(&format!("F1,ATM,2026-04-24,{seq},{kind},{reference},,{amount},0,2026-04-24T10:00:00+09:00\n"));
    }
    let sum: i64 = rows.iter().map(|(_, _, amount)| amount).sum();
    file.push_str(&format!("T,{},{sum}\n", rows.len()));
    post(app, file.into_bytes()).await
}

async fn post(app: &TestApp, file: Vec<u8>) -> FileRow {
    let reply = say(&app.anonymous(), "settlement", &sign(ATM_SECRET, &file, 0), file).await;
    assert_eq!((reply.status, &reply.body["result"]), (200, &json!("ok")), "{}", reply.body);
    let id = reply.body["file"].as_str().expect("a file id").parse().expect("a file id");
    let read = || async { files::by_id(&app.app.store, id).await.expect("the file").expect("the file") };
    eventually("the file is taken", read, |file| file.status != FileStatus::Waiting).await
}

#[tokio::test]
async fn what_the_partner_settles_no_longer_counts_against_the_cap() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (hana, ken) = (app.user().await, app.user().await);
    atm.charge(&hana, 10_000).await;
    atm.charge(&ken, 5_000).await;
    assert_eq!(app.exposure("charge-atm").await.used.minor, 15_000);
    let closed = atm.end_of_day().await;
    let used = || async { app.exposure("charge-atm").await.used.minor };
    eventually("the exposure falls", used, |used| *used == 0).await;
    assert!(open_differences(&app).await.is_empty());
    let entries = app.entries().await;

    let day = closed["business_date"].as_str().expect("a day");
    let again = atm.end_of_day_again(day).await;
    assert_eq!(again["file"], closed["file"], "the identical bytes");
    assert_eq!(again["answers"][0]["body"]["file"], closed["answers"][0]["body"]["file"], "the same answer");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(app.entries().await, entries, "the same file changes nothing");
    assert_eq!((hana.balance().await, ken.balance().await), (10_000, 5_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_cancelled_charge_is_released_when_both_its_rows_came() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, _, report) = atm.charge(&user, 10_000).await;
    let reference = report["reference"].as_str().expect("a reference");
    atm.reverse(reference).await;
    assert_eq!(app.exposure("charge-atm").await.used.minor, 10_000, "gross, until it is settled");
    post_file(&app, &[("CHARGE", reference, 10_000)]).await;
    assert_eq!(app.exposure("charge-atm").await.used.minor, 10_000, "one row is not both");
    post_file(&app, &[("CHARGE_CANCEL", reference, 10_000)]).await;
    assert_eq!(app.exposure("charge-atm").await.used.minor, 0);
    assert!(open_differences(&app).await.is_empty());
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_networks_own_file_of_a_cancelled_pair_nets_to_nothing() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    atm.switch(json!({ "ours": "reverse" })).await;
    atm.charge(&user, 10_000).await;
    atm.end_of_day().await;
    let used = || async { app.exposure("charge-atm").await.used.minor };
    eventually("the exposure falls", used, |used| *used == 0).await;
    assert!(open_differences(&app).await.is_empty());
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_deposit_that_was_dead_before_it_came_closes_itself_when_it_is_listed_twice() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, _) = atm.approved(&user).await;
    session.type_number(COMPANY_NUMBER).await;
    let reference = session.count(10_000).await;
    atm.reverse(&reference).await;
    post_file(&app, &[("CHARGE", &reference, 10_000), ("CHARGE_CANCEL", &reference, 10_000)]).await;
    assert!(open_differences(&app).await.is_empty(), "{:?}", open_differences(&app).await);
    assert_eq!(app.exposure("charge-atm").await.used.minor, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_the_two_books_do_not_agree_on_stays_open_until_an_operator_closes_it() {
    let app = TestApp::start().await;
    let atm = app.atm_with(&[], (1_000_000, 7_000)).await;
    let user = app.user().await;
    let (_, _, report) = atm.charge(&user, 10_000).await;
    let reference = report["reference"].as_str().expect("a reference");
    let file = post_file(&app, &[("CHARGE", reference, 9_000), ("CHARGE", "ATM9/2026-04-24/000001", 2_000)]).await;
    assert_eq!((file.status, file.matched, file.differences), (FileStatus::Taken, Some(0), Some(2)));
    let open = open_differences(&app).await;
    let mut told: Vec<(i64, i64)> = open.iter().map(|view| (view.difference.ours, view.difference.theirs)).collect();
    told.sort_unstable();
    assert_eq!(told, [(0, 2_000), (10_000, 9_000)]);
    assert_eq!(app.exposure("charge-atm").await.used.minor, 10_000, "what does not match releases nothing");

    let close = |reference: &str| WriteOffInput {
        plugin: "charge-atm".into(),
        side: Side::Credit,
        reference: reference.into(),
        reason: "agreed with the network by telephone".into(),
    };
    let ctx = app.operator_ctx();
    let closed = differences::write_off(&app.app, &ctx, close(reference)).await.expect("closed");
    let again = differences::write_off(&app.app, &ctx, close(reference)).await.expect("the first answer");
    assert!(!closed.replayed && again.replayed);
    let exposure = app.exposure("charge-atm").await;
    assert_eq!((exposure.used.minor, exposure.lost.minor), (0, 1_000));
    differences::write_off(&app.app, &app.operator_ctx(), close("ATM9/2026-04-24/000001")).await.expect("closed");
    assert!(open_differences(&app).await.is_empty());
    let refused = differences::write_off(&app.app, &app.operator_ctx(), close(reference)).await;
    assert!(refused.is_err(), "there is nothing open any more");
    assert_eq!(user.balance().await, 10_000, "the user keeps what the host credited");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_that_has_used_up_its_loss_budget_brings_no_more_money() {
    let app = TestApp::start().await;
    let atm = app.atm_with(&[], (1_000_000, 10_000)).await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (session, _) = atm.approved(&ken).await;
    session.type_number(COMPANY_NUMBER).await;
    let (_, _, report) = atm.charge(&hana, 10_000).await;
    let write_off = WriteOffInput {
        plugin: "charge-atm".into(),
        side: Side::Credit,
        reference: report["reference"].as_str().expect("a reference").into(),
        reason: "the network never settled it".into(),
    };
    differences::write_off(&app.app, &app.operator_ctx(), write_off).await.expect("written off");
    // The network never paid what its book says, and never will.
    app.books_part();
    let exposure = app.exposure("charge-atm").await;
    assert_eq!((exposure.used.minor, exposure.lost.minor), (0, 10_000));
    let report = session.deposit(1_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    assert_eq!((hana.balance().await, ken.balance().await), (10_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_kept_with_the_reason_and_changes_nothing() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, _, report) = atm.charge(&user, 10_000).await;
    let reference = report["reference"].as_str().expect("a reference");
    let entries = app.entries().await;
    let cut = format!("{HEADER}F1,ATM,2026-04-24,1,CHARGE,{reference},,10000,0,2026-04-24T10:00:00+09:00\n");
    let file = post(&app, cut.into_bytes()).await;
    assert_eq!(file.status, FileStatus::Unreadable);
    assert!(file.note.as_deref().is_some_and(|note| note.contains("trailer")), "{:?}", file.note);
    assert_eq!(newest_file(&app).await.map(|file| file.status), Some(FileStatus::Unreadable));
    assert_eq!((app.entries().await, app.exposure("charge-atm").await.used.minor), (entries, 10_000));
    app.ledger_is_clean().await;
}
