//! Back-tests: what another component, or other settings, would have answered to the decisions of a window of time, on all cores.

use std::collections::BTreeSet;
use std::sync::Arc;

use koban_domain::guest::{Named, Signal};
use koban_domain::ids::{AuditId, BacktestId};
use koban_domain::ledger::Audit;
use koban_domain::manifest::{Kind, Manifest};
use koban_domain::records::{Digest, Ending, FaultClass, Input, Kept, Part};
use koban_domain::time::Timestamp;
use koban_runtime::{Door, Plugin};
use koban_store::backtests::{self as rows, BacktestRow};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::clock::Stopwatch;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::tally::{Flip, Tally, Totals, asked_for};
use crate::walk::{self, Progress, Visitor};

/// Millionths in one.
const PPM: u64 = 1_000_000;
/// How often a call that found no free slot is made again: other calls of this walk are at most as many as cores.
const BUSY_MAX: u32 = 100;

/// How many decisions may flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlipsMax {
    /// So many.
    Count(u64),
    /// So many millionths of the decisions.
    Ppm(u64),
}

impl FlipsMax {
    /// The most flips of so many decisions.
    fn of(self, decisions: u64) -> u64 {
        match self {
            FlipsMax::Count(count) => count,
            FlipsMax::Ppm(ppm) => {
                let flips = u128::from(decisions) * u128::from(ppm) / u128::from(PPM);
                u64::try_from(flips).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What is tried, on what.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// Its manifest.
    pub manifest: Manifest,
    /// Settings, complete.
    pub settings: Vec<Named>,
    /// Decisions from this time on.
    pub from: Timestamp,
    /// Decisions up to before this time.
    pub to: Timestamp,
    /// How many may flip, for it to pass.
    pub flips_max: Option<FlipsMax>,
}

/// What came of a back-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The plugin's id.
    pub plugin: String,
    /// The version that was tried.
    pub version: String,
    /// The component that was tried.
    pub component: Digest,
    /// The settings that it was given.
    pub settings: Digest,
    /// From this time on.
    pub from: Timestamp,
    /// Up to before this time.
    pub to: Timestamp,
    /// What was compared, and what came of it.
    #[serde(flatten)]
    pub totals: Totals,
    /// Decisions whose content was erased: nobody can ask again.
    pub erased: u64,
    /// Steps of flows: they are tried one flow at a time.
    pub steps: u64,
    /// Facts and signals that the candidate asks for and that none of the decisions has: it was judged without them.
    pub not_recorded: Vec<String>,
    /// The most flips that were allowed, if anything was said of it.
    pub flips_max: Option<u64>,
    /// Whether it stayed within that, without a fault, on at least one decision.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Calls in a second.
    pub per_second: u64,
}

/// Whoever hears of every flip, in no order.
pub type OnFlip = Arc<dyn Fn(&Flip) + Send + Sync>;

/// Tries a component on recorded decisions. Changes nothing. Errors: it cannot be loaded, or the records cannot be read.
pub async fn run(
    app: &App,
    trial: Trial,
    on_flip: Option<OnFlip>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Report, Error> {
    if trial.from >= trial.to {
        return Err(Error::invalid("from", "a window ends after it begins"));
    }
    let Trial { component, manifest, settings, from, to, flips_max } = trial;
    let plugin = crate::plugins::load(app, component, manifest, settings).await?;
    let window = walk::pages_of(&app.store, from, to).await?;
    let stopwatch = Stopwatch::start();
    let judge = || Judge {
        door: app.door.clone(),
        plugin: plugin.clone(),
        window: (from, to),
        on_flip: on_flip.clone(),
        seen: Seen::default(),
    };
    let judges = (0..walk::cores()).map(|_| judge()).collect();
    let mut seen = Seen::default();
    for judge in walk::walk(&app.store, window, judges, progress).await? {
        seen.merge(judge.seen);
    }
    let took_ms = stopwatch.micros() / 1_000;
    let not_recorded = seen.not_recorded(plugin.manifest());
    let totals = seen.tally.totals();
    let flips_max = flips_max.map(|most| most.of(totals.decisions));
    let passed = flips_max.is_some_and(|most| totals.flips <= most) && totals.faults == 0 && totals.decisions > 0;
    Ok(Report {
        plugin: plugin.id().to_owned(),
        version: plugin.manifest().version.clone(),
        component: plugin.digest(),
        settings: plugin.settings_digest(),
        from,
        to,
        per_second: totals.decisions.saturating_mul(1_000) / took_ms.max(1),
        totals,
        erased: seen.erased,
        steps: seen.steps,
        not_recorded,
        flips_max,
        passed,
        took_ms,
    })
}

/// Settings for a candidate: those that the plugin runs on now, as far as the candidate knows them, with others in their place.
/// Errors: they do not fit the candidate.
pub async fn settings(app: &App, manifest: &Manifest, others: &[Named]) -> Result<Vec<Named>, Error> {
    let mut settings = Vec::new();
    if let Some(row) = koban_store::plugins::by_id(&app.store, &manifest.id).await? {
        settings = koban_store::plugins::settings(&app.store, row.settings).await?.unwrap_or_default();
    }
    let is_known = |named: &Named| manifest.settings.iter().any(|setting| setting.name == named.name);
    settings.retain(|named| is_known(named) && !others.iter().any(|other| other.name == named.name));
    settings.extend(others.iter().cloned());
    crate::plugins::complete(manifest, &settings)
}

/// Keeps a report, so that switching the component on can ask for it.
pub async fn keep(app: &App, ctx: &Ctx, report: &Report) -> Result<BacktestRow, Error> {
    ctx.operator()?;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let now = app.clock.now();
    let row = BacktestRow {
        id: BacktestId(app.clock.id()),
        plugin: report.plugin.clone(),
        component: report.component,
        settings: report.settings,
        from: report.from,
        to: report.to,
        decisions: count(report.totals.decisions),
        flips: count(report.totals.flips),
        faults: count(report.totals.faults),
        flips_max: report.flips_max.map(count),
        passed: report.passed,
        actor: ctx.actor.to_string(),
        at: now,
        report: serde_json::to_string(report).map_err(|error| Error::Internal(error.to_string()))?,
    };
    let detail = json!({
        "backtest": row.id, "component": row.component, "settings": row.settings, "decisions": row.decisions,
        "flips": row.flips, "faults": row.faults, "flips_max": row.flips_max, "passed": row.passed,
    });
    let audit = Audit {
        id: AuditId(app.clock.id()),
        actor: ctx.actor.to_string(),
        act: "plugin.backtest".to_owned(),
        subject: report.plugin.clone(),
        detail: detail.to_string(),
    };
    rows::put(&app.store, &row, &audit, now).await?;
    Ok(row)
}

/// Whether a component may decide under these settings, for all that is known of it: its newest back-test with a bound stayed within that
/// bound and, where the platform's policy asks for one before a rule decides, there is one. Errors: `conflict`, with what to do.
pub(crate) async fn check_gate(app: &App, kind: Kind, component: Digest, settings: Digest) -> Result<(), Error> {
    let again = "`koban plugin backtest … --max-flips` with a bound that you accept, and enable it then";
    match rows::newest_bounded(&app.store, component, settings).await? {
        Some(row) if row.passed => Ok(()),
        Some(BacktestRow { id, decisions, flips, faults, flips_max, .. }) => Err(Error::Conflict(format!(
            "its newest back-test ({id}) did not pass: of {decisions} decisions {flips} would flip and {} were allowed, \
            {faults} faulted. Look at them; if that is what you want, run {again}",
            flips_max.unwrap_or_default()
        ))),
        None if kind == Kind::FraudRule && app.ledger.policy().backtest_required => Err(Error::Conflict(format!(
            "the policy asks for a back-test before a rule decides, and there is none of this component under these \
            settings: run {again}"
        ))),
        None => Ok(()),
    }
}

/// One core's part of a back-test.
struct Judge {
    door: Door,
    plugin: Plugin,
    window: (Timestamp, Timestamp),
    on_flip: Option<OnFlip>,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    tally: Tally,
    erased: u64,
    steps: u64,
    facts: BTreeSet<String>,
    /// By name and window.
    signals: Vec<(String, u32)>,
}

impl Seen {
    fn merge(&mut self, other: Seen) {
        self.tally.merge(other.tally);
        self.erased += other.erased;
        self.steps += other.steps;
        self.facts.extend(other.facts);
        other.signals.into_iter().for_each(|(name, window_s)| self.saw_signal(&name, window_s));
    }

    fn saw_fact(&mut self, name: &str) {
        if !self.facts.contains(name) {
            self.facts.insert(name.to_owned());
        }
    }

    fn has_signal(&self, name: &str, window_s: u32) -> bool {
        self.signals.iter().any(|(known, known_s)| known == name && *known_s == window_s)
    }

    fn saw_signal(&mut self, name: &str, window_s: u32) {
        if !self.has_signal(name, window_s) {
            self.signals.push((name.to_owned(), window_s));
        }
    }

    fn not_recorded(&self, manifest: &Manifest) -> Vec<String> {
        let facts = manifest.facts.iter().filter(|fact| !self.facts.contains(*fact)).cloned();
        let signals = manifest.signals.iter();
        let signals = signals.filter(|signal| !self.has_signal(&signal.name, signal.window_s));
        facts.chain(signals.map(|signal| format!("signal {}", signal.name))).collect()
    }
}

impl Visitor for Judge {
    async fn visit(&mut self, page: Vec<Kept>) -> Result<(), Error> {
        for kept in page {
            let head = &kept.head;
            let is_meant = head.plugin == self.plugin.id() && head.part == Part::Live;
            if is_meant && (self.window.0..self.window.1).contains(&head.at) {
                self.judge(&kept).await?;
            }
        }
        Ok(())
    }
}

impl Judge {
    async fn judge(&mut self, kept: &Kept) -> Result<(), Error> {
        if kept.is_erased() {
            self.seen.erased += 1;
            return Ok(());
        }
        let mut recorded = crate::decisions::whole(kept)?;
        match &mut recorded.input {
            Input::Describe | Input::CheckSettings => return Ok(()),
            Input::BeginCharge(_)
            | Input::BeginLinkedCharge(..)
            | Input::BeginWithdraw(_)
            | Input::BeginLink(_)
            | Input::BeginBill(_)
            | Input::BeginSync(_)
            | Input::MigrateState(..)
            | Input::Resume(..) => {
                self.seen.steps += 1;
                return Ok(());
            }
            Input::Assess(_, facts, signals) => {
                facts.iter().for_each(|fact| self.seen.saw_fact(&fact.name));
                signals.iter().for_each(|signal| self.seen.saw_signal(&signal.name, signal.window_s));
                let manifest = self.plugin.manifest();
                *facts = asked_for(&manifest.facts, facts);
                *signals = asked_signals(manifest, signals);
            }
            Input::Quote(request) => request.facts = asked_for(&self.plugin.manifest().facts, &request.facts),
            Input::Recognise(_, facts) => *facts = asked_for(&self.plugin.manifest().facts, facts),
            Input::Route(_)
            | Input::ParseSettlement(_)
            | Input::ComposeFile(..)
            | Input::ParseFile(..)
            | Input::ParseRates(_)
            | Input::ComposeStatement(..)
            | Input::OnEvent(..)
            | Input::TableRows(_) => {}
        }
        let would = self.ask(&recorded).await?;
        if let Some(flip) = self.seen.tally.compare(&recorded, &would)
            && let Some(on_flip) = &self.on_flip
        {
            on_flip(&flip);
        }
        Ok(())
    }

    async fn ask(&self, recorded: &koban_domain::records::Record) -> Result<Ending, Error> {
        for _ in 0..BUSY_MAX {
            match self.door.ask_again(&self.plugin, &recorded.context, &recorded.input).await.0 {
                Ending::Fault(fault) if fault.class == FaultClass::Busy => tokio::task::yield_now().await,
                ending => return Ok(ending),
            }
        }
        Err(Error::Busy)
    }
}

/// The signals that this manifest asks for, as far as they were recorded: by name and window.
fn asked_signals(manifest: &Manifest, recorded: &[Signal]) -> Vec<Signal> {
    let asked = manifest.signals.iter();
    let found = asked.filter_map(|asked| {
        recorded.iter().find(|signal| signal.name == asked.name && signal.window_s == asked.window_s)
    });
    found.cloned().collect()
}
