//! Plugins as rows: components, settings, who is in force, what each may cost. Every change that commits must know moves the
//! generation on and stands in the audit log, in one transaction.

use koban_domain::accounts::PluginKey;
use koban_domain::charges::Exposure;
use koban_domain::guest::Named;
use koban_domain::ledger::Audit;
use koban_domain::manifest::Manifest;
use koban_domain::money::Currency;
use koban_domain::records::{Digest, settings_digest};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, on_write, one};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::{from_postcard, to_postcard};

/// Where a plugin stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PluginState {
    /// Its component is here, nothing runs.
    Installed,
    /// In force.
    Enabled,
    /// Switched off by an operator.
    Disabled,
    /// Switched off by the house.
    Quarantined,
    /// Gone, but its records stay.
    Removed,
}

impl PluginState {
    const ALL: [PluginState; 5] = [
        PluginState::Installed,
        PluginState::Enabled,
        PluginState::Disabled,
        PluginState::Quarantined,
        PluginState::Removed,
    ];

    /// The word in rows and answers.
    pub const fn word(self) -> &'static str {
        match self {
            PluginState::Installed => "installed",
            PluginState::Enabled => "enabled",
            PluginState::Disabled => "disabled",
            PluginState::Quarantined => "quarantined",
            PluginState::Removed => "removed",
        }
    }
}

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    /// The component that runs.
    pub digest: Digest,
    /// Its manifest: id, kind and version are taken from it.
    pub manifest: Manifest,
    /// Digest of the settings it is given.
    pub settings: Digest,
    /// Where it stands.
    pub state: PluginState,
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
    const SQL: &str =
        "select digest, manifest, settings, state, scope, installed_at, changed_at from plugins where id = $1";
    one!(store, SQL, [id], read)
}

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

/// Writes a plugin, new or changed, with what it may cost; component and settings must be stored. What it has used and lost is
/// kept, and so is the time of its first installation. Returns the generation from which on commits know it.
pub async fn install(
    store: &Store,
    plugin: &PluginRow,
    allowances: &[Allowance],
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "insert into plugins
        (id, key, kind, version, digest, manifest, settings, state, scope, installed_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict (id) do update set kind = excluded.kind, version = excluded.version, digest = excluded.digest,
            manifest = excluded.manifest, settings = excluded.settings, state = excluded.state, scope = excluded.scope,
            changed_at = excluded.changed_at";
    let PluginRow { manifest, .. } = plugin;
    let key = PluginKey::of(&manifest.id);
    let manifest_text = manifest_text(manifest)?;
    let mut admin = store.administer().await?;
    on_tx!(admin.tx(), connection => {
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
    write_allowances(admin.tx(), key, allowances).await?;
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(generation)
}

/// Moves a plugin to another state. Returns the new generation; none if there is no such plugin, and then nothing is written.
pub async fn set_state(
    store: &Store,
    id: &str,
    state: PluginState,
    audit: &Audit,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "update plugins set state = $2, changed_at = $3 where id = $1";
    let mut admin = store.administer().await?;
    let changed = on_tx!(admin.tx(), connection => sqlx::query(SQL)
        .bind(id)
        .bind(state.word())
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    if changed == 0 {
        return Ok(None);
    }
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(Some(generation))
}

/// Gives a plugin other settings, which must be stored. As [`set_state`].
pub async fn set_settings(
    store: &Store,
    id: &str,
    settings: Digest,
    audit: &Audit,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "update plugins set settings = $2, changed_at = $3 where id = $1";
    let mut admin = store.administer().await?;
    let changed = on_tx!(admin.tx(), connection => sqlx::query(SQL)
        .bind(id)
        .bind(blob(settings.0))
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    if changed == 0 {
        return Ok(None);
    }
    let generation = admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(Some(generation))
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

/// From the next commit on nothing may rest on this component, and plugins that run it are quarantined. Returns the new
/// generation.
pub async fn revoke(
    store: &Store,
    digest: Digest,
    reason: &str,
    audit: &Audit,
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "insert into revoked_digests (digest, reason, at) values ($1, $2, $3)
        on conflict (digest) do nothing";
    const QUARANTINE: &str = "update plugins set state = 'quarantined', changed_at = $2
        where digest = $1 and state = 'enabled'";
    let mut admin = store.administer().await?;
    on_tx!(admin.tx(), connection => {
        sqlx::query(SQL).bind(blob(digest.0)).bind(reason).bind(now.0).execute(&mut *connection).await?;
        sqlx::query(QUARANTINE).bind(blob(digest.0)).bind(now.0).execute(&mut *connection).await?;
    });
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

async fn write_allowances(tx: &mut Tx<'_>, plugin: PluginKey, allowances: &[Allowance]) -> Result<(), StoreError> {
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

fn manifest_text(manifest: &Manifest) -> Result<String, StoreError> {
    serde_json::to_string(manifest)
        .map_err(|error| StoreError::Setup(format!("the manifest of `{}` has no JSON: {error}", manifest.id)))
}

fn manifest(text: &str) -> Result<Manifest, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::damaged(format!("a manifest: {error}")))
}

fn read(row: &impl Columns) -> Result<PluginRow, StoreError> {
    let state = row.text(3)?;
    Ok(PluginRow {
        digest: row.digest(0)?,
        manifest: manifest(&row.text(1)?)?,
        settings: row.digest(2)?,
        state: PluginState::ALL
            .into_iter()
            .find(|known| known.word() == state)
            .ok_or_else(|| StoreError::damaged(format!("`{state}` is no state of a plugin")))?,
        scope: row.text(4)?,
        installed_at: row.time(5)?,
        changed_at: row.time(6)?,
    })
}
