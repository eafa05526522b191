//! Flows that need an operator: listed with reason, age and money, let go on, or ended by a named correcting entry.

use koban_domain::flows::Resolution;
use koban_domain::ids::FlowId;
use koban_domain::money::Money;
use koban_service::flows::{self, FlowFilter, Reply};
use koban_service::page::Page;
use koban_store::flows::Which;
use serde_json::{Value, json};

use crate::harness::{Caller as _, Channel, Expecting, TestApp, User, eventually, koban, minor};

/// A flow whose plugin faults at its partner's message.
async fn stuck_flow(app: &TestApp, attack: &str) -> (Channel, User, Expecting) {
    let channel = app.hostile_channel(attack, (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    let read = || async { flows::get(&app.app, id).await.expect("the flow").summary };
    eventually("the form is taken", read, |flow| flow.steps >= 2).await;
    assert_eq!(channel.pay(&expecting.correlation, 1_000, "r-1").await.status, 503);
    eventually("the flow is stuck", read, |flow| flow.stuck.is_some()).await;
    (channel, user, expecting)
}

#[tokio::test]
async fn a_stuck_flow_is_listed_with_its_reason_its_age_and_its_money() {
    let app = TestApp::start().await;
    let (_, user, expecting) = stuck_flow(&app, "panic").await;
    let filter = FlowFilter { which: Which::Stuck, plugin: None };
    let list = flows::list(&app.app, &filter, &Page::default()).await.expect("the flows");
    assert_eq!(list.items.len(), 1);
    let flow = &list.items[0];
    assert_eq!((flow.id.to_string(), flow.user), (expecting.charge.clone(), user.id));
    assert!(flow.stuck.as_deref().is_some_and(|reason| reason.contains("trap")), "{:?}", flow.stuck);
    assert!(flow.age_ms > 0);
    assert_eq!((flow.credited, flow.may_come), (Money::yen(0), Money::yen(5_000)));

    let (status, listed, said) = koban(&app.database, &["--json", "flow", "list", "--stuck"]);
    assert!(status.success(), "{said}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["items"][0]["id"], expecting.charge, "{listed}");
    let (status, shown, said) = koban(&app.database, &["--json", "flow", "show", &expecting.charge]);
    assert!(status.success(), "{said}");
    assert!(shown.contains("dec_"), "it names the decisions behind it: {shown}");
}

#[tokio::test]
async fn a_flow_that_is_retried_takes_the_event_it_was_stuck_at() {
    let app = TestApp::start().await;
    let (channel, user, expecting) = stuck_flow(&app, "panic").await;
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    // The plugin is mended: its flows go on with the settings of today.
    app.hostile_channel("none", (1_000_000, 0)).await;
    let ctx = app.operator_ctx();
    let retried = flows::retry(&app.app, &ctx, id, "the settings are mended").await.expect("retried");
    assert!(!retried.replayed);
    let again = flows::retry(&app.app, &ctx, id, "the settings are mended").await.expect("the first answer");
    assert!(again.replayed);
    eventually("the money comes", || user.balance(), |balance| *balance == 1_000).await;
    assert_eq!(user.charge(&expecting.charge).await["standing"], "done");
    let reply = channel.pay(&expecting.correlation, 1_000, "r-1").await;
    assert_eq!(reply.body["result"], "ok", "the partner's repeated call gets the reply: {}", reply.body);
    assert_eq!(user.balance().await, 1_000);
    assert!(flows::retry(&app.app, &app.operator_ctx(), id, "once more").await.is_err(), "it is not stuck");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_credit_that_the_partner_proved_is_confirmed_by_an_operator() {
    let app = TestApp::start().await;
    let (channel, user, expecting) = stuck_flow(&app, "panic").await;
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    let confirm = |yen| Resolution::ConfirmCredit { amount: Money::yen(yen), reference: "r-1".into() };
    let beyond = flows::resolve(
        &app.app,
        &app.operator_ctx(),
        id,
        &confirm(5_001),
        Some(Reply::Refuse),
        "on the partner's list",
    )
    .await;
    assert!(beyond.is_err(), "not more than the user agreed to");
    let ctx = app.operator_ctx();
    flows::resolve(&app.app, &ctx, id, &confirm(1_000), Some(Reply::Refuse), "on the partner's list")
        .await
        .expect("resolved");
    let again = flows::resolve(&app.app, &ctx, id, &confirm(1_000), Some(Reply::Refuse), "on the partner's list")
        .await
        .expect("the same");
    assert!(again.replayed);
    assert_eq!(user.balance().await, 1_000);
    let charge = user.charge(&expecting.charge).await;
    assert_eq!((charge["standing"].as_str(), minor(&charge, "credited")), (Some("done"), 1_000));
    channel.pay(&expecting.correlation, 1_000, "r-1").await;
    assert_eq!(user.balance().await, 1_000, "the reference is used for ever");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_operator_takes_back_what_a_flow_credited() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("after-done", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    let read = || async { flows::get(&app.app, id).await.expect("the flow").summary };
    eventually("the form is taken", read, |flow| flow.steps >= 2).await;
    channel.pay(&expecting.correlation, 1_000, "r-1").await;
    channel.pay(&expecting.correlation, 1_000, "r-2").await;
    let flow = eventually("the flow is stuck", read, |flow| flow.stuck.is_some()).await;
    assert_eq!(flow.credited, Money::yen(1_000), "money is at stake");
    flows::resolve(&app.app, &app.operator_ctx(), id, &Resolution::ReverseCredits, None, "the partner took it back")
        .await
        .expect("resolved");
    assert_eq!((user.balance().await, user.receivable().await), (0, 0));
    let more = flows::resolve(&app.app, &app.operator_ctx(), id, &Resolution::ReverseCredits, None, "once more").await;
    assert!(more.is_err(), "nothing is left to reverse");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_flow_is_ended_without_money_and_its_waiting_call_is_answered() {
    let app = TestApp::start().await;
    let (channel, user, expecting) = stuck_flow(&app, "panic").await;
    let (status, _, said) =
        koban(&app.database, &["flow", "resolve", &expecting.charge, "--end", "--reason", "nothing was paid"]);
    assert!(status.success(), "{said}");
    let charge = user.charge(&expecting.charge).await;
    assert_eq!((charge["standing"].as_str(), user.balance().await), (Some("failed"), 0));
    assert_eq!(charge["note"]["code"], "resolved_by_operator");
    assert_eq!(channel.pay(&expecting.correlation, 1_000, "r-1").await.status, 410);
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn every_act_of_an_operator_stands_in_the_audit_log_with_its_reason() {
    let app = TestApp::start().await;
    let (_, _, expecting) = stuck_flow(&app, "panic").await;
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    flows::resolve(&app.app, &app.operator_ctx(), id, &Resolution::End, None, "a reason to be found")
        .await
        .expect("ended");
    let mut hand = app.database.hand().await;
    let told = hand.texts("select detail from audit where act = 'flow.resolve'").await;
    assert!(told.len() == 1 && told[0].contains("a reason to be found"), "{told:?}");
    assert!(
        flows::resolve(&app.app, &app.operator_ctx(), id, &Resolution::End, None, " ").await.is_err(),
        "a reason is asked"
    );
}

#[tokio::test]
async fn an_operator_sees_flows_through_the_api() {
    let app = TestApp::start().await;
    let (_, _, expecting) = stuck_flow(&app, "panic").await;
    let operator = app.operator().await;
    let list = operator.get("/v1/operator/flows").await.ok();
    assert_eq!(list["items"][0]["id"], expecting.charge, "{list}");
    assert_eq!(operator.get(format!("/v1/operator/flows/{}", expecting.charge)).await.ok()["id"], expecting.charge);
    let user = app.user().await;
    user.get("/v1/operator/flows").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_stuck_flow_ends_with_an_adjustment_of_two_people() {
    let app = TestApp::start().await;
    let (_, user, expecting) = stuck_flow(&app, "panic").await;
    let (one, other) = (app.operator().await, app.operator().await);
    let id: FlowId = expecting.charge.parse().expect("a flow id");
    let is_stuck = async || flows::get(&app.app, id).await.expect("the flow").summary.stuck.is_some();

    let line = json!({ "debit": { "class": "write-off" }, "credit": { "class": "prepaid", "owner": user.id },
        "amount": 700, "currency": "JPY" });
    let proposal = |flow: Option<&str>| json!({ "lines": [line], "flow": flow, "reason": "agreed by telephone" });
    let propose = "/v1/operator/adjustments";
    one.post(propose, proposal(Some("flw_00000000000070008000000000000000"))).await.problem(404, "not_found");
    let unbound = one.post(propose, proposal(None)).await.created();
    let bound = one.post(propose, proposal(Some(&expecting.charge))).await.created();
    assert_eq!(bound.body["flow"], expecting.charge);

    let resolve = format!("/v1/operator/flows/{id}/resolve");
    let with = |adjustment: &str| json!({ "resolution": "adjust", "adjustment": adjustment, "reply": "refuse", "reason": "agreed by telephone" });
    other.post(&resolve, with(&unbound.id)).await.problem(409, "conflict");
    one.post(&resolve, with(&bound.id)).await.problem(403, "second_person_required");
    let alone = format!("{propose}/{}/approve", bound.id);
    other.post(alone, json!({ "reason": "agreed" })).await.problem(409, "conflict");
    let silent = json!({ "resolution": "adjust", "adjustment": bound.id, "reason": "agreed" });
    assert_eq!(other.post(&resolve, silent).await.problem(400, "invalid_request").body["field"], "reply");
    let nothing = json!({ "resolution": "adjust", "reason": "agreed" });
    assert_eq!(other.post(&resolve, nothing).await.problem(400, "invalid_request").body["field"], "adjustment");
    let both = json!({ "resolution": "end", "adjustment": bound.id, "reason": "agreed" });
    assert_eq!(other.post(&resolve, both).await.problem(400, "invalid_request").body["field"], "adjustment");
    assert_eq!((user.balance().await, is_stuck().await), (0, true), "nothing has happened yet");

    let resolved = other.post(&resolve, with(&bound.id)).key("r1").await.ok();
    assert_eq!((resolved["standing"].as_str(), user.balance().await), (Some("failed"), 700), "{resolved}");
    assert!(other.post(&resolve, with(&bound.id)).key("r1").await.replayed());
    other.post(&resolve, with(&bound.id)).key("r2").await.problem(409, "conflict");
    assert_eq!(user.balance().await, 700);
    let adjustment = one.get(format!("{propose}/{}", bound.id)).await.ok();
    assert_eq!(adjustment["state"], "approved");
    let audit = one.get(format!("/v1/operator/audit?subject={id}&act=flow.resolve")).await.ok();
    assert!(audit["items"][0]["detail"].to_string().contains(&bound.id), "{audit}");
    app.ledger_is_clean().await;
}
