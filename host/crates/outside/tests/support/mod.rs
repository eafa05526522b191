//! A partner of a few lines over a socket, and what a test says of an exchange.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koban_domain::manifest::Method;
use koban_domain::time::Timestamp;
use koban_outside::{
    Answer, Base, Credential, Endpoint, Keyring, NotSent, Refused, Request, Sent, SignatureError, Unknown, sign_answer,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) const NOW: Timestamp = Timestamp(1_777_000_000_123);
pub(crate) const SECRET: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";
pub(crate) const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
pub(crate) const ASKED: &[u8] = br#"{"session":"0f3a"}"#;
pub(crate) const ANSWER: &[u8] = br#"{"result":"ok"}"#;

pub(crate) fn ring(secret: &str) -> Keyring {
    Keyring::parse([secret]).expect("a secret")
}

/// What a partner does with a connection, in order; then it closes it.
#[derive(Clone)]
pub(crate) enum Does {
    Reads,
    Says(Vec<u8>),
    Waits(u64),
}

/// What came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A partner that does the same with every connection.
pub(crate) struct Partner {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

impl Partner {
    pub(crate) async fn that(script: Vec<Does>) -> Partner {
        Partner::start(script, None).await
    }

    pub(crate) async fn that_says(answer: Vec<u8>) -> Partner {
        Partner::that(vec![Does::Reads, Does::Says(answer)]).await
    }

    pub(crate) async fn start(script: Vec<Does>, tls: Option<TlsAcceptor>) -> Partner {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let partner = Partner { address, received: Arc::default(), connections: Arc::default() };
        let (received, connections) = (partner.received.clone(), partner.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().expect("whole") += 1;
                match &tls {
                    None => play(stream, &script, &received).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            play(stream, &script, &received).await;
                        }
                    }
                }
            }
        });
        partner
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        endpoint(&format!("http://{}", self.address))
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("whole").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().expect("whole")
    }
}

async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &[Does], received: &Mutex<Vec<Received>>) {
    for step in script {
        match step {
            Does::Reads => {
                let Some(request) = read_request(&mut stream).await else { return };
                received.lock().expect("whole").push(request);
            }
            Does::Says(bytes) => {
                if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Does::Waits(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.into()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap_or(0));
    let mut body = bytes[head_end + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body })
}

pub(crate) fn endpoint(base: &str) -> Endpoint {
    with(base, Credential::StandardWebhooks(ring(SECRET)))
}

/// An endpoint with this credential, which may lie on this machine.
pub(crate) fn with(base: &str, credential: Credential) -> Endpoint {
    let base = Base::parse(base).expect("a base");
    Endpoint { allow_private: true, ..Endpoint::new("charge-atm/network", base, credential) }
}

pub(crate) fn request() -> Request {
    Request {
        method: Method::Post,
        path: "/atm/approve".to_owned(),
        query: vec![("try".to_owned(), "1 2".to_owned())],
        body: ASKED.to_vec(),
        content_type: "application/json".to_owned(),
        idempotency_key: Some("effect-1".to_owned()),
        message_id: "msg_1".to_owned(),
        nonce: "n1".to_owned(),
        timeout: Duration::from_secs(5),
    }
}

pub(crate) fn raw(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}

pub(crate) fn signed_by(
    secret: &str,
    id: &str,
    status: &str,
    more: &[(&str, &str)],
    body: &[u8],
    at: Timestamp,
) -> Vec<u8> {
    let signature = sign_answer(id, body, &ring(secret), at);
    let mut headers: Vec<(&str, &str)> = signature.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.extend_from_slice(more);
    raw(status, &headers, body)
}

pub(crate) fn signed(status: &str, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    signed_by(SECRET, "msg_1", status, more, body, NOW)
}

#[track_caller]
pub(crate) fn answer(sent: Sent) -> Answer {
    match sent {
        Sent::Answer(answer) => answer,
        other => panic!("not an answer: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn unknown(sent: Sent) -> Unknown {
    match sent {
        Sent::Unknown(why) => why,
        other => panic!("not unknown: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn not_sent(sent: Sent) -> NotSent {
    match sent {
        Sent::NotSent(why) => why,
        other => panic!("not not-sent: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(sent: Sent) -> Refused {
    match sent {
        Sent::Refused(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn bad_signature(sent: Sent) -> SignatureError {
    match sent {
        Sent::BadSignature(why) => why,
        other => panic!("not a bad signature: {other:?}"),
    }
}
