//! `koban doctor`: a line for everything a host rests on, and the next step beside what is not well.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Database, HostProcess, Kind, TestApp, koban};

fn examined(database: &Database) -> (bool, Value) {
    let (status, said, log) = koban(database, &["--json", "doctor"]);
    (status.success(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{log}")))
}

/// State and next step of a line.
fn line<'a>(said: &'a Value, check: &str) -> (&'a str, &'a str) {
    let lines = said["checks"].as_array().expect("checks");
    let line = lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no line {check}: {said}"));
    (line["state"].as_str().expect("a state"), line["next"].as_str().expect("a next step"))
}

#[tokio::test]
async fn what_is_well_is_said_to_be_ok() {
    let app = TestApp::start().await;
    app.atm().await;
    app.operator().await;
    let (user, shop) = (app.user_holding(100).await, app.shop().await);
    user.pay(&shop, 10).await.created();
    let database = app.stop().await;
    let host = HostProcess::start_at(&database, "command", "127.0.0.1:0").await;
    assert!(host.stop().await.success());
    let (is_well, said) = examined(&database);
    assert!(is_well, "{said}");
    for check in [
        "database",
        "schema",
        "settings",
        "journal",
        "clock",
        "engine",
        "plugin",
        "operators",
        "stuck flows",
        "open differences",
        "checkpoints",
    ] {
        assert_eq!(line(&said, check).0, "ok", "{check}: {said}");
    }
    assert_eq!(line(&said, "seal keys").0, "ok", "{said}");
    assert_ne!(line(&said, "disk").0, "fail", "{said}");
    if database.kind == Kind::Postgres {
        for check in ["server", "standby"] {
            assert_eq!(line(&said, check).0, "ok", "{check}: {said}");
        }
    }
}

#[tokio::test]
async fn seal_keys_are_looked_at_and_never_made() {
    let database = Database::sqlite();
    let data = database.folder().join("command");
    std::fs::create_dir(&data).expect("a folder");
    let look = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_koban"))
            .args(["--database", database.url(), "--json", "doctor"])
            .env("KOBAN_DATA", &data)
            .env_remove("KOBAN_SEAL_KEY")
            .output()
            .expect("koban runs");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let said = look();
    assert!(line(&said, "seal keys").0 == "warn" && !data.join("seal.key").exists(), "{said}");
    std::fs::write(data.join("seal.key"), "no key at all\n").expect("a file");
    std::fs::set_permissions(data.join("seal.key"), std::fs::Permissions::from_mode(0o644)).expect("the mode is set");
    let said = look();
    let (state, next) = line(&said, "seal keys");
    assert!(state == "fail" && next.contains("put the keys back"), "{said}");
    assert!(!said.to_string().contains("no key at all"), "{said}");
    assert_eq!(line(&said, "permissions of the seal keys").0, "warn", "{said}");
}

#[tokio::test]
async fn looking_does_not_make_a_database_that_is_not_there() {
    let database = Database::sqlite();
    let (is_well, said) = examined(&database);
    assert!(!is_well && line(&said, "database").1.contains("koban migrate"), "{said}");
    assert!(!std::path::Path::new(database.url().trim_start_matches("sqlite:")).exists());
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_next_step() {
    let database = Database::fresh().await;
    database.store().await.close().await;
    let (_, said) = examined(&database);
    for (check, next) in
        [("plugins", "koban plugin install"), ("operators", "koban operator create"), ("checkpoints", "koban serve")]
    {
        let (state, told) = line(&said, check);
        assert!(state == "warn" && told.contains(next), "{check}: {said}");
    }
}

#[tokio::test]
async fn what_is_broken_is_said_to_fail() {
    let app = TestApp::start().await;
    app.atm().await;
    let (user, shop) = (app.user_holding(100).await, app.shop().await);
    user.pay(&shop, 10).await.created();
    let database = app.stop().await;
    let host = HostProcess::start_at(&database, "command", "127.0.0.1:0").await;
    assert!(host.stop().await.success());
    let data = database.folder().join("command");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("the mode is set");
    std::fs::set_permissions(data.join("checkpoint.key"), std::fs::Permissions::from_mode(0o644))
        .expect("the mode is set");
    let mut hand = database.hand().await;
    hand.run("update components set bytes = substr(bytes, 1, 100)").await;
    hand.run("update entries set hash = (select hash from entries where sequence = 1)").await;
    let (is_well, said) = examined(&database);
    assert!(!is_well, "{said}");
    assert_eq!(line(&said, "plugin").0, "fail", "{said}");
    let (state, next) = line(&said, "checkpoints");
    assert!(state == "fail" && next.contains("ledger verify --checkpoint"), "{said}");
    for check in ["permissions of the data folder", "permissions of the signing key"] {
        let (state, next) = line(&said, check);
        assert!(state == "warn" && next.contains("chmod"), "{check}: {said}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_without_its_password() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_koban"))
        .args(["--database", "postgres://koban:s3cret@127.0.0.1:1/none", "--json", "doctor"])
        .env("KOBAN_DATA", crate::harness::Folder::new().path())
        .output()
        .expect("koban runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("s3cret"), "{said}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(line(&said, "database").0, "fail");
}
