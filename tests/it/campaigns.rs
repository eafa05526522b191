//! Campaigns of a plugin: it hears what happens, the ledger holds it to its budgets, and what it cannot take waits for an operator.

use std::sync::Arc;
use std::time::Duration;

use koban_domain::money::Money;
use koban_domain::records::{Ending, FaultClass};
use koban_domain::releases::{Scope, State};
use koban_service::releases::{self, Move};
use koban_service::{decisions, page::Page, plugins};
use serde_json::{Value, json};

use crate::harness::{
    Caller, Database, HostProcess, Operator, Setup, Shop, TestApp, User, eventually, eventually_for, koban, minor,
    seed_money, seed_plugin, seed_shop, seed_till, seed_user, text, yen,
};
use crate::kills::free_address;

const TOOL: &str = "charge-campaign";

/// A host with the plugin, and campaigns bound to its budgets.
struct Fair {
    app: TestApp,
    operator: Operator,
    shop: Shop,
    /// The campaign that is bound to `spend_back`.
    spend_back: String,
}

fn campaign(plugin_budget: &str, budget: i64, per_user: Option<i64>) -> Value {
    json!({
        "name": plugin_budget, "budget": budget, "currency": "JPY", "per_user": per_user, "reason": "agreed with marketing",
        "bound": { "plugin": TOOL, "budget": plugin_budget, "lasts_days": 30 },
    })
}

impl Fair {
    /// 200 yen for the first charge of 1,000, and 5 % of payments from 1,000 on, out of this budget.
    async fn with_budget(budget: i64, per_user: Option<i64>) -> Fair {
        let app = TestApp::start().await;
        app.install(TOOL, &[yen("first_charge_bonus", 200)], None).await;
        let (operator, shop) = (app.operator().await, app.shop().await);
        operator.post("/v1/operator/campaigns", campaign("first_charge", 1_000, None)).await.created();
        let made = operator.post("/v1/operator/campaigns", campaign("spend_back", budget, per_user)).await.created();
        Fair { app, operator, shop, spend_back: made.id }
    }

    async fn bonus_is(&self, user: &User, wanted: i64) {
        let look = || async { minor(&user.wallet().await, "bonus") };
        eventually("the bonus", look, |found| *found == wanted).await;
    }

    async fn granted(&self) -> i64 {
        let path = format!("/v1/operator/campaigns/{}", self.spend_back);
        minor(&self.operator.get(path).await.ok(), "granted")
    }

    async fn subscription(&self) -> Value {
        subscription(&self.operator, TOOL).await
    }

    /// Waits until the plugin has taken so many events in all.
    async fn heard(&self, wanted: i64) -> Value {
        eventually("events", || self.subscription(), |found| minor(found, "heard") >= wanted).await
    }
}

/// A plugin's subscription; with nothing heard as long as the host has not come to make one.
async fn subscription(operator: &Operator, plugin: &str) -> Value {
    let reply = operator.get(format!("/v1/operator/subscriptions/{plugin}")).await.reply;
    match reply.status {
        404 => json!({ "heard": 0, "parked": 0, "remembered": 0 }),
        _ => reply.body,
    }
}

#[tokio::test]
async fn a_charge_and_a_payment_bring_bonus_and_a_refund_takes_its_share_back() {
    let fair = Fair::with_budget(10_000, None).await;
    let user = fair.app.user_holding(10_000).await;
    fair.bonus_is(&user, 200).await;
    fair.app.bring(user.id, 5_000).await;
    let payment = user.pay(&fair.shop, 3_000).await.created();
    // The bonus of the first charge pays first; 5 % of 3,000 come back.
    fair.bonus_is(&user, 150).await;
    let lots = user.get("/v1/wallet/lots").await.ok();
    assert_eq!(minor(&lots["items"][0], "amount"), 150);

    let refund = json!({ "amount": 1_000, "currency": "JPY" });
    fair.shop.post(format!("/v1/payments/{}/refunds", payment.id), refund.clone()).await.created();
    fair.bonus_is(&user, 100).await;
    fair.shop.post(format!("/v1/payments/{}/refunds", payment.id), refund).await.created();
    fair.bonus_is(&user, 50).await;
    assert_eq!(fair.granted().await, 150, "what is taken back does not return to the budget");

    // Money twice, a payment, two refunds.
    let subscription = fair.heard(5).await;
    assert_eq!((minor(&subscription, "parked"), minor(&subscription, "remembered")), (0, 1));
    let records = decisions::list(&fair.app.app, Some(TOOL), &Page { after: None, limit: 100 }).await.expect("records");
    let records: Vec<_> = records.items.iter().map(|kept| kept.record().expect("a whole record")).collect();
    let heard = records.iter().filter(|record| record.input.function() == "on-event.on-event");
    assert_eq!(heard.count(), 5, "each event is one call with one record");
    for record in &records {
        let path = format!("/v1/operator/decisions/{}/replay", record.id);
        assert_eq!(fair.operator.post(path, json!({})).await.ok()["same"], true, "{:?}", record.input);
    }
    fair.app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_budget_is_used_up_to_the_yen_and_never_passed_however_many_pay_at_once() {
    let fair = Fair::with_budget(1_050, Some(150)).await;
    let mut users = Vec::new();
    for _ in 0..10 {
        users.push(fair.app.user_holding(10_000).await);
    }
    // 100 for each of 30 payments: a user has at most 150 of it, all together at most 1,050.
    let shop = &fair.shop;
    let paying = users.iter().flat_map(|user| (0..3).map(move |_| user.pay(shop, 2_000)));
    for paid in futures_all(paying).await {
        paid.created();
    }
    let subscription = fair.heard(40).await;
    assert_eq!(minor(&subscription, "parked"), 0, "what is left out is no fault");
    assert_eq!(fair.granted().await, 1_000, "the eleventh hundred does not fit");
    fair.app.ledger_is_clean().await;
}

/// All of these at the same time.
async fn futures_all<F: IntoFuture>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(|one| Box::pin(one.into_future())).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        running.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn an_event_that_is_delivered_again_grants_nothing_again() {
    let fair = Fair::with_budget(10_000, None).await;
    let user = fair.app.user_holding(9_000).await;
    user.pay(&fair.shop, 2_000).await.created();
    fair.heard(2).await;
    let entries = fair.app.entries().await;
    // As if the place had never been written down: everything comes once more.
    let mut hand = fair.app.database.hand().await;
    hand.run("update subscriptions set sequence = 0, place = 0, version = plugin").await;
    hand.run("delete from plugin_values").await;
    hand.run("update subscriptions set kept = 0, kept_bytes = 0").await;
    fair.heard(4).await;
    assert_eq!(fair.app.entries().await, entries);
    fair.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_grant_once_for_each_event() {
    let fair = Fair::with_budget(100_000, None).await;
    let other = TestApp::on(Arc::clone(&fair.app.database), Setup::default()).await;
    let user = fair.app.user_holding(50_000).await;
    for number in 0..20 {
        let host = if number % 2 == 0 { &fair.app } else { &other };
        let user = User::signed_in(user.id, user.token.clone(), &host.anonymous());
        user.pay(&fair.shop, 2_000).await.created();
    }
    fair.heard(21).await;
    assert_eq!(fair.granted().await, 2_000);
    assert_eq!(minor(&fair.subscription().await, "heard"), 21);
    other.stop().await;
    fair.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_again_and_again_grants_each_bonus_once() {
    let database = Arc::new(Database::fresh().await);
    let address = free_address();
    let (user, shop, operator) = {
        let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
        app.fraud_policy(koban_domain::guest::Verdict::Decline, koban_domain::guest::Verdict::Allow).await;
        seed_plugin(&app.app, TOOL, &[], None).await;
        seed_till(&app.app).await;
        let (user, shop) = (seed_user(&app.app, true).await, seed_shop(&app.app, "5812").await);
        seed_money(&app.app, user.0, 200_000).await;
        let operator = app.operator().await;
        operator.post("/v1/operator/campaigns", campaign("spend_back", 100_000, None)).await.created();
        operator.post("/v1/operator/campaigns", campaign("first_charge", 1_000, None)).await.created();
        app.stop().await;
        (user, shop, operator)
    };
    drop(operator);
    let mut paid = 0;
    for round in 0..8 {
        let host = HostProcess::start_at(&database, "host", &address).await;
        let shop = Shop::new(shop.0, shop.1.clone(), &host.client());
        let payer = User::signed_in(user.0, user.1.clone(), &host.client());
        for number in 0..6 {
            payer.pay(&shop, 2_000).key(&format!("round-{round}-{number}")).await.created();
            paid += 1;
        }
        // Somewhere between the call, the commit and the next event.
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        host.kill();
    }
    let app = TestApp::on(Arc::clone(&database), Setup::default()).await;
    let operator = app.operator().await;
    let look = || async {
        let subscription = operator.get(format!("/v1/operator/subscriptions/{TOOL}")).await.ok();
        minor(&subscription, "heard")
    };
    eventually_for(Duration::from_secs(60), "events", look, |heard| *heard == paid + 1).await;
    let campaigns = operator.get("/v1/operator/campaigns").await.ok();
    let granted: i64 = campaigns["items"].as_array().expect("campaigns").iter().map(|one| minor(one, "granted")).sum();
    assert_eq!(granted, 100 * paid);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_a_plugin_cannot_take_is_put_aside_and_an_operator_gives_it_again_or_gives_it_up() {
    let app = TestApp::start().await;
    app.install(TOOL, &[], None).await;
    let (operator, shop, user) = (app.operator().await, app.shop().await, app.user_holding(10_000).await);
    // No campaign is bound to the budget: nobody should lose a bonus by that.
    user.pay(&shop, 2_000).await.created();
    let given_back = user.pay(&shop, 4_000).await.created();
    let of = |path: &str| format!("/v1/operator/subscriptions/{TOOL}{path}");
    let look = || async { minor(&subscription(&operator, TOOL).await, "parked") };
    eventually_for(Duration::from_secs(40), "two events are put aside", look, |parked| *parked == 2).await;
    let parked = operator.get(of("/parked")).await.ok();
    let (first, second) = (&parked["items"][0], &parked["items"][1]);
    assert_eq!(first["type"], "payment.captured");
    assert!(first["reason"].as_str().is_some_and(|why| why.contains("no campaign is bound")), "{first}");
    let event = |parked: &Value| parked["event"].as_str().expect("an id").to_owned();
    let decision = first["decision"].as_str().expect("the record of the last call");
    operator.get(format!("/v1/operator/decisions/{decision}")).await.ok();

    let retry = of(&format!("/parked/{}/retry", event(first)));
    operator.post(retry.clone(), json!({})).await.problem(503, "plugin_fault");
    operator.post("/v1/operator/campaigns", campaign("spend_back", 1_000, None)).await.created();
    let view = operator.post(retry.clone(), json!({})).await.ok();
    assert_eq!((minor(&view, "parked"), minor(&user.wallet().await, "bonus")), (1, 100));
    operator.post(retry, json!({})).await.problem(404, "not_found");
    // The refund was heard of when there was nothing to take back: a bonus now would be for nothing.
    shop.refund(&given_back, 4_000).await.created();
    let late = operator.post(of(&format!("/parked/{}/retry", event(second))), json!({})).await.problem(409, "conflict");
    assert!(late.body["detail"].as_str().is_some_and(|why| why.contains("dismiss the event")), "{}", late.body);
    let dismiss = of(&format!("/parked/{}/dismiss", event(second)));
    operator.post(dismiss.clone(), json!({ "reason": " " })).await.problem(400, "invalid_request");
    let view = operator.post(dismiss, json!({ "reason": "the campaign had not begun" })).await.ok();
    assert_eq!(minor(&view, "parked"), 0);
    assert_eq!(minor(&user.wallet().await, "bonus"), 100);
    let audit = operator.get("/v1/operator/audit?limit=20").await.ok();
    let acts: Vec<_> = audit["items"].as_array().expect("rows").iter().map(|row| row["act"].clone()).collect();
    assert!(acts.contains(&json!("subscription.retry")) && acts.contains(&json!("subscription.dismiss")), "{acts:?}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_campaign_is_bound_to_a_budget_that_is_there_and_by_itself() {
    let fair = Fair::with_budget(1_000, None).await;
    let refused = |body: Value| async { fair.operator.post("/v1/operator/campaigns", body).await };
    let with = |plugin: &str, budget: &str, days: i64| {
        let mut body = campaign(budget, 1_000, None);
        body["bound"] = json!({ "plugin": plugin, "budget": budget, "lasts_days": days });
        body
    };
    refused(with("nobody", "spend_back", 30)).await.problem(400, "invalid_request");
    refused(with(TOOL, "nothing", 30)).await.problem(400, "invalid_request");
    refused(with(TOOL, "spend_back", 0)).await.problem(400, "invalid_request");
    refused(with(TOOL, "spend_back", 30)).await.problem(409, "conflict");
    refused(campaign("first_charge", 1_000, Some(0))).await.problem(400, "invalid_request");
    // Taken off, another one may have it; what was granted stays counted.
    let mut off = campaign("spend_back", 1_000, None);
    off["bound"] = Value::Null;
    let put = fair.operator.put(format!("/v1/operator/campaigns/{}", fair.spend_back), off).await.ok();
    assert_eq!(put["bound"], Value::Null);
    let other = refused(with(TOOL, "spend_back", 30)).await.created();
    assert_eq!(other.body["bound"], json!({ "plugin": TOOL, "budget": "spend_back", "lasts_days": 30 }));
}

/// What comes of an attack: the class of its fault, if it is one, and how much it grants.
async fn attacked(attack: &str, class: Option<FaultClass>, loot: i64) {
    let fair = Fair::with_budget(10_000, None).await;
    let app = &fair.app;
    app.install("hostile-tool", &[text("attack", attack)], None).await;
    let mut body = campaign("loot", 10, None);
    body["bound"]["plugin"] = json!("hostile-tool");
    let campaign = fair.operator.post("/v1/operator/campaigns", body).await.created().id;
    let user = app.user_holding(5_000).await;
    fair.bonus_is(&user, 200).await;
    user.pay(&fair.shop, 2_000).await.created();
    // What the neighbour gave for the charge has paid; what it gives for the payment, and the loot.
    fair.bonus_is(&user, 100 + loot).await;
    let read = || async {
        let page = Page { after: None, limit: 100 };
        let kept = decisions::list(&app.app, Some("hostile-tool"), &page).await.expect("records").items;
        let records: Vec<_> = kept.iter().map(|kept| kept.record().expect("a whole record")).collect();
        let fault = |ending: &Ending| if let Ending::Fault(fault) = ending { Some(fault.class) } else { None };
        (records.len(), records.iter().find_map(|record| fault(&record.ending)))
    };
    let (_, found) = eventually(attack, read, |(calls, found)| *calls >= 2 || found.is_some()).await;
    assert_eq!(found, class, "{attack}");
    let granted = app.operator().await.get(format!("/v1/operator/campaigns/{campaign}")).await.ok();
    assert_eq!(minor(&granted, "granted"), loot, "{attack}");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_faults_gets_nothing_and_its_neighbour_goes_on() {
    attacked("loop", Some(FaultClass::FuelExhausted), 0).await;
    attacked("panic", Some(FaultClass::Trap), 0).await;
    attacked("many", Some(FaultClass::BadAnswer), 0).await;
    attacked("large", Some(FaultClass::BadAnswer), 0).await;
}

#[tokio::test]
async fn a_tool_gets_nothing_that_is_not_its_own() {
    attacked("foreign-budget", Some(FaultClass::Denied), 0).await;
    attacked("free", Some(FaultClass::BadAnswer), 0).await;
    attacked("negative", Some(FaultClass::BadAnswer), 0).await;
    attacked("long-reason", Some(FaultClass::BadAnswer), 0).await;
}

#[tokio::test]
async fn a_tool_gets_one_bonus_for_an_event_and_none_for_a_bonus() {
    attacked("thanks", None, 1).await;
    attacked("twice", None, 1).await;
    attacked("greedy", None, 0).await;
    // What it gives for the payment is its own; a bonus for that bonus is not given, nor for its neighbour's.
    attacked("round", Some(FaultClass::BadAnswer), 1).await;
}

#[tokio::test]
async fn a_tool_that_asks_for_what_is_not_done_or_for_more_memory_than_it_has_is_not_taken() {
    for (attack, payments, because) in [("tell", 1, "does not tell"), ("fill", 13, "at most 200")] {
        let app = TestApp::start().await;
        app.install("hostile-tool", &[text("attack", attack)], None).await;
        let (operator, shop, user) = (app.operator().await, app.shop().await, app.user_holding(10_000).await);
        let mut body = campaign("loot", 10, None);
        body["bound"]["plugin"] = json!("hostile-tool");
        let campaign = operator.post("/v1/operator/campaigns", body).await.created().id;
        for _ in 0..payments {
            user.pay(&shop, 10).await.created();
        }
        let of = |path: &str| format!("/v1/operator/subscriptions/hostile-tool{path}");
        let look = || async { subscription(&operator, "hostile-tool").await };
        let view = eventually_for(Duration::from_secs(30), attack, look, |view| minor(view, "parked") == 1).await;
        assert_eq!(minor(&view, "heard"), payments - 1);
        assert!(minor(&view, "remembered") <= 200, "{view}");
        let parked = operator.get(of("/parked")).await.ok();
        let why = parked["items"][0]["reason"].as_str().expect("a reason").to_owned();
        assert!(why.contains(because), "{attack}: {why}");
        assert_eq!(minor(&operator.get(format!("/v1/operator/campaigns/{campaign}")).await.ok(), "granted"), 0);
        app.ledger_is_clean().await;
    }
}

#[tokio::test]
async fn a_tool_of_one_merchant_hears_of_no_other() {
    let fair = Fair::with_budget(10_000, None).await;
    let (app, here, there) = (&fair.app, &fair.shop, fair.app.shop().await);
    let digest = plugins::get(&app.app, TOOL).await.expect("the tool").digest;
    plugins::set_enabled(&app.app, &app.operator_ctx(), TOOL, false).await.expect("switched off for the platform");
    let step = Move { scope: Scope::Merchant(here.id), ..Move::to(State::Enabled) };
    releases::move_to(&app.app, &app.operator_ctx(), TOOL, digest, &step).await.expect("switched on for a merchant");
    let user = app.user_holding(9_000).await;
    user.pay(&there, 2_000).await.created();
    user.pay(here, 4_000).await.created();
    fair.bonus_is(&user, 200).await;
    user.pay(&there, 2_000).await.created();
    user.pay(here, 1_000).await.created();
    let subscription = fair.heard(2).await;
    assert_eq!((minor(&subscription, "heard"), minor(&subscription, "parked")), (2, 0));
    let records = decisions::list(&app.app, Some(TOOL), &Page { after: None, limit: 100 }).await.expect("records");
    assert_eq!(records.items.len(), 2, "neither the charge nor the other merchant's payments");
    for kept in &records.items {
        assert_eq!(kept.record().expect("whole").context.scope, here.id.to_string(), "it is told whose it is");
    }
    for scope in [Scope::Merchant(there.id), Scope::Platform] {
        let step = Move { scope, ..Move::to(State::Enabled) };
        let refused = releases::move_to(&app.app, &app.operator_ctx(), TOOL, digest, &step).await;
        let refused = refused.expect_err("it is switched on for a merchant").to_string();
        assert!(refused.contains("scope") && refused.contains(&format!("enabled at {}", here.id)), "{refused}");
    }
    app.ledger_is_clean().await;
}

/// Goal: what a tool has heard at one scope is never told at another.
#[tokio::test]
async fn a_tool_takes_what_it_remembers_to_no_other_scope() {
    let fair = Fair::with_budget(10_000, None).await;
    let (app, ctx) = (&fair.app, fair.app.operator_ctx());
    let _user = app.user_holding(9_000).await;
    assert_eq!(minor(&fair.heard(1).await, "remembered"), 1);
    let digest = plugins::get(&app.app, TOOL).await.expect("the tool").digest;
    plugins::set_enabled(&app.app, &ctx, TOOL, false).await.expect("switched off for the platform");
    let there = Move { scope: Scope::Merchant(fair.shop.id), ..Move::to(State::Enabled) };
    let refused = releases::move_to(&app.app, &ctx, TOOL, digest, &there).await;
    let refused = refused.expect_err("it remembers").to_string();
    assert!(refused.contains("remembers is of platform") && refused.contains("another id"), "{refused}");
    releases::move_to(&app.app, &ctx, TOOL, digest, &Move::to(State::Enabled)).await.expect("where it was");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_plugins_remember_of_a_user_goes_with_what_records_hold_of_them() {
    let fair = Fair::with_budget(10_000, None).await;
    let (hana, _ken) = (fair.app.user_holding(9_000).await, fair.app.user_holding(9_000).await);
    assert_eq!(minor(&fair.heard(2).await, "remembered"), 2);
    let user = hana.id.to_string();
    let erase = ["decision", "erase", "--user", &user, "--reason", "she has left"];
    let (status, _, said) = koban(&fair.app.database, &erase);
    assert!(status.success(), "{said}");
    let view = fair.subscription().await;
    assert_eq!((minor(&view, "remembered"), minor(&view, "remembered_bytes")), (1, 20), "{view}");
    fair.app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_share_of_a_user_binds_operators_as_well() {
    let app = TestApp::start().await;
    let (operator, user) = (app.operator().await, app.user().await);
    let body = json!({ "name": "Visit", "budget": 1_000, "currency": "JPY", "per_user": 300, "reason": "spring" });
    let campaign = operator.post("/v1/operator/campaigns", body).await.created().id;
    let grant = |amount: i64| {
        let body =
            json!({ "user": user.id, "amount": amount, "currency": "JPY", "expires_on": far(), "reason": "a visit" });
        operator.post(format!("/v1/operator/campaigns/{campaign}/grants"), body)
    };
    grant(200).await.created();
    grant(101).await.problem(422, "campaign_share_exhausted");
    grant(100).await.created();
    assert_eq!(minor(&user.wallet().await, "bonus"), Money::yen(300).minor);
    app.ledger_is_clean().await;
}

/// A day that is not far away in any year of this house.
fn far() -> String {
    let now = koban_service::clock::Clock::machine().now();
    now.plus_ms(30 * 86_400_000).jst_date()
}
