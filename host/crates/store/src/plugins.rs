//! Plugins as rows: components, settings, who is in force, what each may cost. Every change that commits must know moves the
//! generation on and stands in the audit log, in one transaction.

use koban_domain::accounts::PluginKey;
use koban_domain::charges::Exposure;
use koban_domain::guest::Named;
use koban_domain::ledger::Audit;
use koban_domain::manifest::Manifest;
use koban_domain::money::Currency;
use koban_domain::records::{Digest, settings_digest};
use koban_domain::releases::State;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, on_write, one};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::{from_postcard, to_postcard};

/// An installed plugin. Where its releases stand, scope by scope, is said by [`crate::releases`]; here is the one that answers partners and is
/// named when nothing else is said: what is enabled for the platform, or else what was last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    /// The component that runs.
    pub digest: Digest,
    /// Its manifest: id, kind and version are taken from it.
    pub manifest: Manifest,
    /// Digest of the settings it is given.
    pub settings: Digest,
    /// Where it stands.
    pub state: State,
    /// `platform`, or the id of a merchant or a store.
    pub scope: String,
    /// When it was first installed.
    pub installed_at: Timestamp,
    /// When anything of this last changed.
    pub changed_at: Timestamp,
}

/// What a plugin may cost in one currency, as an operator sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// In which currency.
    pub currency: Currency,
    /// The most unsettled credits, minor units.
    pub cap: i64,
    /// The most that may be written off to the plugin, minor units.
    pub loss_budget: i64,
}

/// A component with the manifest it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentRow {
    /// Its bytes; they must have the digest they are stored under.
    pub bytes: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// When it came.
    pub at: Timestamp,
}

/// Keeps a component under the digest of its bytes, which is returned. The same component again changes nothing.
pub async fn put_component(store: &Store, component: &ComponentRow) -> Result<Digest, StoreError> {
    const SQL: &str = "insert into components (digest, bytes, manifest, at) values ($1, $2, $3, $4)
        on conflict (digest) do nothing";
    let digest = Digest::of(&component.bytes);
    let manifest = manifest_text(&component.manifest)?;
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(digest.0))
        .bind(component.bytes.as_slice())
        .bind(manifest)
        .bind(component.at.0)
        .execute(pool)
        .await
        .map(drop))?;
    Ok(digest)
}

/// The component with this digest. Errors: [`StoreError::Damaged`] if its bytes have another one.
pub async fn component(store: &Store, digest: Digest) -> Result<Option<ComponentRow>, StoreError> {
    const SQL: &str = "select bytes, manifest, at from components where digest = $1";
    let component: Option<ComponentRow> = on!(store, pool => sqlx::query(SQL)
        .bind(blob(digest.0))
        .fetch_optional(pool)
        .await?
        .map(|row| {
            Ok::<_, StoreError>(ComponentRow {
                bytes: row.bytes(0)?,
                manifest: manifest(&row.text(1)?)?,
                at: row.time(2)?,
            })
        })
        .transpose())?;
    match component {
        Some(component) if Digest::of(&component.bytes) != digest => {
            Err(StoreError::damaged(format!("the bytes of component {digest} have another digest")))
        }
        other => Ok(other),
    }
}

/// Digests of all components, in order, after this one.
pub async fn component_digests(store: &Store, after: Digest, limit: u16) -> Result<Vec<Digest>, StoreError> {
    const SQL: &str = "select digest from components where digest > $1 order by digest limit $2";
    all!(store, SQL, [blob(after.0), i64::from(limit)], |row| row.digest(0))
}

/// Keeps settings under the digest by which records name them, which is returned.
pub async fn put_settings(store: &Store, settings: &[Named]) -> Result<Digest, StoreError> {
    const SQL: &str = "insert into plugin_settings (digest, body) values ($1, $2) on conflict (digest) do nothing";
    let digest = settings_digest(settings);
    let body = to_postcard(settings)?;
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(digest.0))
        .bind(body)
        .execute(pool)
        .await
        .map(drop))?;
    Ok(digest)
}

/// The settings with this digest.
pub async fn settings(store: &Store, digest: Digest) -> Result<Option<Vec<Named>>, StoreError> {
    const SQL: &str = "select body from plugin_settings where digest = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(digest.0))
        .fetch_optional(pool)
        .await?
        .map(|row| from_postcard(&row.bytes(0)?, "the settings of a plugin"))
        .transpose())
}

/// The plugin with this id.
pub async fn by_id(store: &Store, id: &str) -> Result<Option<PluginRow>, StoreError> {
    one!(store, BY_ID, [id], read)
}

pub(crate) const BY_ID: &str =
    "select digest, manifest, settings, state, scope, installed_at, changed_at from plugins where id = $1";

/// The plugin that accounts and references name by this key.
pub async fn by_key(store: &Store, key: PluginKey) -> Result<Option<PluginRow>, StoreError> {
    const SQL: &str =
        "select digest, manifest, settings, state, scope, installed_at, changed_at from plugins where key = $1";
    one!(store, SQL, [blob(key.0.as_bytes())], read)
}

/// Plugins in order of id, after this one.
pub async fn list(store: &Store, after: Option<&str>, limit: u16) -> Result<Vec<PluginRow>, StoreError> {
    const SQL: &str = "select digest, manifest, settings, state, scope, installed_at, changed_at from plugins
        where id > $1 order by id limit $2";
    all!(store, SQL, [after.unwrap_or(""), i64::from(limit)], read)
}

/// Writes a plugin, new or changed; component and settings must be stored. The time of its first installation is kept.
pub(crate) async fn write_plugin(tx: &mut Tx<'_>, plugin: &PluginRow, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into plugins
        (id, key, kind, version, digest, manifest, settings, state, scope, installed_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict (id) do update set kind = excluded.kind, version = excluded.version, digest = excluded.digest,
            manifest = excluded.manifest, settings = excluded.settings, state = excluded.state, scope = excluded.scope,
            changed_at = excluded.changed_at";
    let PluginRow { manifest, .. } = plugin;
    let key = PluginKey::of(&manifest.id);
    let manifest_text = manifest_text(manifest)?;
    on_tx!(tx, connection => {
        sqlx::query(SQL)
            .bind(manifest.id.as_str())
            .bind(blob(key.0.as_bytes()))
            .bind(manifest.kind.word())
            .bind(manifest.version.as_str())
            .bind(blob(plugin.digest.0))
            .bind(manifest_text)
            .bind(blob(plugin.settings.0))
            .bind(plugin.state.word())
            .bind(plugin.scope.as_str())
            .bind(plugin.installed_at.0)
            .bind(now.0)
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// Sets what a plugin may cost; what it has used and lost is kept. Returns the new generation.
pub async fn set_allowances(
    store: &Store,
    plugin: PluginKey,
    allowances: &[Allowance],
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let mut admin = store.administer().await?;
    write_allowances(admin.tx(), plugin, allowances).await?;
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(generation)
}

/// Why a component was revoked and when, if it was.
pub async fn revocation(store: &Store, digest: Digest) -> Result<Option<(String, Timestamp)>, StoreError> {
    const SQL: &str = "select reason, at from revoked_digests where digest = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(digest.0))
        .fetch_optional(pool)
        .await?
        .map(|row| Ok((row.text(0)?, row.time(1)?)))
        .transpose())
}

/// What a plugin may cost and has cost, by currency.
pub async fn exposures(store: &Store, plugin: PluginKey) -> Result<Vec<(Currency, Exposure)>, StoreError> {
    const SQL: &str = "select plugin, currency, cap, used, loss_budget, lost from exposures
        where plugin = $1 order by currency";
    all!(store, SQL, [blob(plugin.0.as_bytes())], |row| rows::exposure(row)
        .map(|((_, currency), exposure)| (currency, exposure)))
}

pub(crate) async fn write_allowances(
    tx: &mut Tx<'_>,
    plugin: PluginKey,
    allowances: &[Allowance],
) -> Result<(), StoreError> {
    const SQL: &str = "insert into exposures (plugin, currency, cap, used, loss_budget, lost)
        values ($1, $2, $3, 0, $4, 0)
        on conflict (plugin, currency) do update set cap = excluded.cap, loss_budget = excluded.loss_budget";
    // One row per currency that an operator names: a handful.
    for allowance in allowances {
        on_tx!(&mut *tx, connection => {
            sqlx::query(SQL)
                .bind(blob(plugin.0.as_bytes()))
                .bind(allowance.currency.code())
                .bind(allowance.cap)
                .bind(allowance.loss_budget)
                .execute(connection)
                .await?;
        });
    }
    Ok(())
}

pub(crate) fn manifest_text(manifest: &Manifest) -> Result<String, StoreError> {
    serde_json::to_string(manifest)
        .map_err(|error| StoreError::Setup(format!("the manifest of `{}` has no JSON: {error}", manifest.id)))
}

pub(crate) fn manifest(text: &str) -> Result<Manifest, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::damaged(format!("a manifest: {error}")))
}

pub(crate) fn read(row: &impl Columns) -> Result<PluginRow, StoreError> {
    Ok(PluginRow {
        digest: row.digest(0)?,
        manifest: manifest(&row.text(1)?)?,
        settings: row.digest(2)?,
        state: crate::releases::state(&row.text(3)?)?,
        scope: row.text(4)?,
        installed_at: row.time(5)?,
        changed_at: row.time(6)?,
    })
}
