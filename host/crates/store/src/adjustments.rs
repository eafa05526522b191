//! Adjustments as rows, for reading back. They are written by commits alone.

use koban_domain::adjustments::Adjustment;
use koban_domain::ids::AdjustmentId;

use crate::database::{Store, all, blob, one};
use crate::error::StoreError;
use crate::ledger::people::adjustment;
use crate::query::LAST_ID;

/// One adjustment.
pub async fn by_id(store: &Store, id: AdjustmentId) -> Result<Option<Adjustment>, StoreError> {
    const SQL: &str = "select * from adjustments where id = $1";
    one!(store, SQL, [blob(id.bytes())], adjustment)
}

/// Adjustments, newest first, before this one.
pub async fn list(store: &Store, before: Option<AdjustmentId>, limit: u16) -> Result<Vec<Adjustment>, StoreError> {
    const SQL: &str = "select * from adjustments where id < $1 order by id desc limit $2";
    all!(store, SQL, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], adjustment)
}
