//! One step of a flow: checked against the rules, the manifest, the authorisation and the flow's own past.

use super::{
    AGE_MAX_MS, Consumed, EFFECTS_MAX, EffectState, Flow, FlowCredit, FlowEffect, KEY_BYTES_MAX, OPEN_EFFECTS_MAX,
    PROPOSALS_MAX, Plan, QueuedEffect, STATE_BYTES_MAX, STEPS_MAX, StepRefused, Stuck, close, linking, outgoing,
};
use crate::charges::{ChargeCredit, ChargeReversal, Tombstone};
use crate::guest::{Act, Credit, Effect, Event, HttpAnswer, Proposal, Reversal, Show, Step, StepRefusal, What};
use crate::ledger::{Command, Expect};
use crate::manifest::{Manifest, ProposalKind, Repeat};
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::time::Timestamp;

/// May this step be taken, and what follows from it? `consumed` is none for a beginning.
pub fn advance(
    flow: &Flow,
    consumed: Option<&Consumed>,
    step: Step,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Plan, StepRefused> {
    let broken = |why: String| Err(StepRefused::Broken(why));
    let mut next = flow.clone();
    if let Some(consumed) = consumed {
        next.events = consumed.event.number;
        if consumed.event.is_authenticated() {
            next.authenticated.push(consumed.event.number);
        }
        linking::learn(&mut next, &consumed.event);
        end_effect(&mut next, &consumed.event);
        outgoing::learn(&mut next, &consumed.event, manifest, now);
    }
    if step.state.len() > STATE_BYTES_MAX {
        return broken(format!("its state has {} bytes; at most {STATE_BYTES_MAX}", step.state.len()));
    }
    if flow.standing.is_final() && step.standing != flow.standing {
        return broken(format!("a flow that is {:?} cannot become {:?}", flow.standing, step.standing));
    }
    if flow.standing.is_final() && !step.effects.iter().all(|effect| is_harmless(&effect.act)) {
        return broken("a final flow may only reverse its own credits, tombstone, reply and show".into());
    }
    if step.proposals.len() > PROPOSALS_MAX {
        return broken(format!("it makes {} proposals; at most {PROPOSALS_MAX}", step.proposals.len()));
    }
    let before = next.outgoing.holds.clone();
    let mut commands = Vec::with_capacity(step.proposals.len());
    for (place, proposal) in (0..).zip(&step.proposals) {
        let refused = |outcome: Refusal| {
            StepRefused::Refused(StepRefusal { proposal: place, outcome: outcome.code().to_owned() })
        };
        commands.push(propose(&mut next, flow.standing.is_final(), proposal, manifest, now, refused)?);
    }
    let lets_go = outgoing::lets_go(&before, &next.outgoing, &step);
    let expected = (flow.version > 0).then_some(flow.version);
    let mut queued = Vec::new();
    let mut cancelled = Vec::new();
    for effect in step.effects {
        ask(&mut next, effect, manifest, now, &mut queued, &mut cancelled, &mut commands)?;
    }
    if lets_go {
        outgoing::check_sure(&next)?;
    }
    next.state = step.state;
    next.standing = step.standing;
    next.note = step.note.or(next.note);
    next.steps += 1;
    next.faults = 0;
    next.refused = None;
    next.changed_at = now;
    if next.standing.is_final() && next.final_at.is_none() {
        if queued.iter().any(|effect| matches!(effect.act, Act::Http(_) | Act::Enqueue(..))) {
            return broken(
                "a step that ends the flow cannot ask for a call or a record: nobody would hear of it".into(),
            );
        }
        commands.extend(next.let_go_of_all());
        commands.extend(next.free_bill());
        commands.extend(next.finish_rows());
        next.final_at = Some(now);
        queued.clear();
        close(&mut next, &mut cancelled);
    }
    if next.open_effects() > OPEN_EFFECTS_MAX {
        return broken(format!("{} effects would be open; at most {OPEN_EFFECTS_MAX}", next.open_effects()));
    }
    if let Some(reason) = overlong(&next, now) {
        next.stuck = Some(Stuck { reason, since: now });
    }
    let reply = consumed
        .and_then(|consumed| consumed.call)
        .map(|call| (call, step.reply.unwrap_or_else(|| HttpAnswer { status: 204, headers: vec![], body: vec![] })));
    let mut commit = next.commit(expected, consumed.map(|consumed| consumed.place).into_iter().collect());
    (commit.queued, commit.cancelled) = (queued, cancelled);
    commit.replies = reply.into_iter().collect();
    Ok(Plan { commands, step: commit })
}

/// What a final flow may still ask for: nothing that reaches anybody but its own user.
fn is_harmless(act: &Act) -> bool {
    matches!(act, Act::Cancel(_) | Act::Show(Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_)))
}

/// Why the flow has gone on for too long, if it has.
fn overlong(flow: &Flow, now: Timestamp) -> Option<String> {
    let is_final = flow.standing.is_final();
    if flow.steps > STEPS_MAX || flow.steps == STEPS_MAX && !is_final {
        return Some(format!("it took {} steps; at most {STEPS_MAX}", flow.steps));
    }
    let is_old = !is_final && now.since_ms(flow.opened_at) > AGE_MAX_MS;
    is_old.then(|| "it went on for more than 14 days without an end".to_owned())
}

/// An event ends the effect it answers. Expectations go on: several calls may come.
fn end_effect(flow: &mut Flow, event: &Event) {
    let ends = !matches!(event.what, What::Message(_) | What::CancelAsked | What::Queued);
    if let Some(effect) = flow.effects.iter_mut().find(|effect| effect.key == event.key)
        && ends
        && effect.state == EffectState::Open
    {
        effect.state = EffectState::Ended;
        effect.show = None;
    }
}

/// One proposal, checked against the table of beginnings, the manifest, the authorisation and the flow's own past.
fn propose(
    flow: &mut Flow,
    is_final: bool,
    proposal: &Proposal,
    manifest: &Manifest,
    now: Timestamp,
    refused: impl Fn(Refusal) -> StepRefused,
) -> Result<Command, StepRefused> {
    let broken = |why: String| Err(StepRefused::Broken(why));
    let kind = proposal_kind(proposal);
    if !manifest.may_propose(flow.beginning, kind) {
        return broken(format!("a {:?} may not propose {kind:?}", flow.beginning));
    }
    if is_final && !matches!(kind, ProposalKind::Reverse | ProposalKind::Tombstone) {
        return broken(format!("a final flow may not propose {kind:?}"));
    }
    match proposal {
        Proposal::Credit(credit) => propose_credit(flow, credit, now, refused),
        Proposal::Reverse(reversal) => propose_reversal(flow, reversal),
        Proposal::Tombstone(reference) => {
            check_reference(reference)?;
            Ok(Command::Tombstone(Tombstone {
                plugin: flow.plugin_key(),
                flow: Some(flow.id),
                reference: reference.clone(),
            }))
        }
        Proposal::Hold(hold) => outgoing::propose_hold(flow, hold, now, refused),
        Proposal::Capture(capture) => outgoing::propose_capture(flow, capture, refused),
        Proposal::Release(key) => outgoing::propose_release(flow, key),
    }
}

fn proposal_kind(proposal: &Proposal) -> ProposalKind {
    match proposal {
        Proposal::Credit(_) => ProposalKind::Credit,
        Proposal::Hold(_) => ProposalKind::Hold,
        Proposal::Capture(_) => ProposalKind::Capture,
        Proposal::Release(_) => ProposalKind::Release,
        Proposal::Reverse(_) => ProposalKind::Reverse,
        Proposal::Tombstone(_) => ProposalKind::Tombstone,
    }
}

pub(super) fn check_reference(reference: &str) -> Result<(), StepRefused> {
    if reference.is_empty() || reference.chars().count() > 200 || reference.chars().any(char::is_control) {
        return Err(StepRefused::Broken("a reference has 1 to 200 printable characters".into()));
    }
    Ok(())
}

pub(super) fn check_because(flow: &Flow, because: u32) -> Result<(), StepRefused> {
    if flow.authenticated.contains(&because) {
        return Ok(());
    }
    Err(StepRefused::Broken(format!("event {because} is no authenticated answer or message; money cannot rest on it")))
}

fn propose_credit(
    flow: &mut Flow,
    credit: &Credit,
    now: Timestamp,
    refused: impl Fn(Refusal) -> StepRefused,
) -> Result<Command, StepRefused> {
    check_reference(&credit.reference)?;
    check_because(flow, credit.because)?;
    if credit.key.is_empty() || credit.key.len() > KEY_BYTES_MAX {
        return Err(StepRefused::Broken(format!("a credit's key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    if flow.credits.iter().any(|known| known.key == credit.key) {
        return Err(StepRefused::Broken(format!("the credit `{}` was proposed before", credit.key)));
    }
    if credit.amount.minor <= 0 {
        return Err(refused(Refusal::AmountNotPositive));
    }
    let at_most = flow.authorisation.at_most;
    if credit.amount.currency != at_most.currency {
        return Err(refused(Refusal::CurrencyNotAccepted));
    }
    let gross = flow.credits.iter().fold(credit.amount.minor, |sum, known| sum.saturating_add(known.amount.minor));
    if gross > at_most.minor {
        return Err(refused(Refusal::AuthorisationExceeded));
    }
    if now > flow.authorisation.expires_at && !credit.arrived {
        return Err(refused(Refusal::AuthorisationExpired));
    }
    flow.credits.push(FlowCredit {
        key: credit.key.clone(),
        reference: credit.reference.clone(),
        amount: credit.amount,
        reversed: 0,
    });
    Ok(Command::Credit(ChargeCredit {
        plugin: flow.plugin_key(),
        flow: flow.id,
        user: flow.authorisation.user,
        amount: credit.amount,
        reference: credit.reference.clone(),
        arrived: credit.arrived,
    }))
}

fn propose_reversal(flow: &mut Flow, reversal: &Reversal) -> Result<Command, StepRefused> {
    check_reference(&reversal.reference)?;
    check_because(flow, reversal.because)?;
    let (plugin, id, user) = (flow.plugin_key(), flow.id, flow.authorisation.user);
    let Some(credit) = flow.credits.iter_mut().find(|credit| credit.key == reversal.of) else {
        return Err(StepRefused::Broken(format!("there is no credit `{}` to reverse", reversal.of)));
    };
    // What exceeds the credit is refused by the books, which know every reversal.
    credit.reversed = credit.reversed.saturating_add(reversal.amount.minor);
    Ok(Command::Reverse(ChargeReversal {
        plugin,
        flow: id,
        user,
        of: credit.reference.clone(),
        amount: reversal.amount,
        reference: reversal.reference.clone(),
    }))
}

/// One effect: checked against the manifest and the flow's own past, then queued, shown or expected.
fn ask(
    flow: &mut Flow,
    effect: Effect,
    manifest: &Manifest,
    now: Timestamp,
    queued: &mut Vec<QueuedEffect>,
    cancelled: &mut Vec<String>,
    commands: &mut Vec<Command>,
) -> Result<(), StepRefused> {
    let broken = |why: String| Err(StepRefused::Broken(why));
    if let Act::Cancel(key) = &effect.act {
        if let Some(known) = flow.effects.iter_mut().find(|known| known.key == *key)
            && known.state == EffectState::Open
        {
            if known.calls {
                return broken(format!("the call `{key}` cannot be taken back: it may have left"));
            }
            known.state = EffectState::Cancelled;
            known.show = None;
            cancelled.push(key.clone());
            queued.retain(|effect| effect.key != *key);
        }
        return Ok(());
    }
    if effect.key.is_empty() || effect.key.len() > KEY_BYTES_MAX {
        return broken(format!("an effect's key has 1 to {KEY_BYTES_MAX} bytes"));
    }
    let digest = Digest::of(&postcard::to_extend(&effect.act, Vec::new()).unwrap_or_default());
    if let Some(known) = flow.effects.iter().find(|known| known.key == effect.key) {
        return match known.digest == digest {
            true => Ok(()),
            false => broken(format!("the effect `{}` was asked for before with another content", effect.key)),
        };
    }
    let mut known = FlowEffect {
        key: effect.key.clone(),
        digest,
        state: EffectState::Open,
        show: None,
        expects: false,
        calls: false,
    };
    match effect.act {
        Act::Http(call) => {
            let Some(operation) = manifest.operation(&call.endpoint, &call.operation) else {
                return broken(format!("`{}.{}` is not in the manifest", call.endpoint, call.operation));
            };
            known.calls = true;
            queued.push(QueuedEffect {
                key: effect.key,
                due_at: now,
                repeat: operation.repeat,
                deadline: now.plus_ms(i64::from(operation.deadline_s) * 1_000),
                act: Act::Http(call),
            });
        }
        Act::Timer(at) => {
            let at = Timestamp(i64::try_from(at).unwrap_or(i64::MAX)).clamp(now, now.plus_ms(AGE_MAX_MS));
            queued.push(QueuedEffect {
                key: effect.key,
                act: Act::Timer(u64::try_from(at.0).unwrap_or(0)),
                due_at: at,
                repeat: Repeat::Safe,
                deadline: Timestamp(i64::MAX),
            });
        }
        // Both are done in this commit, and nothing comes of them but a refusal.
        Act::SaveLink(link) => {
            known.state = EffectState::Ended;
            commands.push(linking::save(flow, link, effect.key, manifest, now)?);
        }
        Act::DropLink(reference) => {
            known.state = EffectState::Ended;
            commands.push(linking::drop_link(flow, reference)?);
        }
        Act::Show(Show::Consent(endpoint)) => {
            linking::check_consent(&endpoint, manifest)?;
            known.show = Some(Show::Consent(endpoint));
        }
        Act::Show(show) => known.show = Some(show),
        Act::Expect(correlation) => {
            if correlation.is_empty() || correlation.len() > 200 {
                return broken("a correlation has 1 to 200 bytes".into());
            }
            known.expects = true;
            commands.push(Command::Expect(Expect {
                plugin: flow.plugin_key(),
                correlation,
                flow: flow.id,
                key: effect.key,
            }));
        }
        Act::Enqueue(file, correlation, record) => {
            if manifest.outgoing(&file).is_none() {
                return broken(format!("the file `{file}` is not in the manifest"));
            }
            // What may be in a sealed file already cannot be taken back.
            known.calls = true;
            queued.push(QueuedEffect {
                key: effect.key,
                act: Act::Enqueue(file, correlation, record),
                due_at: now,
                repeat: Repeat::Safe,
                deadline: Timestamp(i64::MAX),
            });
        }
        Act::Cancel(_) => {}
    }
    if flow.effects.len() >= EFFECTS_MAX {
        return broken(format!("a flow asks for at most {EFFECTS_MAX} effects in its life"));
    }
    flow.effects.push(known);
    Ok(())
}
