//! Operators among themselves, passwords, and the command line as somebody in particular.

use std::path::PathBuf;
use std::process::ExitStatus;

use koban_service::page::Page;
use serde_json::{Value, json};

use crate::harness::{Caller, Operator, PASSWORD, TestApp, koban};

const NEW: &str = "another horse, another battery";

/// A file with the password of everybody in tests.
fn password_file(app: &TestApp) -> PathBuf {
    let file = app.database.folder().join("password.txt");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    file
}

/// The command line as this operator.
fn as_operator(app: &TestApp, operator: &Operator, arguments: &[&str]) -> (ExitStatus, String, String) {
    let file = password_file(app);
    let named = ["--operator", &operator.email, "--operator-password-file", file.to_str().expect("a path")];
    koban(&app.database, &[&named, arguments].concat())
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The newest row of the audit log about this.
async fn newest(operator: &Operator, subject: &str) -> Value {
    operator.get(format!("/v1/operator/audit?subject={subject}&limit=1")).await.ok()["items"][0].clone()
}

#[tokio::test]
async fn an_operator_is_removed_and_the_last_one_stays() {
    let app = TestApp::start().await;
    let (one, other) = (app.operator().await, app.operator().await);
    let list = one.get("/v1/operator/operators").await.ok();
    let emails: Vec<&str> =
        list["items"].as_array().expect("items").iter().map(|one| one["email"].as_str().expect("text")).collect();
    assert_eq!(emails, [other.email.as_str(), one.email.as_str()], "newest first");
    let (mine, theirs) = (list["items"][1]["id"].to_string(), list["items"][0]["id"].to_string());
    let (mine, theirs) = (mine.trim_matches('"'), theirs.trim_matches('"'));

    let path = format!("/v1/operator/operators/{theirs}/removal");
    one.post(&path, json!({ "reason": " " })).await.problem(400, "invalid_request");
    assert_eq!(one.post(&path, json!({ "reason": "left the company" })).await.reply.status, 204);
    other.get("/v1/operator/operators").await.problem(401, "not_signed_in");
    let sign_in = json!({ "email": other.email, "password": PASSWORD });
    Caller::post(&app.anonymous(), "/v1/operators/sessions", sign_in).await.problem(401, "wrong_credentials");
    one.post(&path, json!({ "reason": "again" })).await.problem(404, "not_found");
    let row = newest(&one, theirs).await;
    assert_eq!((&row["act"], &row["actor"]), (&json!("operator.remove"), &json!(format!("operator:{mine}"))));
    assert_eq!((&row["detail"]["email"], &row["detail"]["reason"]), (&json!(other.email), &json!("left the company")));

    let path = format!("/v1/operator/operators/{mine}/removal");
    one.post(&path, json!({ "reason": "all done" })).await.problem(409, "conflict");
    let (status, _, said) = koban(&app.database, &["operator", "remove", "--email", &one.email, "--reason", "x"]);
    assert_eq!(status.code(), Some(5), "{said}");
    one.get("/v1/operator/operators").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_who_remove_each_other_leave_one() {
    let app = TestApp::start().await;
    for _ in 0..5 {
        let (one, other) = (app.operator().await, app.operator().await);
        let list = koban_service::operators::list(&app.app, &app.operator_ctx(), &Page { after: None, limit: 2 }).await;
        let list = list.expect("a list").items;
        let id = |place: usize| list[place].id.to_string();
        let path = |whom: String| format!("/v1/operator/operators/{whom}/removal");
        let reason = || json!({ "reason": "rivalry" });
        let (a, b) = tokio::join!(one.post(path(id(0)), reason()), other.post(path(id(1)), reason()));
        let (a, b) = (a.reply.status, b.reply.status);
        assert!(a == 204 || b == 204, "{a} {b}");
        let left = koban_store::operators::count(&app.app.store).await.expect("a count");
        assert!(left >= 1, "{a} {b}");
    }
}

#[tokio::test]
async fn who_changes_their_password_keeps_this_session_and_no_other() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let sign_in = async |email: &str, password: &str| {
        Caller::post(&app.anonymous(), "/v1/sessions", json!({ "email": email, "password": password })).await
    };
    let elsewhere = app.anonymous().with_token(sign_in(&user.email, PASSWORD).await.created().text("token"));
    let change = |current: &str, new: &str| user.post("/v1/me/password", json!({ "current": current, "new": new }));
    let wrong = change("not this one at all", NEW).await.problem(400, "invalid_request");
    assert_eq!(wrong.body["field"], "current");
    assert_eq!(change(PASSWORD, "short").await.problem(400, "invalid_request").body["field"], "new");
    assert_eq!(change(PASSWORD, PASSWORD).await.problem(400, "invalid_request").body["field"], "new");
    Caller::get(&elsewhere, "/v1/wallet").await.ok();

    assert_eq!(change(PASSWORD, NEW).await.reply.status, 204);
    user.get("/v1/wallet").await.ok();
    Caller::get(&elsewhere, "/v1/wallet").await.problem(401, "not_signed_in");
    sign_in(&user.email, PASSWORD).await.problem(401, "wrong_credentials");
    sign_in(&user.email, NEW).await.created();
    let row = newest(&app.operator().await, &user.id.to_string()).await;
    assert_eq!((&row["act"], &row["actor"]), (&json!("user.password"), &json!(format!("user:{}", user.id))));
    assert!(!row.to_string().contains(NEW), "{row}");
}

#[tokio::test]
async fn operators_change_their_password_and_get_a_new_one_on_the_command_line() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let sign_in = async |password: &str| {
        let body = json!({ "email": operator.email, "password": password });
        Caller::post(&app.anonymous(), "/v1/operators/sessions", body).await
    };
    let elsewhere = app.anonymous().with_token(sign_in(PASSWORD).await.created().text("token"));
    let body = json!({ "current": PASSWORD, "new": NEW });
    assert_eq!(operator.post("/v1/operator/password", body).await.reply.status, 204);
    Caller::get(&elsewhere, "/v1/operator/operators").await.problem(401, "not_signed_in");
    operator.get("/v1/operator/operators").await.ok();
    sign_in(NEW).await.created();

    let file = password_file(&app);
    let file = file.to_str().expect("a path");
    let (status, _, said) =
        koban(&app.database, &["operator", "password", "--email", &operator.email, "--password-file", file]);
    assert!(status.success(), "{said}");
    operator.get("/v1/operator/operators").await.problem(401, "not_signed_in");
    sign_in(PASSWORD).await.created();
}

#[tokio::test]
async fn the_command_line_acts_as_a_person_or_as_the_user_of_the_machine() {
    let app = TestApp::start().await;
    let (operator, user) = (app.operator().await, app.user().await);
    let id = user.id.to_string();
    let (status, said, log) = koban(&app.database, &["user", "freeze", &user.email, "--reason", "phone stolen"]);
    assert!(status.success() && said.contains("frozen"), "{said}{log}");
    let row = newest(&operator, &id).await;
    let actor = row["actor"].as_str().expect("text").to_owned();
    assert!(actor.starts_with("command-line:") && actor.len() > "command-line:".len(), "{row}");
    assert_eq!((&row["act"], &row["detail"]["reason"]), (&json!("user.freeze"), &json!("phone stolen")));

    let (status, said, log) =
        as_operator(&app, &operator, &["--json", "user", "thaw", &id, "--reason", "has a new one"]);
    assert!(status.success(), "{log}");
    assert_eq!(json_of(&said)["access"], "open");
    let me = operator.get("/v1/operator/operators").await.ok()["items"][0]["id"].clone();
    assert_eq!(newest(&operator, &id).await["actor"], format!("operator:{}", me.as_str().expect("an id")));

    let file = app.database.folder().join("wrong.txt");
    std::fs::write(&file, "not this one at all\n").expect("a file");
    let named = ["--operator", &operator.email, "--operator-password-file", file.to_str().expect("a path")];
    let (status, _, log) = koban(&app.database, &[&named[..], &["user", "freeze", &id, "--reason", "x"]].concat());
    assert_eq!(status.code(), Some(4), "{log}");
    assert_eq!(newest(&operator, &id).await["act"], "user.thaw", "nothing was done");
}

#[tokio::test]
async fn an_adjustment_takes_two_people_also_on_the_command_line() {
    let app = TestApp::start().await;
    let (one, other, user) = (app.operator().await, app.operator().await, app.user().await);
    let line = format!("write-off prepaid/{} 700", user.id);
    let propose = ["--json", "adjustment", "propose", "--line", &line, "--reason", "the machine kept a note"];
    let (status, _, log) = koban(&app.database, &propose);
    assert!(status.code() == Some(4) && log.contains("--operator"), "nobody in particular cannot: {log}");
    let (status, said, log) = as_operator(&app, &one, &propose);
    assert!(status.success(), "{log}");
    let proposed = json_of(&said);
    let id = proposed["id"].as_str().expect("an id");
    assert_eq!(proposed["lines"][0]["credit"], format!("prepaid/{}", user.id));
    let approve = ["--json", "adjustment", "approve", id, "--reason", "checked"];
    let (status, _, log) = as_operator(&app, &one, &approve);
    assert!(status.code() == Some(4) && log.contains("another operator"), "{log}");
    assert_eq!(user.balance().await, 0);
    let (status, said, log) = as_operator(&app, &other, &approve);
    assert!(status.success(), "{log}");
    assert_eq!((&json_of(&said)["state"], user.balance().await), (&json!("approved"), 700));
    let (status, _, log) = as_operator(&app, &other, &["adjustment", "reject", id, "--reason", "too late"]);
    assert_eq!(status.code(), Some(5), "{log}");
    let (_, said, _) = koban(&app.database, &["--json", "adjustment", "list"]);
    assert_eq!(json_of(&said)["items"][0]["state"], "approved");
    for wrong in
        ["write-off", "write-off nowhere 5", "write-off prepaid 5", "write-off prepaid/usr_1 5", "bank suspense five"]
    {
        let arguments = ["adjustment", "propose", "--line", wrong, "--reason", "x"];
        let (status, _, log) = as_operator(&app, &one, &arguments);
        assert_eq!(status.code(), Some(2), "{wrong}: {log}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn verification_closure_keys_and_devices_are_decided_on_the_command_line() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(500).await, app.shop().await, app.operator().await);
    let id = user.id.to_string();
    let run = |arguments: &[&str]| {
        let (status, said, log) = koban(&app.database, &[&["--json"], arguments].concat());
        assert!(status.success(), "{arguments:?}: {log}");
        json_of(&said)
    };
    assert_eq!(run(&["user", "verify", &user.email])["converted"], 500);
    assert_eq!(run(&["user", "show", &id])["wallets"][0]["funds"], 500);
    assert_eq!(run(&["user", "revoke", &id, "--reason", "forged"])["verification"], "revoked");
    assert_eq!(run(&["user", "list", "--limit", "1"])["items"][0]["id"], id);
    let (status, _, log) = koban(&app.database, &["user", "submission", &id]);
    assert_eq!(status.code(), Some(3), "nothing was submitted: {log}");

    let shop_id = shop.id.to_string();
    assert_eq!(run(&["merchant", "freeze", &shop_id, "--reason", "no goods"])["access"], "frozen");
    user.pay(&shop, 100).await.problem(422, "merchant_frozen");
    assert_eq!(run(&["merchant", "thaw", &shop_id, "--reason", "goods came"])["access"], "open");
    let keys = run(&["api-key", "list", "--merchant", &shop_id]);
    let key = keys["items"][0]["id"].as_str().expect("an id").to_owned();
    run(&["api-key", "freeze", &key, "--reason", "public"]);
    let frozen = run(&["api-key", "list", "--merchant", &shop_id]);
    assert_eq!(frozen["items"][0]["frozen"], true);
    run(&["api-key", "thaw", &key, "--reason", "another one"]);
    run(&["device", "freeze", "phone-7", "--reason", "stolen"]);
    assert_eq!(run(&["device", "list"])["items"][0]["device"], "phone-7");
    run(&["device", "thaw", "phone-7", "--reason", "found"]);

    assert_eq!(run(&["user", "close", &id, "--reason", "asked for it"])["access"], "closed");
    let (status, _, log) = koban(&app.database, &["user", "freeze", &id, "--reason", "x"]);
    assert!(!status.success(), "a closed account is closed: {log}");
    let acts = operator.get(format!("/v1/operator/audit?subject={id}")).await.ok();
    let acts: Vec<&str> =
        acts["items"].as_array().expect("rows").iter().map(|row| row["act"].as_str().expect("text")).collect();
    assert_eq!(acts, ["user.close", "user.revoke", "user.verify"]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_audit_log_is_searched_by_time_in_pages_and_handed_out_with_a_trace() {
    let app = TestApp::start().await;
    let (operator, user) = (app.operator().await, app.user().await);
    let before = app.app.clock.now();
    for round in 0..3 {
        for word in ["freeze", "thaw"] {
            let (status, _, log) =
                koban(&app.database, &["user", word, &user.email, "--reason", &format!("round {round}")]);
            assert!(status.success(), "{log}");
        }
    }
    let (from, to) = (before.0, app.app.clock.now().0 + 1);
    let found = operator.get(format!("/v1/operator/audit?from_ms={from}&to_ms={to}&limit=4")).await.ok();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(4));
    let next = found["next"].as_str().expect("there are more");
    let rest = operator.get(format!("/v1/operator/audit?from_ms={from}&to_ms={to}&limit=4&after={next}")).await.ok();
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next"]), (Some(2), &Value::Null), "{rest}");
    let none = operator.get(format!("/v1/operator/audit?from_ms={to}")).await.ok();
    assert_eq!(none["items"].as_array().map(Vec::len), Some(0));

    let mut cursor: Option<String> = None;
    let mut reasons = Vec::new();
    loop {
        let since = before.to_string();
        let mut arguments = vec!["--json", "audit", "list", "--act", "user.freeze", "--since", &since, "--limit", "2"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--after", cursor]);
        }
        let (status, said, log) = koban(&app.database, &arguments);
        assert!(status.success(), "{log}");
        let page = json_of(&said);
        reasons.extend(page["items"].as_array().expect("rows").iter().map(|row| row["detail"]["reason"].to_string()));
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(reasons, ["\"round 2\"", "\"round 1\"", "\"round 0\""]);

    let out = app.database.folder().join("audit.jsonl");
    let (status, _, log) = koban(&app.database, &["audit", "export", "--out", out.to_str().expect("a path")]);
    assert!(status.success(), "{log}");
    let text = std::fs::read_to_string(&out).expect("the export");
    let last = json_of(text.lines().last().expect("a row"));
    assert_eq!(last["act"], "audit.export", "that it was handed out is in it");
    let export = app.database.folder().join("journal.jsonl");
    let (status, _, log) = koban(&app.database, &["ledger", "export", "--out", export.to_str().expect("a path")]);
    assert!(status.success(), "{log}");
    assert_eq!(newest(&operator, "journal").await["act"], "ledger.export");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn each_sort_of_failure_has_its_exit_code_and_its_word() {
    let app = TestApp::start().await;
    let nobody = "usr_00000000000070008000000000000000";
    for (arguments, code, word) in [
        (&["user", "show", "nobody"][..], 2, "usr_"),
        (&["user", "show", nobody], 3, "koban user list"),
        (&["decision", "replay", "--file", "/nowhere/decision.json"], 3, "cannot be read"),
        (&["operator", "remove", "--email", "x@example.com", "--reason", "x"], 3, "koban operator list"),
        (&["adjustment", "approve", "adj_00000000000070008000000000000000", "--reason", "x"], 4, "--operator"),
        (&["flow", "list", "--limit", "1000"], 2, "100"),
        (&["audit", "list", "--since", "yesterday"], 2, "2026-11-20T00:00:00Z"),
        (&["audit", "list", "--after", "nonsense"], 1, "next"),
    ] {
        let (status, _, said) = koban(&app.database, arguments);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    let (_, _, said) = koban(&app.database, &["--json", "user", "show", nobody]);
    let said = json_of(&said);
    assert_eq!((&said["error"], &said["exit_code"]), (&json!("there is no such user"), &json!(3)));
}

#[test]
fn a_mistyped_place_is_no_empty_platform() {
    let database = crate::harness::Database::sqlite();
    for arguments in [&["user", "list"][..], &["ledger", "verify"], &["audit", "list"], &["plugin", "list"]] {
        let (status, _, said) = koban(&database, arguments);
        assert_eq!(status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("koban migrate"), "{said}");
    }
    assert!(!database.folder().join("koban.db").exists());
}
