//! When a step cannot be taken: faults and refusals are counted, the flow gets stuck, and an operator retries or resolves it.

use serde::{Deserialize, Serialize};

use super::{CallKey, FAULTS_MAX, Flow, FlowCredit, FlowHold, Plan, REFUSALS_MAX, StepCommit, Stuck, close};
use crate::adjustments::Judge;
use crate::charges::{ChargeCredit, ChargeReversal};
use crate::guest::{HttpAnswer, Standing, StepRefusal};
use crate::holds::Take;
use crate::ledger::Command;
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::records::{Digest, Fault};
use crate::time::Timestamp;

/// The flow after a fault of its plugin: counted, and stuck after the third in a row. The event stays first in the inbox.
pub fn faulted(flow: &Flow, fault: &Fault, now: Timestamp) -> StepCommit {
    let mut next = flow.clone();
    next.faults += 1;
    next.changed_at = now;
    if next.faults >= FAULTS_MAX {
        next.stuck = Some(Stuck { reason: format!("its plugin faulted {FAULTS_MAX} times: {fault}"), since: now });
    }
    next.commit(Some(flow.version), Vec::new())
}

/// The flow after a refusal of its step: the plugin is told once, and after the second refusal of the same event it is stuck.
pub fn refused(flow: &Flow, place: i64, refusal: StepRefusal, now: Timestamp) -> StepCommit {
    let mut next = flow.clone();
    let times = 1 + next.refused.as_ref().filter(|(known, ..)| *known == place).map_or(0, |(_, times, _)| *times);
    next.changed_at = now;
    if times >= REFUSALS_MAX {
        let reason = format!("the same event was refused {times} times: {}", refusal.outcome);
        next.stuck = Some(Stuck { reason, since: now });
    }
    next.refused = Some((place, times, refusal));
    next.commit(Some(flow.version), Vec::new())
}

/// The flow that an operator is needed for, with the reason.
pub fn stuck(flow: &Flow, reason: String, now: Timestamp) -> StepCommit {
    let next = Flow { stuck: Some(Stuck { reason, since: now }), changed_at: now, ..flow.clone() };
    next.commit(Some(flow.version), Vec::new())
}

/// The flow as an operator lets it go on with these settings: faults and refusals forgotten.
pub fn retried(flow: &Flow, settings: Digest, now: Timestamp) -> StepCommit {
    let mut next = Flow { settings, stuck: None, faults: 0, refused: None, changed_at: now, ..flow.clone() };
    next.outgoing.begin_anew(now);
    next.commit(Some(flow.version), Vec::new())
}

/// The flow as an operator moves it to another component of its plugin: it goes on there, faults and refusals forgotten.
pub fn moved(flow: &Flow, digest: Digest, settings: Digest, now: Timestamp) -> StepCommit {
    let mut next = Flow { digest, settings, stuck: None, faults: 0, refused: None, changed_at: now, ..flow.clone() };
    next.outgoing.begin_anew(now);
    next.commit(Some(flow.version), Vec::new())
}

/// How an operator ends a flow that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// The partner proved a credit that the flow never took: it is posted now.
    ConfirmCredit {
        /// How much.
        amount: Money,
        /// The partner's reference.
        reference: String,
    },
    /// The partner proved that it took what the flow has set aside: it is taken now, and the rest is let go.
    ConfirmCapture {
        /// How much, of one hold.
        amount: Money,
        /// The partner's reference.
        reference: String,
    },
    /// What the flow credited is taken back.
    ReverseCredits,
    /// A correction that one operator proposed for this flow is posted by another.
    Adjust(Judge),
    /// It ends without money; what it has set aside is let go.
    End,
}

/// What waits in the inbox of a flow that an operator ends. The plugin does not know of the resolution and must not decide on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closing {
    /// Places of the events that are taken out.
    pub consumed: Vec<i64>,
    /// What the partner's calls among them are told.
    pub replies: Vec<(CallKey, HttpAnswer)>,
}

/// The end of a flow by an operator's decision, with what waits for it, in one commit. Whatever it has set aside beyond that is let go. Errors:
/// [`Refusal::AuthorisationExceeded`] above what the user agreed to, [`Refusal::CaptureExceedsHold`] above what one hold has set aside.
pub fn resolved(flow: &Flow, resolution: &Resolution, closing: Closing, now: Timestamp) -> Result<Plan, Refusal> {
    let mut next = flow.clone();
    let mut commands = Vec::new();
    let standing = match resolution {
        Resolution::ConfirmCredit { amount, reference } => {
            let gross = next.credits.iter().fold(amount.minor, |sum, credit| sum.saturating_add(credit.amount.minor));
            if gross > next.authorisation.at_most.minor || amount.currency != next.authorisation.at_most.currency {
                return Err(Refusal::AuthorisationExceeded);
            }
            next.credits.push(FlowCredit {
                key: format!("resolved:{reference}"),
                reference: reference.clone(),
                amount: *amount,
                reversed: 0,
            });
            commands.push(Command::Credit(ChargeCredit {
                plugin: flow.plugin_key(),
                flow: flow.id,
                user: flow.authorisation.user,
                amount: *amount,
                reference: reference.clone(),
                arrived: true,
            }));
            Standing::Done
        }
        Resolution::ConfirmCapture { amount, reference } => {
            let (purpose, currency) = (flow.purpose().ok_or(Refusal::HoldEnded)?, flow.authorisation.at_most.currency);
            let enough = |hold: &&mut FlowHold| hold.held >= amount.minor && amount.currency == currency;
            let hold = next.outgoing.holds.iter_mut().find(enough).ok_or(Refusal::CaptureExceedsHold)?;
            (hold.held, hold.captured) = (0, hold.captured + amount.minor);
            // The whole has the fee in it that the user agreed to; a part of it is the partner's alone.
            let whole = *amount == flow.authorisation.at_most && flow.outgoing.fee_taken == 0;
            let (of, reference) = (flow.of_hold(purpose, &hold.key), reference.clone());
            let fee = if whole { flow.outgoing.fee } else { 0 };
            next.outgoing.fee_taken += fee;
            commands.push(Command::Take(Take { of, amount: *amount, fee, reference, last: true }));
            Standing::Done
        }
        Resolution::ReverseCredits => {
            let (plugin, id, user) = (flow.plugin_key(), flow.id, flow.authorisation.user);
            for credit in next.credits.iter_mut().filter(|credit| credit.reversed < credit.amount.minor) {
                let amount = Money::new(credit.amount.minor - credit.reversed, credit.amount.currency);
                // A partner that cancels the whole lists it under the credit's own reference. A part of it may have taken
                // that reference already; the rest then needs one of its own.
                let reference = match credit.reversed {
                    0 => credit.reference.clone(),
                    _ => format!("resolved:{id}/{}", credit.key),
                };
                credit.reversed = credit.amount.minor;
                commands.push(Command::Reverse(ChargeReversal {
                    plugin,
                    flow: id,
                    user,
                    of: credit.reference.clone(),
                    amount,
                    reference,
                }));
            }
            Standing::Failed
        }
        Resolution::Adjust(judge) => {
            // Only an approval for this very flow ends it; the books see to the second person and to what may be posted.
            commands.push(Command::Judge(Judge { flow: Some(flow.id), approve: true, ..judge.clone() }));
            Standing::Failed
        }
        Resolution::End => Standing::Failed,
    };
    commands.extend(next.let_go_of_all());
    next.outgoing.unsure = None;
    if !next.standing.is_final() {
        next.standing = standing;
        commands.extend(next.free_bill());
        commands.extend(next.finish_rows());
    }
    next.stuck = None;
    next.faults = 0;
    next.refused = None;
    next.changed_at = now;
    next.final_at = next.final_at.or(Some(now));
    let mut cancelled = Vec::new();
    close(&mut next, &mut cancelled);
    let mut commit = next.commit(Some(flow.version), closing.consumed);
    (commit.cancelled, commit.replies) = (cancelled, closing.replies);
    Ok(Plan { commands, step: commit })
}
