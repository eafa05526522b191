//! How long the contents of records are kept: an operator erases some, the policy of retention whole pages. Heads and chain stay.

use std::collections::BTreeSet;

use koban_domain::ids::RecordId;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, on, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::{open_contents, open_records, seal_contents};

/// For how long contents are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// So many days; none: for ever.
    pub keep_days: Option<i64>,
    /// The last page whose contents went by it; 0 if none did.
    pub swept_to: i64,
}

/// The policy, and how far it has come.
pub async fn retention(store: &Store) -> Result<Retention, StoreError> {
    const SQL: &str = "select keep_days, swept_to from record_retention where lane = 0";
    on!(store, pool => read(&sqlx::query(SQL).fetch_one(pool).await?))
}

fn read(row: &impl Columns) -> Result<Retention, StoreError> {
    Ok(Retention { keep_days: row.maybe_long(0)?, swept_to: row.long(1)? })
}

/// Sets the policy. What is gone stays gone.
pub async fn set_retention(
    store: &Store,
    keep_days: Option<i64>,
    audit: &Audit,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "update record_retention set keep_days = $1 where lane = 0";
    let mut admin = store.administer().await?;
    on_tx!(admin.tx(), connection => sqlx::query(SQL).bind(keep_days).execute(connection).await.map(drop))?;
    admin.audit(audit, now).await?;
    admin.commit().await
}

/// When the first page was written whose contents have not gone by the policy.
pub async fn oldest_unswept(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    const SQL: &str =
        "select at from record_pages where sequence = (select swept_to + 1 from record_retention where lane = 0)";
    one!(store, SQL, [], |row: &_| at(row))
}

fn at(row: &impl Columns) -> Result<Timestamp, StoreError> {
    row.time(0)
}

/// Erases the contents of the next pages that were written before this time, at most `limit` of them, and notes that it did. `audit`
/// makes the note from the first and the last page. Answers which; nothing if none was due.
pub async fn sweep(
    store: &Store,
    before: Timestamp,
    limit: u16,
    audit: impl FnOnce(i64, i64) -> Audit,
    now: Timestamp,
) -> Result<Option<(i64, i64)>, StoreError> {
    const DONE: &str = "select keep_days, swept_to from record_retention where lane = 0";
    const NEXT: &str = "select sequence, at from record_pages where sequence > $1 order by sequence limit $2";
    const ERASE: &str = "update record_pages set contents = null where sequence > $1 and sequence <= $2";
    const NOTE: &str = "update record_retention set swept_to = $1 where lane = 0";
    let mut admin = store.administer().await?;
    let from = on_tx!(admin.tx(), connection => read(&sqlx::query(DONE).fetch_one(connection).await?))?.swept_to;
    let pages: Vec<(i64, Timestamp)> = on_tx!(admin.tx(), connection => {
        let rows = sqlx::query(NEXT).bind(from).bind(i64::from(limit)).fetch_all(connection).await?;
        rows.iter().map(|row| Ok((row.long(0)?, row.time(1)?))).collect::<Result<_, StoreError>>()
    })?;
    let due = pages.iter().take_while(|(_, at)| *at < before).last();
    let Some((to, _)) = due.copied() else { return Ok(None) };
    on_tx!(admin.tx(), connection => {
        sqlx::query(ERASE).bind(from).bind(to).execute(&mut *connection).await?;
        sqlx::query(NOTE).bind(to).execute(&mut *connection).await?;
    });
    admin.audit(&audit(from + 1, to), now).await?;
    admin.commit().await?;
    Ok(Some((from + 1, to)))
}

/// Erases the contents of these records of one page, and notes that it did; `audit` makes the note from those that it erased. Answers
/// which; nothing is written if all of them were gone. Records of form 1 have their content inside and keep it.
pub async fn erase(
    store: &Store,
    page: i64,
    records: &BTreeSet<RecordId>,
    audit: impl FnOnce(&[RecordId]) -> Audit,
    now: Timestamp,
) -> Result<Vec<RecordId>, StoreError> {
    const PAGE: &str = "select page, contents from record_pages where sequence = $1";
    const KEEP: &str = "update record_pages set contents = $2 where sequence = $1";
    let mut admin = store.administer().await?;
    let (heads, contents) = on_tx!(admin.tx(), connection => {
        let row = sqlx::query(PAGE).bind(page).fetch_one(connection).await?;
        (row.bytes(0)?, row.maybe_bytes(1)?)
    });
    let Some(contents) = contents else { return Ok(Vec::new()) };
    let (heads, mut contents) = (open_records(&heads)?, open_contents(&contents)?);
    let mut erased = Vec::new();
    for ((id, _), held) in heads.iter().zip(&mut contents) {
        if records.contains(id) && held.take().is_some() {
            erased.push(*id);
        }
    }
    if erased.is_empty() {
        return Ok(erased);
    }
    let sealed = seal_contents(contents.iter().map(Option::as_ref))?;
    on_tx!(admin.tx(), connection => {
        sqlx::query(KEEP).bind(page).bind(sealed).execute(connection).await?;
    });
    admin.audit(&audit(&erased), now).await?;
    admin.commit().await?;
    Ok(erased)
}
