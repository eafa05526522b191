//! Disputes over HTTP: set aside by operators, decided once, seen by their merchant and nobody else.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::jobs;
use serde_json::{Value, json};

use crate::harness::{Caller as _, Made, Operator, Request, Setup, Shop, TestApp, minor};

const NOON: Timestamp = Timestamp(1_537_844_400_000);
const DAY_MS: i64 = 86_400_000;

fn contest<'a>(operator: &'a Operator, payment: &Made, yen: i64) -> Request<'a> {
    let body = json!({ "payment": payment.id, "amount": yen, "currency": "JPY", "reason": "the goods never came" });
    operator.post("/v1/operator/disputes", body).with("evidence", "case 2018-117")
}

fn decide<'a>(operator: &'a Operator, dispute: &str, how: &str) -> Request<'a> {
    let path = format!("/v1/operator/disputes/{dispute}/{how}");
    operator.post(path, json!({ "reason": "both were heard" }))
}

/// Lets a merchant be behind by so much.
pub(crate) async fn give_credit(operator: &Operator, shop: &Shop, yen: i64) {
    let body = json!({ "currency": "JPY", "credit_limit": yen, "fee_rate": "0", "reason": "contract" });
    operator.put(format!("/v1/operator/merchants/{}/arrangement", shop.id), body).await.ok();
}

#[tokio::test]
async fn a_dispute_is_won_or_lost_and_never_exceeds_the_payment() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let paid = user.pay(&shop, 1_000).await.created();
    contest(&operator, &paid, 1_001).await.problem(422, "dispute_exceeds_payment");
    let first = contest(&operator, &paid, 600).key("d1").await.created();
    let again = contest(&operator, &paid, 600).key("d1").await.created();
    assert!(again.replayed && again.id == first.id);
    contest(&operator, &paid, 601).key("d1").await.problem(422, "idempotency_key_reused");
    let seen = user.get(format!("/v1/payments/{}", paid.id)).await.ok();
    assert_eq!((minor(&seen, "disputed"), minor(&seen, "refundable"), minor(&seen, "refunded")), (600, 400, 0));
    assert_eq!((user.balance().await, shop.balance().await), (9_000, 400));
    shop.refund(&paid, 401).await.problem(422, "refund_exceeds_payment");
    contest(&operator, &paid, 401).await.problem(422, "dispute_exceeds_payment");

    let second = contest(&operator, &paid, 300).await.created();
    let open = operator.get("/v1/operator/disputes?open=true").await.ok();
    assert_eq!(open["items"].as_array().map(Vec::len), Some(2), "{open}");
    assert_eq!(decide(&operator, &first.id, "lose").key("l1").await.ok()["state"], "lost");
    assert_eq!(decide(&operator, &first.id, "lose").key("l1").await.ok()["state"], "lost", "the same key");
    decide(&operator, &first.id, "win").await.problem(409, "dispute_closed");
    assert_eq!(decide(&operator, &second.id, "win").await.ok()["state"], "won");
    assert_eq!((user.balance().await, shop.balance().await), (9_600, 400));
    let seen = shop.get(format!("/v1/payments/{}", paid.id)).await.ok();
    assert_eq!((minor(&seen, "disputed"), minor(&seen, "refundable"), minor(&seen, "refunded")), (0, 400, 600));
    shop.refund(&paid, 400).await.created();
    for act in ["dispute.open", "dispute.win", "dispute.lose"] {
        let acts = operator.get(format!("/v1/operator/audit?act={act}")).await.ok();
        assert!(acts["items"].as_array().is_some_and(|items| !items.is_empty()), "{act}: {acts}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_sees_its_own_disputes_without_what_only_operators_may_know() {
    let app = TestApp::start().await;
    let (user, shop, other) = (app.user_holding(10_000).await, app.shop().await, app.shop().await);
    let operator = app.operator().await;
    let paid = user.pay(&shop, 1_000).await.created();
    let dispute = contest(&operator, &paid, 600).await.created();
    let path = format!("/v1/merchant/disputes/{}", dispute.id);
    let seen = shop.get(&path).await.ok();
    assert_eq!((&seen["payment"], &seen["reason"]), (&json!(paid.id), &json!("the goods never came")));
    for field in ["evidence", "operator", "payer"] {
        assert_eq!(seen[field], Value::Null, "{seen}");
    }
    assert_eq!(shop.get("/v1/merchant/disputes").await.ok()["items"][0], seen);
    other.get(&path).await.problem(404, "not_found");
    assert_eq!(other.get("/v1/merchant/disputes").await.ok()["items"], json!([]));
    user.get(&path).await.problem(403, "forbidden");
    user.get("/v1/operator/disputes").await.problem(403, "forbidden");
    let nothing = "/v1/operator/disputes/dsp_00000000000000000000000000000001";
    operator.get(nothing).await.problem(404, "not_found");
    operator.post(format!("{nothing}/win"), json!({ "reason": "r" })).await.problem(404, "not_found");
    let nobody = Made { id: "pay_00000000000000000000000000000001".into(), replayed: false, body: Value::Null };
    contest(&operator, &nobody, 1).await.problem(404, "not_found");
    contest(&operator, &paid, 1).with("days", 181).await.problem(400, "invalid_request");
    contest(&operator, &paid, 1).with("currency", "USD").await.problem(422, "currency_not_accepted");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_without_money_gives_back_on_credit_and_no_further() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let (first, second) = (user.pay(&shop, 600).await.created(), user.pay(&shop, 400).await.created());
    shop.refund(&first, 600).await.created();
    contest(&operator, &second, 300).await.created();
    assert_eq!(shop.balance().await, 100);
    shop.refund(&second, 101).await.problem(422, "refund_exceeds_payment");
    let third = user.pay(&shop, 500).await.created();
    contest(&operator, &third, 500).await.created();
    let fourth = user.pay(&shop, 900).await.created();
    shop.refund(&fourth, 900).await.created();
    shop.refund(&second, 100).await.created();
    assert_eq!(shop.balance().await, 0);
    app.ledger_is_clean().await;

    let today = operator.get("/v1/operator/clock").await.ok()["now"].as_str().map(|now| now[..10].to_owned());
    let fifth = user.pay(&shop, 1_000).await.created();
    let body = json!({ "currency": "JPY", "until": today.expect("a date") });
    operator.post(format!("/v1/operator/merchants/{}/closings", shop.id), body).await.created();
    assert_eq!(shop.balance().await, 0);
    shop.refund(&fifth, 1).await.problem(422, "merchant_balance_too_low");
    contest(&operator, &fifth, 1).await.problem(422, "merchant_balance_too_low");
    give_credit(&operator, &shop, 700).await;
    shop.refund(&fifth, 400).await.created();
    contest(&operator, &fifth, 301).await.problem(422, "merchant_balance_too_low");
    contest(&operator, &fifth, 300).await.created();
    assert_eq!(shop.balance().await, -700);
    let body = json!({ "currency": "JPY", "credit_limit": 699, "fee_rate": "0", "reason": "less" });
    let path = format!("/v1/operator/merchants/{}/arrangement", shop.id);
    operator.put(&path, body).await.problem(422, "credit_in_use");
    let known = operator.get(&path).await.ok();
    assert_eq!(minor(&known["items"][0], "credit_limit"), 700);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_two_operators_one_decides_and_a_refund_and_a_dispute_never_take_more_than_there_is() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let (one, other) = (app.operator().await, app.operator().await);
    for _ in 0..8 {
        let paid = user.pay(&shop, 500).await.created();
        let (refund, dispute) = tokio::join!(shop.refund(&paid, 300), contest(&one, &paid, 300));
        let mut statuses = [refund.reply.status, dispute.reply.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "300 and 300 of 500");
        let seen = user.get(format!("/v1/payments/{}", paid.id)).await.ok();
        assert_eq!(minor(&seen, "refundable"), 200);
        if dispute.reply.status == 201 {
            let id = dispute.reply.body["id"].as_str().expect("an id").to_owned();
            let (won, lost) = tokio::join!(decide(&one, &id, "win"), decide(&other, &id, "lose"));
            let mut statuses = [won.reply.status, lost.reply.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 409]);
        }
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_nobody_decides_stays_open_unless_the_policy_says_that_it_is_lost() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let paid = user.pay(&shop, 1_000).await.created();
    let dispute = contest(&operator, &paid, 600).with("days", 2).await.created();
    clock.advance_ms(2 * DAY_MS);
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    assert!(app.app.metrics.text().contains("koban_disputes_overdue 1"));
    let operator = app.operator().await;
    let path = format!("/v1/operator/disputes/{}", dispute.id);
    assert_eq!(operator.get(&path).await.ok()["state"], "open");

    let mut policy = operator.get("/v1/operator/policy").await.ok();
    assert_eq!((&policy["dispute_days"], &policy["dispute_lost_when_over"]), (&json!(30), &json!(false)));
    policy["dispute_lost_when_over"] = json!(true);
    operator.put("/v1/operator/policy", policy).await.ok();
    decide(&operator, &dispute.id, "win").await.problem(409, "dispute_closed");
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    let ended = operator.get(&path).await.ok();
    assert_eq!((&ended["state"], &ended["decider"]), (&json!("lost"), &json!(null)));
    assert!(app.app.metrics.text().contains("koban_disputes_overdue 0"));
    app.ledger_is_clean().await;
}
