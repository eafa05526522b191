//! `koban plugin run`: one call from a file, its typed answer, its log, and what it used.

use std::path::Path;

use anyhow::bail;
use koban_author::call::{Call, answer_json, verdict};
use koban_domain::manifest::Manifest;
use koban_domain::records::{Ending, Output};
use koban_runtime::Called;
use serde_json::json;

use super::Place;
use super::door::{AtHand, circumstances, timed};
use super::figures;
use crate::commands::say;
use crate::config::Global;

/// Runs the command.
pub(super) async fn run(global: &Global, file: &Path, place: &Place) -> anyhow::Result<()> {
    let at_hand = AtHand::open(place)?;
    let manifest = &at_hand.package.manifest;
    let call = Call::read(file, manifest)?;
    let plugin = at_hand.with(call.settings.clone())?;
    let circumstances = || circumstances(call.at, &call.locale, call.seed);
    // The first call of a process touches everything for the first time; the second is as in production.
    at_hand.door.call(&plugin, circumstances(), call.input.clone()).await;
    let (called, us) = timed(&at_hand.door, &plugin, circumstances(), call.input.clone()).await;
    let differences = call.compare(&called.record.ending);
    let used = called.used(&plugin);
    let (answer, fault) = match &called.record.ending {
        Ending::Output(output) => (Some(answer_json(output)), None),
        Ending::Fault(fault) => (None, Some(json!({ "class": fault.class.word(), "detail": fault.detail }))),
    };
    let log: Vec<_> =
        called.record.log.iter().map(|(level, line)| json!({ "level": word(*level), "line": line })).collect();
    let value = json!({
        "call": call.input.function(), "about": call.about, "answer": answer, "fault": fault, "log": log,
        "used": figures::value(&at_hand.door, &used, Some(us)),
        "expected": call.expects(), "good": differences.is_empty(),
        "differences": differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    say(global, &value, || {
        let mut text = ending(&call, &called, manifest);
        for (level, line) in &called.record.log {
            text.push_str(&format!("\n  log {:<5} {line}", word(*level)));
        }
        text.push_str(&format!("\n\n{}", figures::text(&at_hand.door, &used, Some(us))));
        if cfg!(debug_assertions) {
            text.push_str(
                "\n\nThis koban was built without optimisation: the time is several times that of a release build.",
            );
        }
        text
    });
    if differences.is_empty() {
        if call.expects() && !global.json {
            eprintln!("as expected");
        }
        return Ok(());
    }
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    bail!("{}", lines.join("\n"))
}

/// How a call ended, for people.
fn ending(call: &Call, called: &Called, manifest: &Manifest) -> String {
    let function = call.input.function();
    match &called.record.ending {
        Ending::Output(Output::Assessment(answer)) => {
            let mut text = format!("{function}: {}, score {}", verdict(answer.verdict), answer.score);
            for reason in &answer.reasons {
                let about = manifest.codes.iter().find(|known| known.code == reason.code);
                let about = about.map(|known| known.about.en.as_str()).unwrap_or_default();
                text.push_str(&format!("\n  {} ({}): {about}", reason.code, reason.weight));
            }
            text
        }
        Ending::Output(Output::Failure(failure)) => {
            format!("{function} failed with {}: {}", failure.code, failure.message)
        }
        Ending::Output(output) => {
            format!("{function}:\n{}", serde_json::to_string_pretty(&answer_json(output)).unwrap_or_default())
        }
        Ending::Fault(fault) => format!("{function} ended in a fault: {fault}"),
    }
}

/// The level of a line.
pub(super) fn word(level: u8) -> &'static str {
    match level {
        0 => "debug",
        1 => "info",
        2 => "warn",
        _ => "error",
    }
}
