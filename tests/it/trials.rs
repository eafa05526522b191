//! `?dry_run=true`: told what would be posted, refused as it would be, and every row of the database as it was.

use hyper::Method;
use koban_domain::guest::Verdict;
use serde_json::{Value, json};

use crate::harness::{Caller, Setup, TestApp, minor, text};

/// What a request would do.
async fn tried(caller: &impl Caller, path: &str, body: Value) -> Value {
    let done = caller.post(format!("{path}?dry_run=true"), body).await;
    assert!(!done.replayed());
    let told = done.ok();
    assert_eq!(told["dry_run"], true, "{told}");
    told
}

/// Every row of every table, as text.
async fn rows(app: &TestApp) -> Vec<String> {
    app.database.hand().await.everything().await
}

fn postings(told: &Value) -> Vec<String> {
    let entries =
        told["items"].as_array().expect("items").iter().flat_map(|item| item["entries"].as_array().expect("entries"));
    entries
        .flat_map(|entry| {
            entry["postings"].as_array().expect("postings").iter().map(|posting| {
                let word = |name: &str| posting[name].as_str().unwrap_or("-").to_owned();
                let (kind, balance) = (entry["kind"].as_str().expect("a kind"), &posting["balance"]);
                let layer = word("layer");
                format!(
                    "{kind} {layer} {} {} {} {} -> {balance}",
                    word("side"),
                    word("whose"),
                    word("class"),
                    posting["amount"]
                )
            })
        })
        .collect()
}

#[tokio::test]
async fn a_trial_tells_postings_balances_and_limits_and_changes_no_row() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    app.offer_dollars(1_000_000).await;
    let (hana, ken, shop) =
        (app.verified_user_holding(20_000).await, app.verified_user_holding(700).await, app.shop().await);
    let paid = hana.pay(&shop, 1_000).await.created();
    let held = hana.pay(&shop, 500).with("capture", false).await.created();
    hana.balance().await;
    let before = rows(&app).await;
    assert!(before.len() > 50, "{} rows", before.len());

    let pay = json!({ "merchant": shop.id, "amount": 1_280, "currency": "JPY" });
    let told = tried(&hana, "/v1/payments", pay.clone()).await;
    assert_eq!(
        postings(&told),
        ["payment posted debit own funds 1280 -> 17720", "payment posted credit other - 1280 -> null"]
    );
    assert_eq!(told["refused"], false);
    let send = json!({ "receiver": ken.id, "amount": 2_000, "currency": "JPY" });
    let told = tried(&hana, "/v1/transfers", send).await;
    assert_eq!(postings(&told)[1], "transfer posted credit other - 2000 -> null", "another's balance is not told");
    let limits = &told["items"][0]["limits"][0];
    assert_eq!((minor(limits, "used"), minor(limits, "most")), (2_000, 100_000));
    assert_eq!((&limits["action"], &limits["window"]), (&json!("send"), &json!("day")));
    let buy = json!({ "sell": "JPY", "buy": "USD", "amount": 100, "currency": "USD", "rate": "113.8727" });
    let told = tried(&hana, "/v1/exchanges", buy).await;
    assert!(postings(&told).iter().any(|line| line.ends_with("own funds 100 -> 100")), "{told}");
    let told =
        tried(&shop, &format!("/v1/payments/{}/refunds", paid.id), json!({ "amount": 300, "currency": "JPY" })).await;
    assert_eq!(
        postings(&told),
        ["refund posted debit own payable 300 -> 700", "refund posted credit other - 300 -> null"]
    );
    let told =
        tried(&shop, &format!("/v1/payments/{}/captures", held.id), json!({ "amount": 200, "final": true })).await;
    assert!(postings(&told).contains(&"capture posted credit own payable 200 -> 1200".to_owned()), "{told}");
    tried(&shop, &format!("/v1/payments/{}/void", held.id), json!({})).await;
    let told =
        tried(&hana, &format!("/v1/payments/{}/increments", held.id), json!({ "amount": 1, "currency": "JPY" })).await;
    assert!(postings(&told)[0].starts_with("authorisation reserved debit own funds 1 "), "{told}");

    let told = tried(&hana, "/v1/payments", json!({ "merchant": shop.id, "amount": 90_000, "currency": "JPY" })).await;
    assert_eq!((&told["refused"], &told["items"][0]["refusal"]["code"]), (&json!(true), &json!("insufficient_funds")));
    assert_eq!((told["items"][0]["refusal"]["status"].as_u64(), postings(&told).len()), (Some(422), 0));
    assert_eq!(rows(&app).await, before, "no row has changed");

    let real = hana.post("/v1/payments", pay.clone()).key("k1").await.created();
    assert!(!real.replayed);
    let told = hana.post("/v1/payments?dry_run=true", pay.clone()).key("k1").await;
    assert!(!told.replayed(), "a key that was used is not looked at");
    assert_eq!(told.ok()["refused"], false);
    assert_eq!(hana.post("/v1/payments?dry_run=false", pay).key("k1").await.created().body, real.body);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn operators_try_what_they_may_and_see_every_account() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let (user, operator, other) = (app.user_holding(900).await, app.operator().await, app.operator().await);
    let credit = json!({ "class": "prepaid", "owner": user.id });
    let line = json!({ "debit": { "class": "write-off" }, "credit": credit, "amount": 40, "currency": "JPY" });
    let proposal = json!({ "lines": [line], "reason": "the machine kept a coin" });
    let adjustment = operator.post("/v1/operator/adjustments", proposal.clone()).await.created().id;
    operator.get("/v1/operator/policy").await.ok();
    other.get("/v1/operator/policy").await.ok();
    let before = rows(&app).await;
    let told = tried(&operator, &format!("/v1/operator/users/{}/verification", user.id), json!({})).await;
    assert_eq!(
        postings(&told),
        ["verification posted debit other prepaid 900 -> 0", "verification posted credit other funds 900 -> 900"]
    );
    let freeze = json!({ "frozen": true, "reason": "lost phone" });
    let frozen = operator.put(format!("/v1/operator/users/{}/access?dry_run=true", user.id), freeze).await;
    assert_eq!(frozen.ok()["items"][0]["entries"], json!([]));
    tried(&operator, "/v1/operator/adjustments", proposal).await;
    let path = format!("/v1/operator/adjustments/{adjustment}/approve");
    let told = tried(&operator, &path, json!({ "reason": "checked" })).await;
    assert_eq!(told["items"][0]["refusal"]["code"], "second_person_required");
    let told = tried(&other, &path, json!({ "reason": "checked" })).await;
    assert_eq!(postings(&told)[1], "adjustment posted credit other prepaid 40 -> 940");
    assert_eq!(rows(&app).await, before, "no row has changed, the audit log neither");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn no_rule_is_asked_and_no_record_kept_for_a_trial() {
    let settings = [text("deny_devices", "stolen-phone")];
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await.with_fraud_rules(&settings).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.balance().await;
    let before = rows(&app).await;
    let body = json!({ "merchant": shop.id, "amount": 100, "currency": "JPY" });
    let told = user.post("/v1/payments?dry_run=true", body.clone()).device("stolen-phone").await.ok();
    assert_eq!(told["refused"], false, "who could ask the rules without a trace could learn what they let through");
    assert_eq!(rows(&app).await, before);
    user.post("/v1/payments", body).device("stolen-phone").await.problem(403, "declined_by_fraud");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn bulks_are_tried_as_they_would_be_decided() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.balance().await;
    let before = rows(&app).await;
    let pay = |yen: i64| json!({ "payment": { "merchant": shop.id, "amount": yen, "currency": "JPY" } });
    let bulk = |mode: &str| json!({ "mode": mode, "items": [pay(600), pay(600), pay(400), pay(1)] });
    let told = tried(&user, "/v1/bulk", bulk("independent")).await;
    let refused: Vec<bool> =
        told["items"].as_array().expect("items").iter().map(|item| item["refusal"].is_object()).collect();
    assert_eq!(refused, [false, true, false, true]);
    assert_eq!(postings(&told)[2], "payment posted debit own prepaid 400 -> 0", "each stands on those before it");
    let told = tried(&user, "/v1/bulk", bulk("atomic")).await;
    assert_eq!((told["items"].as_array().map(Vec::len), postings(&told).len()), (Some(2), 0));
    assert_eq!(told["items"][1]["refusal"]["code"], "insufficient_funds");
    assert_eq!(rows(&app).await, before);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn who_may_not_do_it_may_not_try_it_and_what_cannot_be_foreseen_is_not_done() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    app.fraud_policy(Verdict::Decline, Verdict::Allow).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let pay = json!({ "merchant": shop.id, "amount": 100, "currency": "JPY" });
    Caller::post(&app.anonymous(), "/v1/payments?dry_run=true", pay.clone()).await.problem(401, "not_signed_in");
    shop.post("/v1/payments?dry_run=true", pay.clone()).await.problem(403, "forbidden");
    user.post("/v1/payments?dry_run=true", json!({ "amount": 1 })).await.problem(400, "invalid_request");
    let keyless = user.client().post("/v1/payments?dry_run=true", pay.clone()).await.expect("an answer");
    assert_eq!(
        (keyless.status, keyless.code()),
        (400, "idempotency_key_required"),
        "the request is sent as it would be"
    );
    user.balance().await;
    let before = rows(&app).await;
    let mut later = pay.clone();
    later["execute_at_ms"] = json!(4_000_000_000_000_i64);
    for (method, path, body) in [
        (
            Method::POST,
            "/v1/bills?dry_run=true",
            json!({ "payer": "bill-slip", "code": { "source": "bar-code", "content": "1" }, "amount": 1, "currency": "JPY" }),
        ),
        (
            Method::POST,
            "/v1/withdrawals?dry_run=true",
            json!({ "channel": "bank-transfer", "amount": 1, "currency": "JPY" }),
        ),
        (Method::POST, "/v1/charges?dry_run=true", json!({ "channel": "charge-atm", "currency": "JPY" })),
        (Method::POST, "/v1/schedules?dry_run=true", later),
        (Method::POST, "/v1/users?dry_run=true", json!({})),
        (Method::DELETE, "/v1/sessions/current?dry_run=true", json!({})),
        (Method::POST, "/v1/sessions?dry%5Frun=true", json!({})),
    ] {
        let reply = user.client().send(method, path, &[("idempotency-key", "k1")], Some(body.to_string().into_bytes()));
        let reply = reply.await.expect("an answer");
        assert_eq!((reply.status, reply.code()), (422, "dry_run_not_possible"), "{path}: {}", reply.body);
    }
    for wrong in ["dry_run", "dry_run=yes", "dry_run=1", "dry_run=true&dry_run=true"] {
        let refused = user.post(format!("/v1/payments?{wrong}"), pay.clone()).await.problem(400, "invalid_request");
        assert_eq!(refused.body["field"], "dry_run");
    }
    assert_eq!(rows(&app).await, before);
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}
