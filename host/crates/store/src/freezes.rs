//! Frozen keys and devices: part of the policy, so that they bind from the next commit on.

use koban_domain::ids::KeyId;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Store, on_tx};
use crate::error::StoreError;

/// What is frozen by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A merchant's API key.
    Key(KeyId),
    /// A payer's device, as requests name it.
    Device(String),
}

/// Freezes or thaws. Doing it twice is the same as once. Returns the new generation.
pub async fn set(store: &Store, what: &Named, frozen: bool, audit: &Audit, now: Timestamp) -> Result<i64, StoreError> {
    let (kind, name) = match what {
        Named::Key(key) => (1_i16, key.to_string()),
        Named::Device(device) => (2, device.clone()),
    };
    let sql = match frozen {
        true => "insert into frozen (kind, name, at) values ($1, $2, $3) on conflict (kind, name) do nothing",
        false => "delete from frozen where kind = $1 and name = $2 and at <= $3",
    };
    // A thaw takes back whatever was frozen, also by a clock that was ahead.
    let at = if frozen { now.0 } else { i64::MAX };
    let mut admin = store.administer().await?;
    on_tx!(admin.tx(), connection => {
        sqlx::query(sql).bind(kind).bind(name).bind(at).execute(connection).await?;
    });
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(generation)
}
