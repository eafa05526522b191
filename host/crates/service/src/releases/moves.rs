//! How a release goes through its life: tried beside the others, for a share, for all, drained, switched off, taken out, removed.

use koban_domain::ids::AuditId;
use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::releases::{Enablement, Moving, Scope, State, moved, rolled_back, version_numbers};
use koban_store::plugins::{self as plugin_rows};
use koban_store::releases::{self as rows, Change, PluginChange, ReleaseRow, Standing};
use serde_json::json;

use super::scopes;
use super::{
    ReleaseView, answering, changed_meanwhile, check_good, decide, decides, enablements, find, get, is_good,
    plugins_without, refused,
};
use crate::app::App;
use crate::backtests;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::loaded::loaded;
use crate::plugins::{check_not_revoked, check_reason};
use crate::users::audit;

/// Most draining releases that one sweep looks at.
const DRAINING_MAX: u16 = 200;

/// A step of a release at a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// For whom.
    pub scope: Scope,
    /// Shadow, canary, enabled, draining, disabled or quarantined.
    pub to: State,
    /// A canary's share, in thousandths.
    pub share: u16,
    /// Why; needed for a quarantine.
    pub reason: Option<String>,
}

impl Move {
    /// A step for the whole platform.
    pub fn to(to: State) -> Move {
        Move { scope: Scope::Platform, to, share: 0, reason: None }
    }
}

/// Moves a release at a scope. What was enabled there drains when another one is. Errors: it is not installed or revoked, a back-test says
/// that it must not decide, there is no such scope or it would mean nothing there, or no such way.
pub async fn move_to(app: &App, ctx: &Ctx, id: &str, digest: Digest, step: &Move) -> Result<ReleaseView, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    scopes::check_there(app, &step.scope).await?;
    if let Some(reason) = &step.reason {
        check_reason(reason)?;
    } else if step.to == State::Quarantined {
        return Err(Error::invalid("reason", "say why it is taken out; it goes into the audit log"));
    }
    let leaving = matches!(step.to, State::Draining | State::Disabled | State::Quarantined);
    if !leaving {
        check_not_revoked(app, digest).await?;
    }
    let standing = rows::standing(&app.store, id).await?;
    scopes::check(&standing, find(&standing, digest)?, step)?;
    let remembers = scopes::remembers(app, id).await?;
    let mut tried = None;
    if !leaving && step.to.is_live() {
        let moving = moving(find(&standing, digest)?)?;
        tried = Some(moving.settings);
        if step.to != State::Shadow {
            backtests::check_gate(app, moving.kind, digest, moving.settings).await?;
        }
        // Nobody's payment waits until it is ready, and what cannot be loaded is not let in.
        loaded(app, digest, moving.settings).await?;
    }
    decide(app, id, |standing| {
        let release = find(standing, digest)?;
        let moving = moving(release)?;
        let before = enablements(standing);
        if !leaving {
            check_good(standing, digest)?;
            if tried.is_some_and(|settings| settings != moving.settings) {
                return Err(changed_meanwhile());
            }
        }
        scopes::check_alone(&before, &moving, step, remembers)?;
        if matches!(step.to, State::Enabled | State::Canary) {
            check_newer(standing, &before, &step.scope, release)?;
        }
        let after = match step.to {
            // As when the house does it: what was enabled before comes back.
            State::Quarantined => {
                moved(&before, &step.scope, &moving, step.to, 0).map_err(refused)?;
                koban_domain::releases::quarantined(&before, digest, |digest| is_good(standing, digest))
            }
            _ => moved(&before, &step.scope, &moving, step.to, step.share).map_err(refused)?,
        };
        let detail = json!({
            "digest": digest, "version": release.manifest.version, "scope": step.scope, "consent": moving.consent,
            "share": Some(step.share).filter(|_| step.to == State::Canary), "reason": step.reason,
            "enabled_now": enabled_at(&after, &step.scope),
        });
        let act = audit(app, ctx, act(step.to), id.to_owned(), &detail.to_string());
        change(app, standing, after, act)
    })
    .await?;
    get(app, id, digest).await
}

/// The act's name in the audit log.
fn act(to: State) -> &'static str {
    match to {
        State::Shadow => "plugin.shadow",
        State::Canary => "plugin.canary",
        State::Enabled => "plugin.enable",
        State::Draining => "plugin.drain",
        State::Disabled => "plugin.disable",
        State::Quarantined => "plugin.quarantine",
        State::Uploaded | State::Verified | State::Installed | State::Removed => "plugin.move",
    }
}

/// Takes what is enabled at a scope back to what was enabled before, in one step.
pub async fn rollback(app: &App, ctx: &Ctx, id: &str, scope: &Scope, reason: &str) -> Result<ReleaseView, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    check_reason(reason)?;
    decide(app, id, |standing| {
        let before = enablements(standing);
        let left = enabled_at(&before, scope);
        let good = |digest| is_good(standing, digest);
        let (after, back) = rolled_back(&before, scope, State::Disabled, good).map_err(refused)?;
        let detail = json!({ "scope": scope, "from": left, "to": back, "reason": reason });
        let act = audit(app, ctx, "plugin.rollback", id.to_owned(), &detail.to_string());
        change(app, standing, after, act)
    })
    .await?;
    let standing = rows::standing(&app.store, id).await?;
    get(app, id, enabled_at(&enablements(&standing), scope).ok_or(Error::NotFound("release"))?).await
}

/// Says that nothing may rest on a component any more: payments are judged again without it, its flows stop for an operator. Where it was
/// enabled, the last good release before it decides again, if there is one.
pub async fn revoke(app: &App, ctx: &Ctx, digest: Digest, reason: &str) -> Result<(), Error> {
    ctx.operator()?;
    check_reason(reason)?;
    plugin_rows::component(&app.store, digest).await?.ok_or(Error::NotFound("component"))?;
    for _ in 0..super::DECIDED_MAX {
        let under = app.store.lane_head().await?.generation;
        let plugin = rows::plugin_of(&app.store, digest).await?;
        let without = plugins_without(app, plugin.as_deref().into_iter(), &[digest]).await?;
        let detail = json!({ "reason": reason, "plugin": plugin, "returned_to": without.returned() }).to_string();
        let change = Change {
            under,
            plugins: without.changes,
            revoked: vec![(digest, reason.to_owned())],
            audits: vec![audit(app, ctx, "component.revoke", digest.to_string(), &detail)],
            ..Change::default()
        };
        if rows::write(&app.store, &change, app.clock.now()).await?.is_some() {
            return app.ledger.refresh().await;
        }
    }
    Err(Error::Busy)
}

/// The house takes a component out of wherever it is live, because of what it did. Nothing happens if it is not live any more.
pub(crate) async fn quarantine(app: &App, id: &str, digest: Digest, reason: &str) -> Result<(), Error> {
    for _ in 0..super::DECIDED_MAX {
        let under = app.store.lane_head().await?.generation;
        let without = plugins_without(app, std::iter::once(id), &[digest]).await?;
        if without.changes.is_empty() {
            return Ok(());
        }
        let detail = json!({ "digest": digest, "reason": reason, "returned_to": without.returned() });
        let change = Change {
            under,
            plugins: without.changes,
            audits: vec![by_the_house(app, "plugin.quarantine", id, &detail)],
            ..Change::default()
        };
        if rows::write(&app.store, &change, app.clock.now()).await?.is_some() {
            tracing::error!(plugin = id, component = %digest, reason, "a plugin was taken out; see `koban plugin releases`");
            return app.ledger.refresh().await;
        }
    }
    Err(Error::Busy)
}

/// Forgets a release: it decides nowhere, and its flows have ended. Its bytes and its records stay.
pub async fn remove(app: &App, ctx: &Ctx, id: &str, digest: Digest) -> Result<ReleaseView, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    let flows = rows::open_flows(&app.store, id, digest).await?;
    if flows > 0 {
        return Err(Error::Conflict(format!(
            "{flows} flows of it have not ended; let them end (`koban flow list --plugin {id}`), or move or resolve them"
        )));
    }
    decide(app, id, |standing| {
        let release = find(standing, digest)?;
        let mut after = enablements(standing);
        if let Some(row) =
            after.iter().find(|row| row.digest == digest && (row.state.is_live() || row.state == State::Draining))
        {
            let text = format!("it is {} at {}; disable it first", row.state.word(), row.scope);
            return Err(Error::Conflict(text));
        }
        after.retain(|row| row.digest != digest);
        let detail = json!({ "digest": digest, "version": release.manifest.version }).to_string();
        let removed = ReleaseRow { state: State::Removed, ..release.clone() };
        let mut change = change(app, standing, after, audit(app, ctx, "plugin.remove", id.to_owned(), &detail))?;
        for plugin in change.plugins.iter_mut().filter(|plugin| plugin.row.digest == digest) {
            plugin.row.state = State::Removed;
        }
        change.releases = vec![removed];
        Ok(change)
    })
    .await?;
    get(app, id, digest).await
}

/// Switches a plugin on or off for the whole platform, as it stands. Flows in progress go on.
pub(crate) async fn set_enabled(app: &App, ctx: &Ctx, id: &str, enabled: bool) -> Result<(), Error> {
    let plugin = plugin_rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("plugin"))?;
    if enabled {
        move_to(app, ctx, id, plugin.digest, &Move::to(State::Enabled)).await?;
        return Ok(());
    }
    decide(app, id, |standing| {
        let mut after = enablements(standing);
        let live: Vec<Digest> = after
            .iter()
            .filter(|row| row.scope == Scope::Platform && row.state != State::Disabled)
            .map(|row| row.digest)
            .chain([plugin.digest])
            .collect();
        for digest in live {
            let moving = moving(find(standing, digest)?)?;
            after = moved(&after, &Scope::Platform, &moving, State::Disabled, 0).map_err(refused)?;
        }
        change(app, standing, after, audit(app, ctx, "plugin.disable", id.to_owned(), "{}"))
    })
    .await
}

/// Gives the release that answers for a plugin other settings, which are stored and checked, wherever it stands. Errors: it decides, and a
/// back-test says that it must not under these.
pub(crate) async fn set_settings(
    app: &App,
    ctx: &Ctx,
    id: &str,
    component: Digest,
    settings: Digest,
) -> Result<(), Error> {
    let standing = rows::standing(&app.store, id).await?;
    let is_tried = decides(&standing, component);
    if is_tried {
        backtests::check_gate(app, find(&standing, component)?.manifest.kind, component, settings).await?;
    }
    decide(app, id, |standing| {
        if decides(standing, component) && !is_tried {
            return Err(changed_meanwhile());
        }
        let mut after = enablements(standing);
        for row in after.iter_mut().filter(|row| row.digest == component) {
            row.settings = settings;
        }
        let release = ReleaseRow { settings: Some(settings), ..find(standing, component)?.clone() };
        let audit = audit(app, ctx, "plugin.settings", id.to_owned(), &json!({ "settings": settings }).to_string());
        let mut change = change(app, standing, after, audit)?;
        for plugin in change.plugins.iter_mut().filter(|plugin| plugin.row.digest == component) {
            plugin.row.settings = settings;
        }
        change.releases = vec![release];
        Ok(change)
    })
    .await
}

/// Switches off what has drained: its flows have ended.
pub(crate) async fn finish_draining(app: &App) -> Result<(), Error> {
    for (id, digest, scope) in rows::draining(&app.store, DRAINING_MAX).await? {
        if rows::open_flows(&app.store, &id, digest).await? > 0 {
            continue;
        }
        decide(app, &id, |standing| {
            let mut after = enablements(standing);
            let draining =
                |row: &&mut Enablement| row.digest == digest && row.scope == scope && row.state == State::Draining;
            after.iter_mut().filter(draining).for_each(|row| row.state = State::Disabled);
            let detail = json!({ "digest": digest, "scope": scope, "reason": "it has drained" });
            change(app, standing, after, by_the_house(app, "plugin.disable", &id, &detail))
        })
        .await?;
    }
    Ok(())
}

/// What an act leaves of a plugin, with its audit row.
fn change(app: &App, standing: &Standing, after: Vec<Enablement>, audit: Audit) -> Result<Change, Error> {
    let row = answering(standing, &after, app.clock.now())?;
    Ok(Change { plugins: vec![PluginChange { row, enablements: after }], audits: vec![audit], ..Change::default() })
}

fn by_the_house(app: &App, act: &str, subject: &str, detail: &serde_json::Value) -> Audit {
    Audit {
        id: AuditId(app.clock.id()),
        actor: Actor::System.to_string(),
        act: act.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_string(),
    }
}

fn moving(release: &ReleaseRow) -> Result<Moving, Error> {
    match (release.state, release.settings) {
        (State::Installed, Some(settings)) => Ok(Moving {
            digest: release.digest,
            kind: release.manifest.kind,
            settings,
            consent: release.consent.unwrap_or_default(),
        }),
        (State::Removed, _) => Err(Error::Conflict("it was removed; upload its package again".to_owned())),
        _ => Err(Error::Conflict("nobody has accepted what it may do; install it first".to_owned())),
    }
}

fn enabled_at(rows: &[Enablement], scope: &Scope) -> Option<Digest> {
    rows.iter().find(|row| row.scope == *scope && row.state == State::Enabled).map(|row| row.digest)
}

/// The way to an older release is a rollback, which says so; not an act that looks like an upgrade.
fn check_newer(standing: &Standing, rows: &[Enablement], scope: &Scope, release: &ReleaseRow) -> Result<(), Error> {
    let Some(enabled) = enabled_at(rows, scope).filter(|enabled| *enabled != release.digest) else { return Ok(()) };
    let enabled = find(standing, enabled)?;
    if version_numbers(&enabled.manifest.version) > version_numbers(&release.manifest.version) {
        return Err(Error::Conflict(format!(
            "{} is enabled there, and {} is older; go back with `koban plugin rollback {}`",
            enabled.manifest.version, release.manifest.version, release.manifest.id
        )));
    }
    Ok(())
}
