//! Sending closed spans to a collector: in batches, in the background, never waited for.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::layer::{Ended, Value};

/// Spans in one message, and how long the first of them waits for others.
const BATCH_MAX: usize = 512;
const BATCH_EVERY: Duration = Duration::from_secs(1);
/// How long a message may take, how often it is tried, and the pause before the second time.
const ANSWER: Duration = Duration::from_secs(5);
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// How long the end of the host waits for the last message.
const LAST: Duration = Duration::from_secs(3);
/// An answer says little.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where spans are sent: the base address of a collector on this machine or in a network that is trusted, `http://127.0.0.1:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    /// `host:port`.
    authority: String,
    /// With `/v1/traces` at its end.
    path: String,
}

impl FromStr for Collector {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Collector> {
        let Some(rest) = text.strip_prefix("http://") else {
            bail!("`{text}` is no collector: `http://HOST:PORT`; for TLS let a collector on this machine pass them on");
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains('@') || rest.contains(['?', '#', ' ']) {
            bail!("`{text}` is no collector: only `http://HOST:PORT` and a path");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:4318") };
        let path = format!("/{}", path.trim_end_matches('/'));
        let path =
            if path.ends_with("/v1/traces") { path } else { format!("{}/v1/traces", path.trim_end_matches('/')) };
        Ok(Collector { authority, path })
    }
}

/// The task that sends.
#[derive(Debug)]
pub(crate) struct Exporting {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Exporting {
    /// Begins to send what the layer closes. `host` tells this host from others.
    pub(crate) fn start(
        to: Collector,
        host: SocketAddr,
        spans: mpsc::Receiver<Ended>,
        dropped: Arc<AtomicU64>,
    ) -> Exporting {
        let (stop, stopped) = oneshot::channel();
        let sender = Sender { to, resource: resource(host), connection: None, dropped, is_lost: false };
        Exporting { stop, task: tokio::spawn(sender.run(spans, stopped)) }
    }

    /// Sends what is left, for a bounded time.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if tokio::time::timeout(LAST, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Sender {
    to: Collector,
    resource: Json,
    connection: Option<http1::SendRequest<Full<Bytes>>>,
    dropped: Arc<AtomicU64>,
    /// Whether the last message was given up: said once, not every second.
    is_lost: bool,
}

/// Why a message was not taken.
enum Untaken {
    /// Again may help.
    Again(String),
    /// It will not.
    Never(String),
}

impl Sender {
    async fn run(mut self, mut spans: mpsc::Receiver<Ended>, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut ticks = tokio::time::interval(BATCH_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = &mut stopped => true,
                _ = ticks.tick() => false,
                count = spans.recv_many(&mut batch, BATCH_MAX), if batch.len() < BATCH_MAX => {
                    if count > 0 && batch.len() < BATCH_MAX {
                        continue;
                    }
                    count == 0
                }
            };
            if is_last {
                spans.close();
                while spans.recv_many(&mut batch, BATCH_MAX).await > 0 {}
            }
            while !batch.is_empty() {
                let some: Vec<Ended> = batch.drain(..batch.len().min(BATCH_MAX)).collect();
                self.send(&some).await;
            }
            if is_last {
                return;
            }
        }
    }

    async fn send(&mut self, spans: &[Ended]) {
        let body = Bytes::from(message(&self.resource, spans).to_string());
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            let why = match self.try_send(body.clone()).await {
                Ok(()) => {
                    let dropped = self.dropped.swap(0, Ordering::Relaxed);
                    if self.is_lost || dropped > 0 {
                        tracing::warn!(
                            dropped,
                            "the collector takes traces again; so many spans were dropped meanwhile"
                        );
                    }
                    self.is_lost = false;
                    return;
                }
                Err(Untaken::Again(why)) if attempt < ATTEMPTS_MAX => {
                    tracing::debug!(why, attempt, "the collector did not take traces; they are sent again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    continue;
                }
                Err(Untaken::Again(why) | Untaken::Never(why)) => why,
            };
            self.dropped.fetch_add(u64::try_from(spans.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            if !self.is_lost {
                tracing::warn!(why, collector = %self.to.authority, "the collector takes no traces; they are dropped until it does");
            }
            self.is_lost = true;
            return;
        }
    }

    async fn try_send(&mut self, body: Bytes) -> Result<(), Untaken> {
        let exchange = self.exchange(body);
        match tokio::time::timeout(ANSWER, exchange).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            // OTLP/HTTP, "Failures": these may be sent again.
            Ok(Ok(status)) if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
                Err(Untaken::Again(status.to_string()))
            }
            Ok(Ok(status)) => Err(Untaken::Never(status.to_string())),
            Ok(Err(error)) => Err(Untaken::Again(format!("{error:#}"))),
            Err(_) => Err(Untaken::Again("it does not answer".to_owned())),
        }
    }

    async fn exchange(&mut self, body: Bytes) -> anyhow::Result<StatusCode> {
        let kept = match self.connection.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(&self.to.authority).await.context("it cannot be reached")?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.to.path)
            .header("host", &self.to.authority)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again.
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        if body.is_ok() {
            self.connection = Some(sender);
        }
        Ok(status)
    }
}

/// Who speaks: the attributes of OpenTelemetry's "Service" convention.
fn resource(host: SocketAddr) -> Json {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "attributes": [
        text("service.name", "koban"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &host.to_string()),
    ] })
}

/// An `ExportTraceServiceRequest` in JSON: ids in hexadecimal, 64-bit numbers as text.
fn message(resource: &Json, spans: &[Ended]) -> Json {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": { "name": "koban", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
    }] })
}

fn span(ended: &Ended) -> Json {
    const INTERNAL: u8 = 1;
    const SERVER: u8 = 2;
    const CLIENT: u8 = 3;
    const ERROR: u8 = 2;
    let attribute = |(key, value): &(&'static str, Value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Whole(whole) => json!({ "intValue": whole.to_string() }),
            Value::Flag(flag) => json!({ "boolValue": flag }),
        };
        json!({ "key": key, "value": value })
    };
    let kind = match ended.name {
        "request" => SERVER,
        "partner" => CLIENT,
        _ => INTERNAL,
    };
    let mut json = json!({
        "traceId": format!("{:032x}", ended.trace),
        "spanId": format!("{:016x}", ended.span),
        "name": ended.name,
        "kind": kind,
        "startTimeUnixNano": ended.began.to_string(),
        "endTimeUnixNano": ended.ended.to_string(),
        "attributes": ended.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    if ended.parent != 0 {
        json["parentSpanId"] = format!("{:016x}", ended.parent).into();
    }
    let failed = |(key, value): &(&'static str, Value)| match value {
        Value::Flag(flag) => *key == "failed" && *flag,
        Value::Whole(status) => *key == "http.response.status_code" && *status >= 500,
        Value::Text(_) => false,
    };
    if ended.attributes.iter().any(failed) {
        json["status"] = json!({ "code": ERROR });
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_base_address() {
        let read = |text: &str| Collector::from_str(text).map(|collector| (collector.authority, collector.path));
        for (text, authority, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://collector", "collector:4318", "/v1/traces"),
            ("http://[::1]:9000/otlp/", "[::1]:9000", "/otlp/v1/traces"),
            ("http://127.0.0.1:4318/v1/traces", "127.0.0.1:4318", "/v1/traces"),
        ] {
            assert_eq!(read(text).unwrap(), (authority.to_owned(), path.to_owned()), "{text}");
        }
        for text in [
            "https://collector:4318",
            "collector:4318",
            "http://",
            "http://user:word@collector",
            "http://collector?x=1",
        ] {
            assert!(read(text).unwrap_err().to_string().contains("is no collector"), "{text}");
        }
    }

    #[test]
    fn a_span_is_written_as_the_protocol_asks() {
        let ended = Ended {
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span: 0x00f0_67aa_0ba9_02b7,
            parent: 1,
            name: "request",
            began: 1_544_712_660_000_000_000,
            ended: 1_544_712_661_000_000_000,
            attributes: vec![
                ("http.route", Value::Text("/v1/payments".into())),
                ("http.response.status_code", Value::Whole(503)),
            ],
        };
        assert_eq!(
            span(&ended),
            json!({
                "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "spanId": "00f067aa0ba902b7",
                "parentSpanId": "0000000000000001",
                "name": "request",
                "kind": 2,
                "startTimeUnixNano": "1544712660000000000",
                "endTimeUnixNano": "1544712661000000000",
                "attributes": [
                    { "key": "http.route", "value": { "stringValue": "/v1/payments" } },
                    { "key": "http.response.status_code", "value": { "intValue": "503" } },
                ],
                "status": { "code": 2 },
            })
        );
        let first = Ended { parent: 0, attributes: vec![("failed", Value::Flag(false))], ..ended };
        let json = span(&first);
        assert!(json.get("parentSpanId").is_none() && json.get("status").is_none(), "{json}");
    }
}
