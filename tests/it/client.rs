//! A small HTTP client for tests: one kept connection, JSON in and out, nothing hidden and nothing repeated.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::harness::told;

/// Somebody who calls the API.
pub(crate) struct Client {
    address: String,
    bearer: Option<String>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// What the host answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// The body as JSON; null if it is empty or none.
    pub(crate) body: Value,
    /// The body's bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every header, in order.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The code of a problem; empty for a success.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

/// How long one call may take: longer than the host takes to say that it cannot.
const TIMEOUT: Duration = Duration::from_secs(35);

impl Client {
    /// A caller without identity. The address is `host:port`.
    pub(crate) fn new(address: impl Into<String>) -> Client {
        Client { address: address.into(), bearer: None, connection: Mutex::new(None) }
    }

    /// The same address with a bearer token, on a connection of its own.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Client {
        Client { bearer: Some(token.into()), ..Client::new(self.address.clone()) }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Reads something.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, anyhow::Error> {
        self.send(Method::GET, path, &[], None).await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Reply, anyhow::Error> {
        self.send(Method::POST, path, &[], Some(body.to_string().into_bytes())).await
    }

    /// Sends any request. A body is JSON unless a header says otherwise.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, anyhow::Error> {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", &self.address);
        if let Some(token) = &self.bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        told::asks(&self.address, path);
        let reply = tokio::time::timeout(TIMEOUT, self.exchange(request)).await??;
        let key = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key")).map(|(_, key)| *key);
        told::hear(&self.address, (&method, path), self.bearer.as_deref().zip(key), &reply);
        Ok(reply)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, anyhow::Error> {
        let mut connection = self.connection.lock().await;
        // A kept connection may have been closed meanwhile; that is no answer, and nothing was sent.
        let kept = match connection.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                sender.ready().await?;
                sender
            }
        };
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let bytes = response.into_body().collect().await?.to_bytes().to_vec();
        *connection = Some(sender);
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Reply { status, headers, body, bytes })
    }
}
