//! What people have on their disks goes on working: the previous host's databases are migrated, verified and served.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use koban_auditor::{Evidence, Invariant};
use koban_domain::flows::Resolution;
use koban_domain::ids::FlowId;
use koban_store::Schema;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Caller, Database, Kind, PASSWORD, Setup, Shop, TestApp, User, koban, minor, root};

/// The previous host's database on the store of this run, and what must still be true of it.
async fn previous() -> (Database, Value) {
    let folder = root().join("tests/fixtures/previous");
    let name = match Kind::of_this_run() {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let facts = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("the facts");
    let facts = serde_json::from_str(&facts).expect("JSON");
    let unpacked = |file: &str| {
        let output = Command::new("gzip").arg("-dc").arg(folder.join(file)).output().expect("gzip runs");
        assert!(output.status.success(), "{file}");
        output.stdout
    };
    let database = match Kind::of_this_run() {
        Kind::Sqlite => {
            let database = Database::sqlite();
            let path = database.url().trim_start_matches("sqlite:").to_owned();
            std::fs::write(path, unpacked("sqlite.db.gz")).expect("the file is written");
            database
        }
        Kind::Postgres => {
            let database = Database::empty_postgres().await;
            let mut psql = Command::new("psql");
            psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
                .stdin(Stdio::piped())
                .stdout(Stdio::null());
            let mut psql = psql.spawn().expect("psql comes with the server");
            psql.stdin.take().expect("a pipe").write_all(&unpacked("postgres.sql.gz")).expect("psql reads");
            assert!(psql.wait().expect("psql ends").success());
            database
        }
    };
    (database, facts)
}

#[tokio::test]
async fn the_previous_hosts_database_is_migrated_verified_and_served() {
    let (database, facts) = previous().await;
    let store = koban_store::Store::open(&koban_store::Config::new(database.url())).await.expect("it opens");
    let schema = store.schema().await.expect("the schema");
    store.close().await;
    assert!(matches!(schema, Schema::Older { found: 1, .. }), "{schema}");
    for command in [&["ledger", "verify"][..], &["serve"], &["backup", "create", "no.backup"]] {
        let (status, _, said) = koban(&database, command);
        assert!(!status.success() && said.contains("koban migrate"), "{command:?}: {said}");
    }
    let (status, said, log) = koban(&database, &["migrate"]);
    assert!(status.success(), "{said}{log}");
    let (status, said, log) = koban(&database, &["ledger", "verify"]);
    assert!(status.success(), "{said}{log}");
    assert!(said.contains(facts["head"]["hash"].as_str().expect("a hash")), "the chain is the same: {said}");

    let app = TestApp::on(Arc::new(database), Setup::default()).await;
    let (hana, ken) = (sign_in(&app, &facts, "hana").await, sign_in(&app, &facts, "ken").await);
    for (who, user) in [("hana", &hana), ("ken", &ken)] {
        assert_eq!(user.balance().await, minor_of(&facts, who), "{who}");
    }
    let secret = facts["shop"]["secret"].as_str().expect("a secret").to_owned();
    let id = facts["shop"]["id"].as_str().expect("an id").parse().expect("an id");
    let shop = Shop::new(id, secret, &app.anonymous());
    assert_eq!(shop.balance().await, minor_of(&facts, "shop"));

    // A key lives for ever, also over a change of tables.
    let again = hana.pay(&shop, 1_280).key("previous-pay").await.created();
    assert!(again.replayed && again.id == facts["payment"].as_str().expect("an id"), "the first answer again");
    let refused = hana.pay(&shop, 9_900).key("previous-refused").await;
    assert!(refused.replayed());
    refused.problem(422, "insufficient_funds");
    // What was paid before can still be given back, up to what is left of it.
    shop.refund(&again, 1_001).await.problem(422, "refund_exceeds_payment");
    shop.refund(&again, 1_000).await.created();
    // The contract was a preview, and flows have grown since: a flow of a component from before waits for an operator, who ends it without money.
    // Rules are as they were: the payment below is judged by the component of then.
    let open: FlowId = facts["open_charge"].as_str().expect("an id").parse().expect("an id");
    let id = open.to_string();
    let mut charge = ken.charge(&id).await;
    for _ in 0..200 {
        if charge["standing"] == "checking" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        charge = ken.charge(&id).await;
    }
    assert_eq!(charge["standing"], "checking", "{charge}");
    let stuck = koban_service::flows::get(&app.app, open).await.expect("the flow").summary.stuck;
    assert!(stuck.as_ref().is_some_and(|why| why.contains("build the plugin again with this host's SDK")), "{stuck:?}");
    let reason = "its component is older than this host";
    koban_service::flows::resolve(&app.app, &app.operator_ctx(), open, &Resolution::End, None, reason)
        .await
        .expect("an operator ends it");
    charge = ken.charge(&id).await;
    assert_eq!(charge["standing"], "failed", "{charge}");
    assert!(minor(&charge, "at_most") > 0 && minor(&charge, "credited") == 0);
    ken.pay(&shop, 40).await.created();
    let verdict = koban_service::verify::verify(&app.app.store).await.expect("the ledger can be read");
    assert!(verdict.difference.is_none(), "{verdict}");
    // That host told nobody of what it did; everything else holds of its entries, too.
    let untold: Vec<String> =
        (1..=facts["entries"].as_i64().expect("a number")).map(|it| format!("entry {it}")).collect();
    let report = app.database.audited(Evidence::default()).await;
    let wrong = report.findings.iter().find(|it| it.invariant != Invariant::I10 || !untold.contains(&it.place));
    assert_eq!(wrong, None, "{report}");
    app.stop().await;
}

#[tokio::test]
async fn a_migrated_database_has_the_tables_of_a_new_one() {
    let (old, _) = previous().await;
    let store = koban_store::Store::open(&koban_store::Config::new(old.url())).await.expect("it opens");
    store.migrate().await.expect("it is migrated");
    let withdrawn = "select count(*) from limits where wallet = 2 and action = 5 and win = 2 and amount = 100000";
    assert_eq!(old.hand().await.number(withdrawn).await, 1, "what came later is limited there, too");
    let new = Database::fresh().await.store().await;
    let tables = |tables: Vec<koban_store::backup::Table>| {
        tables
            .into_iter()
            .map(|table| {
                let mut columns = table.columns;
                columns.sort_by(|one, other| one.0.cmp(&other.0));
                (table.name, columns)
            })
            .collect::<Vec<_>>()
    };
    let migrated = store.snapshot().await.expect("a snapshot").tables().await.expect("tables");
    let fresh = new.snapshot().await.expect("a snapshot").tables().await.expect("tables");
    assert_eq!(tables(migrated), tables(fresh));
}

#[tokio::test]
async fn a_database_that_is_newer_than_the_program_is_left_alone() {
    let database = Database::fresh().await;
    database.store().await.close().await;
    let sql = match database.kind {
        Kind::Sqlite => {
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', 1, x'00', 0)"
        }
        Kind::Postgres => {
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '\\x00', 0)"
        }
    };
    database.hand().await.run(sql).await;
    for command in [
        &["serve"][..],
        &["migrate"],
        &["ledger", "verify"],
        &["operator", "create", "--email", "a@example.com", "--name", "A"],
    ] {
        let (status, _, said) = koban(&database, command);
        assert!(!status.success() && said.contains("have version 9999"), "{command:?}: {said}");
    }
    let (status, said, _) = koban(&database, &["--json", "doctor"]);
    assert!(!status.success());
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let schema =
        said["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "schema").expect("a line");
    assert_eq!(schema["state"], "fail", "{schema}");
}

async fn sign_in(app: &TestApp, facts: &Value, who: &str) -> User {
    let body = json!({ "email": facts["emails"][who], "password": PASSWORD });
    let session = Caller::post(&app.anonymous(), "/v1/sessions", body).await.created();
    let id = facts["users"][who].as_str().expect("an id").parse().expect("an id");
    User::signed_in(id, session.text("token"), &Client::new(app.address()))
}

fn minor_of(facts: &Value, who: &str) -> i64 {
    facts["balances"][who].as_i64().expect("a balance")
}
