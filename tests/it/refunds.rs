//! Giving payments back over HTTP.

use crate::harness::{Caller as _, TestApp, minor};

#[tokio::test]
async fn a_payment_is_given_back_in_parts_and_never_more_than_was_paid() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).await.created();
    let refund = shop.refund(&paid, 280).await.created();
    assert_eq!(refund.body["payment"], paid.id);
    assert_eq!((user.balance().await, shop.balance().await), (9_000, 1_000));
    shop.refund(&paid, 1_001).await.problem(422, "refund_exceeds_payment");
    shop.refund(&paid, 1_000).await.created();
    shop.refund(&paid, 1).await.problem(422, "refund_exceeds_payment");
    assert_eq!((user.balance().await, shop.balance().await), (10_000, 0));
    let seen = user.get(format!("/v1/payments/{}", paid.id)).await.ok();
    assert_eq!((minor(&seen, "refunded"), minor(&seen, "refundable")), (1_280, 0));
    let refunds = shop.get(format!("/v1/payments/{}/refunds", paid.id)).await.ok();
    assert_eq!(refunds["items"].as_array().map(Vec::len), Some(2), "{refunds}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_two_full_refunds_at_once_one_is_made() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let paid = user.pay(&shop, 600).await.created();
    let again = shop.with_secret(&shop.secret);
    let (one, other) = tokio::join!(shop.refund(&paid, 600), again.refund(&paid, 600));
    let mut statuses = [one.reply.status, other.reply.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 422]);
    assert_eq!((user.balance().await, shop.balance().await), (1_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_refund_goes_back_to_what_paid_also_after_the_payer_was_verified() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let paid = user.pay(&shop, 600).await.created();
    app.verify(&user).await;
    shop.refund(&paid, 600).await.created();
    let wallet = user.wallet().await;
    assert_eq!(minor(&wallet, "prepaid") + minor(&wallet, "funds"), 1_000, "{wallet}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_key_without_the_scope_gives_nothing_back() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let paid = user.pay(&shop, 600).await.created();
    let body = serde_json::json!({ "name": "reader", "scopes": ["payments:read"] });
    let reader = shop.with_secret(&shop.post("/v1/merchant/keys", body).await.created().text("secret"));
    reader.refund(&paid, 600).await.problem(403, "insufficient_scope");
    assert_eq!(reader.balance().await, 600);
    app.ledger_is_clean().await;
}
