//! Events: what the outside world is told of a commit, in words that stay the same.
//!
//! A commit turns what its commands did into [`News`] with the event's public body. Stored answers may change
//! from version to version; these bodies may only grow. `docs/reference/events.md` is made from this file and the examples of its test.

mod concern;
mod merchants;

pub use concern::{Concern, concern};
use serde::Serialize;
use serde_json::Value;

use crate::bonus::Lot;
use crate::exchanges::{Exchange, Rate};
use crate::ids::{
    CampaignId, EventId, ExchangeId, FileId, FlowId, LotId, MerchantId, PaymentId, RecordId, TransferId, UserId,
};
use crate::ledger::{Answer, Command, News};
use crate::money::{Currency, Money};
use crate::payments::{Payment, PaymentState};
use crate::reviews::Concluded;
use crate::time::Timestamp;
use crate::transfers::{Transfer, TransferState};

/// The version of the bodies. Fields may be added under the same version; nothing is taken away or given another meaning.
pub const VERSION: u32 = 1;

/// The largest body that is sent, in bytes. A larger one is sent without its data.
pub const BODY_BYTES_MAX: usize = 20_000;

/// The type of the event that only a test sends.
pub const TEST: &str = "webhook.test";

/// Who is told, beside the platform itself, which is told everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The merchant that it is about.
    Merchant,
    /// Nobody else.
    Platform,
    /// The endpoint that asked for it.
    Asker,
}

/// One type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// Its name: a noun and what became of it.
    pub name: &'static str,
    /// Who is told.
    pub audience: Audience,
    /// When it arises, as a sentence.
    pub when: &'static str,
    /// What its `data` is.
    pub data: &'static str,
}

/// Every type of event there is.
pub const CATALOGUE: &[EventType] = &[
    row(
        "payment.captured",
        Audience::Merchant,
        "A payment was paid at once, or after a review.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.authorised",
        Audience::Merchant,
        "The amount of a payment is held for the merchant.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.increased",
        Audience::Merchant,
        "More of a payment is held for the merchant.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.in_review",
        Audience::Merchant,
        "The amount of a payment is held until an operator has looked.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.declined",
        Audience::Merchant,
        "An operator declined a payment after a review; nothing of it is held any more.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.voided",
        Audience::Merchant,
        "The merchant let go of what was held.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "payment.expired",
        Audience::Merchant,
        "What was held was let go, because nobody captured it or looked at it in time.",
        "the payment, as `GET /v1/payments/{id}` gives it",
    ),
    row(
        "capture.posted",
        Audience::Merchant,
        "The merchant captured what was held, in part or whole.",
        "the capture, as the list of captures gives it",
    ),
    row(
        "refund.posted",
        Audience::Merchant,
        "A payment was given back, in part or whole.",
        "the refund, as the list of refunds gives it",
    ),
    row(
        "dispute.opened",
        Audience::Merchant,
        "A contested amount was set aside from what the merchant is owed.",
        "the dispute, as `GET /v1/merchant/disputes/{id}` gives it",
    ),
    row(
        "dispute.won",
        Audience::Merchant,
        "The merchant has a contested amount again.",
        "the dispute, as `GET /v1/merchant/disputes/{id}` gives it",
    ),
    row(
        "dispute.lost",
        Audience::Merchant,
        "A contested amount was given back to the payer.",
        "the dispute, as `GET /v1/merchant/disputes/{id}` gives it",
    ),
    row(
        "closing.made",
        Audience::Merchant,
        "A period was closed with the merchant.",
        "the closing, as `GET /v1/merchant/closings/{id}` gives it",
    ),
    row(
        "closing.paid",
        Audience::Merchant,
        "What a closing says was paid out.",
        "the closing, as `GET /v1/merchant/closings/{id}` gives it",
    ),
    row("charge.credited", Audience::Platform, "A partner brought money for a wallet.", "what came, and where it went"),
    row(
        "charge.reversed",
        Audience::Platform,
        "A partner took a credit back.",
        "what was taken, and what the user owes now",
    ),
    row(
        "transfer.posted",
        Audience::Platform,
        "A user sent money to another.",
        "the transfer, as `GET /v1/transfers/{id}` gives it",
    ),
    row(
        "transfer.in_review",
        Audience::Platform,
        "The amount of a transfer is held until an operator has looked.",
        "the transfer, as `GET /v1/transfers/{id}` gives it",
    ),
    row(
        "transfer.declined",
        Audience::Platform,
        "An operator declined a transfer after a review; the sender has the money.",
        "the transfer, as `GET /v1/transfers/{id}` gives it",
    ),
    row(
        "transfer.expired",
        Audience::Platform,
        "Nobody looked at a transfer in time; the sender has the money.",
        "the transfer, as `GET /v1/transfers/{id}` gives it",
    ),
    row(
        "exchange.posted",
        Audience::Platform,
        "A user exchanged one currency for another.",
        "the exchange, as `GET /v1/exchanges/{id}` gives it",
    ),
    row("bonus.granted", Audience::Platform, "A campaign granted a user bonus.", "the lot"),
    row(
        "bonus.released",
        Audience::Platform,
        "An operator let a user spend a lot of bonus before its date.",
        "the lot",
    ),
    row(
        "bonus.expired",
        Audience::Platform,
        "The time of a lot of bonus ran out, and something was left of it.",
        "the lot, and what was left of it",
    ),
    row(
        "bonus.revoked",
        Audience::Platform,
        "An operator took back what was left of a lot of bonus, or a plugin some of what it gave.",
        "the lot, and what was taken back",
    ),
    row("user.verified", Audience::Platform, "A user was verified.", "who, and what became funds"),
    row("settlement.matched", Audience::Platform, "A partner's settlement file was taken.", "the file's figures"),
    row("difference.closed", Audience::Platform, "An operator closed a difference.", "what was lost or set aside"),
    row(TEST, Audience::Asker, "Somebody asked for a test.", "one sentence"),
];

const fn row(name: &'static str, audience: Audience, when: &'static str, data: &'static str) -> EventType {
    EventType { name, audience, when, data }
}

/// The type with this name.
pub fn find(name: &str) -> Option<&'static EventType> {
    CATALOGUE.iter().find(|known| known.name == name)
}

/// The news of one command that was done; none if nobody outside is told of it. `command` is none where the answer is the step's own.
pub fn of(id: EventId, command: Option<&Command>, answer: &Answer, at: Timestamp) -> Option<News> {
    let news = |kind: &str, merchant, data: String| Some(News { id, kind: kind.to_owned(), merchant, body: data, at });
    match (answer, command) {
        (Answer::Paid(payment), _) => news(word_of(payment), Some(payment.merchant), json(&PaymentData::of(payment))),
        (Answer::Reviewed(ended), _) => match &ended.1 {
            Concluded::Payment(payment) => {
                news(word_of(payment), Some(payment.merchant), json(&PaymentData::of(payment)))
            }
            Concluded::Transfer(transfer) => news(word_of_transfer(transfer), None, json(&TransferData::of(transfer))),
        },
        (Answer::Voided(payment), _) => news("payment.voided", Some(payment.merchant), json(&PaymentData::of(payment))),
        (Answer::Lapsed(payment), _) => {
            news("payment.expired", Some(payment.merchant), json(&PaymentData::of(payment)))
        }
        (Answer::Increased(payment), _) => {
            news("payment.increased", Some(payment.merchant), json(&PaymentData::of(payment)))
        }
        (Answer::Captured(capture), _) => news("capture.posted", Some(capture.merchant), merchants::capture(capture)),
        (Answer::Refunded(refund), _) => news("refund.posted", Some(refund.merchant), merchants::refund(refund)),
        (Answer::Transferred(transfer), _) => news(word_of_transfer(transfer), None, json(&TransferData::of(transfer))),
        (Answer::Granted(lot), Some(Command::Grant(_) | Command::Gift(_))) => {
            news("bonus.granted", None, json(&LotData::of(lot, None, at)))
        }
        (Answer::Granted(lot), _) => news("bonus.released", None, json(&LotData::of(lot, None, at))),
        (Answer::Ended(ended), command) => {
            let taken_back = matches!(command, Some(Command::Revoke(_) | Command::TakeBack(_)));
            let kind = if taken_back { "bonus.revoked" } else { "bonus.expired" };
            news(kind, None, json(&LotData::of(&ended.lot, Some(ended.taken), at)))
        }
        (Answer::Contested(dispute) | Answer::Adjudged(dispute), _) => {
            news(merchants::word_of_dispute(dispute), Some(dispute.of.merchant), merchants::dispute(dispute))
        }
        (Answer::Closing(Some(closing)) | Answer::PaidOut(closing), _) => {
            news(merchants::word_of_closing(closing), Some(closing.merchant), merchants::closing(closing))
        }
        (Answer::Exchanged(exchange), _) => news("exchange.posted", None, json(&ExchangeData::of(exchange))),
        (Answer::Credited(credited), Some(Command::Credit(credit))) => {
            let data = CreditData {
                charge: credit.flow,
                user: credit.user,
                amount: credit.amount.minor,
                currency: credit.amount.currency,
                reference: &credit.reference,
                repaid: credited.repaid,
                suspended: credited.suspended.map(|refusal| refusal.code()),
                at: at.to_string(),
            };
            news("charge.credited", None, json(&data))
        }
        (Answer::Reversed(owed), Some(Command::Reverse(reversal))) => {
            let data = ReversalData {
                charge: reversal.flow,
                user: reversal.user,
                amount: reversal.amount.minor,
                currency: reversal.amount.currency,
                reference: &reversal.reference,
                of: &reversal.of,
                receivable: *owed,
                at: at.to_string(),
            };
            news("charge.reversed", None, json(&data))
        }
        (Answer::Verified(user, converted), _) => {
            news("user.verified", None, json(&VerifiedData { user: *user, converted: *converted, at: at.to_string() }))
        }
        (Answer::Settled(settled), Some(Command::Settle(settle))) => {
            let data = SettledData {
                file: settle.file,
                matched: settled.matched,
                repeated: settled.repeated,
                differences: settled.differences,
                released: settled.released,
                at: at.to_string(),
            };
            news("settlement.matched", None, json(&data))
        }
        (Answer::WrittenOff(closed), Some(Command::WriteOff(command))) => {
            let data = ClosedData {
                reference: &command.reference,
                lost: closed.lost.minor,
                to_suspense: closed.to_suspense.minor,
                currency: closed.lost.currency,
                at: at.to_string(),
            };
            news("difference.closed", None, json(&data))
        }
        _ => None,
    }
}

/// What is told of a payment that was made, held or looked at.
fn word_of(payment: &Payment) -> &'static str {
    match payment.state {
        PaymentState::Authorised => "payment.authorised",
        PaymentState::InReview => "payment.in_review",
        PaymentState::Captured => "payment.captured",
        PaymentState::Voided => "payment.voided",
        PaymentState::Expired => "payment.expired",
        PaymentState::Declined => "payment.declined",
    }
}

/// What is told of a transfer.
fn word_of_transfer(transfer: &Transfer) -> &'static str {
    match transfer.state {
        TransferState::Sent => "transfer.posted",
        TransferState::InReview => "transfer.in_review",
        TransferState::Declined => "transfer.declined",
        TransferState::Expired => "transfer.expired",
    }
}

/// The body of one delivery: what is signed and sent. `sequence` counts what this endpoint was given.
pub fn message(news: &News, sequence: i64) -> String {
    let whole = envelope(news, sequence, "", &news.body);
    if whole.len() <= BODY_BYTES_MAX {
        return whole;
    }
    // The id is enough to ask the API for the rest.
    let id = serde_json::from_str::<Value>(&news.body).ok().and_then(|data| data.get("id").cloned());
    envelope(news, sequence, r#""truncated":true,"#, &json(&serde_json::json!({ "id": id })))
}

/// Put together as text, so that the data stays as the commit wrote it. Ids, types and times need no escaping.
fn envelope(news: &News, sequence: i64, more: &str, data: &str) -> String {
    let (id, kind, at) = (news.id, &news.kind, news.at);
    format!(
        r#"{{"id":"{id}","type":"{kind}","version":{VERSION},"sequence":{sequence},"timestamp":"{at}",{more}"data":{data}}}"#
    )
}

/// The news of a test that somebody asked for.
pub fn test(id: EventId, at: Timestamp) -> News {
    let body = r#"{"message":"This is a test. Nothing happened."}"#.to_owned();
    News { id, kind: TEST.to_owned(), merchant: None, body, at }
}

fn json(value: &impl Serialize) -> String {
    // Maps with text keys and plain values: there is nothing that could fail.
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Serialize)]
struct PaymentData<'a> {
    id: PaymentId,
    payer: UserId,
    merchant: MerchantId,
    state: &'static str,
    amount: i64,
    held: i64,
    captured: i64,
    refunded: i64,
    disputed: i64,
    refundable: i64,
    currency: Currency,
    reference: Option<&'a str>,
    decision: Option<RecordId>,
    expires_at: Option<String>,
    at: String,
}

impl<'a> PaymentData<'a> {
    fn of(payment: &'a Payment) -> PaymentData<'a> {
        PaymentData {
            id: payment.id,
            payer: payment.payer,
            merchant: payment.merchant,
            state: payment.state.word(),
            amount: payment.amount.minor,
            held: payment.held(),
            captured: payment.captured,
            refunded: payment.refunded,
            disputed: payment.disputed,
            refundable: payment.refundable(),
            currency: payment.amount.currency,
            reference: payment.reference.as_deref(),
            decision: payment.decision,
            expires_at: payment.expires_at.map(|at| at.to_string()),
            at: payment.at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct TransferData<'a> {
    id: TransferId,
    sender: UserId,
    receiver: UserId,
    state: &'static str,
    amount: i64,
    currency: Currency,
    message: Option<&'a str>,
    decision: Option<RecordId>,
    at: String,
}

impl<'a> TransferData<'a> {
    fn of(transfer: &'a Transfer) -> TransferData<'a> {
        TransferData {
            id: transfer.id,
            sender: transfer.sender,
            receiver: transfer.receiver,
            state: transfer.state.word(),
            amount: transfer.amount.minor,
            currency: transfer.amount.currency,
            message: transfer.message.as_deref(),
            decision: transfer.decision,
            at: transfer.at.to_string(),
        }
    }
}

/// An amount as the API writes it.
#[derive(Serialize)]
struct MoneyData {
    amount: i64,
    currency: Currency,
}

impl From<Money> for MoneyData {
    fn from(money: Money) -> MoneyData {
        MoneyData { amount: money.minor, currency: money.currency }
    }
}

#[derive(Serialize)]
struct ExchangeData {
    id: ExchangeId,
    user: UserId,
    sell: MoneyData,
    buy: MoneyData,
    rate: Rate,
    base: Currency,
    quote: Currency,
    repaid: i64,
    at: String,
}

impl ExchangeData {
    fn of(exchange: &Exchange) -> ExchangeData {
        ExchangeData {
            id: exchange.id,
            user: exchange.user,
            sell: exchange.sell.into(),
            buy: exchange.buy.into(),
            rate: exchange.rate,
            base: exchange.pair.base,
            quote: exchange.pair.quote,
            repaid: exchange.repaid,
            at: exchange.at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct LotData {
    id: LotId,
    user: UserId,
    campaign: CampaignId,
    amount: i64,
    left: i64,
    held: i64,
    currency: Currency,
    usable_from: String,
    expires_at: String,
    /// What went back to the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<i64>,
    at: String,
}

impl LotData {
    fn of(lot: &Lot, taken: Option<i64>, at: Timestamp) -> LotData {
        LotData {
            id: lot.id,
            user: lot.user,
            campaign: lot.campaign,
            amount: lot.amount.minor,
            left: lot.left,
            held: lot.held,
            currency: lot.amount.currency,
            usable_from: lot.usable_from.to_string(),
            expires_at: lot.expires_at.to_string(),
            taken,
            at: at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct CreditData<'a> {
    charge: FlowId,
    user: UserId,
    amount: i64,
    currency: Currency,
    reference: &'a str,
    repaid: i64,
    suspended: Option<&'static str>,
    at: String,
}

#[derive(Serialize)]
struct ReversalData<'a> {
    charge: FlowId,
    user: UserId,
    amount: i64,
    currency: Currency,
    reference: &'a str,
    of: &'a str,
    receivable: i64,
    at: String,
}

#[derive(Serialize)]
struct VerifiedData {
    user: UserId,
    converted: i64,
    at: String,
}

#[derive(Serialize)]
struct SettledData {
    file: FileId,
    matched: u32,
    repeated: u32,
    differences: u32,
    released: i64,
    at: String,
}

#[derive(Serialize)]
struct ClosedData<'a> {
    reference: &'a str,
    lost: i64,
    to_suspense: i64,
    currency: Currency,
    at: String,
}
