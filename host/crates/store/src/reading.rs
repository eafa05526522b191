//! What requests and payments read before they do anything: one statement for all that ask at the same moment, on a connection
//! that serves nothing else.
//!
//! A connection of a pool costs two more round trips, one to try it and one when it is given back. With one statement on a
//! connection of its own a batch waits for the server once.

use std::collections::{HashMap, HashSet};

use koban_domain::ids::{MerchantId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::operations::{Fingerprint, Operation, OperationKey};
use koban_domain::records::Digest;
use koban_domain::signals::{Ring, SubjectKey};
use koban_domain::time::Timestamp;
use sqlx::PgConnection;

use crate::database::{Backend, Columns, Store};
use crate::error::{StoreError, StoreErrorKind};
use crate::ledger::json::JsonRows;
use crate::ledger::rows;
use crate::query::key_list;
use crate::servers::{Role, Servers};
use crate::sessions::{self, SessionRow};

/// Reads for many at once. Each has one connection, so each reads one batch at a time.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    /// To PostgreSQL, once it was needed. SQLite's own pool has nothing to wait for.
    connection: Option<PgConnection>,
}

/// What payments and transfers ask. Nothing stands in a list twice.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// Operations that may have been decided.
    pub operations: Vec<OperationKey>,
    /// Payers.
    pub users: Vec<UserId>,
    /// Merchants who shall be paid.
    pub merchants: Vec<MerchantId>,
    /// Who would like to pay whom. Payees are kept by id alone: a receiver of transfers is asked for as a merchant of the same id.
    pub payees: Vec<(UserId, MerchantId)>,
    /// Whose counters are asked for.
    pub subjects: Vec<SubjectKey>,
}

/// The answers; what does not exist is absent.
#[derive(Debug, Default)]
pub struct Found {
    /// Operations that were decided.
    pub operations: HashMap<OperationKey, Operation>,
    /// Kind and age of users.
    pub users: HashMap<UserId, Payer>,
    /// ISO 18245 category codes of merchants.
    pub categories: HashMap<MerchantId, String>,
    /// Who has paid whom before.
    pub payees: HashSet<(UserId, MerchantId)>,
    /// Counters.
    pub rings: HashMap<SubjectKey, Ring>,
}

impl Store {
    /// A reader. It connects when it is first used.
    pub fn reader(&self) -> Reader {
        Reader { store: self.clone(), connection: None }
    }
}

impl Reader {
    /// Sessions by the hashes of their tokens, expired or not; one that is not there is absent.
    pub async fn sessions(&mut self, hashes: &[Digest]) -> Result<HashMap<Digest, SessionRow>, StoreError> {
        match self.try_sessions(hashes).await {
            Err(error) if self.may_try_again(&error) => self.try_sessions(hashes).await,
            known => known,
        }
    }

    /// What payments and transfers need to know.
    pub async fn dealings(&mut self, questions: &Questions) -> Result<Found, StoreError> {
        match self.try_dealings(questions).await {
            Err(error) if self.may_try_again(&error) => self.try_dealings(questions).await,
            known => known,
        }
    }

    /// A lost connection is noticed by whoever reads next. Nothing was changed, so reading once more on a new one is safe.
    fn may_try_again(&mut self, error: &StoreError) -> bool {
        self.connection.take().is_some() && error.kind() == StoreErrorKind::Retry
    }

    async fn try_sessions(&mut self, hashes: &[Digest]) -> Result<HashMap<Digest, SessionRow>, StoreError> {
        let mut found = HashMap::with_capacity(hashes.len());
        match &*self.store.backend {
            Backend::Sqlite(backend) => {
                let keys = key_list(hashes.iter().map(|hash| hash.0));
                for row in &sqlx::query(SESSIONS_SQLITE).bind(keys).fetch_all(&backend.readers).await? {
                    let session = sessions::read(row)?;
                    found.insert(session.token_hash, session);
                }
            }
            Backend::Postgres(backend) => {
                let connection = connected(&mut self.connection, &backend.servers).await?;
                let keys: Vec<_> = hashes.iter().map(|hash| hash.0).collect();
                for row in &sqlx::query(SESSIONS_POSTGRES).bind(keys).fetch_all(connection).await? {
                    let session = sessions::read(row)?;
                    found.insert(session.token_hash, session);
                }
            }
        }
        Ok(found)
    }

    async fn try_dealings(&mut self, questions: &Questions) -> Result<Found, StoreError> {
        let Questions { operations, users, merchants, payees, subjects } = questions;
        let mut found = Found::default();
        match &*self.store.backend {
            Backend::Sqlite(backend) => {
                let mut pairs = JsonRows::with_capacity(payees.len() * 72 + 2);
                for (user, payee) in payees {
                    pairs.row().bytes(&user.bytes()).bytes(&payee.bytes());
                }
                let rows = sqlx::query(DEALINGS_SQLITE)
                    .bind(key_list(operations.iter().map(|key| key.0)))
                    .bind(key_list(users.iter().map(UserId::bytes)))
                    .bind(key_list(merchants.iter().map(MerchantId::bytes)))
                    .bind(pairs.finish())
                    .bind(key_list(subjects.iter().map(|subject| *subject.0.as_bytes())))
                    .fetch_all(&backend.readers)
                    .await?;
                rows.iter().try_for_each(|row| found.take(row))?;
            }
            Backend::Postgres(backend) => {
                let rows = sqlx::query(DEALINGS_POSTGRES)
                    .bind(operations.iter().map(|key| key.0).collect::<Vec<_>>())
                    .bind(users.iter().map(UserId::bytes).collect::<Vec<_>>())
                    .bind(merchants.iter().map(MerchantId::bytes).collect::<Vec<_>>())
                    .bind(payees.iter().map(|(user, _)| user.bytes()).collect::<Vec<_>>())
                    .bind(payees.iter().map(|(_, payee)| payee.bytes()).collect::<Vec<_>>())
                    .bind(subjects.iter().map(|subject| subject.0.into_bytes()).collect::<Vec<_>>())
                    .fetch_all(connected(&mut self.connection, &backend.servers).await?)
                    .await?;
                rows.iter().try_for_each(|row| found.take(row))?;
            }
        }
        Ok(found)
    }
}

async fn connected<'a>(
    connection: &'a mut Option<PgConnection>,
    servers: &Servers,
) -> Result<&'a mut PgConnection, StoreError> {
    let open = match connection.take() {
        Some(open) => open,
        None => servers.connect(Role::Reader).await?,
    };
    Ok(connection.insert(open))
}

/// What rules may ask of a payer. Whether they may deal is for the commit to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer {
    /// Which account the wallet is.
    pub kind: WalletKind,
    /// When they signed up.
    pub created_at: Timestamp,
}

const SESSIONS_SQLITE: &str =
    "select s.* from json_each($1) k cross join sessions s on s.token_hash = unhex(k.value ->> 0)";
const SESSIONS_POSTGRES: &str = "select * from sessions where token_hash = any($1)";

/// Five kinds of rows in one shape: what, two keys, bytes, a text, a number, a small number.
const DEALINGS_SQLITE: &str = "
    select 1, key, fingerprint, outcome, null, at, null from operations
        where key in (select unhex(value ->> 0) from json_each($1))
    union all
    select 2, id, null, null, null, created_at, kind from users
        where id in (select unhex(value ->> 0) from json_each($2))
    union all
    select 3, id, null, null, category, null, null from merchants
        where id in (select unhex(value ->> 0) from json_each($3))
    union all
    select 4, p.user_id, p.payee, null, null, null, null from json_each($4) k cross join payees p
        where p.user_id = unhex(k.value ->> 0) and p.payee = unhex(k.value ->> 1)
    union all
    select 5, subject, null, ring, null, null, null from signals
        where subject in (select unhex(value ->> 0) from json_each($5))";

/// The same. `limit` keeps the asked pairs in the outer loop, whatever the planner believes of `payees`.
const DEALINGS_POSTGRES: &str = "
    select 1::int2, key, fingerprint, outcome, null::text, at, null::int2 from operations where key = any($1)
    union all
    select 2::int2, id, null, null, null, created_at, kind from users where id = any($2)
    union all
    select 3::int2, id, null, null, category, null, null from merchants where id = any($3)
    union all
    select 4::int2, k.user_id, p.payee, null, null, null, null
        from unnest($4::bytea[], $5::bytea[]) as k (user_id, payee)
        cross join lateral (select p.payee from payees p where p.user_id = k.user_id and p.payee = k.payee limit 1) p
    union all
    select 5::int2, subject, null, ring, null, null, null from signals where subject = any($6)";

impl Found {
    fn take(&mut self, row: &impl Columns) -> Result<(), StoreError> {
        match row.small(0)? {
            1 => {
                let outcome = Operation::decode_outcome(&row.bytes(3)?)
                    .ok_or_else(|| StoreError::damaged("the outcome of an operation cannot be read"))?;
                let fingerprint = Fingerprint(row.fixed(2)?);
                let operation = Operation { fingerprint, outcome, at: row.time(5)? };
                self.operations.insert(OperationKey(row.fixed(1)?), operation);
            }
            2 => {
                let id = UserId(row.id(1)?);
                let kind = rows::wallet_kind(row.small(6)?)?;
                self.users.insert(id, Payer { kind, created_at: row.time(5)? });
            }
            3 => {
                self.categories.insert(MerchantId(row.id(1)?), row.text(4)?);
            }
            4 => {
                self.payees.insert((UserId(row.id(1)?), MerchantId(row.id(2)?)));
            }
            5 => {
                self.rings.insert(SubjectKey(row.id(1)?), Ring::decode(&row.bytes(3)?));
            }
            other => return Err(StoreError::damaged(format!("{other} is no kind of answer to a payment's questions"))),
        }
        Ok(())
    }
}
