//! Adjustments as rows, for reading back. They are written by commits alone.

use koban_domain::adjustments::Adjustment;
use koban_domain::ids::AdjustmentId;

use crate::database::{Store, blob, on};
use crate::error::StoreError;
use crate::ledger::people::adjustment;
use crate::query::LAST_ID;

/// One adjustment.
pub async fn by_id(store: &Store, id: AdjustmentId) -> Result<Option<Adjustment>, StoreError> {
    const SQL: &str = "select * from adjustments where id = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| adjustment(&row))
        .transpose())
}

/// Adjustments, newest first, before this one.
pub async fn list(store: &Store, before: Option<AdjustmentId>, limit: u16) -> Result<Vec<Adjustment>, StoreError> {
    const SQL: &str = "select * from adjustments where id < $1 order by id desc limit $2";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(before.map_or(LAST_ID, |id| id.bytes())))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?
        .iter()
        .map(adjustment)
        .collect())
}
