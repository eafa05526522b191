//! Flows of a revoked release: stuck with their money untouched, tried on another release, and moved there.

use koban_domain::ids::FlowId;
use koban_domain::releases::State;
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{flows, plugins};
use serde_json::json;

use super::act;
use crate::harness::{Caller as _, TestApp, eventually, minor, package_as};

/// Goal: a charge that began on a release which was revoked in the middle of it is brought to its end on the next one, and credited once.
#[tokio::test]
async fn a_flow_of_a_revoked_release_is_moved_and_brings_its_money() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let ctx = app.operator_ctx();
    let old = plugins::get(&app.app, "charge-atm").await.expect("the channel").digest;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    session.type_number(crate::harness::COMPANY_NUMBER).await;
    let reference = session.count(5_000).await;

    let package = package_as("charge-atm", "0.2.0");
    let release = releases::upload(&app.app, &ctx, Upload { package, unsigned: true }).await.expect("taken");
    let new = release.digest;
    releases::install(&app.app, &ctx, "charge-atm", new, Accept::default()).await.expect("the consent carries over");
    releases::move_to(&app.app, &ctx, "charge-atm", new, &Move::to(State::Enabled)).await.expect("enabled");
    releases::revoke(&app.app, &ctx, old, "it miscounts").await.expect("revoked");
    atm.send(&reference).await;
    let flow: FlowId = charge.parse().expect("a flow");
    let read = || async { flows::get(&app.app, flow).await.expect("the flow").summary };
    let stuck = eventually("it is stuck", read, |flow| flow.stuck.is_some()).await;
    assert!(stuck.stuck.expect("why").contains("is revoked"));

    let operator = app.operator().await;
    let place = format!("/v1/operator/flows/{charge}");
    operator.post(format!("{place}/retry"), json!({ "reason": "again" })).await.problem(409, "conflict");
    let foreseen = operator.get(format!("{place}/prospects/{new}")).await.ok();
    assert_eq!((&foreseen["from"], &foreseen["version"]), (&json!(old), &json!("0.2.0")));
    let proposals = foreseen["next"]["proposals"].to_string();
    assert!(proposals.contains("5000") && proposals.contains(&reference), "{foreseen}");
    assert!(read().await.stuck.is_some() && user.balance().await == 0, "it was only tried");
    operator.get(format!("{place}/prospects/{old}")).await.problem(409, "conflict");
    operator.get(format!("{place}/prospects/{}", "0".repeat(64))).await.problem(404, "not_found");

    let body = json!({ "to": new, "reason": "its release is revoked" });
    operator.post(format!("{place}/move"), body.clone()).key("move").await.ok();
    let again = operator.post(format!("{place}/move"), body.clone()).key("move").await;
    assert!(again.replayed(), "the same key is the same act");
    let read_charge = || user.charge(&charge);
    let done = eventually("the money comes", read_charge, |charge| minor(charge, "credited") == 5_000).await;
    assert_eq!(done["channel"], "charge-atm");
    assert_eq!(flows::get(&app.app, flow).await.expect("the flow").summary.digest, new);
    assert_eq!(act(&app, &charge, "flow.move").await["to"], json!(new));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_flow_is_not_moved_to_what_cannot_go_on_with_it() {
    let app = TestApp::start().await;
    let channel = app.hostile_channel("none", (1_000_000, 0)).await;
    let user = app.user().await;
    let expecting = channel.begin(&user, 5_000).await;
    let id: FlowId = expecting.charge.parse().expect("a flow");
    let flow = || async { flows::get(&app.app, id).await.expect("the flow").summary };
    eventually("it expects", flow, |flow| flow.steps >= 2).await;
    let ctx = app.operator_ctx();
    let old = plugins::get(&app.app, channel.id).await.expect("the channel").digest;
    // The next release panics at every message.
    let package = package_as(channel.id, "0.2.0");
    let release = releases::upload(&app.app, &ctx, Upload { package, unsigned: true }).await.expect("taken");
    let settings = vec![crate::harness::text("attack", "panic")];
    let accept = Accept { settings: Some(settings), asks: Some(release.asks), ..Accept::default() };
    releases::install(&app.app, &ctx, channel.id, release.digest, accept).await.expect("accepted");
    releases::revoke(&app.app, &ctx, old, "it lies").await.expect("revoked");
    // What comes for the flow has to be routed by somebody: the next release, for new flows and for this.
    releases::move_to(&app.app, &ctx, channel.id, release.digest, &Move::to(State::Enabled)).await.expect("enabled");
    channel.pay(&expecting.correlation, 1_000, "r-1").await;
    eventually("it is stuck", flow, |flow| flow.stuck.is_some()).await;
    let moved = flows::move_to(&app.app, &app.operator_ctx(), id, release.digest, "try it").await;
    let refused = moved.expect_err("it panics").to_string();
    assert!(refused.contains("cannot go on with this flow") && refused.contains("stays as it is"), "{refused}");
    let flow = flow().await;
    assert!(flow.stuck.is_some() && flow.digest == old);
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}
