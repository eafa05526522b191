//! Hostile guests: each attack is contained, recorded and answered with its typed fault, and a neighbour's calls never fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use koban_domain::guest::Verdict;
use koban_domain::ids::FlowId;
use koban_domain::records::{Ending, FaultClass, Record};
use koban_domain::releases::State;
use koban_service::flows::{self, FlowSummary};
use koban_service::page::Page;
use koban_service::{decisions, plugins};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{Caller as _, Channel, TestApp, User, eventually, koban, minor, text, whole, yen};

/// Somebody who pays and charges through other plugins all the while.
struct Neighbour {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Neighbour {
    async fn at_work(app: &TestApp) -> Neighbour {
        let atm = app.atm().await;
        let (user, shop) = (app.user_holding(50_000).await, app.shop().await);
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&made));
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                user.pay(&shop, 1_000).await.created();
                let (_, _, report) = atm.charge(&user, 1_000).await;
                assert_eq!(report["standing"], "booked", "{report}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Neighbour { stop, made, task }
    }

    /// No call of the neighbour failed, and there were some.
    async fn ends_unharmed(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a neighbour's calls never fail");
        assert!(self.made.load(Ordering::Relaxed) > 0, "the neighbour was at work");
    }
}

async fn app_with_neighbour() -> (TestApp, Neighbour) {
    let rules = [whole("night_from", 0), whole("night_to", 0), whole("user_10m_count", 1_000_000)];
    let app = TestApp::start().await.with_fraud_rules(&rules).await;
    let neighbour = Neighbour::at_work(&app).await;
    (app, neighbour)
}

async fn records_of(app: &TestApp, plugin: &str) -> Vec<Record> {
    let page = Page { after: None, limit: 100 };
    let kept = decisions::list(&app.app, Some(plugin), &page).await.expect("the decisions").items;
    kept.iter().map(|kept| kept.record().expect("nothing is erased")).collect()
}

async fn summary(app: &TestApp, charge: &str) -> FlowSummary {
    let id: FlowId = charge.parse().expect("a flow id");
    flows::get(&app.app, id).await.expect("the flow").summary
}

async fn is_stuck(app: &TestApp, charge: &str, because: &str) {
    let read = || summary(app, charge);
    let flow = eventually("the flow is stuck", read, |flow| flow.stuck.is_some()).await;
    let reason = flow.stuck.expect("a reason");
    assert!(reason.contains(because), "stuck because {reason}, not because of {because}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_attacks_its_host_ends_in_its_typed_fault() {
    let (app, neighbour) = app_with_neighbour().await;
    let (user, shop) = (app.user_holding(50_000).await, app.shop().await);
    app.fraud_policy(Verdict::Decline, Verdict::Decline).await;
    for (attack, classes) in [
        ("loop", &[FaultClass::FuelExhausted][..]),
        ("memory", &[FaultClass::MemoryDenied]),
        ("recursion", &[FaultClass::StackOverflow, FaultClass::Trap]),
        ("output", &[FaultClass::OutputTooLarge]),
        ("reasons", &[FaultClass::OutputTooLarge]),
        ("panic", &[FaultClass::Trap]),
        ("trap", &[FaultClass::Trap]),
        ("log-flood", &[FaultClass::HostDataTooLarge, FaultClass::FuelExhausted]),
        ("unknown-code", &[FaultClass::BadAnswer]),
        ("unknown-reason", &[FaultClass::BadAnswer]),
        ("score", &[FaultClass::BadAnswer]),
    ] {
        // Only payments of 5,000 are attacked: the neighbour's pass the same rule.
        app.install("hostile-rule", &[text("attack", attack), yen("from_amount", 5_000)], None).await;
        user.pay(&shop, 5_000).await.problem(403, "declined_by_fraud");
        let records = records_of(&app, "hostile-rule").await;
        let attacked = records.iter().find(|record| matches!(record.ending, Ending::Fault(_)));
        let Some(Record { ending: Ending::Fault(fault), .. }) = attacked else { panic!("{attack}: no fault recorded") };
        assert!(classes.contains(&fault.class), "{attack}: {fault}");
    }
    assert_eq!(user.balance().await, 50_000);
    neighbour.ends_unharmed().await;
    app.ledger_is_clean().await;
}

/// How a channel's attack is started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Form,
    Message,
}

/// Attacks on the rules of flows: when each begins, and what the flow is stuck because of. In parts, each on a host of its own: twenty faults
/// take a component out, and every attack makes three.
const BREAKING: [&[(&str, At, &str)]; 4] = [
    &[
        ("no-event", At::Message, "denied"),
        ("own-form", At::Form, "denied"),
        ("timer", At::Form, "denied"),
        ("old-event", At::Message, "denied"),
        ("same-key", At::Message, "denied"),
    ],
    &[
        ("negative", At::Message, "bad-answer"),
        ("hold", At::Message, "denied"),
        ("capture", At::Message, "denied"),
        ("release", At::Message, "denied"),
        ("huge-state", At::Form, "bad-answer"),
    ],
    &[
        ("many-effects", At::Form, "at most 16"),
        ("open-effects", At::Message, "at most 16"),
        ("many-proposals", At::Message, ""),
        ("unknown-endpoint", At::Form, "denied"),
        ("unknown-operation", At::Form, "denied"),
    ],
    &[
        ("same-effect-key", At::Form, "denied"),
        ("unknown-code", At::Message, "bad-answer"),
        ("loop", At::Message, "fuel-exhausted"),
        ("panic", At::Message, "trap"),
    ],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_breaks_a_rule_of_flows_is_stopped_and_brings_no_money() {
    for part in BREAKING {
        let (app, neighbour) = app_with_neighbour().await;
        for (attack, at, because) in part {
            let channel = app.hostile_channel(attack, (1_000_000, 0)).await;
            let user = app.user().await;
            let expecting = channel.begin(&user, 5_000).await;
            if *at == At::Message {
                expected(&app, &expecting.charge).await;
                let reply = channel.pay(&expecting.correlation, 1_000, &format!("{attack}-1")).await;
                assert_eq!(reply.status, 503, "{attack}: {}", reply.body);
            }
            is_stuck(&app, &expecting.charge, because).await;
            assert_eq!(user.balance().await, 0, "{attack}");
            let shown = user.charge(&expecting.charge).await;
            assert_eq!(shown["standing"], "checking", "{attack}: the user is told that somebody looks");
        }
        assert_eq!(app.exposure("hostile-channel").await.used.minor, 0);
        neighbour.ends_unharmed().await;
        app.ledger_is_clean().await;
    }
}

async fn is_taken_out(app: &TestApp) {
    let look = || async { plugins::get(&app.app, "hostile-channel").await.expect("the channel").state };
    eventually("it is taken out", look, |state| *state == State::Quarantined).await;
    let (_, listed, said) = koban(&app.database, &["--json", "audit", "list", "--subject", "hostile-channel"]);
    assert!(listed.contains("plugin.quarantine") && listed.contains("20 faults within a minute"), "{listed}{said}");
}

#[tokio::test]
async fn a_channel_whose_beginnings_break_a_rule_is_taken_out() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("begin-credit", (1_000_000, 0)).await;
    let user = app.user().await;
    for _ in 0..20 {
        let body = json!({ "channel": channel.id, "currency": "JPY" });
        user.post("/v1/charges", body).await.problem(503, "plugin_fault");
    }
    is_taken_out(&app).await;
    let body = json!({ "channel": channel.id, "currency": "JPY" });
    user.post("/v1/charges", body).await.problem(503, "channel_not_available");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_whose_steps_break_a_rule_is_taken_out() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("unknown-endpoint", (1_000_000, 0)).await;
    let user = app.user().await;
    // Each flow stops at its third fault.
    for _ in 0..7 {
        channel.begin(&user, 5_000).await;
    }
    is_taken_out(&app).await;
    app.ledger_is_clean().await;
}

/// Waits until the plugin has taken the form, so that its partner may call.
async fn expected(app: &TestApp, charge: &str) {
    let read = || summary(app, charge);
    eventually("the form is taken", read, |flow| flow.steps >= 2 || flow.stuck.is_some()).await;
}

#[tokio::test]
async fn a_beginning_that_breaks_a_rule_opens_no_flow() {
    let app = TestApp::start().await;
    for (attack, class) in [("begin-credit", None), ("begin-loop", Some(FaultClass::FuelExhausted))] {
        let channel = app.hostile_channel(attack, (1_000_000, 0)).await;
        let user = app.user().await;
        let body = json!({ "channel": channel.id, "currency": "JPY" });
        user.post("/v1/charges", body).await.problem(503, "plugin_fault");
        let list = user.get("/v1/charges").await.ok();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{attack}: {list}");
        let records = records_of(&app, "hostile-channel").await;
        assert!(!records.is_empty(), "{attack}: recorded");
        if let Some(class) = class {
            let Ending::Fault(fault) = &records[0].ending else { panic!("{attack}: {:?}", records[0].ending) };
            assert_eq!(fault.class, class);
        }
    }
    app.ledger_is_clean().await;
}

/// A proposal that the authorisation or the books refuse: the plugin is told, and what it then says is its own affair.
async fn refused(app: &TestApp, attack: &str, caps: (i64, i64), yen: i64, outcome: &str) -> (Channel, User) {
    let channel = app.hostile_channel(attack, caps).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    expected(app, &expecting.charge).await;
    let reply = channel.pay(&expecting.correlation, yen, &format!("{attack}-{yen}")).await;
    assert_eq!(reply.body["result"], "refused", "{attack}: {}", reply.body);
    assert!(reply.body.to_string().contains(outcome), "{attack}: {} is not {outcome}", reply.body);
    assert_eq!(user.balance().await, 0, "{attack}");
    (channel, user)
}

#[tokio::test]
async fn a_credit_beyond_the_authorisation_is_refused_with_its_code() {
    let app = TestApp::start().await;
    refused(&app, "beyond-authorisation", (1_000_000, 0), 1_000, "authorisation_exceeded").await;
    refused(&app, "none", (1_000_000, 0), 5_001, "authorisation_exceeded").await;
    refused(&app, "other-currency", (1_000_000, 0), 1_000, "currency_not_accepted").await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_credit_above_the_exposure_cap_is_refused() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("none", (5_000, 0)).await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (first, second) = (channel.begin(&hana, 5_000).await, channel.begin(&ken, 5_000).await);
    expected(&app, &first.charge).await;
    expected(&app, &second.charge).await;
    assert_eq!(channel.pay(&first.correlation, 4_000, "r-1").await.body["result"], "ok");
    let reply = channel.pay(&second.correlation, 1_001, "r-2").await;
    assert!(reply.body.to_string().contains("exposure_cap_reached"), "{}", reply.body);
    assert_eq!((hana.balance().await, ken.balance().await), (4_000, 0));
    assert_eq!(app.exposure("hostile-channel").await.used.minor, 4_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_credit_above_the_loss_budget_is_refused() {
    use koban_domain::guest::Side;
    use koban_service::differences::{self, WriteOffInput};
    let app = TestApp::start().await;
    let channel = app.hostile_channel("none", (100_000, 3_000)).await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (first, second) = (channel.begin(&hana, 5_000).await, channel.begin(&ken, 5_000).await);
    expected(&app, &first.charge).await;
    expected(&app, &second.charge).await;
    assert_eq!(channel.pay(&first.correlation, 3_000, "r-1").await.body["result"], "ok");
    let write_off = WriteOffInput {
        plugin: channel.id.into(),
        side: Side::Credit,
        reference: "r-1".into(),
        reason: "the partner does not know it".into(),
    };
    differences::write_off(&app.app, &app.operator_ctx(), write_off).await.expect("written off");
    let reply = channel.pay(&second.correlation, 1, "r-2").await;
    assert!(reply.body.to_string().contains("loss_budget_exhausted"), "{}", reply.body);
    let exposure = app.exposure(channel.id).await;
    assert_eq!((exposure.used.minor, exposure.lost.minor), (0, 3_000), "the two numbers bound what it cost");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn money_that_has_arrived_and_does_not_fit_goes_to_suspense() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("none", (5_000, 0)).await;
    let user = app.user_holding(1_000).await;
    let (first, second) = (channel.begin(&user, 5_000).await, channel.begin(&user, 5_000).await);
    expected(&app, &first.charge).await;
    expected(&app, &second.charge).await;
    assert_eq!(channel.pay(&first.correlation, 5_000, "r-1").await.body["result"], "ok");
    let reply = channel.pay_arrived(&second.correlation, 2_000, "r-2").await;
    assert_eq!(reply.body["result"], "ok", "{}", reply.body);
    assert_eq!(user.balance().await, 6_000, "the wallet could not take it");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_reference_is_credited_once_whatever_the_channel_says() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("same-reference", (1_000_000, 0)).await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (first, second) = (channel.begin(&hana, 5_000).await, channel.begin(&ken, 5_000).await);
    expected(&app, &first.charge).await;
    expected(&app, &second.charge).await;
    assert_eq!(channel.pay(&first.correlation, 1_000, "r-1").await.body["result"], "ok");
    let reply = channel.pay(&second.correlation, 1_000, "r-2").await;
    assert!(reply.body.to_string().contains("reference_used"), "{}", reply.body);
    assert_eq!((hana.balance().await, ken.balance().await), (1_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn after_done_nothing_more_is_credited() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("after-done", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    expected(&app, &expecting.charge).await;
    assert_eq!(channel.pay(&expecting.correlation, 1_000, "r-1").await.body["result"], "ok");
    assert_eq!(channel.pay(&expecting.correlation, 1_000, "r-2").await.status, 503);
    is_stuck(&app, &expecting.charge, "final").await;
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn no_more_is_reversed_than_was_credited() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("reverse-more", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    expected(&app, &expecting.charge).await;
    assert_eq!(channel.pay(&expecting.correlation, 1_000, "r-1").await.body["result"], "ok");
    let reply = channel.take_back(&expecting.correlation, 1_000, "r-1").await;
    assert!(reply.body.to_string().contains("reversal_exceeds_credit"), "{}", reply.body);
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_that_insists_on_what_was_refused_waits_for_an_operator() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("insist", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    expected(&app, &expecting.charge).await;
    assert_eq!(channel.pay(&expecting.correlation, 5_001, "r-1").await.status, 503);
    is_stuck(&app, &expecting.charge, "refused 2 times").await;
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_that_is_done_with_nothing_has_brought_nothing() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("done-with-nothing", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    let read = || user.charge(&expecting.charge);
    let charge = eventually("it is done", read, |charge| charge["standing"] == "done").await;
    assert_eq!((minor(&charge, "credited"), user.balance().await), (0, 0));
    channel.pay(&expecting.correlation, 1_000, "r-1").await;
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_flows_of_a_revoked_component_stop_and_new_ones_do_not_begin() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("none", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    expected(&app, &expecting.charge).await;
    let digest = plugins::get(&app.app, channel.id).await.expect("the plugin").digest;
    plugins::revoke(&app.app, &app.operator_ctx(), digest, "it attacks").await.expect("revoked");
    channel.pay(&expecting.correlation, 1_000, "r-1").await;
    assert_eq!(user.balance().await, 0, "nothing rests on it any more");
    let body = json!({ "channel": channel.id, "currency": "JPY" });
    let outcome = user.post("/v1/charges", body).await;
    assert_ne!(outcome.reply.status, 201, "{}", outcome.reply.body);
    app.ledger_is_clean().await;
}
