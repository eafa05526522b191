//! `koban plugin replay`: exported decisions run again on the plugin at hand.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use koban_author::call::{answer_json, verdict};
use koban_domain::records::{Ending, Output};
use koban_service::decisions::{self, Export};
use serde_json::{Value, json};

use super::Place;
use super::door::AtHand;
use crate::commands::{say, table};
use crate::config::Global;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Exported decisions
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The plugin's folder, which is built first, or a package
    #[arg(long, value_name = "DIR", default_value = ".")]
    plugin: PathBuf,
    /// Take the package as it was built last
    #[arg(long)]
    no_build: bool,
}

/// What came of one file.
struct Again {
    file: String,
    exact: bool,
    same: bool,
    recorded: String,
    now: String,
}

/// Runs the command.
pub(super) async fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let place = Place { dir: arguments.plugin.clone(), no_build: arguments.no_build, package: None };
    let at_hand = AtHand::open(&place)?;
    let mut all = Vec::new();
    for file in &arguments.files {
        all.push(replay(&at_hand, file).await?);
    }
    let changed = all.iter().filter(|again| !again.same).count();
    let value: Vec<Value> = all
        .iter()
        .map(|again| json!({ "file": again.file, "exact": again.exact, "same": again.same, "recorded": again.recorded, "now": again.now }))
        .collect();
    say(global, &json!({ "same": changed == 0, "decisions": value }), || {
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|again| {
                let component = if again.exact { "the same" } else { "another" };
                let state = if again.same { "same" } else { "CHANGED" };
                vec![
                    again.file.clone(),
                    component.to_owned(),
                    again.recorded.clone(),
                    again.now.clone(),
                    state.to_owned(),
                ]
            })
            .collect();
        table(&["DECISION", "COMPONENT", "RECORDED", "NOW", ""], &rows)
    });
    if changed == 0 { Ok(()) } else { bail!("{changed} of {} answers changed", all.len()) }
}

async fn replay(at_hand: &AtHand, path: &Path) -> anyhow::Result<Again> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("{file} cannot be read"))?;
    let export: Export = serde_json::from_slice(&bytes)
        .with_context(|| format!("{file} is no exported decision: `koban decision export` writes one"))?;
    let record = decisions::whole(&decisions::exported(&export)?)?;
    if record.plugin != at_hand.package.manifest.id {
        bail!("{file} is a decision of `{}`, and this plugin is `{}`", record.plugin, at_hand.package.manifest.id);
    }
    let recorded = ending(&record.ending);
    if record.component == at_hand.package.digest {
        let replayed = decisions::replay_export(&at_hand.door, &export).await?;
        let now = replayed.ending.as_ref().map_or_else(|| "not run".to_owned(), ending);
        return Ok(Again { file, exact: true, same: replayed.same, recorded, now });
    }
    let settings = at_hand.package.manifest.settings(&export.settings).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{file}: the settings of then do not fit the manifest of now:\n{}", lines.join("\n"))
    })?;
    let plugin = at_hand.with(settings)?;
    let context = koban_runtime::CallContext {
        id: record.id,
        at: record.at,
        scope: record.context.scope.clone(),
        seed: record.context.seed,
        locale: record.context.locale.clone(),
    };
    let called = at_hand.door.call(&plugin, context, record.input.clone()).await;
    let same = called.record.ending == record.ending;
    Ok(Again { file, exact: false, same, recorded, now: ending(&called.record.ending) })
}

/// How a call ended, in a few words.
fn ending(ending: &Ending) -> String {
    let text = match ending {
        Ending::Output(Output::Assessment(answer)) => {
            let codes: Vec<&str> = answer.reasons.iter().map(|reason| reason.code.as_str()).collect();
            format!("{} {} {}", verdict(answer.verdict), answer.score, codes.join(","))
        }
        Ending::Output(Output::Failure(failure)) => format!("failed: {}", failure.code),
        Ending::Output(Output::Step(step)) => {
            let proposals = step.proposals.iter().map(koban_author::scenario::words::proposal);
            let words: Vec<String> = std::iter::once(koban_author::scenario::words::standing(step.standing).to_owned())
                .chain(proposals)
                .collect();
            words.join(", ")
        }
        Ending::Output(output) => answer_json(output).to_string(),
        Ending::Fault(fault) => fault.class.word().to_owned(),
    };
    text.trim().chars().take(60).collect()
}
