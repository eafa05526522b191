//! Closings over HTTP: periods are closed by the job and by operators, each capture in exactly one, and paid out once.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::jobs;
use serde_json::{Value, json};

use crate::harness::{Caller as _, Operator, Request, Setup, Shop, TestApp, minor};

/// 2018-09-30T12:00 in Japan.
const NOON: Timestamp = Timestamp(1_538_276_400_000);
const HOUR_MS: i64 = 3_600_000;

fn arrange<'a>(operator: &'a Operator, shop: &Shop, fee_rate: &str, cut_off: &str) -> Request<'a> {
    let body =
        json!({ "currency": "JPY", "credit_limit": 0, "fee_rate": fee_rate, "cut_off": cut_off, "reason": "contract" });
    operator.put(format!("/v1/operator/merchants/{}/arrangement", shop.id), body)
}

fn close<'a>(operator: &'a Operator, shop: &Shop, until: &str) -> Request<'a> {
    let path = format!("/v1/operator/merchants/{}/closings", shop.id);
    operator.post(path, json!({ "currency": "JPY", "until": until }))
}

async fn sweep(app: &TestApp) {
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
}

async fn closings(shop: &Shop) -> Vec<Value> {
    shop.get("/v1/merchant/closings").await.ok()["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_period_is_closed_when_it_is_over_once_with_fee_and_tax() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (user, shop, monthly, operator) =
        (app.user_holding(50_000).await, app.shop().await, app.shop().await, app.operator().await);
    arrange(&operator, &shop, "0.0324", "daily").await.ok();
    let paid = user.pay(&shop, 10_000).await.created();
    user.pay(&monthly, 700).await.created();
    shop.refund(&paid, 1_000).await.created();
    sweep(&app).await;
    assert_eq!(closings(&shop).await, Vec::<Value>::new(), "they are new, and the day is not over");
    clock.advance_ms(12 * HOUR_MS - 1);
    sweep(&app).await;
    assert_eq!(app.operator().await.get("/v1/operator/closings").await.ok()["items"], json!([]));
    clock.advance_ms(1);
    sweep(&app).await;
    sweep(&app).await;
    let made = closings(&shop).await;
    assert_eq!(made.len(), 1, "{made:?}");
    let closing = &made[0];
    assert_eq!(
        (&closing["until"], &closing["state"], &closing["tax_rate"]),
        (&json!("2018-10-01"), &json!("closed"), &json!("0.08"))
    );
    let of = |field| minor(closing, field);
    assert_eq!(
        (of("captured"), of("refunded"), of("fee"), of("tax"), of("due"), of("left")),
        (10_000, 1_000, 324, 25, 8_651, 0)
    );
    assert_eq!(shop.balance().await, 0);
    // A month ends with this day, too: without terms there is no fee.
    let other = &closings(&monthly).await[0];
    assert_eq!((minor(other, "due"), minor(other, "fee")), (700, 0));
    shop.get(format!("/v1/merchant/closings/{}", other["id"].as_str().expect("an id"))).await.problem(404, "not_found");
    let own = shop.get(format!("/v1/merchant/closings/{}", closing["id"].as_str().expect("an id"))).await.ok();
    assert_eq!(&own, closing);

    let csv = shop.get("/v1/merchant/closings.csv?from=2018-10-01&to=2018-10-02").await;
    assert_eq!(csv.reply.status, 200);
    let text = String::from_utf8(csv.reply.bytes.clone()).expect("text");
    let mut lines = text.split("\r\n");
    assert!(lines.next().expect("a header").starts_with("until,state,currency,carried,captured"), "{text}");
    assert!(
        lines
            .next()
            .expect("a row")
            .starts_with("\"2018-10-01\",\"closed\",\"JPY\",0,10000,1000,0,0,0,0.0324,324,0.08,25,8651,0,\"\""),
        "{text}"
    );
    let csv = shop.get("/v1/merchant/closings.csv?from=2018-09-01&to=2018-10-01").await;
    assert_eq!(csv.reply.bytes.iter().filter(|byte| **byte == b'\n').count(), 1, "the header alone");
    shop.get("/v1/merchant/closings.csv?from=2018-09-01&to=October").await.problem(400, "invalid_request");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_is_behind_is_carried_and_what_is_due_is_paid_out_once() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (user, shop, operator) = (app.user_holding(50_000).await, app.shop().await, app.operator().await);
    arrange(&operator, &shop, "0.1", "daily").await.ok();
    let paid = user.pay(&shop, 1_000).await.created();
    shop.refund(&paid, 1_000).await.created();
    let first = close(&operator, &shop, "2018-09-30").key("c1").await.created();
    let again = close(&operator, &shop, "2018-09-30").key("c1").await.created();
    assert!(again.replayed && again.id == first.id);
    assert_eq!((minor(&first.body, "due"), minor(&first.body, "left")), (0, -108));
    close(&operator, &shop, "2018-09-30").await.problem(409, "period_closed");
    close(&operator, &shop, "2018-10-01").await.problem(409, "period_not_over");
    close(&operator, &shop, "2018-09-31").await.problem(400, "invalid_request");
    user.pay(&shop, 2_000).await.created();
    clock.advance_ms(12 * HOUR_MS);
    sweep(&app).await;
    let operator = app.operator().await;
    let second = closings(&shop).await[0].clone();
    assert_eq!(
        (minor(&second, "carried"), minor(&second, "fee"), minor(&second, "tax"), minor(&second, "due")),
        (-108, 200, 16, 1_676)
    );
    let pay_out = |closing: &Value, reference: &str| {
        let path = format!("/v1/operator/closings/{}/payout", closing["id"].as_str().expect("an id"));
        operator.post(path, json!({ "reference": reference }))
    };
    pay_out(&first.body, "bank-1").await.problem(409, "closing_paid");
    let paid = pay_out(&second, "bank-1").key("p1").await.ok();
    assert_eq!((&paid["state"], &paid["reference"]), (&json!("paid"), &json!("bank-1")));
    pay_out(&second, "bank-1").key("p1").await.ok();
    pay_out(&second, "bank-2").await.problem(409, "closing_paid");
    let user = app.user_holding(1_000).await;
    user.pay(&shop, 500).await.created();
    clock.advance_ms(24 * HOUR_MS);
    sweep(&app).await;
    let operator = app.operator().await;
    let third = closings(&shop).await[0].clone();
    let path = format!("/v1/operator/closings/{}/payout", third["id"].as_str().expect("an id"));
    operator.post(&path, json!({ "reference": "bank-1" })).await.problem(409, "payout_reference_used");
    operator.post(&path, json!({ "reference": "=1+1" })).await.ok();
    let csv =
        operator.get(format!("/v1/operator/closings.csv?from=2018-01-01&to=2019-01-01&merchant={}", shop.id)).await;
    let text = String::from_utf8(csv.reply.bytes).expect("text");
    assert!(text.contains("\"'=1+1\""), "a formula is text: {text}");
    shop.get("/v1/operator/closings").await.problem(403, "forbidden");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn each_capture_is_in_exactly_one_closing_while_closings_and_payments_race() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (shop, operator, colleague) = (app.shop().await, app.operator().await, app.operator().await);
    let payers = [app.user_holding(5_000).await, app.user_holding(5_000).await, app.user_holding(5_000).await];
    let mut captured = 0;
    for day in 1..=6 {
        let until = format!("2018-09-{:02}", 20 + day);
        let paying = async {
            let mut paid = 0;
            for payer in &payers {
                for _ in 0..3 {
                    payer.pay(&shop, 10).await.created();
                    paid += 10;
                }
            }
            paid
        };
        let closing = async {
            let (first, second) = tokio::join!(close(&operator, &shop, &until), close(&colleague, &shop, &until));
            let statuses = [first.reply.status, second.reply.status];
            assert!(statuses.contains(&409) || statuses == [201, 201], "{statuses:?}");
            assert_ne!(statuses, [201, 201], "one period, two closings");
        };
        let (paid, ()) = tokio::join!(paying, closing);
        captured += paid;
    }
    let last = close(&operator, &shop, "2018-09-30").await;
    assert!(matches!(last.reply.status, 201 | 409), "{}", last.reply.body);
    let mut made = closings(&shop).await;
    made.sort_by_key(|closing| minor(closing, "after"));
    let sum: i64 = made.iter().map(|closing| minor(closing, "captured")).sum();
    assert_eq!(sum, captured, "{made:?}");
    assert_eq!(made.iter().map(|closing| minor(closing, "due")).sum::<i64>(), captured);
    for pair in made.windows(2) {
        assert!(minor(&pair[0], "through") <= minor(&pair[1], "after"), "{pair:?}");
    }
    assert_eq!(shop.balance().await, 0);
    app.ledger_is_clean().await;
}
