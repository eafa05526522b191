//! Switches for misbehaving: how the network, the collector, the bank and the budgeting app answer Koban, and what they make of Koban's answers.

use serde::{Deserialize, Serialize};

/// How a partner answers, and how the network sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// As it should.
    #[default]
    Normal,
    /// Does the work and answers after `slow_ms`.
    Slow,
    /// Answers 500 without a signature and does nothing.
    Error,
    /// Does the work and closes the connection without a word.
    Lost,
    /// Sends every message of its own to Koban twice at the same time; what Koban asks of the collector reaches it twice.
    Twice,
    /// Does nothing and never answers, until Koban gives up.
    Silent,
}

/// What becomes of Koban's answers to deposits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ours {
    /// They arrive.
    #[default]
    Normal,
    /// The first is lost on the way, so the deposit is sent again.
    Repeat,
    /// They are lost on the way, so the deposit is reversed and the cash given back.
    Reverse,
}

/// All switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Switches {
    /// How the network answers, and sends.
    pub answers: Answers,
    /// What becomes of Koban's answers.
    pub ours: Ours,
    /// How the collector answers when a bill is to be paid.
    pub bills: Answers,
    /// How the bank answers when it is asked to transfer.
    pub transfers: Answers,
    /// How collector and bank answer when they are asked for anything else: how something stands, to take it back, for an account.
    pub questions: Answers,
    /// How the budgeting app answers when rows are sent to it.
    pub rows: Answers,
    /// How slow `slow` is, in milliseconds.
    pub slow_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        let normal = Answers::Normal;
        Switches {
            answers: normal,
            ours: Ours::Normal,
            bills: normal,
            transfers: normal,
            questions: normal,
            rows: normal,
            slow_ms: 1_000,
        }
    }
}

/// A change: what is not named stays.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchesChange {
    /// See [`Switches::answers`].
    pub answers: Option<Answers>,
    /// See [`Switches::ours`].
    pub ours: Option<Ours>,
    /// See [`Switches::bills`].
    pub bills: Option<Answers>,
    /// See [`Switches::transfers`].
    pub transfers: Option<Answers>,
    /// See [`Switches::questions`].
    pub questions: Option<Answers>,
    /// See [`Switches::rows`].
    pub rows: Option<Answers>,
    /// See [`Switches::slow_ms`]; at most ten minutes.
    pub slow_ms: Option<u64>,
}

/// The slowest that `slow` can be.
pub const SLOW_MS_MAX: u64 = 600_000;

impl Switches {
    /// Takes over what the change names.
    pub fn set(&mut self, change: SwitchesChange) {
        self.answers = change.answers.unwrap_or(self.answers);
        self.ours = change.ours.unwrap_or(self.ours);
        self.bills = change.bills.unwrap_or(self.bills);
        self.transfers = change.transfers.unwrap_or(self.transfers);
        self.questions = change.questions.unwrap_or(self.questions);
        self.rows = change.rows.unwrap_or(self.rows);
        self.slow_ms = change.slow_ms.unwrap_or(self.slow_ms).min(SLOW_MS_MAX);
    }
}
