//! More work than the host takes on is told to come back, and what was taken on is done.

use koban_domain::ledger::Work;
use koban_service::Error;
use uuid::Uuid;

use crate::harness::{Hand, Kind, TestApp};

/// More than one batch and a full queue.
const UNITS: usize = 3_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_503_and_says_when_to_come_back() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.pay(&shop, 1).await.created();

    // The head row is held by somebody else, so that nothing is committed for a while.
    let mut hand = app.database.hand().await;
    hold_the_head(&app, &mut hand).await;
    let mut works = Vec::new();
    for _ in 0..UNITS {
        let app = app.app.clone();
        works.push(tokio::spawn(async move { app.ledger.commit(Work::new(Uuid::nil(), "system")).await }));
    }
    let full = || async { app.app.ledger.counts().full.load(std::sync::atomic::Ordering::Relaxed) };
    crate::harness::eventually("the queue is full", full, |full| *full > 0).await;
    let refused = user.pay(&shop, 2).key("k1").await.problem(503, "busy");
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert_eq!(refused.body["retryable"], true);
    hand.run("rollback").await;

    let (mut done, mut busy) = (0, 0);
    for work in works {
        match work.await.expect("no panic") {
            Ok(_) => done += 1,
            Err(Error::Busy) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(done >= 2_048 && busy > 0, "{done} done, {busy} told to come back");
    assert_eq!(user.balance().await, 999, "what was refused was not done");
    user.pay(&shop, 2).key("k1").await.created();
    assert_eq!(user.balance().await, 997, "the same key is free");
    app.ledger_is_clean().await;
}

async fn hold_the_head(app: &TestApp, hand: &mut Hand) {
    match app.database.kind {
        Kind::Sqlite => drop(hand.run("begin immediate").await),
        Kind::Postgres => {
            hand.run("begin").await;
            hand.run("select sequence from lane_heads where lane = 0 for update").await;
        }
    }
}
