//! Releases as rows: what was uploaded, where each stands at each scope, and the one transaction in which an act changes them. What
//! follows what is decided in the domain; a change says under which generation it was decided, and is not written under another.

use koban_domain::accounts::PluginKey;
use koban_domain::ledger::Audit;
use koban_domain::manifest::Manifest;
use koban_domain::packages::Document;
use koban_domain::records::Digest;
use koban_domain::releases::{Enablement, Scope, State};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, one};
use crate::error::StoreError;
use crate::ledger::{AdminTx, read_head};
use crate::plugins::{Allowance, PluginRow, manifest, manifest_text, write_allowances, write_plugin};
use crate::publishers::{self, PublisherState};
use crate::query::{from_postcard, to_postcard};

/// A component that was uploaded for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    /// The component.
    pub digest: Digest,
    /// Its manifest: the plugin's id and the version are taken from it.
    pub manifest: Manifest,
    /// Uploaded, verified, installed or removed.
    pub state: State,
    /// Who signed its package.
    pub publisher: Option<String>,
    /// The digest of the package's content.
    pub package: Option<Digest>,
    /// Key and signature, 96 bytes.
    pub signature: Option<Vec<u8>>,
    /// What people read.
    pub documents: Vec<Document>,
    /// The settings that it is given where it was not before.
    pub settings: Option<Digest>,
    /// What an operator accepted.
    pub consent: Option<Digest>,
    /// When it came.
    pub at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Everything about one plugin, as one moment saw it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The generation of the policy then.
    pub generation: i64,
    /// The plugin, once a release of it was installed.
    pub plugin: Option<PluginRow>,
    /// Its releases, the latest first.
    pub releases: Vec<ReleaseRow>,
    /// Where they stand, by scope and digest, each with when it last changed.
    pub enablements: Vec<(Enablement, Timestamp)>,
    /// Which of its components are revoked.
    pub revoked: Vec<Digest>,
}

/// What an act changes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The generation that it was decided under.
    pub under: i64,
    /// Plugins as they are afterwards.
    pub plugins: Vec<PluginChange>,
    /// Releases as they are afterwards.
    pub releases: Vec<ReleaseRow>,
    /// What a plugin may cost.
    pub allowances: Vec<(PluginKey, Vec<Allowance>)>,
    /// Components that nothing may rest on any more, with the reason.
    pub revoked: Vec<(Digest, String)>,
    /// A publisher as it stands afterwards, with why.
    pub publisher: Option<(String, PublisherState, String)>,
    /// Who did it.
    pub audits: Vec<Audit>,
}

/// A plugin as an act leaves it.
#[derive(Debug, Clone)]
pub struct PluginChange {
    /// Its row.
    pub row: PluginRow,
    /// Where its releases stand: all of them.
    pub enablements: Vec<Enablement>,
}

impl Change {
    /// Whether commits must know of it.
    fn is_policy(&self) -> bool {
        !self.plugins.is_empty()
            || !self.allowances.is_empty()
            || !self.revoked.is_empty()
            // Releases that come at the same moment are looked at again.
            || self.publisher.is_some()
    }
}

/// Most releases of a plugin that are looked at; older ones are history.
pub const RELEASES_MAX: u16 = 1_000;

/// Writes a change, whole or not at all. Returns the new generation; none if the policy has moved since it was decided, and then nothing
/// is written.
pub async fn write(store: &Store, change: &Change, now: Timestamp) -> Result<Option<i64>, StoreError> {
    let mut admin = store.administer().await?;
    if admin.generation() != change.under {
        return Ok(None);
    }
    for release in &change.releases {
        write_release(admin.tx(), release, now).await?;
    }
    for plugin in &change.plugins {
        write_plugin(admin.tx(), &plugin.row, now).await?;
        write_enablements(admin.tx(), &plugin.row.manifest.id, &plugin.enablements, now).await?;
    }
    for (plugin, allowances) in &change.allowances {
        write_allowances(admin.tx(), *plugin, allowances).await?;
    }
    for (digest, reason) in &change.revoked {
        revoke(admin.tx(), *digest, reason, now).await?;
    }
    if let Some((name, state, note)) = &change.publisher {
        publishers::set_state(admin.tx(), name, *state, note, now).await?;
    }
    finish(admin, change, now).await.map(Some)
}

async fn finish(mut admin: AdminTx, change: &Change, now: Timestamp) -> Result<i64, StoreError> {
    let generation = if change.is_policy() { admin.bump_generation().await? } else { admin.generation() };
    for audit in &change.audits {
        admin.audit(audit, now).await?;
    }
    admin.commit().await?;
    Ok(generation)
}

/// Everything about this plugin.
pub async fn standing(store: &Store, plugin: &str) -> Result<Standing, StoreError> {
    const RELEASES: &str =
        "select digest, manifest, state, publisher, package, signature, documents, settings, consent, at,
            changed_at
        from releases where plugin = $1 order by at desc, digest limit $2";
    const REVOKED: &str =
        "select r.digest from revoked_digests r join releases l on l.digest = r.digest where l.plugin = $1";
    let mut tx = store.begin_read().await?;
    let generation = read_head(&mut tx).await?.generation;
    let mut standing = Standing { generation, ..Standing::default() };
    on_tx!(&mut tx, connection => {
        let row = sqlx::query(crate::plugins::BY_ID).bind(plugin).fetch_optional(&mut *connection).await?;
        standing.plugin = row.map(|row| crate::plugins::read(&row)).transpose()?;
        let rows = sqlx::query(RELEASES).bind(plugin).bind(i64::from(RELEASES_MAX));
        for row in &rows.fetch_all(&mut *connection).await? {
            standing.releases.push(read_release(row)?);
        }
        for row in &sqlx::query(ENABLEMENTS).bind(plugin).fetch_all(&mut *connection).await? {
            standing.enablements.push(read_enablement(row)?);
        }
        for row in &sqlx::query(REVOKED).bind(plugin).fetch_all(&mut *connection).await? {
            standing.revoked.push(row.digest(0)?);
        }
    });
    Ok(standing)
}

/// The plugins that have a release, in order of id, after this one.
pub async fn plugins(store: &Store, after: &str, limit: u16) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "select distinct plugin from releases where plugin > $1 order by plugin limit $2";
    all!(store, SQL, [after, i64::from(limit)], |row| row.text(0))
}

/// The plugin that has this component.
pub async fn plugin_of(store: &Store, digest: Digest) -> Result<Option<String>, StoreError> {
    const SQL: &str = "select plugin from releases where digest = $1";
    one!(store, SQL, [blob(digest.0)], |row: &_| Columns::text(row, 0))
}

/// Plugins and components that this publisher signed.
pub async fn of_publisher(store: &Store, name: &str) -> Result<Vec<(String, Digest)>, StoreError> {
    const SQL: &str = "select plugin, digest from releases where publisher = $1 order by plugin, digest";
    all!(store, SQL, [name], |row| Ok((row.text(0)?, row.digest(1)?)))
}

/// How many flows of a component have not ended.
pub async fn open_flows(store: &Store, plugin: &str, digest: Digest) -> Result<i64, StoreError> {
    const SQL: &str = "select count(*) from flows where standing < 4 and plugin = $1 and digest = $2";
    on!(store, pool => sqlx::query(SQL).bind(plugin).bind(blob(digest.0)).fetch_one(pool).await?.long(0))
}

/// Components that are draining: plugin, component, scope.
pub async fn draining(store: &Store, limit: u16) -> Result<Vec<(String, Digest, Scope)>, StoreError> {
    const SQL: &str =
        "select plugin, digest, scope from enablements where state = 'draining' order by plugin, digest limit $1";
    all!(store, SQL, [i64::from(limit)], |row| Ok((row.text(0)?, row.digest(1)?, scope(&row.text(2)?)?)))
}

const ENABLEMENTS: &str = "select scope, digest, state, share, settings, consent, replaced, changed_at from enablements
    where plugin = $1 order by scope, digest";

async fn write_release(tx: &mut Tx<'_>, release: &ReleaseRow, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into releases
        (plugin, digest, version, manifest, state, publisher, package, signature, documents, settings, consent, at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        on conflict (plugin, digest) do update set version = excluded.version, manifest = excluded.manifest,
            state = excluded.state, publisher = excluded.publisher,
            package = excluded.package, signature = excluded.signature, documents = excluded.documents,
            settings = excluded.settings, consent = excluded.consent, changed_at = excluded.changed_at";
    let text = manifest_text(&release.manifest)?;
    let documents = to_postcard(&release.documents)?;
    on_tx!(tx, connection => {
        sqlx::query(SQL)
            .bind(release.manifest.id.as_str())
            .bind(blob(release.digest.0))
            .bind(release.manifest.version.as_str())
            .bind(text)
            .bind(release.state.word())
            .bind(release.publisher.as_deref())
            .bind(release.package.map(|digest| blob(digest.0)))
            .bind(release.signature.as_deref())
            .bind(documents)
            .bind(release.settings.map(|digest| blob(digest.0)))
            .bind(release.consent.map(|digest| blob(digest.0)))
            .bind(release.at.0)
            .bind(now.0)
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// Writes where a plugin's releases stand: what is not among them is no more. When a row last changed is kept where nothing does.
async fn write_enablements(
    tx: &mut Tx<'_>,
    plugin: &str,
    rows: &[Enablement],
    now: Timestamp,
) -> Result<(), StoreError> {
    const GONE: &str = "delete from enablements where plugin = $1 and scope = $2 and digest = $3";
    const SQL: &str = "insert into enablements
        (plugin, scope, digest, state, share, settings, consent, replaced, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (plugin, scope, digest) do update set state = excluded.state, share = excluded.share,
            settings = excluded.settings, consent = excluded.consent, replaced = excluded.replaced,
            changed_at = excluded.changed_at";
    // A handful: the scopes of one plugin.
    on_tx!(tx, connection => {
        let mut before = Vec::new();
        for row in &sqlx::query(ENABLEMENTS).bind(plugin).fetch_all(&mut *connection).await? {
            before.push(read_enablement(row)?.0);
        }
        for row in before.iter().filter(|row| !rows.iter().any(|kept| (&kept.scope, kept.digest) == (&row.scope, row.digest))) {
            let scope = row.scope.to_string();
            sqlx::query(GONE).bind(plugin).bind(scope).bind(blob(row.digest.0)).execute(&mut *connection).await?;
        }
        for row in rows.iter().filter(|row| !before.contains(row)) {
            sqlx::query(SQL)
                .bind(plugin)
                .bind(row.scope.to_string())
                .bind(blob(row.digest.0))
                .bind(row.state.word())
                .bind(i16::try_from(row.share).unwrap_or(i16::MAX))
                .bind(blob(row.settings.0))
                .bind(blob(row.consent.0))
                .bind(row.replaced.map(|digest| blob(digest.0)))
                .bind(now.0)
                .execute(&mut *connection)
                .await?;
        }
    });
    Ok(())
}

async fn revoke(tx: &mut Tx<'_>, digest: Digest, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into revoked_digests (digest, reason, at) values ($1, $2, $3)
        on conflict (digest) do nothing";
    on_tx!(tx, connection => {
        sqlx::query(SQL).bind(blob(digest.0)).bind(reason).bind(now.0).execute(connection).await?;
    });
    Ok(())
}

fn read_release(row: &impl Columns) -> Result<ReleaseRow, StoreError> {
    Ok(ReleaseRow {
        digest: row.digest(0)?,
        manifest: manifest(&row.text(1)?)?,
        state: state(&row.text(2)?)?,
        publisher: row.maybe_text(3)?,
        package: row.maybe_fixed(4)?.map(Digest),
        signature: row.maybe_bytes(5)?,
        documents: from_postcard(&row.bytes(6)?, "the documents of a release")?,
        settings: row.maybe_fixed(7)?.map(Digest),
        consent: row.maybe_fixed(8)?.map(Digest),
        at: row.time(9)?,
        changed_at: row.time(10)?,
    })
}

fn read_enablement(row: &impl Columns) -> Result<(Enablement, Timestamp), StoreError> {
    let share = row.small(3)?;
    let enablement = Enablement {
        scope: scope(&row.text(0)?)?,
        digest: row.digest(1)?,
        state: state(&row.text(2)?)?,
        share: u16::try_from(share).map_err(|_| StoreError::damaged(format!("a canary has the share {share}")))?,
        settings: row.digest(4)?,
        consent: row.digest(5)?,
        replaced: row.maybe_fixed(6)?.map(Digest),
    };
    Ok((enablement, row.time(7)?))
}

pub(crate) fn state(word: &str) -> Result<State, StoreError> {
    State::of_word(word).ok_or_else(|| StoreError::damaged(format!("`{word}` is no state of a release")))
}

pub(crate) fn scope(text: &str) -> Result<Scope, StoreError> {
    text.parse().map_err(|error| StoreError::damaged(format!("an enablement: {error}")))
}
