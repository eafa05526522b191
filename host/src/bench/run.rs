//! One store measured: its world made, workload after workload beside the baseline, an audit after each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use koban_runtime::Door;
use koban_store::Dialect;
use koban_store::bench::Baseline;

use super::audit::Auditor;
use super::clients::{self, Runs};
use super::database::Fresh;
use super::figures::{self, Latencies};
use super::growth;
use super::holds::{Holds, PlainHolds};
use super::languages::{self, LANGUAGES};
use super::report::{self, Row};
use super::workloads::{Bulks, FullPayments, HotMerchant, Pattern, Plain, Transfers};
use super::world::World;
use super::{Plan, backtests, door, hosts, pgbench, picture, stages};

/// Where rows and words go: rows to standard output, words to standard error if the rows are for programs.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    rows: Vec<Row>,
    words: Vec<String>,
}

impl Output {
    /// Rows as JSON, one per line as they come, or a table at the end.
    pub(super) fn new(json: bool) -> Output {
        Output { json, rows: Vec::new(), words: Vec::new() }
    }

    /// Progress, for whoever waits.
    pub(super) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A fact that belongs to the figures.
    fn note(&mut self, text: String) {
        self.say(&text);
        self.words.push(text);
    }

    /// A row that was measured.
    pub(super) fn row(&mut self, row: Row) {
        self.say(&row.line());
        if self.json {
            println!("{}", row.json());
        }
        self.rows.push(row);
    }

    /// Writes what plugins cost as a picture. Errors: nothing of it was measured, or the file cannot be written.
    pub(super) fn draw(&self, path: &Path) -> anyhow::Result<()> {
        let svg = picture::svg(&self.rows).context(
            "`--svg` draws what plugins cost, and nothing of it was measured: add W7 or a language to `--only`",
        )?;
        std::fs::write(path, svg).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The table.
    pub(super) fn finish(&self) {
        if self.json {
            return;
        }
        println!("\n{}", report::heading());
        for row in &self.rows {
            println!("{}", row.line());
        }
        for row in self.rows.iter().filter(|row| !row.stages.is_empty()) {
            print!("{}", report::stages(row.store, &row.stages));
        }
        println!();
        for word in &self.words {
            println!("{word}");
        }
    }
}

/// Pools that the baseline is tried with on PostgreSQL; the better one counts.
const POOLS: [u32; 2] = [8, 32];
/// Requests in flight.
const FEW: usize = 256;
const MANY: usize = 2_048;
/// Bulks in flight: two fill the commit queue.
const BULKS: usize = 2;

/// Measures everything that the plan asks for on this database. Answers whether all audits were clean and the database durable.
pub(super) async fn on(
    plan: &Plan,
    fresh: Fresh,
    door: Door,
    with_door: bool,
    out: &mut Output,
) -> anyhow::Result<bool> {
    let measured = measure(plan, &fresh, door, with_door, out).await;
    let removed = fresh.remove().await;
    let clean = measured?;
    removed?;
    Ok(clean)
}

async fn measure(plan: &Plan, fresh: &Fresh, door: Door, with_door: bool, out: &mut Output) -> anyhow::Result<bool> {
    let store = fresh.dialect().word();
    out.say(&format!("{store}: making a world of {} users in {}", plan.accounts, fresh.place()));
    let from = clients::now();
    let world = World::make(fresh, door, &plan.packages, usize::try_from(plan.accounts)?).await?;
    out.say(&format!("{store}: made in {} ms", from.elapsed().as_millis()));
    let mut bench = Bench {
        plan,
        store,
        baselines: baselines(plan, &world, fresh.dialect()).await?,
        auditor: Auditor::new(),
        world,
        out,
        clean: true,
        runs: 0,
    };
    bench.durability(fresh).await?;
    let first = bench.auditor.audit(&bench.world.app.store, None).await?;
    if let Some(wrong) = first {
        bench.clean = false;
        bench.out.note(format!("{store}: the audit before the first workload: {wrong}"));
    }
    bench.workloads().await?;
    if plan.has("backtest") {
        bench.backtest().await?;
    }
    if with_door && plan.has("door") {
        bench.door().await?;
    }
    if with_door {
        bench.languages().await?;
    }
    bench.end().await?;
    Ok(bench.clean)
}

async fn baselines(plan: &Plan, world: &World, dialect: Dialect) -> anyhow::Result<Vec<(u32, Arc<Baseline>)>> {
    let pools = match dialect {
        Dialect::Sqlite => &POOLS[..1],
        Dialect::Postgres => &POOLS[..],
    };
    let mut baselines = Vec::with_capacity(pools.len());
    for pool in pools {
        let mut baseline = world.app.store.baseline(*pool).await?;
        baseline.prepare(plan.accounts).await?;
        baselines.push((if dialect == Dialect::Sqlite { 1 } else { *pool }, Arc::new(baseline)));
    }
    Ok(baselines)
}

struct Bench<'a> {
    plan: &'a Plan,
    store: &'static str,
    world: Arc<World>,
    /// By number of connections.
    baselines: Vec<(u32, Arc<Baseline>)>,
    auditor: Auditor,
    out: &'a mut Output,
    clean: bool,
    /// Counts the runs: each has a seed of its own.
    runs: u64,
}

/// The baseline's runs: those of the better pool.
struct Beside {
    connections: u32,
    per_second: f64,
}

impl Bench<'_> {
    async fn workloads(&mut self) -> anyhow::Result<()> {
        if self.plan.has("W1") {
            self.bulks().await?;
        }
        let mut w3 = None;
        for clients in [FEW, MANY] {
            if self.plan.has("W3") {
                let (ours, beside) = self.alternate(Kind::Transfers(0), Pattern::Zipf, clients).await?;
                self.row("W3", clients, 0, &ours, &beside, "one transaction each").await?;
                w3 = w3.or(Some(beside.connections));
            }
        }
        if self.plan.has("W4") {
            let (ours, beside) = self.alternate(Kind::HotMerchant, Pattern::Hot, MANY).await?;
            self.row("W4", MANY, 0, &ours, &beside, "one transaction each").await?;
        }
        if self.plan.has("W5") {
            // Beside the baseline of W3, with the pool that was better there.
            if let Some(connections) = w3 {
                self.baselines.sort_by_key(|(pool, _)| *pool != connections);
            }
            let (ours, beside) = self.alternate(Kind::FullPayments, Pattern::Zipf, FEW).await?;
            let mut row = self.judged("W5", FEW, 1, &ours, &beside, "W3's baseline").await?;
            let (stages, done) = stages::measure(&self.world, FEW, self.plan.span).await?;
            row.stages = stages;
            self.out.row(row);
            self.audited(done).await?;
        }
        if self.plan.has("W6") {
            let (ours, beside) = self.alternate(Kind::Holds, Pattern::Holds, FEW).await?;
            self.row("W6", FEW, 0, &ours, &beside, "one transaction each").await?;
        }
        if self.plan.has("W7") {
            self.plugins().await?;
        }
        if self.plan.has("hosts") && self.world.app.store.dialect() == Dialect::Postgres {
            self.hosts().await?;
        }
        if self.plan.has("growth") {
            self.growth().await?;
        }
        Ok(())
    }

    /// A transfer's cost on a short journal and on a long one. `ratio` is that of the costs.
    async fn growth(&mut self) -> anyhow::Result<()> {
        let (store, out) = (self.store, &mut *self.out);
        let growth = growth::measure(&self.world, |far| out.say(&format!("{store}: {far}"))).await?;
        let audit = self.audited(growth.done).await?;
        let (first, last) = (growth.first, growth.last);
        let beside = format!(
            "the rate at {} entries; cost of a transfer {:.1} us (host {:.1}, database {:.1}) there, {:.1} us ({:.1}, {:.1}) at {}; \
             ratio of costs",
            first.entries,
            first.cost_us(),
            first.host_us,
            first.database_us,
            last.cost_us(),
            last.host_us,
            last.database_us,
            last.entries,
        );
        self.out.row(Row {
            workload: "growth",
            store: self.store,
            clients: growth::CLIENTS,
            plugins: 0,
            per_second: last.per_second,
            baseline_per_second: first.per_second,
            ratio: figures::ratio(last.cost_us(), first.cost_us()),
            latencies: growth.latencies,
            audit,
            beside,
            stages: Vec::new(),
            deadlocks: None,
        });
        Ok(())
    }

    /// Ours and the baseline in turn.
    async fn alternate(&mut self, kind: Kind, pattern: Pattern, clients: usize) -> anyhow::Result<(Runs, Beside)> {
        let mut ours = Runs::default();
        let mut theirs: Vec<Runs> = self.baselines.iter().map(|_| Runs::default()).collect();
        for _ in 0..self.plan.repetitions {
            ours.add(self.once(kind, clients).await?);
            for (place, runs) in theirs.iter_mut().enumerate() {
                self.runs += 1;
                let (world, baseline, run, span) = (&self.world, &self.baselines[place], self.runs, self.plan.span);
                runs.add(match pattern {
                    Pattern::Holds => clients::run(span, PlainHolds::clients(world, baseline, clients, run)).await?,
                    Pattern::Zipf | Pattern::Hot => {
                        clients::run(span, Plain::clients(world, baseline, clients, run, pattern)).await?
                    }
                });
            }
        }
        let rates =
            self.baselines.iter().zip(&theirs).map(|((connections, _), runs)| (*connections, runs.per_second()));
        let better = rates.max_by(|one, other| one.1.total_cmp(&other.1));
        let (connections, per_second) = better.unwrap_or_default();
        Ok((ours, Beside { connections, per_second }))
    }

    async fn once(&mut self, kind: Kind, clients: usize) -> anyhow::Result<clients::Measured> {
        self.runs += 1;
        let (span, world, run) = (self.plan.span, &self.world, self.runs);
        match kind {
            Kind::Transfers(plugins) => clients::run(span, Transfers::clients(world, clients, run, plugins)).await,
            Kind::Bulks => Ok(clients::run(span, Bulks::clients(world, clients, run)).await?.in_items(Bulks::ITEMS)),
            Kind::HotMerchant => clients::run(span, HotMerchant::clients(world, clients, run)).await,
            Kind::Holds => clients::run(span, Holds::clients(world, clients, run)).await,
            Kind::FullPayments => clients::run(span, FullPayments::clients(world, clients, run)).await,
        }
    }

    /// W1: transfers in bulks beside W3's, one by one, with as many under way, in turn.
    async fn bulks(&mut self) -> anyhow::Result<()> {
        let (mut bulks, mut single) = (Runs::default(), Runs::default());
        for _ in 0..self.plan.repetitions {
            bulks.add(self.once(Kind::Bulks, BULKS).await?);
            single.add(self.once(Kind::Transfers(0), MANY).await?);
        }
        let audit = self.audited(bulks.done + single.done).await?;
        let (per_second, beside) = (bulks.per_second(), single.per_second());
        self.out.row(Row {
            workload: "W1",
            store: self.store,
            clients: BULKS,
            plugins: 0,
            per_second,
            baseline_per_second: beside,
            ratio: figures::ratio(per_second, beside),
            latencies: bulks.latencies(),
            audit,
            beside: format!("W3 with {MANY} clients; latency is of bulks of {}", Bulks::ITEMS),
            stages: Vec::new(),
            deadlocks: None,
        });
        Ok(())
    }

    /// W7: the same transfers with more and more guests in their way, in turn.
    async fn plugins(&mut self) -> anyhow::Result<()> {
        const PLUGINS: [usize; 4] = [0, 1, 3, 10];
        let mut runs = PLUGINS.map(|plugins| (plugins, Runs::default()));
        for _ in 0..self.plan.repetitions {
            for (plugins, runs) in &mut runs {
                runs.add(self.once(Kind::Transfers(*plugins), FEW).await?);
            }
        }
        let done = runs.iter().map(|(_, runs)| runs.done).sum();
        let audit = self.audited(done).await?;
        let per_second = runs[0].1.per_second();
        for (plugins, runs) in runs {
            let costs = figures::lacking_percent(per_second, runs.per_second());
            self.out.row(Row {
                workload: "W7",
                store: self.store,
                clients: FEW,
                plugins,
                per_second: runs.per_second(),
                baseline_per_second: per_second,
                ratio: figures::ratio(runs.per_second(), per_second),
                latencies: runs.latencies(),
                audit: audit.clone(),
                beside: format!("no plugin (costs {costs:.0} %)"),
                stages: Vec::new(),
                deadlocks: None,
            });
        }
        Ok(())
    }

    /// Two hosts on one server beside one of them.
    async fn hosts(&mut self) -> anyhow::Result<()> {
        let hosts = hosts::measure(&self.world, FEW, self.plan.span, self.plan.repetitions).await?;
        let audit = self.audited(hosts.alone.done + hosts.together.done).await?;
        self.clean &= hosts.deadlocks == 0;
        let (together, alone) = (hosts.together.per_second(), hosts.alone.per_second());
        self.out.row(Row {
            workload: "hosts",
            store: self.store,
            clients: 2 * FEW,
            plugins: 0,
            per_second: together,
            baseline_per_second: alone,
            ratio: figures::ratio(together, alone),
            latencies: hosts.together.latencies(),
            audit,
            beside: format!("one host's W3, {FEW} clients; {} deadlocks", hosts.deadlocks),
            stages: Vec::new(),
            deadlocks: Some(hosts.deadlocks),
        });
        Ok(())
    }

    async fn row(
        &mut self,
        workload: &'static str,
        clients: usize,
        plugins: usize,
        ours: &Runs,
        beside: &Beside,
        words: &str,
    ) -> anyhow::Result<()> {
        let row = self.judged(workload, clients, plugins, ours, beside, words).await?;
        self.out.row(row);
        Ok(())
    }

    /// A row with its audit.
    async fn judged(
        &mut self,
        workload: &'static str,
        clients: usize,
        plugins: usize,
        ours: &Runs,
        beside: &Beside,
        words: &str,
    ) -> anyhow::Result<Row> {
        let audit = self.audited(ours.done).await?;
        let refused = match (ours.refused, ours.busy) {
            (0, 0) => String::new(),
            (refused, busy) => format!("; {refused} refused, {busy} told to come back"),
        };
        let connections = match beside.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        Ok(Row {
            workload,
            store: self.store,
            clients,
            plugins,
            per_second: ours.per_second(),
            baseline_per_second: beside.per_second,
            ratio: figures::ratio(ours.per_second(), beside.per_second),
            latencies: ours.latencies(),
            audit,
            beside: format!("{words}, {connections}{refused}"),
            stages: Vec::new(),
            deadlocks: None,
        })
    }

    /// `clean`, or what is wrong.
    async fn audited(&mut self, acknowledged: u64) -> anyhow::Result<String> {
        match self.auditor.audit(&self.world.app.store, Some(acknowledged)).await? {
            None => Ok("clean".to_owned()),
            Some(wrong) => {
                self.clean = false;
                Ok(wrong)
            }
        }
    }

    /// The settings that durability rests on, as the database says they are, and how good the server is by itself.
    async fn durability(&mut self, fresh: &Fresh) -> anyhow::Result<()> {
        let settings = self.world.app.store.settings_read_back().await?;
        let value =
            |name: &str| settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
        let durable = match fresh.dialect() {
            Dialect::Sqlite => value("journal_mode") == "wal" && value("synchronous") == "2",
            Dialect::Postgres => {
                value("fsync") == "on" && value("synchronous_commit") == "on" && value("full_page_writes") == "on"
            }
        };
        self.clean &= durable;
        let list: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let word = if durable { "durable" } else { "NOT DURABLE" };
        self.out.note(format!("{}: {word}: {}", self.store, list.join(" ")));
        if fresh.dialect() == Dialect::Postgres {
            match pgbench::run(fresh.url(), self.plan.pgbench_s).await? {
                Some(tps) => self.out.note(format!(
                    "{}: pgbench, TPC-B scale 10, prepared, 32 clients: {tps:.0} per second",
                    self.store
                )),
                None => self
                    .out
                    .note(format!("{}: pgbench is not installed, so the baseline stands without it", self.store)),
            }
        }
        Ok(())
    }

    /// The door beside the raw call. It knows no store, so it is measured once.
    async fn door(&mut self) -> anyhow::Result<()> {
        let doors = door::measure(&self.world, self.plan.door_calls).await?;
        self.out.row(Row {
            workload: "door",
            store: "none",
            clients: 1,
            plugins: 1,
            per_second: doors.per_second,
            baseline_per_second: doors.raw_per_second,
            ratio: doors.ratio,
            latencies: doors.latencies,
            audit: "none".to_owned(),
            beside: "raw call; ratio of times".to_owned(),
            stages: Vec::new(),
            deadlocks: None,
        });
        Ok(())
    }

    /// Recorded decisions asked again beside raw calls.
    async fn backtest(&mut self) -> anyhow::Result<()> {
        let measured = backtests::measure(&self.world, self.plan.decisions, self.plan.repetitions).await?;
        let audit = self.audited(0).await?;
        let (decisions, flips) = (measured.decisions, measured.flips);
        self.out.row(Row {
            workload: "backtest",
            store: self.store,
            clients: usize::try_from(measured.cores)?,
            plugins: 1,
            per_second: measured.per_second,
            baseline_per_second: measured.raw_per_second,
            ratio: figures::ratio(measured.per_second, measured.raw_per_second),
            latencies: Latencies::of(Vec::new()),
            audit,
            beside: format!("raw calls on all cores; {decisions} decisions, {flips} flips"),
            stages: Vec::new(),
            deadlocks: None,
        });
        Ok(())
    }

    /// Plugins in other languages beside the rules in Rust. They know no store either.
    async fn languages(&mut self) -> anyhow::Result<()> {
        for language in LANGUAGES.iter().filter(|language| self.plan.has(language.workload)) {
            // An interpreter's call takes many times a native one's: fewer of them tell as much.
            let calls = (self.plan.door_calls / 10).max(10);
            let cost = languages::measure(&self.world, &self.plan.packages, language, calls).await?;
            self.out.row(Row {
                workload: language.workload,
                store: "none",
                clients: 1,
                plugins: 1,
                per_second: cost.per_second,
                baseline_per_second: cost.rust_per_second,
                ratio: cost.ratio,
                latencies: cost.latencies,
                audit: "none".to_owned(),
                beside: "the fraud rules in Rust; ratio of times".to_owned(),
                stages: Vec::new(),
                deadlocks: None,
            });
        }
        Ok(())
    }

    /// What the queue did, how often the disk was asked to keep it, and what the baseline's own books say.
    async fn end(&mut self) -> anyhow::Result<()> {
        let syncs = self.world.app.store.syncs().await?;
        let counts = self.world.app.ledger.counts();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (commits, works) = (count(&counts.commits), count(&counts.works));
        let text = format!(
            "{}: {commits} commits of {:.0} requests on average, {syncs} syncs of the log, {} retries, {} found the queue full; \
             lock to commit {:.0} us, of it deciding {:.0} us, for each request {:.1} and {:.1} us",
            self.store,
            figures::share(works, commits),
            count(&counts.retries),
            count(&counts.full),
            figures::share(count(&counts.commit_us), commits),
            figures::share(count(&counts.decide_us), commits),
            figures::share(count(&counts.commit_us), works),
            figures::share(count(&counts.decide_us), works),
        );
        self.out.note(text);
        if let Some((_, baseline)) = self.baselines.first() {
            let audit = baseline.audit().await?;
            let sums = audit.postings == 0 && audit.drift == 0;
            self.clean &= sums;
            let word = if sums { "clean" } else { "NOT CLEAN" };
            self.out
                .note(format!("{}: the baseline's own books after {} transfers: {word}", self.store, audit.entries));
        }
        Ok(())
    }
}

/// What clients do.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bulks,
    Transfers(usize),
    HotMerchant,
    Holds,
    FullPayments,
}
