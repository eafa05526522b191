//! News for the outside world, written with the commit it tells of and read in its order.

use koban_domain::ledger::News;
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Store, all, on_write};
use crate::error::StoreError;
use crate::ledger::pages::open_news;

/// The news of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsPage {
    /// Counts the pages of the lane; the cursor of the next read.
    pub sequence: i64,
    /// When it was written.
    pub at: Timestamp,
    /// The news, in order.
    pub news: Vec<News>,
}

/// Pages of news behind this one, oldest first, at most `limit`.
pub async fn after(store: &Store, sequence: i64, limit: u16) -> Result<Vec<NewsPage>, StoreError> {
    const SQL: &str = "select sequence, page, at from outbox where sequence > $1 order by sequence limit $2";
    all!(store, SQL, [sequence, i64::from(limit)], |row| {
        Ok(NewsPage { sequence: row.long(0)?, at: row.time(2)?, news: open_news(&row.bytes(1)?)? })
    })
}

/// Takes away pages that everybody has read: those up to this one that are older than this time, at most `limit` at once.
/// How many.
pub async fn trim(store: &Store, up_to: i64, before: Timestamp, limit: u16) -> Result<u64, StoreError> {
    const SQL: &str = "delete from outbox where sequence in
        (select sequence from outbox where sequence <= $1 and at < $2 order by sequence limit $3)";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(up_to)
        .bind(before.0)
        .bind(i64::from(limit))
        .execute(pool)
        .await?
        .rows_affected()))
}
