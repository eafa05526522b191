//! The ATM network beside the host, and a user who stands in front of its machine.

use std::time::Duration;

use hyper::Method;
use outside_world::{Config, Patience, Running};
use serde_json::{Value, json};

use super::{Made, User, eventually};
use crate::client::{Client, Reply};
use crate::harness::Caller as _;

/// What host and network share.
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// The network, with its controls.
pub(crate) struct Atm {
    world: Running,
    controls: Client,
}

impl Atm {
    /// Opens the network for a host at this base address.
    pub(crate) async fn start(koban: &str) -> Atm {
        let patience = Patience {
            answer: Duration::from_secs(5),
            attempts: 3,
            pause: Duration::from_millis(50),
            pause_max: Duration::from_millis(500),
            attempts_max: 10_000,
        };
        let config = Config { patience, ..Config::new(koban, vec![SECRET.to_owned()]) };
        let world = outside_world::start(config).await.expect("the outside world opens");
        let controls = Client::new(world.addr.to_string());
        Atm { world, controls }
    }

    /// Where the network listens.
    pub(crate) fn base(&self) -> String {
        self.world.base()
    }

    /// Says that the host is somewhere else now.
    pub(crate) fn koban_at(&self, base: &str) {
        self.world.koban_at(base).expect("a base address");
    }

    /// The same network through a connection of its own.
    pub(crate) fn controls(&self) -> Client {
        Client::new(self.world.addr.to_string())
    }

    /// Sets switches; what is not named stays.
    pub(crate) async fn switch(&self, switches: Value) {
        control(&self.controls, "/control/switches", switches).await;
    }

    /// A user touches the screen.
    pub(crate) async fn open(&self) -> Session {
        Session::open(self.controls()).await
    }

    /// A user charges so many yen: scan, number, notes. Answers the charge's id and what the ATM did.
    pub(crate) async fn charge(&self, user: &User, yen: i64) -> (Session, String, Value) {
        let (session, charge) = self.approved(user).await;
        session.type_number(super::COMPANY_NUMBER).await;
        let report = session.deposit(yen).await;
        (session, charge, report)
    }

    /// A user has scanned and sees the company number.
    pub(crate) async fn approved(&self, user: &User) -> (Session, String) {
        let session = self.open().await;
        let charge = session.scan(user).await;
        eventually("the network approves", || user.charge(&charge.id), |charge| shows(charge, super::COMPANY_NUMBER))
            .await;
        (session, charge.id)
    }

    /// The network's book.
    pub(crate) async fn book(&self) -> Value {
        self.controls.get("/control/book").await.expect("the controls answer").body
    }

    /// Closes the day and posts its file; answers what the network heard.
    pub(crate) async fn end_of_day(&self) -> Value {
        control(&self.controls, "/control/end-of-day", json!({})).await
    }

    /// Posts the file of a closed day once more.
    pub(crate) async fn end_of_day_again(&self, day: &str) -> Value {
        control(&self.controls, "/control/end-of-day", json!({ "business_date": day })).await
    }

    /// Sends a deposit that was counted, or sends one once more.
    pub(crate) async fn send(&self, reference: &str) -> Value {
        control(&self.controls, &format!("/control/deposits/{reference}/send"), json!({})).await
    }

    /// Reverses a deposit.
    pub(crate) async fn reverse(&self, reference: &str) -> Value {
        control(&self.controls, &format!("/control/deposits/{reference}/reversal"), json!({})).await
    }
}

/// One user in front of the machine.
pub(crate) struct Session {
    controls: Client,
    pub(crate) id: String,
    pub(crate) qr: String,
}

impl Session {
    /// The screen shows a code.
    pub(crate) async fn open(controls: Client) -> Session {
        let opened = control(&controls, "/control/sessions", json!({})).await;
        let text = |name: &str| opened[name].as_str().expect("a text").to_owned();
        Session { id: text("session"), qr: text("qr"), controls }
    }

    /// The user begins a charge in the wallet and scans the code.
    pub(crate) async fn scan(&self, user: &User) -> Made {
        let charge = user.post("/v1/charges", json!({ "channel": "charge-atm", "currency": "JPY" })).await.created();
        self.answer(user, &charge.id).await;
        charge
    }

    /// The user scans the code for a charge that was begun.
    pub(crate) async fn answer(&self, user: &User, charge: &str) {
        answer(user, charge, "scan", "session", &self.qr).await;
    }

    /// The user types a number on the keypad.
    pub(crate) async fn type_number(&self, number: &str) -> Value {
        let path = format!("/control/sessions/{}/keypad", self.id);
        control(&self.controls, &path, json!({ "company_number": number })).await
    }

    /// Notes go in. Answers what became of them.
    pub(crate) async fn deposit(&self, yen: i64) -> Value {
        self.deposit_with(json!({ "amount": yen })).await
    }

    /// Notes go in although the machine would not take them.
    pub(crate) async fn deposit_anyway(&self, yen: i64) -> Value {
        self.deposit_with(json!({ "amount": yen, "anyway": true })).await
    }

    /// Notes go in if the machine still takes them. Answers whether it did.
    pub(crate) async fn try_deposit(&self, yen: i64) -> bool {
        let path = format!("/control/sessions/{}/deposit", self.id);
        let reply = self.controls.post(&path, json!({ "amount": yen })).await.expect("the controls answer");
        (200..300).contains(&reply.status)
    }

    /// Notes are counted and nothing is sent yet; answers the reference.
    pub(crate) async fn count(&self, yen: i64) -> String {
        let counted = self.deposit_with(json!({ "amount": yen, "later": true })).await;
        counted["reference"].as_str().expect("a reference").to_owned()
    }

    /// Notes are counted for a session that nobody scanned; answers the reference.
    pub(crate) async fn count_anyway(&self, yen: i64) -> String {
        let counted = self.deposit_with(json!({ "amount": yen, "later": true, "anyway": true })).await;
        counted["reference"].as_str().expect("a reference").to_owned()
    }

    async fn deposit_with(&self, body: Value) -> Value {
        control(&self.controls, &format!("/control/sessions/{}/deposit", self.id), body).await
    }

    /// The user walks away.
    pub(crate) async fn end(&self) -> Value {
        control(&self.controls, &format!("/control/sessions/{}/end", self.id), json!({ "reason": "user_left" })).await
    }
}

/// A partner's message to the host with this signature, as the network would send it by hand.
pub(crate) async fn say(host: &Client, operation: &str, signed: &[(&'static str, String)], body: Vec<u8>) -> Reply {
    let mut headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers
        .push(("content-type", if operation == "settlement" { "text/csv; charset=utf-8" } else { "application/json" }));
    let path = format!("/v1/inbound/charge-atm/{operation}");
    let client = Client::new(host.address());
    let reply = client.send(Method::POST, &path, &headers, Some(body)).await.expect("the host answers");
    if (200..300).contains(&reply.status) {
        // What is said in the network's name by hand does not stand in its book.
        super::told::another_speaks(host.address());
    }
    reply
}

/// Answers a form that a charge shows.
pub(crate) async fn answer(user: &User, charge: &str, key: &str, field: &str, value: &str) {
    let body = json!({ "key": key, "values": [{ "name": field, "value": value }] });
    user.post(format!("/v1/charges/{charge}/answers"), body).await.accepted();
}

/// Whether a charge shows this text or code.
pub(crate) fn shows(charge: &Value, text: &str) -> bool {
    charge["shows"].as_array().is_some_and(|shows| shows.iter().any(|show| show.to_string().contains(text)))
}

pub(super) async fn control(controls: &Client, path: &str, body: Value) -> Value {
    let reply = controls.post(path, body).await.expect("the controls answer");
    let said = String::from_utf8_lossy(&reply.bytes).into_owned();
    assert!((200..300).contains(&reply.status), "{path}: {} {said}", reply.status);
    reply.body
}
