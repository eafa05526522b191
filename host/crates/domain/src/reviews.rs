//! Reviews: an amount that a fraud rule wants a person to look at is held until an operator has decided, or nobody has in time.

use serde::{Deserialize, Serialize};

use crate::accounts::AccountKey;
use crate::bonus;
use crate::books::{Books, Postings};
use crate::captures::{OfPayment, let_go};
use crate::ids::{OperatorId, RecordId, ReviewId, TransferId, UserId};
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::{Payment, PaymentState, Terms};
use crate::time::Timestamp;
use crate::transfers::{Transfer, TransferState};

/// What is looked at. The fields beside the id are its own: the store loads by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reviewed {
    /// A payment.
    Payment(OfPayment),
    /// A transfer.
    Transfer {
        /// Which.
        transfer: TransferId,
        /// Who sends.
        sender: UserId,
        /// Who receives.
        receiver: UserId,
        /// In which currency.
        currency: Currency,
    },
}

impl Reviewed {
    /// The review of it: it has the same bits as the payment or transfer.
    pub fn review(&self) -> ReviewId {
        match self {
            Reviewed::Payment(of) => ReviewId(of.payment.0),
            Reviewed::Transfer { transfer, .. } => ReviewId(transfer.0),
        }
    }

    /// Who shall have it, by id alone.
    pub fn payee(&self) -> uuid::Uuid {
        match self {
            Reviewed::Payment(of) => of.merchant.0,
            Reviewed::Transfer { receiver, .. } => receiver.0,
        }
    }

    /// Whose money is held.
    pub fn payer(&self) -> UserId {
        match self {
            Reviewed::Payment(of) => of.payer,
            Reviewed::Transfer { sender, .. } => *sender,
        }
    }
}

/// How a review stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ReviewState {
    /// Nobody has decided yet.
    Open = 1,
    /// An operator said yes.
    Approved = 2,
    /// An operator said no.
    Declined = 3,
    /// Nobody decided in time.
    Expired = 4,
}

impl ReviewState {
    /// Every state, in order of code.
    pub const ALL: [ReviewState; 4] =
        [ReviewState::Open, ReviewState::Approved, ReviewState::Declined, ReviewState::Expired];

    /// The state with this code.
    pub fn from_code(code: u8) -> Option<ReviewState> {
        ReviewState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            ReviewState::Open => "open",
            ReviewState::Approved => "approved",
            ReviewState::Declined => "declined",
            ReviewState::Expired => "expired",
        }
    }
}

/// A review as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// What is looked at.
    pub of: Reviewed,
    /// How much is held.
    pub amount: Money,
    /// What happens to a payment that is approved.
    pub terms: Terms,
    /// The decision that asked for it.
    pub decision: Option<RecordId>,
    /// How it stands.
    pub state: ReviewState,
    /// Since when.
    pub at: Timestamp,
    /// When it ends without a decision.
    pub expires_at: Timestamp,
    /// Who decided.
    pub operator: Option<OperatorId>,
    /// When it was decided or ended.
    pub ended_at: Option<Timestamp>,
}

/// What comes of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ruling {
    /// An operator says yes.
    Approved(OperatorId),
    /// An operator says no.
    Declined(OperatorId),
    /// Its time has run out.
    Expired,
}

/// The end of a review, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclude {
    /// What was looked at.
    pub of: Reviewed,
    /// What comes of it.
    pub ruling: Ruling,
}

/// What was looked at, as it stands after its review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Concluded {
    /// A payment.
    Payment(Payment),
    /// A transfer.
    Transfer(Transfer),
}

/// The books' part of a review's end.
type Ended = (EntryKind, Postings, Concluded);

/// Opens the review of an amount that has just been held.
pub(crate) fn open(
    books: &mut Books,
    of: Reviewed,
    amount: Money,
    terms: Terms,
    decision: Option<RecordId>,
    now: Timestamp,
) -> Timestamp {
    let expires_at = now.plus_ms(books.policy.review.ms());
    let review = Review {
        id: of.review(),
        of,
        amount,
        terms,
        decision,
        state: ReviewState::Open,
        at: now,
        expires_at,
        operator: None,
        ended_at: None,
    };
    books.reviews.put(review.id, review);
    expires_at
}

/// Ends a review: what it holds goes on its way or back to where it was. One end wins; the time decides about the last one.
pub fn conclude(books: &mut Books, command: &Conclude, now: Timestamp) -> Result<(Ended, Review), Refusal> {
    let review = books.reviews.get(&command.of.review()).filter(|review| review.of == command.of);
    let mut review = review.ok_or(Refusal::ReviewNotFound)?.clone();
    if matches!(command.ruling, Ruling::Approved(_)) {
        check_open(books, &command.of)?;
    }
    let over = now >= review.expires_at;
    let (state, operator) = match command.ruling {
        Ruling::Approved(operator) => (ReviewState::Approved, Some(operator)),
        Ruling::Declined(operator) => (ReviewState::Declined, Some(operator)),
        Ruling::Expired => (ReviewState::Expired, None),
    };
    match (review.state, state, over) {
        (ReviewState::Open, ReviewState::Expired, false) => return Err(Refusal::NotExpired),
        (ReviewState::Open, ReviewState::Expired, true) | (ReviewState::Open, _, false) => {}
        _ => return Err(Refusal::ReviewClosed),
    }
    let ended = match &command.of {
        Reviewed::Payment(of) => {
            let payment = books.payments.get(&of.payment).ok_or(Refusal::PaymentNotFound)?.clone();
            payment_ends(books, payment, state, review.terms, now)?
        }
        Reviewed::Transfer { transfer, .. } => {
            let transfer = books.transfers.get(transfer).ok_or(Refusal::ReviewNotFound)?.clone();
            transfer_ends(books, transfer, state)?
        }
    };
    (review.state, review.operator, review.ended_at) = (state, operator, Some(now));
    books.reviews.put(review.id, review.clone());
    Ok((ended, review))
}

/// Whether those it is about may still deal: what was frozen since is not approved.
fn check_open(books: &Books, of: &Reviewed) -> Result<(), Refusal> {
    match of {
        Reviewed::Payment(of) => {
            books.wallet(of.payer, of.currency)?.user.check_open()?;
            books.merchants.get(&of.merchant).ok_or(Refusal::MerchantNotFound)?.check_open()
        }
        Reviewed::Transfer { sender, receiver, currency, .. } => {
            books.wallet(*sender, *currency)?.user.check_open()?;
            let receiver = books.wallet(*receiver, *currency)?.user;
            match receiver.check_open().and(receiver.check_not_revoked()) {
                Ok(()) => Ok(()),
                Err(_) => Err(Refusal::ReceiverUnavailable),
            }
        }
    }
}

fn payment_ends(
    books: &mut Books,
    mut payment: Payment,
    ruling: ReviewState,
    terms: Terms,
    now: Timestamp,
) -> Result<Ended, Refusal> {
    let mut postings = Postings::default();
    let mut kind = EntryKind::Review;
    match (ruling, terms) {
        (ReviewState::Approved, Terms::AtOnce) => {
            kind = EntryKind::Payment;
            let wallet = books.wallet(payment.payer, payment.amount.currency)?;
            let payable = AccountKey::payable(payment.merchant, payment.amount.currency);
            for part in &mut payment.parts {
                let (from, share) = (wallet.account(part.source), std::mem::take(&mut part.held));
                postings.release(books, kind, from, payable, share)?;
                postings.post(books, kind, from, payable, share)?;
                bonus::captured(books, part.source, share)?;
                part.captured += share;
                payment.captured += share;
            }
            payment.state = PaymentState::Captured;
        }
        // It is held already, and from now on for the merchant.
        (ReviewState::Approved, Terms::Held { for_ms }) => {
            payment.state = PaymentState::Authorised;
            payment.expires_at = Some(now.plus_ms(for_ms));
        }
        (ruling, _) => {
            let_go(books, &mut postings, kind, &mut payment, now)?;
            payment.state =
                if ruling == ReviewState::Declined { PaymentState::Declined } else { PaymentState::Expired };
        }
    }
    books.payments.put(payment.id, payment.clone());
    Ok((kind, postings, Concluded::Payment(payment)))
}

fn transfer_ends(books: &mut Books, mut transfer: Transfer, ruling: ReviewState) -> Result<Ended, Refusal> {
    let (amount, currency) = (transfer.amount.minor, transfer.amount.currency);
    let sender = books.wallet(transfer.sender, currency)?;
    let receiver = books.wallet(transfer.receiver, currency)?;
    let approved = ruling == ReviewState::Approved;
    let kind = if approved { EntryKind::Transfer } else { EntryKind::Review };
    let mut postings = Postings::default();
    postings.release(books, kind, sender.funds.key, receiver.funds.key, amount)?;
    // Whoever gets it repays first what they owe.
    let to = if approved { &receiver } else { &sender };
    let repaid = to.repayment(amount);
    postings.post(books, kind, sender.funds.key, to.receivable.key, repaid)?;
    if approved {
        postings.post(books, kind, sender.funds.key, receiver.funds.key, amount - repaid)?;
    }
    transfer.state = match ruling {
        ReviewState::Approved => TransferState::Sent,
        ReviewState::Declined => TransferState::Declined,
        ReviewState::Expired | ReviewState::Open => TransferState::Expired,
    };
    books.transfers.put(transfer.id, transfer.clone());
    Ok((kind, postings, Concluded::Transfer(transfer)))
}
