//! Serving connections, with the one thing that a well-behaved server never does: hanging up without a word.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// An answer that is never given: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HangUp;

/// Who is calling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(pub(crate) SocketAddr);

/// So many connections may be open; the next one waits.
const CONNECTIONS_MAX: usize = 1_024;
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

impl IntoResponse for HangUp {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// Serves until it is dropped, and its connections with it.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let (stream, caller) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly: out of file descriptors. Others will be closed in a while.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        let service = service_fn(move |request| answer(router.clone(), caller, request));
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // How a connection ended concerns its two ends alone.
            let _ = connection.await;
        });
    }
}

async fn answer(router: Router, caller: SocketAddr, mut request: Request<Incoming>) -> Result<Response, HungUp> {
    request.extensions_mut().insert(Caller(caller));
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.extensions().get::<HangUp>().is_some() { Err(HungUp) } else { Ok(response) }
}

#[derive(Debug, thiserror::Error)]
#[error("hung up, as the switches are set")]
struct HungUp;
