//! One connection: resolve, judge, connect to what was judged, wrap in TLS, and know whether a byte of the request left.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address;
use crate::base::{Base, Host, Scheme};
use crate::endpoint::Endpoint;
use crate::send::{NotSent, Refused, Resolver, stopwatch};
use crate::tls::Tls;

/// So many of a name's addresses are tried, one after the other.
const ADDRESSES_TRIED_MAX: usize = 4;

/// What hyper talks through: the connection without the kind of it.
pub(crate) type Stream = Watched<Box<dyn Io>>;

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why there is no connection.
pub(crate) enum NoConnection {
    Refused(Refused),
    NotSent(NotSent),
}

/// Whether a byte of the request left.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<AtomicBool>);

impl Written {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Opens a connection to the endpoint, spending at most `patience` on all of its addresses together.
pub(crate) async fn open(
    endpoint: &Endpoint,
    resolver: &Resolver,
    tls: &Tls,
    patience: Duration,
    written: &Written,
) -> Result<Stream, NoConnection> {
    let opening = async {
        let addresses = resolve(&endpoint.base, resolver).await.map_err(NoConnection::NotSent)?;
        judge(endpoint, &addresses).map_err(NoConnection::Refused)?;
        let tcp = connect(&addresses, endpoint.base.port(), patience).await.map_err(NoConnection::NotSent)?;
        // Small messages should leave at once; that the option cannot be set is no reason not to send.
        let _ = tcp.set_nodelay(true);
        let inner: Box<dyn Io> = match endpoint.base.scheme() {
            Scheme::Http => Box::new(tcp),
            Scheme::Https => {
                let name = server_name(endpoint.base.host()).map_err(NoConnection::NotSent)?;
                let connector =
                    tls.connector(endpoint).map_err(|error| NoConnection::NotSent(NotSent::Tls(error.to_string())))?;
                let stream = connector.connect(name, tcp).await;
                Box::new(stream.map_err(|error| NoConnection::NotSent(NotSent::Tls(error.to_string())))?)
            }
        };
        Ok(Watched { inner, written: written.clone() })
    };
    match timeout(patience, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(NoConnection::NotSent(NotSent::ConnectTimeout)),
    }
}

/// Judges every address that the name has. One that is refused refuses all: a name that mixes public and private addresses is no honest partner's.
pub(crate) fn judge(endpoint: &Endpoint, addresses: &[IpAddr]) -> Result<(), Refused> {
    for address in addresses {
        address::check(*address, endpoint.allow_private).map_err(Refused::Address)?;
        let public = address::reach(*address) == address::Reach::Public;
        if public && endpoint.base.scheme() == Scheme::Http {
            return Err(Refused::ClearText);
        }
    }
    Ok(())
}

async fn resolve(base: &Base, resolver: &Resolver) -> Result<Vec<IpAddr>, NotSent> {
    let name = match base.host() {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let addresses: Vec<IpAddr> = match resolver {
        Resolver::System => match tokio::net::lookup_host((name.as_str(), base.port())).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => return Err(NotSent::Resolve { name: name.clone(), why: error.to_string() }),
        },
        Resolver::Table(table) => table.get(name).cloned().unwrap_or_default(),
        Resolver::Asked(asked) => (asked.0)(name),
    };
    if addresses.is_empty() {
        return Err(NotSent::Resolve { name: name.clone(), why: "it has no address".to_owned() });
    }
    Ok(addresses)
}

async fn connect(addresses: &[IpAddr], port: u16, patience: Duration) -> Result<TcpStream, NotSent> {
    let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED_MAX)];
    let share = patience / u32::try_from(tried.len()).unwrap_or(1).max(1);
    let mut last = NotSent::ConnectTimeout;
    for address in tried {
        let address = SocketAddr::new(*address, port);
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => NotSent::Connect { address, why: error.to_string() },
            Err(_) => NotSent::ConnectTimeout,
        };
    }
    Err(last)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, NotSent> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| NotSent::Tls(format!("`{name}` cannot have a certificate")))
        }
    }
}

/// A step of opening a connection and what came of it, in words, with the milliseconds that it took.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) how: Result<String, String>,
    pub(crate) ms: u64,
}

/// Opens a connection step by step and closes it without a byte of a request. Errors: the steps up to the one that failed.
pub(crate) async fn try_open(
    endpoint: &Endpoint,
    resolver: &Resolver,
    tls: &Tls,
    patience: Duration,
) -> Result<Vec<Step>, Vec<Step>> {
    let mut steps = Vec::new();
    let mut started = stopwatch();
    let mut note = |name: &'static str, how: Result<String, String>| {
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        started = stopwatch();
        let failed = how.is_err();
        steps.push(Step { name, how, ms });
        if failed { Some(std::mem::take(&mut steps)) } else { None }
    };
    let resolved = timeout(patience, resolve(&endpoint.base, resolver)).await.unwrap_or(Err(NotSent::ConnectTimeout));
    let words = resolved.as_ref().map(|found| listed(found)).map_err(ToString::to_string);
    if let Some(steps) = note("address", words) {
        return Err(steps);
    }
    let addresses = resolved.unwrap_or_default();
    let judged = judge(endpoint, &addresses).map_err(|refused| refused.to_string());
    let words = judged
        .map(|()| if endpoint.allow_private { "allowed, private addresses as well" } else { "public" }.to_owned());
    if let Some(steps) = note("policy", words) {
        return Err(steps);
    }
    let connected = timeout(patience, connect(&addresses, endpoint.base.port(), patience)).await;
    let connected = connected.unwrap_or(Err(NotSent::ConnectTimeout));
    let peer =
        connected.as_ref().map(|tcp| tcp.peer_addr().map_or_else(|_| "connected".to_owned(), |at| at.to_string()));
    if let Some(steps) = note("connection", peer.map_err(ToString::to_string)) {
        return Err(steps);
    }
    let Ok(tcp) = connected else { return Err(steps) };
    let shaken = match endpoint.base.scheme() {
        Scheme::Http => Ok("none: this private endpoint is spoken to in the clear".to_owned()),
        Scheme::Https => match timeout(patience, shake(endpoint, tls, tcp)).await {
            Ok(shaken) => shaken,
            Err(_) => Err("no handshake in time".to_owned()),
        },
    };
    if let Some(steps) = note("certificate", shaken) {
        return Err(steps);
    }
    Ok(steps)
}

fn listed(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().take(ADDRESSES_TRIED_MAX).map(ToString::to_string).collect();
    match addresses.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

async fn shake(endpoint: &Endpoint, tls: &Tls, tcp: TcpStream) -> Result<String, String> {
    let name = server_name(endpoint.base.host()).map_err(|error| error.to_string())?;
    let connector = tls.connector(endpoint).map_err(|error| error.to_string())?;
    let stream = connector.connect(name, tcp).await.map_err(|error| NotSent::Tls(error.to_string()).to_string())?;
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}"));
    let by = if endpoint.authorities.is_some() { "the endpoint's own authorities" } else { "the public authorities" };
    Ok(format!("{version}, good for this name by {by}"))
}

/// A stream that remembers whether anything was written to it.
///
/// It stands above TLS, so the handshake does not count; and what TLS has only taken into its buffer counts already. `Pending` is the one
/// outcome that is certain to have taken nothing.
pub(crate) struct Watched<S> {
    inner: S,
    written: Written,
}

impl<S> Watched<S> {
    fn noting(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.written.0.store(true, Ordering::Release);
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.noting(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.noting(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
