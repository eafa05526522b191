//! A channel that attacks: it is contained, recorded, and stops for an operator; nobody gets money that a partner did not bring.

use koban_domain::guest::Standing;
use koban_domain::money::Money;
use koban_service::flows;
use serde_json::json;

use crate::house::{House, said};

fn pay(amount: i64, reference: &str) -> serde_json::Value {
    json!({ "correlation": "c-1", "amount": amount, "reference": reference })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_leaves_no_money_and_makes_the_flow_stuck() {
    for (attack, why) in [
        ("no-event", "no authenticated answer"),
        ("old-event", "no authenticated answer"),
        ("same-key", "proposed before"),
        ("hold", "Hold"),
        ("capture", "Capture"),
        ("release", "Release"),
        ("negative", "not positive"),
        ("unknown-code", "not_in_the_manifest"),
        ("loop", "fuel"),
        ("panic", "panic on purpose"),
    ] {
        let house = House::with_attacker(attack).await;
        let charge = house.begun(10_000, "c-1").await;
        let reply = house.calls("pay", &pay(1_000, "r-1")).await.unwrap();
        assert_eq!(reply.status, 503, "{attack}: a stuck flow answers nobody");
        let stuck = house.until_stuck(charge).await;
        assert!(stuck.contains(why), "{attack}: {stuck}");
        assert_eq!((house.balance().await, house.exposure().await), (0, 0), "{attack}");
        // Every one of its answers can be looked at again.
        let detail = flows::get(&house.app, charge).await.unwrap();
        let faults: Vec<_> = detail.decisions.iter().filter(|decision| decision.act == "flow.fault").collect();
        assert_eq!(faults.len(), 3, "{attack}");
        for fault in faults {
            let detail: serde_json::Value = serde_json::from_str(&fault.detail).unwrap();
            let id = detail["decision"].as_str().unwrap().parse().unwrap();
            assert!(koban_store::records::find(&house.app.store, id).await.unwrap().is_some(), "{attack}: {detail}");
        }
        assert_eq!(detail.summary.may_come, Money::yen(10_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_at_the_users_form_makes_the_flow_stuck_as_well() {
    for attack in ["own-form", "huge-state", "many-effects", "unknown-endpoint", "unknown-operation", "same-effect-key"]
    {
        let house = House::with_attacker(attack).await;
        let charge = house.begun(10_000, "c-1").await;
        house.until_stuck(charge).await;
        assert_eq!(house.charge(charge).await.standing, Standing::Checking, "{attack}: no false failure");
        assert!(house.charge(charge).await.shows.is_empty());
        assert_eq!((house.balance().await, house.partner.heard().len()), (0, 0), "{attack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_books_refuse_is_told_once_and_insisting_makes_the_flow_stuck() {
    let house = House::with_attacker("beyond-authorisation").await;
    let charge = house.begun(10_000, "c-1").await;
    let told = house.calls("pay", &pay(1_000, "r-1")).await.unwrap();
    assert_eq!(said(&house, &told), r#"200 {"reason":"authorisation_exceeded","result":"refused"}"#);
    assert_eq!(house.charge(charge).await.standing, Standing::Failed);

    let house = House::with_attacker("insist").await;
    let first = house.begun(10_000, "c-0").await;
    let honest = json!({ "correlation": "c-0", "amount": 1_000, "reference": "r-1" });
    house.calls("pay", &honest).await.unwrap();
    house.until(first, Standing::Done).await;
    let second = house.begun(10_000, "c-1").await;
    let reply = house.calls("pay", &pay(1_000, "r-1")).await.unwrap();
    assert_eq!(reply.status, 503);
    assert!(house.until_stuck(second).await.contains("reference_used"));
    assert_eq!(house.balance().await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_charge_is_never_credited_again() {
    let house = House::with_attacker("after-done").await;
    let charge = house.begun(10_000, "c-1").await;
    house.calls("pay", &pay(1_000, "r-1")).await.unwrap();
    house.until(charge, Standing::Done).await;
    house.calls("pay", &pay(1_000, "r-2")).await.unwrap();
    assert!(house.until_stuck(charge).await.contains("final"));
    assert_eq!(house.balance().await, 1_000);
    // Its user sees what is true.
    assert_eq!(house.charge(charge).await.standing, Standing::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_breaks_a_rule_opens_no_charge() {
    for attack in ["begin-credit", "begin-loop"] {
        let house = House::with_attacker(attack).await;
        let begun = koban_service::charges::begin(&house.app, &house.ctx("k"), house.input(10_000)).await.unwrap_err();
        assert!(matches!(begun, koban_service::Error::PluginFault { .. }), "{attack}: {begun}");
        let page = koban_service::page::Page::default();
        let open = koban_service::charges::list(&house.app, &house.ctx(""), &page).await.unwrap();
        assert!(open.items.is_empty(), "{attack}");
        let records = koban_store::records::list(&house.app.store, Some("hostile-channel"), None, 10).await.unwrap();
        assert!(records.records.iter().any(|(_, kept)| kept.head.function == "charge.begin"), "{attack}");
    }
}
