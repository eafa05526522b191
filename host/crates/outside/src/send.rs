//! Sending one request to a partner, and saying in one of five words how it went.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use koban_domain::time::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::{self, RootCertStore, pki_types::CertificateDer};

use crate::address::AddressRefused;
use crate::base::{Host, Scheme};
use crate::breaker::BreakerRule;
use crate::connection::{self, NoConnection, Stream, Written};
use crate::directories::Directories;
use crate::endpoint::{Credential, Endpoint};
use crate::gates::{GateView, Gates, Place};
use crate::hidden::Hidden;
use crate::message::{judge, message};
use crate::request::{self, Checked, Request, RequestRefused};
use crate::signature::SignatureError;
use crate::tls::Tls;
use crate::token::{NoToken, Tokens};

/// How a request went.
#[derive(Debug)]
#[must_use]
pub enum Sent {
    /// The partner answered, and the answer is certainly the partner's. The status may be any, also a signed 5xx or a redirect (which is not
    /// followed).
    Answer(Answer),
    /// Our own rules forbid the request; sending it again as it is will end the same way. Nothing left.
    Refused(Refused),
    /// No byte of the request left this process: it certainly did not happen.
    NotSent(NotSent),
    /// Some of it left and no answer came that says what happened: it may have happened or not. Repeat only what is safe to repeat.
    Unknown(Unknown),
    /// Something answered that could not prove to be the partner: it may have happened or not, and somebody should look.
    ///
    /// Said of every unsigned or wrongly signed answer below 500, because such an answer claims to decide something. A 5xx *without* a signature
    /// is [`Unknown::ServerError`]: it is what load balancers and crashing servers say, and claims nothing. A 5xx with a *wrong* one is this.
    BadSignature(SignatureError),
}

/// An answer that is certainly the partner's: by its signature where the credential has one, otherwise by the certificate of the connection. Whatever is
/// secret about the endpoint is struck out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status. Not covered by a Standard Webhooks signature: trust the body first.
    pub status: u16,
    /// Names in lower case; at most 64, without those of the connection, cookies and the signature. Not covered by a signature either.
    pub headers: Vec<(String, String)>,
    /// At most as many bytes as the endpoint's limits and [`Bounds::answer_body`] allow.
    pub body: Vec<u8>,
}

/// Why our own rules forbid a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request itself is not well formed.
    #[error("the request is not well formed: {0}")]
    Request(#[source] RequestRefused),
    /// The address may not be connected to.
    #[error("the address is refused: {0}")]
    Address(#[source] AddressRefused),
    /// `http://` where it is not a private address that the operator allowed.
    #[error(
        "without TLS only private addresses are connected to, and only where the operator allows them; use https://"
    )]
    ClearText,
}

/// Why not even a byte left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The endpoint kept failing and is left alone for a while.
    #[error("the endpoint kept failing and is left alone until {retry_at}")]
    BreakerOpen {
        /// When a trial is let through.
        retry_at: Timestamp,
    },
    /// All places at this endpoint are in use.
    #[error("as many requests to this endpoint are on their way as are allowed at a time")]
    Full {
        /// When it is worth asking again.
        retry_at: Timestamp,
    },
    /// The endpoint's rate is used up.
    #[error("as many requests were made to this endpoint as its rate allows; the next one is due at {retry_at}")]
    TooOften {
        /// When the next one may be made.
        retry_at: Timestamp,
    },
    /// No token, no request.
    #[error("{0}")]
    Token(#[source] NoToken),
    /// All connections that we allow ourselves are in use.
    #[error("too many requests are on their way; try again")]
    Busy,
    /// The name has no address, or nobody could say.
    #[error("`{name}` was not resolved: {why}")]
    Resolve {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// Nobody listens there, or the network is down.
    #[error("no connection to {address}: {why}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// It took too long to connect.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The other side could not show a certificate for its name, or does not speak TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The connection ended before the first byte was taken.
    #[error("the connection ended before the request was written: {0}")]
    Closed(String),
}

/// Why nobody can say whether it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No whole answer in time.
    #[error("no whole answer in time")]
    Timeout,
    /// The connection ended, or what came was not HTTP.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// An unsigned 5xx.
    #[error("the partner's server failed with {status}")]
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// The answer is larger than an answer may be.
    #[error("the answer has more than {limit} bytes")]
    AnswerTooLong {
        /// The bound.
        limit: usize,
    },
    /// The answer is compressed although we asked that it be not.
    #[error("the answer is encoded as `{encoding}`, which was not asked for")]
    Encoded {
        /// The partner's word.
        encoding: String,
    },
    /// The answer wants to speak another protocol.
    #[error("the answer has the status {status}, which ends no request")]
    Status {
        /// Below 200.
        status: u16,
    },
}

/// Every bound of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Resolving, connecting and TLS together.
    pub connect: Duration,
    /// From the start to the last byte of the answer; a request may ask for less.
    pub total: Duration,
    /// From the head of the answer to its last byte: a body that trickles is not waited for.
    pub body: Duration,
    /// Bytes of the answer's body.
    pub answer_body: usize,
    /// Bytes of the answer's head. At least 8 KiB.
    pub answer_head: usize,
    /// Requests on their way at the same time.
    pub connections: usize,
    /// When an endpoint is left alone.
    pub breaker: BreakerRule,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(60),
            body: Duration::from_secs(10),
            answer_body: 1 << 20,
            answer_head: 32 << 10,
            connections: 256,
            breaker: BreakerRule::default(),
        }
    }
}

/// Who turns names into addresses.
#[derive(Clone, Debug, Default)]
pub enum Resolver {
    /// The operating system.
    #[default]
    System,
    /// A fixed table and nothing else.
    Table(HashMap<String, Vec<IpAddr>>),
    /// Somebody who may say something else each time he is asked.
    Asked(Asked),
}

/// Somebody who answers for names.
#[derive(Clone)]
pub struct Asked(pub Arc<Answers>);

/// Says which addresses a name has now.
pub type Answers = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(…)")
    }
}

/// What an [`Outside`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Every bound of an exchange.
    pub bounds: Bounds,
    /// Who turns names into addresses.
    pub resolver: Resolver,
    /// Certificates (DER) of authorities that the operator trusts beside the public ones, such as a bank's own.
    pub extra_roots: Vec<Vec<u8>>,
    /// The directory of partners' files.
    pub directories: Option<std::path::PathBuf>,
}

/// Why there is no [`Outside`].
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// One of the extra roots is not a certificate.
    #[error("extra root number {number} is not a certificate in DER form")]
    ExtraRoot {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

/// The way out. One per host: it holds the bounds that all requests share.
///
/// A future of [`Outside::send`] that is dropped closes its connection; whether the request had left is then not known.
pub struct Outside {
    bounds: Bounds,
    resolver: Resolver,
    tls: Tls,
    slots: Semaphore,
    gates: Gates,
    pub(crate) tokens: Tokens,
    directories: Directories,
}

pub(crate) const ANSWER_HEADERS_MAX: usize = 64;

impl Outside {
    /// Opens the way out.
    pub fn new(settings: Settings) -> Result<Outside, OutsideError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (index, der) in settings.extra_roots.into_iter().enumerate() {
            let added = roots.add(CertificateDer::from(der));
            added.map_err(|source| OutsideError::ExtraRoot { number: index + 1, source })?;
        }
        Ok(Outside {
            bounds: settings.bounds,
            resolver: settings.resolver,
            tls: Tls::new(roots).map_err(OutsideError::Tls)?,
            slots: Semaphore::new(settings.bounds.connections),
            gates: Gates::default(),
            tokens: Tokens::default(),
            directories: Directories::new(settings.directories),
        })
    }

    /// The directories that are shared with partners.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Takes a place at an endpoint, before anything is written down about an attempt. Errors: [`NotSent::Full`], [`NotSent::TooOften`] or
    /// [`NotSent::BreakerOpen`], with the time when it is worth asking again.
    pub fn enter(&self, endpoint: &Endpoint, now: Timestamp) -> Result<Place, NotSent> {
        self.gates.enter(endpoint, &self.bounds.breaker, now)
    }

    /// What stands before each endpoint that this host has used, in the order of names.
    pub fn gates(&self) -> Vec<GateView> {
        self.gates.views()
    }

    /// Sends one request, once, and waits for its answer. `now` is the time at the start.
    pub async fn send(&self, endpoint: &Endpoint, request: &Request, now: Timestamp) -> Sent {
        // What is refused anyway takes no place.
        if let Err(refused) = may_send(endpoint, request) {
            return Sent::Refused(refused);
        }
        match self.enter(endpoint, now) {
            Ok(place) => self.send_from(place, endpoint, request, now).await,
            Err(why) => Sent::NotSent(why),
        }
    }

    /// As [`Outside::send`], from a place that was taken before.
    pub async fn send_from(&self, place: Place, endpoint: &Endpoint, request: &Request, now: Timestamp) -> Sent {
        debug_assert!(place.is_at(endpoint), "a place is good at its own endpoint");
        let started = stopwatch();
        let sent = self.attempt(endpoint, request, (now, started)).await;
        match speaks_against(&sent) {
            Some(true) => self.gates.failed(endpoint, &self.bounds.breaker, after(now, started)),
            Some(false) => self.gates.succeeded(endpoint),
            None => {}
        }
        tracing::debug!(endpoint = %endpoint.name, message_id = %request.message_id, how = word(&sent), "request sent");
        sent
    }

    /// One exchange; with a token that turned out to be stale, one more: a 401 says that nothing was done.
    pub(crate) async fn attempt(&self, endpoint: &Endpoint, request: &Request, when: (Timestamp, Instant)) -> Sent {
        let mut stale: Option<Hidden> = None;
        for last in [false, true] {
            let checked = match may_send(endpoint, request) {
                Ok(checked) => checked,
                Err(refused) => return Sent::Refused(refused),
            };
            let token = match &endpoint.credential {
                Credential::OauthClient(server) => {
                    match self.client_token(endpoint, server, stale.as_ref(), when.0).await {
                        Ok(token) => Some(token),
                        Err(sent) => return sent,
                    }
                }
                _ => None,
            };
            let raw = match self.exchange(endpoint, request, &checked, token.as_ref(), when).await {
                Ok(raw) => raw,
                Err(sent) => return sent,
            };
            if raw.status == StatusCode::UNAUTHORIZED && token.is_some() && !last {
                stale = token;
                continue;
            }
            return judge(endpoint, request, &checked, token.as_ref(), raw, after(when.0, when.1));
        }
        Sent::Unknown(Unknown::Broken("the partner takes no token".to_owned()))
    }

    /// Sends one request to somebody who proves nothing, and waits for the status of the answer; its body is not read. No breaker stands
    /// before it: whoever calls decides when it is worth trying.
    pub(crate) async fn post(&self, endpoint: &Endpoint, request: &Request, now: Timestamp) -> Result<u16, Sent> {
        self.send_raw(endpoint, request, now).await.map(|answer| answer.status)
    }

    /// As [`Outside::send`], without gate and without a judgement of the answer, which may hold secrets.
    pub(crate) async fn send_raw(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        now: Timestamp,
    ) -> Result<Answer, Sent> {
        let checked = may_send(endpoint, request).map_err(Sent::Refused)?;
        let raw = self.exchange(endpoint, request, &checked, None, (now, stopwatch())).await?;
        Ok(Answer { status: raw.status.as_u16(), headers: Vec::new(), body: raw.body })
    }

    /// Opens a connection and closes it: what a test of an endpoint does first.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Vec<connection::Step>, Vec<connection::Step>> {
        connection::try_open(endpoint, &self.resolver, &self.tls, self.bounds.connect).await
    }

    /// Connects, writes, reads. Whatever goes wrong is sorted by whether a byte of the request had left.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        checked: &Checked,
        token: Option<&Hidden>,
        (now, started): (Timestamp, Instant),
    ) -> Result<RawAnswer, Sent> {
        let patience = request.timeout.min(self.bounds.total).min(endpoint.limits.total);
        let written = Written::default();
        let Ok(Ok(_slot)) = timeout(patience.min(self.bounds.connect), self.slots.acquire()).await else {
            return Err(Sent::NotSent(NotSent::Busy));
        };
        let to_connect = patience.saturating_sub(started.elapsed()).min(self.bounds.connect);
        let opened = connection::open(endpoint, &self.resolver, &self.tls, to_connect, &written).await;
        let stream = opened.map_err(|error| match error {
            NoConnection::Refused(refused) => Sent::Refused(refused),
            NoConnection::NotSent(why) => Sent::NotSent(why),
        })?;
        // Signed here and not before connecting, so that the timestamp is that of the attempt.
        let message = message(endpoint, request, checked, token, after(now, started)).map_err(Sent::Refused)?;
        let left = patience.saturating_sub(started.elapsed());
        let limit = reads(endpoint).map(|limit| limit.min(self.bounds.answer_body));
        let outcome = timeout(left, self.talk(stream, message, limit)).await.unwrap_or(Err(Unknown::Timeout));
        // The connection is closed by now, so what is not written yet never will be.
        outcome.map_err(|why| match why {
            Unknown::Timeout if !written.any() => Sent::NotSent(NotSent::ConnectTimeout),
            Unknown::Broken(why) if !written.any() => Sent::NotSent(NotSent::Closed(why)),
            why => Sent::Unknown(why),
        })
    }

    async fn talk(
        &self,
        stream: Stream,
        message: hyper::Request<Full<Bytes>>,
        limit: Option<usize>,
    ) -> Result<RawAnswer, Unknown> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(self.bounds.answer_head.max(8 << 10)).max_headers(ANSWER_HEADERS_MAX);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async {
            let answer = sender.send_request(message).await.map_err(broken)?;
            self.read(answer, limit).await
        };
        // Both run in this task, so that dropping it closes the connection. The connection may end first: what it read is then still handed over.
        tokio::pin!(exchange);
        tokio::select! {
            outcome = &mut exchange => outcome,
            _ = connection => exchange.await,
        }
    }

    async fn read(&self, answer: hyper::Response<Incoming>, limit: Option<usize>) -> Result<RawAnswer, Unknown> {
        let (head, mut incoming) = answer.into_parts();
        if head.status.is_informational() {
            return Err(Unknown::Status { status: head.status.as_u16() });
        }
        let Some(limit) = limit else {
            return Ok(RawAnswer { status: head.status, headers: head.headers, body: Vec::new() });
        };
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = encoding.to_str().unwrap_or("something unreadable").chars().take(32).collect();
            return Err(Unknown::Encoded { encoding });
        }
        let mut body = Vec::new();
        let whole = async {
            while let Some(frame) = incoming.frame().await {
                let frame = frame.map_err(broken)?;
                let Some(data) = frame.data_ref() else { continue };
                if body.len() + data.len() > limit {
                    return Err(Unknown::AnswerTooLong { limit });
                }
                body.extend_from_slice(data);
            }
            Ok(())
        };
        timeout(self.bounds.body, whole).await.unwrap_or(Err(Unknown::Timeout))?;
        Ok(RawAnswer { status: head.status, headers: head.headers, body })
    }
}

/// What came back, before anybody knows from whom.
pub(crate) struct RawAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What can be said without asking anybody: no name is looked up for a request that is refused here.
pub(crate) fn may_send(endpoint: &Endpoint, request: &Request) -> Result<Checked, Refused> {
    let checked = request::check(request, endpoint.base.path(), &endpoint.secrets).map_err(Refused::Request)?;
    if endpoint.base.scheme() == Scheme::Http && !endpoint.allow_private {
        return Err(Refused::ClearText);
    }
    if let Host::Address(address) = endpoint.base.host() {
        connection::judge(endpoint, &[*address])?;
    }
    Ok(checked)
}

/// How many bytes of an answer from there are worth reading; none if its body says nothing.
fn reads(endpoint: &Endpoint) -> Option<usize> {
    match endpoint.credential {
        Credential::Webhook(_) => None,
        _ => Some(endpoint.limits.answer_bytes),
    }
}

/// Does it speak against the endpoint's health? `None`: it says nothing about it.
fn speaks_against(sent: &Sent) -> Option<bool> {
    match sent {
        Sent::Answer(answer) => Some(answer.status >= 500),
        Sent::Refused(_) => None,
        Sent::NotSent(
            NotSent::BreakerOpen { .. } | NotSent::Full { .. } | NotSent::TooOften { .. } | NotSent::Busy,
        ) => None,
        Sent::NotSent(_) | Sent::Unknown(_) | Sent::BadSignature(_) => Some(true),
    }
}

fn word(sent: &Sent) -> &'static str {
    match sent {
        Sent::Answer(_) => "answer",
        Sent::Refused(_) => "refused",
        Sent::NotSent(_) => "not-sent",
        Sent::Unknown(_) => "unknown",
        Sent::BadSignature(_) => "bad-signature",
    }
}

/// hyper's error with its causes: the outermost sentence alone says little.
fn broken(error: hyper::Error) -> Unknown {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    for _ in 0..4 {
        let Some(cause) = source else { break };
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Unknown::Broken(text)
}

/// Measures how long an exchange takes: deadlines are counted from it, and nothing else is.
#[expect(clippy::disallowed_methods, reason = "an edge that measures a duration; the time of day is handed in")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

pub(crate) fn after(start: Timestamp, since: Instant) -> Timestamp {
    start.plus_ms(i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX))
}
