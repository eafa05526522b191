//! Traces over OTLP: a payment is one trace below its caller's, spans nest, nobody's name or money is in them, and a collector that is
//! slow or gone never keeps anybody waiting.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{
    Database, HostProcess, Setup, Shop, Stopwatch, TestApp, User, eventually, koban_in, seed_money, seed_plugin,
    seed_shop, seed_till, seed_user,
};

/// A collector that remembers what it took.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    spans: Arc<Mutex<Vec<Value>>>,
    /// The resource and the raw text of each message.
    messages: Arc<Mutex<Vec<(Value, String)>>>,
    /// So many messages are refused first, with this status.
    refusals: Arc<Mutex<(u32, u16)>>,
}

impl Collector {
    /// Opens it; answers where it takes traces.
    pub(crate) async fn start(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/v1/traces", axum::routing::post(take)).with_state(self);
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// Everything that came, as it was sent.
    pub(crate) fn texts(&self) -> String {
        self.messages.lock().expect("messages").iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The spans of a trace, by name.
    fn of(&self, trace: &str) -> BTreeMap<String, Value> {
        let spans = self.spans.lock().expect("spans");
        let own = spans.iter().filter(|span| span["traceId"] == trace);
        own.map(|span| (span["name"].as_str().expect("a name").to_owned(), span.clone())).collect()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    {
        let mut refusals = collector.refusals.lock().expect("refusals");
        if refusals.0 > 0 {
            refusals.0 -= 1;
            return (StatusCode::from_u16(refusals.1).expect("a status"), "{}");
        }
    }
    assert_eq!(headers["content-type"], "application/json");
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    let message: Value = serde_json::from_str(&text).expect("JSON");
    for resource in message["resourceSpans"].as_array().expect("resources") {
        collector.messages.lock().expect("messages").push((resource["resource"].clone(), text.clone()));
        for scope in resource["scopeSpans"].as_array().expect("scopes") {
            assert_eq!(scope["scope"]["name"], "koban");
            for span in scope["spans"].as_array().expect("spans") {
                is_well_formed(span);
                collector.spans.lock().expect("spans").push(span.clone());
            }
        }
    }
    (StatusCode::OK, "{}")
}

/// As the JSON encoding of `opentelemetry.proto.trace.v1.Span` has it.
fn is_well_formed(span: &Value) {
    let hex = |field: &str, length: usize| {
        let text = span[field].as_str().unwrap_or_else(|| panic!("no {field}: {span}"));
        assert!(text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{field}: {span}");
    };
    hex("traceId", 32);
    hex("spanId", 16);
    if span.get("parentSpanId").is_some() {
        hex("parentSpanId", 16);
    }
    let nanos = |field: &str| span[field].as_str().expect("text").parse::<u64>().expect("a number");
    let (began, ended) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
    assert!(began > 1_500_000_000_000_000_000 && ended >= began, "{span}");
    assert!((1..=5).contains(&span["kind"].as_u64().expect("a kind")), "{span}");
    for attribute in span["attributes"].as_array().expect("attributes") {
        let value = attribute["value"].as_object().expect("a value");
        let kind = value.keys().next().expect("a kind").as_str();
        assert!(matches!(kind, "stringValue" | "intValue" | "boolValue") && value.len() == 1, "{span}");
    }
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let attributes = span["attributes"].as_array().expect("attributes");
    let value = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &value.unwrap_or_else(|| panic!("no {key}: {span}"))["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).expect("a text or a number")
}

/// A host over a fraud rule, a user with money and a shop.
async fn scene(environment: &[(&'static str, OsString)]) -> (Arc<Database>, HostProcess, User, Shop) {
    let database = Arc::new(Database::fresh().await);
    let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
    seed_plugin(
        &app.app,
        "fraud-rules",
        &[crate::harness::whole("night_from", 0), crate::harness::whole("night_to", 0)],
        None,
    )
    .await;
    let (user, token) = seed_user(&app.app, true).await;
    seed_till(&app.app).await;
    seed_money(&app.app, user, 100_000).await;
    let shop = seed_shop(&app.app, "5812").await;
    app.stop().await;
    let host = HostProcess::start_in(&database, "host", &["--listen", "127.0.0.1:0"], environment).await;
    let user = User::signed_in(user, token, &host.client());
    let shop = Shop::new(shop.0, shop.1, &host.client());
    (database, host, user, shop)
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_one_trace_below_its_callers_and_says_nothing_of_people_or_money() {
    let collector = Collector::default();
    *collector.refusals.lock().expect("refusals") = (1, 503);
    let (database, host, user, shop) = scene(&[("KOBAN_TRACES", collector.clone().start().await.into())]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let paid = user.pay(&shop, 4_321).header("traceparent", &parent).await.created();
    let unkept = format!("00-{}-00f067aa0ba902b7-00", TRACE.replace('4', "5"));
    user.pay(&shop, 1).header("traceparent", &unkept).await.created();
    user.pay(&shop, 1).header("traceparent", "not a place in any trace").await.created();
    assert!(host.stop().await.success(), "what is left is sent when the host ends");
    database.is_sound().await;

    let spans = collector.of(TRACE);
    let request = &spans["request"];
    assert_eq!((request["parentSpanId"].as_str(), request["kind"].as_u64()), (Some("00f067aa0ba902b7"), Some(2)));
    assert_eq!(
        (attribute(request, "http.route"), attribute(request, "http.response.status_code")),
        ("/v1/payments", "201")
    );
    assert!(attribute(request, "request.id").starts_with("req_"));
    for (name, key, value) in [("guest.call", "plugin", "fraud-rules"), ("guest.call", "function", "assess")] {
        assert!(attribute(&spans[name], key).contains(value), "{spans:?}");
    }
    for name in ["guest.call", "ledger.commit"] {
        assert_eq!(spans[name]["parentSpanId"], request["spanId"], "{name} is part of the request");
    }
    assert!(collector.of(&TRACE.replace('4', "5")).is_empty(), "a caller who keeps no trace gets none");
    let all = collector.spans.lock().expect("spans").clone();
    let named = |name: &str| all.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    assert!(named("lane.batch").iter().any(|span| span.get("parentSpanId").is_none()), "a batch is for many");
    assert!(named("request").len() >= 2, "a caller without a trace begins one");
    for span in all.iter().filter(|span| span.get("parentSpanId").is_some() && span["traceId"] != TRACE) {
        assert!(all.iter().any(|above| above["spanId"] == span["parentSpanId"]), "an orphan: {span}");
    }
    let messages = collector.messages.lock().expect("messages");
    let (resource, _) = &messages[0];
    assert!(resource.to_string().contains(r#"{"key":"service.name","value":{"stringValue":"koban"}}"#), "{resource}");
    let text: String = messages.iter().map(|(_, text)| text.as_str()).collect();
    for secret in [user.token.as_str(), &shop.secret, "4321", &user.id.to_string(), &paid.id, "@example.com"] {
        assert!(!text.contains(secret), "`{secret}` is in a trace");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_or_silent_keeps_nobody_waiting() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("an address");
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    for (collector, does_answer) in [(format!("http://{address}"), false), ("http://127.0.0.1:1".to_owned(), true)] {
        let (database, host, user, shop) = scene(&[("KOBAN_TRACES", collector.into())]).await;
        let stopwatch = Stopwatch::start();
        for _ in 0..10 {
            user.pay(&shop, 1).await.created();
        }
        assert!(stopwatch.elapsed() < Duration::from_secs(5), "{:?}", stopwatch.elapsed());
        if does_answer {
            let said = || async { host.said() };
            eventually("it is said once", said, |said| said.contains("the collector takes no traces")).await;
        }
        let stopwatch = Stopwatch::start();
        assert!(host.stop().await.success());
        assert!(stopwatch.elapsed() < Duration::from_secs(12), "it ends all the same, after {:?}", stopwatch.elapsed());
        database.is_sound().await;
    }
    holding.abort();
}

#[test]
fn an_address_that_is_no_collectors_is_refused_with_what_to_write() {
    let database = Database::sqlite();
    for url in ["https://collector:4318", "collector:4318", "http://"] {
        let (status, _, said) = koban_in(&database, "host", &["serve", "--traces", url], &[]);
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("is no collector"), "{said}");
    }
}
