//! Documents: a statement as a file that other programs read, for its owner alone.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use koban_domain::guest::{Named, Value as GuestValue};
use outside_world::household;
use serde_json::{Value, json};

use crate::harness::{Caller, TestApp, User, koban, minor, programs, root};

const WRITER: &str = "budget-export";

fn path(format: &str) -> String {
    format!("/v1/wallet/documents/{WRITER}/{format}?from_ms=0&to_ms=4102444800000")
}

async fn month() -> (TestApp, User) {
    let app = TestApp::start().await;
    app.install(WRITER, &[], None).await;
    let (user, other) = (app.verified_user_holding(10_000).await, app.verified_user_holding(0).await);
    let shop = app.shop().await;
    let payment = user.pay(&shop, 1_280).await.created();
    shop.post(format!("/v1/payments/{}/refunds", payment.id), json!({ "amount": 280, "currency": "JPY" }))
        .await
        .created();
    user.send(&other, 2_000).await.created();
    (app, user)
}

#[tokio::test]
async fn a_statement_is_read_back_by_a_program_that_knows_only_the_format() {
    let (app, user) = month().await;
    let formats = user.get("/v1/wallet/documents").await.ok();
    let names: Vec<_> = formats["items"].as_array().unwrap().iter().map(|format| format["format"].clone()).collect();
    assert_eq!(names, ["ofx", "ofx-2", "zaim", "zaim-sjis", "moneyforward"]);

    let reply = user.client().get(&path("ofx")).await.expect("an answer");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ofx")));
    let disposition = reply.header("content-disposition").expect("a name").to_owned();
    assert!(disposition.starts_with("attachment; filename=\"koban-jpy-"), "{disposition}");
    let statement = household::read(&reply.bytes).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<_> =
        statement.transactions.iter().map(|line| (line.kind.as_str(), line.amount, line.name.as_str())).collect();
    let wanted = [
        ("CREDIT", 10_000, "チャージ"),
        ("POS", -1_280, "Corner shop"),
        ("CREDIT", 280, "Corner shop"),
        ("XFER", -2_000, "Hana"),
    ];
    assert_eq!(lines, wanted);
    assert_eq!(statement.balance, minor(&user.wallet().await, "available"));
    assert_eq!(statement.balance, statement.transactions.iter().map(|line| line.amount).sum::<i64>());
    assert_eq!((statement.currency.as_str(), statement.account.len()), ("JPY", 22));

    // The same again has the same ids, whatever has happened since; and the call can be run again.
    app.bring(user.id, 1).await;
    let again = household::read(&user.client().get(&path("ofx")).await.expect("an answer").bytes).unwrap();
    assert_eq!(again.transactions[..4], statement.transactions[..]);
    let decision = reply.header("koban-decision").expect("the record").to_owned();
    let operator = app.operator().await;
    let replayed = operator.post(format!("/v1/operator/decisions/{decision}/replay"), json!({})).await.ok();
    assert_eq!(replayed["same"], true);
    app.ledger_is_clean().await;
}

/// What a parser that is not ours reads in a file.
fn read_by_others(file: &[u8]) -> Value {
    let mut python = Command::new(programs("ofx").join("python3"));
    python.arg(root().join("tests/ofx/read.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut reading = python.spawn().expect("Python runs");
    reading.stdin.take().expect("its input").write_all(file).expect("it reads");
    let output = reading.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn parsers_of_others_read_both_versions_of_ofx_alike() {
    let (app, user) = month().await;
    let (friend, shop) = (app.verified_user_holding(0).await, app.shop().await);
    user.send(&friend, 1).with("message", "ランチ <代> & co").await.created();
    user.pay(&shop, 2).await.created();
    let old = read_by_others(&user.client().get(&path("ofx")).await.expect("an answer").bytes);
    let new = read_by_others(&user.client().get(&path("ofx-2")).await.expect("an answer").bytes);
    assert_eq!(old, new);
    assert_eq!((&old["currency"], &old["balance"]), (&json!("JPY"), &json!("6997")));
    let lines = old["lines"].as_array().expect("lines");
    let amounts: Vec<&str> = lines.iter().map(|line| line[2].as_str().expect("an amount")).collect();
    assert_eq!(amounts, ["10000", "-1280", "280", "-2000", "-1", "-2"]);
    assert_eq!((&lines[1][3], &lines[4][4]), (&json!("Corner shop"), &json!("ランチ <代> & co")));
    let ids: BTreeSet<&str> = lines.iter().filter_map(|line| line[0].as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "each line has an id of its own");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn household_books_get_their_csv_in_their_encoding() {
    let (_app, user) = month().await;
    let reply = user.client().get(&path("zaim")).await.expect("an answer");
    assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8"));
    let csv = String::from_utf8(reply.bytes.to_vec()).expect("UTF-8");
    assert!(csv.starts_with("日付,方法,カテゴリ,"), "{csv}");
    assert!(csv.contains(",payment,未分類,-,ウォレット,-,,,Corner shop,JPY,0,1280,0,0,1280,"), "{csv}");
    let reply = user.client().get(&path("moneyforward")).await.expect("an answer");
    assert_eq!(reply.header("content-type"), Some("text/csv; charset=Shift_JIS"));
    assert!(reply.bytes.starts_with(b"\"\x8cv\x8eZ\x91\xce\x8f\xdb\",\""), "計算対象 in Shift_JIS");
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_nobody_gets_anothers_statement() {
    let (app, user) = month().await;
    app.offer_dollars(100_000).await;
    user.get(format!("{}&currency=USD", path("moneyforward"))).await.problem(422, "plugin_refused");
    let empty = user.client().get(&format!("{}&currency=USD", path("ofx"))).await.expect("an answer");
    assert_eq!(household::read(&empty.bytes).unwrap().transactions, []);
    user.get(path("pdf")).await.problem(404, "not_found");
    user.get("/v1/wallet/documents/nobody/ofx?from_ms=0&to_ms=1").await.problem(404, "not_found");
    user.get(format!("/v1/wallet/documents/{WRITER}/ofx?from_ms=5&to_ms=5")).await.problem(400, "invalid_request");
    user.get(format!("/v1/wallet/documents/{WRITER}/ofx")).await.problem(400, "invalid_request");
    let stranger = app.user().await;
    let theirs = stranger.client().get(&path("ofx")).await.expect("an answer");
    assert_eq!(household::read(&theirs.bytes).unwrap().transactions, []);
    // Of a plugin that is switched off, nothing is offered.
    koban_service::plugins::set_enabled(&app.app, &app.operator_ctx(), WRITER, false).await.expect("switched off");
    assert_eq!(user.get("/v1/wallet/documents").await.ok()["items"], json!([]));
    user.get(path("ofx")).await.problem(404, "not_found");
    let settings = [Named { name: "bank_id".into(), value: GuestValue::Text("MUCH-TOO-LONG".into()) }];
    let refused = koban_service::plugins::set_settings(&app.app, &app.operator_ctx(), WRITER, &settings).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("bank_id")));
}

#[tokio::test]
async fn an_operator_hands_a_statement_out_on_the_command_line_and_leaves_a_row() {
    let (app, user) = month().await;
    let (folder, today) = (crate::harness::Folder::new(), koban_service::clock::Clock::machine().now());
    let database = app.stop().await;
    let file = folder.path().join("statement.ofx");
    let (out, day) = (file.to_str().expect("a path"), today.jst_date());
    let ask = ["user", "document", &user.email, "--plugin", WRITER, "--format", "ofx", "--from", &day, "--until", &day];
    let arguments: Vec<&str> = ask.iter().copied().chain(["--out", out]).collect();
    let (status, told, said) = koban(&database, &arguments);
    assert!(status.success(), "{told}{said}");
    let statement = household::read(&std::fs::read(&file).expect("the file")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(statement.transactions.len(), 4);
    let (status, _, said) = koban(&database, &arguments);
    assert!(!status.success() && said.contains("it must not be there yet"), "{said}");
    let (_, audit, _) = koban(&database, &["--json", "audit", "list", "--act", "document.write"]);
    assert!(audit.contains("budget-export"), "{audit}");
}
