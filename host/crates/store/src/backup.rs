//! Every row of a database at one moment, in a form that both databases read and write: what backups are made of.
//!
//! Tables and columns are read from the database's own catalogue, so that no table can be forgotten here.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;

use crate::database::{Backend, Columns as _, Store, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::{LaneHead, read_head};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of at most eight bytes.
    Integer,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

impl Kind {
    /// The word in manifests.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::Text => "text",
            Kind::Bytes => "bytes",
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Kind> {
        [Kind::Integer, Kind::Text, Kind::Bytes].into_iter().find(|kind| kind.word() == word)
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A table as the catalogue describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<(String, Kind)>,
    /// Places of the columns of its primary key, in the key's order.
    key: Vec<usize>,
    /// Columns that the database numbers by itself.
    numbered: Vec<String>,
}

/// The database at one moment.
#[derive(Debug)]
pub struct Snapshot {
    tx: Tx<'static>,
}

/// A database that is being filled; dropping it takes everything back.
#[derive(Debug)]
pub struct Filling {
    tx: Tx<'static>,
}

/// Most parameters of one statement: SQLite takes 32,766.
const PARAMETERS_MAX: usize = 30_000;
/// Rows of one statement.
const ROWS_MAX: usize = 500;

impl Store {
    /// The database as it is now and until the snapshot is dropped; hosts go on writing meanwhile.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut tx = match &*self.backend {
            Backend::Sqlite(backend) => Tx::Sqlite(backend.readers.begin().await?),
            Backend::Postgres(backend) => {
                Tx::Postgres(backend.pool().begin_with("begin isolation level repeatable read read only").await?)
            }
        };
        // The moment is that of the first read.
        read_head(&mut tx).await?;
        Ok(Snapshot { tx })
    }

    /// Makes the tables of an empty database and begins to fill them. Errors: [`StoreError::Setup`] if it is not empty.
    pub async fn fill(&self) -> Result<Filling, StoreError> {
        self.prepare().await?;
        let mut tx = self.begin().await?;
        let head = read_head(&mut tx).await?;
        let rows =
            "select (select count(*) from audit) + (select count(*) from operators) + (select count(*) from users)";
        let rows = on_tx!(&mut tx, connection => sqlx::query(rows).fetch_one(connection).await?.long(0)?);
        // Whoever has ever used a database has left a limit, and with it a generation and an audit row.
        if (head.commits, head.generation, rows) != (0, 0, 0) {
            let text =
                "a backup is restored into an empty database, and this one has rows; name another with --database";
            return Err(StoreError::Setup(text.to_owned()));
        }
        for table in tables(&mut tx).await? {
            // The rows that migrations put there come back from the backup.
            let sql = AssertSqlSafe(format!("delete from \"{}\"", table.name));
            on_tx!(&mut tx, connection => { sqlx::query(sql).execute(connection).await?; });
        }
        Ok(Filling { tx })
    }
}

impl Snapshot {
    /// The lane's head at this moment.
    pub async fn head(&mut self) -> Result<LaneHead, StoreError> {
        read_head(&mut self.tx).await
    }

    /// Every table, in order of name.
    pub async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        tables(&mut self.tx).await
    }

    /// Rows behind this one, in order of the primary key.
    pub async fn rows_after(
        &mut self,
        table: &Table,
        after: Option<&[Cell]>,
        limit: u16,
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let sql = AssertSqlSafe(select(table, after.is_some(), matches!(self.tx, Tx::Postgres(_))));
        let key: Vec<Cell> = after.map_or_else(Vec::new, |row| table.key.iter().map(|at| row[*at].clone()).collect());
        on_tx!(&mut self.tx, connection => {
            let mut query = sqlx::query(sql);
            for cell in key {
                query = match cell {
                    Cell::Null => query.bind(None::<i64>),
                    Cell::Integer(value) => query.bind(value),
                    Cell::Text(value) => query.bind(value),
                    Cell::Bytes(value) => query.bind(value),
                };
            }
            let rows = query.bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter()
                .map(|row| {
                    let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| {
                        Ok(match kind {
                            Kind::Integer => row.maybe_long(at)?.map_or(Cell::Null, Cell::Integer),
                            Kind::Text => row.maybe_text(at)?.map_or(Cell::Null, Cell::Text),
                            Kind::Bytes => row.maybe_bytes(at)?.map_or(Cell::Null, Cell::Bytes),
                        })
                    });
                    cells.collect()
                })
                .collect()
        })
    }
}

impl Filling {
    /// Every table that this program made, in order of name.
    pub async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        tables(&mut self.tx).await
    }

    /// Puts rows into a table. They must have its columns.
    pub async fn put(&mut self, table: &Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        let columns = table.columns.len().max(1);
        let at_once = (PARAMETERS_MAX / columns).clamp(1, ROWS_MAX);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let part: Vec<Vec<Cell>> = rows.by_ref().take(at_once).collect();
            let sql = AssertSqlSafe(insert(table, part.len()));
            on_tx!(&mut self.tx, connection => {
                let mut query = sqlx::query(sql).persistent(false);
                for (cell, (_, kind)) in part.into_iter().flat_map(|row| row.into_iter().zip(&table.columns)) {
                    query = match (cell, kind) {
                        (Cell::Null, Kind::Integer) => query.bind(None::<i64>),
                        (Cell::Null, Kind::Text) => query.bind(None::<String>),
                        (Cell::Null, Kind::Bytes) => query.bind(None::<Vec<u8>>),
                        (Cell::Integer(value), _) => query.bind(value),
                        (Cell::Text(value), _) => query.bind(value),
                        (Cell::Bytes(value), _) => query.bind(value),
                    };
                }
                query.execute(connection).await?;
            });
        }
        Ok(())
    }

    /// Sets the counters of columns that the database numbers, and commits.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        if matches!(self.tx, Tx::Postgres(_)) {
            for table in tables(&mut self.tx).await? {
                for column in &table.numbered {
                    let name = &table.name;
                    let sql = AssertSqlSafe(format!(
                        "select setval(pg_get_serial_sequence('\"{name}\"', '{column}'),
                            coalesce((select max(\"{column}\") from \"{name}\"), 0) + 1, false)"
                    ));
                    on_tx!(&mut self.tx, connection => { sqlx::query(sql).execute(connection).await?; });
                }
            }
        }
        self.tx.commit().await
    }
}

const SQLITE_TABLES: &str =
    "select t.name, c.name, lower(c.type), cast(c.pk - 1 as integer), 0 from sqlite_master t, pragma_table_info(t.name) c
    where t.type = 'table' and t.name not like 'sqlite~_%' escape '~' and t.name <> '_sqlx_migrations' order by t.name, c.cid";
/// A key's vector of columns counts from 0. Partitions come with the table that they are of.
const POSTGRES_TABLES: &str = "select t.relname::text, c.attname::text, format_type(c.atttypid, null),
        coalesce(array_position(k.indkey::int2[], c.attnum), -1)::int8, (c.attidentity <> '')::int::int8
    from pg_class t join pg_attribute c on c.attrelid = t.oid and c.attnum > 0 and not c.attisdropped
        left join pg_index k on k.indrelid = t.oid and k.indisprimary
    where t.relnamespace = current_schema()::regnamespace and t.relkind in ('r', 'p') and not t.relispartition
        and t.relname <> '_sqlx_migrations' order by t.relname, c.attnum";

async fn tables(tx: &mut Tx<'_>) -> Result<Vec<Table>, StoreError> {
    let sql = tx.either(SQLITE_TABLES, POSTGRES_TABLES);
    let columns: Vec<(String, String, String, i64, i64)> = on_tx!(tx, connection => {
        let rows = sqlx::query(sql).fetch_all(connection).await?;
        let columns = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.text(2)?, row.long(3)?, row.long(4)?)));
        columns.collect::<Result<_, StoreError>>()?
    });
    let mut tables: Vec<Table> = Vec::new();
    let mut keys: Vec<(i64, usize)> = Vec::new();
    for (name, column, declared, place, numbered) in columns {
        if tables.last().is_none_or(|table| table.name != name) {
            close(&mut tables, &mut keys);
            tables.push(Table { name, columns: Vec::new(), key: Vec::new(), numbered: Vec::new() });
        }
        let Some(table) = tables.last_mut() else { continue };
        let kind = match declared.as_str() {
            "integer" | "bigint" | "smallint" => Kind::Integer,
            "text" => Kind::Text,
            "blob" | "bytea" => Kind::Bytes,
            other => {
                let name = &table.name;
                return Err(StoreError::Setup(format!(
                    "column {column} of {name} has the type {other}, which no backup knows"
                )));
            }
        };
        if place >= 0 {
            keys.push((place, table.columns.len()));
        }
        if numbered != 0 {
            table.numbered.push(column.clone());
        }
        table.columns.push((column, kind));
    }
    close(&mut tables, &mut keys);
    match tables.iter().find(|table| table.key.is_empty()) {
        Some(table) => {
            Err(StoreError::Setup(format!("the table {} has no primary key, which a backup needs", table.name)))
        }
        None => Ok(tables),
    }
}

/// Gives the last table the columns of its key, in the key's order.
fn close(tables: &mut [Table], keys: &mut Vec<(i64, usize)>) {
    keys.sort_unstable();
    if let Some(table) = tables.last_mut() {
        table.key = keys.iter().map(|(_, at)| *at).collect();
    }
    keys.clear();
}

fn select(table: &Table, is_after: bool, is_postgres: bool) -> String {
    let cast = if is_postgres { "::int8" } else { "" };
    let columns = table.columns.iter().map(|(name, kind)| match kind {
        Kind::Integer => format!("t.\"{name}\"{cast}"),
        Kind::Text | Kind::Bytes => format!("t.\"{name}\""),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let key: Vec<String> = table.key.iter().map(|at| format!("t.\"{}\"", table.columns[*at].0)).collect();
    let (key, places) = (key.join(", "), table.key.len());
    let mut sql = format!("select {columns} from \"{}\" t", table.name);
    if is_after {
        let values: Vec<String> = (1..=places).map(|place| format!("${place}")).collect();
        let _ = write!(sql, " where ({key}) > ({})", values.join(", "));
    }
    let limit = if is_after { places + 1 } else { 1 };
    let _ = write!(sql, " order by {key} limit ${limit}");
    sql
}

fn insert(table: &Table, rows: usize) -> String {
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let mut sql = format!("insert into \"{}\" ({}) values ", table.name, names.join(", "));
    let mut parameter = 1;
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..names.len() {
            let _ = write!(sql, "{}${parameter}", if column == 0 { "" } else { ", " });
            parameter += 1;
        }
        sql.push(')');
    }
    sql
}
