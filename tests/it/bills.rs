//! Paying bills, end to end: the wallet, the plugin, the host and a collector that misbehaves.

use std::collections::BTreeSet;

use koban_domain::flows::Resolution;
use koban_domain::ids::FlowId;
use koban_domain::money::Money;
use koban_domain::releases::{State, falls_into};
use koban_service::clock::Clock;
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{flows, jobs};
use outside_world::clock::Clock as OutsideClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Caller as _, Collector, Setup, TestApp, User, bar_code, eventually, eventually_for, koban, minor, package_as,
    seed_collector, text, yen,
};

/// A user with 50,000 yen and a collector.
async fn town() -> (TestApp, Collector, User) {
    let app = TestApp::start().await;
    let collector = app.collector().await;
    let user = app.user_holding(50_000).await;
    (app, collector, user)
}

/// What the collector has been paid, and how often it was asked under how many keys for its one payment.
async fn paid_once(collector: &Collector) -> (i64, u64, usize) {
    let book = collector.book().await;
    let payments = book["payments"].as_array().expect("payments");
    assert_eq!(payments.len(), 1, "{book}");
    let keys = payments[0]["keys"].as_array().expect("keys").len();
    (book["paid"].as_i64().expect("a sum"), payments[0]["asked"].as_u64().expect("a number"), keys)
}

#[tokio::test]
async fn a_slip_that_came_by_post_is_recognised_paid_and_settled() {
    let app = TestApp::start().await;
    let settings = [yen("fee", 110), text("billers", "912345=Tokyo Power")];
    let collector = app.collector_with(&settings, (1_000_000, 0)).await;
    let user = app.user_holding(50_000).await;
    let slip = collector.slip_with(json!({ "amount": 12_800, "due": "991031" })).await;
    let found = user.post("/v1/bills/recognise", bar_code(&slip)).await.ok();
    assert_eq!((&found["payer"], &found["name"]), (&json!("bill-slip"), &json!("Tokyo Power")), "{found}");
    assert_eq!((minor(&found, "amount"), minor(&found, "fee")), (12_800, 110));
    assert_eq!(found["due"], "2099-10-31T14:59:59.999Z");
    assert_eq!(found["lines"][0]["label"], "Number on the slip");
    assert_eq!(user.balance().await, 50_000, "nothing is paid by looking");

    let bill = user.pay_recognised(&found, &slip, "b-1").await.created();
    let ended = user.ended_bill(&bill.id).await;
    assert_eq!(
        (&ended["standing"], minor(&ended, "paid"), minor(&ended, "held")),
        (&json!("done"), 12_910, 0),
        "{ended}"
    );
    assert_eq!(user.balance().await, 37_090);
    assert_eq!(paid_once(&collector).await, (12_800, 1, 1));
    assert_eq!(app.exposure("bill-slip").await.used.minor, 12_800, "until a file lists it");

    let again = user.pay_recognised(&found, &slip, "b-1").await.created();
    assert!(again.replayed);
    assert_eq!(again.id, bill.id);
    let listed = user.get("/v1/bills").await.ok();
    assert_eq!((listed["items"].as_array().expect("bills").len(), &listed["items"][0]["id"]), (1, &json!(bill.id)));
    assert!(user.get("/v1/charges").await.ok()["items"].as_array().expect("charges").is_empty());

    collector.end_of_day().await;
    eventually("the file is taken", || app.exposure("bill-slip"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_canary_recognises_the_bills_that_it_would_pay() {
    let (app, collector, _) = town().await;
    let ctx = app.operator_ctx();
    let package = package_as("bill-slip", "0.2.0");
    let release = releases::upload(&app.app, &ctx, Upload { package, unsigned: true }).await.expect("taken");
    let accept = Accept { settings: Some(vec![yen("fee", 220)]), ..Accept::default() };
    releases::install(&app.app, &ctx, "bill-slip", release.digest, accept).await.expect("the consent carries over");
    let step = Move { share: 500, ..Move::to(State::Canary) };
    releases::move_to(&app.app, &ctx, "bill-slip", release.digest, &step).await.expect("a canary");
    let mut seen = BTreeSet::new();
    // Twenty coins: all on one side come once in half a million runs.
    for _ in 0..20 {
        let user = app.user_holding(2_000).await;
        let fee = if falls_into(release.digest, &user.id.bytes(), 500) { 220 } else { 0 };
        if !seen.insert(fee) {
            continue;
        }
        let slip = collector.slip(1_000).await;
        let found = user.post("/v1/bills/recognise", bar_code(&slip)).await.ok();
        assert_eq!((minor(&found, "amount"), minor(&found, "fee")), (1_000, fee), "{found}");
        let bill = user.pay_recognised(&found, &slip, "c-1").await.created();
        assert_eq!(minor(&user.ended_bill(&bill.id).await, "paid"), 1_000 + fee);
    }
    assert_eq!(seen.len(), 2);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_no_plugin_knows_is_no_bill_and_what_cannot_be_paid_says_why() {
    let (app, collector, user) = town().await;
    for code in ["4912345678904", "https://example.com", "x"] {
        user.post("/v1/bills/recognise", bar_code(code)).await.problem(404, "not_found");
    }
    let slip = collector.slip(12_800).await;
    let misread = format!("{}{}", &slip[..43], (slip.as_bytes()[43] - b'0' + 1) % 10);
    let problem = user.post("/v1/bills/recognise", bar_code(&misread)).await.problem(422, "plugin_refused");
    assert_eq!(problem.body["plugin_code"], "check_digit");
    assert!(problem.body["detail"].as_str().is_some_and(|detail| detail.contains("scan it again")), "{}", problem.body);
    let dear = collector.slip(50_000).await;
    let problem = user.post("/v1/bills/recognise", bar_code(&dear)).await.problem(422, "plugin_refused");
    assert_eq!(problem.body["plugin_code"], "amount_too_high");
    let late = collector.slip_with(json!({ "amount": 100, "due": "181031" })).await;
    let problem = user.post("/v1/bills/recognise", bar_code(&late)).await.problem(422, "plugin_refused");
    assert_eq!(problem.body["plugin_code"], "overdue");
    // Each call was recorded, also those that led to nothing.
    let (status, listed, said) = koban(&app.database, &["--json", "decision", "list", "--plugin", "bill-slip"]);
    assert!(status.success(), "{said}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["items"].as_array().expect("decisions").len(), 6, "{listed}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bill_is_paid_by_what_was_agreed_to_and_by_nothing_else() {
    let (app, collector, user) = town().await;
    let slip = collector.slip(12_800).await;
    let found = user.post("/v1/bills/recognise", bar_code(&slip)).await.ok();
    let mut other = found.clone();
    other["amount"] = json!(12_799);
    user.pay_recognised(&other, &slip, "k-1").await.problem(409, "conflict");
    // Who is paid is compared where the client says whom it has shown.
    for (field, key) in [("biller", "k-b"), ("reference", "k-r")] {
        let mut body = json!({ "payer": "bill-slip", "code": bar_code(&slip), "amount": 12_800, "currency": "JPY",
            "biller": found["biller"], "reference": found["reference"] });
        body[field] = json!("another");
        user.post("/v1/bills", body).key(key).await.problem(409, "conflict");
    }
    let mut elsewhere = found.clone();
    elsewhere["payer"] = json!("charge-atm");
    user.pay_recognised(&elsewhere, &slip, "k-2").await.problem(503, "channel_not_available");
    let poor = app.user_holding(12_799).await;
    poor.pay_recognised(&found, &slip, "k-3").await.problem(422, "insufficient_funds");
    assert!(poor.get("/v1/bills").await.ok()["items"].as_array().expect("bills").is_empty(), "no flow was opened");
    assert!(collector.book().await["payments"].as_array().expect("payments").is_empty());
    user.pay_recognised(&found, &slip, "k-4").await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bill_is_paid_once_whoever_has_the_slip() {
    let (app, collector, user) = town().await;
    let other = app.user_holding(50_000).await;
    let slip = collector.slip(12_800).await;
    let bill = user.pay_slip(&slip).await.created();
    other.pay_slip(&slip).await.problem(409, "bill_paid");
    user.ended_bill(&bill.id).await;
    other.pay_slip(&slip).await.problem(409, "bill_paid");
    assert_eq!((other.balance().await, paid_once(&collector).await), (50_000, (12_800, 1, 1)));
    other.get(format!("/v1/bills/{}", bill.id)).await.problem(404, "not_found");
    user.get(format!("/v1/charges/{}", bill.id)).await.problem(404, "not_found");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_is_paid_once_when_everybody_pays_it_at_the_same_moment() {
    let (app, collector, user) = town().await;
    let slip = collector.slip(1_000).await;
    let found = user.post("/v1/bills/recognise", bar_code(&slip)).await.ok();
    let mut payers = vec![user];
    for _ in 0..5 {
        payers.push(app.user_holding(10_000).await);
    }
    // Each under two keys.
    let mut tries = JoinSet::new();
    for number in 0..2 * payers.len() {
        let (found, slip, payer) = (found.clone(), slip.clone(), payers[number / 2].same());
        tries.spawn(async move { (number / 2, payer.pay_recognised(&found, &slip, &format!("once-{number}")).await) });
    }
    let (mut begun, mut refused) = (Vec::new(), 0);
    while let Some(tried) = tries.join_next().await {
        let (payer, outcome) = tried.expect("it ends");
        if outcome.reply.status == 201 {
            begun.push((payer, outcome.created().id));
        } else {
            outcome.problem(409, "bill_paid");
            refused += 1;
        }
    }
    let [(payer, bill)] = &begun[..] else { panic!("{begun:?} were begun") };
    assert_eq!(refused, 11);
    assert_eq!(payers[*payer].ended_bill(bill).await["standing"], "done");
    assert_eq!(paid_once(&collector).await, (1_000, 1, 1));
    let mut sum = 0;
    for payer in &payers {
        sum += payer.balance().await;
    }
    assert_eq!(sum, 50_000 + 5 * 10_000 - 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bill_that_came_to_nothing_can_be_paid_again() {
    let (app, collector, user) = town().await;
    let slip = collector.slip(12_800).await;
    collector.switch(json!({ "bills": "error" })).await;
    let failed = user.pay_slip(&slip).await.created();
    let failed = user.ended_bill(&failed.id).await;
    assert_eq!((&failed["standing"], &failed["note"]["code"]), (&json!("failed"), &json!("taken_back")), "{failed}");
    assert_eq!(user.balance().await, 50_000);
    assert_eq!(app.exposure("bill-slip").await.used.minor, 0);
    collector.switch(json!({ "bills": "normal" })).await;
    let bill = user.pay_slip(&slip).await.created();
    assert_eq!(user.ended_bill(&bill.id).await["standing"], "done");
    assert_eq!(user.balance().await, 37_200);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_after_and_the_bill_is_paid_once() {
    let (app, collector, user) = town().await;
    for (number, switch) in ["lost", "twice", "slow"].into_iter().enumerate() {
        collector.switch(json!({ "bills": switch, "slow_ms": 1_000 })).await;
        let slip = collector.slip(1_000).await;
        let bill = user.pay_slip(&slip).await.created();
        let ended = user.ended_bill(&bill.id).await;
        assert_eq!((&ended["standing"], minor(&ended, "paid")), (&json!("done"), 1_000), "{switch}: {ended}");
        let paid = 1_000 * (i64::try_from(number).expect("small") + 1);
        assert_eq!(
            (user.balance().await, collector.book().await["paid"].as_i64()),
            (50_000 - paid, Some(paid)),
            "{switch}"
        );
    }
    for payment in collector.book().await["payments"].as_array().expect("payments") {
        assert_eq!(payment["keys"].as_array().expect("keys").len(), 1, "one key for one effect: {payment}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_collector_keeps_the_money_set_aside_until_it_speaks() {
    let (app, collector, user) = town().await;
    let slip = collector.slip(12_800).await;
    collector.switch(json!({ "bills": "silent", "questions": "error" })).await;
    let bill = user.pay_slip(&slip).await.created();
    let checking = |bill: &Value| bill["standing"] == "checking";
    let bill = eventually("it is being checked", || user.bill(&bill.id), checking).await;
    assert_eq!((minor(&bill, "held"), minor(&bill, "paid")), (12_800, 0));
    assert!(bill["shows"].to_string().contains("never paid twice"), "{bill}");
    let id = bill["id"].as_str().expect("an id").to_owned();
    let wallet = user.wallet().await;
    assert_eq!((user.balance().await, minor(&wallet, "available")), (50_000, 37_200), "{wallet}");
    // Asking to stop changes nothing: the biller may have it.
    let stays = user.post(format!("/v1/bills/{id}/cancel"), json!({})).await.ok();
    assert_eq!(stays["standing"], "checking");
    collector.switch(json!({ "bills": "normal", "questions": "normal" })).await;
    let look = || user.bill(&id);
    let ended = eventually_for(std::time::Duration::from_secs(40), "the collector speaks", look, |bill| {
        bill["standing"] == "failed"
    });
    assert_eq!(ended.await["note"]["code"], "taken_back", "the payment never came, and never will");
    assert_eq!(user.balance().await, 50_000);
    app.ledger_is_clean().await;
}

/// A bill of which nobody knows whether it was paid, on a host whose clock the test moves; it has waited until an operator is asked.
async fn left_in_doubt(bills: &str) -> (TestApp, Collector, User, FlowId, Clock) {
    let clock = Clock::standing_at(Clock::machine().now());
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let shared = clock.clone();
    let collector = Collector::start_by(&app.base(), OutsideClock::new(move || shared.now().0)).await;
    seed_collector(&app.app, &collector, &[], (1_000_000, 100_000)).await;
    let user = app.user_holding(50_000).await;
    let slip = collector.slip(12_800).await;
    collector.switch(json!({ "bills": bills, "questions": "error" })).await;
    let bill = user.pay_slip(&slip).await.created();
    eventually("it is being checked", || user.bill(&bill.id), |bill| bill["standing"] == "checking").await;
    let id: FlowId = bill.id.parse().expect("a flow id");
    clock.advance_ms(31 * 60_000);
    let stuck = || async {
        jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
        flows::get(&app.app, id).await.expect("the flow").summary.stuck
    };
    let why = eventually("an operator is asked", stuck, Option::is_some).await.expect("a reason");
    assert!(why.contains("nobody knows whether the partner did `pay`"), "{why}");
    // So long after, nobody is signed in any more.
    let user = user.sign_in_again().await;
    (app, collector, user, id, clock)
}

#[tokio::test]
async fn a_capture_that_the_collector_proves_is_confirmed_by_an_operator() {
    let (app, collector, user, id, _) = left_in_doubt("lost").await;
    assert_eq!(minor(&user.bill(&id.to_string()).await, "held"), 12_800, "a stuck flow keeps its hold");
    let receipt = collector.book().await["payments"][0]["receipt"].as_str().expect("a receipt").to_owned();
    let confirm = |amount| Resolution::ConfirmCapture { amount: Money::yen(amount), reference: receipt.clone() };
    let resolve = async |resolution: Resolution| {
        flows::resolve(&app.app, &app.operator_ctx(), id, &resolution, None, "the collector has it").await
    };
    assert!(resolve(confirm(12_801)).await.is_err(), "no more than is set aside");
    let credit = Resolution::ConfirmCredit { amount: Money::yen(1), reference: "r".into() };
    assert!(resolve(credit).await.is_err(), "a bill brings no money");
    let (status, _, said) = koban(
        &app.database,
        &[
            "flow",
            "resolve",
            &id.to_string(),
            "--confirm-capture",
            "12800",
            "--reference",
            &receipt,
            "--reason",
            "it has it",
        ],
    );
    assert!(status.success(), "{said}");
    let bill = user.bill(&id.to_string()).await;
    assert_eq!((&bill["standing"], minor(&bill, "paid")), (&json!("done"), 12_800), "{bill}");
    assert_eq!(user.balance().await, 37_200);
    // The collector lists the same: nothing is open.
    collector.end_of_day().await;
    eventually("the file is taken", || app.exposure("bill-slip"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bill_that_an_operator_ends_gives_the_money_back() {
    let (app, collector, user, id, _) = left_in_doubt("silent").await;
    let end = flows::resolve(&app.app, &app.operator_ctx(), id, &Resolution::End, None, "it never came").await;
    assert!(end.is_ok_and(|end| end.value.summary.held == Money::yen(0)));
    let bill = user.bill(&id.to_string()).await;
    assert_eq!((&bill["standing"], &bill["note"]["code"]), (&json!("failed"), &json!("resolved_by_operator")));
    assert_eq!(bill["note"]["text"], "An operator closed this bill");
    assert_eq!(user.balance().await, 50_000);
    // It can be paid again.
    collector.switch(json!({ "bills": "normal", "questions": "normal" })).await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bill_in_doubt_that_is_retried_goes_on_by_itself() {
    let (app, collector, user, id, clock) = left_in_doubt("lost").await;
    collector.switch(json!({ "bills": "normal", "questions": "normal" })).await;
    flows::retry(&app.app, &app.operator_ctx(), id, "the collector is back").await.expect("retried");
    let look = || async {
        clock.advance_ms(5_000);
        user.bill(&id.to_string()).await
    };
    eventually("it is paid", look, |bill| bill["standing"] == "done").await;
    assert_eq!((user.balance().await, paid_once(&collector).await), (37_200, (12_800, 1, 1)));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_capture_that_the_collector_never_lists_or_lists_otherwise_waits_for_an_operator() {
    let (app, collector, user) = town().await;
    let slip = collector.slip(12_800).await;
    let bill = user.pay_slip(&slip).await.created();
    user.ended_bill(&bill.id).await;
    let operator = app.operator().await;
    let unsettled = app.exposure("bill-slip").await;
    assert_eq!(unsettled.used.minor, 12_800);
    let receipt = collector.book().await["payments"][0]["receipt"].clone();
    let body =
        json!({ "plugin": "bill-slip", "side": "capture", "reference": receipt, "reason": "the biller never got it" });
    let closed = operator.post("/v1/operator/differences/write-off", body).await.ok();
    assert_eq!((&closed["lost"]["amount"], &closed["to_suspense"]["amount"]), (&json!(0), &json!(12_800)), "{closed}");
    assert_eq!(app.exposure("bill-slip").await.used.minor, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_slip_is_looked_at_on_the_command_line() {
    let (app, collector, _) = town().await;
    let slip = collector.slip(12_800).await;
    let (status, said, log) = koban(&app.database, &["--json", "bill", "recognise", &slip]);
    assert!(status.success(), "{log}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["payer"], &said["amount"]["minor"]), (&json!("bill-slip"), &json!(12_800)), "{said}");
    let (status, _, log) = koban(&app.database, &["bill", "recognise", "4912345678904"]);
    assert!(status.code() == Some(3) && log.contains("no plugin that is switched on knows this code"), "{log}");
}
