//! Secrets that can be recognised, planted wherever a secret goes in or comes out: afterwards they lie nowhere open.
//!
//! Looked through: every row of the database, its file and its log of writes since the beginning, what the host wrote to its own log, its metrics,
//! its traces, every answer that is not the one that hands the secret out, the ledger's export, a backup, and that backup restored. In each place
//! something is found that must be there, so that the search is seen to work.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{
    Caller, Cluster, Database, HostProcess, Kind, Operator, PASSWORD, Setup, Shop, TestApp, User, koban, unique,
};
use crate::traces::Collector;

/// What must not be found, and how it is called.
#[derive(Default)]
struct Planted(Vec<(&'static str, String)>);

impl Planted {
    fn plant(&mut self, name: &'static str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 12, "{name}: `{secret}` is too short to be recognised");
        self.0.push((name, secret.clone()));
        secret
    }

    /// The first of them that lies in these bytes, written in any of the usual ways.
    fn found_in(&self, bytes: &[u8]) -> Option<(&'static str, &'static str)> {
        // One pass: wherever the first two bytes of a way of writing stand, the rest of it is compared.
        let mut ways: Vec<Vec<_>> = vec![Vec::new(); 1 << 16];
        for (name, secret) in &self.0 {
            for (way, written) in written(secret) {
                let start = written.first_chunk().copied().expect("a secret has two bytes");
                ways[usize::from(u16::from_be_bytes(start))].push((*name, way, written));
            }
        }
        let mut start = 0_u16;
        for (at, byte) in bytes.iter().enumerate() {
            start = start << 8 | u16::from(*byte);
            for (name, way, written) in &ways[usize::from(start)] {
                if at > 0 && bytes[at - 1..].starts_with(written) {
                    return Some((*name, *way));
                }
            }
        }
        None
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "{place} is empty: nothing was looked at");
        if let Some((name, way)) = self.found_in(bytes) {
            panic!("{place} holds {name}, {way}");
        }
    }
}

/// The ways in which a secret may be written down.
fn written(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let raw = secret.as_bytes();
    let inner = secret.split_once('_').map_or("", |(_, rest)| rest);
    let opened = STANDARD.decode(inner).or_else(|_| URL_SAFE_NO_PAD.decode(inner)).unwrap_or_default();
    let mut ways = vec![
        ("plain", raw.to_vec()),
        ("hex", hex::encode(raw).into_bytes()),
        ("capital hex", hex::encode_upper(raw).into_bytes()),
        ("base64", STANDARD.encode(raw).trim_end_matches('=').as_bytes().to_vec()),
        ("base64url", URL_SAFE_NO_PAD.encode(raw).into_bytes()),
    ];
    if opened.len() >= 16 {
        ways.push(("the key's own bytes", opened.clone()));
        ways.push(("the key's own bytes in hex", hex::encode(opened).into_bytes()));
    }
    ways
}

#[test]
fn a_secret_is_recognised_however_it_is_written() {
    let mut planted = Planted::default();
    planted.plant("a word", "planted-0123456789");
    planted.plant("a key", format!("whsec_{}", STANDARD.encode([7_u8; 24])));
    for text in ["x planted-0123456789 y", "706c616e7465642d30313233343536373839", "cGxhbnRlZC0wMTIzNDU2Nzg5"] {
        assert_eq!(planted.found_in(text.as_bytes()).map(|(name, _)| name), Some("a word"), "{text}");
    }
    assert_eq!(planted.found_in(&[7; 24]).map(|(name, _)| name), Some("a key"));
    assert_eq!(planted.found_in(b"planted-012345678 and nothing else"), None);
}

/// Everything that a host is told and may not tell: who is at work afterwards.
struct People {
    user: User,
    shop: Shop,
    operator: Operator,
}

/// People whose every secret is planted, made through the program that runs.
async fn people(host: &HostProcess, app: &TestApp, planted: &mut Planted) -> People {
    let anybody = host.client();
    let password = planted.plant("a password", "planted-password-x7Qm2");
    let email = format!("{}@example.com", unique("user"));
    let sign_up = json!({ "email": email, "password": password, "name": "Hana", "locale": "en" });
    let id = Caller::post(&anybody, "/v1/users", sign_up).await.created().id;
    let session =
        Caller::post(&anybody, "/v1/sessions", json!({ "email": email, "password": password })).await.created();
    let token = planted.plant("a session's token", session.text("token"));
    let mut user = User::signed_in(id.parse().expect("an id"), token, &anybody);
    user.email = email;
    app.bring(user.id, 50_000).await;

    let operators_email = crate::harness::seed_operator(&app.app).await;
    let session = json!({ "email": operators_email, "password": PASSWORD });
    let session = Caller::post(&anybody, "/v1/operators/sessions", session).await.created();
    planted.plant("an operator's token", session.text("token"));
    planted.plant("the operator's password", PASSWORD);
    let operator = Operator::sign_in(&anybody, &operators_email).await;

    let shop = json!({ "name": "Corner shop", "category": "5812" });
    let merchant = operator.post("/v1/operator/merchants", shop).await.created().id;
    let scopes = ["payments:read", "payments:capture", "payments:refund", "keys:write", "webhooks:write"];
    let key = json!({ "name": "till", "scopes": scopes });
    let made = operator.post(format!("/v1/operator/merchants/{merchant}/keys"), key).await.created();
    let secret = planted.plant("an API key", made.text("secret"));
    let shop = Shop::new(merchant.parse().expect("an id"), secret, &anybody);
    People { user, shop, operator }
}

/// The ordinary and the wrong things that are done with secrets. Answers that are shown to anybody are looked through.
async fn at_work(host: &HostProcess, people: &People, planted: &mut Planted) {
    let People { user, shop, operator } = people;
    let particulars = json!({
        "name": planted.plant("a submitted name", "Planted Hanako Yamada"),
        "birth_date": "1990-04-01",
        "address": planted.plant("a submitted address", "Planted-Street 17-4"),
        "purpose": planted.plant("a submitted purpose", "planted-daily-errands"),
        "occupation": planted.plant("a submitted occupation", "planted-bookbinder"),
    });
    user.post("/v1/me/verification", particulars).await.ok();
    let hook = json!({ "url": "https://shop.example/hooks", "description": "orders" });
    let hook = shop.post("/v1/webhook-endpoints", hook).await.created();
    planted.plant("a webhook's secret", hook.text("secret"));
    let id = hook.body["endpoint"]["id"].as_str().expect("an id").to_owned();
    let turned = shop.post(format!("/v1/webhook-endpoints/{id}/rotate"), json!({ "overlap_s": 60 })).await.created();
    planted.plant("a rotated webhook's secret", turned.text("secret"));
    let key = shop.post("/v1/merchant/keys", json!({ "name": "spare", "scopes": ["payments:read"] })).await.created();
    planted.plant("a second API key", key.text("secret"));
    let spare = key.body["key"]["id"].as_str().expect("an id").to_owned();
    let turned = shop.post(format!("/v1/merchant/keys/{spare}/rotate"), json!({ "overlap_s": 60 })).await.created();
    planted.plant("a rotated API key", turned.text("secret"));

    let partner =
        planted.plant("a partner's secret", format!("whsec_{}", STANDARD.encode(*b"planted-partner-secret-24b!!")));
    let endpoint = json!({ "base": "https://network.example", "secrets": [partner], "allow_private": false });
    operator.put("/v1/operator/plugins/charge-atm/endpoints/network", endpoint).await.accepted();

    let paid = user.pay(shop, 1_280).await.created();
    shop.refund(&paid, 280).await.created();
    user.post("/v1/payments", json!({ "merchant": shop.id, "amount": 1, "currency": "JPY" })).await.created();
    for list in ["/v1/merchant/keys", "/v1/webhook-endpoints", &format!("/v1/webhook-endpoints/{id}"), "/v1/merchant"] {
        planted.are_not_in(list, &shop.get(list).await.reply.bytes);
    }
    for list in [
        "/v1/operator/audit",
        "/v1/operator/plugins/charge-atm",
        "/v1/operator/plugins/charge-atm/endpoints",
        "/v1/operator/users",
        "/v1/operator/policy",
    ] {
        planted.are_not_in(list, &operator.get(list).await.reply.bytes);
    }
    for list in ["/v1/me", "/v1/wallet/statement", "/v1/wallet/statement.csv", "/v1/payments"] {
        planted.are_not_in(list, &user.get(list).await.reply.bytes);
    }
    wrong_places(host, people, planted).await;
}

/// Secrets in fields where they do not belong, in broken bodies and wrong headers: the problems do not repeat them.
async fn wrong_places(host: &HostProcess, people: &People, planted: &Planted) {
    let secrets: Vec<&str> = planted.0.iter().map(|(_, secret)| secret.as_str()).collect();
    for secret in secrets {
        let client = host.client();
        let pay = json!({ "merchant": secret, "amount": 1, "currency": "JPY" });
        let bodies: [(&str, Value); 5] = [
            ("/v1/sessions", json!({ "email": "nobody@example.com", "password": secret })),
            ("/v1/sessions", json!({ "email": secret, "password": secret, "otp": secret })),
            ("/v1/users", json!({ "email": "x", "password": secret, "name": "", "locale": "en" })),
            ("/v1/operators/sessions", json!({ "password": [secret] })),
            ("/v1/payments", pay),
        ];
        for (path, body) in bodies {
            let reply = people.user.client().post(path, body.clone()).await.expect("an answer");
            assert!((400..500).contains(&reply.status), "{path} {body}: {}", reply.status);
            // A field that holds no secret by nature, such as a merchant's id, may be repeated to who sent it.
            if path != "/v1/payments" && path != "/v1/operators/sessions" {
                planted.are_not_in(path, &reply.bytes);
            }
        }
        let cut = format!("{{\"email\":\"a@example.com\",\"password\":\"{secret}");
        let reply =
            client.send(hyper::Method::POST, "/v1/sessions", &[], Some(cut.into_bytes())).await.expect("an answer");
        planted.are_not_in("a broken body", &reply.bytes);
        let token = format!("Bearer {}x", secret.replace(' ', ""));
        let reply =
            client.send(hyper::Method::GET, "/v1/me", &[("authorization", &token)], None).await.expect("an answer");
        assert_eq!(reply.status, 401);
        planted.are_not_in("an answer to a wrong token", &reply.bytes);
    }
}

/// Every file of a folder and those below it.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path)
            && !bytes.is_empty()
        {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

/// The database's own files: for PostgreSQL the tables, and all that its server, which has no other database, wrote to its log.
async fn stored(database: &Database) -> Vec<(String, Vec<u8>)> {
    match database.kind {
        Kind::Sqlite => files(database.folder()).into_iter().filter(|(path, _)| path.contains("koban.db")).collect(),
        Kind::Postgres => {
            let mut hand = database.hand().await;
            hand.run("checkpoint").await;
            let folder = hand.texts("select current_setting('data_directory')").await.remove(0);
            let oid =
                hand.texts("select oid::text from pg_database where datname = current_database()").await.remove(0);
            let mut all = files(&Path::new(&folder).join("base").join(oid));
            let log = files(&Path::new(&folder).join("pg_wal"));
            assert!(!log.is_empty(), "there is no log of writes");
            all.extend(log);
            all
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_secrets_are_found_nowhere() {
    let server = match Kind::of_this_run() {
        Kind::Sqlite => None,
        Kind::Postgres => Some(Cluster::start().await),
    };
    let database = server.as_ref().map_or_else(Database::sqlite, |server| Database::at(server.url()));
    let app = TestApp::on(Arc::new(database), Setup { jobs: false, ..Setup::default() }).await;
    app.fraud_policy(koban_domain::guest::Verdict::Decline, koban_domain::guest::Verdict::Allow).await;
    let number = crate::harness::text("company_number", crate::harness::COMPANY_NUMBER);
    app.install("charge-atm", &[number], Some((1_000_000, 100_000))).await;
    let collector = Collector::default();
    let traces = collector.clone().start().await;
    let arguments = ["--listen", "127.0.0.1:0", "--log", "debug", "--traces", &traces];
    let host = HostProcess::start_with(&app.database, "host", &arguments).await;
    let told = host.said();
    let admin = told.split("metrics on http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let admin = Client::new(admin.to_owned());
    let mut planted = Planted::default();
    planted.plant("the seal key", crate::harness::seal_key());
    let people = people(&host, &app, &mut planted).await;
    at_work(&host, &people, &mut planted).await;

    // What is no secret is found wherever a secret would be: the search looks in the right places.
    let mut known = Planted::default();
    known.plant("no secret", people.user.email.clone());

    let log = host.said();
    assert!(log.contains("answered 201"), "the host wrote no log at this level: {log}");
    planted.are_not_in("the host's log", log.as_bytes());
    are_in("the host's log", log.as_bytes(), "/v1/operator/merchants");
    let metrics = admin.get("/metrics").await.expect("metrics").bytes;
    planted.are_not_in("metrics", &metrics);
    are_in("metrics", &metrics, "/v1/operator/merchants");
    let rows = app.database.hand().await.everything().await.join("\n");
    planted.are_not_in("a row", rows.as_bytes());
    assert!(known.found_in(rows.as_bytes()).is_some(), "rows");
    let files = stored(&app.database).await;
    for (path, content) in &files {
        planted.are_not_in(path, content);
    }
    let held: usize = files.iter().filter(|(_, content)| known.found_in(content).is_some()).count();
    assert!(held > 0, "none of {} files holds what must be there", files.len());

    let folder = app.database.folder();
    let export = folder.join("planted-export.jsonl");
    let (status, _, said) = koban(&app.database, &["ledger", "export", "--out", &export.display().to_string()]);
    assert!(status.success(), "{said}");
    let export = std::fs::read(&export).expect("the export");
    planted.are_not_in("the ledger's export", &export);
    are_in("the ledger's export", &export, &people.user.id.to_string());
    let backup = folder.join("planted.backup");
    let (status, out, said) = koban(&app.database, &["backup", "create", &backup.display().to_string()]);
    assert!(status.success(), "{said}");
    planted.are_not_in("what a command says", format!("{out}{said} ").as_bytes());
    let bytes = std::fs::read(&backup).expect("the backup");
    planted.are_not_in("a backup", &bytes);
    are_in("a backup", &bytes, "webhook_endpoints");
    let restored = Database::sqlite();
    let (status, _, said) = koban(&restored, &["backup", "restore", &backup.display().to_string()]);
    assert!(status.success(), "{said}");
    let files = stored(&restored).await;
    for (path, content) in &files {
        planted.are_not_in(path, content);
    }
    assert!(files.iter().any(|(_, content)| known.found_in(content).is_some()), "what was restored");
    assert!(host.stop().await.success());
    // What is left of traces is sent when the host ends.
    let traces = collector.texts();
    planted.are_not_in("traces", traces.as_bytes());
    are_in("traces", traces.as_bytes(), "/v1/operator/merchants");
}

/// The control: the same search finds what must be there.
#[track_caller]
fn are_in(place: &str, bytes: &[u8], what: &str) {
    let mut known = Planted::default();
    known.plant("no secret", what);
    assert!(known.found_in(bytes).is_some(), "{place}: the search does not find `{what}`, which must be there");
}
