//! Reviews over HTTP: what a rule wants looked at is held until an operator has.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::{jobs, wallets};
use serde_json::json;

use crate::harness::{Caller as _, Made, Operator, Request, Setup, TestApp, minor, whole, yen};

/// A host whose rules want every payment over 2,000 yen to a new payee looked at.
async fn careful(setup: Setup) -> TestApp {
    let settings = [
        whole("night_from", 0),
        whole("night_to", 0),
        yen("amount_high", 2_000),
        yen("amount_limit", 100_000),
        yen("new_payee_amount", 2_000),
    ];
    TestApp::start_with(setup).await.with_fraud_rules(&settings).await
}

/// The answer of something that waits for somebody.
fn waiting(outcome: crate::harness::Outcome) -> Made {
    assert_eq!(outcome.reply.status, 202, "{}", outcome.reply.body);
    let (replayed, body) = (outcome.replayed(), outcome.reply.body);
    Made { id: body["id"].as_str().expect("an id").to_owned(), replayed, body }
}

fn review_of(made: &Made) -> String {
    format!("rev_{}", made.id.split_once('_').expect("a prefix").1)
}

fn decide<'a>(operator: &'a Operator, made: &Made, how: &str) -> Request<'a> {
    let path = format!("/v1/operator/reviews/{}/{how}", review_of(made));
    operator.post(path, json!({ "reason": "asked the payer by phone" }))
}

#[tokio::test]
async fn a_payment_that_is_approved_is_made_and_one_that_is_declined_is_not() {
    let app = careful(Setup::default()).await;
    let (user, shop, operator) = (app.user_holding(100_000).await, app.shop().await, app.operator().await);
    let first = waiting(user.pay(&shop, 3_000).key("k1").await);
    assert_eq!((first.text("state"), minor(&first.body, "held")), ("in-review".into(), 3_000));
    let again = waiting(user.pay(&shop, 3_000).key("k1").await);
    assert!(again.replayed && again.id == first.id);
    let other = app.shop().await;
    let second = waiting(user.pay(&other, 5_000).with("capture", false).await);
    assert_eq!((minor(&user.wallet().await, "available"), shop.balance().await), (92_000, 0));
    let captures = format!("/v1/payments/{}/captures", second.id);
    other.post(&captures, json!({})).await.problem(409, "payment_in_review");

    let open = operator.get("/v1/operator/reviews?open=true").await.ok();
    assert_eq!(open["items"].as_array().map(Vec::len), Some(2), "{open}");
    assert_eq!((&open["items"][0]["subject"], &open["items"][0]["state"]), (&json!(second.id), &json!("open")));
    assert!(open["items"][0]["decision"].is_string());

    let approved = decide(&operator, &first, "approve").await.ok();
    assert_eq!(approved["state"], "approved");
    decide(&operator, &first, "decline").await.problem(409, "review_closed");
    assert_eq!((user.balance().await, shop.balance().await), (97_000, 3_000));
    decide(&operator, &second, "approve").await.ok();
    assert_eq!(other.get(format!("/v1/payments/{}", second.id)).await.ok()["state"], "authorised");
    other.post(&captures, json!({})).await.created();

    let shop = app.shop().await;
    let third = waiting(user.pay(&shop, 7_000).await);
    decide(&operator, &third, "decline").await.ok();
    assert_eq!(user.get(format!("/v1/payments/{}", third.id)).await.ok()["state"], "declined");
    assert_eq!((minor(&user.wallet().await, "available"), shop.balance().await), (92_000, 0));
    let acts = operator.get("/v1/operator/audit?act=review.approve").await.ok();
    assert_eq!(acts["items"].as_array().map(Vec::len), Some(2), "{acts}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_two_operators_one_decides() {
    let app = careful(Setup::default()).await;
    let user = app.user_holding(100_000).await;
    let (one, other) = (app.operator().await, app.operator().await);
    for _ in 0..5 {
        let shop = app.shop().await;
        let asked = waiting(user.pay(&shop, 3_000).await);
        let (yes, no) = tokio::join!(decide(&one, &asked, "approve"), decide(&other, &asked, "decline"));
        let mut statuses = [yes.reply.status, no.reply.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        let made = if yes.reply.status == 200 { 3_000 } else { 0 };
        assert_eq!(shop.balance().await, made);
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_transfer_waits_unseen_by_its_receiver_until_it_is_approved() {
    let app = careful(Setup::default()).await;
    let (hana, ken) = (app.verified_user_holding(50_000).await, app.verified_user_holding(0).await);
    let operator = app.operator().await;
    let sent = waiting(hana.send(&ken, 3_000).await);
    let path = format!("/v1/transfers/{}", sent.id);
    assert_eq!(hana.get(&path).await.ok()["state"], "in-review");
    ken.get(&path).await.problem(404, "not_found");
    assert_eq!((minor(&hana.wallet().await, "available"), ken.balance().await), (47_000, 0));
    decide(&operator, &sent, "approve").await.ok();
    assert_eq!(ken.get(&path).await.ok()["state"], "sent");
    assert_eq!((hana.balance().await, ken.balance().await), (47_000, 3_000));
    let listed = ken.get("/v1/transfers").await.ok();
    assert_eq!(listed["items"][0]["id"], sent.id, "{listed}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_nobody_looks_at_goes_back_after_the_hours_that_the_operator_set() {
    let clock = Clock::standing_at(Timestamp(1_537_851_600_000));
    let app = careful(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let mut policy = operator.get("/v1/operator/policy").await.ok();
    assert_eq!(policy["review_hours"], 24);
    policy["review_hours"] = json!(2);
    let client = operator.client();
    let put = client.send(hyper::Method::PUT, "/v1/operator/policy", &[], Some(policy.to_string().into())).await;
    assert_eq!(put.expect("an answer").status, 200);
    let asked = waiting(user.pay(&shop, 3_000).await);
    clock.advance_ms(2 * 3_600_000);
    // Their sessions have ended meanwhile.
    let operator = app.operator().await;
    decide(&operator, &asked, "approve").await.problem(409, "review_closed");
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    assert_eq!(shop.get(format!("/v1/payments/{}", asked.id)).await.ok()["state"], "expired");
    let review = operator.get(format!("/v1/operator/reviews/{}", review_of(&asked))).await.ok();
    assert_eq!((review["state"].as_str(), &review["operator"]), (Some("expired"), &json!(null)));
    assert_eq!(wallets::balances(&app.app, user.id).await.expect("a wallet").available.minor, 10_000);
    app.ledger_is_clean().await;
}
