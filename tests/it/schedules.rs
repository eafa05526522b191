//! Payments and transfers at a later time: done once at their time, judged then, cancelled before.

use std::sync::Arc;

use koban_domain::guest::Verdict;
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{Caller as _, Made, PASSWORD, Setup, Shop, TestApp, User, eventually, minor};

const BEGIN: i64 = 1_790_000_000_000;
const HOUR_MS: i64 = 3_600_000;

async fn host() -> (TestApp, Clock) {
    let clock = Clock::standing_at(Timestamp(BEGIN));
    (TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await, clock)
}

fn payment(shop: &Shop, yen: i64, at: i64) -> Value {
    json!({ "merchant": shop.id, "amount": yen, "currency": "JPY", "execute_at_ms": at })
}

/// The same user, signed in again: sessions end by the clock that tests move.
async fn again(app: &TestApp, user: &User) -> User {
    let body = json!({ "email": user.email, "password": PASSWORD });
    let session = crate::harness::Caller::post(&app.anonymous(), "/v1/sessions", body).await.created();
    let mut again = User::signed_in(user.id, session.text("token"), &app.anonymous());
    again.email.clone_from(&user.email);
    again
}

async fn ended(user: &User, schedule: &Made) -> Value {
    let path = format!("/v1/schedules/{}", schedule.id);
    eventually("the schedule ends", async || user.get(&path).await.ok(), |found| found["ended_at"].is_string()).await
}

#[tokio::test]
async fn a_payment_and_a_transfer_are_done_at_their_time_and_not_before() {
    let (app, clock) = host().await;
    let (user, friend, shop) =
        (app.verified_user_holding(10_000).await, app.verified_user_holding(0).await, app.shop().await);
    let paying = user.post("/v1/schedules", payment(&shop, 1_280, BEGIN + HOUR_MS)).await.created();
    let body = json!({ "receiver": friend.id, "amount": 500, "currency": "JPY", "message": "割り勘",
        "execute_at_ms": BEGIN + 2 * HOUR_MS });
    let sending = user.post("/v1/schedules", body).await.created();
    assert_eq!((&paying.body["state"], &sending.body["kind"]), (&json!("waiting"), &json!("transfer")));
    clock.advance_ms(HOUR_MS - 1);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let user = again(&app, &user).await;
    assert_eq!(user.balance().await, 10_000, "its time has not come");
    clock.advance_ms(1);
    let done = ended(&user, &paying).await;
    assert_eq!(done["state"], "done");
    let paid = user.get(format!("/v1/payments/{}", done["outcome"].as_str().expect("an id"))).await.ok();
    assert_eq!((minor(&paid, "amount"), user.balance().await), (1_280, 8_720));
    clock.advance_ms(HOUR_MS);
    let user = again(&app, &user).await;
    let done = ended(&user, &sending).await;
    assert!(done["outcome"].as_str().is_some_and(|id| id.starts_with("trf_")), "{done}");
    assert_eq!(user.balance().await, 8_220);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_was_cancelled_is_never_done_and_what_was_done_is_never_cancelled() {
    let (app, clock) = host().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let kept = user.post("/v1/schedules", payment(&shop, 100, BEGIN + 60_000)).await.created();
    let dropped = user.post("/v1/schedules", payment(&shop, 200, BEGIN + 60_000)).await.created();
    let cancel = format!("/v1/schedules/{}/cancel", dropped.id);
    assert_eq!(user.post(&cancel, json!({})).await.ok()["state"], "cancelled");
    assert_eq!(user.post(&cancel, json!({})).await.ok()["state"], "cancelled", "again: the same answer");
    clock.advance_ms(60_000);
    assert_eq!(ended(&user, &kept).await["state"], "done");
    user.post(format!("/v1/schedules/{}/cancel", kept.id), json!({})).await.problem(409, "conflict");
    assert_eq!(user.balance().await, 9_900);
    let stranger = app.user().await;
    stranger.post(format!("/v1/schedules/{}/cancel", kept.id), json!({})).await.problem(404, "not_found");
    stranger.get(format!("/v1/schedules/{}", kept.id)).await.problem(404, "not_found");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_schedule_is_judged_when_its_time_comes_and_a_refusal_is_told() {
    let (app, clock) = host().await;
    let (user, poor, shop) = (app.user_holding(10_000).await, app.user_holding(50).await, app.shop().await);
    let judged = user.post("/v1/schedules", payment(&shop, 100, BEGIN + 60_000)).await.created();
    let short = poor.post("/v1/schedules", payment(&shop, 100, BEGIN + 30_000)).await.created();
    clock.advance_ms(30_000);
    let refused = ended(&poor, &short).await;
    assert_eq!((&refused["state"], &refused["outcome"]), (&json!("refused"), &json!("insufficient_funds")));
    app.fraud_policy(Verdict::Decline, Verdict::Decline).await;
    clock.advance_ms(30_000);
    let refused = ended(&user, &judged).await;
    assert_eq!((&refused["state"], &refused["outcome"]), (&json!("refused"), &json!("declined_by_fraud")));
    assert_eq!((user.balance().await, shop.balance().await), (10_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_same_key_schedules_once_and_what_cannot_be_is_said_by_field() {
    let (app, clock) = host().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let body = payment(&shop, 100, BEGIN + 60_000);
    let first = user.post("/v1/schedules", body.clone()).key("k1").await.created();
    user.post("/v1/schedules", payment(&shop, 101, BEGIN + 60_000))
        .key("k1")
        .await
        .problem(422, "idempotency_key_reused");
    user.pay(&shop, 100).key("k1").await.problem(422, "idempotency_key_reused");
    user.pay(&shop, 100).key("k2").await.created();
    user.post("/v1/schedules", body.clone()).key("k2").await.problem(422, "idempotency_key_reused");
    clock.advance_ms(60_000);
    assert_eq!(ended(&user, &first).await["state"], "done");
    let later = user.post("/v1/schedules", body).key("k1").await.created();
    assert!(later.replayed && later.id == first.id, "also when its time has passed");
    assert_eq!(user.get("/v1/schedules").await.ok()["items"].as_array().map(Vec::len), Some(1));
    let now = BEGIN + 60_000;
    for (field, body) in [
        ("execute_at_ms", payment(&shop, 100, now)),
        ("execute_at_ms", payment(&shop, 100, now + 366 * 86_400_000 + 1)),
        ("amount", payment(&shop, 1_000_000_000_001, now + 1)),
        ("merchant", json!({ "amount": 1, "currency": "JPY", "execute_at_ms": now + 1 })),
        (
            "merchant",
            json!({ "merchant": shop.id, "receiver": user.id, "amount": 1, "currency": "JPY", "execute_at_ms": now + 1 }),
        ),
        (
            "message",
            json!({ "merchant": shop.id, "message": "x", "amount": 1, "currency": "JPY", "execute_at_ms": now + 1 }),
        ),
    ] {
        let wrong = user.post("/v1/schedules", body).await.problem(400, "invalid_request");
        assert_eq!(wrong.body["field"], field, "{}", wrong.body);
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn two_hosts_and_one_that_dies_before_it_wrote_the_end_do_each_schedule_once() {
    let (app, clock) = host().await;
    let other = TestApp::on(Arc::clone(&app.database), Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let mut schedules = Vec::new();
    for yen in 1..=40 {
        schedules.push(user.post("/v1/schedules", payment(&shop, yen, BEGIN + 60_000 + yen % 3)).await.created());
    }
    clock.advance_ms(61_000);
    let mut outcomes = Vec::new();
    for schedule in &schedules {
        let done = ended(&user, schedule).await;
        assert_eq!(done["state"], "done", "{done}");
        outcomes.push(done["outcome"].clone());
    }
    assert_eq!((user.balance().await, shop.balance().await), (10_000 - 820, 820));
    // As if hosts had died between the commits and writing down what came of them.
    app.database.hand().await.run("update schedules set state = 2, outcome = null, ended_at = null").await;
    clock.advance_ms(120_000);
    for (schedule, outcome) in schedules.iter().zip(&outcomes) {
        assert_eq!(ended(&user, schedule).await["outcome"], *outcome, "the first outcome is found again");
    }
    assert_eq!((user.balance().await, shop.balance().await), (10_000 - 820, 820), "nothing was paid twice");
    app.ledger_is_clean().await;
    other.stop().await;
}
