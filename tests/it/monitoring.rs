//! Alerts and dashboard ask only for metrics that a host has, and every alert has a runbook.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Caller, TestApp, eventually, root};

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join("docs/operating").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of our metrics in an expression.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("koban_")).map(str::to_owned).collect()
}

/// A family of samples is announced by its type; what a sample of it may be called follows from that.
fn announced(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        names.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    names
}

#[tokio::test]
async fn every_alert_and_panel_asks_for_metrics_that_a_host_has() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let _bank = app.bank().await;
    let user = app.user().await;
    atm.charge(&user, 1_000).await;
    user.pay(&app.shop().await, 10).await.created();
    // A family is announced with its first sample: faults are rare, and gauges are measured when a host starts.
    let fault = koban_domain::records::FaultClass::Trap;
    app.app.metrics.called("charge-atm", "machine.resume", 0.001, Some(fault));
    app.app.metrics.left_out("charge-campaign", "campaign_budget_exhausted");
    app.install("charge-campaign", &[], None).await;
    let operator = app.operator().await;
    let hears = || async {
        operator.client().get("/v1/operator/subscriptions/charge-campaign").await.map_or(0, |reply| reply.status)
    };
    eventually("a plugin hears", hears, |status| *status == 200).await;
    let first = app.app.measured();
    let app = TestApp::on(app.stop().await, crate::harness::Setup::default()).await;
    let second = || async { app.app.metrics.text() };
    let second = eventually("gauges are measured", second, |text| text.contains("koban_differences_open{")).await;
    let own = format!("{first}{second}");
    // The HTTP side's metrics are on the admin address; their names are in web's own text.
    let http = "# TYPE koban_http_requests counter\n# TYPE koban_http_request_seconds histogram\n";
    let has = announced(&format!("{own}\n{http}"));
    let rules = read("koban.rules.yml");
    let expressions: String = rules.lines().filter(|line| line.trim().starts_with("expr: ")).collect();
    assert!(names(&expressions).len() >= 9, "{expressions}");
    for name in names(&expressions) {
        assert!(has.contains(&name), "an alert asks for {name}, which no host has");
    }
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let expression = target["expr"].as_str().expect("an expression");
        assert!(!names(expression).is_empty(), "{expression}");
        for name in names(expression) {
            assert!(has.contains(&name), "{} asks for {name}, which no host has", target["expr"]);
        }
    }
    // And the page of metrics names every one of them.
    let page = read("monitor.md");
    for name in &has {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        assert!(page.contains(stem), "monitor.md does not name {stem}");
    }
}

#[test]
fn every_alert_has_a_runbook() {
    let (rules, page) = (read("koban.rules.yml"), read("runbooks.md"));
    let anchors: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    let wanted: Vec<&str> =
        rules.split("runbook: \"runbooks.md#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(wanted.len(), rules.matches("- alert:").count());
    assert!(wanted.len() >= 10);
    for anchor in wanted {
        assert!(anchors.contains(anchor), "no runbook {anchor}: {anchors:?}");
    }
}

#[tokio::test]
async fn what_a_channel_has_used_of_its_cap_is_measured() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    atm.charge(&user, 3_000).await;
    // The sweep measures when a host starts and every half minute: the next start sees the credit.
    let database = app.stop().await;
    let app = TestApp::on(database, crate::harness::Setup::default()).await;
    let text = || async { app.app.metrics.text() };
    let wanted = r#"koban_exposure_used{plugin="charge-atm",currency="JPY"} 3000"#;
    let text = eventually("the exposure is measured", text, |text| text.contains(wanted)).await;
    assert!(text.contains(r#"koban_exposure_cap{plugin="charge-atm",currency="JPY"} 1000000"#), "{text}");
    assert!(text.contains(r#"koban_differences_open{plugin="charge-atm"} 0"#), "{text}");
    assert!(text.contains("koban_head_sequence 1\n"), "{text}");
    app.ledger_is_clean().await;
}
