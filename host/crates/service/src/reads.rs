//! Reads that every request or payment needs, made together for all that ask at the same time: one statement for hundreds of
//! payments instead of a handful for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use koban_domain::ids::{MerchantId, UserId};
use koban_domain::operations::{Claim, Operation, OperationKey};
use koban_domain::records::Digest;
use koban_domain::signals::{Ring, SubjectKey, Subjects};
use koban_domain::time::Timestamp;
use koban_store::sessions::SessionRow;
use koban_store::{Payer, Questions, Reader, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// Most payments that are read for together.
const BATCH_MAX: usize = 512;
/// Most payments that wait to be read for.
const WAITING_MAX: usize = 4 * BATCH_MAX;
/// Readers at work, for sessions and for payments; each has one connection.
const READERS: usize = 2;

/// The way to the readers. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Reads {
    payments: mpsc::Sender<Waiting<Asked, Known>>,
    sessions: mpsc::Sender<Waiting<Digest, Option<SessionRow>>>,
    touches: mpsc::Sender<Waiting<Touch, ()>>,
}

/// When a session was last used, and when it ends.
#[derive(Debug, Clone, Copy)]
struct Touch {
    token_hash: Digest,
    last_seen: Timestamp,
    expires_at: Timestamp,
}

/// What a payment needs to know.
#[derive(Debug, Clone)]
pub struct Asked {
    operation: OperationKey,
    payer: UserId,
    merchant: Option<MerchantId>,
    /// Payees are kept by their id alone, whether they are merchants or users.
    payee: MerchantId,
    subjects: Vec<SubjectKey>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Known {
    /// The operation, if it was decided before.
    pub operation: Option<Operation>,
    payer: Option<Payer>,
    category: Option<String>,
    /// Whether the payer has paid this payee before.
    pub payee_known: bool,
    /// The rings of the subjects that have one.
    pub rings: Vec<(SubjectKey, Ring)>,
}

impl Asked {
    /// What a payment of this payer to this merchant needs.
    pub fn payment(claim: &Claim, payer: UserId, merchant: MerchantId, subjects: &Subjects) -> Asked {
        let subjects = subjects.iter().collect();
        Asked { operation: claim.key, payer, merchant: Some(merchant), payee: merchant, subjects }
    }

    /// What a transfer between these users needs.
    pub fn transfer(claim: &Claim, sender: UserId, receiver: UserId, subjects: &Subjects) -> Asked {
        let subjects = subjects.iter().collect();
        Asked { operation: claim.key, payer: sender, merchant: None, payee: MerchantId(receiver.0), subjects }
    }
}

impl Known {
    /// The payer. Errors: there is no such user.
    pub fn payer(&self) -> Result<Payer, Error> {
        self.payer.ok_or(Error::NotFound("user"))
    }

    /// The category of the merchant who shall be paid. Errors: there is no such merchant.
    pub fn category(&self) -> Result<&str, Error> {
        self.category.as_deref().ok_or(Error::NotFound("merchant"))
    }
}

#[derive(Debug)]
struct Waiting<Q, A> {
    asked: Q,
    answer: oneshot::Sender<Result<A, Arc<StoreError>>>,
}

type Queue<Q, A> = Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting<Q, A>>>>;

impl Reads {
    /// Starts the readers. They end when the last clone of the returned way is dropped.
    pub fn start(store: Store) -> Reads {
        Reads {
            payments: batches(readers(&store), read_dealings),
            sessions: batches(readers(&store), read_sessions),
            // One: two would take the same rows in different orders.
            touches: batches([store], touch_sessions),
        }
    }

    /// What a payment needs to know, as the store has it now. Errors: [`Error::Busy`] when too many wait.
    pub async fn payment(&self, asked: Asked) -> Result<Known, Error> {
        ask(&self.payments, asked).await
    }

    /// The session with a token of this hash, as the store has it now. Errors: [`Error::Busy`] when too many wait.
    pub async fn session(&self, token_hash: Digest) -> Result<Option<SessionRow>, Error> {
        ask(&self.sessions, token_hash).await
    }
}

impl Reads {
    /// Notes that a session was used. The only write here: a crowd that comes after a pause would otherwise write one by one.
    pub async fn touch(&self, token_hash: Digest, last_seen: Timestamp, expires_at: Timestamp) -> Result<(), Error> {
        ask(&self.touches, Touch { token_hash, last_seen, expires_at }).await
    }
}

async fn ask<Q, A>(readers: &mpsc::Sender<Waiting<Q, A>>, asked: Q) -> Result<A, Error> {
    let (answer, known) = oneshot::channel();
    readers.try_send(Waiting { asked, answer }).map_err(|_| Error::Busy)?;
    Ok(known.await.map_err(|_| Error::Busy)??)
}

fn readers(store: &Store) -> [Reader; READERS] {
    std::array::from_fn(|_| store.reader())
}

/// Starts workers that answer what is asked at the same time with one call of `answer`. It answers in the order of the questions
/// and gives its worker back.
fn batches<W, Q, A, F>(workers: impl IntoIterator<Item = W>, answer: fn(W, Vec<Q>) -> F) -> mpsc::Sender<Waiting<Q, A>>
where
    W: Send + 'static,
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = (W, Result<Vec<A>, StoreError>)> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let receiver: Queue<Q, A> = Arc::new(tokio::sync::Mutex::new(receiver));
    for worker in workers {
        tokio::spawn(answer_all(worker, Arc::clone(&receiver), answer));
    }
    sender
}

async fn answer_all<W, Q, A, F>(mut worker: W, waiting: Queue<Q, A>, answer: fn(W, Vec<Q>) -> F)
where
    F: Future<Output = (W, Result<Vec<A>, StoreError>)>,
{
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if waiting.lock().await.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        let (asked, callers): (Vec<Q>, Vec<_>) = batch.drain(..).map(|one| (one.asked, one.answer)).unzip();
        let (back, answers) = answer(worker, asked).await;
        worker = back;
        match answers {
            Ok(answers) => {
                for (caller, answer) in callers.into_iter().zip(answers) {
                    let _ = caller.send(Ok(answer));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for caller in callers {
                    let _ = caller.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

async fn read_sessions(
    mut reader: Reader,
    hashes: Vec<Digest>,
) -> (Reader, Result<Vec<Option<SessionRow>>, StoreError>) {
    let found = reader.sessions(&sorted(hashes.iter().copied())).await;
    let answers = found.map(|found| hashes.iter().map(|hash| found.get(hash).cloned()).collect());
    (reader, answers)
}

async fn touch_sessions(store: Store, touches: Vec<Touch>) -> (Store, Result<Vec<()>, StoreError>) {
    let done = vec![(); touches.len()];
    let latest: BTreeMap<Digest, Touch> = touches.into_iter().map(|touch| (touch.token_hash, touch)).collect();
    let rows: Vec<_> = latest.values().map(|touch| (touch.token_hash, touch.last_seen, touch.expires_at)).collect();
    let touched = koban_store::sessions::touch_all(&store, &rows).await;
    (store, touched.map(|()| done))
}

async fn read_dealings(mut reader: Reader, asked: Vec<Asked>) -> (Reader, Result<Vec<Known>, StoreError>) {
    let questions = Questions {
        operations: sorted(asked.iter().map(|one| one.operation)),
        users: sorted(asked.iter().map(|one| one.payer)),
        merchants: sorted(asked.iter().filter_map(|one| one.merchant)),
        payees: sorted(asked.iter().map(|one| (one.payer, one.payee))),
        subjects: sorted(asked.iter().flat_map(|one| one.subjects.iter().copied())),
    };
    let found = reader.dealings(&questions).await;
    let answers = found.map(|found| {
        let known = |one: &Asked| Known {
            operation: found.operations.get(&one.operation).cloned(),
            payer: found.users.get(&one.payer).copied(),
            category: one.merchant.and_then(|merchant| found.categories.get(&merchant).cloned()),
            payee_known: found.payees.contains(&(one.payer, one.payee)),
            rings: one
                .subjects
                .iter()
                .filter_map(|subject| Some((*subject, found.rings.get(subject)?.clone())))
                .collect(),
        };
        asked.iter().map(known).collect()
    });
    (reader, answers)
}

fn sorted<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
