//! Money that a flow sets aside: which proposals it may make about it, and when it must not let go.

use serde::{Deserialize, Serialize};

use super::{EffectState, Flow, KEY_BYTES_MAX, StepRefused, advance};
use crate::bills::{BillKey, FreeBill};
use crate::guest::{Bill, Capture, Event, Hold, Lost, Standing, Step, What};
use crate::holds::{LetGo, OfHold, Purpose, SetAside, Take};
use crate::ledger::Command;
use crate::manifest::Manifest;
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::time::Timestamp;

/// Most holds that a flow makes in its life.
pub const HOLDS_MAX: usize = 16;

/// What a flow has set aside, and what it does not know. Stands behind the flow's other fields in its row: rows of earlier versions
/// have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outgoing {
    /// Its holds, in the order in which they were made.
    pub holds: Vec<FlowHold>,
    /// Set while it is not known whether a call was done.
    pub unsure: Option<Unsure>,
    /// The bill that it pays, as the user agreed to it.
    pub bill: Option<Bill>,
    /// What of the whole the user agreed to as the platform's fee, minor units.
    pub fee: i64,
    /// What of that fee was taken, minor units.
    pub fee_taken: i64,
}

/// A hold that a flow made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowHold {
    /// The plugin's name for it.
    pub key: String,
    /// How much was set aside.
    pub amount: Money,
    /// What still is, minor units.
    pub held: i64,
    /// What the partner took of it, minor units.
    pub captured: i64,
}

/// A call of which nobody knows whether the partner has done it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsure {
    /// The call.
    pub key: String,
    /// Since when.
    pub since: Timestamp,
    /// When an operator is asked, if it is not known by then.
    pub ask_at: Timestamp,
}

impl Outgoing {
    /// What is set aside now, minor units.
    pub fn held(&self) -> i64 {
        self.holds.iter().map(|hold| hold.held).sum()
    }

    /// What partners took, minor units.
    pub fn captured(&self) -> i64 {
        self.holds.iter().map(|hold| hold.captured).sum()
    }

    /// A flow that goes on has as long again to find out what it does not know.
    pub(super) fn begin_anew(&mut self, now: Timestamp) {
        if let Some(unsure) = &mut self.unsure {
            unsure.ask_at = now.plus_ms(unsure.ask_at.0.saturating_sub(unsure.since.0));
            unsure.since = now;
        }
    }

    /// Why an operator is needed at this time, if one is: money is set aside, and what became of a call has been unknown for too long.
    pub fn overdue(&self, now: Timestamp) -> Option<String> {
        let unsure = self.unsure.as_ref().filter(|unsure| now > unsure.ask_at && self.held() > 0)?;
        Some(format!("nobody knows whether the partner did `{}`; ask it, then retry or resolve the flow", unsure.key))
    }
}

impl Flow {
    /// What its money leaves the platform for; none for a flow that brings money.
    pub fn purpose(&self) -> Option<Purpose> {
        Purpose::of(self.beginning)
    }

    /// How commands name one of its holds.
    pub(super) fn of_hold(&self, purpose: Purpose, key: &str) -> OfHold {
        OfHold {
            flow: self.id,
            key: key.to_owned(),
            plugin: self.plugin_key(),
            user: self.authorisation.user,
            currency: self.authorisation.at_most.currency,
            purpose,
        }
    }

    /// The bill that it pays, as the books know bills.
    pub fn bill_key(&self) -> Option<BillKey> {
        self.outgoing.bill.as_ref().map(|bill| BillKey {
            plugin: self.plugin_key(),
            biller: bill.biller.clone(),
            reference: bill.reference.clone(),
        })
    }

    /// Lets another flow pay the bill, if this one ends without having paid anything of it.
    pub(super) fn free_bill(&self) -> Option<Command> {
        let unpaid = self.standing != Standing::Done && self.outgoing.captured() == 0;
        let bill = self.bill_key().filter(|_| unpaid)?;
        Some(Command::FreeBill(FreeBill { bill, flow: self.id }))
    }

    /// Lets go of everything that is set aside: what ends a flow ends its holds.
    pub(super) fn let_go_of_all(&mut self) -> Vec<Command> {
        let Some(purpose) = self.purpose() else { return Vec::new() };
        let open = self.outgoing.holds.iter_mut().filter(|hold| hold.held > 0);
        let keys: Vec<String> = open
            .map(|hold| {
                hold.held = 0;
                hold.key.clone()
            })
            .collect();
        keys.iter().map(|key| Command::LetGo(LetGo { of: self.of_hold(purpose, key) })).collect()
    }
}

/// What an event says about calls whose end was unknown: a signed answer or message ends the doubt, a lost answer begins one.
pub(super) fn learn(flow: &mut Flow, event: &Event, manifest: &Manifest, now: Timestamp) {
    if event.is_authenticated() {
        flow.outgoing.unsure = None;
    }
    let call = flow.effects.iter().find(|effect| effect.key == event.key && effect.calls);
    if let (Some(_), What::Lost(Lost::Unknown | Lost::BadSignature, _)) = (call, &event.what)
        && flow.outgoing.unsure.is_none()
    {
        // The call's own operation is not kept: the longest deadline of the manifest bounds it.
        let operations = manifest.endpoints.iter().flat_map(|endpoint| &endpoint.operations);
        let deadline_s = operations.map(|operation| operation.deadline_s).max().unwrap_or(0);
        let ask_at = now.plus_ms(i64::from(deadline_s) * 1_000);
        flow.outgoing.unsure = Some(Unsure { key: event.key.clone(), since: now, ask_at });
    }
}

/// Whether a step with these proposals lets go of something that is set aside: the holds before it and after them.
pub(super) fn lets_go(before: &[FlowHold], after: &Outgoing, step: &Step) -> bool {
    let known = |hold: &FlowHold| hold.held + hold.captured;
    let shrunk = before.iter().zip(&after.holds).any(|(before, after)| known(after) < known(before));
    shrunk || step.standing.is_final() && after.held() > 0
}

/// Nothing is let go while a call may be on its way to the partner, or may have been done.
pub(super) fn check_sure(flow: &Flow) -> Result<(), StepRefused> {
    if let Some(open) = flow.effects.iter().find(|effect| effect.calls && effect.state == EffectState::Open) {
        let why = format!("it lets go of a hold while the call `{}` is open: the partner may be doing it", open.key);
        return Err(StepRefused::Broken(why));
    }
    if let Some(unsure) = &flow.outgoing.unsure {
        let why =
            format!("it lets go of a hold, and nobody knows whether the partner did `{}`: ask it first", unsure.key);
        return Err(StepRefused::Broken(why));
    }
    Ok(())
}

/// Money of the user is set aside, within what the user agreed to.
pub(super) fn propose_hold(
    flow: &mut Flow,
    hold: &Hold,
    now: Timestamp,
    refused: impl Fn(Refusal) -> StepRefused,
) -> Result<Command, StepRefused> {
    let purpose = outgoing(flow)?;
    if hold.key.is_empty() || hold.key.len() > KEY_BYTES_MAX || hold.key.chars().any(char::is_control) {
        let why = format!("a hold's key has 1 to {KEY_BYTES_MAX} bytes and no control characters");
        return Err(StepRefused::Broken(why));
    }
    if flow.outgoing.holds.iter().any(|known| known.key == hold.key) {
        return Err(StepRefused::Broken(format!("the hold `{}` was proposed before", hold.key)));
    }
    if flow.outgoing.holds.len() >= HOLDS_MAX {
        return Err(StepRefused::Broken(format!("a flow makes at most {HOLDS_MAX} holds in its life")));
    }
    if hold.amount.minor <= 0 {
        return Err(refused(Refusal::AmountNotPositive));
    }
    let at_most = flow.authorisation.at_most;
    if hold.amount.currency != at_most.currency {
        return Err(refused(Refusal::CurrencyNotAccepted));
    }
    let so_far = flow.outgoing.held().saturating_add(flow.outgoing.captured());
    if so_far.saturating_add(hold.amount.minor) > at_most.minor {
        return Err(refused(Refusal::AuthorisationExceeded));
    }
    if now > flow.authorisation.expires_at {
        return Err(refused(Refusal::AuthorisationExpired));
    }
    let (key, amount) = (hold.key.clone(), hold.amount);
    flow.outgoing.holds.push(FlowHold { key, amount, held: amount.minor, captured: 0 });
    Ok(Command::SetAside(SetAside { of: flow.of_hold(purpose, &hold.key), amount: amount.minor }))
}

/// The partner has taken a hold, or a part of it.
pub(super) fn propose_capture(
    flow: &mut Flow,
    capture: &Capture,
    refused: impl Fn(Refusal) -> StepRefused,
) -> Result<Command, StepRefused> {
    let purpose = outgoing(flow)?;
    advance::check_reference(&capture.reference)?;
    advance::check_because(flow, capture.because)?;
    let fee_left = flow.outgoing.fee - flow.outgoing.fee_taken;
    let Some(hold) = flow.outgoing.holds.iter_mut().find(|hold| hold.key == capture.hold) else {
        return Err(StepRefused::Broken(format!("there is no hold `{}` to capture", capture.hold)));
    };
    if capture.amount.minor <= 0 {
        return Err(refused(Refusal::AmountNotPositive));
    }
    if capture.amount.currency != hold.amount.currency {
        return Err(refused(Refusal::CurrencyNotAccepted));
    }
    if hold.held == 0 {
        return Err(refused(Refusal::HoldEnded));
    }
    if capture.amount.minor > hold.held {
        return Err(refused(Refusal::CaptureExceedsHold));
    }
    let fee = capture.fee.map_or(0, |fee| fee.minor);
    let fits = capture.fee.is_none_or(|fee| fee.currency == capture.amount.currency);
    if !fits || fee < 0 || fee >= capture.amount.minor {
        return Err(StepRefused::Broken("a fee is a part of the captured amount, in its currency".into()));
    }
    if fee > fee_left {
        let why = format!("a fee of {fee} is more than what is left of the fee that the user agreed to, {fee_left}");
        return Err(StepRefused::Broken(why));
    }
    hold.held = if capture.last { 0 } else { hold.held - capture.amount.minor };
    hold.captured += capture.amount.minor;
    flow.outgoing.fee_taken += fee;
    Ok(Command::Take(Take {
        of: flow.of_hold(purpose, &capture.hold),
        amount: capture.amount,
        fee,
        reference: capture.reference.clone(),
        last: capture.last,
    }))
}

/// What is left of a hold is the user's again.
pub(super) fn propose_release(flow: &mut Flow, key: &str) -> Result<Command, StepRefused> {
    let purpose = outgoing(flow)?;
    let Some(hold) = flow.outgoing.holds.iter_mut().find(|hold| hold.key == key && hold.held > 0) else {
        return Err(StepRefused::Broken(format!("there is no hold `{key}` with something left to release")));
    };
    hold.held = 0;
    Ok(Command::LetGo(LetGo { of: flow.of_hold(purpose, key) }))
}

fn outgoing(flow: &Flow) -> Result<Purpose, StepRefused> {
    let why = || StepRefused::Broken(format!("no money leaves by a {:?}", flow.beginning));
    flow.purpose().ok_or_else(why)
}
