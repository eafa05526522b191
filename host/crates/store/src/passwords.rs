//! Passwords of users and operators, as hashes: changed by one side at a time, with the end of sessions and a row of the audit log.

use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Store, blob, on_tx};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;
use crate::sessions::{self, SessionOwner};

/// Gives somebody another password and ends their sessions but the one with this token, with who did it in the audit log. False
/// if they are gone, or have another password than `before` (which is compared if it is given).
pub async fn change(
    store: &Store,
    owner: SessionOwner,
    (before, hash): (Option<&str>, &str),
    keep: Option<Digest>,
    (audit, now): (&Audit, Timestamp),
) -> Result<bool, StoreError> {
    const USERS: &str = "update users set password_hash = $2
        where id = $1 and (cast($3 as text) is null or password_hash = $3)";
    const OPERATORS: &str = "update operators set password_hash = $2
        where id = $1 and (cast($3 as text) is null or password_hash = $3)";
    let (sql, id) = match owner {
        SessionOwner::User(id) => (USERS, id.bytes()),
        SessionOwner::Operator(id) => (OPERATORS, id.bytes()),
    };
    let mut tx = store.begin().await?;
    let changed = on_tx!(&mut tx, connection => sqlx::query(sql)
        .bind(blob(id))
        .bind(hash)
        .bind(before)
        .execute(connection)
        .await?
        .rows_affected());
    if changed == 0 {
        return Ok(false);
    }
    sessions::end(&mut tx, owner, keep).await?;
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await?;
    Ok(true)
}
