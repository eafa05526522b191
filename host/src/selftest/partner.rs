//! The world around the host that tries itself: a partner who answers as badly as can be, and somebody who answers for names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use koban_outside::Asked;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 128 << 10;
/// How long a slow answer is dragged out, and how much an endless one sends: far more than any bound of the host.
const DRAG: Duration = Duration::from_secs(20);
const ENDLESS_BYTES: usize = 64 << 20;

/// A partner on a port of this machine.
pub(super) struct Partner {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Partner {
    /// Listens.
    pub(super) async fn start() -> std::io::Result<Partner> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hears = Arc::clone(&hears);
                tokio::spawn(async move {
                    // Whoever hangs up on a bad partner does well.
                    let _ = tokio::time::timeout(DRAG * 2, serve(stream, &hears)).await;
                });
            }
        });
        Ok(Partner { address, heard, task })
    }

    /// Its base address by number.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its base address by a name.
    pub(super) fn base_as(&self, name: &str) -> String {
        format!("http://{name}:{}", self.address.port())
    }

    /// Everything that it was sent so far whose first line holds this.
    pub(super) fn heard(&self, of: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|request| request.lines().next().is_some_and(|line| line.contains(of))).cloned().collect()
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let Some((head, body)) = read(&mut stream).await? else { return Ok(()) };
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let whole = format!("{text}{}", String::from_utf8_lossy(&body));
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(whole);
    let last = path.split('?').next().unwrap_or_default();
    match last.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "redirect" => {
            answer(&mut stream, "302 Found", "location: http://169.254.169.254/latest/meta-data\r\n", b"").await
        }
        "gzip" => answer(&mut stream, "200 OK", "content-encoding: gzip\r\n", BOMB).await,
        "heads" => answer(&mut stream, "200 OK", &format!("x-large: {}\r\n", "a".repeat(256 << 10)), b"").await,
        "slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            for _ in 0..DRAG.as_secs() * 4 {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Ok(())
        }
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
            for _ in 0..ENDLESS_BYTES / 0x4000 {
                stream.write_all(&chunk).await?;
            }
            Ok(())
        }
        _ => answer(&mut stream, "200 OK", "content-type: text/plain\r\n", &body).await,
    }
}

/// The head of a gzip stream and nothing that ends it: whoever unpacks it reads on for ever.
const BOMB: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xec, 0xc1, 1, 0x0d, 0, 0, 0, 0xc2];

async fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// One request: its head and its body.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut part = [0; 4_096];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(at + 4);
            let wanted = length(head);
            if rest.len() >= wanted {
                return Ok(Some((head.to_vec(), rest[..wanted].to_vec())));
            }
        }
        let read = stream.read(&mut part).await?;
        if read == 0 || bytes.len() + read > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&part[..read]);
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:").map(str::trim).map(str::to_owned));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Who answers for names: what an attack says, and something else the next time if it says so.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    asked: Vec<String>,
}

impl Names {
    /// What a name has: the first list at the first question, the next one at the next, the last one from then on.
    pub(super) fn say(&self, name: &str, answers: Vec<Vec<IpAddr>>) {
        self.known().answers.insert(name.to_owned(), answers);
    }

    /// How often a name was asked for.
    pub(super) fn asked(&self, name: &str) -> usize {
        self.known().asked.iter().filter(|asked| *asked == name).count()
    }

    /// For the host's way out.
    pub(super) fn resolver(&self) -> Asked {
        let names = self.clone();
        Asked(Arc::new(move |name: &str| names.answer(name)))
    }

    fn answer(&self, name: &str) -> Vec<IpAddr> {
        let mut known = self.known();
        known.asked.push(name.to_owned());
        let Some(answers) = known.answers.get_mut(name) else { return Vec::new() };
        if answers.len() > 1 { answers.remove(0) } else { answers.first().cloned().unwrap_or_default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
