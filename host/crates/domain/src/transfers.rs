//! Sending money from one verified user to another.

use serde::{Deserialize, Serialize};

use crate::books::{Books, Postings};
use crate::ids::{RecordId, TransferId, UserId};
use crate::limits::{Action, WalletKind};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::Terms;
use crate::reviews::{self, Reviewed};
use crate::time::Timestamp;

/// A sender's wish, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The transfer to be.
    pub transfer: TransferId,
    /// Who sends.
    pub sender: UserId,
    /// Who receives.
    pub receiver: UserId,
    /// How much.
    pub amount: Money,
    /// Words to the receiver, at most 100 characters.
    pub message: Option<String>,
    /// The decision that allowed it.
    pub decision: Option<RecordId>,
    /// Whether a rule wants a person to look first: then the amount is held until somebody has.
    pub review: bool,
}

/// How a transfer stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TransferState {
    /// The receiver has it.
    Sent = 1,
    /// The amount is held until an operator has looked.
    InReview = 2,
    /// An operator said no.
    Declined = 3,
    /// Nobody looked in time.
    Expired = 4,
}

impl TransferState {
    /// Every state, in order of code.
    pub const ALL: [TransferState; 4] =
        [TransferState::Sent, TransferState::InReview, TransferState::Declined, TransferState::Expired];

    /// The state with this code.
    pub fn from_code(code: u8) -> Option<TransferState> {
        TransferState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            TransferState::Sent => "sent",
            TransferState::InReview => "in-review",
            TransferState::Declined => "declined",
            TransferState::Expired => "expired",
        }
    }
}

/// A transfer as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Who sent.
    pub sender: UserId,
    /// Who received.
    pub receiver: UserId,
    /// How much.
    pub amount: Money,
    /// Words to the receiver.
    pub message: Option<String>,
    /// The decision that allowed it.
    pub decision: Option<RecordId>,
    /// How it stands.
    pub state: TransferState,
    /// When it was posted or held.
    pub at: Timestamp,
}

/// Moves funds from sender to receiver, or holds them until somebody has looked; what the receiver owes is repaid first.
pub fn transfer(books: &mut Books, command: &Send, now: Timestamp) -> Result<(EntryKind, Postings, Transfer), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let sender = books.wallet(command.sender, currency)?;
    let receiver = books.wallet(command.receiver, currency)?;
    if command.sender == command.receiver {
        return Err(Refusal::SameParty);
    }
    sender.user.check_open()?;
    if !books.policy.offers(currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if sender.user.kind != WalletKind::Funds {
        return Err(Refusal::NotVerified);
    }
    if receiver.user.kind != WalletKind::Funds {
        return Err(Refusal::ReceiverNotVerified);
    }
    if receiver.user.check_open().and(receiver.user.check_not_revoked()).is_err() {
        return Err(Refusal::ReceiverUnavailable);
    }
    sender.user.check_not_revoked()?;
    if sender.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    books.check_limits(&sender.user, Action::Send, amount, now)?;
    let repaid = receiver.repayment(amount.minor);
    books.check_balance_limit(&receiver, Money::new(amount.minor - repaid, currency), now)?;
    if sender.funds.available() < amount.minor {
        return Err(Refusal::InsufficientFunds);
    }

    // After this point the transfer must succeed.
    books.count_limits(&sender.user, Action::Send, amount, now);
    let mut postings = Postings::default();
    let (kind, state) = match command.review {
        true => (EntryKind::Review, TransferState::InReview),
        false => (EntryKind::Transfer, TransferState::Sent),
    };
    if command.review {
        let Send { transfer, sender: from, receiver: to, decision, .. } = *command;
        let of = Reviewed::Transfer { transfer, sender: from, receiver: to, currency };
        reviews::open(books, of, amount, Terms::AtOnce, decision, now);
        postings.reserve(books, kind, sender.funds.key, receiver.funds.key, amount.minor)?;
    } else {
        postings.post(books, kind, sender.funds.key, receiver.receivable.key, repaid)?;
        postings.post(books, kind, sender.funds.key, receiver.funds.key, amount.minor - repaid)?;
    }
    let transfer = Transfer {
        id: command.transfer,
        sender: command.sender,
        receiver: command.receiver,
        amount,
        message: command.message.clone(),
        decision: command.decision,
        state,
        at: now,
    };
    books.transfers.put(transfer.id, transfer.clone());
    Ok((kind, postings, transfer))
}
