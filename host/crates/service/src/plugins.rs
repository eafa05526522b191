//! Plugins: what is installed and what is in force.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::Flow;
use koban_domain::guest::Named;
use koban_domain::manifest::{Kind, Manifest, NOT_DRIVEN};
use koban_domain::money::{Currency, Money};
use koban_domain::records::{Digest, Fault, FaultClass, Input, Output};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::plugins::{self as rows, Allowance, ComponentRow, PluginRow, PluginState};
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::endpoints;
pub use crate::endpoints::{EndpointInput, set as set_endpoint};
use crate::error::Error;
use crate::guests::{self, For};
use crate::loaded::loaded;
use crate::users::audit;

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
    pub state: PluginState,
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

/// The plugin with this id, if it is in force.
pub async fn in_force(app: &App, id: &str) -> Result<Option<Plugin>, Error> {
    let in_force = app.ledger.policy().plugins.get(id).copied();
    match in_force {
        Some(in_force) => loaded(app, in_force.digest, in_force.settings).await.map(Some),
        None => Ok(None),
    }
}

/// Every plugin of a kind that is in force, in the order of their ids.
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

/// Installs a plugin and puts it in force at the scope of the platform. The same id again is an upgrade: new payments and flows
/// use the new component, flows in progress go on with theirs.
pub async fn install(app: &App, ctx: &Ctx, input: Install) -> Result<PluginView, Error> {
    ctx.operator()?;
    let manifest = input.manifest;
    if let Some(error) = manifest.check().into_iter().next() {
        return Err(Error::invalid(format!("manifest.{}", error.place), error.problem));
    }
    let settings = complete(&manifest, &input.settings)?;
    let touches_money = manifest.kind.touches_money();
    let caps = match (input.exposure_cap, input.loss_budget, touches_money) {
        (Some(cap), Some(budget), _) => Some(check_caps(cap, budget)?),
        (_, _, false) => None,
        _ => {
            let problem = "a plugin that brings money needs both numbers: the most it may have unsettled, and the most it may lose";
            return Err(Error::invalid("exposure_cap, loss_budget", problem));
        }
    };
    endpoints::check_cap(app, &manifest.id, caps.map_or(0, |(cap, _)| cap)).await?;
    let digest = Digest::of(&input.component);
    check_not_revoked(app, digest).await?;
    let plugin = load(app, input.component.clone(), manifest.clone(), settings.clone()).await?;
    check_is_driven(&plugin)?;
    check_says_who_it_is(app, &plugin, &manifest).await?;
    check_likes_settings(app, &plugin).await?;
    let known = rows::component(&app.store, digest).await?;
    if known.is_some_and(|known| known.manifest != manifest) {
        let problem =
            "this component is installed with another manifest; give the package a new version and build it again";
        return Err(Error::Conflict(problem.to_owned()));
    }
    let now = app.clock.now();
    rows::put_component(&app.store, &ComponentRow { bytes: input.component, manifest: manifest.clone(), at: now })
        .await?;
    let settings = rows::put_settings(&app.store, &settings).await?;
    let detail = json!({
        "version": manifest.version, "digest": digest, "settings": settings,
        "exposure_cap": caps.map(|(cap, _)| cap), "loss_budget": caps.map(|(_, budget)| budget),
    });
    let audit = audit(app, ctx, "plugin.install", manifest.id.clone(), &detail.to_string());
    let id = manifest.id.clone();
    let row = PluginRow {
        digest,
        manifest,
        settings,
        state: PluginState::Enabled,
        scope: "platform".to_owned(),
        installed_at: now,
        changed_at: now,
    };
    let allowances: Vec<Allowance> = caps.map(|(cap, loss_budget)| yen(cap, loss_budget)).into_iter().collect();
    rows::install(&app.store, &row, &allowances, &audit, now).await?;
    app.ledger.refresh().await?;
    get(app, &id).await
}

fn yen(cap: i64, loss_budget: i64) -> Allowance {
    Allowance { currency: Currency::JPY, cap, loss_budget }
}

/// Switches a plugin on or off. Flows in progress go on.
pub async fn set_enabled(app: &App, ctx: &Ctx, id: &str, enabled: bool) -> Result<PluginView, Error> {
    ctx.operator()?;
    if enabled {
        let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
        check_not_revoked(app, row.digest).await?;
    }
    let state = if enabled { PluginState::Enabled } else { PluginState::Disabled };
    let act = if enabled { "plugin.enable" } else { "plugin.disable" };
    let audit = audit(app, ctx, act, id.to_owned(), "{}");
    rows::set_state(&app.store, id, state, &audit, app.clock.now()).await?.ok_or(Error::NotFound("plugin"))?;
    app.ledger.refresh().await?;
    get(app, id).await
}

/// Sets the two numbers; what is used of them stays.
pub async fn set_caps(app: &App, ctx: &Ctx, id: &str, cap: i64, loss_budget: i64) -> Result<PluginView, Error> {
    ctx.operator()?;
    let (cap, loss_budget) = check_caps(cap, loss_budget)?;
    endpoints::check_cap(app, id, cap).await?;
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    if !row.manifest.kind.touches_money() {
        return Err(Error::Conflict(format!("`{id}` touches no money; it has no such numbers")));
    }
    let detail = json!({ "exposure_cap": cap, "loss_budget": loss_budget }).to_string();
    let audit = audit(app, ctx, "plugin.limits", id.to_owned(), &detail);
    let allowances = [yen(cap, loss_budget)];
    rows::set_allowances(&app.store, PluginKey::of(id), &allowances, &audit, app.clock.now()).await?;
    app.ledger.refresh().await?;
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
    let digest = rows::put_settings(&app.store, &settings).await?;
    let audit = audit(app, ctx, "plugin.settings", id.to_owned(), &json!({ "settings": digest }).to_string());
    rows::set_settings(&app.store, id, digest, &audit, app.clock.now()).await?.ok_or(Error::NotFound("plugin"))?;
    app.ledger.refresh().await?;
    get(app, id).await
}

/// Says that nothing may rest on a component any more: payments are judged again without it, its flows stop for an operator.
pub async fn revoke(app: &App, ctx: &Ctx, digest: Digest, reason: &str) -> Result<(), Error> {
    ctx.operator()?;
    check_reason(reason)?;
    rows::component(&app.store, digest).await?.ok_or(Error::NotFound("component"))?;
    let detail = json!({ "reason": reason }).to_string();
    let audit = audit(app, ctx, "component.revoke", digest.to_string(), &detail);
    rows::revoke(&app.store, digest, reason, &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}

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

fn check_caps(cap: i64, budget: i64) -> Result<(i64, i64), Error> {
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

async fn check_not_revoked(app: &App, digest: Digest) -> Result<(), Error> {
    match rows::revocation(&app.store, digest).await? {
        None => Ok(()),
        Some((reason, at)) => {
            let problem = format!("this component was revoked at {at} ({reason}); install another build of the plugin");
            Err(Error::Conflict(problem))
        }
    }
}

/// Refuses what this host would never call.
fn check_is_driven(plugin: &Plugin) -> Result<(), Error> {
    match plugin.interfaces().iter().find(|interface| NOT_DRIVEN.contains(interface)) {
        None => Ok(()),
        Some(interface) => Err(Error::Conflict(format!(
            "the component exports `{interface}`, which this host does not call yet: use a newer host, or build the plugin without it"
        ))),
    }
}

async fn check_says_who_it_is(app: &App, plugin: &Plugin, manifest: &Manifest) -> Result<(), Error> {
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

async fn check_likes_settings(app: &App, plugin: &Plugin) -> Result<(), Error> {
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
