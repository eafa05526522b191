//! Growth: what a transfer costs the processor when the journal is short, and when it has two million entries.

use std::sync::Arc;
use std::time::Duration;

use super::clients::{self, Span};
use super::figures::{self, Latencies};
use super::workloads::Transfers;
use super::world::World;

/// Transfers under way.
pub(super) const CLIENTS: usize = 256;
/// How long the journal is at the end.
pub(super) const ENTRIES: i64 = 2_000_000;
/// So many runs at each end are one figure: some have a checkpoint in them and others have none.
const RUNS: usize = 4;
/// Most runs in all: a machine that is too slow ends with fewer entries, and says so.
const RUNS_MAX: u64 = 400;

/// One stretch of the journal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stretch {
    /// How long the journal was when it ended.
    pub(super) entries: i64,
    /// Processor time of a transfer, microseconds: ours and the server's.
    pub(super) host_us: f64,
    pub(super) database_us: f64,
    pub(super) per_second: f64,
    done: u64,
    host: u64,
    database: u64,
}

impl Stretch {
    /// Of both sides together.
    pub(super) fn cost_us(&self) -> f64 {
        figures::share_us(self.host + self.database, self.done)
    }

    fn of(runs: &[Stretch]) -> Stretch {
        let sum = |of: fn(&Stretch) -> u64| runs.iter().map(of).sum::<u64>();
        let (done, host, database) = (sum(|run| run.done), sum(|run| run.host), sum(|run| run.database));
        Stretch {
            entries: runs.last().map_or(0, |run| run.entries),
            host_us: figures::share_us(host, done),
            database_us: figures::share_us(database, done),
            per_second: figures::median(runs.iter().map(|run| run.per_second)),
            done,
            host,
            database,
        }
    }
}

/// The first stretch and the last, and what was done in all.
pub(super) struct Growth {
    pub(super) first: Stretch,
    pub(super) last: Stretch,
    pub(super) done: u64,
    /// Of the last runs.
    pub(super) latencies: Latencies,
}

/// Runs W3 until the journal is long. `say` is told now and then how far it is.
pub(super) async fn measure(world: &Arc<World>, mut say: impl FnMut(String)) -> anyhow::Result<Growth> {
    let span = Span { warm_up: Duration::ZERO, window: Duration::from_millis(1_500) };
    let mut runs: Vec<Stretch> = Vec::new();
    let (mut done, mut latencies, mut told) = (0, Vec::new(), 0);
    // The first run fills caches and makes counters.
    for run in 0..=RUNS_MAX {
        let before = world.processor.spent();
        let measured = clients::run(span, Transfers::clients(world, CLIENTS, 1_000 + run, 0)).await?;
        let spent = world.processor.spent().since(before);
        let entries = world.app.store.lane_head().await?.head.sequence;
        done += measured.done;
        if run > 0 {
            let (host, database, per_second) = (spent.host, spent.database, measured.per_second);
            let one = Stretch { entries, done: measured.done, host, database, per_second, ..Stretch::default() };
            runs.push(Stretch::of(&[one]));
            latencies.push(measured.latencies);
        }
        if let (Some(last), true) = (runs.last(), entries / 250_000 > told) {
            told = entries / 250_000;
            say(format!("{entries} entries, {:.1} us for each transfer", last.cost_us()));
        }
        if entries >= ENTRIES && runs.len() >= 2 * RUNS {
            break;
        }
    }
    let tail = runs.len().saturating_sub(RUNS);
    Ok(Growth {
        first: Stretch::of(&runs[..RUNS.min(runs.len())]),
        last: Stretch::of(&runs[tail..]),
        done,
        latencies: Latencies::of(latencies.split_off(tail).concat()),
    })
}
