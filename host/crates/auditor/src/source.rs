//! A database as it is: rows of either dialect, read inside one snapshot.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, TypeInfo as _,
    ValueRef as _,
};

use crate::AuditError;

/// A connection of the auditor's own.
#[derive(Debug)]
pub enum Source {
    /// A file.
    Sqlite(Box<SqliteConnection>),
    /// A server's database.
    Postgres(Box<PgConnection>),
}

/// What stands in one column of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
}

/// One row, by the names of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Row(Vec<(String, Cell)>);

/// An id's bytes.
pub(crate) type Id = [u8; 16];

impl Row {
    fn cell(&self, name: &str) -> Result<&Cell, AuditError> {
        let found = self.0.iter().find(|(column, _)| column == name).map(|(_, cell)| cell);
        found.ok_or_else(|| AuditError::Unreadable(format!("there is no column `{name}` any more")))
    }

    pub(crate) fn int(&self, name: &str) -> Result<i64, AuditError> {
        match self.cell(name)? {
            Cell::Int(number) => Ok(*number),
            other => Err(AuditError::Unreadable(format!("`{name}` is {other:?}, not a number"))),
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<&[u8], AuditError> {
        match self.cell(name)? {
            Cell::Bytes(bytes) => Ok(bytes),
            other => Err(AuditError::Unreadable(format!("`{name}` is {other:?}, not bytes"))),
        }
    }

    pub(crate) fn maybe_bytes(&self, name: &str) -> Result<Option<&[u8]>, AuditError> {
        if *self.cell(name)? == Cell::Null { Ok(None) } else { self.bytes(name).map(Some) }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, AuditError> {
        let text = std::str::from_utf8(self.bytes(name)?);
        text.map_err(|_| AuditError::Unreadable(format!("`{name}` is no text")))
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Result<Option<&str>, AuditError> {
        if *self.cell(name)? == Cell::Null { Ok(None) } else { self.text(name).map(Some) }
    }

    pub(crate) fn id(&self, name: &str) -> Result<Id, AuditError> {
        let bytes = self.bytes(name)?;
        bytes.try_into().map_err(|_| AuditError::Unreadable(format!("`{name}` has {} bytes, not 16", bytes.len())))
    }

    pub(crate) fn maybe_id(&self, name: &str) -> Result<Option<Id>, AuditError> {
        if *self.cell(name)? == Cell::Null { Ok(None) } else { self.id(name).map(Some) }
    }

    pub(crate) fn hash(&self, name: &str) -> Result<[u8; 32], AuditError> {
        let bytes = self.bytes(name)?;
        bytes.try_into().map_err(|_| AuditError::Unreadable(format!("`{name}` has {} bytes, not 32", bytes.len())))
    }
}

/// How long the auditor waits for a writer of the same file.
const PATIENCE: Duration = Duration::from_secs(30);

impl Source {
    /// Connects to `sqlite:PATH` or `postgres://…`. A file that is not there is not made.
    pub async fn open(url: &str) -> Result<Source, AuditError> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?.create_if_missing(false).busy_timeout(PATIENCE);
            return Ok(Source::Sqlite(Box::new(options.connect().await?)));
        }
        Ok(Source::Postgres(Box::new(url.parse::<PgConnectOptions>()?.connect().await?)))
    }

    /// Hangs up.
    pub async fn close(self) {
        let _ = match self {
            Source::Sqlite(connection) => connection.close().await,
            Source::Postgres(connection) => connection.close().await,
        };
    }

    pub(crate) async fn begin(&mut self) -> Result<(), AuditError> {
        match self {
            Source::Sqlite(connection) => connection.execute("begin").await.map(drop)?,
            Source::Postgres(connection) => {
                connection.execute("begin isolation level repeatable read read only").await.map(drop)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn end(&mut self) -> Result<(), AuditError> {
        match self {
            Source::Sqlite(connection) => connection.execute("rollback").await.map(drop)?,
            Source::Postgres(connection) => connection.execute("rollback").await.map(drop)?,
        }
        Ok(())
    }

    /// The names of the tables there are.
    pub(crate) async fn tables(&mut self) -> Result<Vec<String>, AuditError> {
        let sql = match self {
            Source::Sqlite(_) => "select name from sqlite_master where type = 'table'",
            Source::Postgres(_) => "select tablename::text as name from pg_tables where schemaname = current_schema()",
        };
        self.rows(sql).await?.iter().map(|row| row.text("name").map(str::to_owned)).collect()
    }

    /// All rows that a statement gives.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, AuditError> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Source::Sqlite(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await?;
                rows.iter()
                    .map(|row| {
                        let cells = row.columns().iter().map(|column| {
                            let at = column.ordinal();
                            let value = row.try_get_raw(at)?;
                            let cell = match (value.is_null(), value.type_info().name()) {
                                (true, _) => Cell::Null,
                                (_, "INTEGER") => Cell::Int(row.try_get_unchecked(at)?),
                                _ => Cell::Bytes(row.try_get_unchecked(at)?),
                            };
                            Ok((column.name().to_owned(), cell))
                        });
                        cells.collect::<Result<_, AuditError>>().map(Row)
                    })
                    .collect()
            }
            Source::Postgres(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await?;
                rows.iter()
                    .map(|row| {
                        let cells = row.columns().iter().map(|column| {
                            let value = row.try_get_raw(column.ordinal())?;
                            let cell = match value.is_null() {
                                true => Cell::Null,
                                false => {
                                    let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
                                    wire(value.type_info().name(), bytes)
                                }
                            };
                            Ok((column.name().to_owned(), cell))
                        });
                        cells.collect::<Result<_, AuditError>>().map(Row)
                    })
                    .collect()
            }
        }
    }
}

/// A value of the server's binary format: integers of any width, and everything else as the bytes it is.
fn wire(kind: &str, bytes: &[u8]) -> Cell {
    let int = match (kind, bytes) {
        ("INT2", [a, b]) => Some(i64::from(i16::from_be_bytes([*a, *b]))),
        ("INT4", [a, b, c, d]) => Some(i64::from(i32::from_be_bytes([*a, *b, *c, *d]))),
        ("INT8", bytes) => bytes.try_into().ok().map(i64::from_be_bytes),
        ("BOOL", [flag]) => Some(i64::from(*flag)),
        _ => None,
    };
    int.map_or_else(|| Cell::Bytes(bytes.to_vec()), Cell::Int)
}
