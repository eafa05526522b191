//! The commit queue: the one door for money. It takes what is queued, locks the lane's head, loads, decides in order, writes
//! in bulk, commits once and answers everyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use koban_domain::ledger::{Commit, Decided, Work};
use koban_domain::policy::Policy;
use koban_domain::touched::Touched;
use koban_store::{LedgerWriter, Store, StoreError, StoreErrorKind};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Clock, Stopwatch};
use crate::error::Error;

/// Most units of work in one commit.
const BATCH_MAX: usize = 1_024;
/// Most units of work waiting; the next one is told to come back.
const QUEUE_MAX: usize = 2 * BATCH_MAX;
/// Most attempts of one batch before its units are told that the books cannot be reached.
const ATTEMPTS_MAX: u32 = 6;

/// The way into the commit queue. Cloning it is cheap.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Queued>,
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
}

struct Queued {
    work: Work,
    answer: oneshot::Sender<Result<Decided, Error>>,
}

impl Ledger {
    /// Starts the lane's writer. It ends when every clone of the returned way in is dropped and the queue is empty.
    pub async fn start(store: Store, clock: Clock) -> Result<Ledger, StoreError> {
        let mut writer = store.ledger().await?;
        let mut tx = writer.begin().await?;
        let policy = Arc::new(tx.policy().await?);
        clock.follow(policy.clock_ahead_ms);
        // Ended at once: a dropped transaction keeps the head locked until its connection is used again.
        tx.commit().await?;
        let (queue, works) = mpsc::channel(QUEUE_MAX);
        let (sender, policy) = watch::channel(policy);
        let counts = Arc::new(Counts::default());
        let lane = Lane { store, clock, writer: Some(writer), policy: sender, counts: Arc::clone(&counts) };
        let lane = tokio::spawn(lane.run(works));
        tokio::spawn(async move {
            // A lane that died would leave a host that looks alive and can write nothing. The supervisor starts a new one.
            if lane.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("the commit queue died; the host ends");
                std::process::abort();
            }
        });
        Ok(Ledger { queue, policy, counts })
    }

    /// Commits a unit of work and says what came of it. Errors: [`Error::Busy`] when the queue is full, [`Error::Store`] when
    /// the books cannot be reached; what happened is then found under the operation's key.
    pub async fn commit(&self, work: Work) -> Result<Decided, Error> {
        let (answer, decided) = oneshot::channel();
        self.queue.try_send(Queued { work, answer }).map_err(|_| {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
            Error::Busy
        })?;
        decided.await.map_err(|_| Error::Busy)?
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
        QUEUE_MAX - self.queue.capacity()
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
    policy: watch::Sender<Arc<Policy>>,
    counts: Arc<Counts>,
}

impl Lane {
    async fn run(mut self, mut works: mpsc::Receiver<Queued>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        // Never waits for more: alone at night, hundreds at once under load.
        while works.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (works, answers): (Vec<Work>, Vec<_>) =
                batch.drain(..).map(|queued| (queued.work, queued.answer)).unzip();
            let decided = self.commit(&works).await;
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
                Err(error) if is_about_content(&error) && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.push(second);
                    waiting.push(first);
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), works = part.len(), "a batch was not committed");
                    let shared = Arc::new(error);
                    done.extend(part.iter().map(|_| Err(Error::Store(Arc::clone(&shared)))));
                }
            }
        }
        done
    }

    /// Tries a batch until it is committed, refused for its content, or out of attempts.
    async fn commit_part(&mut self, works: &[Work]) -> Result<Vec<Decided>, StoreError> {
        let mut unsure = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.attempt(works).await {
                Ok(decided) if unsure => return Ok(decided.into_iter().map(own_replay).collect()),
                Ok(decided) => return Ok(decided),
                Err(error) => error,
            };
            // Whatever went wrong, the connection is not trusted again.
            self.writer = None;
            match error.kind() {
                StoreErrorKind::Retry if attempt < ATTEMPTS_MAX => {}
                // Lost while committing: the next attempt finds decided operations and moved flows, and never guesses.
                StoreErrorKind::Unknown if attempt < ATTEMPTS_MAX => unsure = true,
                _ => return Err(error),
            }
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = %chain(&error), attempt, "a commit is tried again");
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        }
    }

    async fn attempt(&mut self, works: &[Work]) -> Result<Vec<Decided>, StoreError> {
        let writer = match self.writer.take() {
            Some(writer) => self.writer.insert(writer),
            None => self.writer.insert(self.store.ledger().await?),
        };
        let started = Stopwatch::start();
        let mut tx = writer.begin().await?;
        let head = tx.head();
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
        if !commit.is_empty() {
            tx.write(&commit).await?;
        }
        // Also when nothing was decided: a dropped transaction keeps the head locked until its connection is used again.
        tx.commit().await?;
        let counts = &self.counts;
        counts.commits.fetch_add(1, Ordering::Relaxed);
        counts.works.fetch_add(works.len() as u64, Ordering::Relaxed);
        counts.decide_us.fetch_add(decide_us, Ordering::Relaxed);
        counts.commit_us.fetch_add(started.micros(), Ordering::Relaxed);
        Ok(decided)
    }
}

/// Whether the store refused the batch for something in it, so that its neighbours may still be committed.
fn is_about_content(error: &StoreError) -> bool {
    match error.kind() {
        StoreErrorKind::Conflict | StoreErrorKind::Damaged | StoreErrorKind::Fatal => true,
        StoreErrorKind::Retry | StoreErrorKind::Unknown => false,
    }
}

/// After an unsure commit, what looks like a replay is this batch's own work.
fn own_replay(decided: Decided) -> Decided {
    match decided {
        Decided::Replayed(Ok(answer)) => Decided::Done(vec![answer]),
        Decided::Replayed(Err(refusal)) => Decided::Refused(0, refusal),
        other => other,
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
