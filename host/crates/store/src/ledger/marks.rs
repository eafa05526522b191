//! Marks: what each writer committed last, so that one who lost the connection while committing can tell whether it happened.

use koban_domain::time::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::database::{Columns as _, Store, Tx, blob, on_tx, on_write};
use crate::error::StoreError;

/// Left by a commit, in the commit itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Who commits: chosen at random by each host at its start.
    pub writer: Uuid,
    /// Another one for each attempt of this writer.
    pub number: i64,
}

/// The number that this writer left last.
pub(super) async fn last(tx: &mut Tx<'_>, writer: Uuid) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "select number from lane_writers where writer = $1";
    on_tx!(tx, connection => sqlx::query(SQL)
        .bind(blob(writer.into_bytes()))
        .fetch_optional(connection)
        .await?
        .map(|row| row.long(0))
        .transpose())
}

/// Leaves a mark. PostgreSQL does it within the statement that writes the entries.
pub(super) async fn leave(
    connection: &mut SqliteConnection,
    mark: Option<Mark>,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "insert into lane_writers (writer, number, at) values ($1, $2, $3)
        on conflict (writer) do update set number = excluded.number, at = excluded.at";
    let Some(mark) = mark else { return Ok(()) };
    sqlx::query(SQL).bind(blob(mark.writer.into_bytes())).bind(mark.number).bind(now.0).execute(connection).await?;
    Ok(())
}

/// Forgets writers that have committed nothing since then. One that still lives leaves its mark anew with its next commit.
pub async fn forget(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "delete from lane_writers where at < $1";
    on_write!(store, pool => Ok(sqlx::query(SQL).bind(before.0).execute(pool).await?.rows_affected()))
}
