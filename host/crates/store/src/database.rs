//! The two databases behind one door: opening them, their settings, and how a query is written once for both.
//!
//! Both dialects take `$1`, `on conflict` and `returning`, and both files of migrations use the same names, so that most SQL
//! is one text. `on!` runs a body against whichever database is open; rows are read through [`Columns`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use koban_domain::money::Currency;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{ColumnIndex, Connection as _, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use crate::error::StoreError;
use crate::servers::{Role, Servers};

/// Where the database is.
#[derive(Debug, Clone)]
pub struct Config {
    /// `sqlite:PATH` or `postgres://…`, which may name several servers, `postgres://one,two/koban`. A PostgreSQL on this machine is best reached through its Unix socket:
    /// `postgres:///koban?host=/run/postgresql`.
    pub url: String,
    /// Most connections for queries; the ledger and readers have their own beside them.
    pub connections_max: u32,
}

impl Config {
    /// The database at this address, with the usual number of connections.
    pub fn new(url: impl Into<String>) -> Config {
        Config { url: url.into(), connections_max: 8 }
    }
}

/// The rows of one platform. Cheap to clone; every clone is the same database.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) backend: Arc<Backend>,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file beside the host.
    Sqlite,
    /// A server.
    Postgres,
}

impl Dialect {
    /// The word in settings, reports and rows of the bench.
    pub const fn word(self) -> &'static str {
        match self {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
        }
    }
}

#[derive(Debug)]
pub(crate) enum Backend {
    Sqlite(SqliteBackend),
    Postgres(PostgresBackend),
}

#[derive(Debug)]
pub(crate) struct SqliteBackend {
    /// Connections that only read.
    pub(crate) readers: SqlitePool,
    /// The one connection that writes: a fair queue of ours instead of SQLite's polling for its lock.
    pub(crate) writer: SqlitePool,
    /// Commits of the ledger, each of which synced the log once.
    pub(crate) commits: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct PostgresBackend {
    pub(crate) servers: Servers,
}

impl PostgresBackend {
    /// Connections for queries.
    pub(crate) fn pool(&self) -> PgPool {
        self.servers.pool()
    }
}

/// Runs a body that reads, against whichever database is open: `on!(store, pool => sqlx::query(SQL).fetch_all(pool).await?)`.
/// The body is compiled once for each, so what it returns must not be a database's own type: map rows inside, with [`Columns`].
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &*$store.backend {
            $crate::database::Backend::Sqlite(backend) => {
                let $pool = &backend.readers;
                $body
            }
            $crate::database::Backend::Postgres(backend) => {
                let $pool = &backend.pool();
                $body
            }
        }
    };
}

/// As `on!`, for one statement that writes. It is its own transaction.
macro_rules! on_write {
    ($store:expr, $pool:ident => $body:expr) => {
        match &*$store.backend {
            $crate::database::Backend::Sqlite(backend) => {
                let $pool = &backend.writer;
                $body
            }
            $crate::database::Backend::Postgres(backend) => {
                let $pool = &backend.pool();
                $body
            }
        }
    };
}

/// As `on!`, inside a transaction: `on_tx!(tx, connection => sqlx::query(SQL).execute(&mut *connection).await?)`, where `tx` is a
/// `&mut Tx`.
macro_rules! on_tx {
    ($tx:expr, $connection:ident => $body:expr) => {
        match $tx {
            $crate::database::Tx::Sqlite(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
            $crate::database::Tx::Postgres(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}

/// The row that a statement finds, if it finds one: `one!(store, SQL, [value, value], read)`, where `read` makes the value of a row.
macro_rules! one {
    ($store:expr, $sql:expr, [$($value:expr),* $(,)?], $read:expr) => {
        $crate::database::on!($store, pool => sqlx::query($sql)
            $(.bind($value))*
            .fetch_optional(pool)
            .await?
            .map(|row| $read(&row))
            .transpose())
    };
}

/// As `one!`, for all rows that a statement finds, in its order. The statement bounds them.
macro_rules! all {
    ($store:expr, $sql:expr, [$($value:expr),* $(,)?], $read:expr) => {
        $crate::database::on!($store, pool => sqlx::query($sql)
            $(.bind($value))*
            .fetch_all(pool)
            .await?
            .iter()
            .map($read)
            .collect())
    };
}

pub(crate) use {all, on, on_tx, on_write, one};

/// A transaction on either database. Dropping it without `commit` takes everything back.
#[derive(Debug)]
pub(crate) enum Tx<'a> {
    Sqlite(Transaction<'a, Sqlite>),
    Postgres(Transaction<'a, Postgres>),
}

impl Tx<'_> {
    /// Commits. Errors: [`StoreError::Unknown`] if nobody can say whether it happened.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Tx::Sqlite(transaction) => transaction.commit().await,
            Tx::Postgres(transaction) => transaction.commit().await,
        }
        .map_err(StoreError::at_commit)
    }

    /// The text for this database, where the two differ.
    pub(crate) fn either(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Tx::Sqlite(_) => sqlite,
            Tx::Postgres(_) => postgres,
        }
    }
}

const ACQUIRE: Duration = Duration::from_secs(10);
const SQLITE_BUSY: Duration = Duration::from_secs(5);
/// Pages of the log between checkpoints; ledger-notes measured 1.4 times the rate of the default 1,000.
const WAL_AUTOCHECKPOINT_PAGES: &str = "16000";
const WRITER_CACHE_KIB: &str = "-65536";
const READER_CACHE_KIB: &str = "-8192";

impl Store {
    /// Opens the database; an SQLite file is made if it is not there. Runs no migration. Errors: [`StoreError::Setup`] for an
    /// address that is none or lets nobody in, [`StoreError::Unreachable`] if nobody answers within seconds.
    pub async fn open(config: &Config) -> Result<Store, StoreError> {
        Store::open_remembering(config, None).await
    }

    /// The same for a host that notes in this file which server it has written to, so that it never goes back to one that was
    /// replaced meanwhile. Errors: as [`Store::open`]; [`StoreError::NoPrimary`] if none of the servers takes writes.
    pub async fn open_remembering(config: &Config, servers_seen: Option<PathBuf>) -> Result<Store, StoreError> {
        let backend = match config.url.split_once(':') {
            Some(("sqlite", path)) => Backend::Sqlite(open_sqlite(path, config.connections_max).await?),
            Some(("postgres" | "postgresql", _)) => {
                let servers = Servers::open(&config.url, config.connections_max, servers_seen).await?;
                Backend::Postgres(PostgresBackend { servers })
            }
            _ => {
                let text = "the database's address begins with `sqlite:` and a path, or with `postgres://`";
                return Err(StoreError::Setup(text.to_owned()));
            }
        };
        Ok(Store { backend: Arc::new(backend) })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on!(self, pool => sqlx::query("select 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Looks for the primary again, for a host whose database does not answer as it should. Errors: [`StoreError::NoPrimary`] if
    /// there is none now.
    pub async fn reconnect(&self) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(backend) => backend.servers.choose_again().await,
        }
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match &*self.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Closes every connection; SQLite folds its log into the file. Work that still runs ends first.
    pub async fn close(&self) {
        match &*self.backend {
            Backend::Sqlite(backend) => {
                backend.readers.close().await;
                backend.writer.close().await;
            }
            Backend::Postgres(backend) => backend.pool().close().await,
        }
    }

    /// Begins a short transaction that does not touch the ledger. Commits wait for it on SQLite, and wherever it locks what
    /// they need: do nothing slow inside.
    pub(crate) async fn begin(&self) -> Result<Tx<'static>, StoreError> {
        Ok(match &*self.backend {
            Backend::Sqlite(backend) => Tx::Sqlite(backend.writer.begin_with("begin immediate").await?),
            Backend::Postgres(backend) => Tx::Postgres(backend.pool().begin().await?),
        })
    }

    /// Begins a transaction that only reads: on SQLite it sees one moment and holds nobody up.
    pub(crate) async fn begin_read(&self) -> Result<Tx<'static>, StoreError> {
        Ok(match &*self.backend {
            Backend::Sqlite(backend) => Tx::Sqlite(backend.readers.begin().await?),
            Backend::Postgres(backend) => Tx::Postgres(backend.pool().begin().await?),
        })
    }

    /// The text for this database, where the two differ.
    pub(crate) fn either(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.dialect() {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        }
    }

    /// The settings that durability and fencing rest on, as the database says they are on a ledger connection.
    pub async fn settings_read_back(&self) -> Result<Vec<(String, String)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(backend) => {
                let mut connection = backend.writer.acquire().await?;
                let mut settings = Vec::with_capacity(SQLITE_SETTINGS.len());
                for (name, sql) in SQLITE_SETTINGS {
                    let row = sqlx::query(*sql).fetch_one(&mut *connection).await?;
                    let value = match row.try_get::<String, _>(0) {
                        Ok(text) => text,
                        Err(_) => row.long(0)?.to_string(),
                    };
                    settings.push(((*name).to_owned(), value));
                }
                Ok(settings)
            }
            Backend::Postgres(backend) => {
                let mut connection = backend.servers.connect(Role::Ledger).await?;
                let rows = sqlx::query(POSTGRES_SETTINGS).fetch_all(&mut connection).await?;
                let settings = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect();
                connection.close().await?;
                settings
            }
        }
    }

    /// How many transactions this database ended because they waited for each other, since its statistics began. SQLite has one
    /// writer and counts none.
    pub async fn deadlocks(&self) -> Result<Option<i64>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(_) => Ok(None),
            Backend::Postgres(backend) => {
                let sql = "select deadlocks from pg_stat_database where datname = current_database()";
                sqlx::query(sql).fetch_one(&backend.pool()).await?.long(0).map(Some)
            }
        }
    }

    /// How often the log was synced to disk since some fixed time in the past: PostgreSQL's own counter, or for SQLite the
    /// ledger commits of this process, each of which syncs once under `synchronous = full`.
    pub async fn syncs(&self) -> Result<i64, StoreError> {
        match &*self.backend {
            Backend::Sqlite(backend) => Ok(i64::try_from(backend.commits.load(Ordering::Relaxed)).unwrap_or(i64::MAX)),
            Backend::Postgres(backend) => {
                // Version 18 moved the counter from pg_stat_wal to pg_stat_io.
                let row = sqlx::query("select current_setting('server_version_num')::int4")
                    .fetch_one(&backend.pool())
                    .await?;
                let sql = if row.int(0)? >= 180_000 {
                    "select coalesce(sum(fsyncs), 0)::int8 from pg_stat_io where object = 'wal'"
                } else {
                    "select wal_sync::int8 from pg_stat_wal"
                };
                sqlx::query(sql).fetch_one(&backend.pool()).await?.long(0)
            }
        }
    }
}

const SQLITE_SETTINGS: &[(&str, &str)] = &[
    ("journal_mode", "pragma journal_mode"),
    ("synchronous", "pragma synchronous"),
    ("wal_autocheckpoint", "pragma wal_autocheckpoint"),
    ("busy_timeout", "pragma busy_timeout"),
    ("cache_size", "pragma cache_size"),
    ("page_size", "pragma page_size"),
    ("sqlite_version", "select sqlite_version()"),
];

const POSTGRES_SETTINGS: &str = "select name, setting || coalesce(unit, '') from pg_settings where name in (
    'server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'statement_timeout',
    'lock_timeout', 'idle_in_transaction_session_timeout', 'tcp_user_timeout', 'tcp_keepalives_idle', 'enable_seqscan',
    'plan_cache_mode', 'shared_buffers', 'max_wal_size') order by name";

async fn open_sqlite(path: &str, readers_max: u32) -> Result<SqliteBackend, StoreError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(StoreError::Setup("name a file: `sqlite:koban.db`; a ledger in memory would be lost".to_owned()));
    }
    make_private(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY)
        .foreign_keys(false)
        .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
        .pragma("temp_store", "memory")
        .row_buffer_size(1_000);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // When a disk is full or fails, SQLite takes the transaction back by itself, and the driver goes on believing in it: every
        // later one would be refused. Such a connection is closed, and another takes its place.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options.clone().pragma("cache_size", WRITER_CACHE_KIB))
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(readers_max.max(1))
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options.pragma("cache_size", READER_CACHE_KIB).pragma("query_only", "on"))
        .await?;
    Ok(SqliteBackend { readers, writer, commits: AtomicU64::new(0) })
}

/// A new file is its owner's alone. SQLite gives its log and index the mode of the file they belong to.
fn make_private(path: &str) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Setup(format!("the file {path} cannot be made: {error}"))),
    }
}

/// Names a column: by its name, or by its place where every microsecond counts.
pub(crate) trait Place: Copy + ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + std::fmt::Display {}
impl Place for &str {}
impl Place for usize {}

/// Reading a row of either database into plain values. Errors: [`StoreError::Damaged`] names the column.
pub(crate) trait Columns {
    /// Bytes.
    fn bytes(&self, at: impl Place) -> Result<Vec<u8>, StoreError>;
    /// Bytes or nothing.
    fn maybe_bytes(&self, at: impl Place) -> Result<Option<Vec<u8>>, StoreError>;
    /// Exactly so many bytes: an id (16) or a digest (32).
    fn fixed<const N: usize>(&self, at: impl Place) -> Result<[u8; N], StoreError>;
    /// Exactly so many bytes or nothing.
    fn maybe_fixed<const N: usize>(&self, at: impl Place) -> Result<Option<[u8; N]>, StoreError>;
    /// Text.
    fn text(&self, at: impl Place) -> Result<String, StoreError>;
    /// Text or nothing.
    fn maybe_text(&self, at: impl Place) -> Result<Option<String>, StoreError>;
    /// A `bigint`.
    fn long(&self, at: impl Place) -> Result<i64, StoreError>;
    /// A `bigint` or nothing.
    fn maybe_long(&self, at: impl Place) -> Result<Option<i64>, StoreError>;
    /// An `integer`.
    fn int(&self, at: impl Place) -> Result<i32, StoreError>;
    /// An `integer` or nothing.
    fn maybe_int(&self, at: impl Place) -> Result<Option<i32>, StoreError>;
    /// A `smallint`.
    fn small(&self, at: impl Place) -> Result<i16, StoreError>;
    /// A `smallint` or nothing.
    fn maybe_small(&self, at: impl Place) -> Result<Option<i16>, StoreError>;
    /// A currency's code.
    fn currency(&self, at: impl Place) -> Result<Currency, StoreError>;

    /// A `smallint` of 0 or 1.
    fn flag(&self, at: impl Place) -> Result<bool, StoreError> {
        Ok(self.small(at)? != 0)
    }
    /// An id's bits.
    fn id(&self, at: impl Place) -> Result<Uuid, StoreError> {
        Ok(Uuid::from_bytes(self.fixed(at)?))
    }
    /// An id's bits or nothing.
    fn maybe_id(&self, at: impl Place) -> Result<Option<Uuid>, StoreError> {
        Ok(self.maybe_fixed(at)?.map(Uuid::from_bytes))
    }
    /// A digest.
    fn digest(&self, at: impl Place) -> Result<Digest, StoreError> {
        Ok(Digest(self.fixed(at)?))
    }
    /// A point in time.
    fn time(&self, at: impl Place) -> Result<Timestamp, StoreError> {
        Ok(Timestamp(self.long(at)?))
    }
    /// A point in time or nothing.
    fn maybe_time(&self, at: impl Place) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_long(at)?.map(Timestamp))
    }
}

macro_rules! columns {
    ($row:ty) => {
        impl Columns for $row {
            fn bytes(&self, at: impl Place) -> Result<Vec<u8>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn maybe_bytes(&self, at: impl Place) -> Result<Option<Vec<u8>>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn fixed<const N: usize>(&self, at: impl Place) -> Result<[u8; N], StoreError> {
                exactly(at, self.try_get(at)?)
            }
            fn maybe_fixed<const N: usize>(&self, at: impl Place) -> Result<Option<[u8; N]>, StoreError> {
                self.try_get::<Option<&[u8]>, _>(at)?.map(|bytes| exactly(at, bytes)).transpose()
            }
            fn text(&self, at: impl Place) -> Result<String, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn maybe_text(&self, at: impl Place) -> Result<Option<String>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn long(&self, at: impl Place) -> Result<i64, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn maybe_long(&self, at: impl Place) -> Result<Option<i64>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn int(&self, at: impl Place) -> Result<i32, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn maybe_int(&self, at: impl Place) -> Result<Option<i32>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn small(&self, at: impl Place) -> Result<i16, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn maybe_small(&self, at: impl Place) -> Result<Option<i16>, StoreError> {
                Ok(self.try_get(at)?)
            }
            fn currency(&self, at: impl Place) -> Result<Currency, StoreError> {
                let code: &str = self.try_get(at)?;
                Currency::new(code).map_err(|error| StoreError::damaged(format!("column {at}: {error}")))
            }
        }
    };
}

columns!(SqliteRow);
columns!(PgRow);

fn exactly<const N: usize>(at: impl Place, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::damaged(format!("column {at} has {} bytes instead of {N}", bytes.len())))
}

/// A value as both databases take it: their drivers agree on owned bytes.
pub(crate) fn blob(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().to_vec()
}
