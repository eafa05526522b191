//! Records: every kind of call leaves one, each ends again as it says, what they hold of people can be erased, and the chain stays whole.

use std::path::Path;
use std::process::Command;

use koban_auditor::{Evidence, Invariant};
use koban_domain::guest::Verdict;
use koban_domain::ids::RecordId;
use koban_domain::records::Kept;
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::page::Page;
use koban_service::{decisions, erasures, replays, verify};
use koban_store::records;
use serde_json::{Value, json};

use crate::harness::{
    Caller as _, Database, Setup, TestApp, User, door, drifting_door, eventually, koban, replayer, root, text, whole,
};

async fn all(app: &TestApp) -> Vec<Kept> {
    let page = Page { after: None, limit: 100 };
    decisions::list(&app.app, None, &page).await.expect("the decisions").items
}

async fn charged(app: &TestApp, user: &User, yen: i64) -> String {
    let atm = app.atm().await;
    let (_, charge, _) = atm.charge(user, yen).await;
    let is_final = |charge: &Value| charge["standing"] == "done";
    eventually("the charge ends", || user.charge(&charge), is_final).await;
    atm.end_of_day().await;
    let used = || async { app.exposure("charge-atm").await.used.minor };
    eventually("the file is taken", used, |used| *used == 0).await;
    charge
}

/// Pages as the reader in another language takes them.
pub(crate) async fn dumped(database: &Database) -> std::path::PathBuf {
    let store = database.store().await;
    let mut journal = store.journal().await.expect("a reader");
    let (mut lines, mut sequence) = (String::new(), 0);
    loop {
        let pages = journal.record_pages_after(sequence, 100).await.expect("the pages");
        let Some(last) = pages.last() else { break };
        sequence = last.sequence;
        for page in pages {
            let contents = page.contents.map(hex::encode);
            let (sequence, hash) = (page.sequence, page.hash);
            let page = hex::encode(page.page);
            let line = json!({ "sequence": sequence, "page": page, "contents": contents, "hash": hash });
            lines.push_str(&format!("{line}\n"));
        }
    }
    drop(journal);
    store.close().await;
    let path = database.folder().join("pages.jsonl");
    std::fs::write(&path, lines).expect("the file is written");
    path
}

/// What a program in another language says.
pub(crate) fn python(script: &str, arguments: &[&str]) -> (bool, String) {
    let script = root().join("tests/reader").join(script);
    let output =
        Command::new("python3").arg(script).args(arguments).output().expect("python3 is part of the build machine");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn read_elsewhere(path: &Path) -> (bool, String) {
    python("read_records.py", &[path.to_str().expect("a path")])
}

#[test]
fn the_reader_in_another_language_knows_the_published_vectors() {
    let page = root().join("docs/reference/records.md");
    let (is_clean, said) = python("read_records.py", &["--vectors", page.to_str().expect("a path")]);
    assert!(is_clean, "{said}");
}

#[tokio::test]
async fn every_kind_of_call_is_recorded_shown_and_run_again_without_a_database() {
    let app = TestApp::start().await.with_fraud_rules(&[whole("night_from", 0), whole("night_to", 0)]).await;
    let (user, shop) = (app.user().await, app.shop().await);
    charged(&app, &user, 10_000).await;
    user.pay(&shop, 1_280).device("own-phone").await.created();
    let kept = all(&app).await;
    for (function, is_about_her, holds) in [
        ("assess.assess", true, vec!["payment", "facts", "signals"]),
        ("charge.begin", true, vec!["wallet"]),
        ("machine.resume", true, vec!["state"]),
        ("inbound.route", false, vec!["message"]),
        ("settlement.parse", false, vec!["file"]),
    ] {
        let found = kept.iter().find(|kept| kept.head.function == function).unwrap_or_else(|| panic!("no {function}"));
        assert_eq!(found.head.about.is_some(), is_about_her, "{function}");
        assert!(found.head.about.is_none_or(|about| about == user.id), "{function}");
        assert!(holds.iter().all(|word| found.head.holds.iter().any(|held| held == word)), "{:?}", found.head.holds);
        let id = found.head.id.to_string();
        let (status, shown, said) = koban(&app.database, &["--json", "decision", "show", &id]);
        assert!(status.success(), "{said}");
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!((&shown["function"], &shown["erased"]), (&json!(function), &json!(false)), "{shown}");
        let exported = decisions::export(&app.app, &app.operator_ctx(), found.head.id).await.expect("an export");
        let text = serde_json::to_string(&exported).expect("JSON");
        let exported: decisions::Export = serde_json::from_str(&text).expect("an export");
        // Another door in the place of another host: no database is named anywhere.
        let replayed = decisions::replay_export(&door(), &exported).await.expect("it runs");
        assert!(replayed.same && replayed.fuel_compared, "{function}: {replayed:?}");
        assert_eq!(exported.link.map(|link| link.to_string()), shown["link"].as_str().map(str::to_owned));
        let other = decisions::Export { previous: exported.link, ..exported };
        assert!(decisions::replay_export(&door(), &other).await.is_err(), "{function}: it stands elsewhere");
    }
    let path = dumped(&app.database).await;
    let (is_clean, said) = read_elsewhere(&path);
    assert!(is_clean && said.contains(" records, 0 erased"), "{said}");
    let (status, told, said) = koban(&app.database, &["--json", "decision", "replay", "--all"]);
    assert!(status.success(), "{said}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["same"], &told["differing"]), (&told["decisions"], &json!(0)), "{told}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn whatever_is_changed_in_a_page_is_found_by_the_reader_in_another_language() {
    let app = TestApp::start().await.with_fraud_rules(&[]).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    for yen in 1..=3 {
        user.pay(&shop, yen).await.created();
    }
    app.ledger_is_clean().await;
    let path = dumped(&app.database).await;
    let good = std::fs::read_to_string(&path).expect("the pages");
    let lines: Vec<&str> = good.lines().collect();
    let swapped = [lines[1], lines[0]].join("\n");
    let other_contents = {
        let (mut first, second): (Value, Value) =
            (serde_json::from_str(lines[0]).expect("JSON"), serde_json::from_str(lines[1]).expect("JSON"));
        first["contents"] = second["contents"].clone();
        first.to_string()
    };
    let other_hash = lines[0].replace("\"hash\":\"", "\"hash\":\"0");
    for (what, changed) in [
        ("a page gone", lines[1].to_owned()),
        ("two pages swapped", swapped),
        ("another page's contents", other_contents),
        ("another hash", other_hash),
    ] {
        std::fs::write(&path, changed).expect("the file is written");
        let (is_clean, said) = read_elsewhere(&path);
        assert!(!is_clean && said.contains("DIFFERS"), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_guest_that_is_told_what_no_record_says_is_found_out() {
    let setup = Setup { door: Some(drifting_door()), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    app.install("hostile-rule", &[text("attack", "seed")], None).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    for yen in 1..=3 {
        user.pay(&shop, yen).await.created();
    }
    let summary = replays::replay_all(&app.app.store, &replayer(), &|_| {}).await.expect("it runs");
    assert_eq!((summary.differing, summary.same, summary.named.len()), (3, 0, 3), "{summary:?}");
    assert!(summary.named.iter().all(|(_, differences)| differences[0].what == "ending"), "{summary:?}");
    let (status, told, said) = koban(&app.database, &["decision", "replay", "--all"]);
    assert!(!status.success() && said.contains("3 decision(s) are not confirmed"), "{told}{said}");
    assert!(told.contains(&summary.named[0].0.to_string()), "{told}");
    // The books themselves are as they should be.
    assert!(app.database.audited(Evidence::default()).await.is_clean());
}

/// Whether any page still has these bytes.
async fn holds(app: &TestApp, wanted: &str) -> bool {
    let mut hand = app.database.hand().await;
    let contents = hand.blobs("select contents from record_pages where contents is not null").await;
    let pages = hand.blobs("select page from record_pages").await;
    contents.iter().chain(&pages).any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
}

#[tokio::test]
async fn what_is_erased_is_gone_and_everything_else_stays() {
    let app = TestApp::start().await.with_fraud_rules(&[whole("night_from", 0), whole("night_to", 0)]).await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let paid = user.pay(&shop, 1_280).device("phone-of-hana-7f3").await.created();
    let (decision, other) = (paid.text("decision"), user.pay(&shop, 1).await.created().text("decision"));
    assert!(holds(&app, "phone-of-hana-7f3").await);
    let erase = ["decision", "erase", &decision, "--reason", "asked for by letter"];
    let (status, told, said) = koban(&app.database, &erase);
    assert!(status.success(), "{said}");
    assert_eq!(told.trim(), "erased the contents of 1 decision(s)");
    assert!(!holds(&app, "phone-of-hana-7f3").await);

    let shown = operator.get(format!("/v1/operator/decisions/{decision}")).await.ok();
    assert_eq!((&shown["erased"], &shown["input"], &shown["ending"]), (&json!(true), &Value::Null, &Value::Null));
    assert_eq!((&shown["function"], &shown["outcome"]), (&json!("assess.assess"), &json!("allow")));
    assert_eq!(shown["about"], json!(user.id));
    let (status, _, said) = koban(&app.database, &["decision", "replay", &decision]);
    assert!(!status.success() && said.contains("was erased"), "{said}");
    operator.get(format!("/v1/operator/decisions/{decision}/export")).await.problem(409, "conflict");
    let (status, _, said) = koban(&app.database, &erase);
    assert_eq!(status.code(), Some(5), "{said}");
    let (status, _, said) = koban(&app.database, &["decision", "replay", &other]);
    assert!(status.success(), "{said}");

    let acts = operator.get("/v1/operator/audit?act=decision.erase").await.ok();
    let act = &acts["items"][0];
    assert_eq!(act["subject"], json!(decision), "{acts}");
    let (is_clean, said) = read_elsewhere(&dumped(&app.database).await);
    assert!(is_clean && said.contains("1 erased"), "{said}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_content_that_went_without_a_row_of_the_audit_log_is_missed() {
    for change in [
        "update record_pages set contents = null where sequence = 1",
        "update record_pages set contents = (select contents from record_pages where sequence = 2) where sequence = 1",
    ] {
        let app = TestApp::start().await.with_fraud_rules(&[]).await;
        let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
        user.pay(&shop, 1).await.created();
        user.pay(&shop, 2).await.created();
        app.ledger_is_clean().await;
        assert_eq!(app.database.hand().await.run(change).await, 1, "{change}");
        let verdict = verify::verify(&app.app.store).await.expect("it runs");
        assert!(verdict.difference.is_some(), "{change}: {verdict}");
        let report = app.database.audited(Evidence::default()).await;
        assert!(report.names(Invariant::I12), "{change}: {report}");
    }
}

#[tokio::test]
async fn everything_about_a_user_is_erased_and_nothing_about_another() {
    let app = TestApp::start().await.with_fraud_rules(&[whole("night_from", 0), whole("night_to", 0)]).await;
    let (hana, ken, shop) = (app.user().await, app.user().await, app.shop().await);
    charged(&app, &hana, 10_000).await;
    hana.pay(&shop, 1_280).await.created();
    app.bring(ken.id, 5_000).await;
    ken.pay(&shop, 100).await.created();
    let before = all(&app).await;
    let hers = before.iter().filter(|kept| kept.head.about == Some(hana.id)).count();
    assert!(hers >= 4, "begin, steps and a payment: {hers}");
    let user = hana.id.to_string();
    let (status, told, said) =
        koban(&app.database, &["--json", "decision", "erase", "--user", &user, "--reason", "she has left"]);
    assert!(status.success(), "{said}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let after = all(&app).await;
    for kept in &after {
        // What the network said was about her charge; its file is about no one user.
        let is_hers = kept.head.about == Some(hana.id) || kept.head.function == "inbound.route";
        assert_eq!(kept.is_erased(), is_hers, "{:?}", kept.head);
    }
    let erased = after.iter().filter(|kept| kept.is_erased()).count();
    assert_eq!(told["erased"], json!(erased));
    assert!(erased > hers, "partners' calls went, too");
    assert_eq!(before.len(), after.len());
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn contents_are_kept_as_long_as_the_policy_says() {
    const DAY_MS: i64 = 86_400_000;
    let clock = Clock::standing_at(Timestamp::parse("2026-04-01T03:00:00Z").expect("a time"));
    let setup = Setup { clock: clock.clone(), jobs: false, ..Setup::default() };
    let app = TestApp::start_with(setup).await.with_fraud_rules(&[]).await;
    let (status, _, said) = koban(&app.database, &["decision", "keep", "--days", "29"]);
    assert!(!status.success() && said.contains("30"), "{said}");
    let (status, told, said) = koban(&app.database, &["decision", "keep", "--days", "30"]);
    assert!(status.success() && told.contains("kept for 30 days"), "{told}{said}");
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let first: RecordId = user.pay(&shop, 1).await.created().text("decision").parse().expect("an id");
    clock.advance_ms(20 * DAY_MS);
    let user = user.sign_in_again().await;
    let second: RecordId = user.pay(&shop, 2).await.created().text("decision").parse().expect("an id");
    let is_erased =
        async |id| records::find(&app.app.store, id).await.expect("it is read").expect("there").kept.is_erased();
    assert_eq!(erasures::sweep(&app.app, clock.now()).await.expect("it sweeps"), 0);
    clock.advance_ms(11 * DAY_MS);
    assert_eq!(erasures::sweep(&app.app, clock.now()).await.expect("it sweeps"), 1);
    assert_eq!((is_erased(first).await, is_erased(second).await), (true, false));
    assert_eq!(erasures::sweep(&app.app, clock.now()).await.expect("it sweeps"), 0);
    let (status, told, _) = koban(&app.database, &["decision", "keep", "--for-ever"]);
    assert!(status.success() && told.contains("kept for ever"), "{told}");
    clock.advance_ms(100 * DAY_MS);
    assert_eq!(erasures::sweep(&app.app, clock.now()).await.expect("it sweeps"), 0);
    let (is_clean, said) = read_elsewhere(&dumped(&app.database).await);
    assert!(is_clean && said.contains("1 erased"), "{said}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_rule_that_met_no_verdict_is_recorded_as_what_it_did() {
    let app = TestApp::start().await;
    app.install("hostile-rule", &[text("attack", "trap")], None).await;
    app.fraud_policy(Verdict::Allow, Verdict::Allow).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 1).await.created();
    let kept = all(&app).await;
    assert_eq!((kept.len(), kept[0].head.outcome.word()), (1, "trap"));
    app.ledger_is_clean().await;
}
