//! Where a plugin's partners are and what is shared with each, as operators set it.

use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;

/// One endpoint of a plugin.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// The plugin's id.
    pub plugin: String,
    /// The endpoint's name in the manifest.
    pub name: String,
    /// Its base address.
    pub base: String,
    /// What is shared with the partner, sealed if `key_id` names a key.
    pub secret: Vec<u8>,
    /// The key that sealed the secret; empty if none did.
    pub key_id: String,
    /// The operator lets it have a private address.
    pub allow_private: bool,
}

impl std::fmt::Debug for EndpointRow {
    /// Without the secret, which has no business in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointRow")
            .field("plugin", &self.plugin)
            .field("name", &self.name)
            .field("base", &self.base)
            .field("key_id", &self.key_id)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// Writes an endpoint, new or changed, with who did it in the audit log.
pub async fn put(store: &Store, endpoint: &EndpointRow, audit: &Audit, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into endpoints (plugin, name, base, secret, key_id, allow_private, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (plugin, name) do update set base = excluded.base, secret = excluded.secret,
            key_id = excluded.key_id, allow_private = excluded.allow_private, changed_at = excluded.changed_at";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(endpoint.plugin.as_str())
            .bind(endpoint.name.as_str())
            .bind(endpoint.base.as_str())
            .bind(endpoint.secret.as_slice())
            .bind(endpoint.key_id.as_str())
            .bind(i16::from(endpoint.allow_private))
            .bind(now.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await
}

/// One endpoint of a plugin.
pub async fn get(store: &Store, plugin: &str, name: &str) -> Result<Option<EndpointRow>, StoreError> {
    const SQL: &str = "select plugin, name, base, secret, key_id, allow_private from endpoints
        where plugin = $1 and name = $2";
    one!(store, SQL, [plugin, name], read)
}

/// A plugin's endpoints, in order of name; a manifest names a bounded number of them.
pub async fn list(store: &Store, plugin: &str) -> Result<Vec<EndpointRow>, StoreError> {
    const SQL: &str = "select plugin, name, base, secret, key_id, allow_private from endpoints
        where plugin = $1 order by name";
    all!(store, SQL, [plugin], read)
}

fn read(row: &impl Columns) -> Result<EndpointRow, StoreError> {
    Ok(EndpointRow {
        plugin: row.text(0)?,
        name: row.text(1)?,
        base: row.text(2)?,
        secret: row.bytes(3)?,
        key_id: row.text(4)?,
        allow_private: row.flag(5)?,
    })
}
