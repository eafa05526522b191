//! Withdrawals that go to the bank in a file: one file for each cut-off, each transfer once, whatever happens to hosts, disks and the directory between them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use koban_domain::guest::Named;
use koban_domain::guest::Value as Given;
use koban_domain::ids::UserId;
use koban_domain::records::Digest;
use koban_domain::time::{Timestamp, date_of_day};
use koban_service::clock::Clock;
use koban_service::crash::Point;
use koban_service::{calendars, operators};
use outside_world::bank::Bank as Book;
use outside_world::batches::{self, Taken};
use outside_world::clock::Clock as OutsideClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::harness::{
    BANK_FEE, Caller as _, Database, Disk, HostProcess, Ill, Operator, Setup, TestApp, User, eventually,
    eventually_for, koban, payee, seed_bank, seed_money, seed_operator, seed_till, seed_user, unique,
};
use crate::kills::free_address;

/// A Wednesday, noon in Japan; the bank's cut-off is at 15:00.
const NOON: Timestamp = Timestamp(1_775_012_400_000);
const NAME: &str = "transfers-20260401-000001.txt";
/// How long a withdrawal may take although its host was killed.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
/// What each user has.
const HOLDING: i64 = 50_000;

fn place(database: &Database, way: &str) -> PathBuf {
    database.partner_files().join("bank-transfer").join("bank").join(way)
}

/// The names in a directory that a partner sees.
fn names(place: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// The newest file, asked for gently: a host allows everybody so many requests in a minute. Null if the host does not say.
async fn newest(operator: &Operator) -> Value {
    tokio::time::sleep(Duration::from_millis(150)).await;
    match operator.get("/v1/operator/partner-files?plugin=bank-transfer").attempt().await {
        Ok(said) if said.reply.status == 200 => said.reply.body["items"][0].clone(),
        _ => Value::Null,
    }
}

/// A withdrawal of a user's, asked for as gently.
async fn withdrawal(user: &User, id: &str) -> Value {
    tokio::time::sleep(Duration::from_millis(250)).await;
    match user.get(format!("/v1/withdrawals/{id}")).attempt().await {
        Ok(said) if said.reply.status == 200 => said.reply.body,
        _ => Value::Null,
    }
}

/// Banks work on every weekday of these weeks, whatever year it is.
async fn banks_work(app: &TestApp) {
    let today = app.app.clock.now().jst_day();
    let (from, until) = (date_of_day(today - 7), date_of_day(today + 90));
    let text = format!("calendar jp-banking\nfrom {from}\nuntil {until}\n");
    calendars::add(&app.app, &operators::command_line(unique("calendar")), &text).await.expect("a calendar");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawals_go_out_in_one_file_and_each_is_settled_once() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let shared = clock.clone();
    let bank = app.bank_by_file(OutsideClock::new(move || shared.now().0)).await;
    let operator = app.operator().await;
    let mut users = Vec::new();
    for branch in ["123", "001", "999"] {
        let user = app.verified_user_holding(HOLDING).await;
        let begun = user.withdraws(10_000, "w").await.created();
        user.says_where(&begun.id, branch).await;
        users.push((user, begun.id));
    }
    let open = eventually("three records wait", || newest(&operator), |file| file["records"] == 3).await;
    assert_eq!((&open["state"], &open["number"]), (&json!("open"), &Value::Null), "{open}");
    assert_eq!(open["cut_off"], "2026-04-01T06:00:00.000Z");
    assert!(names(&place(&app.database, "out")).is_empty(), "nothing leaves before the cut-off");

    clock.advance_ms(3 * 3_600_000);
    let operator = Operator::sign_in(&app.anonymous(), &operator.email).await;
    let written = eventually("the file is written", || newest(&operator), |file| file["state"] == "written").await;
    assert_eq!((&written["name"], &written["number"]), (&json!(NAME), &json!(1)), "{written}");
    let content = std::fs::read(place(&app.database, "out").join(NAME)).expect("the file");
    assert_eq!(written["digest"], Digest::of(&content).to_string());
    assert_eq!(content.len(), 6 * 122, "header, three transfers, trailer and end, each of 120 bytes and a line's end");

    // After the cut-off it is the next banking day's.
    let late = app.verified_user_holding(HOLDING).await;
    let begun = late.withdraws(1_000, "w").await.created();
    late.says_where(&begun.id, "123").await;
    let next = eventually("the next file is open", || newest(&operator), |file| file["state"] == "open").await;
    assert_eq!(next["cut_off"], "2026-04-02T06:00:00.000Z");

    let seen = bank.take_files().await;
    assert_eq!((&seen[0]["name"], &seen[0]["transfers"]), (&json!(NAME), &json!(3)), "{seen}");
    for (at, (user, id)) in users.iter().enumerate() {
        let user = user.sign_in_again().await;
        let final_one = |one: &Value| matches!(one["standing"].as_str(), Some("done" | "failed"));
        let ended = eventually_for(ENDS_WITHIN, "it ends", || withdrawal(&user, id), final_one).await;
        let (standing, left) = if at == 2 { ("failed", HOLDING) } else { ("done", HOLDING - 10_000 - BANK_FEE) };
        assert_eq!((ended["standing"].as_str(), user.balance().await), (Some(standing), left), "{ended}");
    }
    let book = bank.book().await;
    assert_eq!(book["done"], 20_000);
    for transfer in book["transfers"].as_array().expect("transfers") {
        assert_eq!(transfer["asked"], 1, "{transfer}");
        assert_eq!(transfer["payee"]["name"], "ﾊﾅ", "{transfer}");
    }
    let waiting = 1_000 + BANK_FEE;
    assert_eq!(app.exposure("bank-transfer").await.used.minor, 20_000 + waiting, "until a file of the day lists it");

    // The bank's file again under another name, and ours sent again: nothing is done twice.
    let results = names(&place(&app.database, "in")).remove(0);
    let copy = place(&app.database, "in").join("results-again.csv");
    std::fs::copy(place(&app.database, "in").join(&results), copy).expect("a copy");
    let id = written["id"].as_str().expect("an id");
    std::fs::remove_file(place(&app.database, "out").join(NAME)).expect("the bank takes it away");
    let sent = operator.post(format!("/v1/operator/partner-files/{id}/send"), json!({ "reason": "lost" })).await.ok();
    assert_eq!(sent["in_directory"], "same", "{sent}");
    assert_eq!(std::fs::read(place(&app.database, "out").join(NAME)).expect("the file"), content);
    assert_eq!(bank.take_files().await, json!([]), "the bank has seen these bytes");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let received = operator.get("/v1/operator/received-files").await.ok();
    assert_eq!(received["items"].as_array().map(Vec::len), Some(1), "{received}");
    assert_eq!((&received["items"][0]["state"], &received["items"][0]["records"]), (&json!("taken"), &json!(3)));
    bank.end_of_day().await;
    let settled = || app.exposure("bank-transfer");
    eventually("the day is settled", settled, |exposure| exposure.used.minor == waiting).await;
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_and_moves_files_over_api_and_command_line() {
    let app = TestApp::start().await;
    banks_work(&app).await;
    let _bank = app.bank_by_file(OutsideClock::system()).await;
    let operator = app.operator().await;
    let user = app.verified_user_holding(HOLDING).await;
    let begun = user.withdraws(10_000, "w").await.created();
    user.says_where(&begun.id, "123").await;
    let open = eventually("a file is open", || newest(&operator), |file| file["state"] == "open").await;
    let id = open["id"].as_str().expect("an id").to_owned();
    let at = |rest: &str| format!("/v1/operator/partner-files/{id}{rest}");
    operator.get(at("/content")).await.problem(409, "conflict");
    operator.post(at("/send"), json!({ "reason": "too early" })).await.problem(409, "conflict");
    operator.post(at("/retry"), json!({ "reason": "too early" })).await.problem(409, "conflict");
    operator.post(at("/seal"), json!({ "reason": "" })).await.problem(400, "invalid_request");
    let sealed = operator.post(at("/seal"), json!({ "reason": "the bank closes early" })).await.ok();
    assert_eq!(sealed["number"], 1, "{sealed}");
    let name = sealed["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("transfers-20") && name.ends_with("-000001.txt"), "{name}");
    operator.post(at("/seal"), json!({ "reason": "again" })).await.problem(409, "conflict");
    let show = || async { operator.get(at("")).await.ok() };
    let written = eventually("it is written", show, |file| file["state"] == "written").await;
    assert_eq!(written["in_directory"], "same");
    let path = place(&app.database, "out").join(&name);
    let content = std::fs::read(&path).expect("the file");

    // The command line sees the same, in the same words.
    let partners = app.database.partner_files();
    let say = |arguments: &[&str]| {
        let mut all = vec!["--json", "--partner-files", partners.to_str().expect("a path")];
        all.extend_from_slice(arguments);
        let (status, said, log) = koban(&app.database, &all);
        let read = serde_json::from_str::<Value>(&said);
        (status.success(), read.unwrap_or_else(|_| json!({ "said": format!("{said}{log}") })))
    };
    let (well, listed) = say(&["partner-file", "list", "--plugin", "bank-transfer"]);
    assert!(well && listed["items"][0]["digest"] == written["digest"], "{listed}");
    let (_, nobodys) = say(&["partner-file", "list", "--plugin", "charge-atm"]);
    assert_eq!(nobodys["items"], json!([]));
    let (_, shown) = say(&["partner-file", "show", &id]);
    assert_eq!((&shown["in_directory"], &shown["name"]), (&json!("same"), &json!(name)), "{shown}");
    let out = app.database.folder().join("downloaded.txt");
    let (well, said) = say(&["partner-file", "download", &id, "--out", out.to_str().expect("a path")]);
    assert!(well, "{said}");
    assert_eq!(std::fs::read(&out).expect("a file"), content);
    let (well, said) = say(&["partner-file", "show", "pfl_00000000000000000000000000000000"]);
    assert!(!well, "{said}");

    // Somebody changed it: named by the API, by the doctor and by the metrics; and never overwritten.
    std::fs::write(&path, "somebody's").expect("the file is changed");
    assert_eq!(operator.get(at("")).await.ok()["in_directory"], "other");
    let refused = operator.post(at("/send"), json!({ "reason": "over it" })).await.problem(409, "conflict");
    assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains(&name)), "{refused:?}");
    let (_, examined) = say(&["doctor"]);
    let line = |check: &str| {
        let lines = examined["checks"].as_array().expect("checks");
        lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no {check}: {examined}")).clone()
    };
    assert_eq!(line("files to partners")["state"], "fail", "{examined}");
    assert!(line("files to partners")["found"].as_str().is_some_and(|found| found.contains(&name)), "{examined}");
    assert_eq!((&line("partner files")["state"], &line("cut-offs")["state"]), (&json!("ok"), &json!("ok")));
    assert_eq!(line("calendar")["state"], "ok", "{examined}");
    let audit = operator.get("/v1/operator/audit?limit=100").await.ok().to_string();
    for act in ["partner-file.seal", "partner-file.read", "partner-file.send"] {
        assert!(audit.contains(act), "{act}: {audit}");
    }

    // Calendars: what is known, what is wrong with a text, and more of it.
    assert_eq!(operator.get("/v1/operator/calendars/jp-banking").await.ok()["spans"][1]["until"], "2027-12-31");
    operator.get("/v1/operator/calendars/lunar").await.problem(404, "not_found");
    let text = "calendar jp-banking\nfrom 2028-01-01\nuntil 2028-12-31\n2028-01-10\n2028-01-10\n";
    let wrong = operator.post("/v1/operator/calendars", json!({ "text": text })).await.problem(400, "invalid_request");
    assert!(wrong.body.to_string().contains("line 5"), "{wrong:?}");
    let file = app.database.folder().join("2028.txt");
    std::fs::write(&file, text.replacen("2028-01-10\n", "", 1)).expect("a file");
    let (well, added) = say(&["calendar", "add", file.to_str().expect("a path")]);
    assert!(well && added["spans"][0]["from"] == "2028-01-01", "{added}");
    // Looked at each minute, and when a host starts.
    let app = TestApp::on(app.stop().await, Setup::default()).await;
    let counted = || async { app.app.metrics.text() };
    eventually("it is counted", counted, |text| text.contains("koban_partner_files_changed 1\n")).await;
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_that_is_missed_is_counted_and_named() {
    let clock = Clock::standing_at(NOON);
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let _bank = app.bank_by_file(OutsideClock::system()).await;
    let operator = app.operator().await;
    let user = app.verified_user_holding(HOLDING).await;
    let begun = user.withdraws(10_000, "w").await.created();
    user.says_where(&begun.id, "123").await;
    eventually("a file is open", || newest(&operator), |file| file["state"] == "open").await;
    // Something that is not ours has its name.
    std::fs::create_dir_all(place(&app.database, "out").join(NAME)).expect("a directory");
    clock.advance_ms(3 * 3_600_000 + 16 * 60_000);
    let operator = Operator::sign_in(&app.anonymous(), &operator.email).await;
    let waits = |file: &Value| file["state"] == "composed" && file["note"].is_string();
    let waiting = eventually("it waits", || newest(&operator), waits).await;
    assert!(waiting["note"].as_str().is_some_and(|note| note.contains("not a plain file")), "{waiting}");
    let database = app.stop().await;
    let (_, said, _) =
        koban(&database, &["--json", "--partner-files", database.partner_files().to_str().expect("a path"), "doctor"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    // The command line has this machine's clock, behind which the cut-off lies as well.
    let lines = said["checks"].as_array().expect("checks");
    let late = lines.iter().find(|line| line["check"] == "cut-offs").expect("a line");
    assert!(late["state"] == "fail" && late["found"].as_str().is_some_and(|found| found.contains(NAME)), "{late}");
    let app = TestApp::on(database, Setup { clock: clock.clone(), ..Setup::default() }).await;
    let text = || async { app.app.metrics.text() };
    eventually("it is counted", text, |text| text.contains("koban_partner_files_late 1\n")).await;
    std::fs::remove_dir(place(&app.database, "out").join(NAME)).expect("it is taken away");
    eventually("it is written", async || names(&place(&app.database, "out")), |names| names == &[NAME]).await;
    app.ledger_is_clean().await;
}

/// A database with users who may withdraw, and an operator, for hosts in processes of their own; banks work on every weekday of these weeks.
struct Town {
    database: Arc<Database>,
    address: String,
    users: Vec<(UserId, String)>,
    operator: String,
}

impl Town {
    async fn with(users: usize) -> Town {
        let (database, address) = (Arc::new(Database::fresh().await), free_address());
        let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
        let by_file = Named { name: "by_file".into(), value: Given::Flag(true) };
        seed_bank(&app.app, "http://127.0.0.1:9", &[by_file], (1_000_000_000, 0)).await;
        banks_work(&app).await;
        seed_till(&app.app).await;
        let mut known = Vec::new();
        for _ in 0..users {
            let (user, token) = seed_user(&app.app, true).await;
            seed_money(&app.app, user, HOLDING).await;
            known.push((user, token));
        }
        let operator = seed_operator(&app.app).await;
        app.stop().await;
        Town { database, address, users: known, operator }
    }

    async fn host(&self, data: &str, address: &str, environment: &[(&'static str, OsString)]) -> HostProcess {
        let mut all = vec![("KOBAN_PARTNER_FILES", OsString::from(self.database.partner_files()))];
        all.extend_from_slice(environment);
        HostProcess::start_in(&self.database, data, &["--listen", address], &all).await
    }

    fn user(&self, at: usize) -> User {
        let (user, token) = &self.users[at];
        User::signed_in(*user, token.clone(), &Client::new(self.address.clone()))
    }

    /// Withdraws, however often it has to be said.
    async fn withdraws(&self, at: usize) -> String {
        let user = self.user(at);
        let body = json!({ "channel": "bank-transfer", "amount": 10_000, "fee": BANK_FEE, "currency": "JPY" });
        let begin = || async { user.post("/v1/withdrawals", body.clone()).key("w").attempt().await.ok() };
        let good = |said: &Option<crate::harness::Outcome>| said.as_ref().is_some_and(|said| said.reply.status == 201);
        let begun = eventually_for(ENDS_WITHIN, "it is begun", begin, good).await.expect("an answer").created();
        let path = format!("/v1/withdrawals/{}/answers", begun.id);
        let answer = || async {
            // A form that was filled in is gone: 409, or no form any more.
            let said = user.post(&path, payee("123")).attempt().await.ok()?;
            Some((200..300).contains(&said.reply.status) || said.reply.status == 409)
        };
        eventually_for(ENDS_WITHIN, "it is said where", answer, |said| *said == Some(true)).await;
        begun.id
    }

    async fn signed_in(&self) -> Operator {
        Operator::sign_in(&Client::new(self.address.clone()), &self.operator).await
    }

    /// The books are sound, and hold what was transferred.
    async fn books_hold(&self, yen: i64) {
        let app = TestApp::on(Arc::clone(&self.database), Setup { jobs: false, ..Setup::default() }).await;
        app.ledger_is_clean().await;
        let mut hand = self.database.hand().await;
        let captured =
            "select cast(coalesce(sum(amount), 0) as bigint) from partner_references where side = 3 and state = 6";
        assert_eq!(hand.number(captured).await, yen);
        assert_eq!(hand.number("select count(*) from flow_holds where held > 0").await, 0, "nothing stays set aside");
        let twice = "select count(*) from (select flow, key from partner_file_records group by flow, key having count(*) > 1) t";
        assert_eq!(hand.number(twice).await, 0, "a record is in one file");
        let gaps = "select count(*) from partner_files where number is not null and number > (select count(*) from partner_files where number is not null)";
        assert_eq!(hand.number(gaps).await, 0, "numbers have no gaps");
        drop(hand);
        app.stop().await;
    }
}

/// Withdrawals of so many users in a file, whose host ends at this place and is started again.
async fn a_file_goes_out_once_although_its_host_ends_at(point: Point) {
    let town = Town::with(2).await;
    let operator = {
        let host = town.host("host", &town.address, &[]).await;
        let operator = town.signed_in().await;
        assert!(host.stop().await.success());
        operator
    };
    let end_at = point.word();
    let host = town.host("host", &town.address, &[("KOBAN_END_AT", format!("{end_at}:1").into())]).await;
    let play = async {
        let ids = [town.withdraws(0).await, town.withdraws(1).await];
        let look = || async {
            let listed = operator.get("/v1/operator/partner-files?plugin=bank-transfer").attempt().await.ok()?;
            (listed.reply.status == 200).then(|| listed.reply.body["items"][0].clone())
        };
        let both = |file: &Option<Value>| file.as_ref().is_some_and(|file| file["records"] == 2);
        let file = eventually_for(ENDS_WITHIN, "both are in the file", look, both).await.expect("a file");
        let path = format!("/v1/operator/partner-files/{}/seal", file["id"].as_str().expect("an id"));
        let seal = || async {
            let said = operator.post(&path, json!({ "reason": "now" })).attempt().await.ok();
            said.is_some_and(|said| matches!(said.reply.status, 200 | 409))
        };
        eventually_for(ENDS_WITHIN, "it is sealed", seal, |sealed| *sealed).await;
        // The bank looks again and again, as banks do.
        let (mut book, mut taken) = (Book::new("B"), Taken::new());
        let directory = town.database.partner_files().join("bank-transfer").join("bank");
        for id in ids.iter().enumerate() {
            let user = town.user(id.0);
            let look = || async { user.get(format!("/v1/withdrawals/{}", id.1)).attempt().await.ok() };
            let stopwatch = crate::harness::Stopwatch::start();
            loop {
                batches::take(&mut book, &mut taken, &directory, 0).expect("the bank looks");
                if look().await.is_some_and(|said| said.reply.body["standing"] == "done") {
                    break;
                }
                assert!(stopwatch.elapsed() < ENDS_WITHIN, "{end_at}: it is not done");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        let files: Vec<&str> = taken.keys().map(String::as_str).collect();
        assert_eq!(files.len(), 1, "{end_at}: {files:?}");
        assert_eq!(names(&place(&town.database, "out")), files, "{end_at}");
        for transfer in book.transfers() {
            assert_eq!(transfer.asked, 1, "{end_at}: {transfer:?}");
        }
        assert_eq!(book.transfers().count(), 2, "{end_at}");
    };
    let (host, ()) = tokio::join!(
        async {
            let ended = tokio::time::timeout(ENDS_WITHIN, host.ended()).await;
            let ended = ended.unwrap_or_else(|_| panic!("the host never came to {end_at}"));
            assert!(!ended.success(), "{end_at}: {ended:?}");
            town.host("host", &town.address, &[]).await
        },
        play
    );
    assert!(host.stop().await.success());
    town.books_hold(20_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_at_any_place_of_a_file_sends_it_once() {
    let mut running = JoinSet::new();
    for point in Point::OF_FILES {
        // A host that is sealed by an operator passes the place of its own sealing as well.
        if running.len() >= 4 {
            running.join_next().await.expect("one runs").expect("it holds");
        }
        running.spawn(a_file_goes_out_once_although_its_host_ends_at(point));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("it holds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_full_or_read_only_keeps_the_file_and_nothing_else() {
    let town = Town::with(1).await;
    let disk = Disk::under(&town.database.partner_files());
    let host = town.host("host", &town.address, &disk.environment()).await;
    let operator = town.signed_in().await;
    let id = town.withdraws(0).await;
    let file = eventually("a file is open", || newest(&operator), |file| file["records"] == 1).await;
    let at = |rest: &str| format!("/v1/operator/partner-files/{}{rest}", file["id"].as_str().expect("an id"));
    disk.is(Ill::Full);
    operator.post(at("/seal"), json!({ "reason": "now" })).await.ok();
    let said = |file: &Value| file["state"] == "composed" && file["note"].is_string();
    let waiting = eventually("it waits", || newest(&operator), said).await;
    assert!(waiting["note"].as_str().is_some_and(|note| note.contains("space") || note.contains("28")), "{waiting}");
    let digest = waiting["digest"].clone();
    assert!(names(&place(&town.database, "out")).is_empty(), "no half of a file");
    disk.is(Ill::ReadOnly);
    let other = |file: &Value| file["note"] != waiting["note"];
    let still = eventually("it is said otherwise", || newest(&operator), other).await;
    assert_eq!(still["state"], "composed", "{still}");
    // Everything else goes on meanwhile.
    assert_eq!(town.user(0).balance().await, HOLDING);
    disk.is_well();
    let written = eventually("it is written", || newest(&operator), |file| file["state"] == "written").await;
    assert_eq!(written["digest"], digest, "the same bytes");
    let (mut book, mut taken) = (Book::new("B"), Taken::new());
    let directory = town.database.partner_files().join("bank-transfer").join("bank");
    batches::take(&mut book, &mut taken, &directory, 0).expect("the bank looks");
    let user = town.user(0);
    eventually_for(ENDS_WITHIN, "it is done", || withdrawal(&user, &id), |one| one["standing"] == "done").await;
    assert!(host.stop().await.success());
    town.books_hold(10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_send_one_file_although_its_directory_was_away() {
    let town = Town::with(3).await;
    let elsewhere = free_address();
    let (first, second) = (town.host("host", &town.address, &[]).await, town.host("other", &elsewhere, &[]).await);
    let operator = town.signed_in().await;
    let mut ids = Vec::new();
    for at in 0..3 {
        ids.push(town.withdraws(at).await);
    }
    let file = eventually("all are in the file", || newest(&operator), |file| file["records"] == 3).await;
    let root = town.database.partner_files();
    let away = root.with_extension("away");
    std::fs::rename(&root, &away).expect("the directory goes away");
    let path = format!("/v1/operator/partner-files/{}/seal", file["id"].as_str().expect("an id"));
    operator.post(path, json!({ "reason": "now" })).await.ok();
    let said = |file: &Value| file["note"].as_str().is_some_and(|note| note.contains("is it mounted"));
    eventually("both hosts say so", || newest(&operator), said).await;
    std::fs::rename(&away, &root).expect("the directory is back");
    let written = eventually("it is written", || newest(&operator), |file| file["state"] == "written").await;
    assert_eq!(written["number"], 1);
    let everything = std::fs::read_dir(place(&town.database, "out")).expect("a directory").count();
    assert_eq!(everything, 1, "one file, and no draft");
    let (mut book, mut taken) = (Book::new("B"), Taken::new());
    batches::take(&mut book, &mut taken, &root.join("bank-transfer").join("bank"), 0).expect("the bank looks");
    for (at, id) in ids.iter().enumerate() {
        let user = town.user(at);
        eventually_for(ENDS_WITHIN, "it is done", || withdrawal(&user, id), |one| one["standing"] == "done").await;
    }
    assert!(book.transfers().all(|transfer| transfer.asked == 1) && book.transfers().count() == 3);
    assert!(first.stop().await.success());
    assert!(second.stop().await.success());
    town.books_hold(30_000).await;
}
