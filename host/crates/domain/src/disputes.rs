//! Disputes: what a payer contests is set aside from the merchant until an operator has decided, and goes to one of the two.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::accounts::{AccountKey, Class};
use crate::bonus;
use crate::books::{Books, Postings};
use crate::captures::OfPayment;
use crate::ids::{DisputeId, OperatorId};
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::Payment;
use crate::refunds;
use crate::time::Timestamp;

/// Most characters of a reason, and of the name under which evidence is kept.
pub const REASON_MAX: usize = 500;
/// The longest that a dispute may wait: 180 days.
pub const DAYS_MAX: u16 = 180;

/// How a dispute stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum DisputeState {
    /// The amount is set aside.
    Open = 1,
    /// The merchant has it again.
    Won = 2,
    /// The payer has it back.
    Lost = 3,
}

impl DisputeState {
    /// Every state, in order of code.
    pub const ALL: [DisputeState; 3] = [DisputeState::Open, DisputeState::Won, DisputeState::Lost];

    /// The state with this code.
    pub fn from_code(code: i16) -> Option<DisputeState> {
        DisputeState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in answers of the API, from the merchant's side.
    pub const fn word(self) -> &'static str {
        match self {
            DisputeState::Open => "open",
            DisputeState::Won => "won",
            DisputeState::Lost => "lost",
        }
    }
}

/// A dispute as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Its id.
    pub id: DisputeId,
    /// About which payment.
    pub of: OfPayment,
    /// How much of what was captured.
    pub amount: Money,
    /// What the payer says.
    pub reason: String,
    /// Where what proves it is kept.
    pub evidence: Option<String>,
    /// How it stands.
    pub state: DisputeState,
    /// Who opened it.
    pub operator: OperatorId,
    /// Since when.
    pub at: Timestamp,
    /// Until when it is to be decided.
    pub due_at: Timestamp,
    /// Who decided it; none if its time ran out.
    pub decider: Option<OperatorId>,
    /// When it was decided.
    pub ended_at: Option<Timestamp>,
    /// What of a lost one repaid an amount that the payer owed, minor units.
    pub repaid: i64,
}

/// An operator's wish to set a contested amount aside, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDispute {
    /// The dispute to be.
    pub dispute: DisputeId,
    /// About which payment. Its fields are the payment's own: the store loads by them.
    pub of: OfPayment,
    /// How much of what was captured.
    pub amount: Money,
    /// What the payer says.
    pub reason: String,
    /// Where what proves it is kept.
    pub evidence: Option<String>,
    /// Who opens it.
    pub operator: OperatorId,
    /// For how many days it may wait; the platform's own time if it does not say.
    pub days: Option<u16>,
}

/// What comes of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// An operator gives the amount back to the merchant.
    Won(OperatorId),
    /// An operator gives it back to the payer.
    Lost(OperatorId),
    /// Nobody decided in time, and the platform's policy is that such a dispute is lost.
    RanOut,
}

/// The end of a dispute, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndDispute {
    /// Which.
    pub dispute: DisputeId,
    /// About which payment. Its fields are the payment's own: the store loads by them.
    pub of: OfPayment,
    /// What comes of it.
    pub outcome: Outcome,
}

/// Sets the amount aside from what the merchant is owed, or from its credit. Refunds and disputes together never exceed what was
/// captured.
pub fn open(books: &mut Books, command: &OpenDispute, now: Timestamp) -> Result<(Postings, Dispute), Refusal> {
    let (of, amount) = (command.of, command.amount);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    books.wallet(of.payer, of.currency)?;
    let mut payment = known(books, &of)?;
    if amount.currency != of.currency {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if amount.minor > payment.refundable() {
        return Err(Refusal::DisputeExceedsPayment);
    }
    if amount.minor > books.can_give(of.merchant, of.currency) {
        return Err(Refusal::MerchantBalanceTooLow);
    }

    // After this point the dispute must be opened.
    let days = command.days.unwrap_or(books.policy.dispute.days);
    let payable = AccountKey::payable(of.merchant, of.currency);
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Dispute, payable, set_aside(&of), amount.minor)?;
    books.tally(of.merchant, of.currency, |tally| tally.disputed += amount.minor);
    payment.disputed += amount.minor;
    books.payments.put(payment.id, payment);
    let dispute = Dispute {
        id: command.dispute,
        of,
        amount,
        reason: command.reason.clone(),
        evidence: command.evidence.clone(),
        state: DisputeState::Open,
        operator: command.operator,
        at: now,
        due_at: now.plus_ms(i64::from(days) * 86_400_000),
        decider: None,
        ended_at: None,
        repaid: 0,
    };
    books.disputes.put(dispute.id, dispute.clone());
    Ok((postings, dispute))
}

/// Ends a dispute, once. Lost, the amount goes to the kinds that paid, in reverse order, as a refund does; what a closed account
/// would get is set aside for its owner.
pub fn end(books: &mut Books, command: &EndDispute, now: Timestamp) -> Result<(Postings, Dispute), Refusal> {
    let wallet = books.wallet(command.of.payer, command.of.currency)?;
    let dispute = books.disputes.get(&command.dispute).filter(|dispute| dispute.of == command.of);
    let mut dispute = dispute.ok_or(Refusal::DisputeNotFound)?.clone();
    let mut payment = known(books, &command.of)?;
    let policy = books.policy.dispute;
    let over = now >= dispute.due_at && policy.lost_when_over;
    let (state, decider) = match command.outcome {
        Outcome::Won(operator) => (DisputeState::Won, Some(operator)),
        Outcome::Lost(operator) => (DisputeState::Lost, Some(operator)),
        Outcome::RanOut => (DisputeState::Lost, None),
    };
    match (dispute.state, command.outcome, over) {
        // Time decides, not whoever sweeps: what has run out is lost, although nobody has come for it yet.
        (DisputeState::Won | DisputeState::Lost, ..) | (_, Outcome::Won(_), true) => {
            return Err(Refusal::DisputeClosed);
        }
        (_, Outcome::RanOut, false) => return Err(Refusal::NotExpired),
        (DisputeState::Open, ..) => {}
    }
    let (amount, of) = (dispute.amount, dispute.of);
    let closed = wallet.user.access == Access::Closed;
    let back = refunds::divide(books, &wallet, &payment, amount.minor, now)?;
    if state == DisputeState::Lost && !closed {
        books.check_balance_limit(&wallet, Money::new(back.to_wallet(), of.currency), now)?;
    }

    // After this point the dispute must end.
    let mut postings = Postings::default();
    payment.disputed -= amount.minor;
    match state {
        DisputeState::Lost if closed => {
            // Its bonus ended with the account: what came from there is the platform's.
            let kept = AccountKey::platform(Class::ClosedBalances, of.currency);
            let money = back.repaid + back.money();
            postings.post(books, EntryKind::Dispute, set_aside(&of), kept, money)?;
            let expense = bonus::expense(of.currency);
            postings.post(books, EntryKind::Dispute, set_aside(&of), expense, amount.minor - money)?;
            back.note(&mut payment);
        }
        DisputeState::Lost => {
            let from = (EntryKind::Dispute, set_aside(&of));
            refunds::give_back(books, &mut postings, from, &mut payment, &back)?;
            dispute.repaid = back.repaid;
        }
        DisputeState::Open | DisputeState::Won => {
            let payable = AccountKey::payable(of.merchant, of.currency);
            postings.post(books, EntryKind::Dispute, set_aside(&of), payable, amount.minor)?;
            books.tally(of.merchant, of.currency, |tally| tally.returned += amount.minor);
        }
    }
    (dispute.state, dispute.decider, dispute.ended_at) = (state, decider, Some(now));
    books.payments.put(payment.id, payment);
    books.disputes.put(dispute.id, dispute.clone());
    Ok((postings, dispute))
}

/// Where a merchant's contested amounts wait.
fn set_aside(of: &OfPayment) -> AccountKey {
    AccountKey { class: Class::Disputed, ..AccountKey::payable(of.merchant, of.currency) }
}

fn known(books: &Books, of: &OfPayment) -> Result<Payment, Refusal> {
    let payment = books.payments.get(&of.payment).filter(|payment| OfPayment::from(*payment) == *of);
    payment.cloned().ok_or(Refusal::PaymentNotFound)
}
