//! `koban plugin backtest`, `koban plugin disagreements` and `koban flow what-if`: what another component would have decided.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use clap::Args;
use koban_domain::ids::FlowId;
use koban_domain::manifest::Manifest;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_service::backtests::{self, FlipsMax, OnFlip, Trial};
use koban_service::tally::{Flip, Totals};
use koban_service::walk::Progress;
use koban_service::what_ifs::{self, Because, Candidate, WhatIf};
use koban_service::{App, shadows};
use serde_json::json;

use crate::chart::Chart;
use crate::commands::plugins::settings;
use crate::commands::{moment, new_file, say, table};
use crate::config::Global;
use crate::person;
use crate::progress::Bar;

/// How far a window reaches back unless it is told otherwise: a week.
const WINDOW_MS: i64 = 7 * 86_400_000;
/// Rows of a section of the picture.
const BARS_MAX: usize = 12;

/// A window of time.
#[derive(Debug, Args)]
pub(crate) struct Window {
    /// Decisions from this time on, such as 2026-11-20T00:00:00Z [default: a week ago]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to before this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Window {
    fn of(&self, app: &App) -> (Timestamp, Timestamp) {
        // The decision of this very moment belongs to it.
        let until = self.until.unwrap_or_else(|| app.clock.now().plus_ms(1));
        (self.since.unwrap_or_else(|| until.plus_ms(-WINDOW_MS)), until)
    }
}

/// Arguments of `plugin backtest`.
#[derive(Debug, Args)]
pub(crate) struct BacktestArguments {
    /// The candidate: a package, or the id of an installed plugin to try other settings on it
    #[arg(value_name = "PACKAGE|PLUGIN")]
    candidate: String,
    /// A setting in place of the one in force; repeat it for a list
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    window: Window,
    /// How many decisions may flip for the candidate to pass, such as `0.5%` or `120`
    #[arg(long, value_name = "MOST", value_parser = flips_max)]
    max_flips: Option<FlipsMax>,
    /// Write every flip into this file as a line of JSON
    #[arg(long, value_name = "FILE")]
    flips: Option<PathBuf>,
    /// Write a picture of the result
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Arguments of `plugin disagreements`.
#[derive(Debug, Args)]
pub(crate) struct DisagreementsArguments {
    /// The plugin's id
    id: String,
    /// Of this component alone
    #[arg(long, value_name = "DIGEST")]
    component: Option<Digest>,
    #[command(flatten)]
    window: Window,
    /// Write a picture of the result
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Arguments of `flow what-if`.
#[derive(Debug, Args)]
pub(crate) struct WhatIfArguments {
    /// The flow, `flw_…`
    id: FlowId,
    /// The candidate: a package, or the id of the installed plugin to try other settings on it
    #[arg(value_name = "PACKAGE|PLUGIN")]
    candidate: String,
    /// A setting in place of the one in force; repeat it for a list
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

/// `120`, or a share of the decisions such as `0.5%` with at most four decimals.
fn flips_max(text: &str) -> Result<FlipsMax, String> {
    let wrong = || "write a number of decisions such as 120, or a share of them such as 0.5%".to_owned();
    let Some(percent) = text.strip_suffix('%') else {
        return text.parse().map(FlipsMax::Count).map_err(|_| wrong());
    };
    let (whole, decimals) = percent.trim().split_once('.').unwrap_or((percent.trim(), ""));
    if decimals.len() > 4 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let rest: u64 = format!("{decimals:0<4}").parse().map_err(|_| wrong())?;
    match whole.checked_mul(10_000).and_then(|ppm| ppm.checked_add(rest)) {
        Some(ppm) if ppm <= 1_000_000 => Ok(FlipsMax::Ppm(ppm)),
        _ => Err(wrong()),
    }
}

/// The component and manifest of a package, or of an installed plugin.
async fn candidate(app: &App, named: &str) -> anyhow::Result<(Vec<u8>, Manifest)> {
    if Path::new(named).exists() {
        let package = koban_author::package::open(Path::new(named))?;
        package.check().map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{named} cannot be tried:\n  {}", lines.join("\n  "))
        })?;
        return Ok((package.component, package.manifest));
    }
    let row = koban_store::plugins::by_id(&app.store, named).await?;
    let row = row.with_context(|| format!("`{named}` is neither a package nor the id of an installed plugin"))?;
    let component = koban_store::plugins::component(&app.store, row.digest).await?;
    let component = component.with_context(|| format!("the component of `{named}` is not there any more"))?;
    Ok((component.bytes, component.manifest))
}

/// Runs `plugin backtest`.
pub(crate) async fn backtest(global: &Global, arguments: BacktestArguments) -> anyhow::Result<()> {
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let (component, manifest) = candidate(&app, &arguments.candidate).await?;
    let others = settings(&manifest, &arguments.settings)?;
    let settings = backtests::settings(&app, &manifest, &others).await?;
    let (from, to) = arguments.window.of(&app);
    let trial = Trial { component, manifest, settings, from, to, flips_max: arguments.max_flips };
    let sink = arguments.flips.as_deref().map(Sink::open).transpose()?;
    let (bar, on_flip) = (Bar::new(), sink.as_ref().map(Sink::on_flip));
    let report = backtests::run(&app, trial, on_flip, &|progress| show(&bar, progress)).await?;
    drop(bar);
    if let Some(sink) = sink {
        sink.finish()?;
    }
    let row = backtests::keep(&app, &ctx, &report).await?;
    if let Some(path) = &arguments.svg {
        let title = format!("{} {}: back-test", report.plugin, report.version);
        picture(path, title, (from, to), &report.totals)?;
    }
    let mut value = json!(report);
    value["backtest"] = json!(row.id);
    say(global, &value, || {
        let component = &report.component.to_string()[..12];
        let mut text = format!("{} {} ({component})\n", report.plugin, report.version);
        text.push_str(&words(&report.totals, (from, to)));
        let counts = [
            (report.erased, "not compared: their content was erased"),
            (report.steps, "not compared: steps of flows; try those with `koban flow what-if`"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("\n{count} {what}"));
        }
        if !report.not_recorded.is_empty() {
            text.push_str(&format!("\nno decision has what it asks for: {}", report.not_recorded.join(", ")));
        }
        let speed = format!("\n{} calls a second; kept as {}", report.per_second, row.id);
        text.push_str(&speed);
        if let Some(most) = report.flips_max {
            let word = if report.passed { "passed" } else { "NOT PASSED" };
            text.push_str(&format!("\n{word}: at most {most} flips and no fault were allowed"));
        }
        text
    });
    if report.flips_max.is_some() && !report.passed {
        bail!("the candidate did not pass its back-test");
    }
    Ok(())
}

/// Runs `plugin disagreements`.
pub(crate) async fn disagreements(global: &Global, arguments: DisagreementsArguments) -> anyhow::Result<()> {
    let app = global.app().await?;
    let (from, to) = arguments.window.of(&app);
    let bar = Bar::new();
    let told = |progress| show(&bar, progress);
    let report = shadows::report(&app, &arguments.id, arguments.component, (from, to), &told).await?;
    drop(bar);
    if let Some(path) = &arguments.svg {
        picture(path, format!("{}: in shadow", report.plugin), (from, to), &report.totals)?;
    }
    say(global, &json!(report), || {
        let components: Vec<String> =
            report.components.iter().map(|digest| digest.to_string()[..12].to_owned()).collect();
        if components.is_empty() {
            return format!("{} was not asked in shadow in this window", report.plugin);
        }
        let mut text = format!("{} in shadow ({})\n", report.plugin, components.join(", "));
        text.push_str(&words(&report.totals, (from, to)));
        if report.erased > 0 {
            text.push_str(&format!("\n{} not compared: their content was erased", report.erased));
        }
        text
    });
    Ok(())
}

/// Runs `flow what-if`.
pub(crate) async fn what_if(global: &Global, arguments: WhatIfArguments) -> anyhow::Result<()> {
    let app = global.app().await?;
    let (component, manifest) = candidate(&app, &arguments.candidate).await?;
    let others = settings(&manifest, &arguments.settings)?;
    let settings = backtests::settings(&app, &manifest, &others).await?;
    let found = what_ifs::flow(&app, arguments.id, Candidate { component, manifest, settings }).await?;
    say(global, &json!(found), || what_if_words(&found));
    Ok(())
}

fn what_if_words(found: &WhatIf) -> String {
    let WhatIf { alike, steps, .. } = found;
    let Some(stopped) = &found.stopped else {
        return format!("all {steps} steps would have been the same");
    };
    let about = if stopped.event.is_empty() { String::new() } else { format!(" ({})", stopped.event) };
    let mut text = format!("{alike} of {steps} steps would have been the same");
    match &stopped.because {
        Because::Diverged(divergences) => {
            text.push_str(&format!("; step {}{about} differs, {}", stopped.step, stopped.decision));
            for divergence in divergences {
                let (part, recorded, candidate) = (&divergence.part, &divergence.recorded, &divergence.candidate);
                text.push_str(&format!("\n{part}\n  recorded  {recorded}\n  candidate {candidate}"));
            }
            text.push_str("\nNothing after this step is guessed.");
        }
        Because::Unusable(why) => {
            text.push_str(&format!("; step {}, {}, cannot be tried: {why}", stopped.step, stopped.decision));
        }
    }
    text
}

fn show(bar: &Bar, progress: Progress) {
    bar.show(progress.pages, progress.pages_of, &format!("{} decisions", progress.records));
}

/// A file that takes every flip.
struct Sink {
    path: PathBuf,
    file: Arc<Mutex<(std::io::BufWriter<std::fs::File>, Option<std::io::Error>)>>,
}

impl Sink {
    fn open(path: &Path) -> anyhow::Result<Sink> {
        // It says what people did: the file is the caller's alone.
        let file = std::io::BufWriter::new(new_file(path)?);
        Ok(Sink { path: path.to_owned(), file: Arc::new(Mutex::new((file, None))) })
    }

    fn on_flip(&self) -> OnFlip {
        let file = Arc::clone(&self.file);
        Arc::new(move |flip: &Flip| {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writeln!(file.0, "{}", json!(flip)) {
                file.1.get_or_insert(error);
            }
        })
    }

    fn finish(self) -> anyhow::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = file.1.take().map_or(Ok(()), Err);
        failed.and_then(|()| file.0.flush()).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// A whole number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share with two decimals, such as `0.36 %`.
fn share(part: u64, of: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(of.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn words(totals: &Totals, (from, to): (Timestamp, Timestamp)) -> String {
    let Totals { decisions, same, flips, faults, .. } = totals;
    let mut text = format!(
        "{} decisions from {from} to {to}: {} the same, {} flipped ({}), {} faults",
        grouped(*decisions),
        grouped(*same),
        grouped(*flips),
        share(*flips, *decisions),
        grouped(*faults)
    );
    if !totals.by_answer.is_empty() {
        let rows: Vec<Vec<String>> = totals
            .by_answer
            .iter()
            .map(|flips| {
                let amounts: Vec<String> = flips.amounts.iter().map(ToString::to_string).collect();
                let example = flips.examples.first().map_or_else(String::new, |flip| flip.decision.to_string());
                vec![flips.from.clone(), flips.to.clone(), grouped(flips.count), amounts.join(" + "), example]
            })
            .collect();
        text.push_str(&format!("\n\n{}", table(&["WAS", "WOULD BE", "DECISIONS", "AMOUNT", "EXAMPLE"], &rows)));
    }
    if !totals.by_reason.is_empty() {
        let rows: Vec<Vec<String>> = totals
            .by_reason
            .iter()
            .map(|reason| vec![reason.code.clone(), grouped(reason.gained), grouped(reason.lost)])
            .collect();
        text.push_str(&format!("\n\n{}\n", table(&["REASON", "GAINED", "LOST"], &rows)));
    }
    text
}

fn picture(path: &Path, title: String, (from, to): (Timestamp, Timestamp), totals: &Totals) -> anyhow::Result<()> {
    let below = format!("{} decisions from {from} to {to}", grouped(totals.decisions));
    let mut chart = Chart::new(title, below);
    chart.section("Decisions");
    for (label, count, series) in
        [("the same", totals.same, 2), ("flipped", totals.flips, 1), ("faults", totals.faults, 5)]
    {
        chart.bar(label, count, format!("{} ({})", grouped(count), share(count, totals.decisions)), series);
    }
    chart.section("Flips by what was answered and what would be");
    for flips in totals.by_answer.iter().take(BARS_MAX) {
        let amounts: Vec<String> = flips.amounts.iter().map(ToString::to_string).collect();
        let shown = format!("{}, {}", grouped(flips.count), amounts.join(" + "));
        chart.bar(format!("{} → {}", flips.from, flips.to), flips.count, shown, 0);
    }
    chart.section("Reasons of flips: gained and lost");
    for reason in totals.by_reason.iter().take(BARS_MAX) {
        for (sign, count, series) in [("+", reason.gained, 1), ("−", reason.lost, 3)] {
            if count > 0 {
                chart.bar(format!("{sign} {}", reason.code), count, grouped(count), series);
            }
        }
    }
    std::fs::write(path, chart.svg()).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_a_share() {
        assert_eq!(flips_max("120"), Ok(FlipsMax::Count(120)));
        assert_eq!(flips_max("0.5%"), Ok(FlipsMax::Ppm(5_000)));
        assert_eq!(flips_max("100 %"), Ok(FlipsMax::Ppm(1_000_000)));
        assert_eq!(flips_max("0.0001%"), Ok(FlipsMax::Ppm(1)));
        for wrong in ["", "%", "-1", "1.5", "0.00001%", "101%", "1e3%", "0.+1%"] {
            assert!(flips_max(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([share(0, 0), share(1, 3), share(5, 5)], ["0.00 %", "33.33 %", "100.00 %"]);
    }
}
