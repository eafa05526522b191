//! What the payment of a slip remembers between its steps.

use koban_sdk::Money;
use koban_sdk::flow::Standing;
use koban_sdk::serde::{Deserialize, Serialize};

/// One payment. The fields are written with postcard: their order is part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Payment {
    pub(crate) phase: Phase,
    /// Our own id of it, under which the collector knows it.
    pub(crate) id: String,
    /// What the biller gets, in yen.
    pub(crate) amount: i64,
    /// What the user pays on top, in yen.
    pub(crate) fee: i64,
    /// How often the collector was asked how it stands.
    pub(crate) asked: u32,
}

impl Payment {
    /// What is held: amount and fee.
    pub(crate) fn whole(&self) -> Money {
        Money::yen(self.amount.saturating_add(self.fee))
    }
}

/// How far a payment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) enum Phase {
    /// The collector is asked to pay.
    Paying,
    /// The answer was lost: the collector is asked how it stands, now or after a pause.
    Checking,
    /// It never came: the collector is told not to take it any more.
    TakingBack,
    Done,
    Failed,
}

impl Phase {
    pub(crate) fn standing(self) -> Standing {
        match self {
            Phase::Paying => Standing::WaitingForPartner,
            Phase::Checking | Phase::TakingBack => Standing::Checking,
            Phase::Done => Standing::Done,
            Phase::Failed => Standing::Failed,
        }
    }
}
