//! The evidence of one guest call: enough to run it again, months later, by anyone who holds it.

mod canonical;
pub mod personal;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::guest::{
    Action, AssessPayment, Bill, BillCode, BillRequest, ChargeRequest, Context, Description, Document, Event, Failure,
    Happening, InboundCall, Link, LinkRequest, MarketRate, Named, OutgoingFile, Price, QuoteRequest, Remembered,
    Routing, SettlementLine, Signal, StatementAccount, Step, StepRefusal, SyncRequest, TableRequest, Value,
    WithdrawRequest,
};
use crate::ids::{RecordId, UserId};
use crate::manifest::Beginning;
use crate::time::Timestamp;

pub use canonical::{Content, Held, Kept, Outcome, RecordError, RecordHead, link};

/// A SHA-256 digest: the identity of a component, of settings, of a record, of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length as eight big-endian bytes.
    pub fn of_parts(parts: &[&[u8]]) -> Digest {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }

    /// The first 16 bytes, where a shorter key is enough.
    pub fn half(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        half
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex::encode(&self.0[..6]))
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError(text.chars().take(70).collect()))?;
        Ok(Digest(bytes))
    }
}

/// The text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest; it has 64 hexadecimal digits")]
pub struct DigestError(String);

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// The input of one guest call. Which function it is follows from the variant. New variants stand at the end: records keep their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// `plugin.describe`.
    Describe,
    /// `plugin.check-settings`.
    CheckSettings,
    /// `assess.assess`: payment, facts, signals.
    Assess(AssessPayment, Vec<Named>, Vec<Signal>),
    /// `charge.begin` without a link.
    BeginCharge(ChargeRequest),
    /// `machine.resume`: state, event, refusal of the step given before for the same event.
    Resume(Vec<u8>, Event, Option<StepRefusal>),
    /// `inbound.route`.
    Route(InboundCall),
    /// `settlement.parse`: the file's content.
    ParseSettlement(Vec<u8>),
    /// `charge.begin` with a link that the user chose, or under its mandate.
    BeginLinkedCharge(ChargeRequest, Link),
    /// `withdraw.begin`.
    BeginWithdraw(WithdrawRequest),
    /// `link-account.begin`.
    BeginLink(LinkRequest),
    /// `pay-bill.recognise`: the code, and facts.
    Recognise(BillCode, Vec<Named>),
    /// `pay-bill.begin`.
    BeginBill(Box<BillRequest>),
    /// `sync.begin`.
    BeginSync(Box<SyncRequest>),
    /// `files.compose`: the file, and its records with their correlations.
    ComposeFile(OutgoingFile, Vec<(String, Vec<u8>)>),
    /// `files.parse`: the file's name and content.
    ParseFile(String, Vec<u8>),
    /// `migrate.state`: the version that wrote the state, and the state.
    MigrateState(String, Vec<u8>),
    /// `rates.parse`: the feed's content.
    ParseRates(Vec<u8>),
    /// `quote.quote`.
    Quote(QuoteRequest),
    /// `statement.compose`: the format and the rows.
    ComposeStatement(String, StatementAccount),
    /// `on-event.on-event`: the event, and what was remembered.
    OnEvent(Happening, Vec<Remembered>),
    /// `table.rows`.
    TableRows(TableRequest),
}

impl Input {
    /// The function's name, `interface.function`.
    pub fn function(&self) -> &'static str {
        match self {
            Input::Describe => "plugin.describe",
            Input::CheckSettings => "plugin.check-settings",
            Input::Assess(..) => "assess.assess",
            Input::BeginCharge(_) | Input::BeginLinkedCharge(..) => "charge.begin",
            Input::Resume(..) => "machine.resume",
            Input::Route(_) => "inbound.route",
            Input::ParseSettlement(_) => "settlement.parse",
            Input::BeginWithdraw(_) => "withdraw.begin",
            Input::BeginLink(_) => "link-account.begin",
            Input::Recognise(..) => "pay-bill.recognise",
            Input::BeginBill(_) => "pay-bill.begin",
            Input::BeginSync(_) => "sync.begin",
            Input::ComposeFile(..) => "files.compose",
            Input::ParseFile(..) => "files.parse",
            Input::MigrateState(..) => "migrate.state",
            Input::ParseRates(_) => "rates.parse",
            Input::Quote(_) => "quote.quote",
            Input::ComposeStatement(..) => "statement.compose",
            Input::OnEvent(..) => "on-event.on-event",
            Input::TableRows(_) => "table.rows",
        }
    }

    /// What begins with this call, if it begins a flow. An event may begin one, too, as one of several actions.
    pub fn beginning(&self) -> Option<Beginning> {
        match self {
            Input::BeginCharge(_) | Input::BeginLinkedCharge(..) => Some(Beginning::Charge),
            Input::BeginWithdraw(_) => Some(Beginning::Withdraw),
            Input::BeginLink(_) => Some(Beginning::LinkAccount),
            Input::BeginBill(_) => Some(Beginning::PayBill),
            Input::BeginSync(_) => Some(Beginning::Sync),
            Input::OnEvent(..) => Some(Beginning::Event),
            Input::Describe
            | Input::CheckSettings
            | Input::Assess(..)
            | Input::Resume(..)
            | Input::Route(_)
            | Input::ParseSettlement(_)
            | Input::Recognise(..)
            | Input::ComposeFile(..)
            | Input::ParseFile(..)
            | Input::MigrateState(..)
            | Input::ParseRates(_)
            | Input::Quote(_)
            | Input::ComposeStatement(..)
            | Input::TableRows(_) => None,
        }
    }
}

/// What a guest answered, or the reason it gave for not answering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// To `describe`.
    Description(Description),
    /// To `check-settings`: empty means that they are good.
    SettingsChecked(Vec<Failure>),
    /// To `assess`.
    Assessment(crate::guest::Assessment),
    /// To `begin` and `resume`.
    Step(Step),
    /// To `route`.
    Routing(Routing),
    /// To `parse`.
    Lines(Vec<SettlementLine>),
    /// The guest's own refusal.
    Failure(Failure),
    /// To `recognise`: none if it is no bill of this plugin.
    Bill(Option<Bill>),
    /// To `files.compose`.
    File(Vec<u8>),
    /// To `files.parse`: correlations and records.
    Records(Vec<(String, Vec<u8>)>),
    /// To `migrate.state`.
    State(Vec<u8>),
    /// To `rates.parse`.
    Rates(Vec<MarketRate>),
    /// To `quote`.
    Price(Price),
    /// To `statement.compose`.
    Document(Document),
    /// To `on-event`.
    Actions(Vec<Action>),
    /// To `table.rows`.
    Rows(Vec<Vec<Value>>),
}

impl Output {
    /// How many bytes it takes in a record.
    pub fn encoded_bytes(&self) -> usize {
        postcard::to_extend(self, Vec::new()).map_or(0, |bytes| bytes.len())
    }
}

/// What a guest did that is no answer. Every fault is contained, recorded and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultClass {
    /// It used up its fuel: the only limit that an honest guest can meet.
    FuelExhausted,
    /// The epoch guard fired; not replayable.
    Deadline,
    /// It asked for more memory than its class allows.
    MemoryDenied,
    /// Its answer was larger than its class allows.
    OutputTooLarge,
    /// It moved more bytes through host calls than its class allows.
    HostDataTooLarge,
    /// It recursed too deeply.
    StackOverflow,
    /// It panicked or did something that WebAssembly forbids.
    Trap,
    /// It asked for something that its manifest or its grants do not give.
    Denied,
    /// Its answer does not make sense: an unknown currency, a code outside its manifest, a wrong status.
    BadAnswer,
    /// No slot became free in time; says nothing about the guest.
    Busy,
}

impl FaultClass {
    /// The word in records, metrics and problems.
    pub fn word(self) -> &'static str {
        match self {
            FaultClass::FuelExhausted => "fuel-exhausted",
            FaultClass::Deadline => "deadline",
            FaultClass::MemoryDenied => "memory-denied",
            FaultClass::OutputTooLarge => "output-too-large",
            FaultClass::HostDataTooLarge => "host-data-too-large",
            FaultClass::StackOverflow => "stack-overflow",
            FaultClass::Trap => "trap",
            FaultClass::Denied => "denied",
            FaultClass::BadAnswer => "bad-answer",
            FaultClass::Busy => "busy",
        }
    }

    /// Whether the same call would end in the same fault again.
    pub fn is_replayable(self) -> bool {
        match self {
            FaultClass::Deadline | FaultClass::Busy => false,
            FaultClass::FuelExhausted
            | FaultClass::MemoryDenied
            | FaultClass::OutputTooLarge
            | FaultClass::HostDataTooLarge
            | FaultClass::StackOverflow
            | FaultClass::Trap
            | FaultClass::Denied
            | FaultClass::BadAnswer => true,
        }
    }
}

/// A fault with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{} ({detail})", class.word())]
pub struct Fault {
    /// Which fault.
    pub class: FaultClass,
    /// For operators: the panic's text, the limit, the denied name. At most 500 characters.
    pub detail: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// With an answer.
    Output(Output),
    /// With a fault. Only the class is compared on replay.
    Fault(Fault),
}

/// Whether a call's answer counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It was used.
    Live,
    /// It was only compared: a component in shadow was asked what the one in force was asked, in the call of this record.
    Shadow(RecordId),
}

/// The record of one guest call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Also the id of the call that the guest saw in its context.
    pub id: RecordId,
    /// When the call was made.
    pub at: Timestamp,
    /// The plugin's id.
    pub plugin: String,
    /// Whether the answer counted.
    pub part: Part,
    /// The user whom the call was about, if it was about one. No guest is told.
    pub about: Option<UserId>,
    /// The component's digest.
    pub component: Digest,
    /// The contract's name and version.
    pub contract: String,
    /// Engine name, version and settings: fuel is comparable only under the same one.
    pub engine: String,
    /// Digest of the settings that the guest was given.
    pub settings: Digest,
    /// Digest of the manifest whose grants applied.
    pub grants: Digest,
    /// What the guest was told of its surroundings.
    pub context: Context,
    /// What it was asked.
    pub input: Input,
    /// Lines it wrote to its log: level 0 to 3 and text, within its bounds.
    pub log: Vec<(u8, String)>,
    /// How it ended.
    pub ending: Ending,
    /// Fuel used.
    pub fuel: u64,
    /// Random bytes under which the content's digest stands in the chain.
    #[serde(skip)]
    pub salt: [u8; 16],
}

/// The digest of settings as records name them: of their postcard encoding.
pub fn settings_digest(settings: &[Named]) -> Digest {
    Digest::of(&postcard::to_extend(settings, Vec::new()).unwrap_or_default())
}
