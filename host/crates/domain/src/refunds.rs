//! Giving a payment back, in part or whole: to the kinds that paid, in reverse order.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::accounts::AccountKey;
use crate::books::{Books, Postings};
use crate::ids::{MerchantId, PaymentId, RefundId, UserId};
use crate::limits::WalletKind;
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// A merchant's wish to give back, as it enters the commit queue. Payer and merchant are the payment's own: the store loads by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// The refund to be.
    pub refund: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// Who was paid.
    pub merchant: MerchantId,
    /// Who paid.
    pub payer: UserId,
    /// How much.
    pub amount: Money,
}

/// A refund that was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// By whom.
    pub merchant: MerchantId,
    /// To whom.
    pub payer: UserId,
    /// How much.
    pub amount: Money,
    /// What of it repaid an amount due, minor units.
    pub repaid: i64,
    /// When it was posted.
    pub at: Timestamp,
}

/// Gives back in reverse spend order; what the payer owes is repaid first. A payer verified since gets funds.
pub fn refund(books: &mut Books, command: &GiveBack, now: Timestamp) -> Result<(Postings, Refund), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.payer, currency)?;
    let mut payment = books
        .payments
        .get(&command.payment)
        .filter(|payment| payment.merchant == command.merchant && payment.payer == command.payer)
        .ok_or(Refusal::PaymentNotFound)?
        .clone();
    // A frozen user is given back what is theirs; a closed account takes nothing any more.
    if wallet.user.access == Access::Closed {
        return Err(Refusal::AccountClosed);
    }
    if payment.amount.currency != currency {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if amount.minor > payment.refundable() {
        return Err(Refusal::RefundExceedsPayment);
    }
    let repaid = wallet.repayment(amount.minor);
    let more = Money::new(amount.minor - repaid, currency);
    books.check_balance_limit(&wallet, more, now)?;
    let payable = books.account(AccountKey::payable(command.merchant, currency));
    if payable.available() < amount.minor {
        return Err(Refusal::MerchantBalanceTooLow);
    }

    // After this point the refund must succeed.
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Refund, payable.key, wallet.receivable.key, repaid)?;
    let (mut left, mut owed) = (amount.minor, repaid);
    for part in payment.parts.iter_mut().rev() {
        let share = left.min(part.captured - part.refunded);
        let kept = owed.min(share);
        part.refunded += share;
        (left, owed) = (left - share, owed - kept);
        let home = match wallet.user.kind {
            WalletKind::Funds => wallet.funds.key,
            WalletKind::Prepaid => wallet.account(part.source),
        };
        postings.post(books, EntryKind::Refund, payable.key, home, share - kept)?;
    }
    payment.refunded += amount.minor;
    let refund = Refund {
        id: command.refund,
        payment: payment.id,
        merchant: payment.merchant,
        payer: payment.payer,
        amount,
        repaid,
        at: now,
    };
    books.payments.put(payment.id, payment);
    books.refunds.put(refund.id, refund.clone());
    Ok((postings, refund))
}
