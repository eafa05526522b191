//! Wallets in several currencies: offered by operators, exchanged at rates that users agreed to, sent and told of like yen.

use serde_json::{Value, json};

use crate::harness::{Caller as _, Setup, TestApp, User, minor};
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;

fn buy_dollars(cents: i64) -> Value {
    json!({ "sell": "JPY", "buy": "USD", "amount": cents, "currency": "USD", "rate": "113.8727" })
}

fn sell_dollars(cents: i64) -> Value {
    json!({ "sell": "USD", "buy": "JPY", "amount": cents, "currency": "USD", "rate": "111.6177" })
}

async fn dollars(user: &User) -> i64 {
    minor(&user.get("/v1/wallet?currency=USD").await.ok(), "funds")
}

#[tokio::test]
async fn a_user_buys_dollars_and_sells_them_again_at_the_rates_that_were_shown() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let user = app.verified_user_holding(20_000).await;
    let rates = user.get("/v1/exchange-rates").await.ok();
    assert_eq!((&rates["items"][0]["buying"], &rates["items"][0]["selling"]), (&json!("113.8727"), &json!("111.6177")));
    let bought = user.post("/v1/exchanges", buy_dollars(10_000)).await.created();
    assert_eq!(bought.body["sell"], json!({ "amount": 11_388, "currency": "JPY" }));
    assert_eq!((user.balance().await, dollars(&user).await), (8_612, 10_000));
    let sold = user.post("/v1/exchanges", sell_dollars(10_000)).await.created();
    assert_eq!(sold.body["buy"], json!({ "amount": 11_161, "currency": "JPY" }));
    assert_eq!((user.balance().await, dollars(&user).await), (19_773, 0));
    assert_eq!(user.get(format!("/v1/exchanges/{}", bought.id)).await.ok(), bought.body);
    let listed = user.get("/v1/exchanges").await.ok();
    assert_eq!((&listed["items"][0]["id"], &listed["items"][1]["id"]), (&json!(sold.id), &json!(bought.id)));
    let statement = user.get("/v1/wallet/statement?currency=USD").await.ok();
    assert_eq!(
        (minor(&statement["items"][0], "change"), &statement["items"][0]["subject"]),
        (-10_000, &json!(sold.id))
    );
    let operator = app.operator().await;
    let held = operator.get("/v1/operator/currencies").await.ok();
    assert_eq!((minor(&held["items"][0], "position"), minor(&held["items"][0], "rounding")), (225, 2));
    assert_eq!(minor(&held["items"][1], "position"), 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_same_key_exchanges_once() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let user = app.verified_user_holding(20_000).await;
    let first = user.post("/v1/exchanges", buy_dollars(100)).key("k1").await.created();
    let again = user.post("/v1/exchanges", buy_dollars(100)).key("k1").await.created();
    assert!(again.replayed && again.body == first.body);
    user.post("/v1/exchanges", buy_dollars(101)).key("k1").await.problem(422, "idempotency_key_reused");
    assert_eq!(dollars(&user).await, 100);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn another_rate_than_the_one_agreed_to_is_never_traded_at() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let (user, operator) = (app.verified_user_holding(20_000).await, app.operator().await);
    let dearer = json!({ "base": "USD", "quote": "JPY", "mid": "113", "spread": "0.01" });
    assert_eq!(operator.put("/v1/operator/exchange-rates", dearer).await.reply.status, 204);
    user.post("/v1/exchanges", buy_dollars(100)).await.problem(409, "rate_changed");
    let mut body = buy_dollars(100);
    body["rate"] = json!("114.13");
    user.post("/v1/exchanges", body).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_reference_that_nobody_renewed_is_no_price_after_four_days() {
    let clock = Clock::standing_at(Timestamp(1_790_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    app.offer_dollars(1_000_000).await;
    let user = app.verified_user_holding(20_000).await;
    clock.advance_ms(4 * 86_400_000 + 1);
    let body = json!({ "email": user.email, "password": crate::harness::PASSWORD });
    let session = crate::harness::Caller::post(&app.anonymous(), "/v1/sessions", body).await.created();
    let user = User::signed_in(user.id, session.text("token"), &app.anonymous());
    assert_eq!(user.get("/v1/exchange-rates").await.ok()["items"], json!([]));
    user.post("/v1/exchanges", buy_dollars(100)).await.problem(503, "rate_not_available");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn who_cannot_exchange_is_told_why() {
    let app = TestApp::start().await;
    let user = app.verified_user_holding(1_000).await;
    user.post("/v1/exchanges", buy_dollars(100)).await.problem(422, "currency_not_accepted");
    user.get("/v1/wallet?currency=USD").await.problem(400, "invalid_request");
    app.offer_dollars(500).await;
    let unverified = app.user_holding(1_000).await;
    unverified.post("/v1/exchanges", buy_dollars(100)).await.problem(403, "not_verified");
    user.post("/v1/exchanges", buy_dollars(1_000)).await.problem(422, "insufficient_funds");
    user.post("/v1/exchanges", buy_dollars(501)).await.problem(422, "position_limit");
    let mut tiny = buy_dollars(1);
    (tiny["amount"], tiny["currency"]) = (json!(1), json!("JPY"));
    user.post("/v1/exchanges", tiny.clone()).await.problem(422, "amount_too_small");
    tiny["currency"] = json!("EUR");
    assert_eq!(user.post("/v1/exchanges", tiny).await.problem(400, "invalid_request").body["field"], "currency");
    for rate in [json!("1e2"), json!(113.8727), json!("0"), json!("113.87271"), json!("-1")] {
        let mut body = buy_dollars(100);
        body["rate"] = rate;
        assert_eq!(user.post("/v1/exchanges", body).await.problem(400, "invalid_request").body["field"], "rate");
    }
    let stranger = app.verified_user_holding(0).await;
    let made = user.post("/v1/exchanges", buy_dollars(100)).await.created();
    stranger.get(format!("/v1/exchanges/{}", made.id)).await.problem(404, "not_found");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn dollars_are_sent_and_listed_apart_from_yen() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let (user, friend) = (app.verified_user_holding(20_000).await, app.verified_user_holding(0).await);
    user.post("/v1/exchanges", buy_dollars(1_000)).await.created();
    let body = json!({ "receiver": friend.id, "amount": 250, "currency": "USD" });
    let sent = user.post("/v1/transfers", body.clone()).await.created();
    assert_eq!((dollars(&user).await, dollars(&friend).await), (750, 250));
    assert_eq!(friend.get("/v1/transfers").await.ok()["items"], json!([]));
    assert_eq!(friend.get("/v1/transfers?currency=USD").await.ok()["items"][0]["id"], json!(sent.id));
    let wallets = friend.get("/v1/wallets").await.ok();
    let currencies: Vec<_> = wallets["items"].as_array().expect("a list").iter().map(|one| &one["currency"]).collect();
    assert_eq!(currencies, [&json!("JPY"), &json!("USD")]);
    let mut euros = body;
    euros["currency"] = json!("EUR");
    user.post("/v1/transfers", euros).await.problem(422, "currency_not_accepted");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn operators_set_what_can_be_a_price_and_nothing_else() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let price = |mid: &str, spread: &str| json!({ "base": "USD", "quote": "JPY", "mid": mid, "spread": spread });
    let early = operator.put("/v1/operator/exchange-rates", price("112", "0.01")).await;
    assert_eq!(early.problem(400, "invalid_request").body["field"], "base", "dollars are not offered yet");
    let yen = json!({ "currency": "JPY", "position_limit": 1 });
    operator.put("/v1/operator/currencies", yen).await.problem(400, "invalid_request");
    let dollars = json!({ "currency": "USD", "position_limit": 1_000 });
    let unlimited = operator.put("/v1/operator/currencies", dollars.clone()).await;
    assert_eq!(unlimited.problem(400, "invalid_request").body["field"], "currency", "wallets are limited first");
    for (action, window) in [("hold", "once"), ("send", "day")] {
        let limit =
            json!({ "wallet": "funds", "action": action, "window": window, "amount": 5_000, "currency": "USD" });
        assert_eq!(operator.put("/v1/operator/limits", limit).await.reply.status, 204);
    }
    assert_eq!(operator.put("/v1/operator/currencies", dollars).await.reply.status, 204);
    for (mid, spread, field) in
        [("0", "0.01", "mid"), ("x", "0.01", "mid"), ("112", "-0.01", "spread"), ("112", "0.5", "mid")]
    {
        let wrong = operator.put("/v1/operator/exchange-rates", price(mid, spread)).await;
        assert_eq!(wrong.problem(400, "invalid_request").body["field"], field, "{mid} {spread}");
    }
    assert_eq!(operator.put("/v1/operator/exchange-rates", price("112", "0.01")).await.reply.status, 204);
    let turned = json!({ "base": "JPY", "quote": "USD", "mid": "0.0089", "spread": "0" });
    operator.put("/v1/operator/exchange-rates", turned).await.problem(400, "invalid_request");
    for act in ["currency.put", "reference.put"] {
        let rows = operator.get(format!("/v1/operator/audit?act={act}")).await.ok();
        assert_eq!(rows["items"].as_array().map(Vec::len), Some(1), "{act}");
    }
}
