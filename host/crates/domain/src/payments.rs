//! Paying a merchant: what it takes from whom, at once or held first, and how a payment stands afterwards.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::bonus;
use crate::books::{Books, Postings, Share};
use crate::captures::OfPayment;
use crate::ids::{LotId, MerchantId, PaymentId, RecordId, UserId};
use crate::limits::Action;
use crate::money::Money;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::reviews::{self, Reviewed};
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
    /// Whether it is paid at once or held first.
    pub terms: Terms,
    /// Whether a rule wants a person to look first: then the amount is held until somebody has.
    pub review: bool,
}

/// When the merchant gets the amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terms {
    /// Now.
    AtOnce,
    /// When it captures it; until then the amount is held.
    Held {
        /// For how long, in milliseconds.
        for_ms: i64,
    },
}

/// How a payment stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum PaymentState {
    /// The amount is held for the merchant, who may capture it.
    Authorised = 1,
    /// The amount is held until an operator has looked.
    InReview = 2,
    /// Something was captured, and nothing is held any more.
    Captured = 3,
    /// The merchant let go of all of it.
    Voided = 4,
    /// Nobody captured it, or nobody looked, in time.
    Expired = 5,
    /// An operator said no.
    Declined = 6,
}

impl PaymentState {
    /// Every state, in order of code.
    pub const ALL: [PaymentState; 6] = [
        PaymentState::Authorised,
        PaymentState::InReview,
        PaymentState::Captured,
        PaymentState::Voided,
        PaymentState::Expired,
        PaymentState::Declined,
    ];

    /// The state with this code.
    pub fn from_code(code: u8) -> Option<PaymentState> {
        PaymentState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            PaymentState::Authorised => "authorised",
            PaymentState::InReview => "in-review",
            PaymentState::Captured => "captured",
            PaymentState::Voided => "voided",
            PaymentState::Expired => "expired",
            PaymentState::Declined => "declined",
        }
    }
}

/// What a part of a payment is taken from. Its place here is its code in rows; [`Source::rank`] is its place in spend order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Prepaid value.
    Prepaid,
    /// Funds.
    Funds,
    /// Bonus, of this lot.
    Bonus(LotId),
}

/// A part of a payment, by what it was taken from. Minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From what.
    pub source: Source,
    /// Set aside and not captured yet.
    pub held: i64,
    /// Taken for the merchant.
    pub captured: i64,
    /// Of that, given back.
    pub refunded: i64,
}

/// A payment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Who pays.
    pub payer: UserId,
    /// Who is paid.
    pub merchant: MerchantId,
    /// How much was paid at once or authorised in total.
    pub amount: Money,
    /// How it stands.
    pub state: PaymentState,
    /// What it is taken from, in spend order, each source once.
    pub parts: Vec<Part>,
    /// What the merchant has captured: the sum of the parts, minor units.
    pub captured: i64,
    /// What was given back of that: the sum of the parts, minor units.
    pub refunded: i64,
    /// What of the captured amount is in dispute, minor units. What was lost in one was given back.
    pub disputed: i64,
    /// When what is held is let go, or was to be; none if it was paid at once.
    pub expires_at: Option<Timestamp>,
    /// The merchant's own reference.
    pub reference: Option<String>,
    /// The decision that allowed it.
    pub decision: Option<RecordId>,
    /// When it was posted or authorised.
    pub at: Timestamp,
}

impl Source {
    /// The class of the account that it stands on.
    pub const fn class(self) -> Class {
        match self {
            Source::Prepaid => Class::Prepaid,
            Source::Funds => Class::Funds,
            Source::Bonus(_) => Class::Bonus,
        }
    }

    /// Its place in spend order.
    pub const fn rank(self) -> u8 {
        match self {
            Source::Bonus(_) => 0,
            Source::Prepaid => 1,
            Source::Funds => 2,
        }
    }

    /// Whether it is money and not bonus: only money repays what is owed.
    pub const fn is_money(self) -> bool {
        !matches!(self, Source::Bonus(_))
    }
}

impl Payment {
    /// Adds to what is held of a source, and keeps spend order; lots stay in the order in which they were held.
    pub fn hold(&mut self, source: Source, share: i64) {
        match self.parts.iter_mut().find(|part| part.source == source) {
            Some(part) => part.held += share,
            None => {
                let place = self.parts.iter().take_while(|part| part.source.rank() <= source.rank()).count();
                self.parts.insert(place, Part { source, held: share, captured: 0, refunded: 0 });
            }
        }
    }

    /// What is held and not captured yet, minor units.
    pub fn held(&self) -> i64 {
        self.parts.iter().map(|part| part.held).sum()
    }

    /// What can still be given back, minor units.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded - self.disputed
    }
}

/// Takes the amount in spend order and owes it to the merchant, or holds it until the merchant captures it or somebody has looked.
pub fn pay(books: &mut Books, command: &Pay, now: Timestamp) -> Result<(EntryKind, Postings, Payment), Refusal> {
    let shares = check(books, command, now)?;

    // After this point the payment must succeed.
    let (amount, currency) = (command.amount, command.amount.currency);
    let wallet = books.wallet(command.payer, currency)?;
    books.count_limits(&wallet.user, Action::Pay, amount, now);
    let payable = AccountKey::payable(command.merchant, currency);
    let mut payment = Payment {
        id: command.payment,
        payer: command.payer,
        merchant: command.merchant,
        amount,
        state: PaymentState::Captured,
        parts: Vec::with_capacity(shares.len()),
        captured: 0,
        refunded: 0,
        disputed: 0,
        expires_at: None,
        reference: command.reference.clone(),
        decision: command.decision,
        at: now,
    };
    let kind = match (command.review, command.terms) {
        (true, terms) => {
            let of = Reviewed::Payment(OfPayment::from(&payment));
            payment.state = PaymentState::InReview;
            payment.expires_at = Some(reviews::open(books, of, amount, terms, command.decision, now));
            EntryKind::Review
        }
        (false, Terms::Held { for_ms }) => {
            payment.state = PaymentState::Authorised;
            payment.expires_at = Some(now.plus_ms(for_ms));
            EntryKind::Authorisation
        }
        (false, Terms::AtOnce) => EntryKind::Payment,
    };
    let mut postings = Postings::default();
    for (source, share) in shares {
        if kind == EntryKind::Payment {
            postings.post(books, kind, wallet.account(source), payable, share)?;
            bonus::spent(books, source, share)?;
            payment.parts.push(Part { source, held: 0, captured: share, refunded: 0 });
            payment.captured += share;
        } else {
            postings.reserve(books, kind, wallet.account(source), payable, share)?;
            bonus::held(books, source, share)?;
            payment.hold(source, share);
        }
    }
    if let Some(reference) = &command.reference {
        books.merchant_references.put((command.merchant, reference.clone()), payment.id);
    }
    books.payments.put(payment.id, payment.clone());
    Ok((kind, postings, payment))
}

/// Whether a payment may be made, and what it is taken from.
fn check(books: &Books, command: &Pay, now: Timestamp) -> Result<Vec<Share>, Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.payer, currency)?;
    let merchant = books.merchants.get(&command.merchant).ok_or(Refusal::MerchantNotFound)?;
    wallet.user.check_open()?;
    merchant.check_open()?;
    if !merchant.currencies.contains(&currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if wallet.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    let reference = command.reference.clone().map(|reference| (command.merchant, reference));
    if reference.is_some_and(|reference| books.merchant_references.contains(&reference)) {
        return Err(Refusal::MerchantReferenceUsed);
    }
    books.check_limits(&wallet.user, Action::Pay, amount, now)?;
    wallet.spend(amount.minor, now)
}
