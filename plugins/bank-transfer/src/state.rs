//! What a transfer remembers between its steps. The fields are written with postcard: their order is part of the format.

use koban_sdk::flow::Standing;
use koban_sdk::serde::{Deserialize, Serialize};

/// A charge or a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub enum Transfer {
    In(Incoming),
    Out(Outgoing),
}

/// A charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Incoming {
    pub(crate) phase: Receiving,
}

/// How far a charge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) enum Receiving {
    /// The bank is asked for an account number.
    Opening,
    /// The number is shown; a transfer to it is credited.
    Waiting,
    Done,
    Failed,
    Cancelled,
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Outgoing {
    pub(crate) phase: Sending,
    /// Our own id of it, under which the bank knows it.
    pub(crate) id: String,
    /// What its owner gets, in yen.
    pub(crate) amount: i64,
    /// What it costs on top, in yen.
    pub(crate) fee: i64,
    /// How often the bank was asked how it stands.
    pub(crate) asked: u32,
}

/// How far a withdrawal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) enum Sending {
    /// The user is asked for the account.
    Asking,
    /// The bank is asked to transfer.
    Transferring,
    /// The answer was lost: the bank is asked how it stands, now or after a pause.
    Checking,
    /// It never came: the bank is told not to take it any more.
    TakingBack,
    Done,
    Failed,
    Cancelled,
    /// Its record is, or shall be, in a transfer file.
    Filed,
    /// The bank has the file: its result is waited for.
    WithTheBank,
}

impl Receiving {
    pub(crate) fn standing(self) -> Standing {
        match self {
            Receiving::Opening => Standing::WaitingForPartner,
            Receiving::Waiting => Standing::WaitingForUser,
            Receiving::Done => Standing::Done,
            Receiving::Failed => Standing::Failed,
            Receiving::Cancelled => Standing::Cancelled,
        }
    }
}

impl Sending {
    pub(crate) fn standing(self) -> Standing {
        match self {
            Sending::Asking => Standing::WaitingForUser,
            Sending::Transferring | Sending::Filed | Sending::WithTheBank => Standing::WaitingForPartner,
            Sending::Checking | Sending::TakingBack => Standing::Checking,
            Sending::Done => Standing::Done,
            Sending::Failed => Standing::Failed,
            Sending::Cancelled => Standing::Cancelled,
        }
    }
}
