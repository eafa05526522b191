//! Where a release decides: beside the others, for a share, for one merchant, for all; and how it leaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::guest::Verdict;
use koban_domain::releases::{Scope, State};
use koban_runtime::{Door, DoorConfig};
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{beside, decisions, jobs, plugins, publishers};
use koban_store::shadows as shadow_rows;
use serde_json::json;

use super::{
    act, acts, attacking, decided_by, enabled, installed, moved, panicking, rules, signing_key, standing, strict,
};
use crate::harness::{Caller as _, Folder, Setup, TestApp, User, eventually, eventually_for, koban, package_as};

#[tokio::test]
async fn a_rule_in_shadow_is_asked_beside_every_decision_and_changes_none() {
    let app = TestApp::start().await;
    let stable = enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let strict = installed(&app, package_as("fraud-rules", "0.2.1"), &strict(500)).await;
    moved(&app, &strict, &Move::to(State::Shadow)).await;
    let (user, shop) = (app.user_holding(100_000).await, app.shop().await);
    // The first decision only makes the shadow ready.
    let asked = || beside::agreement(&app.app, "fraud-rules", strict.digest);
    let mut paid = 0;
    let first = || async {
        user.pay(&shop, 100).await.created();
        asked().await.expect("counted").calls
    };
    eventually("the shadow is ready", first, |calls| *calls > 0).await;
    for amount in [100, 501, 600] {
        let made = user.pay(&shop, amount).await.created();
        assert_eq!(decided_by(&app, &made).await, stable, "the shadow decides nothing");
        paid += 1;
    }
    let agreement =
        eventually("each is asked", || async { asked().await.expect("counted") }, |it| it.differ == 2).await;
    assert!(agreement.calls > paid && agreement.faults == 0, "{agreement:?}");
    let calls = shadow_rows::list(&app.app.store, "fraud-rules", strict.digest, None, 10).await.expect("listed");
    let differs: Vec<_> = calls.iter().filter(|call| call.verdict == Some(Verdict::Decline)).collect();
    assert_eq!(differs.len(), 2);
    for call in differs {
        assert_eq!(call.decided, Verdict::Allow);
        // A call is marked as one beside before its record is written, so that it is never taken for one that counted.
        let record = || async { decisions::get(&app.app, call.decision).await.ok() };
        let decision = eventually("its record", record, Option::is_some).await.expect("its record");
        assert_eq!(decision.kept.head.component, strict.digest);
        let beside = decisions::get(&app.app, call.beside.expect("a decision")).await.expect("its record");
        assert_eq!(beside.kept.head.component, stable);
    }
    // Enabled, it decides what it would have decided.
    moved(&app, &strict, &Move::to(State::Enabled)).await;
    user.pay(&shop, 501).await.problem(403, "declined_by_fraud");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_shadow_that_faults_harms_no_payment() {
    let app = TestApp::start().await;
    let shadow = installed(&app, package_as("hostile-rule", "0.2.0"), &panicking()).await;
    moved(&app, &shadow, &Move::to(State::Shadow)).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let pay = || async {
        user.pay(&shop, 1).await.created();
        beside::agreement(&app.app, "hostile-rule", shadow.digest).await.expect("counted").faults
    };
    eventually("the shadow is asked", pay, |faults| *faults > 2).await;
    app.ledger_is_clean().await;
}

/// Goal: the same people always see the canary. Method: forty users pay three times each while it has half of them.
#[tokio::test]
async fn a_canary_decides_for_a_share_of_people_and_always_for_the_same() {
    let app = TestApp::start().await;
    let stable = enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let canary = installed(&app, package_as("fraud-rules", "0.2.1"), &rules(&[])).await;
    moved(&app, &canary, &Move { share: 500, ..Move::to(State::Canary) }).await;
    let shop = app.shop().await;
    let (mut with, mut without) = (0, 0);
    for _ in 0..40 {
        let user = app.user_holding(1_000).await;
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            seen.insert(decided_by(&app, &user.pay(&shop, 1).await.created()).await);
        }
        assert_eq!(seen.len(), 1, "the same person, the same release");
        match seen.first() {
            Some(digest) if *digest == stable => without += 1,
            Some(digest) if *digest == canary.digest => with += 1,
            other => panic!("{other:?}"),
        }
    }
    // Forty coins: fewer than six on one side come once in a million runs.
    assert!(with >= 6 && without >= 6, "{with} with, {without} without");
    moved(&app, &canary, &Move::to(State::Enabled)).await;
    assert_eq!(standing(&app, "fraud-rules", stable).await, [("platform".to_owned(), State::Draining)]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_can_have_a_release_of_its_own_or_none() {
    let app = TestApp::start().await;
    let stable = enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let strict = installed(&app, package_as("fraud-rules", "0.2.1"), &strict(500)).await;
    let (user, here, there) = (app.user_holding(10_000).await, app.shop().await, app.shop().await);
    let scope = Scope::Merchant(here.id);
    moved(&app, &strict, &Move { scope: scope.clone(), ..Move::to(State::Enabled) }).await;
    user.pay(&here, 501).await.problem(403, "declined_by_fraud");
    assert_eq!(decided_by(&app, &user.pay(&there, 501).await.created()).await, stable);
    let paid = user.pay(&here, 500).await.created();
    assert_eq!(decided_by(&app, &paid).await, strict.digest);
    let decision =
        decisions::get(&app.app, paid.text("decision").parse().expect("a decision")).await.expect("it is kept");
    assert_eq!(decision.kept.record().expect("whole").context.scope, here.id.to_string());
    moved(&app, &strict, &Move { scope, ..Move::to(State::Disabled) }).await;
    let unjudged = user.pay(&here, 501).await.created();
    assert!(unjudged.body["decision"].is_null(), "switched off there: {}", unjudged.body);
    let nobody = Scope::Merchant(koban_domain::ids::MerchantId(uuid::Uuid::nil()));
    let step = Move { scope: nobody, ..Move::to(State::Enabled) };
    let refused = releases::move_to(&app.app, &app.operator_ctx(), "fraud-rules", strict.digest, &step).await;
    assert_eq!(refused.expect_err("no such merchant").to_string(), "there is no such merchant");
    let store = Scope::Store(here.id, "ginza".into());
    let step = Move { scope: store, ..Move::to(State::Enabled) };
    let refused = releases::move_to(&app.app, &app.operator_ctx(), "fraud-rules", strict.digest, &step).await;
    assert!(refused.expect_err("no stores yet").to_string().contains("do not name a store"));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bad_release_is_taken_back_in_one_step() {
    let app = TestApp::start().await;
    let good = enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let bad = enabled(&app, package_as("fraud-rules", "0.2.1"), &strict(1)).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 2).await.problem(403, "declined_by_fraud");
    let operator = app.operator().await;
    let back = operator.post("/v1/operator/plugins/fraud-rules/rollback", json!({ "reason": "declines everything" }));
    assert_eq!(back.await.ok()["version"], "0.2.0");
    assert_eq!(decided_by(&app, &user.pay(&shop, 1).await.created()).await, good);
    assert_eq!(standing(&app, "fraud-rules", bad).await, [("platform".to_owned(), State::Disabled)]);
    let noted = act(&app, "fraud-rules", "plugin.rollback").await;
    assert_eq!((&noted["from"], &noted["to"]), (&json!(bad), &json!(good)));
    let again = operator.post("/v1/operator/plugins/fraud-rules/rollback", json!({ "reason": "once more" }));
    again.await.problem(409, "conflict");
    // Looks like an upgrade and is none: the way back has a name.
    moved(&app, &releases::get(&app.app, "fraud-rules", bad).await.expect("it"), &Move::to(State::Enabled)).await;
    let step = releases::move_to(&app.app, &app.operator_ctx(), "fraud-rules", good, &Move::to(State::Enabled)).await;
    assert!(step.expect_err("older").to_string().contains("koban plugin rollback fraud-rules"));
    app.ledger_is_clean().await;
}

/// Goal: a release that faults again and again is taken out by the house, and what was good before decides again.
#[tokio::test]
async fn a_release_that_faults_again_and_again_is_taken_out() {
    let app = TestApp::start().await;
    app.fraud_policy(Verdict::Allow, Verdict::Decline).await;
    let good = enabled(&app, package_as("hostile-rule", "0.2.0"), &attacking("none")).await;
    let bad = enabled(&app, package_as("hostile-rule", "0.2.1"), &panicking()).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    for _ in 0..20 {
        user.pay(&shop, 1).await.created();
    }
    let out = || standing(&app, "hostile-rule", bad);
    eventually("it is taken out", out, |rows| *rows == [("platform".to_owned(), State::Quarantined)]).await;
    assert_eq!(decided_by(&app, &user.pay(&shop, 1).await.created()).await, good);
    let noted = act(&app, "hostile-rule", "plugin.quarantine").await;
    assert!(noted["reason"].as_str().is_some_and(|reason| reason.contains("20 faults within a minute")), "{noted}");
    assert_eq!(noted["returned_to"]["hostile-rule"], json!(good));
    let step = releases::move_to(&app.app, &app.operator_ctx(), "hostile-rule", bad, &Move::to(State::Enabled)).await;
    assert!(step.expect_err("quarantined").to_string().contains("look why"));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_drains_ends_its_flows_is_disabled_and_can_be_removed() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let digest = plugins::get(&app.app, "charge-atm").await.expect("the channel").digest;
    let user = app.user().await;
    let session = atm.open().await;
    let charge = session.scan(&user).await.id;
    let ctx = app.operator_ctx();
    let step = Move::to(State::Draining);
    releases::move_to(&app.app, &ctx, "charge-atm", digest, &step).await.expect("it drains");
    let begun = user.post("/v1/charges", json!({ "channel": "charge-atm", "currency": "JPY" })).await;
    begun.problem(503, "channel_not_available");
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("swept");
    assert_eq!(standing(&app, "charge-atm", digest).await, [("platform".to_owned(), State::Draining)]);
    let refused = releases::remove(&app.app, &ctx, "charge-atm", digest).await.expect_err("flows are open");
    assert!(refused.to_string().contains("1 flows of it have not ended"), "{refused}");

    user.post(format!("/v1/charges/{charge}/cancel"), json!({})).await;
    let read = || user.charge(&charge);
    eventually("the flow ends", read, |charge| charge["standing"] == "cancelled").await;
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("swept");
    assert_eq!(standing(&app, "charge-atm", digest).await, [("platform".to_owned(), State::Disabled)]);
    let removed = releases::remove(&app.app, &ctx, "charge-atm", digest).await.expect("removed");
    assert_eq!((removed.state, removed.scopes.len()), (State::Removed, 0));
    assert_eq!(plugins::get(&app.app, "charge-atm").await.expect("the plugin").state, State::Removed);
    let acts = acts(&app, "charge-atm").await;
    assert_eq!(acts[acts.len() - 3..], ["plugin.drain", "plugin.disable", "plugin.remove"]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn at_most_two_releases_are_live_and_a_channel_is_not_shadowed() {
    let app = TestApp::start().await;
    enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let second = installed(&app, package_as("fraud-rules", "0.2.1"), &rules(&[])).await;
    let third = installed(&app, package_as("fraud-rules", "0.2.2"), &strict(10)).await;
    moved(&app, &second, &Move::to(State::Shadow)).await;
    let ctx = app.operator_ctx();
    let refused = releases::move_to(&app.app, &ctx, "fraud-rules", third.digest, &Move::to(State::Shadow)).await;
    assert!(refused.expect_err("taken").to_string().contains("is shadow at this scope already"));
    let shop = app.shop().await;
    let there = Move { scope: Scope::Merchant(shop.id), ..Move::to(State::Enabled) };
    let refused = releases::move_to(&app.app, &ctx, "fraud-rules", third.digest, &there).await;
    assert!(refused.expect_err("too many").to_string().contains("at most 2 releases"));
    let _atm = app.atm().await;
    let channel = plugins::get(&app.app, "charge-atm").await.expect("the channel").digest;
    plugins::set_enabled(&app.app, &ctx, "charge-atm", false).await.expect("disabled");
    let refused = releases::move_to(&app.app, &ctx, "charge-atm", channel, &Move::to(State::Shadow)).await;
    assert!(refused.expect_err("a channel").to_string().contains("only rules that judge are shadowed"));
    // Nobody asks a channel about a merchant.
    let operator = app.operator().await;
    let place = format!("/v1/operator/plugins/charge-atm/releases/{channel}/state");
    for state in ["enabled", "canary", "disabled"] {
        let body = json!({ "state": state, "scope": shop.id, "share": if state == "canary" { json!(50) } else { json!(null) } });
        let problem = operator.put(place.as_str(), body).await.problem(400, "invalid_request");
        assert_eq!(problem.body["field"], "scope", "{}", problem.body);
    }
    let scope = shop.id.to_string();
    let (status, _, said) = koban(&app.database, &["plugin", "enable", "charge-atm", "--scope", &scope]);
    assert!(!status.success() && said.contains("leave `scope` out"), "{said}");
}

/// Goal: whoever revokes has the last word, also over what was looked at before and is written after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_while_it_is_let_in_never_decides() {
    let app = TestApp::start().await;
    for number in 0..6 {
        let release = installed(&app, package_as("fraud-rules", &format!("0.3.{number}")), &rules(&[])).await;
        let (ctx, digest, step) = (app.operator_ctx(), release.digest, Move::to(State::Enabled));
        let later = Duration::from_millis(2 * number);
        let (_, revoked) = tokio::join!(releases::move_to(&app.app, &ctx, "fraud-rules", digest, &step), async {
            tokio::time::sleep(later).await;
            releases::revoke(&app.app, &ctx, digest, "it lies").await
        });
        revoked.expect("revoked");
        let stands = standing(&app, "fraud-rules", digest).await;
        assert!(!stands.iter().any(|(_, state)| state.is_live()), "{stands:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_its_publisher_is_revoked_is_never_taken() {
    let (app, folder) = (TestApp::start().await, Folder::new());
    let ctx = app.operator_ctx();
    for number in 0..6 {
        let name = format!("example-{number}");
        let key = signing_key(folder.path(), &name);
        publishers::add(&app.app, &ctx, &name, &key.public_key()).await.expect("added");
        publishers::trust(&app.app, &ctx, &name, "we met").await.expect("trusted");
        let mut package = package_as("fraud-rules", &format!("0.4.{number}"));
        key.sign(&mut package);
        let digest = koban_domain::records::Digest::of(&package.component);
        let later = Duration::from_millis(number);
        let (_, revoked) = tokio::join!(releases::upload(&app.app, &ctx, Upload { package, unsigned: false }), async {
            tokio::time::sleep(later).await;
            publishers::revoke(&app.app, &ctx, &name, "its key was stolen").await
        });
        revoked.expect("revoked");
        let Ok(release) = releases::get(&app.app, "fraud-rules", digest).await else { continue };
        // Revoked before anything of it was looked at, it only lies there.
        assert!(release.is_revoked || release.state == State::Uploaded, "{name}: it is {:?}", release.state);
        let accept = Accept { settings: Some(rules(&[])), asks: Some(release.asks), ..Accept::default() };
        releases::install(&app.app, &ctx, "fraud-rules", digest, accept).await.expect_err("nobody takes it");
    }
}

/// Goal: where one host lets a release in, payments of another do not wait for its compiler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_one_host_lets_in_is_ready_on_the_others() {
    let app = TestApp::start().await;
    let own_door =
        || Some(Door::new(DoorConfig { slots: 8, wait_ms: 10_000, ..DoorConfig::default() }).expect("a door"));
    let other = TestApp::on(Arc::clone(&app.database), Setup { door: own_door(), ..Setup::default() }).await;
    assert_eq!(other.app.loaded.loads(), 0);
    let release = enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let loads = async |host: &TestApp| host.app.loaded.loads();
    eventually_for(Duration::from_secs(60), "it is ready", || loads(&other), |loads| *loads == 1).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let elsewhere = User::signed_in(user.id, user.token.clone(), &other.anonymous());
    assert_eq!(decided_by(&app, &elsewhere.pay(&shop, 100).await.created()).await, release);
    assert_eq!(other.app.loaded.loads(), 1, "no payment loaded it");
    // A host that starts later does not wait for the first payment either.
    let late = TestApp::on(Arc::clone(&app.database), Setup { door: own_door(), ..Setup::default() }).await;
    eventually_for(Duration::from_secs(60), "it is ready", || loads(&late), |loads| *loads == 1).await;
}
