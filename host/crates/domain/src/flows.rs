//! Flows: may this step be taken, and what follows from it? Pure: the driver brings event and answer, and commits the plan.

use serde::{Deserialize, Serialize};

use crate::accounts::PluginKey;
use crate::books::Books;
use crate::charges::{ChargeCredit, ChargeReversal, Tombstone};
use crate::guest::{
    Act, Credit, Effect, Event, Failure, HttpAnswer, Lost, Proposal, Reversal, Show, Standing, Step, StepRefusal, What,
};
use crate::ids::{FlowId, UserId};
use crate::ledger::{Command, Expect, Unexpected};
use crate::manifest::{Beginning, Manifest, ProposalKind, Repeat};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::records::{Digest, Fault};
use crate::time::Timestamp;

/// Most steps of a flow.
pub const STEPS_MAX: u32 = 500;
/// Most bytes of a flow's state.
pub const STATE_BYTES_MAX: usize = 64 * 1024;
/// Most effects open at a time.
pub const OPEN_EFFECTS_MAX: usize = 16;
/// How long a flow may go on, and how long a final one still receives messages.
pub const AGE_MAX_MS: i64 = 14 * 86_400_000;
/// Faults in a row after which a flow is stuck.
pub const FAULTS_MAX: u32 = 3;
/// Refusals of the same event after which a flow is stuck.
pub const REFUSALS_MAX: u32 = 2;

/// What the user agreed to when the flow was opened. The host chooses accounts by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorisation {
    /// The wallet.
    pub user: UserId,
    /// The most that may be credited, gross, with its currency.
    pub at_most: Money,
    /// No credit after this, unless the money has arrived.
    pub expires_at: Timestamp,
}

/// A credit that a flow brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCredit {
    /// The plugin's name for it.
    pub key: String,
    /// The partner's reference.
    pub reference: String,
    /// How much.
    pub amount: Money,
    /// What was reversed of it, minor units.
    pub reversed: i64,
}

/// How an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectState {
    /// Something may still come of it.
    Open,
    /// It came to an end.
    Ended,
    /// The plugin took it back, or the flow became final.
    Cancelled,
}

/// An effect as its flow remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEffect {
    /// The plugin's name for it.
    pub key: String,
    /// Digest of what was asked: the same key with the same content is the same effect.
    pub digest: Digest,
    /// How it stands.
    pub state: EffectState,
    /// What the user is shown, for a show.
    pub show: Option<Show>,
    /// Whether it is an expectation.
    pub expects: bool,
}

/// Why a flow needs an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Why, in words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A flow as it stands after its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its id.
    pub id: FlowId,
    /// Grows with each commit; a step is taken only under the version it was made for.
    pub version: i64,
    /// Whose flow it is.
    pub plugin: String,
    /// The component that it began with and goes on with.
    pub digest: Digest,
    /// How it began.
    pub beginning: Beginning,
    /// What the user agreed to.
    pub authorisation: Authorisation,
    /// `ja` or `en`.
    pub locale: String,
    /// Where it stands.
    pub standing: Standing,
    /// The plugin's state.
    pub state: Vec<u8>,
    /// Steps taken.
    pub steps: u32,
    /// Events consumed; the next one gets the next number.
    pub events: u32,
    /// Numbers of the events that money may rest on.
    pub authenticated: Vec<u32>,
    /// Credits it brought.
    pub credits: Vec<FlowCredit>,
    /// Effects it asked for.
    pub effects: Vec<FlowEffect>,
    /// Why it failed, if it did.
    pub note: Option<Failure>,
    /// Faults in a row.
    pub faults: u32,
    /// The arrival whose step was refused, how often, and why.
    pub refused: Option<(i64, u32, StepRefusal)>,
    /// Set when an operator is needed.
    pub stuck: Option<Stuck>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it became final.
    pub final_at: Option<Timestamp>,
}

/// Something that waits in a flow's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Which flow.
    pub flow: FlowId,
    /// The effect or expectation it belongs to.
    pub key: String,
    /// What happened.
    pub what: What,
    /// The stored call that waits for the step's reply, if it was one.
    pub call: Option<CallKey>,
    /// When it came.
    pub at: Timestamp,
}

/// A partner's call, by what makes it the same call: 16 bytes of a digest over plugin, operation, correlation and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CallKey(pub [u8; 16]);

impl CallKey {
    /// The key of a call.
    pub fn of(plugin: PluginKey, operation: &str, correlation: &str, body: &[u8]) -> CallKey {
        let parts: [&[u8]; 5] =
            [b"koban call 1", plugin.0.as_bytes(), operation.as_bytes(), correlation.as_bytes(), body];
        CallKey(Digest::of_parts(&parts).half())
    }
}

/// Who gets the calls with a correlation. The first flow that expects it has it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The flow; none if a call came before any flow expected it.
    pub flow: Option<FlowId>,
    /// The flow's name for the expectation.
    pub key: String,
    /// Since when.
    pub at: Timestamp,
}

/// An effect that somebody has to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedEffect {
    /// The plugin's name for it.
    pub key: String,
    /// What is asked: an HTTP call or a timer.
    pub act: Act,
    /// Not before this.
    pub due_at: Timestamp,
    /// Whether it may be repeated when no answer came.
    pub repeat: Repeat,
    /// No attempt after this.
    pub deadline: Timestamp,
}

/// What the store writes of a step, in the commit of its money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCommit {
    /// The flow as it shall stand.
    pub flow: Flow,
    /// The version it must stand at; none if the step opens it.
    pub expected: Option<i64>,
    /// The arrival that it consumes, by its place in the inbox.
    pub consumed: Option<i64>,
    /// Effects to be done.
    pub queued: Vec<QueuedEffect>,
    /// Keys of queued effects that shall not be done any more.
    pub cancelled: Vec<String>,
    /// Events that arise at once.
    pub arrivals: Vec<Arrival>,
    /// The reply to a stored call.
    pub reply: Option<(CallKey, HttpAnswer)>,
}

/// A step that may be taken: commit it with its commands, in order, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// About money and expectations. The first ones answer to the step's proposals, one each.
    pub commands: Vec<Command>,
    /// The rest of it.
    pub step: StepCommit,
}

/// Why a step may not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepRefused {
    /// The plugin broke a rule of flows. Counts as a fault.
    #[error("the step breaks a rule: {0}")]
    Broken(String),
    /// A proposal goes beyond what the user agreed to. The plugin is told and asked again.
    #[error("proposal {} is refused: {}", .0.proposal, .0.outcome)]
    Refused(StepRefusal),
}

/// An arrival as the plugin is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// Its place in the inbox.
    pub place: i64,
    /// The event.
    pub event: Event,
    /// The stored call that waits for a reply.
    pub call: Option<CallKey>,
}

impl Flow {
    /// A flow that is about to begin.
    pub fn open(
        id: FlowId,
        plugin: &str,
        digest: Digest,
        beginning: Beginning,
        authorisation: Authorisation,
        locale: &str,
        now: Timestamp,
    ) -> Flow {
        Flow {
            id,
            version: 0,
            plugin: plugin.to_owned(),
            digest,
            beginning,
            authorisation,
            locale: locale.to_owned(),
            standing: Standing::WaitingForPartner,
            state: Vec::new(),
            steps: 0,
            events: 0,
            authenticated: Vec::new(),
            credits: Vec::new(),
            effects: Vec::new(),
            note: None,
            faults: 0,
            refused: None,
            stuck: None,
            opened_at: now,
            changed_at: now,
            final_at: None,
        }
    }

    /// Credits less reversals, minor units.
    pub fn net(&self) -> i64 {
        self.credits.iter().map(|credit| credit.amount.minor - credit.reversed).sum()
    }

    /// The plugin's key in the books.
    pub fn plugin_key(&self) -> PluginKey {
        PluginKey::of(&self.plugin)
    }

    /// Whether the flow takes part in anything any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.final_at.is_some_and(|at| now.since_ms(at) > AGE_MAX_MS)
    }

    /// The refusal to be told with this arrival, if its last step was refused.
    pub fn refusal_of(&self, place: i64) -> Option<StepRefusal> {
        self.refused.as_ref().filter(|(refused, ..)| *refused == place).map(|(.., refusal)| refusal.clone())
    }

    /// What the user is shown now, in the order it was asked for.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &Show)> {
        self.effects
            .iter()
            .filter(|effect| effect.state == EffectState::Open)
            .filter_map(|effect| effect.show.as_ref().map(|show| (effect.key.as_str(), show)))
    }

    fn open_effects(&self) -> usize {
        self.effects.iter().filter(|effect| effect.state == EffectState::Open && !effect.is_plain_show()).count()
    }

    fn commit(self, expected: Option<i64>, consumed: Option<i64>) -> StepCommit {
        StepCommit {
            flow: Flow { version: expected.unwrap_or(0) + 1, ..self },
            expected,
            consumed,
            queued: Vec::new(),
            cancelled: Vec::new(),
            arrivals: Vec::new(),
            reply: None,
        }
    }
}

impl FlowEffect {
    /// A show without an answer: it costs nobody anything and is not counted as open.
    fn is_plain_show(&self) -> bool {
        matches!(self.show, Some(Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_)))
    }
}

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
        end_effect(&mut next, &consumed.event);
    }
    if step.state.len() > STATE_BYTES_MAX {
        return broken(format!("its state has {} bytes; at most {STATE_BYTES_MAX}", step.state.len()));
    }
    if flow.standing.is_final() && step.standing != flow.standing {
        return broken(format!("a flow that is {:?} cannot become {:?}", flow.standing, step.standing));
    }
    let mut commands = Vec::with_capacity(step.proposals.len());
    for (place, proposal) in (0..).zip(&step.proposals) {
        let refused = |outcome: Refusal| {
            StepRefused::Refused(StepRefusal { proposal: place, outcome: outcome.code().to_owned() })
        };
        commands.push(propose(&mut next, flow.standing.is_final(), proposal, manifest, now, refused)?);
    }
    let expected = (flow.version > 0).then_some(flow.version);
    let mut queued = Vec::new();
    let mut cancelled = Vec::new();
    let mut arrivals = Vec::new();
    for effect in step.effects {
        ask(&mut next, effect, manifest, now, &mut queued, &mut cancelled, &mut arrivals, &mut commands)?;
    }
    next.state = step.state;
    next.standing = step.standing;
    next.note = step.note.or(next.note);
    next.steps += 1;
    next.faults = 0;
    next.refused = None;
    next.changed_at = now;
    if next.standing.is_final() && next.final_at.is_none() {
        next.final_at = Some(now);
        close(&mut next, &mut queued, &mut cancelled);
    }
    if next.open_effects() > OPEN_EFFECTS_MAX {
        return broken(format!("{} effects would be open; at most {OPEN_EFFECTS_MAX}", next.open_effects()));
    }
    if next.steps >= STEPS_MAX && !next.standing.is_final() {
        next.stuck = Some(Stuck { reason: format!("it took {STEPS_MAX} steps without an end"), since: now });
    }
    let reply = consumed
        .and_then(|consumed| consumed.call)
        .map(|call| (call, step.reply.unwrap_or_else(|| HttpAnswer { status: 204, headers: vec![], body: vec![] })));
    let mut commit = next.commit(expected, consumed.map(|consumed| consumed.place));
    (commit.queued, commit.cancelled, commit.arrivals, commit.reply) = (queued, cancelled, arrivals, reply);
    Ok(Plan { commands, step: commit })
}

/// An event ends the effect it answers. Expectations go on: several calls may come.
fn end_effect(flow: &mut Flow, event: &Event) {
    let ends = !matches!(event.what, What::Message(_) | What::CancelAsked | What::Queued);
    if let Some(effect) = flow.effects.iter_mut().find(|effect| effect.key == event.key)
        && ends
        && effect.state == EffectState::Open
    {
        effect.state = EffectState::Ended;
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
        // The table of beginnings grants these to no beginning yet.
        Proposal::Hold(_) | Proposal::Capture(_) | Proposal::Release(_) => {
            broken(format!("{kind:?} cannot be proposed yet"))
        }
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

fn check_reference(reference: &str) -> Result<(), StepRefused> {
    if reference.is_empty() || reference.chars().count() > 200 || reference.chars().any(char::is_control) {
        return Err(StepRefused::Broken("a reference has 1 to 200 printable characters".into()));
    }
    Ok(())
}

fn check_because(flow: &Flow, because: u32) -> Result<(), StepRefused> {
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
#[expect(clippy::too_many_arguments, reason = "it fills the four lists of a plan")]
fn ask(
    flow: &mut Flow,
    effect: Effect,
    manifest: &Manifest,
    now: Timestamp,
    queued: &mut Vec<QueuedEffect>,
    cancelled: &mut Vec<String>,
    arrivals: &mut Vec<Arrival>,
    commands: &mut Vec<Command>,
) -> Result<(), StepRefused> {
    let broken = |why: String| Err(StepRefused::Broken(why));
    if let Act::Cancel(key) = &effect.act {
        if let Some(known) = flow.effects.iter_mut().find(|known| known.key == *key)
            && known.state == EffectState::Open
        {
            known.state = EffectState::Cancelled;
            cancelled.push(key.clone());
        }
        return Ok(());
    }
    if effect.key.is_empty() || effect.key.len() > 100 {
        return broken("an effect's key has 1 to 100 bytes".into());
    }
    let digest = Digest::of(&postcard::to_extend(&effect.act, Vec::new()).unwrap_or_default());
    if let Some(known) = flow.effects.iter().find(|known| known.key == effect.key) {
        return match known.digest == digest {
            true => Ok(()),
            false => broken(format!("the effect `{}` was asked for before with another content", effect.key)),
        };
    }
    let mut known =
        FlowEffect { key: effect.key.clone(), digest, state: EffectState::Open, show: None, expects: false };
    match effect.act {
        Act::Http(call) => {
            let Some(operation) = manifest.operation(&call.endpoint, &call.operation) else {
                return broken(format!("`{}.{}` is not in the manifest", call.endpoint, call.operation));
            };
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
        // No channel that works in batches is there yet: the host says so at once, as it will for a closed file.
        Act::Enqueue(file, ..) => arrivals.push(Arrival {
            flow: flow.id,
            key: effect.key,
            what: What::Lost(Lost::Refused, format!("the host takes no records for `{file}`")),
            call: None,
            at: now,
        }),
        Act::Cancel(_) => {}
    }
    flow.effects.push(known);
    Ok(())
}

/// A final flow has nothing open but its expectations.
fn close(flow: &mut Flow, queued: &mut Vec<QueuedEffect>, cancelled: &mut Vec<String>) {
    queued.clear();
    for effect in &mut flow.effects {
        let keeps = effect.expects || effect.is_plain_show();
        if effect.state == EffectState::Open && !keeps {
            effect.state = EffectState::Cancelled;
            cancelled.push(effect.key.clone());
        }
    }
}

/// The flow after a fault of its plugin: counted, and stuck after the third in a row. The event stays first in the inbox.
pub fn faulted(flow: &Flow, fault: &Fault, now: Timestamp) -> StepCommit {
    let mut next = flow.clone();
    next.faults += 1;
    next.changed_at = now;
    if next.faults >= FAULTS_MAX {
        next.stuck = Some(Stuck { reason: format!("its plugin faulted {FAULTS_MAX} times: {fault}"), since: now });
    }
    next.commit(Some(flow.version), None)
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
    next.commit(Some(flow.version), None)
}

/// The flow that an operator is needed for, with the reason.
pub fn stuck(flow: &Flow, reason: String, now: Timestamp) -> StepCommit {
    let next = Flow { stuck: Some(Stuck { reason, since: now }), changed_at: now, ..flow.clone() };
    next.commit(Some(flow.version), None)
}

/// The flow as an operator lets it go on: faults and refusals forgotten.
pub fn retried(flow: &Flow, now: Timestamp) -> StepCommit {
    let next = Flow { stuck: None, faults: 0, refused: None, changed_at: now, ..flow.clone() };
    next.commit(Some(flow.version), None)
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
    /// What the flow credited is taken back.
    ReverseCredits,
    /// It ends without money.
    End,
}

/// The end of a flow by an operator's decision. Errors: [`Refusal::AuthorisationExceeded`] above what the user agreed to.
pub fn resolved(flow: &Flow, resolution: &Resolution, now: Timestamp) -> Result<Plan, Refusal> {
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
        Resolution::ReverseCredits => {
            let (plugin, id, user) = (flow.plugin_key(), flow.id, flow.authorisation.user);
            for credit in next.credits.iter_mut().filter(|credit| credit.reversed < credit.amount.minor) {
                let amount = Money::new(credit.amount.minor - credit.reversed, credit.amount.currency);
                credit.reversed = credit.amount.minor;
                commands.push(Command::Reverse(ChargeReversal {
                    plugin,
                    flow: id,
                    user,
                    of: credit.reference.clone(),
                    amount,
                    reference: credit.reference.clone(),
                }));
            }
            Standing::Failed
        }
        Resolution::End => Standing::Failed,
    };
    next.standing = if next.standing.is_final() { next.standing } else { standing };
    next.stuck = None;
    next.faults = 0;
    next.refused = None;
    next.changed_at = now;
    next.final_at = next.final_at.or(Some(now));
    let (mut queued, mut cancelled) = (Vec::new(), Vec::new());
    close(&mut next, &mut queued, &mut cancelled);
    let mut commit = next.commit(Some(flow.version), None);
    commit.cancelled = cancelled;
    Ok(Plan { commands, step: commit })
}

/// Gives a correlation to a flow, or tells it that it cannot have it.
pub(crate) fn expect(books: &mut Books, command: &Expect, now: Timestamp) -> Option<Arrival> {
    let key = (command.plugin, command.correlation.clone());
    match books.expectations.get(&key) {
        Some(known) if known.flow == Some(command.flow) => None,
        Some(_) => Some(Arrival {
            flow: command.flow,
            key: command.key.clone(),
            what: What::Lost(Lost::Refused, "another flow or an earlier call has this correlation".into()),
            call: None,
            at: now,
        }),
        None => {
            let expectation = Expectation { flow: Some(command.flow), key: command.key.clone(), at: now };
            books.expectations.put(key, expectation);
            None
        }
    }
}

/// Notes that a call came which no flow expects. Errors: [`Refusal::CorrelationTaken`] if one does.
pub(crate) fn unexpected(books: &mut Books, command: &Unexpected, now: Timestamp) -> Result<(), Refusal> {
    let key = (command.plugin, command.correlation.clone());
    match books.expectations.get(&key) {
        Some(known) if known.flow.is_some() => Err(Refusal::CorrelationTaken),
        Some(_) => Ok(()),
        None => {
            books.expectations.put(key, Expectation { flow: None, key: String::new(), at: now });
            Ok(())
        }
    }
}
