//! Koban's HTTP: reads requests strictly, asks who it is, calls one use case, shapes the answer. Writes no SQL, calls no guest.

mod amounts;
mod api;
mod codes;
mod config;
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

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use koban_service::App;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

pub use config::{Rate, Rates, WebConfig};
pub use openapi::document;
pub use server::{Drained, serve, serve_admin};
