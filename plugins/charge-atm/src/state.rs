//! What a charge at an ATM remembers between its steps.

use koban_sdk::Money;
use koban_sdk::flow::Standing;
use koban_sdk::serde::{Deserialize, Serialize};

/// One charge. The fields are written with postcard: their order is part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Session {
    pub(crate) phase: Phase,
    /// The most that a deposit may bring, in yen and a multiple of 1,000.
    pub(crate) max_yen: i64,
    /// How many times the user was asked to scan.
    pub(crate) scans: u8,
    /// What was booked.
    pub(crate) deposit: Option<Booked>,
}

/// A deposit that was credited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) struct Booked {
    pub(crate) reference: String,
    pub(crate) yen: i64,
    pub(crate) reversed: bool,
}

impl Booked {
    pub(crate) fn amount(&self) -> Money {
        Money::yen(self.yen)
    }
}

/// How far a charge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) enum Phase {
    /// The user is to scan the ATM's code.
    Scanning,
    /// The network is asked to approve.
    Approving,
    /// The user types the company number and puts in the notes.
    Depositing,
    /// Whether the network approved is unknown; a deposit may still come.
    Checking,
    /// A deposit was credited.
    Done,
    Failed,
    Cancelled,
}

impl Phase {
    pub(crate) fn standing(self) -> Standing {
        match self {
            Phase::Scanning | Phase::Depositing => Standing::WaitingForUser,
            Phase::Approving => Standing::WaitingForPartner,
            Phase::Checking => Standing::Checking,
            Phase::Done => Standing::Done,
            Phase::Failed => Standing::Failed,
            Phase::Cancelled => Standing::Cancelled,
        }
    }

    pub(crate) fn is_final(self) -> bool {
        self.standing().is_final()
    }
}
