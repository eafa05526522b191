//! `koban plugin`: what authors do, what is installed, and what it is given.

use anyhow::{Context, bail};
use clap::Subcommand;
use koban_domain::guest::Named;
use koban_domain::manifest::Manifest;
use koban_service::plugins::{self, PluginView};
use koban_service::{App, Ctx};
use serde_json::json;

use crate::commands::authoring::{self, AuthorCommands};
use crate::commands::endpoints::EndpointCommands;
use crate::commands::releases::{self, ReleaseCommands};
use crate::commands::{backtests, say, table};
use crate::config::Global;
use crate::person;

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommands {
    #[command(flatten)]
    Author(AuthorCommands),
    /// What is installed
    #[command(after_help = "Example:\n  koban plugin list")]
    List,
    /// Set the two numbers that bound what a plugin can cost
    #[command(after_help = "Example:\n  koban plugin limits charge-atm --exposure-cap 5000000 --loss-budget 100000")]
    Limits {
        /// The plugin's id
        id: String,
        /// The most unsettled credits, in yen
        #[arg(long)]
        exposure_cap: i64,
        /// The most that may be written off to it, in yen
        #[arg(long)]
        loss_budget: i64,
    },
    /// Set a plugin's settings, whole; what is not given falls back to its default
    #[command(after_help = "Example:\n  koban plugin settings fraud-rules --set amount_limit=200000")]
    Settings {
        /// The plugin's id
        id: String,
        /// A setting; repeat it for a list
        #[arg(long = "set", value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
    /// Where partners are: set, list, test, sandbox or live
    #[command(subcommand, after_help = "Example:\n  koban plugin endpoint test charge-atm network")]
    Endpoint(EndpointCommands),
    /// Try a component or other settings on the decisions of a past window: which would flip, and how much money that is
    #[command(
        after_help = "Examples:\n  koban plugin backtest fraud-rules --set amount_high=30000\n  koban plugin backtest packages/fraud-rules --since 2026-11-20T00:00:00Z --max-flips 0.5% --svg flips.svg\n\nChanges nothing but a row that says what came of it. Exit code 1 if more flip than --max-flips allows."
    )]
    Backtest(backtests::BacktestArguments),
    /// What a component in shadow would have decided otherwise than the one in force
    #[command(after_help = "Example:\n  koban plugin disagreements fraud-rules --svg shadow.svg")]
    Disagreements(backtests::DisagreementsArguments),
    #[command(flatten)]
    Release(ReleaseCommands),
}

/// The columns of a list of plugins.
pub(crate) const HEADER: &[&str] = &["PLUGIN", "VERSION", "KIND", "STATE", "EXPOSURE", "LOSS", "COMPONENT"];

/// A plugin as a row of that list.
pub(crate) fn row(plugin: &PluginView) -> Vec<String> {
    let (exposure, loss) = plugin.exposure.map_or((String::from("-"), String::from("-")), |exposure| {
        (
            format!("{} of {}", exposure.used.minor, exposure.cap),
            format!("{} of {}", exposure.lost.minor, exposure.loss_budget),
        )
    });
    vec![
        plugin.id.clone(),
        plugin.version.clone(),
        plugin.kind.word().to_owned(),
        plugin.state.word().to_owned(),
        exposure,
        loss,
        plugin.digest.to_string()[..12].to_owned(),
    ]
}

fn json_of(plugin: &PluginView) -> serde_json::Value {
    json!({
        "id": plugin.id, "version": plugin.version, "kind": plugin.kind.word(), "digest": plugin.digest,
        "state": plugin.state,
        "exposure": plugin.exposure.map(|exposure| json!({
            "cap": exposure.cap, "used": exposure.used, "loss_budget": exposure.loss_budget, "lost": exposure.lost,
        })),
    })
}

/// The host, and who acts.
async fn acting(global: &Global) -> anyhow::Result<(App, Ctx)> {
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    Ok((app, ctx))
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: PluginCommands) -> anyhow::Result<()> {
    global.start_log()?;
    let view = match command {
        PluginCommands::Author(command) => return authoring::run(global, command).await,
        PluginCommands::Release(command) => return releases::run(global, command).await,
        PluginCommands::List => {
            let list = plugins::list(&global.app().await?).await?;
            let value = json!({ "items": list.iter().map(json_of).collect::<Vec<_>>(), "next": null });
            say(global, &value, || table(HEADER, &list.iter().map(row).collect::<Vec<_>>()));
            return Ok(());
        }
        PluginCommands::Limits { id, exposure_cap, loss_budget } => {
            let (app, ctx) = acting(global).await?;
            plugins::set_caps(&app, &ctx, &id, exposure_cap, loss_budget).await?
        }
        PluginCommands::Settings { id, settings: given } => {
            let (app, ctx) = acting(global).await?;
            let manifest = plugins::get(&app, &id).await?.manifest;
            plugins::set_settings(&app, &ctx, &id, &settings(&manifest, &given)?).await?
        }
        PluginCommands::Endpoint(command) => return crate::commands::endpoints::run(global, command).await,
        PluginCommands::Backtest(arguments) => return backtests::backtest(global, arguments).await,
        PluginCommands::Disagreements(arguments) => return backtests::disagreements(global, arguments).await,
    };
    say(global, &json_of(&view), || table(HEADER, &[row(&view)]));
    Ok(())
}

/// Settings given as `name=value`, typed by the manifest.
pub(crate) fn settings(manifest: &Manifest, given: &[String]) -> anyhow::Result<Vec<Named>> {
    given.iter().map(|pair| setting(manifest, pair)).collect()
}

fn setting(manifest: &Manifest, pair: &str) -> anyhow::Result<Named> {
    let (name, text) = pair.split_once('=').with_context(|| format!("--set `{pair}`: write NAME=VALUE"))?;
    let Some(setting) = manifest.settings.iter().find(|setting| setting.name == name) else {
        let names: Vec<&str> = manifest.settings.iter().map(|setting| setting.name.as_str()).collect();
        bail!("--set {name}: `{}` has the settings {}", manifest.id, names.join(", "));
    };
    let value = setting
        .kind
        .read(text)
        .with_context(|| format!("--set {name}: `{text}` is not of the type {:?}", setting.kind))?;
    Ok(Named { name: name.to_owned(), value })
}
