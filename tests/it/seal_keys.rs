//! Seal keys rotated: everything is sealed again, cut short it goes on, and no key goes that something still names.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::ids::UserId;
use koban_service::sealing::{Sealed, Sealer};
use koban_service::verification::{self, Particulars};
use koban_service::webhooks::{self, Input};
use koban_store::Store;
use koban_store::audit::AuditFilter;
use koban_store::sealed::{self, Place};
use serde_json::Value;

use crate::harness::{Caller as _, Database, Kind, Setup, TestApp, User, program};

/// A host whose keys lie in a file, as those of an operator do, and the file.
async fn host() -> (TestApp, PathBuf) {
    let database = Arc::new(Database::fresh().await);
    let file = database.folder().join("seal.key");
    std::fs::write(&file, format!("{}\n", *Sealer::new_key())).expect("a key file");
    let sealer = Sealer::of_file(&file).expect("keys");
    (TestApp::on(database, Setup { sealer, ..Setup::default() }).await, file)
}

/// The command line over the same file.
fn key(database: &Database, file: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let arguments = [&["--json", "--seal-key-file", file.to_str().expect("a path"), "key"], arguments].concat();
    let (code, said, log) = run(database, &arguments);
    (code, serde_json::from_str(&said).unwrap_or(Value::Null), log)
}

fn run(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        program(database, "command").args(arguments).env_remove("KOBAN_SEAL_KEY").output().expect("koban runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn particulars() -> Particulars {
    Particulars {
        name: "Hana Sato".into(),
        birth_date: "1990-02-03".into(),
        address: "1 Chome, Tokyo".into(),
        purpose: "daily shopping".into(),
        occupation: "clerk".into(),
    }
}

/// An endpoint of the platform that has keys of now and of before.
async fn endpoint(app: &TestApp) {
    let input = Input {
        url: "https://example.com/hook".into(),
        types: Vec::new(),
        description: String::new(),
        enabled: true,
        allow_private: None,
    };
    let made = webhooks::create(&app.app, &app.operator_ctx(), None, input).await.expect("an endpoint");
    let id = made.endpoint.id;
    webhooks::rotate(&app.app, &app.operator_ctx(), None, id, 3_600).await.expect("other keys");
}

async fn submit(app: &TestApp) -> User {
    let user = app.user().await;
    let body = serde_json::to_value(particulars()).expect("JSON");
    user.post("/v1/me/verification", body).await.ok();
    user
}

/// What users submitted opens and says what it said.
async fn all_opens(app: &TestApp, users: &[User]) {
    for user in users {
        let (told, _) = verification::read(&app.app, &app.operator_ctx(), user.id).await.expect("a submission");
        assert_eq!(told, particulars());
    }
}

fn values(list: &Value, id: &str) -> i64 {
    let items = list["items"].as_array().expect("items");
    items.iter().find(|key| key["id"] == id).map_or(0, |key| key["values"].as_i64().expect("a number"))
}

#[tokio::test]
async fn rotating_seals_everything_again_while_the_host_runs() {
    let (app, file) = host().await;
    let database = Arc::clone(&app.database);
    let atm = app.atm().await;
    let mut users = vec![submit(&app).await, submit(&app).await];
    endpoint(&app).await;
    let (code, list, log) = key(&database, &file, &["list"]);
    assert_eq!(code, Some(0), "{log}");
    let old = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let before = values(&list, &old);
    assert_eq!(before, 5, "two submissions, an endpoint's keys of now and before, the partner's secrets: {list}");

    let (code, rotated, log) = key(&database, &file, &["rotate"]);
    assert_eq!(code, Some(0), "{log}");
    let new = rotated["current"].as_str().expect("an id").to_owned();
    assert!(new != old && rotated["made"] == true, "{rotated}");
    assert_eq!((rotated["resealed"].as_i64(), rotated["removable"][0].as_str()), (Some(before), Some(old.as_str())));
    // The running host opens what was sealed again, seals with the new key, and its partner's messages are still understood.
    all_opens(&app, &users).await;
    users.push(submit(&app).await);
    let user = app.user().await;
    atm.charge(&user, 1_000).await;
    assert_eq!(user.balance().await, 1_000);
    let (_, list, _) = key(&database, &file, &["list"]);
    assert_eq!((values(&list, &old), values(&list, &new)), (0, before + 1), "{list}");

    let (code, _, log) = key(&database, &file, &["remove", &new]);
    assert_eq!(code, Some(5), "the key that seals stays: {log}");
    let (code, _, log) = key(&database, &file, &["remove", &old]);
    assert_eq!(code, Some(0), "{log}");
    all_opens(&app, &users).await;
    let text = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(Sealer::of(&text).expect("keys").ids().as_slice(), std::slice::from_ref(&new), "one key is left");
    for (act, subject) in [("seal-key.rotate", &new), ("seal-key.remove", &old)] {
        let filter = AuditFilter { act: Some(act), subject: Some(subject), ..AuditFilter::default() };
        let rows = koban_store::audit::list(&app.app.store, filter, None, 10).await.expect("rows");
        assert_eq!(rows.len(), 1, "{act}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_key_that_is_prepared_opens_everywhere_before_it_seals() {
    let (app, file) = host().await;
    let database = Arc::clone(&app.database);
    let user = submit(&app).await;
    let (code, prepared, log) = key(&database, &file, &["prepare"]);
    assert_eq!(code, Some(0), "{log}");
    let prepared = prepared["prepared"].as_str().expect("an id");
    // Another host whose file is a copy opens what this one seals from now on.
    let other = Sealer::of(&std::fs::read_to_string(&file).expect("the file")).expect("keys");
    assert_ne!(other.current().as_deref(), Some(prepared), "it does not seal yet");
    let (code, rotated, log) = key(&database, &file, &["rotate", "--to", prepared]);
    assert_eq!((code, &rotated["current"]), (Some(0), &Value::from(prepared)), "{log}");
    let rows = sealed::not_under(&app.app.store, "", None, 10).await.expect("rows");
    assert!(rows.iter().all(|row| row.key_id == prepared && open(&other, row).is_ok()), "{rows:?}");
    all_opens(&app, &[user]).await;
    let (code, _, log) = key(&database, &file, &["rotate", "--to", "0000000000000000"]);
    assert_eq!(code, Some(3), "{log}");
}

#[tokio::test]
async fn what_lies_unsealed_is_named_and_sealed_and_a_missing_key_is_an_alarm() {
    let (app, file) = host().await;
    let database = Arc::clone(&app.database);
    let atm = app.atm().await;
    let mut hand = database.hand().await;
    // As a koban wrote it that did not seal partners' secrets.
    let secret = hex::encode(crate::harness::ATM_SECRET);
    let literal = match database.kind {
        Kind::Sqlite => format!("x'{secret}'"),
        Kind::Postgres => format!("'\\x{secret}'"),
    };
    hand.run(&format!("update endpoints set key_id = '', secret = {literal}")).await;
    let user = app.user().await;
    atm.charge(&user, 1_000).await;
    let doctor = |keys: &Path| {
        let arguments = ["--json", "--seal-key-file", keys.to_str().expect("a path"), "doctor"];
        let (_, said, log) = run(&database, &arguments);
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{log}"));
        let lines = said["checks"].as_array().expect("checks").clone();
        lines.into_iter().find(|line| line["check"] == "seal keys").expect("a line")
    };
    let line = doctor(&file);
    assert!(line["state"] == "warn" && line["next"].to_string().contains("koban key rotate"), "{line}");
    let (code, rotated, log) = key(&database, &file, &["rotate"]);
    assert_eq!((code, rotated["resealed"].as_i64()), (Some(0), Some(1)), "{log}");
    atm.charge(&user, 2_000).await;
    assert_eq!(user.balance().await, 3_000);
    assert_eq!(doctor(&file)["state"], "ok");

    let strange = database.folder().join("strange.key");
    std::fs::write(&strange, format!("{}\n", *Sealer::new_key())).expect("a key file");
    let line = doctor(&strange);
    assert!(line["state"] == "fail" && line["next"].to_string().contains("missing"), "{line}");
    let (code, list, log) = key(&database, &strange, &["list"]);
    assert_eq!(code, Some(1), "{list}{log}");
    let (code, _, log) = key(&database, &strange, &["rotate"]);
    assert!(code == Some(1) && log.contains("charge-atm/network"), "what does not open is named and kept: {log}");
    atm.charge(&user, 3_000).await;
    app.ledger_is_clean().await;
}

/// Values that a kill finds half done.
const VALUES: u32 = 3_000;

#[tokio::test]
async fn a_rotation_that_is_killed_goes_on_where_it_was() {
    let (app, file) = host().await;
    let database = Arc::clone(&app.database);
    let store = app.app.store.clone();
    let text = std::fs::read_to_string(&file).expect("the file");
    seed(&database, &Sealer::of(&text).expect("keys")).await;
    let mut killed = 0;
    for round in 0..3 {
        let mut child = program(&database, "command")
            .args(["--seal-key-file", file.to_str().expect("a path"), "key", "rotate"])
            .env_remove("KOBAN_SEAL_KEY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("koban starts");
        let ended = loop {
            let counts = sealed::count_by_key(&store).await.expect("counts");
            let halves = counts.values().filter(|count| **count > 0).count();
            // One more batch than the round before had: the second and third kill find a rotation that goes on.
            if halves > 1 && counts.values().all(|count| *count >= 200 * (round + 1)) {
                child.kill().expect("it is killed");
                child.wait().expect("it is gone");
                break false;
            }
            if child.try_wait().expect("it can be waited for").is_some() {
                break true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let keys = Sealer::of(&std::fs::read_to_string(&file).expect("the file")).expect("keys");
        assert_eq!(keys.ids().len(), 2, "no key more than the rotation needs");
        everything_opens(&store, &keys).await;
        if ended {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0, "it was never killed in the middle");
    let (code, rotated, log) = key(&database, &file, &["rotate"]);
    assert_eq!((code, &rotated["made"]), (Some(0), &Value::Bool(false)), "{log}");
    let keys = Sealer::of(&std::fs::read_to_string(&file).expect("the file")).expect("keys");
    everything_opens(&store, &keys).await;
    let counts = sealed::count_by_key(&store).await.expect("counts");
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(keys.current().expect("a key"), i64::from(VALUES))]);
    app.ledger_is_clean().await;
}

fn open(sealer: &Sealer, row: &sealed::SealedRow) -> Result<Vec<u8>, String> {
    let about = match &row.place {
        Place::Submission { user, .. } => format!("verification {user}"),
        Place::Webhook(id) | Place::WebhookBefore(id) => format!("webhook {id}"),
        Place::Endpoint { plugin, name } => format!("endpoint {plugin}/{name}"),
        Place::Consent { plugin, endpoint, user } => format!("consent {plugin}/{endpoint} {user}"),
    };
    let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.bytes.clone() };
    sealer.open(&about, &sealed).map(|plain| plain.to_vec()).map_err(|error| error.to_string())
}

/// Every value opens under one of these keys and is what it was.
async fn everything_opens(store: &Store, sealer: &Sealer) {
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = sealed::not_under(store, "", after.as_ref(), 1_000).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.place.clone());
        for row in &page {
            let Place::Submission { user, .. } = &row.place else { panic!("{row:?}") };
            assert_eq!(open(sealer, row), Ok(user.to_string().into_bytes()), "{row:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, VALUES);
}

/// Submissions by hand: signing up so many users would take minutes. Each says whose it is.
async fn seed(database: &Database, sealer: &Sealer) {
    let literal = |bytes: &[u8]| match database.kind {
        Kind::Sqlite => format!("x'{}'", hex::encode(bytes)),
        Kind::Postgres => format!("'\\x{}'", hex::encode(bytes)),
    };
    let mut hand = database.hand().await;
    let numbers: Vec<u128> = (1..=u128::from(VALUES)).collect();
    for some in numbers.chunks(500) {
        let rows: Vec<String> = some
            .iter()
            .map(|number| {
                let user = UserId(uuid::Uuid::from_u128(*number));
                let sealed = sealer.seal(&format!("verification {user}"), user.to_string().as_bytes()).expect("sealed");
                let id = literal(&user.bytes());
                format!("({id}, {id}, '{}', {}, 0)", sealed.key_id, literal(&sealed.bytes))
            })
            .collect();
        hand.run(&format!("insert into submissions (id, user_id, key_id, sealed, at) values {}", rows.join(", ")))
            .await;
    }
}
