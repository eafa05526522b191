//! schemathesis against the served description: no mistake of the host, and no answer that the description does not have.
//!
//! Every operation is called as user, merchant and operator: with the examples, with each parameter at and beyond its bounds, and with a
//! bounded number of random requests, 3 in tests and 60 in soak. The program comes from the Python package index, pinned with all it
//! needs, into a virtual environment below the build folder.

use serde_json::{Value, json};

use crate::harness::{Caller, Kind, PASSWORD, TestApp, programs, root};
use crate::load::is_soak;

/// Ours first, then what every answer must keep to.
const CHECKS: &str = "the_host_makes_no_mistake,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,unsupported_method,ignored_auth,negative_data_rejection";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_the_answer_is_one_that_the_description_has() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let atm = app.atm().await;
    let (user, friend, shop) = (app.verified_user_holding(400_000).await, app.user().await, app.shop().await);
    let paid = user.pay(&shop, 1_000).await.created();
    let held = user.pay(&shop, 1_000).with("capture", false).await.created();
    let charge = json!({ "channel": "charge-atm", "currency": "JPY" });
    let charge = user.post("/v1/charges", charge).await.created();
    let hook = shop.post("/v1/webhook-endpoints", json!({ "url": "https://shop.example/hooks" })).await.created();
    let hook = hook.body["endpoint"]["id"].as_str().expect("an id").to_owned();
    let email = crate::harness::seed_operator(&app.app).await;
    let session = json!({ "email": email, "password": PASSWORD });
    let operator = Caller::post(&app.anonymous(), "/v1/operators/sessions", session).await.created().text("token");
    let known = json!([
        ["/v1/payments/{id}/", held.id],
        ["/v1/payments/{id}", paid.id],
        ["/v1/charges/{id}", charge.id],
        ["/v1/webhook-endpoints/{id}", hook],
        ["/v1/operator/users/{id}", friend.id.to_string()],
        ["/v1/operator/merchants/{id}", shop.id.to_string()],
        ["/v1/operator/plugins/{id}", "charge-atm"],
        ["/v1/operator/flows/{id}", charge.id],
    ]);
    let examples = if is_soak() { "60" } else { "3" };
    let mut roles = vec![("user", &user.token), ("merchant", &shop.secret), ("operator", &operator)];
    if Kind::of_this_run() == Kind::Postgres && !is_soak() {
        // What is described does not depend on the store; one look shows that nothing below does either.
        roles.truncate(1);
    }
    let description = format!("{}/openapi.json", app.base());
    for (role, token) in roles {
        let mut command = command(&app, &description, token, &known);
        command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--checks", CHECKS]);
        // Ends the session that the run uses.
        command.args(["--exclude-path", "/v1/sessions/current", "--continue-on-failure"]);
        if !is_soak() {
            command.arg("--generation-deterministic");
        }
        let (ended_well, said) = said(command).await;
        assert!(ended_well, "as {role}:\n{said}");
        let line = |part: &str| said.lines().find(|line| line.contains(part)).unwrap_or("nothing was tested").trim();
        println!("as {role}: {} {}", line("Tested:"), line("generated"));
        let count: usize = line("Tested:").rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        assert!(count > 120, "{said}");
    }
    drop(atm);
    app.ledger_is_clean().await;
}

fn command(app: &TestApp, description: &str, token: &str, known: &Value) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(programs("schemathesis").join("schemathesis"));
    command
        .args(["run", description, "--url", &app.base(), "--header", &format!("Authorization: Bearer {token}")])
        .args(["--no-color", "--warnings", "off", "--request-timeout", "30"])
        .env("SCHEMATHESIS_HOOKS", "checks")
        .env("PYTHONPATH", root().join("tests/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("KOBAN_KNOWN_IDS", known.to_string())
        .current_dir(app.database.folder());
    command
}

async fn said(mut command: tokio::process::Command) -> (bool, String) {
    let output = command.output().await.expect("schemathesis runs");
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[tokio::test]
async fn a_description_that_says_what_is_not_so_is_found() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut description = Caller::get(&app.anonymous(), "/openapi.json").await.ok();
    let file = app.database.folder().join("openapi.json");
    for (type_of_id, ends_well) in [("string", true), ("integer", false)] {
        let answer = description["paths"]["/v1/me"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            ["$ref"]
            .as_str()
            .expect("a reference")
            .trim_start_matches('#')
            .to_owned();
        *description.pointer_mut(&format!("{answer}/properties/id/type")).expect("a type") = json!(type_of_id);
        std::fs::write(&file, description.to_string()).expect("the file can be written");
        let mut command = command(&app, &file.display().to_string(), &user.token, &json!([]));
        command.args([
            "--include-path",
            "/v1/me",
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "1",
            "--checks",
            CHECKS,
        ]);
        let (ended_well, said) = said(command).await;
        assert_eq!(ended_well, ends_well, "{type_of_id}: {said}");
        assert!(said.contains("/v1/me") || ends_well, "{said}");
    }
}
