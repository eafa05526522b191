//! The server: a bounded number of connections that cannot dawdle, and an end that loses nobody's answer.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::Web;
use crate::layers::Peer;
use crate::rates::bucket_of;

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers of a request; one more is answered with 431.
const HEADERS_MAX: usize = 64;
/// How long to wait after accepting failed, for example because there are no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still at work when the time for it was over, and were cut off.
    pub cut_off: usize,
}

/// Serves the public side until `shutdown` resolves. Then `/readyz` says no, after `notice` no connection is accepted any more,
/// and requests that were begun may end within `drain`.
pub async fn serve(listener: TcpListener, web: Web, shutdown: impl Future<Output = ()>) -> Drained {
    let router = web.router();
    let stop = {
        let web = web.clone();
        async move {
            shutdown.await;
            web.health.stop();
            tokio::time::sleep(web.config.notice).await;
        }
    };
    run(listener, router, &web, stop).await
}

/// Serves the side for operators' machines: metrics and health in detail. Bind it to the loopback address.
pub async fn serve_admin(listener: TcpListener, web: Web, shutdown: impl Future<Output = ()>) -> Drained {
    let router = web.admin_router();
    run(listener, router, &web, shutdown).await
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Over,
}

async fn run(listener: TcpListener, router: Router, web: &Web, stop: impl Future<Output = ()>) -> Drained {
    let connections = Arc::new(Semaphore::new(web.config.connections_max));
    let shares = Shares::default();
    let (stopping, stopped) = watch::channel(Phase::Serving);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            // One failing accept says nothing about the next one.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let share = match web.config.trusted_proxies.contains(&peer.to_canonical()) {
            true => None,
            false => match shares.take(peer, web.config.connections_per_address) {
                None => continue,
                share => share,
            },
        };
        let connection = connection(stream, router.clone(), web.config.header_timeout, stopped.clone());
        tokio::spawn(async move {
            connection.await;
            drop((place, share));
        });
    }
    drop(listener);
    drop(stopped);
    let _ = stopping.send(Phase::Draining);
    let _ = tokio::time::timeout(web.config.drain, stopping.closed()).await;
    let cut_off = stopping.receiver_count();
    if cut_off > 0 {
        tracing::warn!(cut_off, "connections are cut off after the time to finish");
        let _ = stopping.send(Phase::Over);
        let _ = tokio::time::timeout(ACCEPT_PAUSE, stopping.closed()).await;
    }
    Drained { cut_off }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            None
        }
    }
}

/// How many connections each address has: nobody takes all places by holding them open.
#[derive(Clone, Default)]
struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; given back when it is dropped.
struct Share {
    shares: Shares,
    address: IpAddr,
}

impl Shares {
    /// One more connection of this address. None: it has its share.
    fn take(&self, peer: IpAddr, most: usize) -> Option<Share> {
        let address = bucket_of(peer);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= most {
            tracing::debug!(%address, most, "an address has its share of connections; one more is closed");
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Addresses without a connection take no memory.
        match counts.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.address)),
        }
    }
}

async fn connection(stream: TcpStream, router: Router, header_timeout: Duration, mut phase: watch::Receiver<Phase>) {
    let Ok(peer) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // The request at hand is finished, and the client is told that it was the last.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                _ = phase.wait_for(|phase| *phase == Phase::Over) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
