//! The yardstick of `koban bench`: the same transfer as most houses write it, one SQL transaction each.
//!
//! It keeps what a transfer of ours keeps (accounts, entry, postings, operation, limit counter) in tables of its own, but has
//! neither chain nor outbox. Rows are locked in order of id, so that two transfers never deadlock. Six prepared statements.

mod holds;

use std::time::Duration;

pub use holds::{BaselineHold, HoldStep};

use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::database::{Backend, Columns as _, Dialect, Store, Tx, blob, on_tx};
use crate::error::StoreError;

/// The yardstick on one database, with connections of its own.
#[derive(Debug)]
pub struct Baseline {
    connections: Connections,
    accounts: Vec<[u8; 16]>,
}

#[derive(Debug)]
enum Connections {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One transfer.
#[derive(Debug, Clone, Copy)]
pub struct BaselineTransfer {
    /// The number of the account that pays.
    pub debit: usize,
    /// The number of the account that is paid; another one.
    pub credit: usize,
    /// Minor units, more than zero.
    pub amount: i64,
    /// The entry's id, time-ordered.
    pub entry: Uuid,
    /// The hash of the request's idempotency key.
    pub key: [u8; 16],
    /// When.
    pub at: Timestamp,
}

/// What came of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineOutcome {
    /// It was posted.
    Posted,
    /// The payer has less.
    InsufficientFunds,
    /// The payer's limit of the day is reached.
    DayLimit,
    /// The key was used before.
    Repeated,
}

/// What the tables add up to afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineAudit {
    /// Transfers posted.
    pub entries: i64,
    /// Debits less credits over all postings: zero.
    pub postings: i64,
    /// Debits less credits that accounts say, less those that their postings say: zero.
    pub drift: i64,
}

/// The limit of a day: so high that it is counted and compared, but never reached.
const DAY_LIMIT: i64 = 1_000_000_000_000_000;
/// What each account begins with.
const OPENING: i64 = 1_000_000_000_000;

const TABLES: [&str; 2] = [
    "create table if not exists baseline_accounts (id blob primary key, class integer not null, owner blob not null,
        currency text not null, debits_posted integer not null, credits_posted integer not null,
        debits_pending integer not null, credits_pending integer not null) strict, without rowid;
    create table if not exists baseline_entries (id blob primary key, kind integer not null, at integer not null,
        actor text not null, subject blob not null, reverses blob, records blob not null, meta text not null)
        strict, without rowid;
    create table if not exists baseline_postings (account blob not null, entry blob not null, ordinal integer not null,
        side integer not null, amount integer not null, balance integer not null,
        primary key (account, entry, ordinal)) strict, without rowid;
    create table if not exists baseline_operations (key blob primary key, fingerprint blob not null,
        outcome blob not null, at integer not null) strict, without rowid;
    create table if not exists baseline_counters (user_id blob not null, rule integer not null, period integer not null,
        currency text not null, total integer not null, primary key (user_id, rule, period, currency))
        strict, without rowid",
    "create table if not exists baseline_accounts (id bytea primary key, class smallint not null, owner bytea not null,
        currency text not null, debits_posted bigint not null, credits_posted bigint not null,
        debits_pending bigint not null, credits_pending bigint not null) with (fillfactor = 50);
    create table if not exists baseline_entries (id bytea primary key, kind smallint not null, at bigint not null,
        actor text not null, subject bytea not null, reverses bytea, records bytea not null, meta text not null);
    create table if not exists baseline_postings (account bytea not null, entry bytea not null, ordinal smallint not null,
        side smallint not null, amount bigint not null, balance bigint not null,
        primary key (account, entry, ordinal));
    create table if not exists baseline_operations (key bytea primary key, fingerprint bytea not null,
        outcome bytea not null, at bigint not null);
    create table if not exists baseline_counters (user_id bytea not null, rule smallint not null, period integer not null,
        currency text not null, total bigint not null, primary key (user_id, rule, period, currency))
        with (fillfactor = 70)",
];

const EMPTY: &str = "delete from baseline_accounts; delete from baseline_entries; delete from baseline_postings;
    delete from baseline_operations; delete from baseline_counters; delete from baseline_holds";

const LOCK: [&str; 2] = [
    "select id, debits_posted, credits_posted, debits_pending from baseline_accounts where id in ($1, $2) order by id",
    "select id, debits_posted, credits_posted, debits_pending from baseline_accounts where id in ($1, $2) order by id
    for update",
];
const OPERATION: &str = "insert into baseline_operations (key, fingerprint, outcome, at) values ($1, $2, $3, $4)
    on conflict (key) do nothing";
const COUNTER: &str =
    "insert into baseline_counters (user_id, rule, period, currency, total) values ($1, 32, $2, 'JPY', $3)
    on conflict (user_id, rule, period, currency) do update set total = baseline_counters.total + excluded.total
    returning total";
const ENTRY: &str = "insert into baseline_entries (id, kind, at, actor, subject, reverses, records, meta)
    values ($1, 5, $2, $3, $4, null, $5, '{}')";
const POSTINGS: &str = "insert into baseline_postings (account, entry, ordinal, side, amount, balance)
    values ($1, $3, 0, 0, $4, $5), ($2, $3, 1, 1, $4, $6)";
const ACCOUNTS: &str = "update baseline_accounts set
    debits_posted = debits_posted + case when id = $1 then cast($3 as bigint) else 0 end,
    credits_posted = credits_posted + case when id = $2 then cast($3 as bigint) else 0 end
    where id in ($1, $2)";

/// The statements of one transfer, in order, for `koban bench --explain`.
pub fn baseline_sql(dialect: Dialect) -> Vec<&'static str> {
    let (begin, lock) = match dialect {
        Dialect::Sqlite => ("begin immediate", LOCK[0]),
        Dialect::Postgres => ("begin", LOCK[1]),
    };
    vec![begin, lock, OPERATION, COUNTER, ENTRY, POSTINGS, ACCOUNTS, "commit"]
}

/// The statements of a hold's steps, as [`baseline_sql`]: authorise, capture, and void as well as expire.
pub fn baseline_hold_sql(dialect: Dialect) -> [(&'static str, Vec<&'static str>); 3] {
    let (begin, lock) = match dialect {
        Dialect::Sqlite => ("begin immediate", LOCK[0]),
        Dialect::Postgres => ("begin", LOCK[1]),
    };
    let [authorise, capture, void] =
        holds::sql(lock).map(|statements| [vec![begin], statements, vec!["commit"]].concat());
    [("authorise", authorise), ("capture", capture), ("void or expire", void)]
}

impl Store {
    /// The yardstick on this database, with so many connections on PostgreSQL and one on SQLite. Nothing is written yet.
    pub async fn baseline(&self, connections: u32) -> Result<Baseline, StoreError> {
        let connections = match &*self.backend {
            Backend::Sqlite(backend) => {
                let options = backend.writer.connect_options().as_ref().clone();
                let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
                Connections::Sqlite(pool.acquire_timeout(WAIT).connect_with(options).await?)
            }
            Backend::Postgres(backend) => {
                let options = backend.pool().connect_options().as_ref().clone();
                let pool = PgPoolOptions::new().max_connections(connections).min_connections(connections);
                let pool = pool.test_before_acquire(false).acquire_timeout(WAIT);
                Connections::Postgres(pool.connect_with(options).await?)
            }
        };
        Ok(Baseline { connections, accounts: Vec::new() })
    }
}

/// Closed-loop clients wait for a connection as long as they must.
const WAIT: Duration = Duration::from_secs(120);

impl Baseline {
    /// Empties its tables and opens so many accounts, each with the same large balance.
    pub async fn prepare(&mut self, accounts: u32) -> Result<(), StoreError> {
        self.accounts = (0..accounts).map(|number| Digest::of(&number.to_be_bytes()).half()).collect();
        let ids = crate::query::key_list(&self.accounts);
        match &self.connections {
            Connections::Sqlite(pool) => {
                sqlx::raw_sql(TABLES[0]).execute(pool).await?;
                sqlx::raw_sql(holds::TABLES[0]).execute(pool).await?;
                sqlx::raw_sql(EMPTY).execute(pool).await?;
                let sql =
                    "insert into baseline_accounts select unhex(value ->> 0), 2, unhex(value ->> 0), 'JPY', 0, $2, 0, 0
                    from json_each($1)";
                sqlx::query(sql).bind(ids).bind(OPENING).execute(pool).await?;
            }
            Connections::Postgres(pool) => {
                sqlx::raw_sql(TABLES[1]).execute(pool).await?;
                sqlx::raw_sql(holds::TABLES[1]).execute(pool).await?;
                sqlx::raw_sql(
                    "truncate baseline_accounts, baseline_entries, baseline_postings, baseline_operations,
                    baseline_counters, baseline_holds",
                )
                .execute(pool)
                .await?;
                let sql = "insert into baseline_accounts select id, 2, id, 'JPY', 0, $2, 0, 0 from unnest($1::bytea[]) as u (id)";
                sqlx::query(sql).bind(self.accounts.clone()).bind(OPENING).execute(pool).await?;
                // As any house would have it: plans are made with statistics.
                sqlx::raw_sql("analyze baseline_accounts").execute(pool).await?;
            }
        }
        Ok(())
    }

    /// One transfer in one transaction. Errors: an account number that was not prepared.
    pub async fn transfer(&self, transfer: BaselineTransfer) -> Result<BaselineOutcome, StoreError> {
        let (debit, credit) = (self.account(transfer.debit)?, self.account(transfer.credit)?);
        let mut tx = self.begin().await?;
        match post(&mut tx, debit, credit, &transfer).await? {
            BaselineOutcome::Posted => tx.commit().await.map(|()| BaselineOutcome::Posted),
            // Dropping the transaction takes it back.
            refused => Ok(refused),
        }
    }

    fn account(&self, number: usize) -> Result<[u8; 16], StoreError> {
        let missing = || StoreError::Setup(format!("the baseline has no account {number}: prepare more"));
        self.accounts.get(number).copied().ok_or_else(missing)
    }

    async fn begin(&self) -> Result<Tx<'static>, StoreError> {
        Ok(match &self.connections {
            Connections::Sqlite(pool) => Tx::Sqlite(pool.begin_with("begin immediate").await?),
            Connections::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Adds everything up.
    pub async fn audit(&self) -> Result<BaselineAudit, StoreError> {
        const SQL: &str = "select (select count(*) from baseline_entries),
            (select cast(coalesce(sum(case when side % 2 = 0 then amount else -amount end), 0) as bigint) from baseline_postings),
            (select cast(coalesce(sum(debits_posted - credits_posted + $1), 0) as bigint) from baseline_accounts)";
        let audit = |row: &dyn Fn(usize) -> Result<i64, StoreError>| {
            let (entries, postings) = (row(0)?, row(1)?);
            Ok(BaselineAudit { entries, postings, drift: row(2)? - postings })
        };
        match &self.connections {
            Connections::Sqlite(pool) => {
                let row = sqlx::query(SQL).bind(OPENING).fetch_one(pool).await?;
                audit(&|at| row.long(at))
            }
            Connections::Postgres(pool) => {
                let row = sqlx::query(SQL).bind(OPENING).fetch_one(pool).await?;
                audit(&|at| row.long(at))
            }
        }
    }
}

async fn post(
    tx: &mut Tx<'_>,
    debit: [u8; 16],
    credit: [u8; 16],
    transfer: &BaselineTransfer,
) -> Result<BaselineOutcome, StoreError> {
    let (amount, at) = (transfer.amount, transfer.at);
    let lock = tx.either(LOCK[0], LOCK[1]);
    on_tx!(tx, connection => {
        let locked = sqlx::query(lock).bind(blob(debit)).bind(blob(credit)).fetch_all(&mut *connection).await?;
        let (mut payer, mut payee) = (None, None);
        for row in &locked {
            let balance = row.long(2)? - row.long(1)? - row.long(3)?;
            match row.fixed::<16>(0)? == debit {
                true => payer = Some(balance),
                false => payee = Some(balance),
            }
        }
        let (Some(payer), Some(payee)) = (payer, payee) else {
            return Err(StoreError::damaged("the baseline's accounts are not there: prepare them again"));
        };
        if payer < amount {
            return Ok(BaselineOutcome::InsufficientFunds);
        }
        let done = sqlx::query(OPERATION)
            .bind(blob(transfer.key))
            .bind(blob(transfer.key))
            .bind(blob([0; 90]))
            .bind(at.0)
            .execute(&mut *connection)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(BaselineOutcome::Repeated);
        }
        let counted = sqlx::query(COUNTER).bind(blob(debit)).bind(at.jst_day()).bind(amount);
        if counted.fetch_one(&mut *connection).await?.long(0)? > DAY_LIMIT {
            return Ok(BaselineOutcome::DayLimit);
        }
        sqlx::query(ENTRY)
            .bind(blob(transfer.entry.as_bytes()))
            .bind(at.0)
            .bind("user:usr_00000000000000000000000000000000")
            .bind(blob(transfer.entry.as_bytes()))
            .bind(Vec::<u8>::new())
            .execute(&mut *connection)
            .await?;
        sqlx::query(POSTINGS)
            .bind(blob(debit))
            .bind(blob(credit))
            .bind(blob(transfer.entry.as_bytes()))
            .bind(amount)
            .bind(payer - amount)
            .bind(payee + amount)
            .execute(&mut *connection)
            .await?;
        sqlx::query(ACCOUNTS).bind(blob(debit)).bind(blob(credit)).bind(amount).execute(connection).await?;
    });
    Ok(BaselineOutcome::Posted)
}
