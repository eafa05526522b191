//! Scenarios: a flow from its beginning to its end as a readable file, played on the real plugin under the real rules.
//!
//! The guest is whatever answers through [`Guest`]: the binary puts runtime's door behind it. The rules of flows are `flows::advance`, the books
//! are `ledger::Commit`, both of domain and the same that a host runs; only the world around them is played here. docs/reference/scenarios.md
//! describes the file.

mod file;
mod play;
mod stage;
mod vary;
pub mod words;
mod write;

use std::collections::BTreeMap;
use std::future::Future;

use koban_domain::guest::{BillCode, Lost, Named, Standing};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Beginning;
use koban_domain::money::Money;
use koban_domain::records::{Fault, Input, Output};
use koban_domain::time::Timestamp;

pub use file::{read, read_text};
pub use vary::{Report, run};
pub use write::write;

/// What answers a scenario's calls.
pub trait Guest: Sync {
    /// Runs one call at this time, in this language, with the scenario's settings. The same arguments must give the same answer.
    fn call(&self, at: Timestamp, locale: &str, input: Input) -> impl Future<Output = Result<Output, Fault>> + Send;
}

/// A scenario, read and typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The file, as it was named.
    pub file: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// When it begins.
    pub now: Timestamp,
    /// `ja` or `en`.
    pub locale: String,
    /// The plugin's settings, complete.
    pub settings: Vec<Named>,
    /// The user's wallet.
    pub wallet: Wallet,
    /// The most unsettled credits of the plugin, minor units.
    pub exposure_cap: i64,
    /// The most that may be written off to it, minor units.
    pub loss_budget: i64,
    /// What happens, in order; the first step begins the flow.
    pub steps: Vec<Step>,
}

/// The wallet of the scenario's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wallet {
    /// Prepaid, or funds of a verified user.
    pub kind: WalletKind,
    /// What it holds when the scenario begins.
    pub balance: Money,
}

/// Something that happens, and what should come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it stands in the file, counted from 1.
    pub line: usize,
    /// What happens.
    pub does: Does,
    /// The ledger refuses the proposal of this step with this outcome.
    pub refused: Option<String>,
    /// What should come of it.
    pub then: Then,
}

/// How a flow begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// As what.
    pub beginning: Beginning,
    /// The most that the user agreed to.
    pub at_most: Money,
    /// How much the user asked for.
    pub amount: Option<Money>,
    /// What the plugin is told about them.
    pub facts: Vec<Named>,
    /// The code that the user scanned or typed, for a bill.
    pub code: Option<BillCode>,
}

/// What can happen to a flow.
#[derive(Debug, Clone, PartialEq)]
pub enum Does {
    /// It begins.
    Begin(Box<Begin>),
    /// The user fills in the form with this key.
    Form {
        /// The form's key.
        key: String,
        /// What they type, by field.
        values: BTreeMap<String, String>,
    },
    /// The partner answers the call with this key.
    Answer {
        /// The call's key.
        key: String,
        /// The HTTP status.
        status: u16,
        /// The exact body.
        body: Vec<u8>,
    },
    /// The effect with this key ends without an answer.
    Lost {
        /// Its key.
        key: String,
        /// How.
        how: Lost,
    },
    /// The partner calls one of the manifest's inbound operations.
    Call {
        /// Which one.
        operation: String,
        /// What follows it in the path.
        path: String,
        /// Query parameters.
        query: Vec<Named>,
        /// The exact body.
        body: Vec<u8>,
    },
    /// So many milliseconds pass; timers that become due ring.
    Wait(i64),
    /// The user asks to stop.
    Cancel,
    /// What happened last happens again, byte for byte.
    Duplicate,
    /// The host is killed here: between the last answer and its commit, or while the call with this key is under way.
    Kill(Option<String>),
}

/// What should come of a step. What is absent is not looked at, but for proposals: money is never left unsaid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Then {
    /// Where the flow stands.
    pub standing: Option<Standing>,
    /// All effects that it asks for, in any order, as [`words::effect`] writes them.
    pub effects: Option<Vec<String>>,
    /// All that it proposes, in order, as [`words::proposal`] writes it.
    pub proposals: Vec<String>,
    /// What the bodies of calls hold at least, by the call's key.
    pub sends: BTreeMap<String, serde_json::Value>,
    /// The status of the reply to the partner.
    pub reply_status: Option<u16>,
    /// What its body holds at least.
    pub reply_json: Option<serde_json::Value>,
    /// The code of the note that the plugin left.
    pub note: Option<String>,
    /// What the flow has credited by now, less what was reversed.
    pub credited: Option<Money>,
}
