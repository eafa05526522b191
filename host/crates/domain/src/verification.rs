//! Verification: unverified, submitted, verified, rejected, revoked. The one way in which prepaid value becomes funds.

use serde::{Deserialize, Serialize};

use crate::books::{Books, Postings, User};
use crate::ids::{OperatorId, SubmissionId, UserId};
use crate::limits::WalletKind;
use crate::money::Currency;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// Where a user's verification stands. The number is its code in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Verification {
    /// Nothing was submitted.
    #[default]
    Unverified = 1,
    /// Somebody has yet to look.
    Submitted = 2,
    /// The user is who they say.
    Verified = 3,
    /// What was submitted was not enough; it may be submitted anew.
    Rejected = 4,
    /// It was taken back: what is there may be paid with, nothing is sent and nothing charged.
    Revoked = 5,
}

impl Verification {
    /// Every state, in order of code.
    pub const ALL: [Verification; 5] = [
        Verification::Unverified,
        Verification::Submitted,
        Verification::Verified,
        Verification::Rejected,
        Verification::Revoked,
    ];

    /// The state with this code.
    pub fn from_code(code: i16) -> Option<Verification> {
        Verification::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Where it stands for a wallet of this kind of which nothing else is known.
    pub const fn of(kind: WalletKind) -> Verification {
        match kind {
            WalletKind::Prepaid => Verification::Unverified,
            WalletKind::Funds => Verification::Verified,
        }
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Verification::Unverified => "unverified",
            Verification::Submitted => "submitted",
            Verification::Verified => "verified",
            Verification::Rejected => "rejected",
            Verification::Revoked => "revoked",
        }
    }
}

/// What a user submitted, sealed: the books keep it and cannot read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its id.
    pub id: SubmissionId,
    /// Whose.
    pub user: UserId,
    /// Which key opens it.
    pub key_id: String,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// When it was taken.
    pub at: Timestamp,
}

/// Takes a submission. Errors: [`Refusal::AlreadyVerified`], [`Refusal::VerificationState`] while another one waits.
pub fn submit(books: &mut Books, submission: &Submission, now: Timestamp) -> Result<(), Refusal> {
    let user = *books.users.get(&submission.user).ok_or(Refusal::UserNotFound)?;
    user.check_open()?;
    match user.verification {
        Verification::Verified => return Err(Refusal::AlreadyVerified),
        Verification::Submitted => return Err(Refusal::VerificationState),
        Verification::Unverified | Verification::Rejected | Verification::Revoked => {}
    }
    books.users.put(user.id, User { verification: Verification::Submitted, ..user });
    books.submissions.put(submission.id, Submission { at: now, ..submission.clone() });
    Ok(())
}

/// A decision that a user is who they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Who was verified.
    pub user: UserId,
    /// Who decided.
    pub operator: OperatorId,
}

/// Makes the wallet a funds-transfer account and converts the prepaid value that is not held, all in one entry. What is held
/// keeps its kind. Prepaid value is in yen.
pub fn verify(books: &mut Books, command: &Verify) -> Result<(Postings, i64), Refusal> {
    let wallet = books.wallet(command.user, Currency::JPY)?;
    if wallet.user.access == crate::access::Access::Closed {
        return Err(Refusal::AccountClosed);
    }
    if wallet.user.verification == Verification::Verified {
        return Err(Refusal::AlreadyVerified);
    }

    // After this point the verification must succeed.
    let converted = wallet.prepaid.available();
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Verification, wallet.prepaid.key, wallet.funds.key, converted)?;
    let user = User { kind: WalletKind::Funds, verification: Verification::Verified, ..wallet.user };
    books.users.put(user.id, user);
    Ok((postings, converted))
}

/// A decision against a user: what was submitted is not enough, or what was verified no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unverify {
    /// Whose verification.
    pub user: UserId,
    /// Rejected from submitted, or revoked from verified.
    pub revoked: bool,
}

/// Rejects or revokes. Errors: [`Refusal::VerificationState`] from anywhere else.
pub fn unverify(books: &mut Books, command: &Unverify) -> Result<(), Refusal> {
    let user = *books.users.get(&command.user).ok_or(Refusal::UserNotFound)?;
    let (from, to) = match command.revoked {
        true => (Verification::Verified, Verification::Revoked),
        false => (Verification::Submitted, Verification::Rejected),
    };
    if user.verification != from {
        return Err(Refusal::VerificationState);
    }
    books.users.put(user.id, User { verification: to, ..user });
    Ok(())
}
