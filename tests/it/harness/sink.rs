//! Somebody who receives webhooks: checks every signature, remembers every call, and answers as it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use koban_auditor::Heard;
use koban_domain::time::Timestamp;
use koban_outside::{Keyring, PublicKey, verify};
use koban_service::clock::Clock;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Caller as _, Made, Operator, eventually};

/// One call that came, properly signed.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The header `webhook-id`.
    pub(crate) id: String,
    /// The body's bytes.
    pub(crate) bytes: Vec<u8>,
    /// The body.
    pub(crate) body: Value,
    /// How many signatures it carried.
    pub(crate) signatures: usize,
}

/// How a sink behaves.
#[derive(Debug, Clone)]
struct Manners {
    status: u16,
    after: Duration,
    keys: Option<(Keyring, PublicKey)>,
    clock: Clock,
}

#[derive(Clone)]
struct Shared {
    manners: Arc<Mutex<Manners>>,
    calls: Arc<Mutex<Vec<Call>>>,
    unsigned: Arc<Mutex<Vec<String>>>,
}

/// A server that receives webhooks.
#[derive(Clone)]
pub(crate) struct Sink {
    address: SocketAddr,
    shared: Shared,
}

impl Sink {
    /// A sink that takes everything, by this clock.
    pub(crate) async fn start(clock: Clock) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let manners = Manners { status: 200, after: Duration::ZERO, keys: None, clock };
        let shared = Shared { manners: Arc::new(Mutex::new(manners)), calls: Arc::default(), unsigned: Arc::default() };
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Sink { address, shared }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Knows the keys that an answer of the API shows.
    pub(crate) fn knows(&self, made: &Made) {
        let secret = Keyring::parse([made.text("secret").as_str()]).expect("a secret");
        let public = made.body["endpoint"]["public_key"].as_str().expect("a public key");
        let public = PublicKey::parse(public).expect("a public key");
        self.shared.manners.lock().expect("whole").keys = Some((secret, public));
    }

    /// Answers with this status from now on.
    pub(crate) fn answers(&self, status: u16) {
        self.shared.manners.lock().expect("whole").status = status;
    }

    /// Answers so long after it has taken a call, from now on.
    pub(crate) fn waits(&self, after: Duration) {
        self.shared.manners.lock().expect("whole").after = after;
    }

    /// Every call so far, repeated ones included.
    pub(crate) fn calls(&self) -> Vec<Call> {
        assert_eq!(*self.shared.unsigned.lock().expect("whole"), Vec::<String>::new(), "every call is signed");
        self.shared.calls.lock().expect("whole").clone()
    }

    /// The same as the auditor compares it.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let calls = self.shared.calls.lock().expect("whole").clone();
        let body = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        calls.into_iter().map(|call| Heard { body: body(&call.bytes), id: call.id }).collect()
    }

    /// Each event once, by its id.
    pub(crate) fn events(&self) -> BTreeMap<String, Value> {
        let mut events = BTreeMap::new();
        for call in self.calls() {
            assert_eq!(call.body["id"], call.id, "the header names the event");
            let known = events.insert(call.id.clone(), call.body.clone());
            assert!(known.is_none_or(|known| known == call.body), "the same id is the same message: {call:?}");
        }
        events
    }

    /// Waits until so many different events have come.
    pub(crate) async fn has(&self, count: usize) -> BTreeMap<String, Value> {
        eventually("events have come", async || self.events(), |events| events.len() >= count).await
    }

    /// Waits until so many calls have come, repeated ones included.
    pub(crate) async fn was_called(&self, times: usize) {
        eventually("calls have come", async || self.calls().len(), |calls| *calls >= times).await;
    }

    /// Makes this sink an endpoint: of this merchant, or of the platform.
    pub(crate) async fn register(&self, operator: &Operator, merchant: Option<String>) -> String {
        let body = serde_json::json!({ "merchant": merchant, "url": self.url(), "allow_private": true });
        let made = operator.post("/v1/operator/webhook-endpoints", body).await.created();
        self.knows(&made);
        let endpoint = made.body["endpoint"]["id"].as_str().expect("an id").to_owned();
        super::told::hears(operator.client().address(), &endpoint, self);
        endpoint
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let manners = shared.manners.lock().expect("whole").clone();
    let given: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if let Some((secret, public)) = &manners.keys {
        let now: Timestamp = manners.clock.now();
        let by_secret = verify(given.iter().copied(), &body, secret, now);
        let by_key = public.verify(given.iter().copied(), &body, now);
        if by_secret.is_err() || by_key.is_err() {
            shared.unsigned.lock().expect("whole").push(format!("{by_secret:?} {by_key:?}"));
        }
    }
    shared.calls.lock().expect("whole").push(Call {
        id: text("webhook-id"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        bytes: body.to_vec(),
        signatures: text("webhook-signature").split(' ').count(),
    });
    tokio::time::sleep(manners.after).await;
    StatusCode::from_u16(manners.status).expect("a status")
}
