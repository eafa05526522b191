//! Flows: may this step be taken, and what follows from it? Pure: the driver brings event and answer, and commits the plan.

use serde::{Deserialize, Serialize};

use crate::accounts::PluginKey;
use crate::guest::{Act, Event, Failure, HttpAnswer, InboundCall, Show, Standing, StepRefusal, What};
use crate::ids::{FlowId, UserId};
use crate::ledger::Command;
use crate::manifest::{Beginning, Repeat};
use crate::money::Money;
use crate::records::Digest;
use crate::time::Timestamp;

mod advance;
mod expectations;
mod linking;
mod operator;
mod outgoing;

pub use advance::advance;
pub(crate) use expectations::{expect, unexpected};
pub use linking::Linking;
pub use operator::{Closing, Resolution, faulted, moved, refused, resolved, retried, stuck};
pub use outgoing::{FlowHold, HOLDS_MAX, Outgoing, Unsure};

/// Most steps of a flow; a final one goes on answering its partner, but past this an operator looks at it.
pub const STEPS_MAX: u32 = 500;
/// Most proposals of one step.
pub const PROPOSALS_MAX: usize = 16;
/// Most bytes of a plugin's own name for a credit or an effect.
pub const KEY_BYTES_MAX: usize = 100;
/// Most bytes of a flow's state.
pub const STATE_BYTES_MAX: usize = 64 * 1024;
/// Most effects that a flow asks for in its life, shows included.
pub const EFFECTS_MAX: usize = 1_000;
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
    /// The most that may be credited, or set aside and taken, gross, with its currency.
    pub at_most: Money,
    /// No credit after this, unless the money has arrived, and no hold.
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
    /// Whether it is a call to a partner: once asked for, it cannot be taken back, because it may have left.
    pub calls: bool,
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
    /// The settings that it began with and goes on with: newer ones may mean nothing to an older component.
    pub settings: Digest,
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
    /// What it has set aside. Written behind the other fields, and read from there.
    #[serde(skip)]
    pub outgoing: Outgoing,
    /// The link that it is about. Written behind that.
    #[serde(skip)]
    pub linking: Linking,
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

/// A partner's call, by what makes it the same call: 16 bytes of a digest over plugin, operation, path, query, correlation and
/// body. The method is not among them: it is always `POST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CallKey(pub [u8; 16]);

impl CallKey {
    /// The key of a routed call. Query parameters count in the order in which they came.
    pub fn of(plugin: PluginKey, call: &InboundCall, correlation: &str) -> CallKey {
        let query = postcard::to_extend(&call.query, Vec::new()).unwrap_or_default();
        let parts: [&[u8]; 7] = [
            b"koban call 1",
            plugin.0.as_bytes(),
            call.operation.as_bytes(),
            call.path.as_bytes(),
            &query,
            correlation.as_bytes(),
            &call.body,
        ];
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
    /// The arrivals that it consumes, by their places in the inbox: one, or all that wait when an operator ends the flow.
    pub consumed: Vec<i64>,
    /// Effects to be done.
    pub queued: Vec<QueuedEffect>,
    /// Keys of queued effects that shall not be done any more.
    pub cancelled: Vec<String>,
    /// Events that arise at once.
    pub arrivals: Vec<Arrival>,
    /// Replies to stored calls.
    pub replies: Vec<(CallKey, HttpAnswer)>,
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
    /// A flow that is about to begin, on this component with these settings.
    pub fn open(
        id: FlowId,
        plugin: &str,
        (digest, settings): (Digest, Digest),
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
            settings,
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
            outgoing: Outgoing::default(),
            linking: Linking::default(),
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

    fn commit(self, expected: Option<i64>, consumed: Vec<i64>) -> StepCommit {
        StepCommit {
            flow: Flow { version: expected.unwrap_or(0) + 1, ..self },
            expected,
            consumed,
            queued: Vec::new(),
            cancelled: Vec::new(),
            arrivals: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl FlowEffect {
    /// A show without an answer: it costs nobody anything and is not counted as open.
    fn is_plain_show(&self) -> bool {
        matches!(self.show, Some(Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_)))
    }
}

/// A final flow has nothing open but its expectations and what it shows.
fn close(flow: &mut Flow, cancelled: &mut Vec<String>) {
    for effect in &mut flow.effects {
        let keeps = effect.expects || effect.is_plain_show();
        if effect.state == EffectState::Open && !keeps {
            effect.state = EffectState::Cancelled;
            cancelled.push(effect.key.clone());
        }
    }
}
