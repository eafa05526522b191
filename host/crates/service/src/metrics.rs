//! Counters and times of the host, in Prometheus' text format. No label carries an amount or somebody's id.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A kind of money movement and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Dealing {
    /// `payment`, `refund`, `transfer`, `charge`.
    pub kind: &'static str,
    /// `done` or the code of the refusal.
    pub result: &'static str,
}

/// A guest call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    /// The plugin.
    pub plugin: String,
    /// `interface.function`.
    pub function: &'static str,
}

/// A guest's fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Faulted {
    /// The plugin.
    pub plugin: String,
    /// The fault's class.
    pub class: &'static str,
}

/// The host's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Dealings by kind and result.
    pub dealings: Family<Dealing, Counter>,
    /// Requests that got their first answer again.
    pub replays: Counter,
    /// Guest calls, seconds.
    pub calls: Family<Call, Histogram, fn() -> Histogram>,
    /// Guest faults.
    pub faults: Family<Faulted, Counter>,
    /// Flows that need an operator.
    pub flows_stuck: Gauge,
    /// Units of work waiting for a commit.
    pub queue_waiting: Gauge,
    /// Effects that were sent, by nothing else: partners are few and known.
    pub effects_sent: Counter,
    /// Milliseconds by which this host's clock leads the database server's.
    pub clock_lead_ms: Gauge,
    /// Milliseconds by which the journal's time is ahead of this host's clock.
    pub journal_ahead_ms: Gauge,
    /// Units of work that were refused because this host's clock leads.
    pub clock_refused: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("koban");
        let dealings = Family::default();
        registry.register("dealings", "Money movements by kind and result", dealings.clone());
        let replays = Counter::default();
        registry.register("idempotency_replays", "Requests that got their first answer again", replays.clone());
        // 10 microseconds to a third of a second.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_01, 2.0, 16));
        let calls = Family::new_with_constructor(histogram);
        registry.register("plugin_call_seconds", "Guest calls", calls.clone());
        let faults = Family::default();
        registry.register("plugin_faults", "Guest faults by class", faults.clone());
        let flows_stuck = Gauge::default();
        registry.register("flows_stuck", "Flows that need an operator", flows_stuck.clone());
        let queue_waiting = Gauge::default();
        registry.register("ledger_queue_waiting", "Units of work waiting for a commit", queue_waiting.clone());
        let effects_sent = Counter::default();
        registry.register("effects_sent", "Calls to partners that were attempted", effects_sent.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let clock_lead_ms = gauge("clock_lead_ms", "This host's clock less the database server's, milliseconds");
        let journal_ahead_ms =
            gauge("journal_ahead_ms", "The journal's last time less this host's clock, milliseconds");
        let clock_refused = gauge("clock_refused", "Units of work refused because this host's clock leads");
        Metrics {
            registry,
            dealings,
            replays,
            calls,
            faults,
            flows_stuck,
            queue_waiting,
            effects_sent,
            clock_lead_ms,
            journal_ahead_ms,
            clock_refused,
        }
    }
}

impl Metrics {
    /// Counts a dealing.
    pub fn dealt(&self, kind: &'static str, result: &'static str) {
        self.dealings.get_or_create(&Dealing { kind, result }).inc();
    }

    /// Notes what the commit queue has seen of clocks.
    pub fn clocks(&self, counts: &crate::ledger::Counts) {
        self.clock_lead_ms.set(counts.clock_lead_ms.load(Ordering::Relaxed));
        self.journal_ahead_ms.set(counts.journal_ahead_ms.load(Ordering::Relaxed));
        self.clock_refused.set(i64::try_from(counts.clock_refused.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
    }

    /// Notes a guest call and, if it was one, its fault.
    pub fn called(
        &self,
        plugin: &str,
        function: &'static str,
        seconds: f64,
        fault: Option<koban_domain::records::FaultClass>,
    ) {
        self.calls.get_or_create(&Call { plugin: plugin.to_owned(), function }).observe(seconds);
        if let Some(class) = fault {
            self.faults.get_or_create(&Faulted { plugin: plugin.to_owned(), class: class.word() }).inc();
        }
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            let _ = write!(text, "# the metrics could not be written\n# EOF\n");
        }
        text
    }
}
