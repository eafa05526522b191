//! The first answer to a key sticks, whoever asks again and however often.

use std::sync::Arc;

use serde_json::json;

use crate::harness::{Caller as _, Database, HostProcess, Setup, TestApp, User};

#[tokio::test]
async fn the_same_key_pays_once() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let first = user.pay(&shop, 1_280).key("k1").await.created();
    let again = user.pay(&shop, 1_280).key("k1").await.created();
    assert_eq!(first.body, again.body);
    assert!(!first.replayed && again.replayed);
    user.pay(&shop, 1_281).key("k1").await.problem(422, "idempotency_key_reused");
    assert_eq!(user.balance().await, 8_720);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_same_body_in_another_order_is_the_same_request() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let headers = [("idempotency-key", "k1")];
    let bodies = [
        format!(r#"{{"merchant":"{}","amount":100,"currency":"JPY"}}"#, shop.id),
        format!(r#"{{ "currency": "JPY", "amount": 100, "merchant": "{}" }}"#, shop.id),
    ];
    let mut ids = Vec::new();
    for body in bodies {
        let reply = user.client().send(hyper::Method::POST, "/v1/payments", &headers, Some(body.into_bytes())).await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.body);
        ids.push(reply.body["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(user.balance().await, 9_900);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_refusal_sticks_to_its_key_and_a_new_key_is_decided_anew() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(100).await, app.shop().await);
    let refused = user.pay(&shop, 500).key("k1").await;
    assert!(!refused.replayed());
    refused.problem(422, "insufficient_funds");
    app.bring(user.id, 1_000).await;
    let again = user.pay(&shop, 500).key("k1").await;
    assert!(again.replayed());
    again.problem(422, "insufficient_funds");
    user.pay(&shop, 500).key("k2").await.created();
    assert_eq!(user.balance().await, 600);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn fifty_requests_under_one_key_at_once_pay_once() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let body = json!({ "merchant": shop.id, "amount": 100, "currency": "JPY" });
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let (user, body) = (user.again(), body.clone());
            tokio::spawn(async move { user.post("/v1/payments", body).key("the-one").await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    let mut first = 0;
    for asked in asked {
        let outcome = asked.await.expect("no panic");
        match outcome.reply.status {
            201 => {
                first += u32::from(!outcome.replayed());
                ids.insert(outcome.created().id);
            }
            409 => {
                let reply = outcome.problem(409, "idempotency_key_running");
                assert!(reply.header("retry-after").is_some(), "says when to come back");
            }
            other => panic!("{other}: {}", outcome.reply.body),
        }
    }
    assert_eq!((ids.len(), first), (1, 1));
    assert_eq!(user.balance().await, 9_900);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_actor() {
    let app = TestApp::start().await;
    let (hana, ken, shop) = (app.user_holding(1_000).await, app.user_holding(1_000).await, app.shop().await);
    let one = hana.pay(&shop, 100).key("k1").await.created();
    let other = ken.pay(&shop, 100).key("k1").await.created();
    assert_ne!(one.id, other.id);
    assert!(!other.replayed);
    assert_eq!(shop.balance().await, 200);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn refunds_transfers_and_charges_keep_to_their_keys_too() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (hana, ken, shop) =
        (app.verified_user_holding(1_000).await, app.verified_user_holding(0).await, app.shop().await);
    let paid = hana.pay(&shop, 300).await.created();
    for _ in 0..2 {
        shop.refund(&paid, 100).key("r1").await.created();
        hana.send(&ken, 50).key("t1").await.created();
    }
    shop.refund(&paid, 101).key("r1").await.problem(422, "idempotency_key_reused");
    let charge = json!({ "channel": "charge-atm", "currency": "JPY" });
    let first = hana.post("/v1/charges", charge.clone()).key("c1").await.created();
    let again = hana.post("/v1/charges", charge).key("c1").await.created();
    assert_eq!((&first.id, again.replayed), (&again.id, true));
    assert_eq!((hana.balance().await, ken.balance().await, shop.balance().await), (750, 50, 200));
    drop(atm);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_key_is_known_again_after_a_restart_and_on_another_host() {
    let database = Arc::new(Database::fresh().await);
    let app = TestApp::on(Arc::clone(&database), Setup::default()).await;
    app.fraud_policy(koban_domain::guest::Verdict::Decline, koban_domain::guest::Verdict::Allow).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let first = user.pay(&shop, 100).key("k1").await.created();
    app.stop().await;
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(user.id, user.token.clone(), &host.client());
    let again = user.pay(&shop, 100).key("k1").await.created();
    assert_eq!((again.body, again.replayed), (first.body, true));
    assert_eq!(user.balance().await, 900);
    assert!(host.stop().await.success());
    database.is_sound().await;
}
