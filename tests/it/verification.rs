//! Being verified over HTTP: submitted, decided by an operator, taken back; and nothing of it lies open in the database.

use serde_json::{Value, json};

use crate::harness::{Caller, Operator, TestApp, User};

fn particulars() -> Value {
    json!({
        "name": "山田 花子", "birth_date": "1990-04-01", "address": "Canary-Street 17", "purpose": "日々の支払い",
        "occupation": "会社員",
    })
}

async fn verification(user: &User) -> String {
    user.get("/v1/me").await.ok()["verification"].as_str().expect("a word").to_owned()
}

async fn decide(operator: &Operator, user: &User, what: &str) -> crate::harness::Outcome {
    let path = format!("/v1/operator/users/{}/verification/{what}", user.id);
    operator.post(path, json!({ "reason": "the picture is blurred" })).await
}

#[tokio::test]
async fn what_a_user_submits_is_rejected_submitted_anew_verified_and_revoked() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(1_000).await, app.shop().await, app.operator().await);
    assert_eq!(verification(&user).await, "unverified");
    decide(&operator, &user, "reject").await.problem(409, "verification_state");
    let first = user.post("/v1/me/verification", particulars()).key("s1").await.ok();
    assert_eq!(first["verification"], "submitted");
    assert!(user.post("/v1/me/verification", particulars()).key("s1").await.replayed());
    user.post("/v1/me/verification", particulars()).key("s2").await.problem(409, "verification_state");
    decide(&operator, &user, "reject").await.ok();
    assert_eq!(verification(&user).await, "rejected");
    user.post("/v1/me/verification", particulars()).key("s3").await.ok();
    let verify = format!("/v1/operator/users/{}/verification", user.id);
    let verified = Caller::post(&operator, verify, json!({})).await;
    assert_eq!(verified.ok()["converted"], 1_000);
    assert_eq!(verification(&user).await, "verified");
    user.post("/v1/me/verification", particulars()).key("s4").await.problem(409, "already_verified");
    decide(&operator, &user, "revoke").await.ok();
    assert_eq!(verification(&user).await, "revoked");
    let ken = app.verified_user_holding(10).await;
    user.send(&ken, 1).await.problem(403, "verification_revoked");
    ken.send(&user, 1).await.problem(422, "receiver_unavailable");
    user.pay(&shop, 100).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_was_submitted_is_sealed_and_each_look_at_it_is_audited() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let submission = format!("/v1/operator/users/{}/submission", user.id);
    operator.get(&submission).await.problem(404, "not_found");
    user.post("/v1/me/verification", particulars()).await.ok();
    let opened = operator.get(&submission).await.ok();
    assert_eq!((&opened["name"], &opened["address"]), (&json!("山田 花子"), &json!("Canary-Street 17")));
    let log = operator.get(format!("/v1/operator/audit?subject={}&act=verification.read", user.id)).await.ok();
    assert_eq!(log["items"].as_array().map(Vec::len), Some(1), "{log}");
    let mut hand = app.database.hand().await;
    let plain = hex::encode("Canary-Street");
    let sealed = match app.database.kind {
        crate::harness::Kind::Postgres => "encode(sealed, 'hex')",
        crate::harness::Kind::Sqlite => "lower(hex(sealed))",
    };
    assert_eq!(hand.number("select count(*) from submissions").await, 1);
    assert_eq!(hand.number(&format!("select count(*) from submissions where {sealed} like '%{plain}%'")).await, 0);
    assert_eq!(hand.number("select count(*) from audit where detail like '%Canary%'").await, 0);
}

#[tokio::test]
async fn particulars_that_cannot_be_are_named() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for (field, value) in [
        ("name", json!("")),
        ("birth_date", json!("1990-02-30")),
        ("birth_date", json!("2190-01-01")),
        ("birth_date", json!("1800-01-01")),
        ("address", json!("x".repeat(301))),
        ("purpose", json!(7)),
        ("occupation", json!("\u{202e}x")),
        ("kind", json!("funds")),
    ] {
        let mut body = particulars();
        body[field] = value.clone();
        let reply = user.post("/v1/me/verification", body).await.problem(400, "invalid_request");
        assert_eq!(reply.body["field"], field, "{value}: {}", reply.body);
    }
    assert_eq!(verification(&user).await, "unverified");
}
