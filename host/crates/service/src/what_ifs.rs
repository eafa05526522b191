//! What another component would have made of a flow: its recorded events are given to the candidate one after the other, up to the first
//! step that differs. What would have come after that nobody knows, and nothing is guessed.

use koban_domain::guest::{Named, Step};
use koban_domain::ids::{FlowId, RecordId};
use koban_domain::manifest::Manifest;
use koban_domain::records::{Digest, Ending, Input, Output, Record};
use koban_domain::time::Timestamp;
use koban_store::audit::{self, AuditFilter};
use koban_store::{flows, records};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Error;

/// Audit rows of one flow that are read: its steps, refused ones and faults, and what operators did.
const ROWS_MAX: u16 = 2_000;
/// Longest account of a difference, in characters.
const SHOWN_CHARS_MAX: usize = 2_000;

/// The candidate.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// Its manifest.
    pub manifest: Manifest,
    /// Settings, complete.
    pub settings: Vec<Named>,
}

/// What came of a what-if.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    /// The flow.
    pub flow: FlowId,
    /// The component that the flow ran on at first.
    pub recorded: Digest,
    /// The candidate.
    pub candidate: Digest,
    /// Steps that the candidate would have taken alike.
    pub alike: u32,
    /// Steps that are recorded.
    pub steps: u32,
    /// Why it ended before the last step, if it did.
    pub stopped: Option<Stopped>,
}

/// Where a what-if ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which step, counted from 1.
    pub step: u32,
    /// The recorded decision.
    pub decision: RecordId,
    /// When it was made.
    pub at: Timestamp,
    /// What the step was about, such as `begin` or `message deposit`.
    pub event: String,
    /// Why.
    pub because: Because,
}

/// Why a what-if ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// The candidate would have taken another step: these parts of it differ.
    Diverged(Vec<Divergence>),
    /// The record cannot be used: it was erased, or is of another host's version.
    Unusable(String),
}

/// A part of a step that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// `ending`, `standing`, `effects`, `proposals`, `reply` or `note`.
    pub part: String,
    /// As it was.
    pub recorded: String,
    /// As it would have been.
    pub candidate: String,
}

/// Gives a flow's recorded events to a candidate. Changes nothing. Errors: there is no such flow, it has no records, or the candidate
/// cannot be loaded or is of another plugin.
pub async fn flow(app: &App, id: FlowId, candidate: Candidate) -> Result<WhatIf, Error> {
    let flow = flows::by_id(&app.store, id).await?.ok_or(Error::NotFound("flow"))?;
    if candidate.manifest.id != flow.plugin {
        let problem = format!("the flow belongs to `{}`, the candidate is `{}`", flow.plugin, candidate.manifest.id);
        return Err(Error::invalid("candidate", problem));
    }
    let Candidate { component, manifest, settings } = candidate;
    let plugin = crate::plugins::load(app, component, manifest, settings).await?;
    let calls = calls(app, id).await?;
    let Some((first, _)) = calls.first() else { return Err(Error::NotFound("decision of this flow")) };
    let first = records::find(&app.store, *first).await?.ok_or(Error::NotFound("decision"))?;
    let mut what_if = WhatIf {
        flow: id,
        recorded: first.kept.head.component,
        candidate: plugin.digest(),
        alike: 0,
        steps: u32::try_from(calls.len()).unwrap_or(u32::MAX),
        stopped: None,
    };
    let mut state = Vec::new();
    for (number, (decision, was_taken)) in (1..).zip(calls) {
        let found = records::find(&app.store, decision).await?.ok_or(Error::NotFound("decision"))?;
        let stopped = |event: &str, because| Stopped {
            step: number,
            decision,
            at: found.kept.head.at,
            event: event.to_owned(),
            because,
        };
        let record = match crate::decisions::whole(&found.kept) {
            Ok(record) if is_replayable(&record) => record,
            Ok(_) => {
                let why = "the call ended by what the machine did, not the plugin".to_owned();
                what_if.stopped = Some(stopped("", Because::Unusable(why)));
                break;
            }
            Err(error) => {
                what_if.stopped = Some(stopped("", Because::Unusable(error.to_string())));
                break;
            }
        };
        // The candidate goes on from its own state: how it remembers is its own affair.
        let input = match &record.input {
            Input::Resume(_, event, refusal) => Input::Resume(state.clone(), event.clone(), refusal.clone()),
            other => other.clone(),
        };
        let (would, _) = app.door.ask_again(&plugin, &record.context, &input).await;
        let divergences = compare(&record.ending, &would);
        if !divergences.is_empty() {
            what_if.stopped = Some(stopped(&event_of(&record.input), Because::Diverged(divergences)));
            break;
        }
        what_if.alike += 1;
        if let (true, Ending::Output(Output::Step(step))) = (was_taken, would) {
            state = step.state;
        }
    }
    Ok(what_if)
}

/// The calls behind a flow in order, each with whether the step that it gave was taken.
async fn calls(app: &App, id: FlowId) -> Result<Vec<(RecordId, bool)>, Error> {
    let subject = id.to_string();
    let of_flow = AuditFilter { subject: Some(&subject), ..AuditFilter::default() };
    let mut calls = Vec::new();
    for row in audit::list(&app.store, of_flow, None, ROWS_MAX).await?.into_iter().rev() {
        let detail: serde_json::Value = serde_json::from_str(&row.audit.detail).unwrap_or_default();
        if let Some(Ok(decision)) = detail["decision"].as_str().map(str::parse) {
            calls.push((decision, matches!(row.audit.act.as_str(), "flow.begin" | "flow.step")));
        }
    }
    Ok(calls)
}

fn is_replayable(record: &Record) -> bool {
    match &record.ending {
        Ending::Fault(fault) => fault.class.is_replayable(),
        Ending::Output(_) => true,
    }
}

/// In which parts two endings differ: of steps, everything that leaves the plugin. Its state does not.
fn compare(recorded: &Ending, would: &Ending) -> Vec<Divergence> {
    let (Ending::Output(Output::Step(one)), Ending::Output(Output::Step(other))) = (recorded, would) else {
        let is_same = match (recorded, would) {
            (Ending::Fault(one), Ending::Fault(other)) => one.class == other.class,
            (one, other) => one == other,
        };
        return if is_same { Vec::new() } else { vec![divergence("ending", recorded, would)] };
    };
    // Every field of a step, so that a new one cannot be forgotten here.
    let Step { state: _, standing, effects, proposals, reply, note } = one;
    let mut divergences = Vec::new();
    if *standing != other.standing {
        divergences.push(divergence("standing", standing, &other.standing));
    }
    if *effects != other.effects {
        divergences.push(divergence("effects", effects, &other.effects));
    }
    if *proposals != other.proposals {
        divergences.push(divergence("proposals", proposals, &other.proposals));
    }
    if *reply != other.reply {
        divergences.push(divergence("reply", reply, &other.reply));
    }
    if *note != other.note {
        divergences.push(divergence("note", note, &other.note));
    }
    divergences
}

fn divergence<T: std::fmt::Debug>(part: &str, recorded: &T, candidate: &T) -> Divergence {
    let shown = |value: &T| format!("{value:?}").chars().take(SHOWN_CHARS_MAX).collect();
    Divergence { part: part.to_owned(), recorded: shown(recorded), candidate: shown(candidate) }
}

fn event_of(input: &Input) -> String {
    match input {
        Input::Resume(_, event, _) => crate::flows::word(&event.what),
        _ => "begin".to_owned(),
    }
}
