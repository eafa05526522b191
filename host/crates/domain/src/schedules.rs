//! Dealings that a user wants done later: what is wished, when, and what became of it.

use serde::{Deserialize, Serialize};

use crate::ids::{MerchantId, ScheduleId, UserId};
use crate::money::Money;
use crate::time::Timestamp;

/// How far ahead something may be scheduled: 366 days.
pub const AHEAD_MS_MAX: i64 = 366 * 86_400_000;
/// Most that one user has waiting.
pub const WAITING_MAX: u16 = 100;

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Pay a merchant.
    Payment {
        /// Who shall be paid.
        merchant: MerchantId,
        /// How much.
        amount: Money,
        /// The merchant's own reference.
        reference: Option<String>,
    },
    /// Send to a user.
    Transfer {
        /// Who shall receive.
        receiver: UserId,
        /// How much.
        amount: Money,
        /// Words to the receiver.
        message: Option<String>,
    },
}

/// What became of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ScheduleState {
    /// Its time has not come.
    Waiting = 1,
    /// A host does it; it cannot be cancelled any more.
    Running = 2,
    /// It was done.
    Done = 3,
    /// It was refused.
    Refused = 4,
    /// The user changed their mind.
    Cancelled = 5,
}

impl ScheduleState {
    /// Every state, in order of code.
    pub const ALL: [ScheduleState; 5] = [
        ScheduleState::Waiting,
        ScheduleState::Running,
        ScheduleState::Done,
        ScheduleState::Refused,
        ScheduleState::Cancelled,
    ];

    /// The state with this code.
    pub fn from_code(code: u8) -> Option<ScheduleState> {
        ScheduleState::ALL.into_iter().find(|state| *state as u8 == code)
    }
}

/// A dealing of a user's that is to be done at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose.
    pub user: UserId,
    /// What.
    pub wish: Wish,
    /// When: at this time or as soon after it as a host is there.
    pub execute_at: Timestamp,
    /// The device that it was asked from; rules may count by it.
    pub device: Option<String>,
    /// `ja` or `en`.
    pub locale: String,
    /// What became of it.
    pub state: ScheduleState,
    /// The id of the payment or transfer, or the code of the refusal.
    pub outcome: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was done, refused or cancelled.
    pub ended_at: Option<Timestamp>,
}
