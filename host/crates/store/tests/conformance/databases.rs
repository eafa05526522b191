//! Fresh databases to test on: an SQLite file always, a PostgreSQL database where `KOBAN_TEST_POSTGRES` names a server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use koban_store::{Config, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A database of one test's own.
pub(crate) struct Database {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    pub(crate) url: String,
    folder: Option<PathBuf>,
}

impl Database {
    /// A second host on the same database.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&Config::new(&self.url)).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Every database that can be tested here, each empty and migrated.
pub(crate) async fn databases() -> Vec<Database> {
    let mut databases = vec![sqlite().await];
    databases.extend(postgres().await);
    databases
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn sqlite() -> Database {
    let folder = std::env::temp_dir().join(format!("koban_store_{}", unique()));
    std::fs::create_dir_all(&folder).unwrap();
    open("sqlite", format!("sqlite:{}", folder.join("koban.db").display()), Some(folder)).await
}

pub(crate) async fn postgres() -> Option<Database> {
    let server = std::env::var("KOBAN_TEST_POSTGRES").ok()?;
    let database = format!("koban_test_{}", unique());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    for sql in [format!("drop database if exists {database}"), format!("create database {database}")] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    Some(open("postgres", format!("{address}/{database}"), None).await)
}

async fn open(name: &'static str, url: String, folder: Option<PathBuf>) -> Database {
    let store = Store::open(&Config { url: url.clone(), connections_max: 4 }).await.unwrap();
    store.migrate().await.unwrap();
    Database { name, store, url, folder }
}
