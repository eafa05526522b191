//! Sending money from one verified user to another.

use serde::{Deserialize, Serialize};

use crate::books::{Books, Postings};
use crate::ids::{RecordId, TransferId, UserId};
use crate::limits::{Action, WalletKind};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
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
}

/// A transfer that was posted.
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
    /// When it was posted.
    pub at: Timestamp,
}

/// Moves funds from sender to receiver; what the receiver owes is repaid first.
pub fn transfer(books: &mut Books, command: &Send, now: Timestamp) -> Result<(Postings, Transfer), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let sender = books.wallet(command.sender, currency)?;
    let receiver = books.wallet(command.receiver, currency)?;
    if command.sender == command.receiver {
        return Err(Refusal::SameParty);
    }
    if !books.policy.offers(currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if sender.user.kind != WalletKind::Funds {
        return Err(Refusal::NotVerified);
    }
    if receiver.user.kind != WalletKind::Funds {
        return Err(Refusal::ReceiverNotVerified);
    }
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
    postings.post(books, EntryKind::Transfer, sender.funds.key, receiver.receivable.key, repaid)?;
    postings.post(books, EntryKind::Transfer, sender.funds.key, receiver.funds.key, amount.minor - repaid)?;
    let transfer = Transfer {
        id: command.transfer,
        sender: command.sender,
        receiver: command.receiver,
        amount,
        message: command.message.clone(),
        decision: command.decision,
        at: now,
    };
    books.transfers.put(transfer.id, transfer.clone());
    Ok((postings, transfer))
}
