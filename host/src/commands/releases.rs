//! `koban plugin` for operators: what a plugin's releases may do, and where each of them stands.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use koban_author::sign::{self, SigningKey};
use koban_domain::permissions::Permission;
use koban_domain::records::Digest;
use koban_domain::releases::{Scope, State};
use koban_service::releases::{self, Accept, Move, Placed, ReleaseView, Upload};
use koban_service::{App, Ctx, beside, plugins};
use serde_json::{Value, json};

use crate::commands::plugins::settings;
use crate::commands::{say, table};
use crate::config::Global;
use crate::person;

/// What operators do with releases.
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommands {
    /// Pack a plugin into one file and vouch for it with your publisher's key
    #[command(
        after_help = "Examples:\n  koban publisher keygen publisher.key\n  koban plugin sign plugins/target/packages/fraud-rules --key publisher.key"
    )]
    Sign {
        /// The folder that `koban plugin build` wrote, or a package to be signed anew
        #[arg(value_name = "PACKAGE")]
        package: PathBuf,
        /// The signing key's file
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the package goes [default: ID-VERSION.koban in this folder]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Verify a package and accept what it may do. It decides nothing before it is enabled
    #[command(
        after_help = "Examples:\n  koban plugin install charge-atm-1.0.0.koban --exposure-cap 5000000 --loss-budget 100000 --set company_number=8284\n  koban plugin install plugins/target/packages/fraud-rules --unsigned --accept all --enable\n\nWithout --accept it shows what the plugin asks for, and the digest to accept it with. An upgrade that asks for no more than what is\ninstalled needs none."
    )]
    Install(InstallArguments),
    /// A plugin's releases: who signed each, and where it stands
    #[command(
        after_help = "Examples:\n  koban plugin releases fraud-rules\n  koban plugin releases fraud-rules --release 1.1.0"
    )]
    Releases {
        /// The plugin's id
        id: String,
        /// One release in full, with its permissions: its version, or its digest from the first 8 digits on
        #[arg(long, value_name = "RELEASE")]
        release: Option<String>,
    },
    /// Ask a rule beside every decision, without effect: what would it have said?
    #[command(after_help = "Example:\n  koban plugin shadow fraud-rules --release 1.1.0")]
    Shadow(Where),
    /// Let a release decide for a share; the same people always fall into it
    #[command(after_help = "Example:\n  koban plugin canary fraud-rules --release 1.1.0 --percent 5")]
    Canary {
        #[command(flatten)]
        to: Where,
        /// The share, 0.1 to 99.9
        #[arg(long)]
        percent: String,
    },
    /// Let a release decide. What decided before drains: it ends what it began
    #[command(
        after_help = "Examples:\n  koban plugin enable fraud-rules\n  koban plugin enable fraud-rules --release 1.1.0 --scope mer_0193…"
    )]
    Enable(Where),
    /// Let a release begin nothing new and end what it began; then it is disabled by itself
    #[command(after_help = "Example:\n  koban plugin drain charge-atm --release 1.0.0")]
    Drain(Where),
    /// Switch a plugin off, or one release of it. Flows in progress go on
    #[command(
        after_help = "Examples:\n  koban plugin disable charge-atm\n  koban plugin disable fraud-rules --release 1.1.0"
    )]
    Disable(Where),
    /// Take a plugin back, in one step, to what was enabled before
    #[command(after_help = "Example:\n  koban plugin rollback fraud-rules --reason 'declines too much since noon'")]
    Rollback {
        /// The plugin's id
        id: String,
        /// For whom: `platform` or a merchant's id
        #[arg(long, default_value = "platform")]
        scope: Scope,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Take a release out wherever it is live; what was enabled before it decides again
    #[command(
        after_help = "Example:\n  koban plugin quarantine fraud-rules --release 1.1.0 --reason 'traps on some amounts'"
    )]
    Quarantine {
        #[command(flatten)]
        to: Where,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Forget a release that decides nowhere and whose flows have ended
    #[command(after_help = "Example:\n  koban plugin remove fraud-rules --release 1.0.0")]
    Remove(Which),
    /// Kill switch: let nothing rest on a component any more, from the next commit of every host on
    #[command(
        after_help = "What was enabled before it decides again. Its flows become stuck: `koban flow list --stuck`, then move or resolve them.\nIt cannot be taken back.\n\nExample:\n  koban plugin revoke 62e94704399c… --reason 'it credits what nobody paid'"
    )]
    Revoke {
        /// The component's digest
        digest: Digest,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// A package file, or the folder that `koban plugin build` wrote
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,
    /// Take it although nobody signed it. The audit log names you
    #[arg(long)]
    unsigned: bool,
    /// The digest of what it asks for, as this command shows it; or `all`, for scripts that looked before
    #[arg(long, value_name = "DIGEST")]
    accept: Option<String>,
    /// The most unsettled credits, in yen; needed once for plugins that bring money
    #[arg(long)]
    exposure_cap: Option<i64>,
    /// The most that may be written off to it, in yen; needed once for plugins that bring money
    #[arg(long)]
    loss_budget: Option<i64>,
    /// A setting; repeat it for a list. Without any, those of the installed release stay
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Enable it for the whole platform at once
    #[arg(long)]
    enable: bool,
}

/// A release, and for whom something shall hold.
#[derive(Debug, Args)]
pub(crate) struct Where {
    #[command(flatten)]
    which: Which,
    /// For whom: `platform` or a merchant's id
    #[arg(long, default_value = "platform")]
    scope: Scope,
}

/// A release.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The plugin's id
    id: String,
    /// Its version, or its digest from the first 8 digits on [default: the one installed last]
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
}

const HEADER: &[&str] = &["RELEASE", "VERSION", "STATE", "WHERE", "PUBLISHER", "SINCE"];

/// A release as a row of a list.
fn row(release: &ReleaseView) -> Vec<String> {
    vec![
        release.digest.to_string()[..12].to_owned(),
        release.version.clone(),
        if release.is_revoked { String::from("revoked") } else { release.state.word().to_owned() },
        if release.scopes.is_empty() {
            String::from("-")
        } else {
            release.scopes.iter().map(placed).collect::<Vec<_>>().join(", ")
        },
        release.publisher.clone().unwrap_or_else(|| String::from("(unsigned)")),
        release.at.to_string(),
    ]
}

fn placed(placed: &Placed) -> String {
    let share = match placed.state {
        State::Canary => format!(" {}.{} %", placed.share / 10, placed.share % 10),
        _ => String::new(),
    };
    format!("{}{share} at {}", placed.state.word(), placed.scope)
}

fn json_of(release: &ReleaseView) -> Value {
    let scopes = release.scopes.iter().map(|placed| {
        json!({ "scope": placed.scope, "state": placed.state, "share": placed.share, "since": placed.since.to_string() })
    });
    json!({
        "plugin": release.plugin, "digest": release.digest, "version": release.version, "state": release.state,
        "revoked": release.is_revoked, "publisher": release.publisher, "package": release.package,
        "asks": release.asks, "consent": release.consent, "permissions": release.permissions, "grown": release.grown,
        "documents": release.documents, "scopes": scopes.collect::<Vec<_>>(), "at": release.at.to_string(),
    })
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: ReleaseCommands) -> anyhow::Result<()> {
    let (app, ctx) = match command {
        ReleaseCommands::Sign { package, key, out } => return sign_package(global, &package, &key, out),
        ReleaseCommands::Install(_) => {
            let app = global.first_app().await?;
            let ctx = person::ctx(global, &app.store, "").await?;
            (app, ctx)
        }
        _ => acting(global).await?,
    };
    let release = match command {
        ReleaseCommands::Sign { .. } => return Ok(()),
        ReleaseCommands::Install(arguments) => return install(global, &app, &ctx, arguments).await,
        ReleaseCommands::Releases { id, release } => return show(global, &app, &id, release.as_deref()).await,
        ReleaseCommands::Shadow(to) => step(&app, &ctx, &to, State::Shadow, 0, None).await?,
        ReleaseCommands::Canary { to, percent } => step(&app, &ctx, &to, State::Canary, share(&percent)?, None).await?,
        ReleaseCommands::Enable(to) => step(&app, &ctx, &to, State::Enabled, 0, None).await?,
        ReleaseCommands::Drain(to) => step(&app, &ctx, &to, State::Draining, 0, None).await?,
        ReleaseCommands::Disable(Where { which: Which { id, release: None }, scope: Scope::Platform }) => {
            plugins::set_enabled(&app, &ctx, &id, false).await?;
            return show(global, &app, &id, None).await;
        }
        ReleaseCommands::Disable(to) => step(&app, &ctx, &to, State::Disabled, 0, None).await?,
        ReleaseCommands::Rollback { id, scope, reason } => releases::rollback(&app, &ctx, &id, &scope, &reason).await?,
        ReleaseCommands::Quarantine { to, reason } => {
            step(&app, &ctx, &to, State::Quarantined, 0, Some(reason)).await?
        }
        ReleaseCommands::Remove(which) => {
            let release = find(&app, &which.id, which.release.as_deref()).await?;
            releases::remove(&app, &ctx, &which.id, release.digest).await?
        }
        ReleaseCommands::Revoke { digest, reason } => {
            releases::revoke(&app, &ctx, digest, &reason).await?;
            say(global, &json!({ "revoked": digest }), || format!("nothing may rest on {digest} any more"));
            return Ok(());
        }
    };
    say(global, &json_of(&release), || table(HEADER, &[row(&release)]));
    Ok(())
}

/// The host, and who acts.
async fn acting(global: &Global) -> anyhow::Result<(App, Ctx)> {
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    Ok((app, ctx))
}

async fn step(
    app: &App,
    ctx: &Ctx,
    to: &Where,
    state: State,
    share: u16,
    reason: Option<String>,
) -> anyhow::Result<ReleaseView> {
    let release = find(app, &to.which.id, to.which.release.as_deref()).await?;
    let step = Move { scope: to.scope.clone(), to: state, share, reason };
    Ok(releases::move_to(app, ctx, &to.which.id, release.digest, &step).await?)
}

/// The release that is meant: by version or digest, or the one that was installed last.
pub(crate) async fn find(app: &App, id: &str, wanted: Option<&str>) -> anyhow::Result<ReleaseView> {
    let list = releases::list(app, id).await?;
    let Some(wanted) = wanted else {
        let last = list.into_iter().find(|release| release.state == State::Installed && !release.is_revoked);
        return last.with_context(|| format!("no release of `{id}` is installed; `koban plugin releases {id}`"));
    };
    let is_it = |release: &&ReleaseView| {
        release.version == wanted || (wanted.len() >= 8 && release.digest.to_string().starts_with(wanted))
    };
    let found: Vec<&ReleaseView> = list.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!("`{id}` has no release `{wanted}`; `koban plugin releases {id}` lists them"),
        _ => bail!("`{wanted}` names {} releases of `{id}`; give more digits of the digest", found.len()),
    }
}

/// A share in thousandths from a percentage with at most one decimal.
fn share(percent: &str) -> anyhow::Result<u16> {
    let text = percent.trim_end_matches('%').trim();
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let read =
        || Some(whole.parse::<u16>().ok()?.checked_mul(10)? + tenth.parse::<u16>().ok().filter(|_| tenth.len() == 1)?);
    read()
        .filter(|share| (1..1_000).contains(share))
        .with_context(|| format!("--percent {percent}: give 0.1 to 99.9, with at most one decimal"))
}

fn sign_package(
    global: &Global,
    path: &std::path::Path,
    key: &std::path::Path,
    out: Option<PathBuf>,
) -> anyhow::Result<()> {
    let key = SigningKey::open(key)?;
    let mut package = sign::open(path)?;
    check(path, &package)?;
    key.sign(&mut package);
    let name = format!("{}-{}.{}", package.manifest.id, package.manifest.version, sign::EXTENSION);
    let out = out.unwrap_or_else(|| PathBuf::from(name));
    sign::write(&package, &out)?;
    let component = Digest::of(&package.component);
    let value = json!({
        "package": out, "digest": package.digest(), "component": component, "key": key.public_key(),
        "documents": package.documents.iter().map(|document| document.name.as_str()).collect::<Vec<_>>(),
    });
    say(global, &value, || {
        format!(
            "{}: {} {}, signed\n  component  {component}\n  package    {}\n  key        {}",
            out.display(),
            package.manifest.id,
            package.manifest.version,
            package.digest(),
            key.public_key()
        )
    });
    Ok(())
}

fn check(path: &std::path::Path, package: &koban_domain::packages::Package) -> anyhow::Result<()> {
    koban_author::check(&package.component, &package.manifest).map(drop).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{} cannot be installed:\n  {}", path.display(), lines.join("\n  "))
    })
}

async fn install(global: &Global, app: &App, ctx: &Ctx, arguments: InstallArguments) -> anyhow::Result<()> {
    let package = sign::open(&arguments.package)?;
    check(&arguments.package, &package)?;
    let given = match arguments.settings.is_empty() {
        true => None,
        false => Some(settings(&package.manifest, &arguments.settings)?),
    };
    let release = releases::upload(app, ctx, Upload { package, unsigned: arguments.unsigned }).await?;
    let asks = match arguments.accept.as_deref() {
        Some("all") => Some(release.asks),
        Some(digest) if digest.len() >= 8 && release.asks.to_string().starts_with(digest) => Some(release.asks),
        Some(digest) => bail!("--accept {digest}: this package asks for {}; look at what that is", release.asks),
        None if release.grown.is_empty() => None,
        None => bail!("{}", asked(&release)),
    };
    let (exposure_cap, loss_budget) = (arguments.exposure_cap, arguments.loss_budget);
    let accept = Accept { settings: given, exposure_cap, loss_budget, asks };
    let mut release = releases::install(app, ctx, &release.plugin, release.digest, accept).await?;
    if arguments.enable {
        release = releases::move_to(app, ctx, &release.plugin, release.digest, &Move::to(State::Enabled)).await?;
    }
    let next = match arguments.enable {
        true => String::new(),
        false => format!(
            "\nnext: koban plugin enable {0} --release {1}    (or shadow, or canary --percent 5)",
            release.plugin, release.version
        ),
    };
    say(global, &json_of(&release), || format!("{}{next}", table(HEADER, &[row(&release)])));
    Ok(())
}

/// What an operator is asked to accept.
fn asked(release: &ReleaseView) -> String {
    let all = release.grown.len() == release.permissions.len();
    let what = if all { "It asks for:" } else { "It asks for more than the release that is installed:" };
    format!(
        "{} {} is verified, and nobody has accepted what it may do. {what}\n{}\nif it may, say so: --accept {}",
        release.plugin,
        release.version,
        lines(&release.grown, "+"),
        &release.asks.to_string()[..12]
    )
}

fn lines(permissions: &[Permission], mark: &str) -> String {
    let lines: Vec<String> = permissions.iter().map(|permission| format!("  {mark} {}", permission.words)).collect();
    lines.join("\n")
}

async fn show(global: &Global, app: &App, id: &str, wanted: Option<&str>) -> anyhow::Result<()> {
    let Some(wanted) = wanted else {
        let list = releases::list(app, id).await?;
        let value = json!({ "items": list.iter().map(json_of).collect::<Vec<_>>(), "next": null });
        say(global, &value, || table(HEADER, &list.iter().map(row).collect::<Vec<_>>()));
        return Ok(());
    };
    let release = find(app, id, Some(wanted)).await?;
    let agreement = beside::agreement(app, id, release.digest).await?;
    let mut value = json_of(&release);
    value["shadow"] = json!({ "calls": agreement.calls, "differ": agreement.differ, "faults": agreement.faults });
    say(global, &value, || {
        let consent = release.consent.map_or(String::from("not accepted"), |consent| format!("accepted as {consent}"));
        let shadow = match agreement.calls {
            0 => String::new(),
            calls => format!(
                "\nin shadow: {calls} calls, {} would decide otherwise, {} faults",
                agreement.differ, agreement.faults
            ),
        };
        format!(
            "{}\n\nmay call, proved by its imports:\n  log, and nothing else\nmay do, from its manifest and enforced by the host:\n{}\n{consent}{shadow}",
            table(HEADER, &[row(&release)]),
            lines(&release.permissions, "-")
        )
    });
    Ok(())
}
