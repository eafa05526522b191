//! A database of the bench's own on either store, made for one run and gone after it.

use std::path::PathBuf;
use std::str::FromStr as _;

use anyhow::Context as _;
use koban_domain::ids::UserId;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_service::clock;
use koban_store::Dialect;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::processor::Processor;

/// Rows in one bulk statement.
const ROWS: usize = 10_000;

/// A fresh database.
pub(super) struct Fresh {
    url: String,
    home: Home,
}

enum Home {
    Directory(PathBuf),
    Server { admin: Box<PgConnectOptions>, name: String },
}

impl Fresh {
    /// A file in a new directory below the system's place for temporary files, or below `TMPDIR`.
    pub(super) fn sqlite() -> anyhow::Result<Fresh> {
        let dir = std::env::temp_dir().join(format!("koban-bench-{}", unique()));
        std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made; set TMPDIR", dir.display()))?;
        Ok(Fresh { url: format!("sqlite:{}", dir.join("koban.db").display()), home: Home::Directory(dir) })
    }

    /// A new database on this server, whose user may create databases.
    pub(super) async fn postgres(url: &str) -> anyhow::Result<Fresh> {
        let admin = PgConnectOptions::from_str(url).context("--postgres is no address of a PostgreSQL")?;
        // Making and dropping a database takes a while, and nobody is waiting for it.
        let admin = admin.disable_statement_logging();
        let name = format!("koban_bench_{}", unique());
        let mut connection = admin.connect().await.context("the PostgreSQL given with --postgres does not answer")?;
        // The name is ours and made of letters, digits and underscores.
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let url = with_database(url, &name);
        Ok(Fresh { url, home: Home::Server { admin: Box::new(admin), name } })
    }

    /// Its address, as the store and pgbench take it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Which database it is.
    pub(super) fn dialect(&self) -> Dialect {
        match self.home {
            Home::Directory(_) => Dialect::Sqlite,
            Home::Server { .. } => Dialect::Postgres,
        }
    }

    /// Where it lies, for people.
    pub(super) fn place(&self) -> String {
        match &self.home {
            Home::Directory(dir) => dir.display().to_string(),
            Home::Server { name, .. } => format!("{} on {}", name, crate::config::shown(&self.url)),
        }
    }

    /// Removes it.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        match self.home {
            Home::Directory(dir) => {
                std::fs::remove_dir_all(&dir).with_context(|| format!("{} cannot be removed", dir.display()))
            }
            Home::Server { admin, name } => {
                let mut connection = admin.connect().await?;
                let sql = format!("drop database if exists {name} with (force)");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
                Ok(())
            }
        }
    }
}

/// Writes what the bench needs by the ten thousand, where the service goes one by one.
pub(super) enum Bulk {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Bulk {
    /// A connection of its own.
    pub(super) async fn open(fresh: &Fresh) -> anyhow::Result<Bulk> {
        Ok(match fresh.dialect() {
            Dialect::Sqlite => Bulk::Sqlite(SqliteConnectOptions::from_str(&fresh.url)?.connect().await?),
            Dialect::Postgres => Bulk::Postgres(PgConnectOptions::from_str(&fresh.url)?.connect().await?),
        })
    }

    /// Verified users without a password.
    pub(super) async fn users(&mut self, users: &[UserId], now: Timestamp) -> anyhow::Result<()> {
        for part in users.chunks(ROWS) {
            let ids = part.iter().map(|user| hex::encode(user.bytes()));
            match self {
                Bulk::Sqlite(connection) => {
                    let sql = "insert into users (id, kind, verification, created_at, display_name, locale)
                        select unhex(value), 2, 3, $2, 'bench', 'ja' from json_each($1)";
                    sqlx::query(sql).bind(list(ids)).bind(now.0).execute(connection).await?;
                }
                Bulk::Postgres(connection) => {
                    let sql = "insert into users (id, kind, verification, created_at, display_name, locale)
                        select decode(id, 'hex'), 2, 3, $2, 'bench', 'ja' from json_array_elements_text($1::json) as t (id)";
                    sqlx::query(sql).bind(list(ids)).bind(now.0).execute(connection).await?;
                }
            }
        }
        Ok(())
    }

    /// Sessions of these users under these hashes, for a day.
    pub(super) async fn sessions(&mut self, rows: &[(Digest, UserId)], now: Timestamp) -> anyhow::Result<()> {
        const DAY_MS: i64 = 86_400_000;
        for part in rows.chunks(ROWS) {
            let rows = part.iter().map(|(hash, user)| format!("{hash}{}", hex::encode(user.bytes())));
            let (rows, until) = (list(rows), now.plus_ms(DAY_MS).0);
            match self {
                Bulk::Sqlite(connection) => {
                    let sql = "insert into sessions (token_hash, id, owner_kind, owner_id, created_at, expires_at, last_seen)
                        select unhex(substr(value, 1, 64)), unhex(substr(value, 65)), 1, unhex(substr(value, 65)), $2, $3, $2
                        from json_each($1)";
                    sqlx::query(sql).bind(rows).bind(now.0).bind(until).execute(connection).await?;
                }
                Bulk::Postgres(connection) => {
                    let sql = "insert into sessions (token_hash, id, owner_kind, owner_id, created_at, expires_at, last_seen)
                        select decode(substr(v, 1, 64), 'hex'), decode(substr(v, 65), 'hex'), 1, decode(substr(v, 65), 'hex'),
                            $2, $3, $2
                        from json_array_elements_text($1::json) as t (v)";
                    sqlx::query(sql).bind(rows).bind(now.0).bind(until).execute(connection).await?;
                }
            }
        }
        Ok(())
    }

    /// The processor time of this process and of the server behind this connection.
    pub(super) async fn processor(&mut self) -> anyhow::Result<Processor> {
        match self {
            Bulk::Sqlite(_) => Ok(Processor::host()),
            Bulk::Postgres(connection) => {
                let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await?;
                Ok(Processor::with_backend(pid))
            }
        }
    }

    /// Has the database look at the tables that are full now, as its own housekeeping would have done long ago. Not at those that
    /// are still empty: it would plan for them to stay so.
    pub(super) async fn analyze(&mut self) -> anyhow::Result<()> {
        match self {
            Bulk::Sqlite(_) => {}
            Bulk::Postgres(connection) => {
                sqlx::query("vacuum analyze users, sessions, merchants, accounts, entries").execute(connection).await?;
            }
        }
        Ok(())
    }
}

/// Texts without special characters as a JSON list.
fn list(texts: impl Iterator<Item = String>) -> String {
    let mut json = String::from("[");
    for text in texts {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('"');
        json.push_str(&text);
        json.push('"');
    }
    json.push(']');
    json
}

/// The address with another database. Driver and pgbench both have to understand it, so nothing else is changed.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let server = address[authority..].find('/').map_or(address, |at| &address[..authority + at]);
    query.map_or_else(|| format!("{server}/{name}"), |query| format!("{server}/{name}?{query}"))
}

fn unique() -> String {
    let mut bytes = [0; 6];
    clock::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_database_of_an_address_is_changed() {
        for (given, expected) in [
            ("postgres://koban@127.0.0.1:5432/koban", "postgres://koban@127.0.0.1:5432/b"),
            ("postgres:///koban?host=/run/postgresql", "postgres:///b?host=/run/postgresql"),
            ("postgres://localhost", "postgres://localhost/b"),
        ] {
            assert_eq!(super::with_database(given, "b"), expected);
        }
    }

    #[test]
    fn texts_become_a_json_list() {
        let json = super::list(["a".to_owned(), "b".to_owned()].into_iter());
        assert_eq!(json, r#"["a","b"]"#);
        assert_eq!(super::list(std::iter::empty()), "[]");
    }
}
