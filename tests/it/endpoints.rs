//! Endpoints as operators set, see and test them, over the API and on the command line; nothing that is secret comes back.

use serde_json::{Value, json};

use crate::harness::{Caller, Folder, Setup, TestApp, koban};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn path(rest: &str) -> String {
    format!("/v1/operator/plugins/charge-atm/{rest}")
}

async fn items(desk: &impl Caller) -> Vec<Value> {
    let list = desk.get(path("endpoints")).await.ok();
    list["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn an_endpoint_is_seen_with_its_limits_and_without_its_secrets() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let atm = app.atm().await;
    let desk = app.operator().await;
    let [network] = items(&desk).await.try_into().expect("one");
    assert_eq!((network["name"].as_str(), network["base"].as_str()), (Some("network"), Some(atm.base().as_str())));
    assert_eq!(
        network["limits"],
        json!({ "per_minute": 600, "concurrent": 16, "answer_bytes": 65_536, "timeout_s": 60 })
    );
    assert_eq!((&network["sandbox"], &network["in_use"]), (&json!(false), &json!(true)));
    assert_eq!(network["operations"][0]["name"], "approve");
    let set = json!({
        "base": "https://sandbox.atm.example", "secrets": [SECRET], "sandbox": true, "fill": { "terminal": "hunter2hunter2" },
        "limits": { "per_minute": 60, "concurrent": 2 },
    });
    desk.put(path("endpoints/network"), set).await.ok();
    let both = items(&desk).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[1]["base"], "https://sandbox.atm.example");
    assert_eq!((&both[1]["in_use"], &both[1]["limits"]["per_minute"]), (&json!(false), &json!(60)));
    let shown = format!("{both:?} {:?}", desk.get("/v1/operator/audit").await.ok());
    assert!(!shown.contains("whsec_") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("terminal"), "the audit log names what was set");
    drop(atm);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_does_not_fit_the_manifest_is_refused_by_its_field() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let _atm = app.atm().await;
    let desk = app.operator().await;
    let good = json!({ "base": "https://atm.example", "secrets": [SECRET] });
    for (field, value, named) in [
        ("base", json!("https://user@atm.example"), "base"),
        ("base", json!("https://10.0.0.1"), "base"),
        ("secrets", json!(["hunter2"]), "secrets"),
        ("secrets", json!([]), "secrets"),
        ("credential", json!({ "token": "hunter2hunter2" }), "credential.token"),
        ("fill", json!({ "pin": "short" }), "fill.pin"),
        ("fill", json!({ "P I N": "hunter2hunter2" }), "fill.P I N"),
        ("authorities", json!("hunter2"), "authorities"),
        ("limits", json!({ "concurrent": 0 }), "limits.concurrent"),
        ("limits", json!({ "answer_bytes": 65_537 }), "limits.answer_bytes"),
        ("limits", json!({ "per_hour": 1 }), "limits.per_hour"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let problem = desk.put(path("endpoints/network"), body).await.problem(400, "invalid_request");
        assert_eq!(problem.body["field"], named, "{}", problem.body);
        assert!(!problem.body.to_string().contains("hunter2"), "{}", problem.body);
    }
    desk.put(path("endpoints/network"), good).await.ok();
    desk.put(path("endpoints/no-such"), json!({ "base": "https://a.example" })).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn a_plugin_on_its_sandbox_reaches_no_live_base_and_brings_no_money() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let _atm = app.atm().await;
    let desk = app.operator().await;
    let mode = |sandbox: bool| json!({ "sandbox": sandbox });
    desk.put(path("mode"), mode(true)).await.problem(409, "conflict");
    desk.post(path("disable"), json!({})).await.ok();
    let capped = desk.put(path("mode"), mode(true)).await.problem(409, "conflict");
    assert!(capped.body["detail"].as_str().expect("words").contains("--exposure-cap 0"), "{}", capped.body);
    desk.put(path("limits"), json!({ "exposure_cap": 0, "loss_budget": 0 })).await.ok();
    desk.put(path("mode"), mode(true)).await.ok();
    desk.put(path("mode"), mode(true)).await.ok();
    let on_sandbox = items(&desk).await;
    let sides: Vec<_> = on_sandbox.iter().map(|one| (&one["sandbox"], &one["in_use"], one["base"].is_null())).collect();
    assert_eq!(sides, [(&json!(true), &json!(true), true), (&json!(false), &json!(false), false)]);
    desk.post(path("endpoints/network/test"), mode(false)).await.problem(409, "conflict");
    desk.put(path("limits"), json!({ "exposure_cap": 1, "loss_budget": 0 })).await.problem(400, "invalid_request");
    desk.put(path("mode"), mode(false)).await.ok();
    desk.put(path("limits"), json!({ "exposure_cap": 1, "loss_budget": 0 })).await.ok();
    // What decides for a share decides.
    let digest = desk.get("/v1/operator/plugins/charge-atm").await.ok()["digest"].as_str().expect("text").to_owned();
    let canary = json!({ "state": "canary", "share": 1 });
    desk.put(path(&format!("releases/{digest}/state")), canary).await.ok();
    desk.put(path("limits"), json!({ "exposure_cap": 0, "loss_budget": 0 })).await.ok();
    let on = desk.put(path("mode"), mode(true)).await.problem(409, "conflict");
    assert!(on.body["detail"].as_str().expect("words").contains("is in force"), "{}", on.body);
}

#[tokio::test]
async fn a_test_names_the_step_at_which_an_endpoint_fails() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let atm = app.atm().await;
    let desk = app.operator().await;
    let test = || desk.post(path("endpoints/network/test"), json!({ "sandbox": false }));
    let reached = test().await.ok();
    let hows: Vec<_> = reached["steps"].as_array().expect("steps").iter().map(|step| step["how"].as_str()).collect();
    assert_eq!(
        hows,
        [Some("good"), Some("good"), Some("good"), Some("good"), Some("good"), Some("skipped")],
        "{reached}"
    );
    assert_eq!(reached["good"], true);
    drop(atm);
    desk.put(
        path("endpoints/network"),
        json!({ "base": "http://127.0.0.1:1", "secrets": [SECRET], "allow_private": true }),
    )
    .await
    .ok();
    let closed = test().await.ok();
    assert_eq!((&closed["good"], &closed["steps"][2]["how"]), (&json!(false), &json!("bad")), "{closed}");
    desk.post(path("endpoints/network/test"), json!({ "sandbox": true })).await.problem(409, "conflict");
}

#[tokio::test]
async fn the_command_line_sets_lists_and_tests() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let _atm = app.atm().await;
    let folder = Folder::new();
    let file = folder.path().join("secrets.txt");
    std::fs::write(&file, format!("# the network's\n{SECRET}\n")).expect("a file");
    let run = |arguments: &[&str]| {
        let words: Vec<&str> = ["--json", "plugin", "endpoint"].iter().chain(arguments).copied().collect();
        let (status, said, errors) = koban(&app.database, &words);
        (status.success(), serde_json::from_str::<Value>(&said).unwrap_or_default(), errors)
    };
    let file = file.to_str().expect("a path");
    let (good, said, errors) = run(&[
        "set",
        "charge-atm",
        "network",
        "--base",
        "http://127.0.0.1:1",
        "--allow-private",
        "--secret-file",
        file,
        "--concurrent",
        "3",
    ]);
    assert!(good, "{errors}");
    assert_eq!(
        (&said["items"][0]["base"], &said["items"][0]["limits"]["concurrent"]),
        (&json!("http://127.0.0.1:1"), &json!(3))
    );
    let (good, said, errors) = run(&["test", "charge-atm", "network"]);
    assert!(!good && errors.contains("cannot be used"), "{errors}");
    assert_eq!((&said["good"], &said["steps"][2]["step"]), (&json!(false), &json!("connection")));
    let (good, _, errors) = run(&["mode", "charge-atm", "sandbox"]);
    assert!(!good && errors.contains("disable"), "{errors}");
    let (good, _, errors) = run(&["set", "charge-atm", "network", "--base", "ftp://x", "--secret-file", file]);
    assert!(!good && errors.contains("https://"), "{errors}");
}
