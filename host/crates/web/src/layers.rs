//! What happens around every handler: an id, bounds, a place in the queue, a deadline, and an answer dressed for the way.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use crate::Web;
use crate::codes::Trouble;
use crate::config::WebConfig;
use crate::headers::locale;
use crate::json::Bounds;
use crate::metrics::Answered;
use crate::problem::Problem;

/// The header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The other end of the connection, put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who asks, as far as an address tells: the peer, or what a trusted proxy says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Address>().copied().unwrap_or(Address(Ipv4Addr::UNSPECIFIED.into())))
    }
}

/// The language that the request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Language(pub(crate) &'static str);

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Language(locale(&parts.headers)))
    }
}

fn address(request: &Request, config: &WebConfig) -> IpAddr {
    let peer = request.extensions().get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.to_canonical());
    if !config.trusted_proxies.contains(&peer) {
        return peer;
    }
    // The last entry is the one that the proxy itself wrote.
    let told = request.headers().get_all("x-forwarded-for").iter().next_back();
    let last = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

/// The outermost layer: gives the request its id, and the answer its headers, its language and its line in the log.
#[expect(clippy::disallowed_methods, reason = "an edge that measures how long requests take")]
pub(crate) async fn dress(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let id = format!("req_{}", web.app.clock.id().simple());
    let language = locale(request.headers());
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".into(), |path| path.as_str().to_owned());
    let address = address(&request, &web.config);
    request.extensions_mut().insert(Address(address));
    request.extensions_mut().insert(Bounds::of(&web.config));

    let started = tokio::time::Instant::now();
    let span = tracing::info_span!("request", %id);
    let caller = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or("");
    let trace = tracing::info_span!(target: koban_service::TRACE, "request", traceparent = caller, request.id = %id,
        http.request.method = %method, http.route = route, http.response.status_code = tracing::field::Empty);
    let mut response = next.run(request).instrument(trace.clone()).instrument(span).await;
    let elapsed = started.elapsed();
    trace.record("http.response.status_code", response.status().as_u16());
    drop(trace);

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let (kind, bytes) = problem.written(language, &id);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        *response.body_mut() = Body::from(bytes);
    }
    secure(response.headers_mut(), &web.config);
    if let Ok(id) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let status = response.status().as_u16();
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(request.id = %id, %method, route, status, us = micros, "{method} {route} answered {status}");
    web.metrics.answered(Answered { method: method.as_str(), route: &route, status }, elapsed);
    response
}

/// Headers that every answer carries. A page that needs more than nothing has said so itself.
fn secure(headers: &mut HeaderMap, config: &WebConfig) {
    let fixed = [
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ];
    for (name, value) in fixed {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    if config.hsts {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains"));
    }
}

/// The layer around everything but health: a place among the requests that are worked on, the address's rate, a deadline.
pub(crate) async fn guard(
    State(web): State<Web>,
    Address(address): Address,
    mut request: Request,
    next: Next,
) -> Response {
    let left = match web.limits.request(address) {
        Ok(left) => left,
        Err(problem) => return problem.into_response(),
    };
    if let Err(problem) = web.tried.mark(&mut request) {
        return problem.into_response();
    }
    let Ok(_place) = web.places.try_acquire() else {
        return Problem::from(Trouble::Busy).into_response();
    };
    let deadline = web.config.request_timeout;
    let mut response = match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::from(Trouble::TimedOut).into_response(),
    };
    // An empty bucket further in has told of itself.
    if !response.headers().contains_key("ratelimit") {
        left.tell(response.headers_mut());
    }
    response
}

/// What is left of a panic: it is in the log, and the client is told nothing of it.
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = words.unwrap_or("no words"), "a handler panicked");
    Problem::from(Trouble::Internal).into_response()
}

/// The answer where there is no route.
pub(crate) async fn no_route() -> Problem {
    Problem::from(Trouble::NotFound).because("there is no such path")
}

/// The answer where the path is known and the method is not.
pub(crate) async fn no_method() -> Problem {
    Trouble::MethodNotAllowed.into()
}
