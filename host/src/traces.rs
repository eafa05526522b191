//! Traces: what a request or a step of a flow spent its time on, sent to a collector over OTLP (HTTP, JSON encoding).
//!
//! Rooms open spans of `tracing` with the target `koban_service::TRACE`; here they get ids and times, and closed ones are sent in batches by a task
//! of its own. Nothing waits for the collector: what it cannot take is dropped and counted. Written by hand, because the format is one
//! page of JSON and the usual crates bring a hundred others into the host (docs/dependencies.md).
//! Format: OpenTelemetry Protocol 1.x, "OTLP/HTTP", "JSON Protobuf Encoding"; ids: W3C Trace Context.

mod export;
mod layer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::Args;
use tokio::sync::mpsc;

pub(crate) use export::{Collector, Exporting};
use layer::Ended;
pub(crate) use layer::Traces;

/// Arguments about traces.
#[derive(Debug, Clone, Args)]
pub(crate) struct Tracing {
    /// Send traces to this OTLP collector, such as `http://127.0.0.1:4318`
    #[arg(long, env = "KOBAN_TRACES", value_name = "URL")]
    traces: Option<Collector>,
    /// Keep one trace in so many; a caller's own decision in `traceparent` comes first
    #[arg(long, env = "KOBAN_TRACES_ONE_IN", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    traces_one_in: u32,
}

impl Tracing {
    /// The layer that makes traces, and what will send them; nothing if no collector is named.
    pub(crate) fn begin(&self) -> (Option<Traces>, Option<Begun>) {
        let Some(to) = self.traces.clone() else { return (None, None) };
        let (traces, spans, dropped) = Traces::new(self.traces_one_in);
        (Some(traces), Some(Begun { to, spans, dropped }))
    }
}

/// Spans that are made and not sent yet: the host does not know its address.
#[derive(Debug)]
pub(crate) struct Begun {
    to: Collector,
    spans: mpsc::Receiver<Ended>,
    dropped: Arc<AtomicU64>,
}

impl Begun {
    /// Sends them from now on. `host` tells this host from others.
    pub(crate) fn start(self, host: SocketAddr) -> Exporting {
        Exporting::start(self.to, host, self.spans, self.dropped)
    }
}
