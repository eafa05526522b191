//! The command line: help that shows how, answers that programs can read, and the whole play.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Folder, HostProcess, Kind, Stopwatch, TestApp, koban, packages, root};

fn help(path: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_koban")).args(path).arg("--help").output().expect("koban runs");
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The names in the list of commands of a help text.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.trim().is_empty());
    // A long description goes on in the next line, further to the right.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command_shows_an_example() {
    let mut without = Vec::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = help(&words);
        seen += 1;
        let below = commands(&help);
        if !help.contains("koban ") || !(help.contains("Example") || help.contains("First steps")) {
            without.push(path.join(" "));
        }
        waiting.extend(below.into_iter().map(|name| path.iter().cloned().chain([name]).collect()));
    }
    assert!(seen >= 20, "only {seen} commands were found");
    without.sort();
    assert!(without.is_empty(), "no example in the help of: {}", without.join(", "));
}

#[test]
fn a_wrong_use_is_said_with_exit_code_2() {
    for wrong in [&["no-such-command"][..], &["serve", "--listen", "nowhere"], &["flow", "show", "not-an-id"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_koban")).args(wrong).output().expect("koban runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_empty_ledger_is_clean_and_what_is_missing_has_its_own_exit_code() {
    let database = Database::fresh().await;
    let (status, _, said) = koban(&database, &["migrate"]);
    assert!(status.success(), "{said}");
    let (status, verdict, said) = koban(&database, &["--json", "ledger", "verify"]);
    assert!(status.success(), "{said}");
    let verdict: Value = serde_json::from_str(&verdict).expect("JSON");
    assert_eq!((&verdict["clean"], &verdict["entries"]), (&true.into(), &0.into()));
    let (status, _, said) = koban(&database, &["decision", "show", "dec_00000000000070008000000000000000"]);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("hint:"), "{said}");
}

#[tokio::test]
async fn a_plugin_is_installed_and_listed_from_its_package() {
    let database = Database::fresh().await;
    let package = packages().join("charge-atm");
    let package = package.to_str().expect("a path");
    let take =
        ["plugin", "install", package, "--unsigned", "--accept", "all", "--enable", "--set", "company_number=8391"];
    let (status, _, said) = koban(&database, &take);
    assert!(!status.success() && said.contains("exposure"), "a plugin that brings money needs both numbers: {said}");
    let install: Vec<&str> = take.into_iter().chain(["--exposure-cap", "5000", "--loss-budget", "100"]).collect();
    let (status, _, said) = koban(&database, &install);
    assert!(status.success(), "{said}");
    let (status, listed, said) = koban(&database, &["--json", "plugin", "list"]);
    assert!(status.success(), "{said}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["exposure"]["cap"]["minor"]),
        (&"charge-atm".into(), &5_000.into()),
        "{listed}"
    );
    assert!(!listed.to_string().contains("whsec_"), "no secret is shown");
}

#[tokio::test]
async fn verify_from_the_command_line_agrees_with_the_host() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.pay(&shop, 100).await.created();
    let database = app.stop().await;
    let (status, verdict, said) = koban(&database, &["--json", "ledger", "verify"]);
    assert!(status.success(), "{said}");
    let verdict: Value = serde_json::from_str(&verdict).expect("JSON");
    let (_, head, _) = koban(&database, &["--json", "ledger", "head"]);
    let head: Value = serde_json::from_str(&head).expect("JSON");
    assert_eq!(verdict["head"], head["hash"]);
    database.is_sound().await;
}

#[tokio::test]
async fn a_new_database_and_what_lies_beside_it_are_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = Database::sqlite();
    let (status, _, said) = koban(&database, &["migrate"]);
    assert!(status.success(), "{said}");
    let mode = |name: &str| {
        let path = database.folder().join(name);
        std::fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}")).permissions().mode() & 0o777
    };
    let host = HostProcess::start(&database).await;
    for name in ["koban.db", "koban.db-wal", "koban.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert!(host.stop().await.success());
    let backup = database.folder().join("koban.backup");
    let (status, _, said) = koban(&database, &["backup", "create", backup.to_str().expect("a path")]);
    assert!(status.success(), "{said}");
    let export = database.folder().join("journal.jsonl");
    let (status, _, said) = koban(&database, &["ledger", "export", "--out", export.to_str().expect("a path")]);
    assert!(status.success(), "{said}");
    for name in ["koban.backup", "journal.jsonl"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    // Others may not put anything beside it either.
    std::fs::set_permissions(database.folder(), std::fs::Permissions::from_mode(0o777)).expect("the mode is set");
    let (_, doctor, _) = koban(&database, &["--json", "doctor"]);
    let doctor: Value = serde_json::from_str(&doctor).expect("JSON");
    let lines = doctor["checks"].as_array().expect("checks");
    let folder = lines.iter().find(|line| line["check"] == "folder of the database").expect("a line");
    assert!(folder["state"] == "warn" && folder["next"].to_string().contains("chmod go-w"), "{folder}");
}

#[test]
fn a_server_that_does_not_answer_is_named_within_seconds() {
    let stopwatch = Stopwatch::start();
    // Nobody listens at the first port; the second is taken by somebody who never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = silent.local_addr().expect("an address").port();
    for port in [1, silent] {
        let folder = Folder::new();
        let url = format!("postgres://koban:s3cret@127.0.0.1:{port}/books");
        let output = Command::new(env!("CARGO_BIN_EXE_koban"))
            .args(["--database", &url, "flow", "list"])
            .env("KOBAN_DATA", folder.path())
            .output()
            .expect("koban runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(&format!("127.0.0.1 port {port}")) && !said.contains("s3cret"), "{said}");
        assert!(said.contains("hint: "), "{said}");
    }
    assert!(stopwatch.elapsed() < Duration::from_secs(10), "{:?}", stopwatch.elapsed());
}

#[tokio::test]
async fn a_log_that_nobody_reads_in_a_terminal_has_no_colours() {
    let database = Database::sqlite();
    let (status, _, said) = koban(&database, &["--log", "debug", "migrate"]);
    assert!(status.success(), "{said}");
    assert!(said.contains("DEBUG"), "something is logged: {said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[tokio::test]
async fn the_play_is_told_in_lines_of_json_on_any_empty_database_and_on_no_other() {
    let database = match Kind::of_this_run() {
        Kind::Sqlite => Database::sqlite(),
        Kind::Postgres => Database::empty_postgres().await,
    };
    let packages = packages();
    let play = ["--json", "up", "--once", "--listen", "127.0.0.1:0", "--packages", packages.to_str().expect("a path")];
    let (status, told, said) = koban(&database, &play);
    assert!(status.success(), "{told}{said}");
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!((of("plugin").len(), of("line").len()), (8, 17), "{told}");
    assert!(of("line").iter().all(|line| line["good"] == true && line["us"].is_u64()), "{told}");
    assert!(of("verify")[0]["clean"] == true && of("end")[0]["good"] == true, "{told}");
    let (status, _, said) = koban(&database, &["ledger", "verify"]);
    assert!(status.success(), "it was played on the database that was named: {said}");

    let (status, _, said) = koban(&database, &play);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("plays on an empty database"), "{said}");
}

#[test]
fn the_play_goes_as_it_should() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_koban"));
    command.current_dir(root()).arg("--data").arg(&data).args(["up", "--once", "--listen", "127.0.0.1:0"]);
    command.env("KOBAN_PACKAGES", packages()).env_remove("KOBAN_DATABASE");
    let output = command.output().expect("koban runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for word in
        ["10000", "1280", "280", "declined_by_fraud", "gave-cash-back", "fee 110", "fee 216", "113.8727", "clean"]
    {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
}
