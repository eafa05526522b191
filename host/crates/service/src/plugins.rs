//! Plugins: what is installed and what is in force.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::Flow;
use koban_domain::guest::Named;
use koban_domain::ids::UserId;
use koban_domain::manifest::{Kind, Manifest, NOT_DRIVEN};
use koban_domain::money::{Currency, Money};
use koban_domain::packages::Package;
use koban_domain::records::{Digest, Fault, FaultClass, Input, Output};
use koban_domain::releases::{Scope, State};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::plugins::{self as rows, PluginRow};

use crate::app::App;
use crate::ctx::Ctx;
use crate::endpoints;
pub use crate::endpoints::{EndpointInput, set as set_endpoint};
use crate::error::Error;
use crate::guests::{self, For};
use crate::loaded::loaded;
use crate::releases::{self, Accept, Move, Upload};

/// What a plugin is installed from.
#[derive(Debug, Clone)]
pub struct Install {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// Its manifest, checked.
    pub manifest: Manifest,
    /// What the operator sets; defaults fill in the rest.
    pub settings: Vec<Named>,
    /// The most unsettled credits, in yen. Needed for kinds that touch money.
    pub exposure_cap: Option<i64>,
    /// The most that may be written off to the plugin, in yen.
    pub loss_budget: Option<i64>,
}

/// A plugin as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginView {
    /// Its id.
    pub id: String,
    /// Its sort.
    pub kind: Kind,
    /// Its version.
    pub version: String,
    /// The component that is installed.
    pub digest: Digest,
    /// Whether it is called.
    pub state: State,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its settings.
    pub settings: Vec<Named>,
    /// What it may still cost, if it touches money.
    pub exposure: Option<ExposureView>,
    /// Since when.
    pub installed_at: Timestamp,
}

/// What a plugin may still cost: the two numbers, and what is used of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExposureView {
    /// The most unsettled credits.
    pub cap: Money,
    /// Unsettled credits now.
    pub used: Money,
    /// The most that may be written off.
    pub loss_budget: Money,
    /// What was written off.
    pub lost: Money,
}

/// The plugin with this id as it decides for a user, if it does: a canary's share always has the same users.
pub async fn in_force_for(app: &App, id: &str, user: UserId) -> Result<Option<Plugin>, Error> {
    let in_force = app.ledger.policy().chosen(id, &[Scope::Platform], user.0.as_bytes());
    match in_force {
        Some(in_force) => loaded(app, in_force.digest, in_force.settings).await.map(Some),
        None => Ok(None),
    }
}

/// The plugin with this id, if it is in force for the whole platform.
pub async fn in_force(app: &App, id: &str) -> Result<Option<Plugin>, Error> {
    let in_force = app.ledger.policy().plugins.get(id).copied();
    match in_force {
        Some(in_force) => loaded(app, in_force.digest, in_force.settings).await.map(Some),
        None => Ok(None),
    }
}

/// Every plugin of a kind as it decides for somebody at these scopes, narrowest first, in the order of their ids.
pub async fn all_in_force_for(app: &App, kind: Kind, scopes: &[Scope], person: &[u8]) -> Result<Vec<Plugin>, Error> {
    let at = all_in_force_at(app, kind, scopes, person).await?;
    Ok(at.into_iter().map(|(_, plugin)| plugin).collect())
}

/// The same, each with the scope that says that it decides.
pub(crate) async fn all_in_force_at<'a>(
    app: &App,
    kind: Kind,
    scopes: &'a [Scope],
    person: &'a [u8],
) -> Result<Vec<(&'a Scope, Plugin)>, Error> {
    let policy = app.ledger.policy();
    let mut plugins = Vec::new();
    for (scope, in_force) in policy.all_chosen(kind, scopes, person) {
        plugins.push((scope, loaded(app, in_force.digest, in_force.settings).await?));
    }
    Ok(plugins)
}

/// Every release of a kind that decides for anybody, canaries and those of one merchant included.
pub async fn all_deciding(app: &App, kind: Kind) -> Result<Vec<Plugin>, Error> {
    let policy = app.ledger.policy();
    let mut plugins = Vec::new();
    for in_force in policy.deciding(kind) {
        plugins.push(loaded(app, in_force.digest, in_force.settings).await?);
    }
    Ok(plugins)
}

/// Every plugin of a kind that is in force for the whole platform, in the order of their ids.
pub async fn all_in_force(app: &App, kind: Kind) -> Result<Vec<Plugin>, Error> {
    let policy = app.ledger.policy();
    let mut plugins = Vec::new();
    for in_force in policy.plugins.values().filter(|in_force| in_force.kind == kind) {
        plugins.push(loaded(app, in_force.digest, in_force.settings).await?);
    }
    Ok(plugins)
}

/// The component that a flow began with, under the settings that it began with: an upgrade or other settings in between are for
/// new flows.
pub async fn of_flow(app: &App, flow: &Flow) -> Result<Plugin, Error> {
    loaded(app, flow.digest, flow.settings).await
}

/// The plugin with this id as it is installed, whether it is switched on or not.
pub async fn installed(app: &App, id: &str) -> Result<Plugin, Error> {
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    loaded(app, row.digest, row.settings).await
}

/// Loads a component away from the async workers: without the cache it compiles for a while.
pub(crate) async fn load(
    app: &App,
    component: Vec<u8>,
    manifest: Manifest,
    settings: Vec<Named>,
) -> Result<Plugin, Error> {
    let door = app.door.clone();
    tokio::task::spawn_blocking(move || door.load(&component, &manifest, settings))
        .await
        .map_err(|error| Error::Internal(error.to_string()))?
        .map_err(|error| Error::Conflict(format!("the component cannot be loaded: {error}")))
}

/// Takes a plugin as it is, unsigned, accepts all that it asks for and enables it for the whole platform: for tests, benchmarks and
/// whoever builds a plugin on their own machine. The same id again is an upgrade: new payments and flows use the new component, flows in
/// progress go on with theirs.
pub async fn install(app: &App, ctx: &Ctx, input: Install) -> Result<PluginView, Error> {
    let Install { component, manifest, settings, exposure_cap, loss_budget } = input;
    let asks = releases::asks(&manifest);
    let package = Package { manifest, component, documents: Vec::new(), signature: None };
    let release = releases::upload(app, ctx, Upload { package, unsigned: true }).await?;
    let (id, digest) = (release.plugin, release.digest);
    let accept = Accept { settings: Some(settings), exposure_cap, loss_budget, asks: Some(asks) };
    releases::install(app, ctx, &id, digest, accept).await?;
    releases::move_to(app, ctx, &id, digest, &Move::to(State::Enabled)).await?;
    get(app, &id).await
}

/// Switches a plugin on or off for the whole platform. Flows in progress go on.
pub async fn set_enabled(app: &App, ctx: &Ctx, id: &str, enabled: bool) -> Result<PluginView, Error> {
    ctx.operator()?;
    releases::set_enabled(app, ctx, id, enabled).await?;
    get(app, id).await
}

/// Sets the two numbers; what is used of them stays. What was accepted of each release is from then on what it asks for with these numbers.
pub async fn set_caps(app: &App, ctx: &Ctx, id: &str, cap: i64, loss_budget: i64) -> Result<PluginView, Error> {
    ctx.operator()?;
    let (cap, loss_budget) = check_caps(cap, loss_budget)?;
    endpoints::check_cap(app, id, cap).await?;
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    if !row.manifest.kind.touches_money() {
        return Err(Error::Conflict(format!("`{id}` touches no money; it has no such numbers")));
    }
    releases::set_numbers(app, ctx, id, (cap, loss_budget)).await?;
    get(app, id).await
}

/// Sets a plugin's settings, whole: what is not given falls back to its default.
pub async fn set_settings(app: &App, ctx: &Ctx, id: &str, given: &[Named]) -> Result<PluginView, Error> {
    ctx.operator()?;
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    let component = rows::component(&app.store, row.digest).await?.ok_or(Error::NotFound("component"))?;
    let settings = complete(&component.manifest, given)?;
    let plugin = load(app, component.bytes, component.manifest, settings.clone()).await?;
    check_likes_settings(app, &plugin).await?;
    let settings = rows::put_settings(&app.store, &settings).await?;
    releases::set_settings(app, ctx, id, row.digest, settings).await?;
    get(app, id).await
}

pub use crate::releases::revoke;

/// Every installed plugin, in the order of their ids.
pub async fn list(app: &App) -> Result<Vec<PluginView>, Error> {
    let mut views = Vec::new();
    for row in rows::list(&app.store, None, INSTALLED_MAX).await? {
        views.push(view(app, row).await?);
    }
    Ok(views)
}

/// Most plugins that are listed; far more than a platform has channels and rules.
const INSTALLED_MAX: u16 = 1_000;

/// One plugin.
pub async fn get(app: &App, id: &str) -> Result<PluginView, Error> {
    view(app, rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?).await
}

async fn view(app: &App, row: PluginRow) -> Result<PluginView, Error> {
    let settings = rows::settings(&app.store, row.settings).await?.unwrap_or_default();
    let exposures = rows::exposures(&app.store, PluginKey::of(&row.manifest.id)).await?;
    let exposure = exposures.into_iter().find(|(currency, _)| *currency == Currency::JPY);
    let exposure = exposure.map(|(currency, exposure)| ExposureView {
        cap: Money::new(exposure.cap, currency),
        used: Money::new(exposure.used, currency),
        loss_budget: Money::new(exposure.loss_budget, currency),
        lost: Money::new(exposure.lost, currency),
    });
    Ok(PluginView {
        id: row.manifest.id.clone(),
        kind: row.manifest.kind,
        version: row.manifest.version.clone(),
        digest: row.digest,
        state: row.state,
        manifest: row.manifest,
        settings,
        exposure,
        installed_at: row.installed_at,
    })
}

pub(crate) fn complete(manifest: &Manifest, given: &[Named]) -> Result<Vec<Named>, Error> {
    manifest.settings(given).map_err(|errors| {
        let first = errors.into_iter().next();
        first.map_or_else(
            || Error::Internal("settings were refused without a reason".into()),
            |error| Error::invalid(error.place, error.problem),
        )
    })
}

pub(crate) fn check_caps(cap: i64, budget: i64) -> Result<(i64, i64), Error> {
    const MOST: i64 = 1_000_000_000_000;
    for (field, number) in [("exposure_cap", cap), ("loss_budget", budget)] {
        if !(0..=MOST).contains(&number) {
            return Err(Error::invalid(field, format!("use 0 to {MOST} yen")));
        }
    }
    Ok((cap, budget))
}

pub(crate) fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.trim().is_empty() || reason.chars().count() > 500 {
        return Err(Error::invalid("reason", "say why, in 1 to 500 characters; it goes into the audit log"));
    }
    Ok(())
}

pub(crate) async fn check_not_revoked(app: &App, digest: Digest) -> Result<(), Error> {
    match rows::revocation(&app.store, digest).await? {
        None => Ok(()),
        Some((reason, at)) => {
            let problem = format!("this component was revoked at {at} ({reason}); install another build of the plugin");
            Err(Error::Conflict(problem))
        }
    }
}

/// Refuses what this host would never call.
pub(crate) fn check_is_driven(plugin: &Plugin) -> Result<(), Error> {
    match plugin.interfaces().iter().find(|interface| NOT_DRIVEN.contains(interface)) {
        None => Ok(()),
        Some(interface) => Err(Error::Conflict(format!(
            "the component exports `{interface}`, which this host does not call yet: use a newer host, or build the plugin without it"
        ))),
    }
}

pub(crate) async fn check_says_who_it_is(app: &App, plugin: &Plugin, manifest: &Manifest) -> Result<(), Error> {
    let (answer, _) = guests::call(app, plugin, For::PLATFORM, Input::Describe).await;
    match answer.map_err(|fault| faulted(plugin, fault))? {
        Output::Description(said)
            if said.id == manifest.id && said.version == manifest.version && said.contract == manifest.contract =>
        {
            Ok(())
        }
        Output::Description(said) => Err(Error::Conflict(format!(
            "the component says that it is {} {} ({}), its manifest {} {} ({}); build it again",
            said.id, said.version, said.contract, manifest.id, manifest.version, manifest.contract
        ))),
        _ => Err(faulted(plugin, Fault { class: FaultClass::BadAnswer, detail: "no description".into() })),
    }
}

pub(crate) async fn check_likes_settings(app: &App, plugin: &Plugin) -> Result<(), Error> {
    let (answer, _) = guests::call(app, plugin, For::PLATFORM, Input::CheckSettings).await;
    match answer.map_err(|fault| faulted(plugin, fault))? {
        Output::SettingsChecked(failures) => match failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(Error::invalid("settings", format!("{}: {}", failure.code, failure.message))),
        },
        _ => Err(faulted(plugin, Fault { class: FaultClass::BadAnswer, detail: "settings not checked".into() })),
    }
}

fn faulted(plugin: &Plugin, fault: Fault) -> Error {
    Error::PluginFault { plugin: plugin.id().to_owned(), fault }
}
