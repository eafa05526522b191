//! Decisions: shown, exported, and run again without a database.

use koban_domain::records::Digest;
use koban_service::decisions;
use serde_json::Value;

use crate::harness::{Database, TestApp, door, koban, text, whole};

async fn app_with_a_decision() -> (TestApp, String) {
    let settings = [whole("night_from", 0), whole("night_to", 0), text("deny_devices", "stolen-phone")];
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let decision = user.pay(&shop, 1_280).device("own-phone").await.created().text("decision");
    (app, decision)
}

#[tokio::test]
async fn a_decision_is_shown_exported_and_run_again_without_a_database() {
    let (app, decision) = app_with_a_decision().await;
    let (status, shown, said) = koban(&app.database, &["--json", "decision", "show", &decision]);
    assert!(status.success(), "{said}");
    assert!(shown.contains("fraud-rules") && shown.contains("1280"), "{shown}");

    let (status, replayed, said) = koban(&app.database, &["--json", "decision", "replay", &decision]);
    assert!(status.success(), "{said}");
    let replayed: Value = serde_json::from_str(&replayed).expect("JSON");
    assert_eq!((&replayed["same"], &replayed["fuel_compared"]), (&true.into(), &true.into()), "{replayed}");

    let file = app.database.folder().join("decision.json");
    let file = file.to_str().expect("a path");
    let (status, _, said) = koban(&app.database, &["decision", "export", &decision, "--out", file]);
    assert!(status.success(), "{said}");
    // A database that cannot be there: whoever holds the file needs none.
    let elsewhere = Database::sqlite();
    let nowhere =
        ["--database", "postgres://nobody@127.0.0.1:1/nothing", "--json", "decision", "replay", "--file", file];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_koban"));
    let output = command.args(nowhere).arg("--data").arg(elsewhere.folder()).output().expect("koban runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let replayed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(replayed["same"], true);
}

#[tokio::test]
async fn an_export_that_was_changed_is_not_confirmed() {
    let (app, decision) = app_with_a_decision().await;
    let export =
        decisions::export(&app.app, &app.operator_ctx(), decision.parse().expect("an id")).await.expect("an export");
    assert!(decisions::replay_export(&door(), &export).await.expect("it runs").same);

    let mut changed = export.clone();
    changed.digest = Digest::of(b"another record").to_string();
    assert!(decisions::replay_export(&door(), &changed).await.is_err(), "the digest no longer fits the bytes");

    let mut changed = export.clone();
    changed.settings = vec![text("deny_devices", "own-phone")];
    let replayed = decisions::replay_export(&door(), &changed).await;
    assert!(!replayed.is_ok_and(|replayed| replayed.same), "other settings are another decision");

    let mut changed = export;
    changed.component = encoded("not a component");
    let replayed = decisions::replay_export(&door(), &changed).await;
    assert!(!replayed.is_ok_and(|replayed| replayed.same), "another component");
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
