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
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address;
use crate::base::{Base, Host, Scheme};
use crate::endpoint::Endpoint;
use crate::send::{NotSent, Refused, Resolver};

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
    tls: &TlsConnector,
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
                let stream = tls.connect(name, tcp).await;
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
