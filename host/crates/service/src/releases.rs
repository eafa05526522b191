//! Releases of plugins: uploaded, verified, accepted, tried, enabled, taken back. Each step is an operator's act with its audit row, and
//! binds every host from the next commit on.

mod moves;
mod scopes;
mod upload;

use koban_domain::manifest::Manifest;
use koban_domain::permissions::{self, Permission};
use koban_domain::records::Digest;
use koban_domain::releases::{Enablement, MoveRefused, Scope, State, quarantined};
use koban_domain::time::Timestamp;
use koban_store::plugins::PluginRow;
use koban_store::releases::{self as rows, Change, PluginChange, ReleaseRow, Standing};

pub use moves::{Move, move_to, remove, revoke, rollback};
pub(crate) use moves::{finish_draining, quarantine, set_enabled, set_settings};
pub(crate) use upload::set_numbers;
pub use upload::{Accept, Upload, install, upload};

use crate::app::App;
use crate::error::Error;

/// How often an act is decided anew because the policy moved meanwhile.
pub(crate) const DECIDED_MAX: u32 = 5;

/// A release as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseView {
    /// The plugin.
    pub plugin: String,
    /// The component.
    pub digest: Digest,
    /// Its version.
    pub version: String,
    /// Uploaded, verified, installed or removed.
    pub state: State,
    /// Who signed it; nobody if an operator took it unsigned.
    pub publisher: Option<String>,
    /// The digest of its package.
    pub package: Option<Digest>,
    /// Everything that it asks for.
    pub permissions: Vec<Permission>,
    /// What of it goes beyond the release that was accepted before; everything if none was.
    pub grown: Vec<Permission>,
    /// The digest of everything that it asks for: what an operator sends back to accept it.
    pub asks: Digest,
    /// What an operator accepted, numbers included.
    pub consent: Option<Digest>,
    /// Why it was revoked, if it was.
    pub is_revoked: bool,
    /// Where it stands.
    pub scopes: Vec<Placed>,
    /// Names of its documents.
    pub documents: Vec<String>,
    /// When it came.
    pub at: Timestamp,
}

/// Where a release stands at one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// For whom.
    pub scope: Scope,
    /// From shadow to quarantined.
    pub state: State,
    /// A canary's share, in thousandths.
    pub share: u16,
    /// Since when.
    pub since: Timestamp,
}

/// Releases of a plugin, the latest first. Errors: there is none.
pub async fn list(app: &App, plugin: &str) -> Result<Vec<ReleaseView>, Error> {
    let standing = rows::standing(&app.store, plugin).await?;
    if standing.releases.is_empty() {
        return Err(Error::NotFound("plugin"));
    }
    Ok(standing.releases.iter().map(|release| view(&standing, release)).collect())
}

/// One release.
pub async fn get(app: &App, plugin: &str, digest: Digest) -> Result<ReleaseView, Error> {
    let standing = rows::standing(&app.store, plugin).await?;
    let release = find(&standing, digest)?;
    Ok(view(&standing, release))
}

/// The document of this name.
pub async fn document(app: &App, plugin: &str, digest: Digest, name: &str) -> Result<Vec<u8>, Error> {
    let standing = rows::standing(&app.store, plugin).await?;
    let found = find(&standing, digest)?.documents.iter().find(|document| document.name == name);
    found.map(|document| document.body.clone()).ok_or(Error::NotFound("document"))
}

fn view(standing: &Standing, release: &ReleaseRow) -> ReleaseView {
    let manifest = &release.manifest;
    let placed = standing.enablements.iter().filter(|(row, _)| row.digest == release.digest);
    ReleaseView {
        plugin: manifest.id.clone(),
        digest: release.digest,
        version: manifest.version.clone(),
        state: release.state,
        publisher: release.publisher.clone(),
        package: release.package,
        permissions: permissions::permissions(manifest),
        grown: grown(standing, release),
        asks: asks(manifest),
        consent: release.consent,
        is_revoked: standing.revoked.contains(&release.digest),
        scopes: placed
            .map(|(row, since)| Placed { scope: row.scope.clone(), state: row.state, share: row.share, since: *since })
            .collect(),
        documents: release.documents.iter().map(|document| document.name.clone()).collect(),
        at: release.at,
    }
}

/// The digest of everything that a manifest asks for, without numbers.
pub(crate) fn asks(manifest: &Manifest) -> Digest {
    permissions::consent(manifest, None)
}

/// What a release asks for beyond what was accepted before: of the release that answers for the plugin, if the same publisher signed it.
/// Somebody else's release is a new plugin under an old name, so all of it is asked again.
fn grown(standing: &Standing, release: &ReleaseRow) -> Vec<Permission> {
    match accepted(standing).filter(|accepted| accepted.publisher == release.publisher) {
        Some(accepted) => permissions::grown(&accepted.manifest, &release.manifest),
        None => permissions::permissions(&release.manifest),
    }
}

/// The release that answers for the plugin, which somebody has accepted.
fn accepted(standing: &Standing) -> Option<&ReleaseRow> {
    let plugin = standing.plugin.as_ref()?;
    standing.releases.iter().find(|row| row.digest == plugin.digest && row.state == State::Installed)
}

fn find(standing: &Standing, digest: Digest) -> Result<&ReleaseRow, Error> {
    let missing = if standing.releases.is_empty() { "plugin" } else { "release" };
    standing.releases.iter().find(|row| row.digest == digest).ok_or(Error::NotFound(missing))
}

/// Whether a component may decide: installed, and not revoked.
fn is_good(standing: &Standing, digest: Digest) -> bool {
    let installed = standing.releases.iter().any(|row| row.digest == digest && row.state == State::Installed);
    installed && !standing.revoked.contains(&digest)
}

/// Whether a component decides for anybody.
fn decides(standing: &Standing, digest: Digest) -> bool {
    let decides = |row: &Enablement| row.digest == digest && matches!(row.state, State::Enabled | State::Canary);
    standing.enablements.iter().any(|(row, _)| decides(row))
}

/// What was looked at before an act must still be so when it is decided. Errors: the component was revoked meanwhile.
fn check_good(standing: &Standing, digest: Digest) -> Result<(), Error> {
    if standing.revoked.contains(&digest) {
        return Err(Error::Conflict("this component was revoked; install another build of the plugin".to_owned()));
    }
    Ok(())
}

fn changed_meanwhile() -> Error {
    Error::Conflict(
        "somebody else moved this release or gave it other settings meanwhile; look at it and try again".to_owned(),
    )
}

fn enablements(standing: &Standing) -> Vec<Enablement> {
    standing.enablements.iter().map(|(row, _)| row.clone()).collect()
}

/// The plugin's own row once its releases stand so: what is enabled for the platform answers for it, or else what did before.
fn answering(standing: &Standing, rows: &[Enablement], now: Timestamp) -> Result<PluginRow, Error> {
    let here = |row: &&Enablement| row.scope == Scope::Platform;
    let enabled = rows.iter().filter(here).find(|row| row.state == State::Enabled);
    let digest = enabled.map(|row| row.digest).or_else(|| standing.plugin.as_ref().map(|plugin| plugin.digest));
    let release = find(standing, digest.ok_or(Error::NotFound("plugin"))?)?;
    let row = rows.iter().filter(here).find(|row| row.digest == release.digest);
    let settings = row.map(|row| row.settings).or(release.settings).ok_or(Error::NotFound("plugin settings"))?;
    Ok(PluginRow {
        digest: release.digest,
        manifest: release.manifest.clone(),
        settings,
        state: row.map_or(release.state, |row| row.state),
        scope: Scope::Platform.to_string(),
        installed_at: standing.plugin.as_ref().map_or(now, |plugin| plugin.installed_at),
        changed_at: now,
    })
}

/// What taking components out leaves of their plugins.
pub(crate) struct Without {
    pub(crate) changes: Vec<PluginChange>,
    returned: Vec<(String, Digest)>,
}

impl Without {
    /// Which release decides again for the platform, by plugin; for the audit log.
    pub(crate) fn returned(&self) -> serde_json::Value {
        self.returned.iter().map(|(plugin, digest)| (plugin.clone(), serde_json::json!(digest))).collect()
    }
}

/// These plugins without these components: quarantined wherever they are live, with the last good release in their place.
pub(crate) async fn plugins_without(
    app: &App,
    plugins: impl Iterator<Item = &str>,
    digests: &[Digest],
) -> Result<Without, Error> {
    let mut without = Without { changes: Vec::new(), returned: Vec::new() };
    let ids: std::collections::BTreeSet<&str> = plugins.collect();
    for id in ids {
        let standing = rows::standing(&app.store, id).await?;
        if standing.plugin.is_none() {
            continue;
        }
        let before = enablements(&standing);
        let good = |digest| is_good(&standing, digest) && !digests.contains(&digest);
        let after = digests.iter().fold(before.clone(), |rows, digest| quarantined(&rows, *digest, good));
        if after == before {
            continue;
        }
        let row = answering(&standing, &after, app.clock.now())?;
        if row.state == State::Enabled {
            without.returned.push((id.to_owned(), row.digest));
        }
        without.changes.push(PluginChange { row, enablements: after });
    }
    Ok(without)
}

/// Decides an act over how a plugin stands, and writes it; again if the policy moved meanwhile.
async fn decide(app: &App, plugin: &str, act: impl Fn(&Standing) -> Result<Change, Error> + Send) -> Result<(), Error> {
    for _ in 0..DECIDED_MAX {
        let standing = rows::standing(&app.store, plugin).await?;
        let change = Change { under: standing.generation, ..act(&standing)? };
        if rows::write(&app.store, &change, app.clock.now()).await?.is_some() {
            return app.ledger.refresh().await;
        }
    }
    Err(Error::Busy)
}

fn refused(refused: MoveRefused) -> Error {
    Error::Conflict(refused.to_string())
}
