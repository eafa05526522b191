//! Driving flows: one event, one guest call, one commit.

use std::time::Duration;

use koban_domain::flows::{self, AGE_MAX_MS, CallKey, Consumed, EffectState, Flow, StepCommit, StepRefused};
use koban_domain::guest::{Event, Failure, HttpAnswer, StepRefusal, What};
use koban_domain::ids::{AuditId, FlowId};
use koban_domain::ledger::{Audit, Decided, SealedRecord, Work};
use koban_domain::policy::Reliance;
use koban_domain::records::{Fault, FaultClass, Input, Output};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::flows as rows;

use crate::app::App;
use crate::crash::{self, Point};
use crate::error::Error;
use crate::flows::links;
use crate::guests::{self, For};
use crate::metrics::Faulted;
use crate::plugins;
use crate::quarantine;

/// Most events that a flow takes before others have their turn.
const TURN_MAX: u32 = 64;
/// The pause after a fault, doubled with each further one: a fault that time heals is not one of three in a moment.
const FAULT_PAUSE: Duration = Duration::from_millis(250);
/// The pause when the host itself was too busy.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// What came of looking at a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// It has nothing to do, or waits for an operator.
    Idle,
    /// Something was committed; there may be more.
    Stepped,
    /// It should be looked at again, but not at once.
    Later(Duration),
}

/// Drives a flow until it is idle, should rest, or has had its turn.
pub async fn run(app: &App, flow: FlowId) -> Driven {
    for _ in 0..TURN_MAX {
        match drive(app, flow).await {
            Ok(Driven::Stepped) => {}
            Ok(other) => return other,
            Err(error) => {
                tracing::warn!(%flow, error = %crate::ledger::chain(&error), "a flow could not be driven; it is tried again");
                return Driven::Later(BUSY_PAUSE);
            }
        }
    }
    Driven::Stepped
}

/// Takes the first event of a flow's inbox: asks the plugin, and commits what may be done of its answer.
pub async fn drive(app: &App, id: FlowId) -> Result<Driven, Error> {
    let Some(flow) = rows::by_id(&app.store, id).await? else { return Ok(Driven::Idle) };
    if flow.stuck.is_some() {
        return Ok(Driven::Idle);
    }
    let Some(consumed) = rows::next_event(&app.store, &flow).await? else { return Ok(Driven::Idle) };
    crash::pass(Point::EventRead);
    if let Some(reason) = outlived(&flow, app.clock.now()) {
        return stop(app, &flow, reason).await;
    }
    if is_stale(&flow, &consumed) {
        return pass_over(app, &flow, &consumed).await;
    }
    if app.ledger.policy().revoked.contains(&flow.digest) {
        return stop(app, &flow, revoked(&flow)).await;
    }
    let plugin = match plugins::of_flow(app, &flow).await {
        Ok(plugin) => plugin,
        Err(error @ (Error::Store(_) | Error::StorageFull(_) | Error::StorageUnwritable(_) | Error::Busy)) => {
            return Err(error);
        }
        Err(error) => return stop(app, &flow, format!("its component cannot be loaded: {error}")).await,
    };
    let input = Input::Resume(flow.state.clone(), consumed.event.clone(), flow.refusal_of(consumed.place));
    let whom = For { scope: "platform", locale: &flow.locale, about: Some(flow.authorisation.user) };
    let (answer, record) = guests::call(app, &plugin, whom, input).await;
    crash::pass(Point::StepMade);
    let step = match answer {
        Ok(Output::Step(step)) => step,
        Ok(Output::Failure(failure)) => return faulted(app, &flow, no_step(&failure), record).await,
        Ok(_) => return faulted(app, &flow, bad("the answer belongs to another function"), record).await,
        // Nothing ran: it says nothing about the plugin, and there is nothing to record.
        Err(fault) if fault.class == FaultClass::Busy => return Ok(Driven::Later(BUSY_PAUSE)),
        Err(fault) => return faulted(app, &flow, fault, record).await,
    };
    if let Some(why) = links::check(app, &flow.plugin, &step).await? {
        return broken(app, &flow, &plugin, &why, record).await;
    }
    let proposals = step.proposals.len();
    match flows::advance(&flow, Some(&consumed), step, plugin.manifest(), app.clock.now()) {
        Ok(plan) => {
            let mut work = step_work(app, &flow, plan.step, Some(&record), "flow.step", Some(&consumed.event));
            work.commands = plan.commands;
            work.records = vec![record.clone()];
            work.relies_on = vec![relies_on(&flow)];
            match commit(app, work).await? {
                Decided::Refused(place, refusal) if place < proposals => {
                    let proposal = u32::try_from(place).unwrap_or(u32::MAX);
                    let refusal = StepRefusal { proposal, outcome: refusal.code().to_owned() };
                    // The record was kept with the refused work.
                    refuse(app, &flow, &consumed, refusal, &record, false).await
                }
                Decided::Refused(_, refusal) => {
                    stop(app, &flow, format!("the books refused what no plugin asked: {refusal}")).await
                }
                Decided::PluginChanged => stop(app, &flow, revoked(&flow)).await,
                Decided::Done(_)
                | Decided::FlowMoved
                | Decided::Replayed(_)
                | Decided::KeyReused
                | Decided::SignedOut
                | Decided::Foreseen(_) => Ok(Driven::Stepped),
            }
        }
        Err(StepRefused::Refused(refusal)) => refuse(app, &flow, &consumed, refusal, &record, true).await,
        Err(StepRefused::Broken(why)) => broken(app, &flow, &plugin, &why, record).await,
    }
}

/// A step that breaks a rule of flows: a fault that only shows once the flow is known.
async fn broken(app: &App, flow: &Flow, plugin: &Plugin, why: &str, record: SealedRecord) -> Result<Driven, Error> {
    let by = Faulted { plugin: flow.plugin.clone(), class: FaultClass::Denied.word() };
    app.metrics.faults.get_or_create(&by).inc();
    let fault = Fault { class: FaultClass::Denied, detail: why.chars().take(500).collect() };
    quarantine::note_broken(app, plugin, &fault);
    faulted(app, flow, fault, record).await
}

/// The books, or the authorisation, would not have the step: the plugin is told and asked once more.
async fn refuse(
    app: &App,
    flow: &Flow,
    consumed: &Consumed,
    refusal: StepRefusal,
    record: &SealedRecord,
    keep: bool,
) -> Result<Driven, Error> {
    tracing::info!(flow = %flow.id, outcome = refusal.outcome, decision = %record.id, "a step was refused; its plugin is told");
    let step = flows::refused(flow, consumed.place, refusal, app.clock.now());
    let mut work = step_work(app, flow, step, Some(record), "flow.refused", Some(&consumed.event));
    if keep {
        work.records = vec![record.clone()];
    }
    commit(app, work).await?;
    Ok(Driven::Stepped)
}

/// The plugin gave no step, or one that breaks a rule: counted and kept, and the event stays first.
async fn faulted(app: &App, flow: &Flow, fault: Fault, record: SealedRecord) -> Result<Driven, Error> {
    tracing::warn!(flow = %flow.id, plugin = flow.plugin, decision = %record.id, %fault, "a flow's plugin faulted");
    let step = flows::faulted(flow, &fault, app.clock.now());
    let mut work = step_work(app, flow, step, Some(&record), "flow.fault", None);
    work.records = vec![record];
    commit(app, work).await?;
    Ok(Driven::Later(FAULT_PAUSE * 2_u32.pow(flow.faults.min(4))))
}

/// An operator is needed.
pub(crate) async fn stop(app: &App, flow: &Flow, reason: String) -> Result<Driven, Error> {
    tracing::warn!(flow = %flow.id, plugin = flow.plugin, reason, "a flow is stuck; see `koban flow show`");
    let step = flows::stuck(flow, reason, app.clock.now());
    let work = step_work(app, flow, step, None, "flow.stuck", None);
    commit(app, work).await?;
    Ok(Driven::Stepped)
}

/// Takes an event that no longer concerns anybody out of the inbox without asking the plugin.
async fn pass_over(app: &App, flow: &Flow, consumed: &Consumed) -> Result<Driven, Error> {
    let mut work = Work::new(app.clock.id(), "system");
    work.step = Some(Box::new(taken_out(flow, consumed, None, app.clock.now())));
    commit(app, work).await?;
    Ok(Driven::Stepped)
}

/// The step that takes an event out of the inbox and nothing else; a stored call gets this reply.
pub(crate) fn taken_out(flow: &Flow, consumed: &Consumed, reply: Option<HttpAnswer>, now: Timestamp) -> StepCommit {
    StepCommit {
        flow: Flow { version: flow.version + 1, changed_at: now, ..flow.clone() },
        expected: Some(flow.version),
        consumed: vec![consumed.place],
        queued: Vec::new(),
        cancelled: Vec::new(),
        arrivals: Vec::new(),
        replies: consumed.call.zip(reply).into_iter().collect(),
    }
}

/// A form that was answered twice, a consent that was given twice, or a timer that rang while it was taken back: its effect has ended already. What a partner
/// said is never passed over.
fn is_stale(flow: &Flow, consumed: &Consumed) -> bool {
    let event = &consumed.event;
    matches!(event.what, What::Form(_) | What::Rang | What::Agreed)
        && flow.effects.iter().any(|effect| effect.key == event.key && effect.state != EffectState::Open)
}

/// Why a flow is too old to go on, if it is: it has not ended in time, or what came is too late after its end. What an operator
/// has let go on since does not stop again.
pub(crate) fn outlived(flow: &Flow, now: Timestamp) -> Option<String> {
    const DAYS: i64 = AGE_MAX_MS / 86_400_000;
    let bound = flow.final_at.unwrap_or(flow.opened_at).plus_ms(AGE_MAX_MS);
    let over = now > bound && flow.changed_at <= bound;
    over.then(|| match flow.final_at {
        Some(_) => format!("something came more than {DAYS} days after its end"),
        None => format!("it has not ended in {DAYS} days"),
    })
}

fn revoked(flow: &Flow) -> String {
    format!("its component {} is revoked", flow.digest)
}

fn relies_on(flow: &Flow) -> Reliance {
    Reliance { plugin: flow.plugin.clone(), digest: flow.digest, in_force: false }
}

fn no_step(failure: &Failure) -> Fault {
    bad(&format!("it gave no step: {} ({})", failure.code, failure.message))
}

fn bad(detail: &str) -> Fault {
    Fault { class: FaultClass::BadAnswer, detail: detail.chars().take(500).collect() }
}

/// The work of one commit about a flow, with the audit row through which `flow show` finds the decision again.
pub(crate) fn step_work(
    app: &App,
    flow: &Flow,
    step: StepCommit,
    record: Option<&SealedRecord>,
    act: &str,
    event: Option<&Event>,
) -> Work {
    let stuck = step.flow.stuck.as_ref().map(|stuck| stuck.reason.as_str());
    let detail = serde_json::json!({
        "decision": record.map(|record| record.id),
        "event": event.map(|event| event.number),
        "key": event.map(|event| event.key.as_str()),
        "standing": step.flow.standing,
        "stuck": stuck,
    });
    let mut work = Work::new(app.clock.id(), format!("plugin:{}", flow.plugin));
    work.audit = vec![Audit {
        id: AuditId(app.clock.id()),
        actor: work.actor.clone(),
        act: act.to_owned(),
        subject: flow.id.to_string(),
        detail: detail.to_string(),
    }];
    work.step = Some(Box::new(step));
    work
}

/// Commits work about a flow and tells who waits for it.
pub(crate) async fn commit(app: &App, work: Work) -> Result<Decided, Error> {
    let told = Told::of(&work);
    let decided = app.ledger.commit(work).await?;
    crash::pass(Point::StepCommitted);
    if matches!(decided, Decided::Done(_)) {
        told.tell(app);
    }
    Ok(decided)
}

/// Who wants to know of a step once it is committed.
pub(crate) struct Told {
    flow: Option<FlowId>,
    calls: Vec<CallKey>,
    effects: bool,
    events: bool,
}

impl Told {
    pub(crate) fn of(work: &Work) -> Told {
        let step = work.step.as_deref();
        Told {
            flow: step.map(|step| step.flow.id),
            calls: step.map_or(Vec::new(), |step| step.replies.iter().map(|(call, _)| *call).collect()),
            effects: step.is_some_and(|step| !step.queued.is_empty()),
            // An expectation may be refused in the commit itself, which is an event, too.
            events: step.is_some_and(|step| !step.arrivals.is_empty()) || !work.commands.is_empty(),
        }
    }

    pub(crate) fn tell(&self, app: &App) {
        for call in &self.calls {
            app.bell.replied(*call);
        }
        if self.effects {
            app.bell.effects();
        }
        if let Some(flow) = self.flow {
            app.bell.moved(flow);
            if self.events {
                app.bell.flow(flow);
            }
        }
    }
}
