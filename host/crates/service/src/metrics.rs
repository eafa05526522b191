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

/// A call in shadow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Shadowed {
    /// The plugin.
    pub plugin: String,
    /// `agrees`, `differs`, `fault`, or `left-out` when too many wait.
    pub result: &'static str,
}

/// Entries of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Posted {
    /// The kind's word, such as `charge` or `payment`.
    pub kind: &'static str,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// Its id.
    pub plugin: String,
}

/// A plugin's numbers in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Numbers {
    /// The plugin.
    pub plugin: String,
    /// The currency.
    pub currency: String,
}

/// An endpoint of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct At {
    /// Its name: the plugin's id and the endpoint's.
    pub endpoint: String,
}

/// What the commit queue measures.
#[derive(Debug, Clone)]
pub struct LedgerMetrics {
    /// From lock to commit, seconds.
    pub commit_seconds: Histogram,
    /// Units of work in a commit.
    pub commit_works: Histogram,
    /// Commits that had to be tried again.
    pub commit_retries: Counter,
    /// Entries by kind.
    pub entries: Family<Posted, Counter>,
}

/// What came of an attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Attempted {
    /// `delivered`, `again`, `failed` or `lease-lost`.
    pub result: &'static str,
}

/// A calendar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CalendarLabel {
    /// Its name.
    pub calendar: String,
}

/// A bonus that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeftOut {
    /// Of which plugin.
    pub plugin: String,
    /// The refusal's code.
    pub refusal: String,
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
    /// Calls in shadow, by what came of them.
    pub shadow_calls: Family<Shadowed, Counter>,
    /// Flows that need an operator.
    pub flows_stuck: Gauge,
    /// Open disputes whose time is over.
    pub disputes_overdue: Gauge,
    /// Units of work waiting for a commit.
    pub queue_waiting: Gauge,
    /// Effects that were sent, by nothing else: partners are few and known.
    pub effects_sent: Counter,
    /// How each endpoint's breaker stands: 0 closed, 1 half open, 2 open.
    pub endpoint_breaker: Family<At, Gauge>,
    /// Requests on their way to each endpoint.
    pub endpoint_running: Family<At, Gauge>,
    /// Requests that rate, places or breaker held back.
    pub endpoint_held_back: Family<At, Gauge>,
    /// Exchanges that spoke against the endpoint.
    pub endpoint_failed: Family<At, Gauge>,
    /// Milliseconds by which this host's clock leads the database server's.
    pub clock_lead_ms: Gauge,
    /// Milliseconds by which the journal's time is ahead of this host's clock.
    pub journal_ahead_ms: Gauge,
    /// Units of work that were refused because this host's clock leads.
    pub clock_refused: Gauge,
    /// What the commit queue measures.
    pub ledger: LedgerMetrics,
    /// What of a plugin's exposure cap is used, minor units.
    pub exposure_used: Family<Numbers, Gauge>,
    /// The cap.
    pub exposure_cap: Family<Numbers, Gauge>,
    /// What of a plugin's loss budget is lost, minor units.
    pub loss_used: Family<Numbers, Gauge>,
    /// The budget.
    pub loss_budget: Family<Numbers, Gauge>,
    /// Open differences with a plugin's partner.
    pub differences_open: Family<Of, Gauge>,
    /// Entries in the journal.
    pub head_sequence: Gauge,
    /// When the last one was posted, Unix seconds.
    pub head_at: Gauge,
    /// Events of flows that wait to be consumed.
    pub events_waiting: Gauge,
    /// When the oldest of them came, Unix seconds; 0 if none waits.
    pub oldest_event_at: Gauge,
    /// Effects whose time has come.
    pub effects_due: Gauge,
    /// Entries that the last signed checkpoint of this host vouches for.
    pub checkpoint_sequence: Gauge,
    /// Checkpoints that could not be kept.
    pub checkpoints_failed: Counter,
    /// Attempts to deliver a webhook, by what came of them.
    pub webhook_attempts: Family<Attempted, Counter>,
    /// Deliveries of webhooks that wait for their time.
    pub webhooks_waiting: Gauge,
    /// Webhook endpoints that the host has switched off.
    pub webhooks_disabled: Gauge,
    /// Commits whose news are not handed out to endpoints yet.
    pub outbox_lag: Gauge,
    /// Commits with news that a plugin has not looked at yet.
    pub subscription_behind: Family<Of, Gauge>,
    /// Events that a plugin could not take and that wait for an operator.
    pub subscription_parked: Family<Of, Gauge>,
    /// Bonuses that were left out of plugins' answers, by refusal.
    pub bonus_left_out: Family<LeftOut, Counter>,
    /// Files to partners that should have been written a quarter of an hour ago and are not.
    pub partner_files_late: Gauge,
    /// Files to partners that somebody changed after they were written.
    pub partner_files_changed: Gauge,
    /// Days from today on of which a calendar that is in use knows whether banks work.
    pub calendar_days_left: Family<CalendarLabel, Gauge>,
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
        let shadow_calls = Family::default();
        registry.register("shadow_calls", "Calls in shadow by result", shadow_calls.clone());
        let flows_stuck = Gauge::default();
        registry.register("flows_stuck", "Flows that need an operator", flows_stuck.clone());
        let disputes_overdue = Gauge::default();
        registry.register("disputes_overdue", "Open disputes whose time is over", disputes_overdue.clone());
        let queue_waiting = Gauge::default();
        registry.register("ledger_queue_waiting", "Units of work waiting for a commit", queue_waiting.clone());
        let effects_sent = Counter::default();
        registry.register("effects_sent", "Calls to partners that were attempted", effects_sent.clone());
        let at = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<At, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let endpoint_breaker =
            at(&mut registry, "endpoint_breaker", "Breaker of an endpoint: 0 closed, 1 half open, 2 open");
        let endpoint_running = at(&mut registry, "endpoint_running", "Requests on their way to an endpoint");
        let held_back = "Requests that an endpoint's rate, places or breaker held back since the host started";
        let endpoint_held_back = at(&mut registry, "endpoint_held_back", held_back);
        let failed = "Exchanges that spoke against an endpoint since the host started";
        let endpoint_failed = at(&mut registry, "endpoint_failed", failed);
        let webhook_attempts = Family::default();
        registry.register("webhook_attempts", "Attempts to deliver a webhook by result", webhook_attempts.clone());
        // A quarter of a millisecond to eight seconds; one unit to a full batch.
        let commit_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        registry.register("commit_seconds", "From lock to commit", commit_seconds.clone());
        let commit_works = Histogram::new(exponential_buckets(1.0, 2.0, 11));
        registry.register("commit_works", "Units of work in a commit", commit_works.clone());
        let commit_retries = Counter::default();
        registry.register("commit_retries", "Commits that had to be tried again", commit_retries.clone());
        let entries = Family::default();
        registry.register("entries", "Entries posted by this host, by kind", entries.clone());
        let family = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<Numbers, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let exposure_used = family(&mut registry, "exposure_used", "Unsettled credits that count against the cap");
        let exposure_cap = family(&mut registry, "exposure_cap", "What a plugin may have unsettled");
        let loss_used = family(&mut registry, "loss_used", "Losses that count against the budget");
        let loss_budget = family(&mut registry, "loss_budget", "What a plugin may lose");
        let differences_open = Family::default();
        registry.register("differences_open", "Differences that wait for an operator", differences_open.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let clock_lead_ms =
            gauge(&mut registry, "clock_lead_ms", "This host's clock less the database server's, milliseconds");
        let journal_ahead_ms =
            gauge(&mut registry, "journal_ahead_ms", "The journal's last time less this host's clock, milliseconds");
        let clock_refused =
            gauge(&mut registry, "clock_refused", "Units of work refused because this host's clock leads");
        let head_sequence = gauge(&mut registry, "head_sequence", "Entries in the journal");
        let head_at = gauge(&mut registry, "head_at_seconds", "When the last entry was posted, Unix time");
        let events_waiting = gauge(&mut registry, "flow_events_waiting", "Events of flows that wait to be consumed");
        let oldest = "When the oldest waiting event came, Unix time; 0 if none waits";
        let oldest_event_at = gauge(&mut registry, "flow_oldest_event_at_seconds", oldest);
        let effects_due = gauge(&mut registry, "effects_due", "Calls to partners whose time has come");
        let vouched = "Entries that the last signed checkpoint of this host vouches for";
        let checkpoint_sequence = gauge(&mut registry, "checkpoint_sequence", vouched);
        let checkpoints_failed = Counter::default();
        let failed = "Checkpoints that could not be kept";
        registry.register("checkpoints_failed", failed, checkpoints_failed.clone());
        let webhooks_waiting = gauge(&mut registry, "webhooks_waiting", "Webhook deliveries that wait");
        let webhooks_disabled = gauge(&mut registry, "webhooks_disabled", "Webhook endpoints the host switched off");
        let outbox_lag = gauge(&mut registry, "outbox_lag", "Commits whose news are not handed out yet");
        let subscription_behind = Family::default();
        let behind = "Commits with news that a plugin has not looked at yet";
        registry.register("subscription_behind", behind, subscription_behind.clone());
        let subscription_parked = Family::default();
        let parked = "Events that a plugin could not take and that wait for an operator";
        registry.register("subscription_parked", parked, subscription_parked.clone());
        let bonus_left_out = Family::default();
        registry.register("bonus_left_out", "Bonuses left out of plugins' answers, by refusal", bonus_left_out.clone());
        let late = "Files to partners that should have been written a quarter of an hour ago and are not";
        let partner_files_late = gauge(&mut registry, "partner_files_late", late);
        let changed = "Files to partners that somebody changed after they were written";
        let partner_files_changed = gauge(&mut registry, "partner_files_changed", changed);
        let calendar_days_left = Family::default();
        let left = "Days from today on of which a calendar in use knows whether banks work";
        registry.register("calendar_days_left", left, calendar_days_left.clone());
        Metrics {
            registry,
            dealings,
            replays,
            calls,
            faults,
            shadow_calls,
            flows_stuck,
            disputes_overdue,
            queue_waiting,
            effects_sent,
            endpoint_breaker,
            endpoint_running,
            endpoint_held_back,
            endpoint_failed,
            clock_lead_ms,
            journal_ahead_ms,
            clock_refused,
            ledger: LedgerMetrics { commit_seconds, commit_works, commit_retries, entries },
            exposure_used,
            exposure_cap,
            loss_used,
            loss_budget,
            differences_open,
            head_sequence,
            head_at,
            events_waiting,
            oldest_event_at,
            effects_due,
            checkpoint_sequence,
            checkpoints_failed,
            webhook_attempts,
            webhooks_waiting,
            webhooks_disabled,
            outbox_lag,
            subscription_behind,
            subscription_parked,
            bonus_left_out,
            partner_files_late,
            partner_files_changed,
            calendar_days_left,
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

    /// Notes how endpoints stand.
    pub fn gates(&self, gates: &[koban_outside::GateView]) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for gate in gates {
            let at = At { endpoint: gate.endpoint.clone() };
            let stands = match gate.breaker {
                koban_outside::Stands::Closed { .. } => 0,
                koban_outside::Stands::HalfOpen => 1,
                koban_outside::Stands::Open { .. } => 2,
            };
            self.endpoint_breaker.get_or_create(&at).set(stands);
            self.endpoint_running.get_or_create(&at).set(i64::from(gate.running));
            self.endpoint_held_back.get_or_create(&at).set(whole(gate.held_back));
            self.endpoint_failed.get_or_create(&at).set(whole(gate.failed));
        }
    }

    /// Counts a bonus that a plugin did not get granted.
    pub fn left_out(&self, plugin: &str, refusal: &str) {
        let label = LeftOut { plugin: plugin.to_owned(), refusal: refusal.to_owned() };
        self.bonus_left_out.get_or_create(&label).inc();
    }

    /// Counts an attempt to deliver a webhook.
    pub fn delivered(&self, result: &'static str) {
        self.webhook_attempts.get_or_create(&Attempted { result }).inc();
    }

    /// Counts a call in shadow.
    pub fn shadowed(&self, plugin: &str, result: &'static str) {
        self.shadow_calls.get_or_create(&Shadowed { plugin: plugin.to_owned(), result }).inc();
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
