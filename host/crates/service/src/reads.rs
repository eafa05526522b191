//! Reads that every request or payment needs, made together for all that ask at the same time: a handful of statements for
//! hundreds of payments instead of a handful for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use koban_domain::books::User;
use koban_domain::ids::{MerchantId, UserId};
use koban_domain::operations::{Claim, Operation, OperationKey};
use koban_domain::records::Digest;
use koban_domain::signals::{Ring, SubjectKey, Subjects};
use koban_domain::time::Timestamp;
use koban_store::merchants::MerchantRow;
use koban_store::sessions::SessionRow;
use koban_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// Most payments that are read for together.
const BATCH_MAX: usize = 512;
/// Most payments that wait to be read for.
const WAITING_MAX: usize = 4 * BATCH_MAX;
/// Readers at work; each uses one connection.
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
    payer: Option<User>,
    merchant: Option<MerchantRow>,
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
    pub fn payer(&self) -> Result<User, Error> {
        self.payer.ok_or(Error::NotFound("user"))
    }

    /// The merchant. Errors: there is no such merchant.
    pub fn merchant(&self) -> Result<&MerchantRow, Error> {
        self.merchant.as_ref().ok_or(Error::NotFound("merchant"))
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
            payments: readers(&store, READERS, read_batch),
            sessions: readers(&store, READERS, read_sessions),
            // One: two would take the same rows in different orders.
            touches: readers(&store, 1, touch_sessions),
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

/// Starts readers that answer what is asked at the same time with one call of `read`, which answers in the order of the
/// questions.
fn readers<Q, A, F>(store: &Store, count: usize, read: fn(Store, Vec<Q>) -> F) -> mpsc::Sender<Waiting<Q, A>>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<Vec<A>, StoreError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let receiver: Queue<Q, A> = Arc::new(tokio::sync::Mutex::new(receiver));
    for _ in 0..count {
        tokio::spawn(answer_all(store.clone(), Arc::clone(&receiver), read));
    }
    sender
}

async fn answer_all<Q, A, F>(store: Store, waiting: Queue<Q, A>, read: fn(Store, Vec<Q>) -> F)
where
    F: Future<Output = Result<Vec<A>, StoreError>>,
{
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if waiting.lock().await.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        let (asked, answers): (Vec<Q>, Vec<_>) = batch.drain(..).map(|one| (one.asked, one.answer)).unzip();
        match read(store.clone(), asked).await {
            Ok(known) => {
                for (answer, known) in answers.into_iter().zip(known) {
                    let _ = answer.send(Ok(known));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

async fn read_sessions(store: Store, hashes: Vec<Digest>) -> Result<Vec<Option<SessionRow>>, StoreError> {
    let mut distinct = hashes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let found = koban_store::sessions::by_tokens(&store, &distinct).await?;
    Ok(hashes.iter().map(|hash| found.get(hash).cloned()).collect())
}

async fn touch_sessions(store: Store, touches: Vec<Touch>) -> Result<Vec<()>, StoreError> {
    let done = vec![(); touches.len()];
    let latest: BTreeMap<Digest, Touch> = touches.into_iter().map(|touch| (touch.token_hash, touch)).collect();
    let rows: Vec<_> = latest.values().map(|touch| (touch.token_hash, touch.last_seen, touch.expires_at)).collect();
    koban_store::sessions::touch_all(&store, &rows).await?;
    Ok(done)
}

async fn read_batch(store: Store, asked: Vec<Asked>) -> Result<Vec<Known>, StoreError> {
    let operations: Vec<OperationKey> = asked.iter().map(|one| one.operation).collect();
    let payers = sorted(asked.iter().map(|one| one.payer));
    let merchants = sorted(asked.iter().filter_map(|one| one.merchant));
    let pairs = sorted(asked.iter().map(|one| (one.payer, one.payee)));
    let subjects = sorted(asked.iter().flat_map(|one| one.subjects.iter().copied()));
    let operations = koban_store::operations::by_keys(&store, &operations).await?;
    let users = koban_store::users::facts(&store, &payers).await?;
    let merchants = koban_store::merchants::by_ids(&store, &merchants).await?;
    let payees = koban_store::signals::known_payees(&store, &pairs).await?;
    let rings = koban_store::signals::read_rings(&store, &subjects).await?;
    Ok(asked
        .iter()
        .map(|one| Known {
            operation: operations.get(&one.operation).cloned(),
            payer: users.get(&one.payer).copied(),
            merchant: one.merchant.and_then(|merchant| merchants.get(&merchant).cloned()),
            payee_known: payees.contains(&(one.payer, one.payee)),
            rings: one.subjects.iter().filter_map(|subject| Some((*subject, rings.get(subject)?.clone()))).collect(),
        })
        .collect())
}

fn sorted<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
