//! What authors have: first-party plugins tested as any other, calls with their figures, a flow recorded and played, logs and replays.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{COMPANY_NUMBER, Database, Folder, TestApp, eventually, koban, packages, root, text, whole, yen};

/// Runs `koban --json plugin …`, which needs no database, and reads what it says.
#[track_caller]
fn plugin(arguments: &[&str]) -> (bool, Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_koban"))
        .args(["--json", "plugin"])
        .args(arguments)
        .env_remove("KOBAN_DATABASE")
        .output()
        .expect("koban runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.success(), value, said)
}

fn path(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// The built package and the source of a first-party plugin.
fn of(id: &str) -> (String, String) {
    (path(&packages().join(id)), path(&root().join("plugins").join(id)))
}

#[test]
fn the_calls_and_scenarios_of_our_own_plugins_pass_on_the_built_component() {
    for (id, tests, variants) in
        [("fraud-rules", 2, 0), ("charge-atm", 7, 100), ("bill-slip", 2, 10), ("bank-transfer", 3, 20)]
    {
        let (package, source) = of(id);
        // Every name has a dot: unit tests are run by cargo.
        let (good, report, said) = plugin(&["test", &source, "--package", &package, "--only", "."]);
        assert!(good, "{id}: {report} {said}");
        let list = report["tests"].as_array().expect("tests");
        assert!(list.len() >= tests, "{id}: {report}");
        let played = |test: &Value| -> usize {
            let said = test["said"].as_str().unwrap_or_default();
            let numbers = said.split(", ").filter_map(|part| part.split(' ').next()?.parse::<usize>().ok());
            numbers.sum()
        };
        let all: usize = list.iter().map(played).sum();
        assert!(all >= variants, "{id}: {all} changed plays: {report}");
        assert!(list.iter().all(|test| test["used"]["fuel"]["used"].as_u64() > Some(0)), "{report}");
    }
}

#[test]
fn each_step_of_the_ladder_of_examples_has_a_page_and_passes_its_tests() {
    let examples = root().join("examples");
    let ladder = std::fs::read_to_string(examples.join("README.md")).expect("the ladder");
    let mut steps = 0;
    for (folder, id) in
        [("01-hello", "hello-plugin"), ("02-many-payments", "many-payments"), ("03-kiosk", "charge-kiosk")]
    {
        assert!(ladder.contains(&format!("({folder}/README.md)")), "{folder} is no step of the ladder");
        assert!(examples.join(folder).join("README.md").is_file(), "{folder} has no page");
        let (package, source) = (path(&packages().join(id)), path(&examples.join(folder)));
        let (good, report, said) = plugin(&["test", &source, "--package", &package, "--only", "."]);
        assert!(good, "{folder}: {report} {said}");
        steps += report["tests"].as_array().map_or(0, Vec::len);
    }
    assert!(steps >= 7, "{steps} calls and scenarios");
}

#[test]
fn a_call_is_run_from_its_file_with_what_it_used_beside_its_limits() {
    let (package, source) = of("fraud-rules");
    let file = format!("{source}/calls/high-amount.toml");
    let (good, report, said) = plugin(&["run", &file, &source, "--package", &package]);
    assert!(good && report["good"] == true, "{report} {said}");
    assert_eq!((&report["answer"]["verdict"], &report["used"]["class"]), (&"decline".into(), &"decision".into()));
    for figure in ["fuel", "memory_bytes", "time_us", "input_bytes", "answer_bytes"] {
        let (used, limit) = (report["used"][figure]["used"].as_u64(), report["used"][figure]["limit"].as_u64());
        assert!(used > Some(0) && used < limit, "{figure}: {report}");
    }

    let folder = Folder::new();
    let wrong = folder.path().join("wrong.toml");
    let text = std::fs::read_to_string(&file).expect("the call").replace("\"decline\"", "\"allow\"");
    std::fs::write(&wrong, text).expect("a file");
    let (good, report, said) = plugin(&["run", &path(&wrong), &source, "--package", &package]);
    assert!(!good && report["good"] == false, "{report}");
    assert!(said.contains("wrong.toml:7: the verdict is decline, expected allow"), "{said}");
}

#[test]
fn a_call_is_measured_many_times() {
    let (package, source) = of("fraud-rules");
    let file = format!("{source}/calls/high-amount.toml");
    let (good, report, said) = plugin(&["bench", &file, &source, "--package", &package, "--times", "50"]);
    assert!(good, "{said}");
    assert!(report["p50_us"].as_u64() > Some(0) && report["p50_us"].as_u64() <= report["max_us"].as_u64(), "{report}");
}

#[test]
fn a_package_is_checked_and_said_in_plain_words() {
    let (package, _) = of("charge-atm");
    let (good, report, said) = plugin(&["check", &package]);
    assert!(good && report["good"] == true, "{report} {said}");
    let checks: Vec<&str> =
        report["checks"].as_array().expect("checks").iter().filter_map(|one| one["check"].as_str()).collect();
    assert_eq!(checks, ["manifest", "texts", "contract", "component", "imports", "exports", "describe", "settings"]);

    let (good, report, said) = plugin(&["inspect", &package]);
    assert!(good, "{said}");
    let list = report["permissions"].as_array().expect("permissions");
    let find =
        |what: &str| list.iter().find(|one| one["what"] == what).unwrap_or_else(|| panic!("no {what}: {report}"));
    assert_eq!((&find("import log")["how"], &find("no other import")["how"]), (&"proved".into(), &"proved".into()));
    assert_eq!((&find("endpoint network.approve")["how"], &find("money")["may"]), (&"enforced".into(), &false.into()));

    // The same component under a manifest that says another version, then one that lacks a text.
    let folder = Folder::new();
    let other = folder.path().join("charge-atm");
    std::fs::create_dir(&other).expect("a folder");
    std::fs::copy(packages().join("charge-atm/component.wasm"), other.join("component.wasm")).expect("a copy");
    let manifest = std::fs::read_to_string(packages().join("charge-atm/plugin.toml")).expect("the manifest");
    let manifest = manifest.replace("version = \"0.1.0\"", "version = \"0.2.0\"");
    std::fs::write(other.join("plugin.toml"), &manifest).expect("a manifest");
    let (good, report, _) = plugin(&["check", &path(&other)]);
    let wrong = |check: &str| {
        let found = report["checks"].as_array().expect("checks").iter().find(|one| one["check"] == check);
        found.expect("a check")["wrong"].to_string()
    };
    assert!(!good && wrong("describe").contains("must be the same"), "{report}");
    let manifest = manifest.replace("ja = \"ATMに確認しています\"", "ja = \"\"");
    let line = manifest.lines().position(|line| line == "[texts.checking]").expect("the text") + 1;
    std::fs::write(other.join("plugin.toml"), manifest).expect("a manifest");
    let (good, _, said) = plugin(&["check", &path(&other)]);
    assert!(
        !good && said.contains(&format!("plugin.toml, line {line}: texts.checking: give both `ja` and `en`")),
        "{said}"
    );
}

#[test]
fn a_new_plugin_says_what_is_in_it_and_never_overwrites() {
    let folder = Folder::new();
    let into = path(folder.path());
    let (good, made, said) = plugin(&["new", "charge-channel", "gift-card", "--into", &into]);
    assert!(good, "{said}");
    let files: Vec<&str> = made["files"].as_array().expect("files").iter().filter_map(Value::as_str).collect();
    for file in ["Cargo.toml", "README.md", "plugin.toml", "src/lib.rs", "src/tests.rs", "scenarios/redeemed.toml"] {
        assert!(files.contains(&file), "no {file}: {made}");
    }
    assert!(folder.path().join("gift-card/vendor/wit/preview/types.wit").is_file());
    let (good, _, said) = plugin(&["new", "charge-channel", "gift-card", "--into", &into]);
    assert!(!good && said.contains("is there already"), "{said}");
    let (good, _, said) = plugin(&["new", "toaster", "gift-card-2", "--into", &into]);
    assert!(!good && said.contains("possible values:"), "{said}");
    let (good, _, said) = plugin(&["test", &into]);
    assert!(!good && said.contains("there is no plugin.toml"), "{said}");
}

#[tokio::test]
async fn a_flow_is_recorded_as_a_scenario_that_plays() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, charge, _) = atm.charge(&user, 10_000).await;
    let read = || user.charge(&charge);
    eventually("the charge ends", read, |charge| charge["standing"] == "done").await;
    let flow = charge.clone();

    let folder = Folder::new();
    let source = folder.path().join("charge-atm");
    std::fs::create_dir_all(source.join("scenarios")).expect("a folder");
    let file = source.join("scenarios/as-it-was.toml");
    let (status, told, said) = koban(&app.database, &["plugin", "record", &flow, "--out", &path(&file)]);
    assert!(status.success(), "{said}");
    assert!(told.contains("steps"), "{told}");
    let written = std::fs::read_to_string(&file).expect("the scenario");
    assert!(written.contains("begin = \"charge\"") && written.contains(COMPANY_NUMBER), "{written}");
    let (package, _) = of("charge-atm");
    let (good, report, said) = plugin(&["test", &path(&source), "--package", &package]);
    assert!(good, "{report} {said}\n{written}");
    // What people and partners said was handed out, and somebody is named for it.
    let (_, listed, said) = koban(&app.database, &["--json", "audit", "list", "--subject", &flow]);
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|_| panic!("{listed}{said}"));
    let rows = listed["items"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["act"] == "flow.record").unwrap_or_else(|| panic!("{listed}"));
    assert!(row["actor"].as_str().is_some_and(|actor| actor.starts_with("command-line:")), "{row}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_author_reads_what_the_plugin_logged_and_how_it_faulted() {
    let app = TestApp::start().await;
    app.install("hostile-rule", &[text("attack", "panic"), yen("from_amount", 5_000)], None).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 5_000).await;
    let (status, logs, said) = koban(&app.database, &["plugin", "logs", "hostile-rule", "--level", "warn"]);
    assert!(status.success(), "{said}");
    assert!(logs.contains("error fault: trap") && logs.contains("assess.assess dec_"), "{logs}");
    let (status, _, said) = koban(&app.database, &["plugin", "logs", "nobody"]);
    assert_eq!(status.code(), Some(3), "{said}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_exported_decision_is_run_again_on_the_plugin_at_hand() {
    let settings = [whole("night_from", 0), whole("night_to", 0)];
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let decision = user.pay(&shop, 1_280).await.created().text("decision");
    let file: PathBuf = app.database.folder().join("decision.json");
    let (status, _, said) = koban(&app.database, &["decision", "export", &decision, "--out", &path(&file)]);
    assert!(status.success(), "{said}");
    let (package, _) = of("fraud-rules");
    let (good, report, said) = plugin(&["replay", &path(&file), "--plugin", &package]);
    assert!(good, "{report} {said}");
    assert_eq!((&report["decisions"][0]["exact"], &report["same"]), (&true.into(), &true.into()), "{report}");
    let (package, _) = of("charge-atm");
    let (good, _, said) = plugin(&["replay", &path(&file), "--plugin", &package]);
    assert!(!good && said.contains("is a decision of `fraud-rules`"), "{said}");
    app.ledger_is_clean().await;
}

/// The help of every command is looked at elsewhere; here what a beginner meets first.
#[test]
fn help_shows_the_way_from_new_to_test() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_koban")).args(["plugin", "new", "--help"]).output().expect("koban runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("koban plugin test") && help.contains("[possible values:") && help.contains("rust"),
        "{help}"
    );
    let database = Database::sqlite();
    let (status, _, said) = koban(&database, &["plugin", "record", "flw_00000000000070008000000000000000"]);
    assert!(!status.success(), "{said}");
}
