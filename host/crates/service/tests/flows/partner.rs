//! The other end of the line: a partner that signs what it says and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use koban_outside::{Keyring, sign_answer, verify};
use koban_service::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The secret that both sides hold.
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const OTHER_SECRET: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";

/// What the partner does with its next request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with this status and body, signed.
    Answers(u16, &'static str),
    /// Answers so, signed with a secret that nobody gave it.
    Forges(u16, &'static str),
    /// Answers so, not signed at all.
    Fails(u16),
    /// Reads the request and closes the line.
    HangsUp,
    /// Reads the request and says nothing.
    IsSilent,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) line: String,
    pub(crate) message_id: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: String,
}

/// A partner that listens.
#[derive(Clone)]
pub(crate) struct Partner {
    pub(crate) base: String,
    script: Arc<Mutex<VecDeque<Does>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

pub(crate) fn keys() -> Keyring {
    Keyring::parse([SECRET]).unwrap()
}

impl Partner {
    pub(crate) async fn listen(clock: Clock) -> Partner {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let partner = Partner { base, script: Arc::default(), heard: Arc::default() };
        let own = partner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream, clock.clone()));
            }
        });
        partner
    }

    /// What it does with its next requests; afterwards it says ok.
    pub(crate) fn will(&self, script: impl IntoIterator<Item = Does>) {
        self.script.lock().unwrap().extend(script);
    }

    /// What it has heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    async fn serve(self, mut stream: TcpStream, clock: Clock) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut part = [0; 4_096];
            let length = stream.read(&mut part).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            bytes.extend_from_slice(&part[..length]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let body = bytes[end + 4..].to_vec();
            if body.len() >= header(&head, "content-length").parse().unwrap_or(0) {
                break (head, body);
            }
        };
        let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        verify(headers.iter().copied(), &body, &keys(), clock.now()).expect("Koban signs what it sends");
        let message_id = header(&head, "webhook-id");
        self.heard.lock().unwrap().push(Heard {
            line: head.lines().next().unwrap_or_default().to_owned(),
            message_id: message_id.clone(),
            idempotency_key: header(&head, "idempotency-key"),
            body: String::from_utf8(body).unwrap(),
        });
        let does = self.script.lock().unwrap().pop_front().unwrap_or(Does::Answers(200, r#"{"result":"ok"}"#));
        let (status, body, secret) = match does {
            Does::Answers(status, body) => (status, body, Some(SECRET)),
            Does::Forges(status, body) => (status, body, Some(OTHER_SECRET)),
            Does::Fails(status) => (status, "oops", None),
            Does::HangsUp => return,
            Does::IsSilent => return tokio::time::sleep(std::time::Duration::from_secs(3_600)).await,
        };
        let mut answer = format!("HTTP/1.1 {status} so\r\ncontent-length: {}\r\nx-internal: 1\r\n", body.len());
        if let Some(secret) = secret {
            let keys = Keyring::parse([secret]).unwrap();
            for (name, value) in sign_answer(&message_id, body.as_bytes(), &keys, clock.now()) {
                answer.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        answer.push_str(&format!("\r\n{body}"));
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn header(head: &str, name: &str) -> String {
    let found =
        head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}
