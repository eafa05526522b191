//! `koban plugin` for authors: make, check, build, run, test, measure, replay and explain a plugin, without any database but for its own logs.

mod bench;
mod check;
mod door;
mod figures;
mod inspect;
mod logs;
mod make;
mod record;
mod replay;
mod run;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use koban_domain::ids::FlowId;
use serde_json::json;

use crate::commands::{say, table};
use crate::config::Global;

/// What authors do with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorCommands {
    /// Make a new plugin: source, manifest, texts, tests, and the SDK beside it
    #[command(
        after_help = "Examples:\n  koban plugin new fraud-rule first-payment\n  koban plugin new charge-channel gift-card --lang rust\n\nThen: cd first-payment && koban plugin test"
    )]
    New(make::Arguments),
    /// Check a plugin: manifest, texts, size, imports, exports, what it says of itself, its default settings
    #[command(after_help = "Examples:\n  koban plugin check\n  koban plugin check plugins/target/packages/fraud-rules")]
    Check(Place),
    /// Build plugins from source into packages: compile, componentise, check against the manifest
    #[command(
        after_help = "Examples:\n  koban plugin build\n  koban plugin build plugins/fraud-rules plugins/charge-atm"
    )]
    Build {
        /// Folders with a `plugin.toml`
        #[arg(value_name = "DIR", default_value = ".")]
        dirs: Vec<PathBuf>,
        /// Where packages go [default: target/packages of the plugins' workspace]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Run one call from a file: the typed answer, the log, and what it used of its limits
    #[command(
        after_help = "Example:\n  koban plugin run calls/high-first-payment.toml\n\nA call file is described in docs/reference/calls.md."
    )]
    Run {
        /// The call
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Test a plugin: its unit tests, then its call and scenario files on the built plugin
    #[command(
        after_help = "Examples:\n  koban plugin test\n  koban plugin test --only deposit plugins/charge-atm\n\nCalls are in calls/*.toml, scenarios in scenarios/*.toml (docs/reference/calls.md and scenarios.md). Each scenario is played as written,\nand again with every event duplicated, reordered and lost."
    )]
    Test(test::Arguments),
    /// Measure a call: time, fuel and memory over many runs
    #[command(after_help = "Example:\n  koban plugin bench calls/high-first-payment.toml --times 10000")]
    Bench(bench::Arguments),
    /// Run exported decisions again on this plugin and compare the answers
    #[command(
        after_help = "Examples:\n  koban decision export dec_0193… --out decision.json\n  koban plugin replay decision.json\n\nWith the component of the record it must end the same way; another component shows what would change. Exit code 1 if anything does."
    )]
    Replay(replay::Arguments),
    /// Say in plain words what a plugin may do, and how that is known
    #[command(
        after_help = "Examples:\n  koban plugin inspect\n  koban plugin inspect plugins/target/packages/charge-atm --lang ja"
    )]
    Inspect(inspect::Arguments),
    /// What a plugin logged on this platform, and its faults
    #[command(after_help = "Examples:\n  koban plugin logs first-payment\n  koban plugin logs first-payment --follow")]
    Logs(logs::Arguments),
    /// Write a scenario file from a flow of this platform
    #[command(
        after_help = "Example:\n  koban plugin record flw_0193… --out scenarios/as-it-was.toml\n\nThe file holds what people and partners said: look at it before you hand it on."
    )]
    Record {
        /// The flow, `flw_…`
        id: FlowId,
        /// Where to write; standard output if absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which plugin is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The plugin's folder, which is built first, or a package
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Take the package as it was built last
    #[arg(long)]
    pub no_build: bool,
    /// Take this package, and the folder only for its files
    #[arg(long, value_name = "DIR")]
    pub package: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: AuthorCommands) -> anyhow::Result<()> {
    match command {
        AuthorCommands::New(arguments) => make::run(global, &arguments),
        AuthorCommands::Check(place) => check::run(global, &place).await,
        AuthorCommands::Build { dirs, out } => build(global, &dirs, out.as_deref()),
        AuthorCommands::Run { file, place } => run::run(global, &file, &place).await,
        AuthorCommands::Test(arguments) => test::run(global, &arguments).await,
        AuthorCommands::Bench(arguments) => bench::run(global, &arguments).await,
        AuthorCommands::Replay(arguments) => replay::run(global, &arguments).await,
        AuthorCommands::Inspect(arguments) => inspect::run(global, &arguments),
        AuthorCommands::Logs(arguments) => logs::run(global, &arguments).await,
        AuthorCommands::Record { id, out } => record::run(global, id, out.as_deref()).await,
    }
}

fn build(global: &Global, dirs: &[PathBuf], out: Option<&std::path::Path>) -> anyhow::Result<()> {
    let built = koban_author::build(dirs, out, &mut |line| eprintln!("{line}"))?;
    let value = json!(
        built
            .iter()
            .map(|built| json!({ "id": built.id, "package": built.package, "digest": built.checked.digest, "bytes": built.checked.bytes }))
            .collect::<Vec<_>>()
    );
    say(global, &value, || {
        let rows: Vec<Vec<String>> = built
            .iter()
            .map(|built| {
                let digest = built.checked.digest.to_string()[..12].to_owned();
                vec![
                    built.id.clone(),
                    format!("{} bytes", built.checked.bytes),
                    digest,
                    built.package.display().to_string(),
                ]
            })
            .collect();
        table(&["PLUGIN", "SIZE", "COMPONENT", "PACKAGE"], &rows)
    });
    Ok(())
}
