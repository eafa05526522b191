//! Sending money between users over HTTP.

use crate::harness::{Caller as _, TestApp};

#[tokio::test]
async fn verified_users_send_to_each_other() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(10_000).await, app.verified_user_holding(0).await);
    let sent = hana.send(&ken, 2_500).with("message", "for lunch").await.created();
    assert_eq!((hana.balance().await, ken.balance().await), (7_500, 2_500));
    let path = format!("/v1/transfers/{}", sent.id);
    for user in [&hana, &ken] {
        assert_eq!(user.get(&path).await.ok()["message"], "for lunch");
        let list = user.get("/v1/transfers").await.ok();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    }
    app.user().await.get(&path).await.problem(404, "not_found");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn prepaid_value_is_never_sent() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.user_holding(10_000).await, app.verified_user_holding(0).await);
    hana.send(&ken, 100).await.problem(403, "not_verified");
    ken.send(&hana, 100).await.problem(422, "receiver_not_verified");
    assert_eq!((hana.balance().await, ken.balance().await), (10_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn nobody_sends_to_themselves_or_more_than_they_have() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(1_000).await, app.verified_user_holding(0).await);
    hana.send(&hana, 100).await.problem(422, "same_party");
    hana.send(&ken, 1_001).await.problem(422, "insufficient_funds");
    assert_eq!(hana.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_user_sends_at_most_the_days_limit() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(300_000).await, app.verified_user_holding(0).await);
    hana.send(&ken, 60_000).await.created();
    hana.send(&ken, 40_001).await.problem(422, "day_limit");
    hana.send(&ken, 40_000).await.created();
    hana.send(&ken, 1).await.problem(422, "day_limit");
    assert_eq!((hana.balance().await, ken.balance().await), (200_000, 100_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_storm_of_transfers_in_a_ring_keeps_the_sum() {
    let app = TestApp::start().await;
    let mut users = Vec::new();
    for _ in 0..5 {
        users.push(app.verified_user_holding(1_000).await);
    }
    let mut storm = Vec::new();
    for round in 0..12 {
        for (place, user) in users.iter().enumerate() {
            let receiver = users[(place + 1) % users.len()].id;
            let body = serde_json::json!({ "receiver": receiver, "amount": 10 + round, "currency": "JPY" });
            let user = user.again();
            storm.push(tokio::spawn(async move { user.post("/v1/transfers", body).await.created() }));
        }
    }
    for sent in storm {
        sent.await.expect("sent");
    }
    for user in &users {
        assert_eq!(user.balance().await, 1_000, "everybody sent and received the same");
    }
    app.ledger_is_clean().await;
}
