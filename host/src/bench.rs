//! `koban bench`: the ledger, the payment path and the door measured beside a baseline of the same run, with an audit after each.

mod audit;
mod backtests;
mod clients;
mod database;
mod door;
mod figures;
mod growth;
mod holds;
mod hosts;
mod installed;
mod languages;
mod pgbench;
mod picture;
mod processor;
mod random;
mod report;
mod run;
mod stages;
mod workloads;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use koban_store::Dialect;
use koban_store::bench::{baseline_hold_sql, baseline_sql};

use crate::config::Global;
use clients::Span;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench            build for release, start a PostgreSQL, measure on both stores\n  cargo xtask bench --quick    the same in under a minute, with more noise\n  koban bench --explain        the SQL of the baseline\n\nHow to read the table: docs/operating/benchmarks.md"
)]
pub(crate) struct Arguments {
    /// Measure this, such as `growth`, what a transfer costs from an empty journal to two million entries, or `installed`, a start with 500
    /// plugins
    #[arg(value_name = "WORKLOAD")]
    named: Vec<String>,
    /// A PostgreSQL whose user may create databases; without it only SQLite is measured
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Short runs over fewer accounts: under a minute, for a first look
    #[arg(long)]
    quick: bool,
    /// Print the SQL of the baseline and end
    #[arg(long)]
    explain: bool,
    /// Measure on this store only
    #[arg(long, value_enum)]
    store: Option<Only>,
    /// Measure these workloads only, such as `W3,W5`, `hosts`, `door` or `js`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Also draw what plugins cost, by their number and by language, into this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// For `installed` alone: start with what it compiled there
    #[arg(long, value_name = "DIR", hide = true)]
    start_with: Option<PathBuf>,
    /// Where the packages of the first plugins are
    #[arg(long, env = "KOBAN_PACKAGES", value_name = "DIR", default_value = "plugins/target/packages")]
    packages: PathBuf,
}

/// One of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Sqlite,
    Postgres,
}

/// The workloads that can be asked for.
const WORKLOADS: [&str; 13] =
    ["W1", "W3", "W4", "W5", "W6", "W7", "hosts", "door", "js", "python", "backtest", GROWTH, INSTALLED];
/// These take minutes, so they are measured only where they are named.
const GROWTH: &str = "growth";
const INSTALLED: &str = "installed";

/// How much is measured.
#[derive(Debug, Clone)]
struct Plan {
    span: Span,
    /// Of each side, alternating; medians are shown.
    repetitions: u64,
    accounts: u32,
    /// Calls in one of the door's blocks.
    door_calls: u64,
    /// Decisions that are recorded for a back-test.
    decisions: u64,
    pgbench_s: u64,
    only: Vec<String>,
    packages: PathBuf,
}

impl Plan {
    fn of(arguments: &Arguments) -> anyhow::Result<Plan> {
        let named: Vec<String> = arguments.named.clone();
        if let Some(unknown) = arguments.only.iter().chain(&named).find(|name| !WORKLOADS.contains(&name.as_str())) {
            bail!("there is no workload `{unknown}`; there are {}", WORKLOADS.join(", "));
        }
        let ms = Duration::from_millis;
        let (span, accounts, (door_calls, decisions), pgbench_s) = match arguments.quick {
            true => (Span { warm_up: ms(100), window: ms(250) }, 20_000, (100, 10_000), 1),
            false => (Span { warm_up: ms(500), window: ms(1_500) }, 100_000, (500, 100_000), 4),
        };
        let (only, packages) = ([arguments.only.clone(), named].concat(), arguments.packages.clone());
        Ok(Plan { span, repetitions: 3, accounts, door_calls, decisions, pgbench_s, only, packages })
    }

    fn has(&self, workload: &str) -> bool {
        (self.only.is_empty() && workload != GROWTH && workload != INSTALLED)
            || self.only.iter().any(|name| name == workload)
    }
}

/// Measures.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    global.start_log()?;
    if arguments.explain {
        explain();
        return Ok(());
    }
    if cfg!(debug_assertions) {
        bail!(
            "a debug build says nothing about speed: run `cargo xtask bench`, which builds for release and starts a PostgreSQL"
        );
    }
    let plan = Plan::of(&arguments)?;
    if let Some(dir) = &arguments.start_with {
        return installed::start(&plan.packages, dir).await;
    }
    let started = clients::now();
    let wanted = |store| arguments.store.is_none_or(|only| only == store);
    let mut out = run::Output::new(global.json);
    let sqlite = wanted(Only::Sqlite);
    let mut clean = true;
    if plan.has(INSTALLED) {
        let row = installed::measure(&plan.packages, |text| eprintln!("{text}"))?;
        out.row(row);
        if plan.only.iter().all(|name| name == INSTALLED) {
            out.finish();
            return Ok(());
        }
    }
    if let Some(url) = arguments.postgres.as_deref().filter(|_| wanted(Only::Postgres)) {
        let fresh = database::Fresh::postgres(url).await?;
        clean &= run::on(&plan, fresh, global.door()?, !sqlite, &mut out).await?;
    } else if wanted(Only::Postgres) {
        out.say("no --postgres URL was given: measuring SQLite only (`cargo xtask bench` starts a PostgreSQL)");
    }
    if sqlite {
        clean &= run::on(&plan, database::Fresh::sqlite()?, global.door()?, true, &mut out).await?;
    }
    out.finish();
    if let Some(path) = &arguments.svg {
        out.draw(path)?;
    }
    out.say(&format!("measured in {} s", started.elapsed().as_secs()));
    if !clean {
        bail!("an audit found a difference, or a database was not durable: the figures above are worth nothing");
    }
    Ok(())
}

fn explain() {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        println!("-- the baseline on {}: one transaction for each transfer", dialect.word());
        for statement in baseline_sql(dialect) {
            println!("{statement};\n");
        }
        for (step, statements) in baseline_hold_sql(dialect) {
            println!("-- a hold on {}: {step}", dialect.word());
            for statement in statements {
                println!("{statement};\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(words: &[&str]) -> anyhow::Result<Plan> {
        let words = [&["bench"], words].concat();
        Plan::of(&<Line as clap::Parser>::try_parse_from(words)?.arguments)
    }

    #[test]
    fn a_workload_that_does_not_exist_is_refused_by_name() {
        assert!(plan(&["--only", "W3,W5"]).unwrap().has("W5"));
        assert!(!plan(&["--only", "W3"]).unwrap().has("W4"));
        assert!(plan(&[]).unwrap().has("door") && !plan(&[]).unwrap().has("growth"));
        assert!(plan(&["growth"]).unwrap().has("growth") && !plan(&["growth"]).unwrap().has("W3"));
        assert!(plan(&["--only", "W9"]).unwrap_err().to_string().contains("W9"));
    }

    #[test]
    fn the_quick_plan_repeats_as_often() {
        let (quick, full) = (plan(&["--quick"]).unwrap(), plan(&[]).unwrap());
        assert_eq!((quick.repetitions, full.repetitions), (3, 3));
        assert!(quick.span.window < full.span.window);
    }
}
