//! Held amounts over HTTP: authorised, captured, increased, voided, and run out.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::jobs;
use serde_json::json;

use crate::harness::{Caller as _, Made, Request, Setup, Shop, TestApp, User, minor};

fn authorise<'a>(user: &'a User, shop: &Shop, yen: i64) -> Request<'a> {
    user.pay(shop, yen).with("capture", false)
}

fn capture<'a>(shop: &'a Shop, payment: &Made, body: serde_json::Value) -> Request<'a> {
    shop.post(format!("/v1/payments/{}/captures", payment.id), body)
}

fn void<'a>(shop: &'a Shop, payment: &Made) -> Request<'a> {
    shop.post(format!("/v1/payments/{}/void", payment.id), json!({}))
}

/// A host whose clock a test moves and whose sweeper comes when it is called.
async fn slow_host() -> (TestApp, Clock) {
    let clock = Clock::standing_at(Timestamp(1_537_851_600_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    (app, clock)
}

#[tokio::test]
async fn an_authorised_amount_is_held_and_captured_in_parts() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let held = authorise(&user, &shop, 4_000).with("reference", "order-1").await.created();
    assert_eq!((held.text("state"), minor(&held.body, "held")), ("authorised".into(), 4_000));
    assert!(held.body["expires_at"].is_string());
    assert_eq!((user.balance().await, minor(&user.wallet().await, "available")), (10_000, 6_000));
    assert_eq!(shop.balance().await, 0);
    user.pay(&shop, 6_001).await.problem(422, "insufficient_funds");
    shop.refund(&held, 1).await.problem(422, "refund_exceeds_payment");

    let first = capture(&shop, &held, json!({ "amount": 1_500 })).await.created();
    assert_eq!((minor(&first.body, "amount"), &first.body["final"]), (1_500, &json!(false)));
    capture(&shop, &held, json!({ "amount": 2_501 })).await.problem(422, "capture_exceeds_hold");
    let last = capture(&shop, &held, json!({ "amount": 1_000, "final": true })).await.created();
    assert_eq!((minor(&last.body, "let_go"), &last.body["final"]), (1_500, &json!(true)));
    capture(&shop, &held, json!({})).await.problem(409, "hold_ended");

    let payment = user.get(format!("/v1/payments/{}", held.id)).await.ok();
    assert_eq!((payment["state"].as_str(), minor(&payment, "captured")), (Some("captured"), 2_500));
    let captures = user.get(format!("/v1/payments/{}/captures", held.id)).await.ok();
    assert_eq!(captures["items"].as_array().map(Vec::len), Some(2), "{captures}");
    assert_eq!(captures["items"][0]["id"], first.id, "oldest first");
    assert_eq!((user.balance().await, shop.balance().await), (7_500, 2_500));
    shop.refund(&held, 2_501).await.problem(422, "refund_exceeds_payment");
    shop.refund(&held, 2_500).await.created();
    let statement = user.get("/v1/wallet/statement").await.ok();
    let kinds: Vec<_> = statement["items"].as_array().unwrap().iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds, ["refund", "capture", "capture", "charge"], "what was only set aside is no line");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_capture_without_an_amount_takes_all_and_the_same_key_takes_it_once() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let held = authorise(&user, &shop, 600).await.created();
    let first = capture(&shop, &held, json!({})).key("c1").await.created();
    let again = capture(&shop, &held, json!({})).key("c1").await.created();
    assert_eq!((&first.id, first.replayed, again.replayed), (&again.id, false, true));
    capture(&shop, &held, json!({ "amount": 1 })).key("c1").await.problem(422, "idempotency_key_reused");
    assert_eq!((user.balance().await, shop.balance().await), (400, 600));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_void_lets_go_and_only_the_merchant_may() {
    let app = TestApp::start().await;
    let (user, shop, other) = (app.user_holding(1_000).await, app.shop().await, app.shop().await);
    let held = authorise(&user, &shop, 600).await.created();
    void(&other, &held).await.problem(404, "not_found");
    capture(&other, &held, json!({})).await.problem(404, "not_found");
    user.post(format!("/v1/payments/{}/void", held.id), json!({})).await.problem(403, "forbidden");
    let body = json!({ "name": "reader", "scopes": ["payments:read", "payments:refund"] });
    let reader = shop.with_secret(&shop.post("/v1/merchant/keys", body).await.created().text("secret"));
    void(&reader, &held).await.problem(403, "insufficient_scope");
    let voided = void(&shop, &held).await.ok();
    assert_eq!((voided["state"].as_str(), minor(&voided, "held")), (Some("voided"), 0));
    void(&shop, &held).await.problem(409, "hold_ended");
    assert_eq!(minor(&user.wallet().await, "available"), 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_payer_has_more_held() {
    let app = TestApp::start().await;
    let (user, stranger, shop) = (app.user_holding(1_000).await, app.user_holding(1_000).await, app.shop().await);
    let held = authorise(&user, &shop, 600).await.created();
    let path = format!("/v1/payments/{}/increments", held.id);
    let more = json!({ "amount": 300, "currency": "JPY" });
    stranger.post(&path, more.clone()).await.problem(404, "not_found");
    let grown = user.post(&path, more.clone()).await.ok();
    assert_eq!((minor(&grown, "amount"), minor(&grown, "held")), (900, 900));
    user.post(&path, more).await.problem(422, "insufficient_funds");
    user.post(&path, json!({ "amount": 1, "currency": "USD" })).await.problem(422, "currency_not_accepted");
    capture(&shop, &held, json!({ "amount": 900 })).await.created();
    assert_eq!((user.balance().await, shop.balance().await), (100, 900));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_hold_runs_out_at_its_time_however_late_the_sweeper_comes() {
    let (app, clock) = slow_host().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let held = authorise(&user, &shop, 600).with("expires_in_s", 600).await.created();
    let short = authorise(&user, &shop, 100).with("expires_in_s", 300).await.created();
    clock.advance_ms(599_999);
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    assert_eq!(shop.get(format!("/v1/payments/{}", short.id)).await.ok()["state"], "expired");
    capture(&shop, &held, json!({ "amount": 100 })).await.created();
    clock.advance_ms(1);
    capture(&shop, &held, json!({ "amount": 100 })).await.problem(409, "hold_expired");
    void(&shop, &held).await.problem(409, "hold_expired");
    assert_eq!(minor(&user.wallet().await, "available"), 400, "the sweeper has not come yet");
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("another one finds nothing");
    let payment = shop.get(format!("/v1/payments/{}", held.id)).await.ok();
    assert_eq!((payment["state"].as_str(), minor(&payment, "captured")), (Some("captured"), 100));
    assert_eq!((user.balance().await, minor(&user.wallet().await, "available")), (900, 900));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_a_capture_a_void_and_the_sweeper_one_wins() {
    let (app, clock) = slow_host().await;
    let (user, shop) = (app.user_holding(20_000).await, app.shop().await);
    let (again, third) = (shop.with_secret(&shop.secret), shop.with_secret(&shop.secret));
    let mut captured = 0;
    for round in 0..20 {
        let held = authorise(&user, &shop, 100).with("expires_in_s", 1).await.created();
        // Every other round the time runs out while the three are on their way.
        let late = async {
            if round % 2 == 1 {
                clock.advance_ms(1_000);
            }
            jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
        };
        let (one, other, back, ()) = tokio::join!(
            capture(&shop, &held, json!({})),
            void(&again, &held),
            capture(&third, &held, json!({ "final": true })),
            late
        );
        let won = [&one, &other, &back].iter().filter(|outcome| outcome.reply.status < 300).count();
        jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
        let payment = shop.get(format!("/v1/payments/{}", held.id)).await.ok();
        let expected = match payment["state"].as_str() {
            Some("captured" | "voided") => 1,
            Some("expired") => 0,
            other => panic!("{other:?}"),
        };
        assert_eq!(won, expected, "{payment} {one:?} {other:?} {back:?}");
        captured += minor(&payment, "captured");
    }
    assert_eq!((shop.balance().await, user.balance().await), (captured, 20_000 - captured));
    assert_eq!(minor(&user.wallet().await, "available"), 20_000 - captured, "nothing is held any more");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn fields_that_do_not_go_together_are_named() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let told = user.pay(&shop, 100).with("expires_in_s", 60).await.problem(400, "invalid_request");
    assert_eq!(told.body["field"], "expires_in_s");
    for seconds in [0, 2_592_001] {
        let told = authorise(&user, &shop, 100).with("expires_in_s", seconds).await.problem(400, "invalid_request");
        assert_eq!(told.body["field"], "expires_in_s");
    }
    let held = authorise(&user, &shop, 100).await.created();
    for amount in [json!(0), json!(-1), json!("1"), json!(1.5), json!(1_000_000_000_001_i64)] {
        let told = capture(&shop, &held, json!({ "amount": amount })).await.problem(400, "invalid_request");
        assert_eq!(told.body["field"], "amount", "{amount}");
    }
    let told = capture(&shop, &held, json!({ "currency": "JPY" })).await.problem(400, "invalid_request");
    assert_eq!(told.body["field"], "currency");
    assert_eq!((minor(&user.wallet().await, "available"), shop.balance().await), (900, 0));
    app.ledger_is_clean().await;
}
