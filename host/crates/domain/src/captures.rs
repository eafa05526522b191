//! What becomes of an authorised amount: captured in parts, increased, let go by the merchant, or run out.

use serde::{Deserialize, Serialize};

use crate::accounts::AccountKey;
use crate::bonus;
use crate::books::{Books, Merchant, Postings, Wallet};
use crate::holds;
use crate::ids::{CaptureId, MerchantId, PaymentId, RecordId, UserId};
use crate::limits::Action;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::{Payment, PaymentState};
use crate::time::Timestamp;

/// How long an amount is held unless the payer says otherwise: 7 days.
pub const HOLD_MS: i64 = 7 * 86_400_000;
/// How long an amount may be held at most: 30 days.
pub const HOLD_MS_MAX: i64 = 30 * 86_400_000;

/// Which payment a command is about. The other fields are the payment's own: the store loads by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfPayment {
    /// The payment.
    pub payment: PaymentId,
    /// Who pays.
    pub payer: UserId,
    /// Who is paid.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
}

impl From<&Payment> for OfPayment {
    fn from(payment: &Payment) -> OfPayment {
        let Payment { id, payer, merchant, amount, .. } = payment;
        OfPayment { payment: *id, payer: *payer, merchant: *merchant, currency: amount.currency }
    }
}

/// A merchant's wish to have what is held for it, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// The capture to be.
    pub capture: CaptureId,
    /// Of which payment.
    pub of: OfPayment,
    /// How much, minor units; all that is held if it does not say.
    pub amount: Option<i64>,
    /// Whether the rest is let go.
    pub last: bool,
}

/// A capture that was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Its id.
    pub id: CaptureId,
    /// Of which payment.
    pub payment: PaymentId,
    /// By whom.
    pub merchant: MerchantId,
    /// How much.
    pub amount: Money,
    /// What was let go with it, minor units.
    pub let_go: i64,
    /// Whether it was the last one: nothing is held any more.
    pub last: bool,
    /// The decision that authorised the payment.
    pub decision: Option<RecordId>,
    /// When it was posted.
    pub at: Timestamp,
}

/// Takes from what is held, in spend order, and owes it to the merchant.
pub fn collect(books: &mut Books, command: &Collect, now: Timestamp) -> Result<(Postings, Capture), Refusal> {
    if command.amount.is_some_and(|amount| amount <= 0) {
        return Err(Refusal::AmountNotPositive);
    }
    books.wallet(command.of.payer, command.of.currency)?;
    known(books, &command.of)?;
    // What was authorised is captured also from a frozen user, but never for a frozen merchant.
    merchant_of(books, &command.of)?.check_open()?;
    let (wallet, mut payment) = authorised(books, &command.of, now)?;
    let amount = command.amount.unwrap_or(payment.held());
    if amount > payment.held() {
        return Err(Refusal::CaptureExceedsHold);
    }

    // After this point the capture must succeed.
    let payable = AccountKey::payable(payment.merchant, command.of.currency);
    let mut postings = Postings::default();
    holds::move_parts(
        books,
        &mut postings,
        EntryKind::Capture,
        (&wallet, payable, payable),
        &mut payment.parts,
        amount,
    )?;
    payment.captured += amount;
    let rest = payment.held();
    let last = command.last || rest == 0;
    if last {
        let_go(books, &mut postings, EntryKind::Capture, &mut payment, now)?;
        payment.state = PaymentState::Captured;
    }
    let capture = Capture {
        id: command.capture,
        payment: payment.id,
        merchant: payment.merchant,
        amount: Money::new(amount, command.of.currency),
        let_go: if last { rest } else { 0 },
        last,
        decision: payment.decision,
        at: now,
    };
    books.payments.put(payment.id, payment);
    books.captures.put(capture.id, capture.clone());
    Ok((postings, capture))
}

/// Lets go of all that is held, because the merchant does not want it.
pub fn void(books: &mut Books, of: &OfPayment, now: Timestamp) -> Result<(Postings, Payment), Refusal> {
    let (_, payment) = authorised(books, of, now)?;

    // After this point the void must succeed.
    end(books, EntryKind::Void, payment, (PaymentState::Voided, now))
}

/// Lets go of all that is held, because its time has run out. Somebody sends this; the time decides.
pub fn expire(books: &mut Books, of: &OfPayment, now: Timestamp) -> Result<(Postings, Payment), Refusal> {
    books.wallet(of.payer, of.currency)?;
    let payment = known(books, of)?;
    match payment.state {
        PaymentState::Authorised if payment.expires_at.is_some_and(|at| now < at) => return Err(Refusal::NotExpired),
        PaymentState::Authorised => {}
        PaymentState::InReview => return Err(Refusal::PaymentInReview),
        _ => return Err(Refusal::HoldEnded),
    }

    // After this point the expiry must succeed.
    end(books, EntryKind::HoldExpiry, payment, (PaymentState::Expired, now))
}

fn end(
    books: &mut Books,
    kind: EntryKind,
    mut payment: Payment,
    (state, now): (PaymentState, Timestamp),
) -> Result<(Postings, Payment), Refusal> {
    let mut postings = Postings::default();
    let_go(books, &mut postings, kind, &mut payment, now)?;
    // What was captured stays captured.
    payment.state = if payment.captured > 0 { PaymentState::Captured } else { state };
    books.payments.put(payment.id, payment.clone());
    Ok((postings, payment))
}

/// A payer's wish that more be held, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increase {
    /// Of which payment.
    pub of: OfPayment,
    /// How much more.
    pub amount: Money,
}

/// Holds more for the merchant, in spend order. The hold ends when it would have ended.
pub fn increase(books: &mut Books, command: &Increase, now: Timestamp) -> Result<(Postings, Payment), Refusal> {
    let amount = command.amount;
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.of.payer, command.of.currency)?;
    let mut payment = known(books, &command.of)?;
    wallet.user.check_open()?;
    merchant_of(books, &command.of)?.check_open()?;
    if amount.currency != payment.amount.currency {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if wallet.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    check_held(&payment, now)?;
    let total = payment.amount.minor.checked_add(amount.minor).ok_or(Refusal::Overflow)?;
    books.check_once(&wallet.user, Action::Pay, Money::new(total, amount.currency), now)?;
    books.check_limits(&wallet.user, Action::Pay, amount, now)?;
    let shares = wallet.spend(amount.minor, now)?;

    // After this point the increment must succeed.
    books.count_limits(&wallet.user, Action::Pay, amount, now);
    let payable = AccountKey::payable(payment.merchant, amount.currency);
    let mut postings = Postings::default();
    for (source, share) in shares {
        postings.reserve(books, EntryKind::Authorisation, wallet.account(source), payable, share)?;
        bonus::held(books, source, share)?;
        payment.hold(source, share);
    }
    payment.amount.minor = total;
    books.payments.put(payment.id, payment.clone());
    Ok((postings, payment))
}

fn known(books: &Books, of: &OfPayment) -> Result<Payment, Refusal> {
    let payment = books.payments.get(&of.payment).filter(|payment| OfPayment::from(*payment) == *of);
    payment.cloned().ok_or(Refusal::PaymentNotFound)
}

fn merchant_of<'a>(books: &'a Books, of: &OfPayment) -> Result<&'a Merchant, Refusal> {
    books.merchants.get(&of.merchant).ok_or(Refusal::MerchantNotFound)
}

/// The payment, if its amount is held for the merchant now. An expired hold is over, whether the sweeper has come or not.
fn authorised(books: &Books, of: &OfPayment, now: Timestamp) -> Result<(Wallet, Payment), Refusal> {
    let wallet = books.wallet(of.payer, of.currency)?;
    let payment = known(books, of)?;
    check_held(&payment, now)?;
    Ok((wallet, payment))
}

fn check_held(payment: &Payment, now: Timestamp) -> Result<(), Refusal> {
    match payment.state {
        PaymentState::Authorised if payment.expires_at.is_some_and(|at| now < at) => Ok(()),
        PaymentState::Authorised | PaymentState::Expired => Err(Refusal::HoldExpired),
        PaymentState::InReview => Err(Refusal::PaymentInReview),
        PaymentState::Captured | PaymentState::Voided | PaymentState::Declined => Err(Refusal::HoldEnded),
    }
}

/// Frees what is still held. What the payer owes is repaid first, of money only; prepaid value of a payer verified since becomes
/// funds; bonus whose lot is over is the platform's again.
pub(crate) fn let_go(
    books: &mut Books,
    postings: &mut Postings,
    kind: EntryKind,
    payment: &mut Payment,
    now: Timestamp,
) -> Result<(), Refusal> {
    let payable = AccountKey::payable(payment.merchant, payment.amount.currency);
    holds::free_parts(books, postings, kind, (payment.payer, payable), &mut payment.parts, now)
}
