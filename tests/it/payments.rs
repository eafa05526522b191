//! Paying merchants over HTTP.

use serde_json::json;

use crate::harness::{Caller as _, TestApp, minor};

#[tokio::test]
async fn a_payment_moves_the_amount_from_the_wallet_to_the_merchant() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).with("reference", "order-1").await.created();
    assert_eq!(minor(&paid.body, "amount"), 1_280);
    assert_eq!(paid.body["currency"], "JPY");
    assert_eq!(paid.body["reference"], "order-1");
    assert_eq!((user.balance().await, shop.balance().await), (8_720, 1_280));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_wallet_that_holds_less_pays_nothing() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.pay(&shop, 1_001).await.problem(422, "insufficient_funds");
    assert_eq!((user.balance().await, shop.balance().await), (1_000, 0));
    user.pay(&shop, 1_000).await.created();
    assert_eq!((user.balance().await, shop.balance().await), (0, 1_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_many_payments_at_once_only_those_are_made_that_the_balance_covers() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let mut asked = Vec::new();
    for _ in 0..20 {
        let (user, body) = (user.again(), json!({ "merchant": shop.id, "amount": 300, "currency": "JPY" }));
        asked.push(tokio::spawn(async move { user.post("/v1/payments", body).await.reply.status }));
    }
    let mut made = 0;
    for asked in asked {
        match asked.await.expect("no panic") {
            201 => made += 1,
            422 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(made, 3);
    assert_eq!((user.balance().await, shop.balance().await), (100, 900));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_unverified_wallet_pays_at_most_its_limit_at_a_time() {
    let app = TestApp::start().await;
    let (user, shop) = (app.verified_user_holding(500_000).await, app.shop().await);
    let other = app.user_holding(100_000).await;
    other.pay(&shop, 100_001).await.problem(422, "amount_limit");
    other.pay(&shop, 100_000).await.created();
    user.pay(&shop, 100_001).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn nobody_pays_a_merchant_that_is_not_there() {
    let app = TestApp::start().await;
    let user = app.user_holding(1_000).await;
    let body = json!({ "merchant": "mer_00000000000070008000000000000000", "amount": 1, "currency": "JPY" });
    let reply = user.post("/v1/payments", body).await.reply;
    assert_eq!(reply.status, 404, "{}", reply.body);
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_takes_yen_only() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let body = json!({ "merchant": shop.id, "amount": 100, "currency": "USD" });
    user.post("/v1/payments", body).await.problem(422, "currency_not_accepted");
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_uses_a_reference_once_and_finds_its_payment_by_it() {
    let app = TestApp::start().await;
    let (user, shop, other) = (app.user_holding(1_000).await, app.shop().await, app.shop().await);
    let paid = user.pay(&shop, 100).with("reference", "order-7").await.created();
    user.pay(&shop, 100).with("reference", "order-7").await.problem(409, "merchant_reference_used");
    user.pay(&other, 100).with("reference", "order-7").await.created();
    let found = shop.get("/v1/payments?reference=order-7").await.ok();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["items"][0]["id"], paid.id);
    let missing = shop.get("/v1/payments?reference=order-8").await.ok();
    assert_eq!(missing["items"].as_array().map(Vec::len), Some(0), "{missing}");
    assert_eq!(user.balance().await, 800);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_payment_is_seen_by_its_payer_and_its_merchant_alone() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let (stranger, strange_shop) = (app.user().await, app.shop().await);
    let paid = user.pay(&shop, 100).await.created();
    let path = format!("/v1/payments/{}", paid.id);
    assert_eq!(user.get(&path).await.ok()["id"], paid.id);
    assert_eq!(shop.get(&path).await.ok()["id"], paid.id);
    let hidden = stranger.get(&path).await.problem(404, "not_found");
    let missing = stranger.get("/v1/payments/pay_00000000000070008000000000000000").await.problem(404, "not_found");
    assert_eq!(hidden.body["detail"], missing.body["detail"], "what is somebody else's looks like what is not there");
    strange_shop.get(&path).await.problem(404, "not_found");
    strange_shop.refund(&paid, 100).await.problem(404, "not_found");
    assert_eq!(shop.balance().await, 100);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn pages_of_payments_neither_skip_nor_repeat() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let mut made = Vec::new();
    for yen in 1..=7 {
        made.push(user.pay(&shop, yen).await.created().id);
    }
    made.reverse();
    for caller in [&user as &dyn PagedCaller, &shop] {
        let mut seen = Vec::new();
        let mut path = "/v1/payments?limit=3".to_owned();
        loop {
            let page = caller.page(&path).await;
            let items = page["items"].as_array().expect("a list");
            assert!(items.len() <= 3);
            seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/payments?limit=3&after={next}");
            assert!(seen.len() < 20, "the pages do not end");
        }
        assert_eq!(seen, made, "newest first");
    }
    app.ledger_is_clean().await;
}

/// Callers that read pages, whoever they are.
trait PagedCaller {
    fn page<'a>(&'a self, path: &'a str) -> std::pin::Pin<Box<dyn Future<Output = serde_json::Value> + 'a>>;
}

impl<T: crate::harness::Caller> PagedCaller for T {
    fn page<'a>(&'a self, path: &'a str) -> std::pin::Pin<Box<dyn Future<Output = serde_json::Value> + 'a>> {
        Box::pin(async move { self.get(path).await.ok() })
    }
}
