//! What merchants are told of captures, refunds, disputes and closings.

use serde::Serialize;

use super::json;
use crate::arrangements::Share;
use crate::captures::Capture;
use crate::closings::{Closing, ClosingState};
use crate::disputes::{Dispute, DisputeState};
use crate::ids::{CaptureId, ClosingId, DisputeId, PaymentId, RecordId, RefundId, UserId};
use crate::money::Currency;
use crate::refunds::Refund;
use crate::time::date_of_day;

/// The data of a capture.
pub(super) fn capture(capture: &Capture) -> String {
    json(&CaptureData::of(capture))
}

/// The data of a refund.
pub(super) fn refund(refund: &Refund) -> String {
    json(&RefundData::of(refund))
}

/// The data of a dispute.
pub(super) fn dispute(dispute: &Dispute) -> String {
    json(&DisputeData::of(dispute))
}

/// The data of a closing.
pub(super) fn closing(closing: &Closing) -> String {
    json(&ClosingData::of(closing))
}

/// What is told of a dispute.
pub(super) fn word_of_dispute(dispute: &Dispute) -> &'static str {
    match dispute.state {
        DisputeState::Open => "dispute.opened",
        DisputeState::Won => "dispute.won",
        DisputeState::Lost => "dispute.lost",
    }
}

/// What is told of a closing.
pub(super) fn word_of_closing(closing: &Closing) -> &'static str {
    match closing.state {
        ClosingState::Closed => "closing.made",
        ClosingState::Paid => "closing.paid",
    }
}

#[derive(Serialize)]
struct CaptureData {
    id: CaptureId,
    payment: PaymentId,
    amount: i64,
    let_go: i64,
    currency: Currency,
    #[serde(rename = "final")]
    last: bool,
    decision: Option<RecordId>,
    at: String,
}

impl CaptureData {
    fn of(capture: &Capture) -> CaptureData {
        CaptureData {
            id: capture.id,
            payment: capture.payment,
            amount: capture.amount.minor,
            let_go: capture.let_go,
            currency: capture.amount.currency,
            last: capture.last,
            decision: capture.decision,
            at: capture.at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct RefundData {
    id: RefundId,
    payment: PaymentId,
    payer: UserId,
    amount: i64,
    currency: Currency,
    at: String,
}

impl RefundData {
    fn of(refund: &Refund) -> RefundData {
        RefundData {
            id: refund.id,
            payment: refund.payment,
            payer: refund.payer,
            amount: refund.amount.minor,
            currency: refund.amount.currency,
            at: refund.at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct DisputeData<'a> {
    id: DisputeId,
    payment: PaymentId,
    state: &'static str,
    amount: i64,
    currency: Currency,
    reason: &'a str,
    due_at: String,
    at: String,
    ended_at: Option<String>,
}

impl<'a> DisputeData<'a> {
    fn of(dispute: &'a Dispute) -> DisputeData<'a> {
        DisputeData {
            id: dispute.id,
            payment: dispute.of.payment,
            state: dispute.state.word(),
            amount: dispute.amount.minor,
            currency: dispute.amount.currency,
            reason: &dispute.reason,
            due_at: dispute.due_at.to_string(),
            at: dispute.at.to_string(),
            ended_at: dispute.ended_at.map(|at| at.to_string()),
        }
    }
}

#[derive(Serialize)]
struct ClosingData<'a> {
    id: ClosingId,
    state: &'static str,
    until: String,
    currency: Currency,
    carried: i64,
    captured: i64,
    refunded: i64,
    disputed: i64,
    returned: i64,
    adjusted: i64,
    fee_rate: Share,
    fee: i64,
    tax_rate: Share,
    tax: i64,
    due: i64,
    left: i64,
    reference: Option<&'a str>,
    at: String,
    paid_at: Option<String>,
}

impl<'a> ClosingData<'a> {
    fn of(closing: &'a Closing) -> ClosingData<'a> {
        ClosingData {
            id: closing.id,
            state: closing.state.word(),
            until: date_of_day(closing.until),
            currency: closing.currency,
            carried: closing.carried,
            captured: closing.captured,
            refunded: closing.refunded,
            disputed: closing.disputed,
            returned: closing.returned,
            adjusted: closing.adjusted,
            fee_rate: closing.fee_rate,
            fee: closing.fee,
            tax_rate: closing.tax_rate,
            tax: closing.tax,
            due: closing.due,
            left: closing.left,
            reference: closing.reference.as_deref(),
            at: closing.at.to_string(),
            paid_at: closing.paid_at.map(|at| at.to_string()),
        }
    }
}
