//! How a release comes: a package is uploaded and verified, then an operator accepts what it may do.

use std::collections::BTreeMap;

use koban_domain::accounts::PluginKey;
use koban_domain::guest::Named;
use koban_domain::ledger::Audit;
use koban_domain::manifest::Manifest;
use koban_domain::money::Currency;
use koban_domain::packages::Package;
use koban_domain::permissions::{self, Permission};
use koban_domain::records::Digest;
use koban_domain::releases::{State, version_numbers};
use koban_store::plugins::{self as plugin_rows, Allowance, ComponentRow, PluginRow};
use koban_store::publishers::PublisherRow;
use koban_store::releases::{self as rows, Change, PluginChange, ReleaseRow, Standing};
use serde_json::json;

use super::{
    ReleaseView, answering, asks, changed_meanwhile, check_good, decide, decides, enablements, find, get, grown,
};
use crate::app::App;
use crate::backtests;
use crate::ctx::Ctx;
use crate::endpoints;
use crate::error::Error;
use crate::plugins::{
    check_caps, check_is_driven, check_likes_settings, check_not_revoked, check_says_who_it_is, complete, load,
};
use crate::publishers;
use crate::users::audit;

/// A package as it came.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What it holds.
    pub package: Package,
    /// Whether the operator takes it without a signature. The audit log says so.
    pub unsigned: bool,
}

/// What an operator accepts.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    /// Settings; without them those of the release that answers for the plugin, as far as they fit, and defaults.
    pub settings: Option<Vec<Named>>,
    /// The most unsettled credits, in yen. Needed once for plugins that touch money.
    pub exposure_cap: Option<i64>,
    /// The most that may be written off to the plugin, in yen.
    pub loss_budget: Option<i64>,
    /// The digest of everything that the release asks for. Needed where it asks for more than was accepted before.
    pub asks: Option<Digest>,
}

/// Takes a package in and verifies it: signature and publisher, component against manifest, and that it says itself who it is. The same
/// package again changes nothing. Errors: everything that is wrong with it; what was found stands in the audit log.
pub async fn upload(app: &App, ctx: &Ctx, upload: Upload) -> Result<ReleaseView, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    let package = upload.package;
    if let Some(error) = package.manifest.check().into_iter().next() {
        return Err(Error::invalid(format!("package.manifest.{}", error.place), error.problem));
    }
    let publisher = publishers::signer(app, &package).await?;
    if publisher.is_none() && !upload.unsigned {
        let text = "nobody has signed this package; get it from its publisher, or say that you take it unsigned: `--unsigned` on the \
                    command line, `unsigned=true` over the API; the audit log will name you";
        return Err(Error::invalid("package", text));
    }
    let digest = Digest::of(&package.component);
    check_not_revoked(app, digest).await?;
    let id = package.manifest.id.clone();
    let standing = rows::standing(&app.store, &id).await?;
    let known = standing.releases.iter().find(|row| row.digest == digest);
    match known {
        // What was never verified was never anybody's: the next upload says what it is.
        Some(known) if known.manifest != package.manifest && known.state != State::Uploaded => {
            return Err(other_manifest());
        }
        Some(known) if matches!(known.state, State::Verified | State::Installed) => {
            let vouched = known.publisher.is_some() || publisher.is_none();
            if vouched {
                return get(app, &id, digest).await;
            }
        }
        _ => {}
    }
    if plugin_rows::component(&app.store, digest).await?.is_some_and(|known| known.manifest != package.manifest) {
        return Err(other_manifest());
    }
    let state = known.map(|known| known.state).filter(|state| *state == State::Installed);
    let release = arrived(app, &package, publisher.as_ref(), state.unwrap_or(State::Uploaded), known);
    let component = ComponentRow { bytes: package.component, manifest: package.manifest, at: app.clock.now() };
    let detail = json!({
        "version": component.manifest.version, "digest": digest, "package": release.package,
        "publisher": release.publisher, "unsigned": release.publisher.is_none(),
    });
    note(app, &id, &release, audit(app, ctx, "plugin.upload", id.clone(), &detail.to_string())).await?;
    if state.is_some() {
        return get(app, &id, digest).await;
    }
    match verify(app, &component).await {
        Ok(()) => {
            plugin_rows::put_component(&app.store, &component).await?;
            let row = audit(app, ctx, "plugin.verify", id.clone(), &json!({ "digest": digest }).to_string());
            note(app, &id, &ReleaseRow { state: State::Verified, ..release }, row).await?;
            get(app, &id, digest).await
        }
        Err(error) => {
            let detail = json!({ "digest": digest, "problem": error.to_string() });
            note(app, &id, &release, audit(app, ctx, "plugin.refuse", id.clone(), &detail.to_string())).await?;
            Err(error)
        }
    }
}

fn other_manifest() -> Error {
    let text = "this component is installed with another manifest; give the package a new version and build it again";
    Error::Conflict(text.to_owned())
}

fn arrived(
    app: &App,
    package: &Package,
    publisher: Option<&PublisherRow>,
    state: State,
    known: Option<&ReleaseRow>,
) -> ReleaseRow {
    let now = app.clock.now();
    ReleaseRow {
        digest: Digest::of(&package.component),
        manifest: package.manifest.clone(),
        state,
        publisher: publisher.map(|publisher| publisher.name.clone()),
        package: Some(package.digest()),
        signature: package.signature.map(|signature| [&signature.key[..], &signature.bytes].concat()),
        documents: package.documents.clone(),
        settings: known.and_then(|known| known.settings),
        consent: known.and_then(|known| known.consent),
        at: known.map_or(now, |known| known.at),
        changed_at: now,
    }
}

/// Writes a release that no commit needs to know of yet.
async fn note(app: &App, plugin: &str, release: &ReleaseRow, audit: Audit) -> Result<(), Error> {
    for _ in 0..super::DECIDED_MAX {
        let under = rows::standing(&app.store, plugin).await?.generation;
        // A publisher who is revoked takes along what is here by then: what comes after it must not slip in.
        publishers::check_trusted(app, release.publisher.as_deref()).await?;
        let change =
            Change { under, releases: vec![release.clone()], audits: vec![audit.clone()], ..Change::default() };
        if rows::write(&app.store, &change, app.clock.now()).await?.is_some() {
            return Ok(());
        }
    }
    Err(Error::Busy)
}

/// Compiles it where nothing can be harmed, links it with what plugins get, starts it once, and asks it who it is.
async fn verify(app: &App, component: &ComponentRow) -> Result<(), Error> {
    let plugin = load(app, component.bytes.clone(), component.manifest.clone(), Vec::new()).await?;
    check_is_driven(&plugin)?;
    check_says_who_it_is(app, &plugin, &component.manifest).await
}

/// Accepts what a verified release may do, with its settings and the two numbers. Where it asks for no more than the release before it by
/// the same publisher, that consent carries over. Errors: it is not verified, older than what was installed, asks for more than was
/// accepted, does not like its settings, or decides already and a
/// back-test says that it must not under these.
pub async fn install(app: &App, ctx: &Ctx, id: &str, digest: Digest, accept: Accept) -> Result<ReleaseView, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    let standing = rows::standing(&app.store, id).await?;
    let release = find(&standing, digest)?.clone();
    let manifest = release.manifest.clone();
    match release.state {
        State::Verified | State::Installed => {}
        State::Uploaded => {
            let text = "it was refused when it was verified; the audit log says why (`koban audit list`). Mend and upload it again";
            return Err(Error::Conflict(text.to_owned()));
        }
        _ => return Err(Error::Conflict("it was removed; upload its package again".to_owned())),
    }
    check_not_revoked(app, digest).await?;
    publishers::check_trusted(app, release.publisher.as_deref()).await?;
    check_version(&standing, &release)?;
    let numbers = numbers(app, &manifest, &accept).await?;
    endpoints::check_cap(app, id, numbers.map_or(0, |(cap, _)| cap)).await?;
    check_accepted(&grown(&standing, &release), &manifest, accept.asks)?;
    let settings = settings(app, &standing, &release, accept.settings.as_deref()).await?;
    let component = plugin_rows::component(&app.store, digest).await?.ok_or(Error::NotFound("component"))?;
    let plugin = load(app, component.bytes, manifest.clone(), settings.clone()).await?;
    check_likes_settings(app, &plugin).await?;
    let settings = plugin_rows::put_settings(&app.store, &settings).await?;
    let is_tried = decides(&standing, digest);
    if is_tried {
        backtests::check_gate(app, manifest.kind, digest, settings).await?;
    }
    let consent = permissions::consent(&manifest, numbers);
    let detail = json!({
        "version": manifest.version, "digest": digest, "settings": settings, "consent": consent,
        "asks": asks(&manifest), "publisher": release.publisher,
        "exposure_cap": numbers.map(|(cap, _)| cap), "loss_budget": numbers.map(|(_, budget)| budget),
    });
    let audit = audit(app, ctx, "plugin.install", id.to_owned(), &detail.to_string());
    decide(app, id, |standing| {
        check_good(standing, digest)?;
        if decides(standing, digest) && !is_tried {
            return Err(changed_meanwhile());
        }
        let now = app.clock.now();
        let release = ReleaseRow {
            state: State::Installed,
            settings: Some(settings),
            consent: Some(consent),
            ..find(standing, digest)?.clone()
        };
        let mut after = enablements(standing);
        for row in after.iter_mut().filter(|row| row.digest == digest) {
            (row.settings, row.consent) = (settings, consent);
        }
        let row = match &standing.plugin {
            Some(plugin) if plugin.state != State::Removed => {
                let mut row = answering(standing, &after, now)?;
                if row.digest == digest {
                    row.settings = settings;
                    row.state = if row.state == State::Verified { State::Installed } else { row.state };
                }
                row
            }
            _ => PluginRow {
                digest,
                manifest: manifest.clone(),
                settings,
                state: State::Installed,
                scope: "platform".to_owned(),
                installed_at: standing.plugin.as_ref().map_or(now, |plugin| plugin.installed_at),
                changed_at: now,
            },
        };
        let allowances = numbers.map(|(cap, loss_budget)| Allowance { currency: Currency::JPY, cap, loss_budget });
        Ok(Change {
            plugins: vec![PluginChange { row, enablements: after }],
            releases: vec![release],
            allowances: allowances.into_iter().map(|one| (PluginKey::of(id), vec![one])).collect(),
            audits: vec![audit.clone()],
            ..Change::default()
        })
    })
    .await?;
    get(app, id, digest).await
}

/// Gives a plugin other numbers, and every release and enablement of it the consent digest that covers them.
pub(crate) async fn set_numbers(app: &App, ctx: &Ctx, id: &str, numbers: (i64, i64)) -> Result<(), Error> {
    let (cap, loss_budget) = numbers;
    let consent = |release: &ReleaseRow| permissions::consent(&release.manifest, Some(numbers));
    decide(app, id, |standing| {
        let installed = standing.releases.iter().filter(|release| release.state == State::Installed);
        let releases: Vec<ReleaseRow> =
            installed.map(|release| ReleaseRow { consent: Some(consent(release)), ..release.clone() }).collect();
        let mut after = enablements(standing);
        for row in &mut after {
            row.consent = consent(find(standing, row.digest)?);
        }
        let consents: BTreeMap<String, Option<Digest>> =
            releases.iter().map(|release| (release.digest.to_string(), release.consent)).collect();
        let detail = json!({ "exposure_cap": cap, "loss_budget": loss_budget, "consents": consents });
        let row = answering(standing, &after, app.clock.now())?;
        Ok(Change {
            plugins: vec![PluginChange { row, enablements: after }],
            releases,
            allowances: vec![(PluginKey::of(id), vec![Allowance { currency: Currency::JPY, cap, loss_budget }])],
            audits: vec![audit(app, ctx, "plugin.limits", id.to_owned(), &detail.to_string())],
            ..Change::default()
        })
    })
    .await
}

/// An older version than one that was installed brings back what was mended since; the way back is a rollback. The same version with
/// other bytes is taken from an author who tries things out, and from no publisher.
fn check_version(standing: &Standing, release: &ReleaseRow) -> Result<(), Error> {
    let version = version_numbers(&release.manifest.version);
    for other in standing.releases.iter().filter(|other| other.digest != release.digest) {
        let installed = other.consent.is_some() || other.state == State::Installed;
        let theirs = version_numbers(&other.manifest.version);
        if installed && (theirs > version || (theirs == version && release.publisher.is_some())) {
            return Err(Error::Conflict(format!(
                "version {} was installed already, and {} is not newer: an older release can bring back what was mended; give the \
                 package a higher version, or go back with `koban plugin rollback {}`",
                other.manifest.version, release.manifest.version, release.manifest.id
            )));
        }
    }
    Ok(())
}

fn check_accepted(grown: &[Permission], manifest: &Manifest, accepted: Option<Digest>) -> Result<(), Error> {
    let asks = asks(manifest);
    match accepted {
        Some(accepted) if accepted == asks => Ok(()),
        Some(_) => Err(Error::invalid(
            "accept",
            format!("this release asks for {asks}; look at its permissions and accept exactly that"),
        )),
        None if grown.is_empty() => Ok(()),
        None => {
            let words: Vec<&str> = grown.iter().map(|permission| permission.words.as_str()).collect();
            Err(Error::Conflict(format!(
                "it asks for what nobody has accepted yet: {}. If it may: accept {asks}",
                words.join("; ")
            )))
        }
    }
}

/// The two numbers: those given, or those that hold. None for a plugin that touches no money.
async fn numbers(app: &App, manifest: &Manifest, accept: &Accept) -> Result<Option<(i64, i64)>, Error> {
    if let (Some(cap), Some(budget)) = (accept.exposure_cap, accept.loss_budget) {
        return check_caps(cap, budget).map(Some);
    }
    if !permissions::touches_money(manifest) {
        return Ok(None);
    }
    let held = plugin_rows::exposures(&app.store, PluginKey::of(&manifest.id)).await?;
    let held = held.into_iter().find(|(currency, _)| *currency == Currency::JPY);
    match (accept.exposure_cap, accept.loss_budget, held) {
        (None, None, Some((_, held))) => Ok(Some((held.cap, held.loss_budget))),
        _ => Err(Error::invalid(
            "exposure_cap, loss_budget",
            "a plugin that brings money needs both numbers: the most it may have unsettled, and the most it may lose",
        )),
    }
}

/// Settings as given, or as the release that answers for the plugin has them, as far as the new manifest knows them.
async fn settings(
    app: &App,
    standing: &Standing,
    release: &ReleaseRow,
    given: Option<&[Named]>,
) -> Result<Vec<Named>, Error> {
    if let Some(given) = given {
        return complete(&release.manifest, given);
    }
    let held = release.settings.or(standing.plugin.as_ref().map(|plugin| plugin.settings));
    let held = match held {
        Some(held) => plugin_rows::settings(&app.store, held).await?.unwrap_or_default(),
        None => Vec::new(),
    };
    let known = |named: &Named| release.manifest.settings.iter().any(|setting| setting.name == named.name);
    complete(&release.manifest, &held.into_iter().filter(known).collect::<Vec<_>>())
}
