//! The commit queue: the one door for money. It takes what is queued, locks the lane's head, loads, decides in order, writes
//! in bulk, commits once and answers everyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use koban_domain::ledger::{Commit, Decided, Work};
use koban_domain::policy::Policy;
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;
use koban_store::marks::Mark;
use koban_store::{LedgerWriter, Store, StoreError, StoreErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tracing::Instrument as _;

use crate::clock::{self, Clock, Stopwatch};
use crate::error::Error;
use crate::metrics::{LedgerMetrics, Posted};

/// Most units of work in one commit.
const BATCH_MAX: usize = 1_024;
/// Most units of work waiting, a bulk counted by its parts; what finds no room is told to come back.
const QUEUE_MAX: usize = 2 * BATCH_MAX;
/// Most attempts of one batch before its units are told that the books cannot be reached.
const ATTEMPTS_MAX: u32 = 6;

/// A journal that is this far ahead of a host's clock is an alarm: its time stands until the clocks have caught up.
const JOURNAL_AHEAD_MS: i64 = 60_000;
/// The alarm is not repeated sooner than this.
const ALARM_EVERY_US: u64 = 60_000_000;

/// The way into the commit queue. Cloning it is cheap.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Queued>,
    /// Room in the queue, in units of work.
    room: Arc<Semaphore>,
    policy: watch::Receiver<Arc<Policy>>,
    counts: Arc<Counts>,
}

/// What the queue has done since the host started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Commits.
    pub commits: AtomicU64,
    /// Units of work in them.
    pub works: AtomicU64,
    /// Microseconds spent deciding.
    pub decide_us: AtomicU64,
    /// Microseconds from lock to commit.
    pub commit_us: AtomicU64,
    /// Attempts that had to be repeated.
    pub retries: AtomicU64,
    /// Units that found the queue full.
    pub full: AtomicU64,
    /// Milliseconds by which this host's clock led the database server's at the last commit; below zero if it was behind.
    pub clock_lead_ms: AtomicI64,
    /// Milliseconds by which the journal's last time was ahead of this host's clock at the last commit; zero if it was not.
    pub journal_ahead_ms: AtomicI64,
    /// Units that were refused because this host's clock leads.
    pub clock_refused: AtomicU64,
}

struct Queued {
    work: Work,
    /// Given back when the work leaves the queue.
    room: OwnedSemaphorePermit,
    answer: oneshot::Sender<Result<Decided, Error>>,
}

impl Ledger {
    /// Starts the lane's writer. It ends when every clone of the returned way in is dropped and the queue is empty. Errors:
    /// [`StoreError::Setup`] if this host's clock leads the database server's by more than it may.
    pub async fn start(store: Store, clock: Clock, metrics: LedgerMetrics) -> Result<Ledger, StoreError> {
        let mut writer = store.ledger().await?;
        let asked = clock.now();
        let mut tx = writer.begin().await?;
        if let Some(lead_ms) = too_far_ahead(&clock, asked, tx.server_at()) {
            tx.commit().await?;
            return Err(StoreError::Setup(format!(
                "this host's clock is {lead_ms} ms ahead of the database server's, at most {} ms are allowed; set the clocks \
                 by NTP and start again (--clock-lead-max changes the bound)",
                clock.lead_max_ms()
            )));
        }
        let policy = Arc::new(tx.policy().await?);
        clock.follow(policy.clock_ahead_ms);
        // Ended at once: a dropped transaction keeps the head locked until its connection is used again.
        tx.commit().await?;
        let (queue, works) = mpsc::channel(QUEUE_MAX);
        let (sender, policy) = watch::channel(policy);
        let counts = Arc::new(Counts::default());
        let mark = Mark { writer: clock::random_id(), number: 0 };
        let lane = Lane {
            store,
            clock,
            writer: Some(writer),
            mark,
            policy: sender,
            counts: Arc::clone(&counts),
            alarmed: None,
            metrics,
        };
        let lane = tokio::spawn(lane.run(works));
        tokio::spawn(async move {
            // A lane that died would leave a host that looks alive and can write nothing. The supervisor starts a new one.
            if lane.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("the commit queue died; the host ends");
                std::process::abort();
            }
        });
        Ok(Ledger { queue, room: Arc::new(Semaphore::new(QUEUE_MAX)), policy, counts })
    }

    /// Commits a unit of work and says what came of it. Errors: [`Error::Busy`] when the queue has no room for it or for one of its
    /// parts, [`Error::ClockLeads`] when this host's clock cannot be trusted, [`Error::Store`] when the books cannot be reached; what
    /// happened is then found under the operation's key.
    pub async fn commit(&self, work: Work) -> Result<Decided, Error> {
        let room = self.room_for(work.units())?;
        // The wait for a place in a commit, and the commit.
        let waiting = tracing::info_span!(target: crate::TRACE, "ledger.commit");
        self.put(work, room)?.instrument(waiting).await.map_err(|_| Error::Busy)?
    }

    /// Commits many units of work in their order, each by itself, and says what came of each. Errors: [`Error::Busy`], before any of
    /// them, when the queue has no room for all.
    pub async fn commit_each(&self, works: Vec<Work>) -> Result<Vec<Result<Decided, Error>>, Error> {
        let mut room = self.room_for(works.iter().map(Work::units).sum())?;
        let mut waiting = Vec::with_capacity(works.len());
        for work in works {
            let part = room.split(work.units()).ok_or(Error::Busy)?;
            waiting.push(self.put(work, part));
        }
        let span = tracing::info_span!(target: crate::TRACE, "ledger.commit", works = waiting.len());
        let mut decided = Vec::with_capacity(waiting.len());
        for one in waiting {
            decided.push(match one {
                Ok(one) => one.instrument(span.clone()).await.map_err(|_| Error::Busy).and_then(|decided| decided),
                Err(error) => Err(error),
            });
        }
        Ok(decided)
    }

    fn room_for(&self, units: usize) -> Result<OwnedSemaphorePermit, Error> {
        let room =
            u32::try_from(units).ok().and_then(|units| Arc::clone(&self.room).try_acquire_many_owned(units).ok());
        room.ok_or_else(|| {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
            Error::Busy
        })
    }

    fn put(&self, work: Work, room: OwnedSemaphorePermit) -> Result<oneshot::Receiver<Result<Decided, Error>>, Error> {
        let (answer, decided) = oneshot::channel();
        self.queue.try_send(Queued { work, room, answer }).map_err(|_| Error::Busy)?;
        Ok(decided)
    }

    /// Has the lane look at the books once, so that a changed policy is known when this returns.
    pub async fn refresh(&self) -> Result<(), Error> {
        match self.commit(Work::new(uuid::Uuid::nil(), "system")).await {
            // What waits in a full queue looks at the books as well.
            Ok(_) | Err(Error::Busy) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The policy that the last commit was decided under.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Units of work waiting now.
    pub fn waiting(&self) -> usize {
        QUEUE_MAX.saturating_sub(self.room.available_permits())
    }

    /// What the queue has done.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

struct Lane {
    store: Store,
    clock: Clock,
    writer: Option<LedgerWriter>,
    /// What the last attempt left, or would have left, in the books.
    mark: Mark,
    policy: watch::Sender<Arc<Policy>>,
    counts: Arc<Counts>,
    /// Since the last alarm about clocks.
    alarmed: Option<Stopwatch>,
    metrics: LedgerMetrics,
}

/// Why a batch was not committed.
enum Failed {
    /// The store could not, or would not.
    Store(StoreError),
    /// This host's clock leads by so many milliseconds.
    Clock(i64),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

impl Lane {
    async fn run(mut self, mut works: mpsc::Receiver<Queued>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        // Never waits for more: alone at night, hundreds at once under load.
        while works.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (works, answers): (Vec<Work>, Vec<_>) = batch
                .drain(..)
                .map(|queued| {
                    drop(queued.room);
                    (queued.work, queued.answer)
                })
                .unzip();
            let span = tracing::info_span!(target: crate::TRACE, "lane.batch", works = works.len());
            let decided = self.commit(&works).instrument(span).await;
            for (answer, decided) in answers.into_iter().zip(decided) {
                // A caller that has gone finds its outcome under its key.
                let _ = answer.send(decided);
            }
        }
    }

    /// Commits a batch. One that the store refuses for its content is halved until the unit at fault stands alone.
    async fn commit(&mut self, works: &[Work]) -> Vec<Result<Decided, Error>> {
        let mut done = Vec::with_capacity(works.len());
        let mut waiting = vec![works];
        while let Some(part) = waiting.pop() {
            match self.commit_part(part).await {
                Ok(decided) => done.extend(decided.into_iter().map(Ok)),
                Err(Failed::Store(error)) if is_about_content(&error) && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.push(second);
                    waiting.push(first);
                }
                Err(Failed::Clock(lead_ms)) => {
                    self.counts.clock_refused.fetch_add(part.len() as u64, Ordering::Relaxed);
                    done.extend(part.iter().map(|_| Err(Error::ClockLeads { lead_ms })));
                }
                Err(Failed::Store(error)) => {
                    tracing::error!(error = %chain(&error), works = part.len(), "a batch was not committed");
                    let shared = Arc::new(error);
                    done.extend(part.iter().map(|_| Err(Error::from(Arc::clone(&shared)))));
                }
            }
        }
        done
    }

    /// Tries a batch until it is committed, refused for its content, or out of attempts.
    async fn commit_part(&mut self, works: &[Work]) -> Result<Vec<Decided>, Failed> {
        let mut unsure = None;
        let mut lost = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let span = tracing::info_span!(target: crate::TRACE, "lane.attempt", works = works.len(), attempt);
            let error = match self.attempt(works, &mut unsure).instrument(span).await {
                Ok(decided) => return Ok(decided),
                Err(Failed::Clock(lead_ms)) => return Err(Failed::Clock(lead_ms)),
                Err(Failed::Store(error)) => error,
            };
            // Whatever went wrong, the connection is not trusted again.
            self.writer = None;
            if error.kind() == StoreErrorKind::SyncFailed {
                // The kernel forgets what it could not write, and says so once. Going on would build on pages that nobody has
                // seen on the disk: the next start reads them anew, and every key tells its caller what became of it.
                tracing::error!(error = %chain(&error), "the disk failed to sync; the host ends, look at the disk before it starts again");
                std::process::abort();
            }
            let again = unsure.is_some() || error.kind() == StoreErrorKind::Retry;
            if !again || attempt >= ATTEMPTS_MAX {
                // While it may have happened nothing else is said of it, lest a half of it be tried by itself.
                return Err(Failed::Store(lost.filter(|_| unsure.is_some()).unwrap_or(error)));
            }
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            self.metrics.commit_retries.inc();
            tracing::warn!(error = %chain(&error), attempt, "a commit is tried again");
            if error.kind() == StoreErrorKind::Unknown {
                lost = Some(error);
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        }
    }

    /// One attempt. `unsure` holds what an earlier one decided whose commit may have happened: the first thing to find out.
    async fn attempt(&mut self, works: &[Work], unsure: &mut Option<Vec<Decided>>) -> Result<Vec<Decided>, Failed> {
        let writer = match self.writer.take() {
            Some(writer) => self.writer.insert(writer),
            None => self.writer.insert(self.store.ledger().await?),
        };
        let started = Stopwatch::start();
        let asked = self.clock.now();
        let mut tx = writer.begin().await?;
        if unsure.is_some() {
            let happened = tx.last_mark(self.mark.writer).await? == Some(self.mark.number);
            if let Some(earlier) = unsure.take().filter(|_| happened) {
                // Only the lock is given back; should that fail, the books say the same.
                if tx.commit().await.is_err() {
                    self.writer = None;
                }
                return Ok(earlier);
            }
        }
        let head = tx.head();
        let counts = &self.counts;
        counts.clock_lead_ms.store(self.clock.lead_ms(asked, tx.server_at()).unwrap_or(0), Ordering::Relaxed);
        let journal_ahead_ms = head.at.since_ms(asked).max(0);
        counts.journal_ahead_ms.store(journal_ahead_ms, Ordering::Relaxed);
        let may_alarm = self.alarmed.is_none_or(|alarmed| alarmed.micros() > ALARM_EVERY_US);
        if let Some(lead_ms) = too_far_ahead(&self.clock, asked, tx.server_at()) {
            tx.commit().await?;
            if may_alarm {
                self.alarmed = Some(Stopwatch::start());
                tracing::error!(
                    lead_ms,
                    "this host's clock is ahead of the database server's; it commits nothing until its clock is right"
                );
            }
            return Err(Failed::Clock(lead_ms));
        }
        if journal_ahead_ms > JOURNAL_AHEAD_MS && may_alarm {
            self.alarmed = Some(Stopwatch::start());
            tracing::error!(
                journal_ahead_ms,
                "the journal's last time is ahead of this host's clock: this clock is behind, or another host's was ahead; \
                 entries keep the journal's time until the clocks have caught up"
            );
        }
        let mut policy = Arc::clone(&self.policy.borrow());
        if tx.generation() != policy.generation {
            policy = Arc::new(tx.policy().await?);
            self.clock.follow(policy.clock_ahead_ms);
            self.policy.send_replace(Arc::clone(&policy));
        }
        let now = self.clock.now().max(head.at);
        let books = tx.load(&Touched::by(works, now), policy).await?;
        let deciding = Stopwatch::start();
        let mut commit = Commit::new(head, books, now);
        let decided: Vec<Decided> = works.iter().map(|work| commit.decide(work)).collect();
        let decide_us = deciding.micros();
        self.mark.number += 1;
        if !commit.is_empty() {
            tx.mark(self.mark);
            tx.write(&commit).await?;
        }
        // Also when nothing was decided: a dropped transaction keeps the head locked until its connection is used again.
        if let Err(error) = tx.commit().await {
            *unsure = Some(decided).filter(|_| error.kind() == StoreErrorKind::Unknown);
            return Err(error.into());
        }
        counts.commits.fetch_add(1, Ordering::Relaxed);
        let units: usize = works.iter().map(Work::units).sum();
        counts.works.fetch_add(units as u64, Ordering::Relaxed);
        counts.decide_us.fetch_add(decide_us, Ordering::Relaxed);
        counts.commit_us.fetch_add(started.micros(), Ordering::Relaxed);
        self.metrics.commit_seconds.observe(started.seconds());
        self.metrics.commit_works.observe(f64::from(u32::try_from(units).unwrap_or(u32::MAX)));
        for entry in &commit.entries {
            self.metrics.entries.get_or_create(&Posted { kind: entry.draft.kind.word() }).inc();
        }
        Ok(decided)
    }
}

/// By how many milliseconds the clock leads the server's, if that is more than it may.
fn too_far_ahead(clock: &Clock, asked: Timestamp, server: Option<Timestamp>) -> Option<i64> {
    clock.lead_ms(asked, server).filter(|lead_ms| *lead_ms > clock.lead_max_ms())
}

/// Whether the store refused the batch for something in it, so that its neighbours may still be committed.
fn is_about_content(error: &StoreError) -> bool {
    match error.kind() {
        StoreErrorKind::Conflict | StoreErrorKind::Damaged | StoreErrorKind::Fatal => true,
        StoreErrorKind::Retry
        | StoreErrorKind::Unknown
        | StoreErrorKind::Full
        | StoreErrorKind::Unwritable
        | StoreErrorKind::SyncFailed => false,
    }
}

/// An error with all its causes, for the log.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
