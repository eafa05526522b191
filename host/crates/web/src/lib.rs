//! Koban's HTTP: reads requests strictly, asks who it is, calls one use case, shapes the answer. Writes no SQL, calls no guest.

mod amounts;
mod api;
mod codes;
mod config;
mod csv;
mod headers;
mod health;
mod identity;
mod json;
mod layers;
mod metrics;
mod openapi;
mod pages;
mod place;
mod problem;
mod rates;
mod server;
mod trials;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use koban_service::App;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use health::Health;
use metrics::Metrics;
use rates::Limits;
use trials::Tried;

pub use config::{Rate, Rates, WebConfig};
pub use openapi::document;
pub use server::{Drained, serve, serve_admin};
/// The HTTP side of a host: what its handlers share. Cloning it is cheap.
#[derive(Clone)]
pub struct Web {
    app: App,
    config: Arc<WebConfig>,
    limits: Arc<Limits>,
    /// Places among the requests that are worked on.
    places: Arc<Semaphore>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    openapi: Arc<str>,
    tried: Arc<Tried>,
}

impl FromRef<Web> for App {
    fn from_ref(web: &Web) -> App {
        web.app.clone()
    }
}

impl Web {
    /// The HTTP side of this host.
    pub fn new(app: App, config: WebConfig) -> Web {
        let document = document();
        Web {
            tried: Arc::new(Tried::of(&document)),
            limits: Arc::new(Limits::new(&config.rates)),
            places: Arc::new(Semaphore::new(config.requests_max)),
            health: Arc::default(),
            metrics: Arc::default(),
            openapi: document.to_json().unwrap_or_default().into(),
            config: Arc::new(config),
            app,
        }
    }

    /// Every route of the public side, in its layers: dress(panics(guard(handler))), health without the guard.
    pub fn router(&self) -> Router {
        let (guarded, health) = openapi::routes();
        let guarded: Router<Web> = guarded.into();
        guarded
            .fallback(layers::no_route)
            .layer(from_fn_with_state(self.clone(), layers::guard))
            .merge(Router::from(health))
            .method_not_allowed_fallback(layers::no_method)
            .layer(CatchPanicLayer::custom(layers::panicked))
            .layer(from_fn_with_state(self.clone(), layers::dress))
            .with_state(self.clone())
    }

    /// The side for operators' machines: metrics, and health without a crowd. Bind it to the loopback address.
    pub fn admin_router(&self) -> Router {
        Router::<Web>::from(health::routes())
            .merge(Router::new().route("/metrics", get(exposition)))
            .fallback(layers::no_route)
            .method_not_allowed_fallback(layers::no_method)
            .layer(CatchPanicLayer::custom(layers::panicked))
            .layer(from_fn_with_state(self.clone(), layers::dress))
            .with_state(self.clone())
    }
}

/// Every route of the public side of this host.
pub fn router(app: App, config: WebConfig) -> Router {
    Web::new(app, config).router()
}

/// All metrics of the host, in Prometheus' text format.
async fn exposition(State(web): State<Web>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], web.metrics.text(&web.app.measured()))
}
