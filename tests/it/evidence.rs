//! Evidence that leaves the host: exports that a stranger's program checks, and checkpoints that show rewriting and cut tails.

use koban_domain::accounts::PostingSide;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Caller as _, Database, HostProcess, TestApp, koban, root};

/// A database with a little history of holds, two currencies and a closing, and no host.
async fn finished() -> std::sync::Arc<Database> {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).await.created();
    shop.refund(&paid, 280).await.created();
    for yen in 1..=3 {
        user.pay(&shop, yen).await.created();
    }
    app.offer_dollars(1_000_000).await;
    let (rich, operator) = (app.verified_user_holding(20_000).await, app.operator().await);
    let dollars = json!({ "sell": "JPY", "buy": "USD", "amount": 10_000, "currency": "USD", "rate": "113.8727" });
    rich.post("/v1/exchanges", dollars).await.created();
    for (of_held, how) in [(Some(400), "captures"), (None, "void")] {
        let held = user.pay(&shop, 900).with("capture", false).await.created();
        let body = of_held.map_or_else(|| json!({}), |amount| json!({ "amount": amount }));
        shop.post(format!("/v1/payments/{}/{how}", held.id), body).await.accepted();
    }
    let today = koban_domain::time::date_of_day(app.app.clock.now().jst_day());
    let path = format!("/v1/operator/merchants/{}/closings", shop.id);
    operator.post(path, json!({ "currency": "JPY", "until": today })).await.created();
    app.ledger_is_clean().await;
    app.stop().await
}

fn exported(database: &Database) -> PathBuf {
    let path = database.folder().join("journal.jsonl");
    let (status, _, said) = koban(database, &["ledger", "export", "--out", path.to_str().expect("a path")]);
    assert!(status.success(), "{said}");
    path
}

/// What the reader in another language says: nothing if the export is clean.
fn stranger(path: &Path) -> Option<String> {
    let reader = root().join("tests/reader/verify_export.py");
    let output = Command::new("python3").arg(reader).arg(path).output().expect("python3 is part of the build machine");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), said.starts_with("clean"), "{said}");
    (!output.status.success()).then_some(said)
}

/// What `koban ledger verify --export` names first.
fn ours(database: &Database, path: &Path) -> Option<String> {
    let (status, said, log) =
        koban(database, &["--json", "ledger", "verify", "--export", path.to_str().expect("a path")]);
    let verdict: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{log}"));
    assert_eq!(status.success(), verdict["clean"] == true, "{verdict}");
    verdict["difference"]["place"].as_str().map(str::to_owned)
}

#[test]
fn the_reader_in_another_language_is_short_and_knows_the_published_vectors() {
    let reader = root().join("tests/reader/verify_export.py");
    let text = std::fs::read_to_string(&reader).expect("the reader");
    assert!(text.lines().count() < 150, "{} lines", text.lines().count());
    let page = root().join("docs/reference/encoding.md");
    let output = Command::new("python3").arg(&reader).arg("--vectors").arg(page).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn an_export_is_verified_without_the_database_by_two_programs() {
    let database = finished().await;
    let path = exported(&database);
    assert_eq!((stranger(&path), ours(&database, &path)), (None, None));
    let (_, head, _) = koban(&database, &["--json", "ledger", "head"]);
    let head: Value = serde_json::from_str(&head).expect("JSON");
    let text = std::fs::read_to_string(&path).expect("the export");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["hash"], &first["sequence"]), (&head["hash"], &head["sequence"]), "the head of the database");
    let (status, said, _) = koban(&database, &["ledger", "export"]);
    assert!(status.success());
    assert_eq!(said, text, "standard output is the same export");
}

#[tokio::test]
async fn whatever_is_changed_in_an_export_is_found_by_both() {
    let database = finished().await;
    let path = exported(&database);
    let text = std::fs::read_to_string(&path).expect("the export");
    let lines: Vec<&str> = text.lines().collect();
    let last_entry = lines.iter().rposition(|line| line.contains("\"type\":\"entry\"")).expect("an entry");
    let changed = |at: usize, from: &str, to: &str| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert!(lines[at].contains(from), "{from} in {}", lines[at]);
        lines[at] = lines[at].replacen(from, to, 1);
        lines
    };
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(place, _)| *place != at);
        kept.map(|(_, line)| (*line).to_owned()).collect::<Vec<_>>()
    };
    let mut swapped: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    swapped.swap(1, 2);
    let cut = |at: usize| lines[..at].iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let cases = [
        ("an actor", changed(2, "\"actor\":\"", "\"actor\":\"x")),
        ("an amount", changed(2, "1280", "1281")),
        ("a meta text", changed(1, "\"meta\":\"", "\"meta\":\" ")),
        ("a kind", changed(1, "\"kind\":1", "\"kind\":2")),
        ("a balance", changed(last_entry + 1, "\"debits_posted\":", "\"debits_posted\":1")),
        ("an account's class", changed(last_entry + 1, "\"class\":", "\"class\":1")),
        ("the head's hash", changed(0, "\"hash\":\"", "\"hash\":\"00").into_iter().collect()),
        ("an entry gone", without(2)),
        ("the last entry gone", without(last_entry)),
        ("an account gone", without(last_entry + 1)),
        ("two entries swapped", swapped),
        ("the end gone", cut(lines.len() - 1)),
        ("half the file gone", cut(3)),
        ("nothing left", Vec::new()),
    ];
    for (what, lines) in cases {
        let tampered = database.folder().join("tampered.jsonl");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&tampered, text).expect("the file is written");
        assert!(stranger(&tampered).is_some(), "the reader did not find {what}");
        assert!(ours(&database, &tampered).is_some(), "koban did not find {what}");
    }
}

/// A host that served a little with checkpoints, on a database that is left for tampering.
async fn checked() -> (std::sync::Arc<Database>, PathBuf, PathBuf) {
    let database = finished().await;
    let data = database.folder().join("command");
    for _ in 0..2 {
        let host = HostProcess::start_at(&database, "command", "127.0.0.1:0").await;
        assert!(host.stop().await.success());
        more(&database).await;
    }
    let host = HostProcess::start_at(&database, "command", "127.0.0.1:0").await;
    assert!(host.stop().await.success());
    let (file, key) = (data.join("checkpoints.jsonl"), data.join("checkpoint.pub"));
    (database, file, key)
}

async fn more(database: &std::sync::Arc<Database>) {
    let setup = crate::harness::Setup { jobs: false, ..crate::harness::Setup::default() };
    let app = TestApp::on(std::sync::Arc::clone(database), setup).await;
    let user = app.user_holding(500).await;
    user.pay(&app.shop().await, 5).await.created();
    app.stop().await;
}

fn compared(database: &Database, file: &Path) -> Option<String> {
    let arguments = ["--json", "ledger", "verify", "--checkpoint", file.to_str().expect("a path")];
    let (status, said, log) = koban(database, &arguments);
    let verdict = said.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let verdict = verdict.unwrap_or_else(|| panic!("{said}{log}"));
    assert_eq!(status.success(), verdict["clean"] == true, "{said}{log}");
    verdict["difference"]["what"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_host_leaves_signed_checkpoints_when_it_starts_and_ends_and_they_hold() {
    use std::os::unix::fs::PermissionsExt as _;
    let (database, file, _) = checked().await;
    let lines = std::fs::read_to_string(&file).expect("checkpoints").lines().count();
    assert!(lines >= 3, "{lines} lines");
    assert_eq!(compared(&database, &file), None);
    let key = file.with_file_name("checkpoint.key");
    assert_eq!(std::fs::metadata(key).expect("a key").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_tail_that_was_cut_off_cleanly_is_shown_by_the_checkpoints_alone() {
    let (database, file, _) = checked().await;
    let mut hand = database.hand().await;
    // Somebody who knows the house: the newest entry and all that follows from it is taken away without a trace.
    let last = hand.number("select max(sequence) from entries").await;
    let store = database.store().await;
    let entry =
        store.journal().await.expect("a reader").entries_after(last - 1, 1).await.expect("it is read").remove(0);
    store.close().await;
    for posting in &entry.draft.postings {
        let sum = if posting.side == PostingSide::Debit { "debits_posted" } else { "credits_posted" };
        let (amount, previous, class) = (posting.amount, posting.previous, posting.account.class.code());
        hand.run(&format!(
            "update accounts set {sum} = {sum} - {amount}, last = {previous}, moved = moved - 1 where class = {class} and last = {last}"
        ))
        .await;
    }
    for sql in [
        format!("delete from entries where sequence = {last}"),
        format!(
            "update lane_heads set sequence = {last} - 1, hash = (select hash from entries where sequence = {last} - 1), at = (select at from entries where sequence = {last} - 1)"
        ),
    ] {
        hand.run(&sql).await;
    }
    hand.run("delete from accounts where debits_posted = 0 and credits_posted = 0").await;
    let (status, said, _) = koban(&database, &["ledger", "verify"]);
    assert!(status.success(), "the chain alone shows nothing: {said}");
    let found = compared(&database, &file).expect("the cut is found");
    assert!(
        found.contains("the tail was cut off") && found.contains(&format!("ends at entry {}", last - 1)),
        "{found}"
    );
}

#[tokio::test]
async fn a_journal_of_another_history_is_told_from_the_one_that_was_vouched_for() {
    let (_kept, file, key) = checked().await;
    // The same number of entries and more, every hash in order, and another history.
    let other = finished().await;
    for _ in 0..3 {
        more(&other).await;
    }
    let arguments =
        ["ledger", "verify", "--checkpoint", file.to_str().expect("a path"), "--key", key.to_str().expect("a path")];
    let (status, said, log) = koban(&other, &arguments);
    assert!(!status.success(), "{said}{log}");
    assert!(said.contains("history was rewritten between entry 1 and entry"), "{said}");
}

#[tokio::test]
async fn a_checkpoint_that_was_changed_or_signed_by_somebody_else_does_not_count() {
    let (database, file, _) = checked().await;
    let good = std::fs::read_to_string(&file).expect("checkpoints");
    let mut line: Value = serde_json::from_str(good.lines().next().expect("a line")).expect("JSON");
    line["sequence"] = (line["sequence"].as_i64().expect("a number") - 1).into();
    std::fs::write(&file, format!("{line}\n")).expect("written");
    let found = compared(&database, &file).expect("the changed line is found");
    assert!(found.contains("signature"), "{found}");
    std::fs::write(&file, good).expect("written");
    assert_eq!(compared(&database, &file), None);
    std::fs::write(file.with_file_name("checkpoint.pub"), "00".repeat(32)).expect("written");
    let found = compared(&database, &file).expect("another key is found");
    assert!(found.contains("another key"), "{found}");
}
