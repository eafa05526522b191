//! A database of a test's own, on the store that `KOBAN_TEST_STORE` names, and a hand inside it that goes round the host.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use koban_auditor::{Evidence, Invariant, Report, Source};
use koban_service::{clock, replays};
use koban_store::{Config, Store};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::sync::OnceCell;

/// How often the auditor looks while what people outside know is still on its way: two seconds.
const LOOKS_MAX: u32 = 10;

/// Which store this run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// `KOBAN_TEST_STORE`, SQLite if it is not set.
    pub(crate) fn of_this_run() -> Kind {
        match std::env::var("KOBAN_TEST_STORE").as_deref() {
            Err(_) | Ok("" | "sqlite") => Kind::Sqlite,
            Ok("postgres") => Kind::Postgres,
            Ok(other) => panic!("KOBAN_TEST_STORE is `{other}`; set `sqlite` or `postgres`"),
        }
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("koban-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A fresh database that goes with the test.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    url: String,
    folder: Folder,
}

impl Database {
    /// A new, empty database on the store of this run.
    pub(crate) async fn fresh() -> Database {
        match Kind::of_this_run() {
            Kind::Sqlite => Database::sqlite(),
            Kind::Postgres => Database::postgres().await,
        }
    }

    /// A new SQLite file, whatever the store of this run is.
    pub(crate) fn sqlite() -> Database {
        let folder = Folder::new();
        let url = format!("sqlite:{}", folder.path().join("koban.db").display());
        Database { kind: Kind::Sqlite, url, folder }
    }

    /// A new database on the PostgreSQL of `KOBAN_TEST_POSTGRES`.
    pub(crate) async fn postgres() -> Database {
        let server = postgres_server().expect("KOBAN_TEST_POSTGRES names no server; see `cargo xtask postgres`");
        let template = TEMPLATE.get_or_init(|| template(&server)).await;
        let name = database_name();
        let mut connection = connect_postgres(&server).await;
        let sql = format!("create database {name} template {template}");
        connection.execute(AssertSqlSafe(sql)).await.expect("the server makes databases");
        let _ = connection.close().await;
        // It is not dropped: the server would write a checkpoint first, which takes longer than most tests, and xtask's
        // server goes as a whole.
        Database { kind: Kind::Postgres, url: on(&server, &name), folder: Folder::new() }
    }

    /// A new database without any table on the PostgreSQL of `KOBAN_TEST_POSTGRES`.
    pub(crate) async fn empty_postgres() -> Database {
        let server = postgres_server().expect("KOBAN_TEST_POSTGRES names no server; see `cargo xtask postgres`");
        let name = database_name();
        let mut connection = connect_postgres(&server).await;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("the server makes databases");
        let _ = connection.close().await;
        Database { kind: Kind::Postgres, url: on(&server, &name), folder: Folder::new() }
    }

    /// An SQLite file in a folder that is there.
    pub(crate) fn sqlite_in(folder: &Path) -> Database {
        Database {
            kind: Kind::Sqlite,
            url: format!("sqlite:{}", folder.join("koban.db").display()),
            folder: Folder::new(),
        }
    }

    /// A database that somebody made, on a server of their own.
    pub(crate) fn at(url: impl Into<String>) -> Database {
        Database { kind: Kind::Postgres, url: url.into(), folder: Folder::new() }
    }

    /// The database's address, as `--database` takes it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A folder for files of the hosts on this database.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The directory that the hosts on this database share with partners.
    pub(crate) fn partner_files(&self) -> PathBuf {
        let place = self.folder().join("partners");
        std::fs::create_dir_all(&place).expect("the directory is made");
        place
    }

    /// Opens and migrates it.
    pub(crate) async fn store(&self) -> Store {
        let store =
            Store::open(&Config { url: self.url.clone(), connections_max: 4 }).await.expect("the database opens");
        store.migrate().await.expect("the database is migrated");
        store
    }

    /// What the auditor finds, with what people outside know.
    pub(crate) async fn audited(&self, mut evidence: Evidence) -> Report {
        evidence.tills.push(super::TILL.to_owned());
        let mut source = Source::open(&self.url).await.expect("the database opens");
        let report = koban_auditor::audit(&mut source, &evidence).await.expect("the auditor can look");
        source.close().await;
        report
    }

    /// The auditor finds nothing, also where it compares what people outside know. Those are still being told for a moment.
    pub(super) async fn holds(&self) {
        let at_rest = async || self.audited(super::told::of(&self.url).await).await;
        let in_motion = |report: &Report| {
            report.findings.iter().all(|finding| matches!(finding.invariant, Invariant::I9 | Invariant::I10))
        };
        let mut report = at_rest().await;
        for _ in 0..LOOKS_MAX {
            if report.is_clean() || !in_motion(&report) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            report = at_rest().await;
        }
        assert!(report.is_clean(), "{report}");
    }

    /// The auditor finds nothing, and every call of a guest ends again as its record says.
    pub(crate) async fn is_sound(&self) {
        self.holds().await;
        self.records_hold().await;
    }

    /// The same with what a test knows of the outside by itself.
    pub(crate) async fn is_sound_with(&self, evidence: Evidence) {
        let report = self.audited(evidence).await;
        assert!(report.is_clean(), "{report}");
        self.records_hold().await;
    }

    async fn records_hold(&self) {
        let store =
            Store::open(&Config { url: self.url.clone(), connections_max: 4 }).await.expect("the database opens");
        calls_end_as_recorded(&store).await;
        store.close().await;
    }

    /// A connection that goes round the host.
    pub(crate) async fn hand(&self) -> Hand {
        match self.kind {
            Kind::Sqlite => {
                let path = self.url.trim_start_matches("sqlite:");
                let options =
                    SqliteConnectOptions::new().filename(path).busy_timeout(std::time::Duration::from_secs(10));
                Hand::Sqlite(options.connect().await.expect("the file opens"))
            }
            Kind::Postgres => Hand::Postgres(connect_postgres(&self.url).await),
        }
    }
}

/// Runs every record again, and wants it to end as it says. A call that met its deadline says that the machine was ill: none may.
pub(super) async fn calls_end_as_recorded(store: &Store) {
    let summary = replays::replay_all(store, &super::replayer(), &|_| {}).await.expect("the records can be read");
    assert!(summary.is_confirmed() && summary.deadlines == 0, "{summary:#?}");
}

/// A migrated database that the others are copies of: a third of the time that making each from nothing takes.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

async fn template(server: &str) -> String {
    let name = database_name();
    let mut connection = connect_postgres(server).await;
    connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("the server makes databases");
    let _ = connection.close().await;
    let store = Store::open(&Config::new(on(server, &name))).await.expect("the database opens");
    store.migrate().await.expect("the database is migrated");
    store.close().await;
    name
}

fn database_name() -> String {
    let mut random = [0; 8];
    clock::fill(&mut random);
    format!("it_{}", hex::encode(random))
}

/// `KOBAN_TEST_POSTGRES`, if a server was given.
pub(crate) fn postgres_server() -> Option<String> {
    std::env::var("KOBAN_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

async fn connect_postgres(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    options.connect().await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The same server with another database.
fn on(server: &str, name: &str) -> String {
    let (base, query) = server.split_once('?').map_or((server, None), |(base, query)| (base, Some(query)));
    let (scheme, rest) = base.split_once("://").expect("a URL");
    let host = rest.split('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}/{name}{query}")
}

/// A connection beside the host: it reads what is stored, and changes what nobody may.
pub(crate) enum Hand {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

macro_rules! by_hand {
    ($hand:expr, $connection:ident => $body:expr) => {
        match $hand {
            Hand::Sqlite($connection) => $body,
            Hand::Postgres($connection) => $body,
        }
    };
}

impl Hand {
    /// Runs a statement and says how many rows it touched.
    pub(crate) async fn run(&mut self, sql: &str) -> u64 {
        let query = AssertSqlSafe(sql.to_owned());
        by_hand!(self, connection => sqlx::query(query).execute(connection).await.map(|done| done.rows_affected()))
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of the first row, a number.
    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        self.try_number(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As `number`, where the statement may fail.
    pub(crate) async fn try_number(&mut self, sql: &str) -> Result<i64, sqlx::Error> {
        let query = AssertSqlSafe(sql.to_owned());
        by_hand!(self, connection => sqlx::query(query).fetch_one(connection).await?.try_get(0))
    }

    /// The first column of every row, bytes.
    pub(crate) async fn blobs(&mut self, sql: &str) -> Vec<Vec<u8>> {
        let query = AssertSqlSafe(sql.to_owned());
        by_hand!(self, connection => {
            let rows = sqlx::query(query).fetch_all(connection).await;
            rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
        })
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of every row, numbers.
    pub(crate) async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        let query = AssertSqlSafe(sql.to_owned());
        by_hand!(self, connection => {
            let rows = sqlx::query(query).fetch_all(connection).await;
            rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
        })
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of every row, text.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let query = AssertSqlSafe(sql.to_owned());
        by_hand!(self, connection => {
            let rows = sqlx::query(query).fetch_all(connection).await;
            rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
        })
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The tables.
    pub(crate) async fn tables(&mut self) -> Vec<String> {
        let sql = match self {
            Hand::Sqlite(_) => "select name from sqlite_master where type = 'table' order by name",
            Hand::Postgres(_) => "select tablename::text from pg_tables where schemaname = 'public' order by 1",
        };
        self.texts(sql).await
    }

    /// Every row of every table, as text that begins with the table's name.
    pub(crate) async fn everything(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in self.tables().await {
            let sql = match self {
                Hand::Sqlite(_) => {
                    let columns = self.texts(&format!("select name from pragma_table_info('{table}')")).await;
                    let quoted: Vec<String> = columns.iter().map(|name| format!("quote(\"{name}\")")).collect();
                    format!("select {} from \"{table}\" order by 1", quoted.join("||'|'||"))
                }
                Hand::Postgres(_) => format!("select t::text from \"{table}\" t order by 1"),
            };
            rows.extend(self.texts(&sql).await.into_iter().map(|row| format!("{table}: {row}")));
        }
        rows
    }

    /// Puts these bytes into `column` of the one row of `table` that fits `place`.
    pub(crate) async fn put(&mut self, table: &str, column: &str, place: &str, bytes: &[u8]) {
        let sql = format!("update {table} set {column} = $1 where {place}");
        let query = AssertSqlSafe(sql.clone());
        let bytes = bytes.to_vec();
        let touched = by_hand!(self, connection => sqlx::query(query).bind(bytes).execute(connection).await.map(|done| done.rows_affected()));
        assert_eq!(touched.unwrap_or_else(|error| panic!("{sql}: {error}")), 1, "{sql}");
    }
}
