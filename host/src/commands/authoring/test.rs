//! `koban plugin test`: unit tests, then every call and every scenario on the built plugin.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use koban_author::call::Call;
use koban_author::{Problem, scenario};
use koban_runtime::Used;
use serde_json::{Value, json};

use super::Place;
use super::door::{AtHand, Played, circumstances};
use super::figures;
use crate::commands::say;
use crate::config::Global;

/// Most files of one sort.
const FILES_MAX: usize = 500;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only call and scenario files whose name holds this; no unit tests
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// One line of the report.
struct Line {
    good: bool,
    name: String,
    said: String,
    problems: Vec<Problem>,
    used: Option<Used>,
}

/// Runs the command.
pub(super) async fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let dir = &arguments.place.dir;
    if arguments.only.is_none()
        && let Some(unit) = koban_author::unit_tests(dir)?
    {
        if !unit.good {
            eprintln!("{}", unit.said.trim());
        }
        let said = if unit.good { format!("{} passed", unit.passed) } else { "see above".to_owned() };
        lines.push(Line { good: unit.good, name: "unit tests".to_owned(), said, problems: Vec::new(), used: None });
    }
    let at_hand = AtHand::open(&arguments.place)?;
    for file in files(&at_hand.dir, "calls", arguments.only.as_deref())? {
        lines.push(call(&at_hand, &file).await?);
    }
    for file in files(&at_hand.dir, "scenarios", arguments.only.as_deref())? {
        lines.push(play(&at_hand, &file).await?);
    }
    let failed = lines.iter().filter(|line| !line.good).count();
    let value = json!({
        "good": failed == 0,
        "tests": lines.iter().map(|line| json!({
            "test": line.name, "good": line.good, "said": line.said, "problems": line.problems.iter().map(problem).collect::<Vec<_>>(),
            "used": line.used.map(|used| figures::value(&at_hand.door, &used, None)),
        })).collect::<Vec<_>>(),
    });
    say(global, &value, || {
        let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let mut text = Vec::new();
        for line in &lines {
            let state = if line.good { "ok  " } else { "FAIL" };
            text.push(format!("{state}  {:width$}  {}", line.name, line.said).trim_end().to_owned());
            text.extend(line.problems.iter().map(|problem| format!("      {problem}")));
        }
        if let Some(most) = lines.iter().filter_map(|line| line.used).max_by_key(|used| used.fuel) {
            text.push(format!("\nThe call with the most fuel:\n{}", figures::text(&at_hand.door, &most, None)));
        }
        text.join("\n")
    });
    match (failed, lines.len()) {
        (_, 0) => bail!("there is nothing to test: write calls/*.toml or scenarios/*.toml in {}", dir.display()),
        (0, all) => {
            if !global.json {
                eprintln!("{all} good");
            }
            Ok(())
        }
        (failed, all) => bail!("{failed} of {all} failed"),
    }
}

fn problem(problem: &Problem) -> Value {
    json!({ "file": problem.file, "line": problem.line, "what": problem.what })
}

async fn call(at_hand: &AtHand, file: &Path) -> anyhow::Result<Line> {
    let name = shown(&at_hand.dir, file);
    let call = match Call::read(file, &at_hand.package.manifest) {
        Ok(call) => call,
        Err(problem) => {
            return Ok(Line { good: false, name, said: String::new(), problems: vec![problem], used: None });
        }
    };
    let plugin = at_hand.with(call.settings.clone())?;
    let called = at_hand.door.call(&plugin, circumstances(call.at, &call.locale, call.seed), call.input.clone()).await;
    let problems = call.compare(&called.record.ending);
    Ok(Line { good: problems.is_empty(), name, said: call.about.clone(), problems, used: Some(called.used(&plugin)) })
}

async fn play(at_hand: &AtHand, file: &Path) -> anyhow::Result<Line> {
    let name = shown(&at_hand.dir, file);
    let scenario = match scenario::read(file, &at_hand.package.manifest) {
        Ok(scenario) => scenario,
        Err(problem) => {
            return Ok(Line { good: false, name, said: String::new(), problems: vec![problem], used: None });
        }
    };
    let plugin = at_hand.with(scenario.settings.clone())?;
    let guest = Played::new(at_hand.door.clone(), plugin);
    let report = scenario::run(&scenario, &at_hand.package.manifest, &guest).await;
    let variants: Vec<String> = report.variants.iter().map(|(how, count)| format!(", {count} {how}")).collect();
    let said = format!("{}: {} steps{}", report.about, report.steps, variants.concat());
    Ok(Line { good: report.is_good(), name, said, problems: report.problems, used: guest.most() })
}

/// The files of a folder, in order.
fn files(dir: &Path, folder: &str, only: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_toml = path.extension().is_some_and(|kind| kind == "toml");
        let meant = only.is_none_or(|only| shown(dir, &path).contains(only));
        if is_toml && meant {
            files.push(path);
        }
    }
    if files.len() > FILES_MAX {
        bail!("{} has {} files; at most {FILES_MAX}: use --only", dir.join(folder).display(), files.len());
    }
    files.sort();
    Ok(files)
}

fn shown(dir: &Path, file: &Path) -> String {
    file.strip_prefix(dir).unwrap_or(file).display().to_string()
}
