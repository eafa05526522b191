//! Where a plugin's partners are and what is shared with each, as operators set it.

use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, on, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;

/// One endpoint of a plugin.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// The plugin's id.
    pub plugin: String,
    /// The endpoint's name in the manifest.
    pub name: String,
    /// Whether this is the partner's sandbox.
    pub sandbox: bool,
    /// Its base address.
    pub base: String,
    /// What is shared with the partner, sealed if `key_id` names a key.
    pub secret: Vec<u8>,
    /// The key that sealed the secret; empty if none did.
    pub key_id: String,
    /// The operator lets it have a private address.
    pub allow_private: bool,
    /// What is not secret about it, as JSON.
    pub detail: String,
}

/// Under which name a side of an endpoint is kept: no manifest can write the slash.
fn kept_as(name: &str, sandbox: bool) -> String {
    if sandbox { format!("{name}{SANDBOX}") } else { name.to_owned() }
}

const SANDBOX: &str = "/sandbox";

impl std::fmt::Debug for EndpointRow {
    /// Without the secret, which has no business in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointRow")
            .field("plugin", &self.plugin)
            .field("name", &self.name)
            .field("sandbox", &self.sandbox)
            .field("base", &self.base)
            .field("key_id", &self.key_id)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// Writes an endpoint, new or changed, with who did it in the audit log.
pub async fn put(store: &Store, endpoint: &EndpointRow, audit: &Audit, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into endpoints (plugin, name, base, secret, key_id, allow_private, detail, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (plugin, name) do update set base = excluded.base, secret = excluded.secret,
            key_id = excluded.key_id, allow_private = excluded.allow_private,
            detail = excluded.detail, changed_at = excluded.changed_at";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(endpoint.plugin.as_str())
            .bind(kept_as(&endpoint.name, endpoint.sandbox))
            .bind(endpoint.base.as_str())
            .bind(endpoint.secret.as_slice())
            .bind(endpoint.key_id.as_str())
            .bind(i16::from(endpoint.allow_private))
            .bind(endpoint.detail.as_str())
            .bind(now.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await
}

/// One side of an endpoint of a plugin.
pub async fn get(store: &Store, plugin: &str, name: &str, sandbox: bool) -> Result<Option<EndpointRow>, StoreError> {
    const SQL: &str = "select plugin, name, base, secret, key_id, allow_private, detail from endpoints
        where plugin = $1 and name = $2";
    one!(store, SQL, [plugin, kept_as(name, sandbox)], read)
}

/// A plugin's endpoints, in order of name; a manifest names a bounded number of them.
pub async fn list(store: &Store, plugin: &str) -> Result<Vec<EndpointRow>, StoreError> {
    const SQL: &str = "select plugin, name, base, secret, key_id, allow_private, detail from endpoints
        where plugin = $1 order by name";
    all!(store, SQL, [plugin], read)
}

/// Whether a plugin talks to its partners' sandboxes; none if nobody has said so.
pub async fn mode(store: &Store, plugin: &str) -> Result<Option<bool>, StoreError> {
    const SQL: &str = "select sandbox from endpoint_modes where plugin = $1";
    one!(store, SQL, [plugin], |row: &_| Columns::flag(row, 0))
}

/// Says whether a plugin talks to its partners' sandboxes, with who did it in the audit log.
pub async fn set_mode(
    store: &Store,
    plugin: &str,
    sandbox: bool,
    audit: &Audit,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "insert into endpoint_modes (plugin, sandbox, changed_at) values ($1, $2, $3)
        on conflict (plugin) do update set sandbox = excluded.sandbox, changed_at = excluded.changed_at";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL).bind(plugin).bind(i16::from(sandbox)).bind(now.0).execute(connection).await?;
    });
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await
}

/// How many flows of a plugin may still hear from its partner: open ones, and those that became final after this.
pub async fn flows_left(store: &Store, plugin: &str, final_after: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select count(*) from flows where plugin = $1 and (final_at is null or final_at > $2)";
    on!(store, pool => sqlx::query(SQL).bind(plugin).bind(final_after.0).fetch_one(pool).await?.long(0))
}

fn read(row: &impl Columns) -> Result<EndpointRow, StoreError> {
    let kept = row.text(1)?;
    let (name, sandbox) = match kept.strip_suffix(SANDBOX) {
        Some(name) => (name.to_owned(), true),
        None => (kept, false),
    };
    Ok(EndpointRow {
        plugin: row.text(0)?,
        name,
        sandbox,
        base: row.text(2)?,
        secret: row.bytes(3)?,
        key_id: row.text(4)?,
        allow_private: row.flag(5)?,
        detail: row.text(6)?,
    })
}
