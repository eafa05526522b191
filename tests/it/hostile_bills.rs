//! A payer of bills that attacks the ledger: no more leaves a wallet than its owner agreed to and a partner's word supports.

use koban_domain::ids::FlowId;
use koban_service::flows::{self, FlowSummary};
use serde_json::json;

use crate::harness::{Caller as _, Channel, Outcome, TestApp, User, eventually, minor, unique};

impl Channel {
    /// Installs the hostile payer with this attack; its partner is played by the test.
    async fn payer(app: &TestApp, attack: &str) -> Channel {
        Channel::install_as("hostile-payer", app, attack, (1_000_000, 0)).await
    }

    /// A user pays the bill with this reference, over so many yen.
    async fn bill(&self, user: &User, reference: &str, yen: i64) -> Outcome {
        let code = json!({ "source": "bar-code", "content": format!("bill:{reference}:{yen}") });
        let body = json!({ "payer": "hostile-payer", "code": code, "amount": yen, "currency": "JPY" });
        user.post("/v1/bills", body).await
    }

    /// The partner says that it took so much.
    async fn paid(&self, correlation: &str, yen: i64, reference: &str) -> u16 {
        let body = json!({ "correlation": correlation, "amount": yen, "reference": reference });
        self.say("paid", body).await.status
    }
}

async fn summary(app: &TestApp, bill: &str) -> FlowSummary {
    let id: FlowId = bill.parse().expect("a flow id");
    flows::get(&app.app, id).await.expect("the flow").summary
}

async fn is_stuck(app: &TestApp, bill: &str, because: &str) {
    let flow = eventually("the flow is stuck", || summary(app, bill), |flow| flow.stuck.is_some()).await;
    let reason = flow.stuck.expect("a reason");
    assert!(reason.contains(because), "stuck because {reason}, not because of {because}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_that_takes_more_or_without_a_word_is_stopped_and_the_money_stays_set_aside() {
    let app = TestApp::start().await;
    for (attack, because) in [
        // The books refuse it twice, or a rule is broken three times: an operator looks, and nothing was taken meanwhile.
        ("capture-beyond", "refused"),
        ("capture-twice", "refused"),
        ("capture-released", "refused"),
        ("capture-no-event", "no authenticated answer or message"),
        ("credit", "not granted by the manifest"),
        ("fee-of-all", "a fee is a part"),
        ("negative", "is not positive"),
    ] {
        let payer = Channel::payer(&app, attack).await;
        let user = app.user_holding(10_000).await;
        let reference = unique("bill");
        let bill = payer.bill(&user, &reference, 4_000).await.created();
        payer.paid(&reference, 4_000, &reference).await;
        is_stuck(&app, &bill.id, because).await;
        let shown = user.get(format!("/v1/bills/{}", bill.id)).await.ok();
        assert_eq!((minor(&shown, "held"), minor(&shown, "paid")), (4_000, 0), "{attack}: {shown}");
        assert_eq!(shown["standing"], "checking", "{attack}");
        assert_eq!(user.balance().await, 10_000, "{attack}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_rests_on_no_timer_and_a_hold_is_not_let_go_while_a_call_is_open() {
    let app = TestApp::start().await;
    let payer = Channel::payer(&app, "capture-timer").await;
    let user = app.user_holding(10_000).await;
    let bill = payer.bill(&user, &unique("bill"), 4_000).await.created();
    is_stuck(&app, &bill.id, "no authenticated answer or message").await;
    for attack in ["release-asking", "end-asking"] {
        let payer = Channel::payer(&app, attack).await;
        let user = app.user_holding(10_000).await;
        let reference = unique("bill");
        let bill = payer.bill(&user, &reference, 4_000).await.created();
        // Its partner does not listen: the call is tried for a minute, and so long it is open.
        payer.paid(&reference, 4_000, &reference).await;
        is_stuck(&app, &bill.id, "while the call `ask` is open").await;
        assert_eq!(minor(&user.get(format!("/v1/bills/{}", bill.id)).await.ok(), "held"), 4_000);
    }
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_or_held_after_the_end() {
    let app = TestApp::start().await;
    for attack in ["capture-after-done", "hold-after-done"] {
        let payer = Channel::payer(&app, attack).await;
        let user = app.user_holding(10_000).await;
        let reference = unique("bill");
        let bill = payer.bill(&user, &reference, 4_000).await.created();
        assert_eq!(payer.paid(&reference, 4_000, &reference).await, 200);
        eventually("it is done", || summary(&app, &bill.id), |flow| flow.final_at.is_some()).await;
        payer.paid(&reference, 1, "more").await;
        is_stuck(&app, &bill.id, "a final flow may not propose").await;
        assert_eq!(user.balance().await, 6_000, "{attack}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_holds_what_was_agreed_to_and_takes_nothing() {
    let app = TestApp::start().await;
    let user = app.user_holding(10_000).await;
    for attack in ["hold-beyond", "hold-twice"] {
        let payer = Channel::payer(&app, attack).await;
        payer.bill(&user, &unique("bill"), 4_000).await.problem(422, "authorisation_exceeded");
    }
    let payer = Channel::payer(&app, "begin-capture").await;
    payer.bill(&user, &unique("bill"), 4_000).await.problem(503, "plugin_fault");
    assert!(user.get("/v1/bills").await.ok()["items"].as_array().expect("bills").is_empty());
    assert_eq!((user.balance().await, app.exposure("hostile-payer").await.used.minor), (10_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_is_captured_once_and_what_is_never_captured_goes_back() {
    let app = TestApp::start().await;
    let payer = Channel::payer(&app, "same-reference").await;
    let user = app.user_holding(10_000).await;
    let (first, second) = (unique("bill"), unique("bill"));
    let paid = payer.bill(&user, &first, 1_000).await.created();
    let again = payer.bill(&user, &second, 2_000).await.created();
    assert_eq!(payer.paid(&first, 1_000, "x").await, 200);
    payer.paid(&second, 2_000, "x").await;
    is_stuck(&app, &again.id, "refused").await;
    assert_eq!(user.balance().await, 9_000);
    assert!(summary(&app, &paid.id).await.final_at.is_some());

    let payer = Channel::payer(&app, "done-with-hold").await;
    let reference = unique("bill");
    let bill = payer.bill(&user, &reference, 3_000).await.created();
    assert_eq!(payer.paid(&reference, 3_000, "y").await, 200);
    eventually("it is done", || summary(&app, &bill.id), |flow| flow.final_at.is_some()).await;
    let wallet = user.wallet().await;
    assert_eq!(minor(&wallet, "available"), 7_000, "2,000 are still set aside by the stuck one: {wallet}");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_payer_can_take_is_bounded_by_its_cap() {
    let app = TestApp::start().await;
    let payer = Channel::install_as("hostile-payer", &app, "none", (5_000, 0)).await;
    let user = app.user_holding(50_000).await;
    let mut bills = Vec::new();
    for _ in 0..5 {
        let reference = unique("bill");
        payer.bill(&user, &reference, 1_000).await.created();
        bills.push(reference);
    }
    payer.bill(&user, &unique("bill"), 1_000).await.problem(422, "exposure_cap_reached");
    for reference in &bills {
        assert_eq!(payer.paid(reference, 1_000, reference).await, 200);
    }
    payer.bill(&user, &unique("bill"), 1).await.problem(422, "exposure_cap_reached");
    assert_eq!(user.balance().await, 45_000);
    app.ledger_is_clean().await;
}
