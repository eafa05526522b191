//! One signed call to Koban over a connection of its own, and what was heard.

use std::time::Duration;

use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::signing::Signer;

/// Where Koban is.
#[derive(Clone, Debug)]
pub(crate) struct KobanBase {
    /// `host:port`
    authority: String,
    /// Empty, or `/…` without a slash at its end.
    path: String,
}

/// A message to Koban. Sending it again sends the same id and the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Whose inbound operation it is.
    pub(crate) plugin: String,
    pub(crate) id: String,
    pub(crate) operation: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// What was heard.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// Koban's own word, proven by its signature.
    Answer { status: u16, body: Value },
    /// Nothing that decides anything: no connection, no answer in time, not Koban's signature, or a word that asks to try again.
    Nothing(String),
}

const ANSWER_LENGTH_MAX: usize = 64 << 10;

impl KobanBase {
    /// Reads `http://host:port` with an optional path.
    pub(crate) fn parse(text: &str) -> Option<KobanBase> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.rsplit_once(':')?;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
        let port_is_one = port.parse::<u16>().is_ok_and(|port| port > 0);
        let path = path.trim_end_matches('/');
        (plain && port_is_one && path.bytes().all(|b| b.is_ascii_graphic()))
            .then(|| KobanBase { authority: authority.to_owned(), path: path.to_owned() })
    }
}

/// Calls once.
pub(crate) async fn call(
    base: &KobanBase,
    signer: &Signer,
    clock: &Clock,
    patience: Duration,
    message: &Message,
) -> Heard {
    let uri = format!("{}/v1/inbound/{}/{}", base.path, message.plugin, message.operation);
    let mut request = Request::post(uri)
        .header(header::HOST, &base.authority)
        .header(header::CONTENT_TYPE, message.content_type)
        .header(header::CONNECTION, "close");
    for (name, value) in signer.sign(&message.id, &message.body, clock.now_ms()) {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Full::new(Bytes::from(message.body.clone()))) else {
        return Heard::Nothing("the message cannot be written as a request".to_owned());
    };
    match timeout(patience, exchange(&base.authority, request)).await {
        Err(_) => Heard::Nothing("no answer in time".to_owned()),
        Ok(Err(why)) => Heard::Nothing(why),
        Ok(Ok((status, headers, body))) => judge(signer, clock, message, status, &headers, &body),
    }
}

async fn exchange(authority: &str, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("no connection: {error}"))?;
    let broken = |error: hyper::Error| format!("the exchange broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_LENGTH_MAX).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        Ok((head.status, head.headers, body))
    };
    tokio::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        _ = connection => exchange.await,
    }
}

fn judge(
    signer: &Signer,
    clock: &Clock,
    message: &Message,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Heard {
    let again = matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if status.is_server_error() || again {
        return Heard::Nothing(format!("status {}", status.as_u16()));
    }
    if let Err(why) = signer.check_answer(&message.id, headers, body, clock.now_ms()) {
        return Heard::Nothing(format!("status {}, but not proven to be Koban's: {why}", status.as_u16()));
    }
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    Heard::Answer { status: status.as_u16(), body: serde_json::from_slice(body).unwrap_or_else(|_| text()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn koban_is_at_a_plain_address() {
        for text in ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:9/prefix"] {
            assert!(KobanBase::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:8080",
            "https://localhost:1",
            "http://localhost",
            "http://a:0",
            "http://a b:1",
            "http://u@a:1",
        ] {
            assert!(KobanBase::parse(text).is_none(), "{text}");
        }
    }
}
