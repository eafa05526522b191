//! Step-ups: a payer proves again who they are before a dealing that a fraud rule wants proved, once and for that dealing alone.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::books::Books;
use crate::ids::{StepUpId, UserId};
use crate::money::Money;
use crate::operations::{Fingerprint, OperationKey};
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::time::Timestamp;

/// How long a challenge waits to be confirmed, and a confirmed one to be used: 5 minutes each.
pub const WAITS_MS: i64 = 5 * 60_000;
/// Wrong passwords after which a challenge is dead.
pub const ATTEMPTS_MAX: i16 = 5;

/// How a challenge stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum StepUpState {
    /// Nobody has confirmed it.
    Open = 1,
    /// The payer has; the dealing may be asked for again.
    Confirmed = 2,
    /// A dealing was made with it.
    Used = 3,
}

impl StepUpState {
    /// The state with this code.
    pub fn from_code(code: i16) -> Option<StepUpState> {
        let all = [StepUpState::Open, StepUpState::Confirmed, StepUpState::Used];
        all.into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

/// A challenge, bound to one dealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    /// Its id.
    pub id: StepUpId,
    /// Who must confirm it.
    pub user: UserId,
    /// Who shall have the money, by id alone.
    pub payee: Uuid,
    /// How much.
    pub amount: Money,
    /// What was asked: route and body. Another request cannot use it.
    pub fingerprint: Fingerprint,
    /// How it stands.
    pub state: StepUpState,
    /// Wrong passwords so far.
    pub attempts: i16,
    /// Since when.
    pub at: Timestamp,
    /// Until when it can be confirmed, or once confirmed be used.
    pub expires_at: Timestamp,
}

/// What a dealing brings into the commit: what a challenge is bound to, and perhaps the confirmed one of an earlier request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Who pays or sends.
    pub user: UserId,
    /// Who shall have the money, by id alone.
    pub payee: Uuid,
    /// How much.
    pub amount: Money,
    /// The challenge that the payer says to have confirmed; used up by the commit.
    pub proof: Option<StepUpId>,
}

/// The challenge of an operation: it follows from its key, so that whoever repeats the request is told the same one.
pub fn challenge_of(operation: OperationKey) -> StepUpId {
    StepUpId(Uuid::from_bytes(Digest::of_parts(&[b"koban step-up 1", &operation.0]).half()))
}

/// Uses a confirmed challenge up. Errors: [`Refusal::StepUpRequired`], whatever is wrong with it.
pub(crate) fn spend(
    books: &mut Books,
    challenge: &Challenge,
    fingerprint: Fingerprint,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(proof) = challenge.proof else { return Ok(()) };
    let known = books.step_ups.get(&proof).ok_or(Refusal::StepUpRequired)?;
    let bound = (known.user, known.payee, known.amount, known.fingerprint);
    let fits = bound == (challenge.user, challenge.payee, challenge.amount, fingerprint);
    if !fits || known.state != StepUpState::Confirmed || now >= known.expires_at {
        return Err(Refusal::StepUpRequired);
    }
    let used = StepUp { state: StepUpState::Used, ..*known };
    books.step_ups.put(proof, used);
    Ok(())
}

/// Opens the challenge of an operation that was refused for want of one.
pub(crate) fn open(
    books: &mut Books,
    challenge: &Challenge,
    (operation, fingerprint): (OperationKey, Fingerprint),
    now: Timestamp,
) {
    let Challenge { user, payee, amount, .. } = *challenge;
    let id = challenge_of(operation);
    let expires_at = now.plus_ms(WAITS_MS);
    let state = StepUpState::Open;
    books.step_ups.put(id, StepUp { id, user, payee, amount, fingerprint, state, attempts: 0, at: now, expires_at });
}
