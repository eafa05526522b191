//! Giving a payment back, in part or whole: to the kinds that paid, in reverse order.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::accounts::AccountKey;
use crate::bonus;
use crate::books::{Books, Postings, Wallet};
use crate::ids::{MerchantId, PaymentId, RefundId, UserId};
use crate::limits::WalletKind;
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::{Payment, Source};
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
    /// What of it went back to lots of bonus, minor units.
    pub bonus: i64,
    /// What of it had been paid from lots that are over: nobody gets it back, minor units.
    pub lapsed: i64,
}

/// Gives back in reverse spend order, bonus to the lot it came from; what the payer owes is repaid first, of money only. A payer
/// verified since gets funds. Bonus of a lot that is over is not revived: it is the platform's again.
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
    let back = divide(books, &wallet, &payment, amount.minor, now)?;
    books.check_balance_limit(&wallet, Money::new(back.to_wallet(), currency), now)?;
    if books.can_give(command.merchant, currency) < amount.minor {
        return Err(Refusal::MerchantBalanceTooLow);
    }

    // After this point the refund must succeed.
    let mut postings = Postings::default();
    let payable = AccountKey::payable(command.merchant, currency);
    give_back(books, &mut postings, (EntryKind::Refund, payable), &mut payment, &back)?;
    let refund = Refund {
        id: command.refund,
        payment: payment.id,
        merchant: payment.merchant,
        payer: payment.payer,
        amount,
        repaid: back.repaid,
        at: now,
        bonus: back.bonus,
        lapsed: back.lapsed,
    };
    books.payments.put(payment.id, payment);
    books.refunds.put(refund.id, refund.clone());
    Ok((postings, refund))
}

/// Where an amount goes that is given back. Minor units.
#[derive(Debug, Default)]
pub(crate) struct Back {
    /// What each part gives back, the last that was spent first.
    shares: Vec<ShareBack>,
    /// What repays an amount due.
    pub(crate) repaid: i64,
    /// What goes back to lots.
    pub(crate) bonus: i64,
    /// What came from lots that are over.
    pub(crate) lapsed: i64,
    /// What goes back as money, beside what repays.
    money: i64,
}

#[derive(Debug)]
struct ShareBack {
    /// The part's place in the payment.
    place: usize,
    share: i64,
    /// Whether it came from a lot that is over.
    lapses: bool,
}

impl Back {
    /// By how much the wallet will hold more.
    pub(crate) fn to_wallet(&self) -> i64 {
        self.money + self.bonus
    }

    /// What goes back as money, beside what repays.
    pub(crate) fn money(&self) -> i64 {
        self.money
    }

    /// Notes on a payment that all of it was given back, to somebody who has no wallet any more.
    pub(crate) fn note(&self, payment: &mut Payment) {
        for ShareBack { place, share, .. } in &self.shares {
            payment.parts[*place].refunded += share;
            payment.refunded += share;
        }
    }
}

/// Divides an amount over the parts of a payment in reverse spend order.
pub(crate) fn divide(
    books: &Books,
    wallet: &Wallet,
    payment: &Payment,
    amount: i64,
    now: Timestamp,
) -> Result<Back, Refusal> {
    let mut back = Back::default();
    let mut left = amount;
    for (place, part) in payment.parts.iter().enumerate().rev() {
        let share = left.min(part.captured - part.refunded);
        if share == 0 {
            continue;
        }
        left -= share;
        let lapses = match part.source {
            Source::Bonus(lot) => bonus::is_over(books, lot, now)?,
            Source::Prepaid | Source::Funds => false,
        };
        match (part.source.is_money(), lapses) {
            (true, _) => back.money += share,
            (false, false) => back.bonus += share,
            (false, true) => back.lapsed += share,
        }
        back.shares.push(ShareBack { place, share, lapses });
    }
    back.repaid = wallet.repayment(back.money);
    back.money -= back.repaid;
    Ok(back)
}

/// Posts what was divided out of this account, and notes it in the payment and its lots.
pub(crate) fn give_back(
    books: &mut Books,
    postings: &mut Postings,
    (kind, from): (EntryKind, AccountKey),
    payment: &mut Payment,
    back: &Back,
) -> Result<(), Refusal> {
    let wallet = books.wallet(payment.payer, from.currency)?;
    postings.post(books, kind, from, wallet.receivable.key, back.repaid)?;
    let mut owed = back.repaid;
    for ShareBack { place, share, lapses } in &back.shares {
        let part = &mut payment.parts[*place];
        part.refunded += share;
        payment.refunded += share;
        if part.source.is_money() {
            let kept = owed.min(*share);
            owed -= kept;
            let home = match wallet.user.kind {
                WalletKind::Funds => wallet.funds.key,
                WalletKind::Prepaid => wallet.account(part.source),
            };
            postings.post(books, kind, from, home, share - kept)?;
        } else if *lapses {
            postings.post(books, kind, from, bonus::expense(from.currency), *share)?;
        } else {
            bonus::returned(books, part.source, *share)?;
            postings.post(books, kind, from, wallet.bonus.key, *share)?;
        }
    }
    Ok(())
}
