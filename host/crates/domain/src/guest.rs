//! What passes between host and guests, as domain values: the image of `wit/preview` that every other room works with.
//!
//! Runtime converts between these and the generated bindings. Their postcard encoding (version 1) is what records hold: variants are only ever added at the
//! end, and a struct that stands in records never changes.

use serde::{Deserialize, Serialize};

use crate::manifest::Beginning;
use crate::money::Money;

mod bills;
mod files;
mod happenings;
mod links;
mod market;
mod statements;

pub use bills::{Bill, BillCode, BillSource};
pub use files::OutgoingFile;
pub use happenings::{About, Action, BudgetBonus, Happening, Put, Remembered, TableRequest, TableSubject};
pub use links::{BillRequest, Link, LinkRequest, Mandate, SavedLink, SyncRequest, WithdrawRequest};
pub use market::{MarketRate, Price, QuoteRequest};
pub use statements::{Document, StatementAccount, StatementRow};

/// The contract that guests of this host are built against.
pub const CONTRACT: &str = "koban:plugin@0.1.0";

/// mantissa * 10^-scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    /// All digits, signed.
    pub mantissa: i64,
    /// How many of them stand after the point.
    pub scale: u8,
}

/// A typed value of a setting, a fact, a query or a form answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number without a unit of money.
    Whole(i64),
    /// An amount.
    Amount(Money),
    /// A rate or a percentage.
    Rate(Decimal),
    /// Yes or no.
    Flag(bool),
    /// Unix milliseconds, UTC.
    Moment(u64),
    /// The handle of a secret that only the host can open.
    Secret(String),
}

/// A named value; the same name repeated makes a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name, as the manifest or the catalogue of facts writes it.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl Named {
    /// A named text.
    pub fn text(name: &str, value: impl Into<String>) -> Named {
        Named { name: name.to_owned(), value: Value::Text(value.into()) }
    }
    /// A named whole number.
    pub fn whole(name: &str, value: i64) -> Named {
        Named { name: name.to_owned(), value: Value::Whole(value) }
    }
    /// A named yes or no.
    pub fn flag(name: &str, value: bool) -> Named {
        Named { name: name.to_owned(), value: Value::Flag(value) }
    }
}

/// All that a guest learns of its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The id of this call, which is also the id of its record.
    pub call: String,
    /// `platform`, or the id of a merchant or a store.
    pub scope: String,
    /// Unix milliseconds, UTC: the guest's only clock.
    pub now: u64,
    /// The guest's only randomness.
    pub seed: u64,
    /// `ja` or `en`.
    pub locale: String,
}

/// A guest's own refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One of the codes in its manifest.
    pub code: String,
    /// For operators and logs.
    pub message: String,
    /// The key of one of its texts, for the user.
    pub text: Option<String>,
    /// Whether trying again can help.
    pub retryable: bool,
}

/// What a guest says of itself; must equal its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The contract it was built against.
    pub contract: String,
}

// ---- flows ---------------------------------------------------------------------------------------------------------

/// A request to a partner, to be completed, signed and sent by the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCall {
    /// An endpoint of the manifest.
    pub endpoint: String,
    /// One of its operations.
    pub operation: String,
    /// Appended to the operation's path; empty or begins with `/`.
    pub path: String,
    /// Query parameters.
    pub query: Vec<Named>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// An answer over HTTP: a partner's, or a reply to a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// The status, 100 to 599.
    pub status: u16,
    /// Headers that the host lets through.
    pub headers: Vec<(String, String)>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// What a form field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Any text.
    Text,
    /// Digits only.
    Digits,
    /// Katakana.
    Kana,
    /// An amount in minor units of the flow's currency.
    Amount,
    /// A date, `YYYY-MM-DD`.
    Date,
    /// One of the choices.
    Choice,
    /// Kept by the host; the guest gets a handle.
    Secret,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name in the answer.
    pub name: String,
    /// The key of its label.
    pub label: String,
    /// What it takes.
    pub kind: FieldKind,
    /// For a choice: the values.
    pub choices: Vec<String>,
    /// Whether it may be left empty.
    pub required: bool,
    /// Longest answer in characters.
    pub max_length: u32,
}

/// What the user is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// The key of one of the plugin's texts.
    Text(String),
    /// A code to type or to read out.
    Code(String),
    /// The content of a QR code.
    Qr(String),
    /// A link.
    Link(String),
    /// A form to fill in; its answer comes back as an event.
    Form(Vec<Field>),
    /// The user is sent to this endpoint's OAuth server to agree there.
    Consent(String),
}

/// What a guest asks the host to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Call a partner.
    Http(HttpCall),
    /// Show the user something.
    Show(Show),
    /// Ring at this time (Unix milliseconds).
    Timer(u64),
    /// Expect calls from outside with this correlation.
    Expect(String),
    /// One record for a partner's file: file, correlation, record.
    Enqueue(String, String, Vec<u8>),
    /// Take back the effect with this key: a timer, an expectation, a form.
    Cancel(String),
    /// Save a link of the flow's user.
    SaveLink(SavedLink),
    /// Drop the link with this reference.
    DropLink(String),
}

/// An act under the guest's own name for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Unique in the flow: asking again with the same key and content is the same effect.
    pub key: String,
    /// What is asked.
    pub act: Act,
}

/// A call from outside that concerns a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The inbound operation.
    pub operation: String,
    /// The path after the operation's name.
    pub path: String,
    /// Query parameters.
    pub query: Vec<Named>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// How an effect ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// The host would not do it.
    Refused,
    /// No byte of it left the host.
    NotSent,
    /// It may have happened.
    Unknown,
    /// An answer came that its partner had not signed.
    BadSignature,
}

/// What came of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A partner answered.
    Answer(HttpAnswer),
    /// No answer.
    Lost(Lost, String),
    /// A timer rang.
    Rang,
    /// The user filled in a form.
    Form(Vec<Named>),
    /// A record stands in a partner's file.
    Queued,
    /// That file was sealed under this name.
    Sealed(String),
    /// A partner called.
    Message(Message),
    /// The user would like to stop.
    CancelAsked,
    /// The user agreed at a partner.
    Agreed,
}

/// One thing that a flow has to deal with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the flow's events from 1.
    pub number: u32,
    /// The effect or expectation it belongs to; empty for the user's wish to stop.
    pub key: String,
    /// What happened.
    pub what: What,
}

impl Event {
    /// Whether a proposal may rest on this event: an answer or a message whose signature the host has checked.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.what, What::Answer(_) | What::Message(_))
    }
}

/// Why the step given for this same event was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRefusal {
    /// Which proposal, counted from 0.
    pub proposal: u32,
    /// The code of the outcome, as docs/reference/outcomes.md lists them.
    pub outcome: String,
}

/// Money that a partner says it has, for the flow's wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The guest's name for this credit, unique in the flow.
    pub key: String,
    /// How much.
    pub amount: Money,
    /// The partner's own id of it, unique for ever per plugin and side.
    pub reference: String,
    /// The number of the event it rests on.
    pub because: u32,
    /// The partner holds the money and cannot give it back.
    pub arrived: bool,
}

/// A wish to reserve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The guest's name for it.
    pub key: String,
    /// How much.
    pub amount: Money,
}

/// A wish to take what is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The hold's key.
    pub hold: String,
    /// How much, fee included.
    pub amount: Money,
    /// What of it the platform keeps.
    pub fee: Option<Money>,
    /// The partner's own id of it.
    pub reference: String,
    /// The event it rests on.
    pub because: u32,
    /// Whether the rest is released.
    pub last: bool,
}

/// A partner takes a credit back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    /// The credit's key.
    pub of: String,
    /// How much.
    pub amount: Money,
    /// The partner's own id of the reversal.
    pub reference: String,
    /// The event it rests on.
    pub because: u32,
}

/// What a guest would like done with money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proposal {
    /// Credit the wallet.
    Credit(Credit),
    /// Reserve.
    Hold(Hold),
    /// Take what is held.
    Capture(Capture),
    /// Let a hold go, by its key.
    Release(String),
    /// Take one of the flow's own credits back.
    Reverse(Reversal),
    /// Kill the credit side of a reference for ever.
    Tombstone(String),
}

/// What the user is told about a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The user has something to do.
    WaitingForUser,
    /// A partner has something to do.
    WaitingForPartner,
    /// It is not known what happened; somebody is finding out.
    Checking,
    /// Final: it worked.
    Done,
    /// Final: it did not work.
    Failed,
    /// Final: the user stopped it.
    Cancelled,
}

impl Standing {
    /// Final means: no new credit, hold or capture, ever.
    pub fn is_final(self) -> bool {
        matches!(self, Standing::Done | Standing::Failed | Standing::Cancelled)
    }
}

/// A guest's answer to a beginning or an event. Taken whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The flow's new state, at most 64 KiB.
    pub state: Vec<u8>,
    /// Where the flow stands now.
    pub standing: Standing,
    /// What the host shall do after the commit.
    pub effects: Vec<Effect>,
    /// What shall happen with money, in order, all or none.
    pub proposals: Vec<Proposal>,
    /// The reply to the partner whose call this event is.
    pub reply: Option<HttpAnswer>,
    /// Why the flow failed, if it did.
    pub note: Option<Failure>,
}

/// What a charge begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRequest {
    /// The wallet, opaque to the guest.
    pub wallet: String,
    /// How much the user asked for, if known beforehand.
    pub amount: Option<Money>,
    /// The most that may be credited.
    pub at_most: Money,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// A partner's call, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundCall {
    /// The endpoint whose secret signed it.
    pub endpoint: String,
    /// The inbound operation.
    pub operation: String,
    /// The path after the operation's name.
    pub path: String,
    /// Query parameters.
    pub query: Vec<Named>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// Where a partner's call belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The correlation that a flow may have expected.
    pub correlation: String,
    /// The answer if no flow ever did.
    pub otherwise: HttpAnswer,
    /// The reference to kill if no flow ever did.
    pub tombstone: Option<String>,
}

/// Whose wallet a flow is about that a partner begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// By the wallet's name for the plugin.
    Wallet(String),
    /// By the reference of a link.
    Link(String),
}

/// A flow that a partner begins under a user's mandate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// What it begins as: a charge or a withdrawal.
    pub beginning: Beginning,
    /// Whose wallet it is about.
    pub owner: Owner,
    /// What the partner asks for.
    pub amount: Money,
    /// The correlation that the flow will expect, and the answer if none can begin.
    pub delivery: Delivery,
}

/// What a guest makes of a partner's call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// It belongs to a flow.
    Deliver(Delivery),
    /// It is answered at once.
    Answer(HttpAnswer),
    /// It belongs to a flow, and begins it if there is none.
    Begin(Opening),
}

/// What a line of a settlement file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// A credit.
    Credit,
    /// The reversal of a credit.
    Reversal,
    /// A capture.
    Capture,
    /// What the partner keeps for its work.
    Fee,
}

/// One line of a partner's settlement file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementLine {
    /// The partner's own id.
    pub reference: String,
    /// Which side of it.
    pub side: Side,
    /// How much, positive.
    pub amount: Money,
    /// When, Unix milliseconds.
    pub at: u64,
}

// ---- decisions -----------------------------------------------------------------------------------------------------

/// The payment that is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessPayment {
    /// Its id.
    pub id: String,
    /// `payment` or `transfer`.
    pub kind: String,
    /// How much.
    pub amount: Money,
    /// When, Unix milliseconds.
    pub at: u64,
}

/// A windowed counter that the host keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name in the manifest.
    pub name: String,
    /// The window in seconds.
    pub window_s: u32,
    /// How many payments fell into it.
    pub count: u64,
    /// What they add up to.
    pub sum: Money,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Ask the payer to prove again who they are.
    StepUp,
    /// A person must look at it.
    Review,
    /// No.
    Decline,
}

impl Verdict {
    /// The word in records, policies and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::StepUp => "step-up",
            Verdict::Review => "review",
            Verdict::Decline => "decline",
        }
    }
}

/// One reason of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A code of the manifest.
    pub code: String,
    /// How much it weighed.
    pub weight: u32,
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// What the rule says.
    pub verdict: Verdict,
    /// 0 (harmless) to 1000.
    pub score: u32,
    /// Why.
    pub reasons: Vec<Reason>,
}
