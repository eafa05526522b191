//! The books as rows: load what a batch touches, write what it decided.
//!
//! A commit begins by locking the lane's head row. That one lock orders all writers of all hosts, so nothing else is locked and
//! what is loaded cannot change until the commit ends.

pub(crate) mod bonus;
mod cache;
mod exchanges;
pub(crate) mod json;
pub(crate) mod links;
pub mod marks;
pub(crate) mod merchants;
pub(crate) mod outgoing;
pub(crate) mod pages;
pub(crate) mod people;
mod postgres;
pub(crate) mod rows;
mod sqlite;
pub(crate) mod step_ups;
pub(crate) mod subscriptions;
mod warrants;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use koban_domain::books::Books;
use koban_domain::ids::FlowId;
use koban_domain::journal::Head;
use koban_domain::ledger::{Audit, Commit};
use koban_domain::limits::CounterKey;
use koban_domain::policy::Policy;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::database::{Backend, Columns, Store, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::cache::Cache;
use crate::ledger::marks::Mark;
use crate::query::to_postcard;
use crate::servers::{Role, within};

/// How long a server may take for one step of a commit: more than its own timeouts, so that it has the first word.
const ANSWER: Duration = Duration::from_secs(12);
/// How long it may take to say that a commit is kept, and at its standby as well if it waits for one. Shorter than a request.
const COMMITTED: Duration = Duration::from_secs(20);
const SILENT: &str = "the database server does not answer";

/// The lane's row: its three chains and the generation of its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneHead {
    /// The end of the journal.
    pub head: Head,
    /// Grows with every commit, also one that writes no entry.
    pub commits: i64,
    /// Grows with every change of policy.
    pub generation: i64,
    /// Record pages so far.
    pub record_sequence: i64,
    /// The last record page's hash; zeros before the first.
    pub record_hash: Digest,
    /// Outbox pages so far.
    pub outbox_sequence: i64,
}

const HEAD: &str = "select sequence, hash, at, generation, record_sequence, record_hash, outbox_sequence, commits
    from lane_heads where lane = 0";
/// With the server's clock, which decides nothing and is only compared with this host's.
const HEAD_FOR_UPDATE: &str =
    "select sequence, hash, at, generation, record_sequence, record_hash, outbox_sequence, commits,
        (extract(epoch from clock_timestamp()) * 1000)::int8
    from lane_heads where lane = 0 for update";

fn lane_head(row: &impl Columns) -> Result<LaneHead, StoreError> {
    Ok(LaneHead {
        head: Head { sequence: row.long(0)?, hash: row.digest(1)?, at: row.time(2)? },
        generation: row.long(3)?,
        record_sequence: row.long(4)?,
        record_hash: row.digest(5)?,
        outbox_sequence: row.long(6)?,
        commits: row.long(7)?,
    })
}

/// The lane's row as it stands, not locked.
pub(crate) async fn read_head(tx: &mut Tx<'_>) -> Result<LaneHead, StoreError> {
    on_tx!(tx, connection => lane_head(&sqlx::query(HEAD).fetch_one(connection).await?))
}

/// Locks the lane's row for the rest of the transaction. SQLite has locked the whole file with `begin immediate`.
async fn lock_head(tx: &mut Tx<'_>) -> Result<(LaneHead, Option<Timestamp>), StoreError> {
    match tx {
        Tx::Sqlite(transaction) => {
            let row = sqlx::query(HEAD).fetch_one(&mut **transaction).await?;
            Ok((lane_head(&row)?, None))
        }
        Tx::Postgres(transaction) => {
            let row = sqlx::query(HEAD_FOR_UPDATE).fetch_one(&mut **transaction).await?;
            Ok((lane_head(&row)?, Some(row.time(8)?)))
        }
    }
}

/// The one who commits to the ledger, with a connection of its own where that helps.
#[derive(Debug)]
pub struct LedgerWriter {
    store: Store,
    connection: Option<PgConnection>,
    /// Set while a transaction is open, and left set by one that did not end well: the connection is tried before it is used.
    suspect: bool,
    cache: Cache,
}

impl Store {
    /// A writer of commits. One per process is enough: commits are one after the other anyway.
    pub async fn ledger(&self) -> Result<LedgerWriter, StoreError> {
        let mut writer =
            LedgerWriter { store: self.clone(), connection: None, suspect: false, cache: Cache::default() };
        writer.connect().await?;
        Ok(writer)
    }

    /// Begins a change that every commit must know of: locks the lane's head, so that no commit is under way.
    pub(crate) async fn administer(&self) -> Result<AdminTx, StoreError> {
        let mut tx = self.begin().await?;
        let (head, _) = lock_head(&mut tx).await?;
        Ok(AdminTx { tx, head })
    }
}

impl LedgerWriter {
    /// Locks the lane's head. Errors: [`StoreError::Retry`] if another host holds it for too long or the connection is lost;
    /// the next call connects again.
    pub async fn begin(&mut self) -> Result<LedgerTx<'_>, StoreError> {
        self.connect().await?;
        let LedgerWriter { store, connection, suspect, cache } = self;
        *suspect = true;
        let mut tx = match (&*store.backend, connection) {
            (Backend::Sqlite(backend), _) => Tx::Sqlite(backend.writer.begin_with("begin immediate").await?),
            (Backend::Postgres(_), Some(connection)) => {
                Tx::Postgres(within(ANSWER, SILENT, async { Ok(connection.begin().await?) }).await?)
            }
            (Backend::Postgres(backend), None) => Tx::Postgres(backend.pool().begin().await?),
        };
        let (head, server_at) = within(ANSWER, SILENT, lock_head(&mut tx)).await?;
        cache.settle(&head);
        Ok(LedgerTx { tx, head, store, suspect, cache, mark: None, server_at })
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        let Backend::Postgres(backend) = &*self.store.backend else { return Ok(()) };
        if self.suspect
            && let Some(connection) = &mut self.connection
            && within(ANSWER, SILENT, async { Ok(connection.ping().await?) }).await.is_err()
        {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(backend.servers.connect(Role::Ledger).await?);
        }
        self.suspect = false;
        Ok(())
    }
}

/// One commit while it is being made. Dropping it takes everything back.
#[derive(Debug)]
pub struct LedgerTx<'a> {
    tx: Tx<'a>,
    head: LaneHead,
    store: &'a Store,
    suspect: &'a mut bool,
    cache: &'a mut Cache,
    mark: Option<Mark>,
    server_at: Option<Timestamp>,
}

impl LedgerTx<'_> {
    /// What the database server's own clock said just before the head was locked; none where it is this machine's.
    pub fn server_at(&self) -> Option<Timestamp> {
        self.server_at
    }

    /// Has the commit leave this mark, by which its writer knows it again.
    pub fn mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// The number that this writer left last, if it ever did. With the head locked, none of its commits is under way any more.
    pub async fn last_mark(&mut self, writer: Uuid) -> Result<Option<i64>, StoreError> {
        marks::last(&mut self.tx, writer).await
    }

    /// The end of the journal, on which this commit builds.
    pub fn head(&self) -> Head {
        self.head.head
    }

    /// The generation of the policy in force. If it is not the one at hand, read [`LedgerTx::policy`].
    pub fn generation(&self) -> i64 {
        self.head.generation
    }

    /// The policy in force.
    pub async fn policy(&mut self) -> Result<Policy, StoreError> {
        crate::policy::read(&mut self.tx, self.head.generation).await
    }

    /// Reads every row that a batch touches: one statement for each kind that is touched. The policy must be the one in force.
    pub async fn load(&mut self, touched: &Touched, policy: Arc<Policy>) -> Result<Books, StoreError> {
        let longest = self.longest();
        within(longest, SILENT, self.load_rows(touched, policy)).await
    }

    async fn load_rows(&mut self, touched: &Touched, policy: Arc<Policy>) -> Result<Books, StoreError> {
        let counters = counters_in_use(touched, &policy);
        let mut books = Books { policy, ..Books::default() };
        let missing = self.cache.serve(touched, &counters, &mut books);
        match &mut self.tx {
            Tx::Sqlite(transaction) => sqlite::load(transaction, touched, &missing, &mut books).await?,
            Tx::Postgres(transaction) => postgres::load(transaction, touched, &missing, &mut books).await?,
        }
        people::load(&mut self.tx, touched, &mut books).await?;
        outgoing::load(&mut self.tx, touched, &mut books).await?;
        links::load(&mut self.tx, touched, &mut books).await?;
        bonus::load(&mut self.tx, touched, &mut books).await?;
        subscriptions::load(&mut self.tx, touched, &mut books).await?;
        merchants::load(&mut self.tx, touched, &mut books).await?;
        step_ups::load(&mut self.tx, touched, &mut books).await?;
        warrants::load(&mut self.tx, touched, &mut books).await?;
        self.cache.learn(&missing, &books);
        Ok(books)
    }

    /// Writes everything that a commit decided, in a few bulk statements; a commit that decided nothing writes nothing. Errors:
    /// [`StoreError::FlowMoved`] if a flow no longer stands at the version that its step was made for.
    pub async fn write(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let longest = self.longest();
        within(longest, SILENT, self.write_rows(commit)).await
    }

    /// How long the database may think. A file beside the host answers when it has read or written, and not before.
    fn longest(&self) -> Duration {
        match self.tx {
            Tx::Sqlite(_) => Duration::from_secs(3_600),
            Tx::Postgres(_) => ANSWER,
        }
    }

    async fn write_rows(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if is_empty(commit) {
            return Ok(());
        }
        self.cache.write(commit);
        let mut next = LaneHead { head: commit.head, commits: self.head.commits + 1, ..self.head };
        let pages = Pages::seal(commit, &mut next)?;
        let steps = Steps::of(commit)?;
        match &mut self.tx {
            Tx::Sqlite(transaction) => {
                sqlite::write(transaction, commit, &steps, &pages, &next).await?;
                marks::leave(transaction, self.mark, commit.now).await?;
            }
            Tx::Postgres(transaction) => {
                postgres::write(transaction, commit, &steps, &pages, (&next, self.mark)).await?;
            }
        }
        people::write(&mut self.tx, commit).await?;
        bonus::write(&mut self.tx, commit).await?;
        subscriptions::write(&mut self.tx, commit).await?;
        merchants::write(&mut self.tx, commit).await?;
        outgoing::write(&mut self.tx, commit).await?;
        links::write(&mut self.tx, commit).await?;
        step_ups::write(&mut self.tx, commit).await?;
        pages::append_audit(&mut self.tx, &commit.audit).await?;
        self.head = next;
        Ok(())
    }

    /// Commits. Errors: [`StoreError::Unknown`] if nobody can say whether it happened: read the operations again.
    pub async fn commit(self) -> Result<(), StoreError> {
        if matches!(self.tx, Tx::Postgres(_)) {
            // A server whose machine is gone says nothing, and one whose standby is gone waits for it as long as it takes.
            let committed = tokio::time::timeout(COMMITTED, self.tx.commit()).await;
            committed.unwrap_or_else(|_| Err(StoreError::unheard_at_commit()))?;
        } else {
            self.tx.commit().await?;
        }
        *self.suspect = false;
        self.cache.committed(&self.head);
        if let Backend::Sqlite(backend) = &*self.store.backend {
            backend.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether a commit decided nothing that is to be kept.
fn is_empty(commit: &Commit) -> bool {
    let books = &commit.books;
    commit.is_empty()
        && commit.news.is_empty()
        && commit.arrivals.is_empty()
        && commit.payees.is_empty()
        && books.signals.changed().next().is_none()
        && books.counters.changed().next().is_none()
        && books.exposures.changed().next().is_none()
}

/// Counters that some limit asks for; the others are neither read nor written by any decision.
fn counters_in_use(touched: &Touched, policy: &Policy) -> Vec<CounterKey> {
    let in_use = |key: &&CounterKey| {
        policy.limits.0.iter().any(|limit| {
            limit.action == key.action && limit.window == key.window && limit.amount.currency == key.currency
        })
    };
    touched.counters.iter().filter(in_use).copied().collect()
}

/// The pages of one commit.
struct Pages {
    records: Option<RecordPage>,
    news: Option<NewsPage>,
}

struct RecordPage {
    sequence: i64,
    first: [u8; 16],
    last: [u8; 16],
    span: i16,
    count: i32,
    page: Vec<u8>,
    contents: Vec<u8>,
    hash: Digest,
    at: Timestamp,
}

struct NewsPage {
    sequence: i64,
    count: i32,
    page: Vec<u8>,
    at: Timestamp,
}

impl Pages {
    /// Seals what the commit has of each and moves the lane's chains on.
    fn seal(commit: &Commit, next: &mut LaneHead) -> Result<Pages, StoreError> {
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let ids = || commit.records.iter().map(|record| record.id.bytes());
        let mut pages = Pages { records: None, news: None };
        if let (Some(first), Some(last)) = (ids().min(), ids().max()) {
            let page = pages::seal_records(&commit.records)?;
            let contents = pages::seal_contents(commit.records.iter().map(|record| record.held.as_ref()))?;
            next.record_sequence += 1;
            next.record_hash = pages::last_link(next.record_hash, commit.records.iter().map(|record| record.digest));
            let (sequence, hash) = (next.record_sequence, next.record_hash);
            let count = count(commit.records.len());
            let span = crate::records::span_of(first, last);
            let at = commit.now;
            pages.records = Some(RecordPage { sequence, first, last, span, count, page, contents, hash, at });
        }
        if !commit.news.is_empty() {
            next.outbox_sequence += 1;
            pages.news = Some(NewsPage {
                sequence: next.outbox_sequence,
                count: count(commit.news.len()),
                page: pages::seal_news(&commit.news)?,
                at: commit.now,
            });
        }
        Ok(pages)
    }
}

/// The flow steps of one commit as rows, one per flow: if a flow took several steps in it, the first one's expectation and the
/// last one's outcome.
#[derive(Default)]
struct Steps {
    flows: Vec<FlowRow>,
    /// Place, flow and number of consumed events.
    consumed: Vec<(i64, FlowId, i32)>,
    effects: Vec<EffectRow>,
    cancelled: Vec<(FlowId, String)>,
    arrivals: Vec<ArrivalRow>,
    replies: Vec<([u8; 16], Vec<u8>)>,
    now: i64,
}

struct FlowRow {
    id: FlowId,
    expected: Option<i64>,
    plugin: String,
    beginning: i16,
    user: [u8; 16],
    digest: [u8; 32],
    standing: i16,
    stuck: i16,
    version: i64,
    opened_at: i64,
    changed_at: i64,
    final_at: Option<i64>,
    body: Vec<u8>,
}

struct EffectRow {
    flow: FlowId,
    key: String,
    act: Vec<u8>,
    due_at: i64,
    repeat: i16,
    deadline: i64,
}

struct ArrivalRow {
    flow: FlowId,
    key: String,
    what: Vec<u8>,
    call: Option<[u8; 16]>,
    at: i64,
}

impl Steps {
    fn of(commit: &Commit) -> Result<Steps, StoreError> {
        use koban_domain::manifest::Repeat;
        let mut rows = Steps { now: commit.now.0, ..Steps::default() };
        let mut known: HashMap<FlowId, usize> = HashMap::with_capacity(commit.steps.len());
        for step in &commit.steps {
            let flow = &step.flow;
            let row = FlowRow {
                id: flow.id,
                expected: step.expected,
                plugin: flow.plugin.clone(),
                beginning: rows::beginning_code(flow.beginning),
                user: flow.authorisation.user.bytes(),
                digest: flow.digest.0,
                standing: rows::standing_code(flow.standing),
                stuck: i16::from(flow.stuck.is_some()),
                version: flow.version,
                opened_at: flow.opened_at.0,
                changed_at: flow.changed_at.0,
                final_at: flow.final_at.map(|at| at.0),
                body: crate::flows::pack(flow)?,
            };
            match known.get(&flow.id) {
                Some(place) => rows.flows[*place] = FlowRow { expected: rows.flows[*place].expected, ..row },
                None => {
                    known.insert(flow.id, rows.flows.len());
                    rows.flows.push(row);
                }
            }
            for place in &step.consumed {
                rows.consumed.push((*place, flow.id, i32::try_from(flow.events).unwrap_or(i32::MAX)));
            }
            for effect in &step.queued {
                rows.effects.push(EffectRow {
                    flow: flow.id,
                    key: effect.key.clone(),
                    act: to_postcard(&effect.act)?,
                    due_at: effect.due_at.0,
                    repeat: match effect.repeat {
                        Repeat::Never => 0,
                        Repeat::Safe => 1,
                    },
                    deadline: effect.deadline.0,
                });
            }
            rows.cancelled.extend(step.cancelled.iter().map(|key| (flow.id, key.clone())));
            for (call, answer) in &step.replies {
                rows.replies.push((call.0, to_postcard(answer)?));
            }
        }
        let arrivals = commit.steps.iter().flat_map(|step| &step.arrivals).chain(&commit.arrivals);
        for arrival in arrivals {
            rows.arrivals.push(ArrivalRow {
                flow: arrival.flow,
                key: arrival.key.clone(),
                what: to_postcard(&arrival.what)?,
                call: arrival.call.map(|call| call.0),
                at: arrival.at.0,
            });
        }
        Ok(rows)
    }

    /// Whether every flow that was to be updated was; otherwise which one was not.
    fn check_updated(&self, updated: &HashSet<FlowId>) -> Result<(), StoreError> {
        let missing = self.flows.iter().find(|row| row.expected.is_some() && !updated.contains(&row.id));
        missing.map_or(Ok(()), |row| Err(StoreError::FlowMoved(row.id)))
    }

    /// Whether every event that was to be consumed was still waiting.
    fn check_consumed(&self, consumed: u64) -> Result<(), StoreError> {
        match (u64::try_from(self.consumed.len()).unwrap_or(u64::MAX) == consumed, self.consumed.first()) {
            (false, Some((_, flow, _))) => Err(StoreError::FlowMoved(*flow)),
            _ => Ok(()),
        }
    }
}

/// A change that every commit must know of: plugins in force, limits, caps. Holds the lane's head until it ends.
#[derive(Debug)]
pub(crate) struct AdminTx {
    tx: Tx<'static>,
    head: LaneHead,
}

impl AdminTx {
    /// The transaction, for `on_tx!`.
    pub(crate) fn tx(&mut self) -> &mut Tx<'static> {
        &mut self.tx
    }

    /// The generation of the policy now.
    pub(crate) fn generation(&self) -> i64 {
        self.head.generation
    }

    /// From the next commit on, decisions are made under the policy as it is after this change.
    pub(crate) async fn bump_generation(&mut self) -> Result<i64, StoreError> {
        self.head.generation += 1;
        let generation = self.head.generation;
        on_tx!(&mut self.tx, connection => {
            let sql = "update lane_heads set generation = $1 where lane = 0";
            sqlx::query(sql).bind(generation).execute(connection).await?;
        });
        Ok(generation)
    }

    /// Notes who did it, in the same transaction.
    pub(crate) async fn audit(&mut self, audit: &Audit, at: Timestamp) -> Result<(), StoreError> {
        pages::append_audit(&mut self.tx, &[(audit.clone(), at)]).await
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }
}
