//! Paying a merchant and giving it back: what it takes from whom, and what is left to give back.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::books::{Books, Postings};
use crate::ids::{MerchantId, PaymentId, RecordId, RefundId, UserId};
use crate::limits::{Action, WalletKind};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// A payer's wish, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pay {
    /// The payment to be.
    pub payment: PaymentId,
    /// Who pays.
    pub payer: UserId,
    /// Who is paid.
    pub merchant: MerchantId,
    /// How much.
    pub amount: Money,
    /// The merchant's own reference, unique for it.
    pub reference: Option<String>,
    /// The decision that allowed it; none only where the operator runs without a fraud rule.
    pub decision: Option<RecordId>,
}

/// A payment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Who paid.
    pub payer: UserId,
    /// Who was paid.
    pub merchant: MerchantId,
    /// How much.
    pub amount: Money,
    /// Taken from prepaid value, minor units.
    pub from_prepaid: i64,
    /// Taken from funds, minor units.
    pub from_funds: i64,
    /// Given back of what came from prepaid value.
    pub refunded_prepaid: i64,
    /// Given back of what came from funds.
    pub refunded_funds: i64,
    /// The merchant's own reference.
    pub reference: Option<String>,
    /// The decision that allowed it.
    pub decision: Option<RecordId>,
    /// When it was posted.
    pub at: Timestamp,
}

impl Payment {
    /// What can still be given back, minor units.
    pub fn refundable(&self) -> i64 {
        self.amount.minor - self.refunded_prepaid - self.refunded_funds
    }
}

/// Takes the amount in spend order and owes it to the merchant.
pub fn pay(books: &mut Books, command: &Pay, now: Timestamp) -> Result<(Postings, Payment), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.payer, currency)?;
    let merchant = books.merchants.get(&command.merchant).ok_or(Refusal::MerchantNotFound)?;
    if !merchant.currencies.contains(&currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if wallet.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    let reference = command.reference.clone().map(|reference| (command.merchant, reference));
    if reference.as_ref().is_some_and(|reference| books.merchant_references.contains(reference)) {
        return Err(Refusal::MerchantReferenceUsed);
    }
    books.check_limits(&wallet.user, Action::Pay, amount, now)?;
    let parts = wallet.spend(amount.minor)?;

    // After this point the payment must succeed.
    books.count_limits(&wallet.user, Action::Pay, amount, now);
    let mut postings = Postings::default();
    let mut payment = Payment {
        id: command.payment,
        payer: command.payer,
        merchant: command.merchant,
        amount,
        from_prepaid: 0,
        from_funds: 0,
        refunded_prepaid: 0,
        refunded_funds: 0,
        reference: command.reference.clone(),
        decision: command.decision,
        at: now,
    };
    for (class, part) in parts {
        let payable = AccountKey::payable(command.merchant, currency);
        postings.post(books, EntryKind::Payment, wallet.account(class), payable, part)?;
        match class {
            Class::Funds => payment.from_funds += part,
            _ => payment.from_prepaid += part,
        }
    }
    if let Some(reference) = reference {
        books.merchant_references.put(reference, payment.id);
    }
    books.payments.put(payment.id, payment.clone());
    Ok((postings, payment))
}

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
    let to_funds = amount.minor.min(payment.from_funds - payment.refunded_funds);
    let to_prepaid = amount.minor - to_funds;
    payment.refunded_funds += to_funds;
    payment.refunded_prepaid += to_prepaid;
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Refund, payable.key, wallet.receivable.key, repaid)?;
    let mut owed = repaid;
    for (class, part) in [(Class::Funds, to_funds), (Class::Prepaid, to_prepaid)] {
        let kept = owed.min(part);
        owed -= kept;
        let home = match wallet.user.kind {
            WalletKind::Funds => wallet.funds.key,
            WalletKind::Prepaid => wallet.account(class),
        };
        postings.post(books, EntryKind::Refund, payable.key, home, part - kept)?;
    }
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
