//! The network as Koban meets it: against a stand-in for Koban of a few lines, whose answers each test writes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use outside_world::clock::Clock;
use outside_world::signing::Signer;
use outside_world::{Config, Running, start};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";
const NOW_MS: i64 = 1_777_000_000_000;

fn signer() -> Signer {
    Signer::parse(&[SECRET.to_owned()]).expect("a secret")
}

// ---- a stand-in for Koban -----------------------------------------------------------------------------------------

/// What the stand-in says to a message.
#[derive(Clone)]
enum Says {
    Signed(u16, Value),
    Unsigned(u16, Value),
}

/// What it got.
#[derive(Clone, Debug, PartialEq)]
struct Got {
    operation: String,
    id: String,
    content_type: String,
    body: Vec<u8>,
}

type Script = dyn Fn(&str, usize) -> Says + Send + Sync;

#[derive(Clone)]
struct Koban {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    /// Operation and how often it was called before, to what is said.
    script: Arc<Script>,
}

impl Koban {
    async fn that(script: impl Fn(&str, usize) -> Says + Send + Sync + 'static) -> Koban {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let koban = Koban { address, got: Arc::default(), script: Arc::new(script) };
        let router = Router::new().route("/v1/inbound/{plugin}/{operation}", post(inbound)).with_state(koban.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        koban
    }

    async fn that_agrees() -> Koban {
        Koban::that(|_, _| Says::Signed(200, json!({ "result": "ok" }))).await
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().expect("whole").clone()
    }

    fn operations(&self) -> Vec<String> {
        self.got().into_iter().map(|got| got.operation).collect()
    }
}

async fn inbound(
    State(koban): State<Koban>,
    Path((plugin, operation)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(plugin, "charge-atm");
    let id = signer().check(&headers, &body, NOW_MS).expect("the network signs what it sends");
    let content_type = headers["content-type"].to_str().expect("text").to_owned();
    let before = {
        let mut got = koban.got.lock().expect("whole");
        let before = got.iter().filter(|got| got.operation == operation).count();
        got.push(Got { operation: operation.clone(), id: id.clone(), content_type, body: body.to_vec() });
        before
    };
    match (koban.script)(&operation, before) {
        Says::Unsigned(status, body) => {
            (StatusCode::from_u16(status).expect("a status"), body.to_string()).into_response()
        }
        Says::Signed(status, body) => {
            let body = body.to_string();
            let mut response = Response::builder().status(status);
            for (name, value) in signer().sign(&id, body.as_bytes(), NOW_MS) {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).expect("an answer")
        }
    }
}

// ---- the world under test -----------------------------------------------------------------------------------------

struct World {
    running: Running,
}

impl World {
    async fn beside(koban: &Koban) -> World {
        World::with(&koban.base()).await
    }

    async fn with(koban: &str) -> World {
        let mut config = Config::new(koban, vec![SECRET.to_owned()]);
        config.atm_id = Some("7A01".to_owned());
        config.clock = Clock::new(|| NOW_MS);
        config.patience.pause = Duration::from_millis(5);
        config.patience.pause_max = Duration::from_millis(20);
        World { running: start(config).await.expect("started") }
    }

    async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let headers = [("content-type", "application/json".to_owned())];
        let (status, _, body) =
            call(self.running.addr, "POST", &format!("/control/{path}"), &headers, body.to_string().as_bytes())
                .await
                .expect("an answer");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn show(&self, path: &str) -> Value {
        let (_, _, body) =
            call(self.running.addr, "GET", &format!("/control/{path}"), &[], b"").await.expect("an answer");
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn switch(&self, switches: Value) {
        assert_eq!(self.control("switches", switches).await.0, 200);
    }

    async fn open_session(&self) -> String {
        let (status, opened) = self.control("sessions", json!({})).await;
        assert_eq!(status, 201);
        let session = opened["session"].as_str().expect("a session").to_owned();
        assert_eq!(opened["qr"], format!("KOBAN-ATM:{session}"));
        session
    }

    /// What Koban sends for a session.
    async fn approve(&self, session: &str) -> Option<(u16, HeaderMap, Vec<u8>)> {
        let body = approval(session);
        let headers = signer().sign("msg_approve", &body, NOW_MS);
        call(self.running.addr, "POST", "/atm/approve", &headers, &body).await
    }

    async fn matched_session(&self) -> String {
        let session = self.open_session().await;
        assert_eq!(self.approve(&session).await.expect("an answer").0, 200);
        let (_, keyed) = self.control(&format!("sessions/{session}/keypad"), json!({ "company_number": "8391" })).await;
        assert_eq!(keyed, json!({ "result": "matched", "max_amount": 50_000 }));
        session
    }

    async fn deposit(&self, amount: i64) -> Value {
        let session = self.matched_session().await;
        self.control(&format!("sessions/{session}/deposit"), json!({ "amount": amount })).await.1
    }

    async fn book(&self) -> Vec<(i64, String)> {
        let book = self.show("book").await;
        let deposits = book["deposits"].as_array().expect("a list").clone();
        deposits
            .iter()
            .map(|deposit| {
                (deposit["amount"].as_i64().expect("yen"), deposit["standing"].as_str().expect("a word").to_owned())
            })
            .collect()
    }

    /// Waits until nothing is on its way, for at most ten seconds.
    async fn settle_down(&self) {
        for _ in 0..1_000 {
            if self.show("book").await["on_their_way"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("errands do not end");
    }
}

fn approval(session: &str) -> Vec<u8> {
    let body =
        json!({ "session": session, "company_number": "8391", "max_amount": 50_000, "expires_at": NOW_MS + 300_000 });
    body.to_string().into_bytes()
}

/// One request; `None` if the other side hung up.
async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> Option<(u16, HeaderMap, Vec<u8>)> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = sender.send_request(request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request")).await;
    let (head, body) = answer.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes().to_vec();
    connection.abort();
    Some((head.status.as_u16(), head.headers, body))
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

// ---- what Koban asks ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_approval_is_answered_signed_under_its_own_id_and_alike_when_repeated() {
    let world = World::beside(&Koban::that_agrees().await).await;
    let session = world.open_session().await;
    for _ in 0..2 {
        let (status, headers, body) = world.approve(&session).await.expect("an answer");
        assert_eq!((status, body.as_slice()), (200, &br#"{"result":"ok"}"#[..]));
        signer().check_answer("msg_approve", &headers, &body, NOW_MS).expect("signed");
    }
    let (status, headers, body) = world.approve("nobody").await.expect("an answer");
    assert_eq!((status, body.as_slice()), (200, &br#"{"reason":"unknown_session","result":"refused"}"#[..]));
    signer().check_answer("msg_approve", &headers, &body, NOW_MS).expect("a refusal is signed as well");
}

#[tokio::test]
async fn whoever_does_not_hold_the_secret_approves_nothing() {
    let world = World::beside(&Koban::that_agrees().await).await;
    let session = world.open_session().await;
    let body = approval(&session);
    let other = Signer::parse(&["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".to_owned()]).expect("a secret");
    for headers in [other.sign("msg_1", &body, NOW_MS), signer().sign("msg_1", &body, NOW_MS - 301_000)] {
        let (status, answered, _) =
            call(world.running.addr, "POST", "/atm/approve", &headers, &body).await.expect("an answer");
        assert_eq!(status, 401);
        assert!(!answered.contains_key("webhook-signature"));
    }
    assert_eq!(world.show(&format!("sessions/{session}")).await["approval"], Value::Null);
}

#[tokio::test]
async fn the_network_answers_as_its_switches_are_set() {
    let world = World::beside(&Koban::that_agrees().await).await;
    let approved = async |session: &str| world.show(&format!("sessions/{session}")).await["approval"].is_object();

    let session = world.open_session().await;
    world.switch(json!({ "answers": "error" })).await;
    let (status, headers, _) = world.approve(&session).await.expect("an answer");
    assert_eq!(status, 500);
    assert!(!headers.contains_key("webhook-signature") && !approved(&session).await);

    world.switch(json!({ "answers": "silent" })).await;
    let waited = tokio::time::timeout(Duration::from_millis(200), world.approve(&session)).await;
    assert!(waited.is_err() && !approved(&session).await);

    world.switch(json!({ "answers": "lost" })).await;
    assert!(world.approve(&session).await.is_none());
    assert!(approved(&session).await, "the work was done");

    world.switch(json!({ "answers": "slow", "slow_ms": 1_000 })).await;
    let waited = tokio::time::timeout(Duration::from_millis(50), world.approve(&session)).await;
    assert!(waited.is_err());
    assert_eq!(world.approve(&session).await.expect("an answer").0, 200);
}

// ---- what Koban is told -------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_deposit_that_koban_takes_is_booked() {
    let koban = Koban::that_agrees().await;
    let world = World::beside(&koban).await;
    let report = world.deposit(10_000).await;
    assert_eq!(report["reference"], "7A01/2026-04-24/000001");
    assert_eq!((&report["standing"], &report["atm"]), (&json!("booked"), &json!("accepted-cash")));
    assert_eq!(report["answers"], json!([{ "operation": "deposit", "status": 200, "body": { "result": "ok" } }]));
    let [got] = koban.got().try_into().expect("one message");
    let body: Value = serde_json::from_slice(&got.body).expect("JSON");
    assert_eq!(got.content_type, "application/json");
    assert_eq!(body["business_date"], "2026-04-24");
    assert_eq!(body["serial"], "000001");
    assert_eq!(body["amount"], 10_000);
    assert_eq!(world.show("book").await["cash_in_the_atm"], 10_000);
}

#[tokio::test]
async fn a_deposit_that_koban_refuses_is_given_back() {
    let koban = Koban::that(|_, _| Says::Signed(200, json!({ "result": "refused", "reason": "limit_day" }))).await;
    let world = World::beside(&koban).await;
    let report = world.deposit(10_000).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("refused"), &json!("gave-cash-back")));
    assert_eq!(report["reason"], "limit_day");
    assert_eq!(koban.operations(), words(&["deposit"]));
    assert_eq!(world.book().await, [(10_000, "refused".to_owned())]);
}

#[tokio::test]
async fn a_deposit_that_nobody_answers_is_sent_again_then_reversed_until_that_is_answered() {
    let koban = Koban::that(|operation, before| match (operation, before) {
        ("reversal", 4..) => Says::Signed(200, json!({ "result": "ok" })),
        _ => Says::Unsigned(503, json!({})),
    })
    .await;
    let world = World::beside(&koban).await;
    let report = world.deposit(10_000).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("unknown"), &json!("gave-cash-back")));
    world.settle_down().await;
    assert_eq!(world.book().await, [(10_000, "reversed".to_owned())]);
    let got = koban.got();
    let (deposits, reversals): (Vec<Got>, Vec<Got>) = got.into_iter().partition(|got| got.operation == "deposit");
    assert_eq!((deposits.len(), reversals.len()), (3, 5));
    assert!(deposits.iter().all(|got| *got == deposits[0]), "the same id and the same bytes each time");
    assert!(reversals.iter().all(|got| *got == reversals[0]));
    let said = |got: &Got| serde_json::from_slice::<Value>(&got.body).expect("JSON");
    let (mut deposit, mut reversal) = (said(&deposits[0]), said(&reversals[0]));
    assert_eq!((deposit["operation"].take(), reversal["operation"].take()), (json!("deposit"), json!("reversal")));
    assert_eq!(deposit, reversal, "a reversal names the same serial");
    assert_ne!(deposits[0].id, reversals[0].id);
}

#[tokio::test]
async fn an_answer_that_koban_did_not_sign_is_not_believed() {
    let koban = Koban::that(|operation, _| match operation {
        "deposit" => Says::Unsigned(200, json!({ "result": "ok" })),
        _ => Says::Signed(200, json!({ "result": "ok" })),
    })
    .await;
    let world = World::beside(&koban).await;
    assert_eq!(world.deposit(10_000).await["standing"], "reversed");
    assert_eq!(koban.operations(), words(&["deposit", "deposit", "deposit", "reversal"]));
}

#[tokio::test]
async fn a_koban_that_is_down_hears_of_the_reversal_when_it_is_back() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", nobody.local_addr().expect("its address"));
    drop(nobody);
    let world = World::with(&base).await;
    assert_eq!(world.deposit(10_000).await["standing"], "unknown");
    let koban = Koban::that_agrees().await;
    world.running.koban_at(&koban.base()).expect("an address");
    world.settle_down().await;
    assert_eq!(koban.operations(), words(&["reversal"]));
    assert_eq!(world.book().await, [(10_000, "reversed".to_owned())]);
}

#[tokio::test]
async fn answers_of_koban_get_lost_as_the_switches_are_set() {
    let koban = Koban::that_agrees().await;
    let world = World::beside(&koban).await;
    world.switch(json!({ "ours": "repeat" })).await;
    assert_eq!(world.deposit(1_000).await["standing"], "booked");
    let [first, again] = koban.got().try_into().expect("two messages");
    assert_eq!(first, again);

    world.switch(json!({ "ours": "reverse" })).await;
    let report = world.deposit(2_000).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("reversed"), &json!("gave-cash-back")));
    assert_eq!(koban.operations(), words(&["deposit", "deposit", "deposit", "reversal"]));

    world.switch(json!({ "ours": "normal", "answers": "twice" })).await;
    assert_eq!(world.deposit(3_000).await["standing"], "booked");
    assert_eq!(koban.got()[4], koban.got()[5]);
    assert_eq!(koban.got().len(), 6);
    let standings = ["booked", "reversed", "booked"].map(str::to_owned);
    assert_eq!(world.book().await.into_iter().map(|(_, standing)| standing).collect::<Vec<_>>(), standings);
}

#[tokio::test]
async fn the_third_wrong_number_is_told_to_koban() {
    let koban = Koban::that_agrees().await;
    let world = World::beside(&koban).await;
    let session = world.open_session().await;
    world.approve(&session).await.expect("an answer");
    let keypad = format!("sessions/{session}/keypad");
    for left in [2, 1] {
        let (_, keyed) = world.control(&keypad, json!({ "company_number": "0000" })).await;
        assert_eq!(keyed, json!({ "result": "wrong", "left": left }));
    }
    let (_, keyed) = world.control(&keypad, json!({ "company_number": "0000" })).await;
    assert_eq!((&keyed["result"], &keyed["reason"]), (&json!("ended"), &json!("wrong_company_number")));
    let [got] = koban.got().try_into().expect("one message");
    let body: Value = serde_json::from_slice(&got.body).expect("JSON");
    assert_eq!(body, json!({ "operation": "session-ended", "session": session, "reason": "wrong_company_number" }));
    let (status, refused) = world.control(&format!("sessions/{session}/deposit"), json!({ "amount": 1_000 })).await;
    assert_eq!((status, &refused["error"]), (409, &json!("not_ready")));
}

#[tokio::test]
async fn a_reversal_can_come_before_its_deposit() {
    let koban = Koban::that(|operation, _| match operation {
        "deposit" => Says::Signed(200, json!({ "result": "refused", "reason": "reference_dead" })),
        _ => Says::Signed(200, json!({ "result": "ok" })),
    })
    .await;
    let world = World::beside(&koban).await;
    let session = world.matched_session().await;
    let (status, counted) =
        world.control(&format!("sessions/{session}/deposit"), json!({ "amount": 1_000, "later": true })).await;
    assert_eq!((status, &counted["standing"]), (201, &json!("prepared")));
    let deposit = format!("deposits/{}", counted["reference"].as_str().expect("a reference"));
    let (_, reversed) = world.control(&format!("{deposit}/reversal"), json!({})).await;
    assert_eq!(reversed["standing"], "reversed");
    let (_, late) = world.control(&format!("{deposit}/send"), json!({})).await;
    assert_eq!((&late["standing"], &late["reason"]), (&json!("reversed"), &json!("reference_dead")));
    assert_eq!(koban.operations(), words(&["reversal", "deposit"]));
    assert_eq!(world.control("deposits/7A01/2026-04-24/999999/reversal", json!({})).await.0, 404);
}

#[tokio::test]
async fn the_day_is_posted_as_a_file_and_posted_again_as_the_same_bytes() {
    let koban = Koban::that_agrees().await;
    let world = World::beside(&koban).await;
    world.deposit(10_000).await;
    world.switch(json!({ "ours": "reverse" })).await;
    world.deposit(20_000).await;
    let (_, first) = world.control("end-of-day", json!({})).await;
    let (_, again) = world.control("end-of-day", json!({ "business_date": "2026-04-24" })).await;
    assert_eq!(first["file"], again["file"]);
    let files: Vec<Got> = koban.got().into_iter().filter(|got| got.operation == "settlement").collect();
    let [one, two] = files.try_into().expect("two files");
    assert_eq!(one.body, two.body);
    assert_eq!(one.content_type, "text/csv; charset=utf-8");
    assert_ne!(one.id, two.id, "sent again by hand it is another message");
    let text = String::from_utf8(one.body).expect("text");
    assert!(text.ends_with("T,3,50000\n"), "{text}");
    let (status, refused) = world.control("end-of-day", json!({ "business_date": "yesterday" })).await;
    assert_eq!((status, &refused["error"]), (422, &json!("business_date")));
}

#[tokio::test]
async fn the_controls_do_not_listen_to_web_pages() {
    let world = World::beside(&Koban::that_agrees().await).await;
    let headers = [("origin", "http://evil.example".to_owned())];
    let answer = call(world.running.addr, "POST", "/control/sessions", &headers, b"").await.expect("an answer");
    assert_eq!(answer.0, 403);
}

#[tokio::test]
async fn a_world_that_cannot_be_says_why() {
    let why = async |change: fn(&mut Config)| {
        let mut config = Config::new("http://127.0.0.1:1", vec![SECRET.to_owned()]);
        change(&mut config);
        start(config).await.map(|_| ()).expect_err("refused").to_string()
    };
    assert_eq!(why(|config| config.secrets.clear()).await, "a secret is not usable");
    assert!(why(|config| config.koban = "koban".to_owned()).await.contains("write http://host:port"));
    assert!(why(|config| config.atm_id = Some("a/b".to_owned())).await.contains("letters, digits and hyphens"));
}
