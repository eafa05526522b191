//! Playing a scenario's steps, as written or changed, and comparing what came of each with what should have come.

use koban_domain::guest::{HttpAnswer, InboundCall, What};
use koban_domain::manifest::Manifest;

use super::stage::{Seen, Stage};
use super::{Does, Guest, Scenario, Step, Then, words};
use crate::problem::Problem;
use crate::values::{answer, lacks, readable};

/// One happening of a changed scenario: which step it comes from, and whether it is that step once more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Move<'a> {
    /// The step it comes from.
    pub(super) origin: usize,
    /// What happens.
    pub(super) does: &'a Does,
    /// It has happened before.
    pub(super) again: bool,
}

/// What a whole play came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Played {
    /// Credits, gross, minor units.
    pub(super) gross: i64,
}

/// Plays the scenario as it is written and compares every step. Errors: everything that differs in the first step that does.
pub(super) async fn as_written<G: Guest>(
    scenario: &Scenario,
    manifest: &Manifest,
    guest: &G,
) -> Result<Played, Vec<Problem>> {
    let mut stage = Stage::new(scenario, manifest, guest);
    let mut before = None;
    for (origin, step) in scenario.steps.iter().enumerate() {
        let at = |what: String| Problem::at(&scenario.file, step.line, what);
        let mut seen = Seen::default();
        stage.origin = origin;
        stage.refuse.clone_from(&step.refused);
        happen(&mut stage, manifest, &step.does, before, false, &mut seen).await.map_err(|what| vec![at(what)])?;
        if seen.skipped {
            return Err(vec![at(impossible(&step.does, &stage.open()))]);
        }
        if stage.refuse.take().is_some() {
            return Err(vec![at("`refused`: the step proposed nothing that the ledger could refuse".to_owned())]);
        }
        let differences = compare(step, &seen, &stage);
        if !differences.is_empty() {
            return Err(differences.into_iter().map(at).collect());
        }
        if !matches!(step.does, Does::Duplicate | Does::Wait(_) | Does::Kill(_)) {
            before = Some(&step.does);
        }
    }
    Ok(Played { gross: stage.gross })
}

/// Plays a changed scenario: what cannot happen any more is left out, and what must always hold is looked at. Errors: in words, with the line.
pub(super) async fn changed<G: Guest>(
    scenario: &Scenario,
    manifest: &Manifest,
    guest: &G,
    moves: &[Move<'_>],
) -> Result<Played, Problem> {
    let mut stage = Stage::new(scenario, manifest, guest);
    let mut line = scenario.steps.first().map_or(1, |step| step.line);
    let mut before = None;
    for Move { origin, does, again } in moves {
        let step = &scenario.steps[*origin];
        line = step.line;
        stage.origin = *origin;
        stage.refuse.clone_from(&step.refused);
        let mut seen = Seen::default();
        happen(&mut stage, manifest, does, before, *again, &mut seen)
            .await
            .map_err(|what| Problem::at(&scenario.file, line, what))?;
        stage.refuse = None;
        if !matches!(does, Does::Duplicate | Does::Wait(_) | Does::Kill(_)) {
            before = Some(*does);
        }
    }
    // What comes now comes of nothing that was written.
    stage.origin = usize::MAX;
    stage.settle().await.map_err(|what| Problem::at(&scenario.file, line, format!("after the last step: {what}")))?;
    stage.rests_well().map_err(|what| Problem::at(&scenario.file, line, what))?;
    Ok(Played { gross: stage.gross })
}

/// Has something happen. What cannot happen is marked as skipped.
async fn happen<G: Guest>(
    stage: &mut Stage<'_, G>,
    manifest: &Manifest,
    does: &Does,
    before: Option<&Does>,
    again: bool,
    seen: &mut Seen,
) -> Result<(), String> {
    let happened = match does {
        Does::Begin(begin) => {
            stage.begin(begin, seen).await?;
            true
        }
        Does::Form { key, values } => stage.form(key, values, seen).await?,
        Does::Answer { key, status, body } => {
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            let what = What::Answer(HttpAnswer { status: *status, headers, body: body.clone() });
            stage.ends(key, what, again, seen).await?
        }
        Does::Lost { key, how } => {
            let what = What::Lost(*how, "as the scenario says".to_owned());
            stage.ends(key, what, again, seen).await?
        }
        Does::Call { .. } => {
            let call = inbound(manifest, does);
            stage.partner(call, again, seen).await?;
            true
        }
        Does::Wait(ms) => {
            stage.wait(*ms, seen).await?;
            true
        }
        Does::Cancel => stage.cancel(seen).await?,
        Does::Duplicate => match before {
            Some(Does::Call { .. }) => {
                // Byte for byte the same call: the host gives the stored reply.
                stage.partner(inbound(manifest, before.unwrap_or(does)), false, seen).await?;
                true
            }
            Some(Does::Answer { key, status, body }) => {
                let what = What::Answer(HttpAnswer { status: *status, headers: Vec::new(), body: body.clone() });
                stage.ends(key, what, true, seen).await?
            }
            Some(Does::Form { .. } | Does::Cancel | Does::Lost { .. } | Does::Begin(_)) | None => false,
            Some(Does::Duplicate | Does::Wait(_) | Does::Kill(_)) => false,
        },
        Does::Kill(None) => {
            stage.kill().await?;
            true
        }
        Does::Kill(Some(key)) => stage.kill_during(key, seen).await?,
    };
    seen.skipped = !happened;
    Ok(())
}

fn inbound(manifest: &Manifest, does: &Does) -> InboundCall {
    let Does::Call { operation, path, query, body } = does else {
        return InboundCall {
            endpoint: String::new(),
            operation: String::new(),
            path: String::new(),
            query: Vec::new(),
            body: Vec::new(),
        };
    };
    let endpoint = manifest.inbound(operation).map(|(endpoint, _)| endpoint.name.clone()).unwrap_or_default();
    InboundCall { endpoint, operation: operation.clone(), path: path.clone(), query: query.clone(), body: body.clone() }
}

fn impossible(does: &Does, open: &str) -> String {
    match does {
        Does::Form { key, .. } => format!("no form `{key}` is shown now: {open}"),
        Does::Answer { key, .. } | Does::Lost { key, .. } | Does::Kill(Some(key)) => {
            format!("no call `{key}` is under way now: {open}")
        }
        Does::Cancel => "the flow has ended: there is nothing to cancel".to_owned(),
        Does::Duplicate => "`duplicate` repeats a partner's call or answer: write it right after one".to_owned(),
        Does::Begin(_) | Does::Call { .. } | Does::Wait(_) | Does::Kill(None) => "this cannot happen now".to_owned(),
    }
}

/// What differs from what should have come of a step.
fn compare<G: Guest>(step: &Step, seen: &Seen, stage: &Stage<'_, G>) -> Vec<String> {
    let then: &Then = &step.then;
    let mut differences = Vec::new();
    let stands = stage.flow.as_ref().map(|flow| flow.standing);
    if let Some(expected) = then.standing.filter(|expected| stands != Some(*expected)) {
        let stands = stands.map_or("there is no flow", words::standing);
        differences.push(format!("standing is {stands}, expected {}", words::standing(expected)));
    }
    if let Some(expected) = &then.effects {
        let missing = expected.iter().filter(|effect| !seen.effects.contains(effect));
        differences.extend(missing.map(|effect| format!("it did not ask for `{effect}`")));
        let more = seen.effects.iter().filter(|effect| !expected.contains(effect));
        differences.extend(more.map(|effect| format!("it asked for `{effect}`, which `effects` does not name")));
    }
    if then.proposals != seen.proposals {
        let list =
            |proposals: &[String]| if proposals.is_empty() { "nothing".to_owned() } else { proposals.join(", ") };
        differences.push(format!("it proposed {}, expected {}", list(&seen.proposals), list(&then.proposals)));
    }
    for (key, expected) in &then.sends {
        match seen.sends.get(key) {
            None => differences.push(format!("it made no call `{key}`")),
            Some(body) => differences
                .extend(lacks(expected, &readable(body)).map(|difference| format!("the call `{key}`: {difference}"))),
        }
    }
    if then.reply_status.is_some() || then.reply_json.is_some() {
        match &seen.reply {
            None => differences.push("the partner got no reply".to_owned()),
            Some(reply) => {
                if then.reply_status.is_some_and(|status| status != reply.status) {
                    differences.push(format!("the reply is {}", answer(reply)));
                }
                let expected = then.reply_json.as_ref();
                let difference = expected.and_then(|expected| lacks(expected, &readable(&reply.body)));
                differences.extend(difference.map(|difference| format!("the reply: {difference}")));
            }
        }
    }
    if let Some(expected) = then.note.as_ref().filter(|expected| seen.note.as_ref() != Some(*expected)) {
        differences.push(format!("its note is {}, expected {expected}", seen.note.as_deref().unwrap_or("absent")));
    }
    if let Some(expected) = then.credited.filter(|expected| expected.minor != stage.net()) {
        differences.push(format!("{} minor units are credited by now, expected {expected}", stage.net()));
    }
    differences
}
