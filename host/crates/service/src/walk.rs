//! A walk over pages of records on all cores: each visitor takes the next few pages as it comes free.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use koban_domain::records::Kept;
use koban_domain::time::Timestamp;
use koban_store::{Store, records};
use tokio::task::JoinSet;

use crate::error::Error;

/// Records that a visitor takes at a time, about: few enough to share the end of the walk, enough to be worth a statement.
const RECORDS_AT_ONCE: i64 = 1_000;
/// Pages in one statement at most.
const PAGES_MAX: i64 = 500;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// How far a page's time may lie from that of its records: a call takes less, and waits less for its commit.
const SLACK_MS: i64 = 60_000;

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Pages seen.
    pub pages: u64,
    /// Pages to see.
    pub pages_of: u64,
    /// Records seen.
    pub records: u64,
}

/// Whoever looks at records.
pub(crate) trait Visitor: Send + 'static {
    /// Looks at the records of one page, in order.
    fn visit(&mut self, page: Vec<Kept>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// How many visitors are worth having.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The pages that may hold records of this stretch of time, as first and last. Records are to be asked for their own times.
pub(crate) async fn pages_of(store: &Store, from: Timestamp, to: Timestamp) -> Result<(i64, i64), Error> {
    let first = records::first_page_at(store, from.plus_ms(-SLACK_MS)).await?;
    let last = records::first_page_at(store, to.plus_ms(SLACK_MS)).await? - 1;
    Ok((first, last))
}

/// Shows every page from the first to the last to one of the visitors, and gives the visitors back. The first error ends the walk.
pub(crate) async fn walk<V: Visitor>(
    store: &Store,
    (first, last): (i64, i64),
    visitors: Vec<V>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Vec<V>, Error> {
    let shared = Arc::new(Shared {
        store: store.clone(),
        next: AtomicI64::new(first),
        last,
        pages: AtomicU64::new(0),
        records: AtomicU64::new(0),
    });
    let pages_of = u64::try_from(last - first + 1).unwrap_or(0);
    let told = |shared: &Shared| {
        let (pages, records) = (shared.pages.load(Ordering::Relaxed), shared.records.load(Ordering::Relaxed));
        progress(Progress { pages, pages_of, records });
    };
    let mut tasks = JoinSet::new();
    for visitor in visitors {
        tasks.spawn(stroll(Arc::clone(&shared), visitor));
    }
    let mut home = Vec::new();
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => told(&shared),
            ended = tasks.join_next() => match ended {
                Some(visitor) => home.push(visitor.map_err(|error| Error::Internal(error.to_string()))??),
                None => break,
            },
        }
    }
    told(&shared);
    Ok(home)
}

struct Shared {
    store: Store,
    next: AtomicI64,
    last: i64,
    pages: AtomicU64,
    records: AtomicU64,
}

async fn stroll<V: Visitor>(shared: Arc<Shared>, mut visitor: V) -> Result<V, Error> {
    let mut at_once = 1;
    loop {
        let from = shared.next.fetch_add(at_once, Ordering::Relaxed);
        if from > shared.last {
            return Ok(visitor);
        }
        let to = shared.last.min(from + at_once - 1);
        let limit = u16::try_from(at_once).unwrap_or(u16::MAX);
        let mut seen = 0;
        for page in records::pages(&shared.store, from, to, limit).await? {
            let page = page.open()?;
            let count = u64::try_from(page.len()).unwrap_or(u64::MAX);
            visitor.visit(page).await?;
            shared.pages.fetch_add(1, Ordering::Relaxed);
            shared.records.fetch_add(count, Ordering::Relaxed);
            seen += i64::try_from(count).unwrap_or(i64::MAX);
        }
        // So many pages as make about so many records, judged by those just seen.
        let wanted = RECORDS_AT_ONCE.saturating_mul(at_once) / seen.max(1);
        at_once = wanted.clamp(1, PAGES_MAX.min(at_once * 4));
    }
}
