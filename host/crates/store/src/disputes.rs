//! Disputes as rows. The ledger writes them; here operators, merchants and the sweeper find them.

use koban_domain::disputes::Dispute;
use koban_domain::ids::{DisputeId, MerchantId};
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Store, all, blob, on, one};
use crate::error::StoreError;
use crate::ledger::merchants::dispute;
use crate::query::LAST_ID;

/// The dispute with this id.
pub async fn by_id(store: &Store, id: DisputeId) -> Result<Option<Dispute>, StoreError> {
    const SQL: &str = "select * from disputes where id = $1";
    one!(store, SQL, [blob(id.bytes())], dispute)
}

/// Disputes, newest first, before this one: all of them, or those that are open.
pub async fn list(
    store: &Store,
    open: bool,
    before: Option<DisputeId>,
    limit: u16,
) -> Result<Vec<Dispute>, StoreError> {
    const ALL: &str = "select * from disputes where id < $1 order by id desc limit $2";
    const OPEN: &str = "select * from disputes where state = 1 and id < $1 order by id desc limit $2";
    all!(
        store,
        if open { OPEN } else { ALL },
        [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)],
        dispute
    )
}

/// A merchant's disputes, newest first, before this one.
pub async fn by_merchant(
    store: &Store,
    merchant: MerchantId,
    before: Option<DisputeId>,
    limit: u16,
) -> Result<Vec<Dispute>, StoreError> {
    const SQL: &str = "select * from disputes where merchant = $1 and id < $2 order by id desc limit $3";
    all!(store, SQL, [blob(merchant.bytes()), blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], dispute)
}

/// Open disputes whose time has run out, the oldest end first.
pub async fn due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<Dispute>, StoreError> {
    const SQL: &str = "select * from disputes where state = 1 and due_at <= $1 order by due_at, id limit $2";
    all!(store, SQL, [now.0, i64::from(limit)], dispute)
}

/// How many open disputes have run out of time.
pub async fn overdue(store: &Store, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select count(*) from disputes where state = 1 and due_at <= $1";
    on!(store, pool => sqlx::query(SQL).bind(now.0).fetch_one(pool).await?.long(0))
}
