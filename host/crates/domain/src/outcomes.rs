//! Everything that can be refused: one ordered list, the same in code, documents, API and tests.

use serde::{Deserialize, Serialize};

/// A refusal. Where several apply, the one that stands first in a command's list in docs/reference/outcomes.md wins.
///
/// Rows have a refusal by its place here: a new one is appended at the end, and takes its place in [`Refusal::ALL`] by its precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The amount is zero or less.
    #[error("the amount must be more than zero")]
    AmountNotPositive,
    /// There is no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// There is no such merchant.
    #[error("there is no such merchant")]
    MerchantNotFound,
    /// There is no such payment, or it is another merchant's.
    #[error("there is no such payment")]
    PaymentNotFound,
    /// There is no such review, or it is about something else.
    #[error("there is no such review")]
    ReviewNotFound,
    /// There is no such campaign.
    #[error("there is no such campaign")]
    CampaignNotFound,
    /// There is no such lot of bonus, or it is another wallet's.
    #[error("there is no such lot of bonus")]
    LotNotFound,
    /// There is no such dispute, or it is about something else.
    #[error("there is no such dispute")]
    DisputeNotFound,
    /// There is no such closing, or it is about something else.
    #[error("there is no such closing")]
    ClosingNotFound,
    /// Payer and payee are the same.
    #[error("sender and receiver are the same")]
    SameParty,
    /// The API key is frozen.
    #[error("this API key is frozen")]
    KeyFrozen,
    /// The device is frozen.
    #[error("this device is frozen")]
    DeviceFrozen,
    /// The wallet is frozen.
    #[error("the wallet is frozen")]
    WalletFrozen,
    /// The account is closed.
    #[error("the account is closed")]
    AccountClosed,
    /// The merchant is frozen.
    #[error("the merchant takes no payments now")]
    MerchantFrozen,
    /// The currency is not one that this wallet, merchant or plugin takes.
    #[error("this currency is not accepted here")]
    CurrencyNotAccepted,
    /// A fraud rule said no.
    #[error("the payment was declined")]
    DeclinedByFraud,
    /// A fraud rule wants the payer to prove again who they are.
    #[error("the payer must confirm who they are before this payment")]
    StepUpRequired,
    /// A fraud rule wants a person to look first.
    #[error("the payment needs a review before it can be made")]
    ReviewRequired,
    /// The plugin that the command needs is not installed, not enabled or has no limits in this currency.
    #[error("this channel is not available")]
    ChannelNotAvailable,
    /// Only verified users may do this.
    #[error("verify your identity first")]
    NotVerified,
    /// The receiver is not verified.
    #[error("the receiver cannot take transfers yet")]
    ReceiverNotVerified,
    /// The receiver is frozen, closed, or no longer verified: which one is not said.
    #[error("the receiver cannot take transfers now")]
    ReceiverUnavailable,
    /// The verification was revoked and not given again.
    #[error("the verification was revoked")]
    VerificationRevoked,
    /// The user is verified already.
    #[error("the user is verified already")]
    AlreadyVerified,
    /// The verification does not stand where this act begins.
    #[error("the verification does not stand where this begins")]
    VerificationState,
    /// The platform has no rate for these currencies, or none that is new enough.
    #[error("these currencies cannot be exchanged at the moment")]
    RateNotAvailable,
    /// Another rate is in force than the customer agreed to.
    #[error("the rate has changed")]
    RateChanged,
    /// Nothing would be left of the amount in the other currency.
    #[error("the amount is worth less than the smallest unit of the other currency")]
    AmountTooSmall,
    /// Money is owed after a charge was taken back; the next charge repays it.
    #[error("an amount is due for repayment; charge the wallet first")]
    RepaymentDue,
    /// Something is held or open, and must end first.
    #[error("something is held or open and must end first")]
    HoldsOpen,
    /// There is no such adjustment.
    #[error("there is no such adjustment")]
    AdjustmentNotFound,
    /// The adjustment was decided, or its time has run out.
    #[error("the adjustment was decided before or has expired")]
    AdjustmentClosed,
    /// Another operator must decide what one has proposed.
    #[error("another operator must decide this")]
    SecondPersonRequired,
    /// The merchant has used this reference for another payment.
    #[error("the merchant reference is used by another payment")]
    MerchantReferenceUsed,
    /// The review was decided, or its time has run out.
    #[error("the review was decided before or has ended")]
    ReviewClosed,
    /// The campaign grants nothing any more, or not now.
    #[error("the campaign grants nothing now")]
    CampaignClosed,
    /// The dispute was decided, or its time has run out.
    #[error("the dispute was decided before or has ended")]
    DisputeClosed,
    /// The period was closed before.
    #[error("the period was closed before")]
    PeriodClosed,
    /// The period to be closed has not ended.
    #[error("the period has not ended")]
    PeriodNotOver,
    /// What was due was paid, or nothing is due.
    #[error("nothing is due of this closing any more")]
    ClosingPaid,
    /// An operator has yet to look at the payment.
    #[error("the payment is in review")]
    PaymentInReview,
    /// The time of the hold has run out.
    #[error("the hold has expired")]
    HoldExpired,
    /// Nothing of the payment is held any more.
    #[error("nothing is held any more")]
    HoldEnded,
    /// The lot of bonus would end before it could be spent.
    #[error("the bonus would end before it could be spent")]
    LotExpired,
    /// Nothing of the lot of bonus is left.
    #[error("nothing of this bonus is left")]
    LotEmpty,
    /// The time of the hold or review has not run out.
    #[error("its time has not run out")]
    NotExpired,
    /// The partner's reference was used before on this side.
    #[error("the partner's reference was used before")]
    ReferenceUsed,
    /// The bank's reference was used for another closing.
    #[error("the reference is that of another payout")]
    PayoutReferenceUsed,
    /// The partner's reference was killed by a reversal that came first.
    #[error("the partner's reference was reversed before it was credited")]
    ReferenceTombstoned,
    /// The reference to be killed was credited.
    #[error("the partner's reference was credited")]
    ReferenceCredited,
    /// There is no such credit, or it is another flow's.
    #[error("there is no such credit")]
    CreditNotFound,
    /// More would be reversed than was credited.
    #[error("more would be reversed than was credited")]
    ReversalExceedsCredit,
    /// More would be captured than is held.
    #[error("more would be captured than is held")]
    CaptureExceedsHold,
    /// More would be refunded than was paid.
    #[error("more would be refunded than was paid")]
    RefundExceedsPayment,
    /// The campaign has granted more than this budget.
    #[error("the campaign has granted more than this budget")]
    BudgetBelowGranted,
    /// The wallet has as many lots of bonus as it may.
    #[error("the wallet has as many lots of bonus as it may")]
    LotsFull,
    /// The campaign would grant more than its budget.
    #[error("the campaign's budget is used up")]
    CampaignBudgetExhausted,
    /// More would be contested than is left of the payment.
    #[error("more would be contested than is left of the payment")]
    DisputeExceedsPayment,
    /// The merchant is further behind than the new credit limit lets it be.
    #[error("the merchant is further behind than this credit limit")]
    CreditInUse,
    /// What was written off to the plugin reaches its loss budget.
    #[error("the channel's loss budget is used up")]
    LossBudgetExhausted,
    /// The plugin's unsettled credits reach its exposure cap.
    #[error("the channel's exposure cap is reached")]
    ExposureCapReached,
    /// One dealing may not be this large.
    #[error("the amount is over the limit for one time")]
    AmountLimit,
    /// The day's limit is reached.
    #[error("the amount is over what is left of the day's limit")]
    DayLimit,
    /// The month's limit is reached.
    #[error("the amount is over what is left of the month's limit")]
    MonthLimit,
    /// The wallet would hold more than it may.
    #[error("the wallet would hold more than its balance limit")]
    BalanceLimit,
    /// The payer has less.
    #[error("the balance is too low")]
    InsufficientFunds,
    /// The platform's position in a currency would pass its limit.
    #[error("the platform cannot exchange this much at the moment")]
    PositionLimit,
    /// The merchant is owed less, and has less credit, than shall be refunded or set aside.
    #[error("the merchant's balance and credit are too low for this")]
    MerchantBalanceTooLow,
    /// There is nothing open under this reference.
    #[error("there is no open difference or unsettled credit under this reference")]
    DifferenceNotFound,
    /// A settlement file with the same content was taken before.
    #[error("this settlement file was taken before")]
    FileUsed,
    /// The correlation belongs to another flow for ever.
    #[error("another flow expects this correlation")]
    CorrelationTaken,
    /// What the user agreed to does not cover this.
    #[error("the amount is more than was authorised")]
    AuthorisationExceeded,
    /// What the user agreed to has run out.
    #[error("the authorisation has expired")]
    AuthorisationExpired,
    /// A sum no longer fits 64 bits.
    #[error("the amount is too large for the books")]
    Overflow,
    /// The books have no path between these accounts: a mistake of ours, nothing is posted.
    #[error("the books allow no such posting")]
    PathNotAllowed,
    /// Another flow has paid the bill, or is about to.
    #[error("the bill was paid before, or is being paid")]
    BillPaid,
    /// The bill's last day has passed.
    #[error("the bill can no longer be paid: its last day has passed")]
    BillOverdue,
    /// The user would have more from the campaign than one user may.
    #[error("the user has had from this campaign what one user may")]
    CampaignShareExhausted,
    /// The quote ran out before it was accepted.
    #[error("the quote has run out")]
    QuoteExpired,
    /// The quote rests on rates that are too old by now.
    #[error("the rates behind the quote are too old")]
    RateStale,
    /// The quote's rate is further from the platform's own reference than it may be.
    #[error("the quoted rate is too far from the platform's reference")]
    RateOutOfBand,
    /// The link is over, or a flow takes rows along to it already.
    #[error("the link is over, or a flow of it is under way")]
    LinkNotReady,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never, with this request.
    No,
    /// After somebody did something: charged the wallet, verified, raised a limit.
    AfterChange,
}

impl Refusal {
    /// Every refusal, in the order of precedence.
    pub const ALL: [Refusal; 83] = [
        Refusal::AmountNotPositive,
        Refusal::UserNotFound,
        Refusal::MerchantNotFound,
        Refusal::PaymentNotFound,
        Refusal::ReviewNotFound,
        Refusal::CampaignNotFound,
        Refusal::LotNotFound,
        Refusal::DisputeNotFound,
        Refusal::ClosingNotFound,
        Refusal::SameParty,
        Refusal::KeyFrozen,
        Refusal::DeviceFrozen,
        Refusal::WalletFrozen,
        Refusal::AccountClosed,
        Refusal::MerchantFrozen,
        Refusal::CurrencyNotAccepted,
        Refusal::DeclinedByFraud,
        Refusal::StepUpRequired,
        Refusal::ReviewRequired,
        Refusal::ChannelNotAvailable,
        Refusal::NotVerified,
        Refusal::ReceiverNotVerified,
        Refusal::ReceiverUnavailable,
        Refusal::VerificationRevoked,
        Refusal::AlreadyVerified,
        Refusal::VerificationState,
        Refusal::RateNotAvailable,
        Refusal::RateChanged,
        Refusal::QuoteExpired,
        Refusal::RateStale,
        Refusal::RateOutOfBand,
        Refusal::AmountTooSmall,
        Refusal::RepaymentDue,
        Refusal::HoldsOpen,
        Refusal::AdjustmentNotFound,
        Refusal::AdjustmentClosed,
        Refusal::SecondPersonRequired,
        Refusal::MerchantReferenceUsed,
        Refusal::ReviewClosed,
        Refusal::CampaignClosed,
        Refusal::DisputeClosed,
        Refusal::PeriodClosed,
        Refusal::PeriodNotOver,
        Refusal::ClosingPaid,
        Refusal::PaymentInReview,
        Refusal::HoldExpired,
        Refusal::HoldEnded,
        Refusal::LotExpired,
        Refusal::LotEmpty,
        Refusal::NotExpired,
        Refusal::ReferenceUsed,
        Refusal::PayoutReferenceUsed,
        Refusal::ReferenceTombstoned,
        Refusal::ReferenceCredited,
        Refusal::CreditNotFound,
        Refusal::ReversalExceedsCredit,
        Refusal::CaptureExceedsHold,
        Refusal::RefundExceedsPayment,
        Refusal::BudgetBelowGranted,
        Refusal::LotsFull,
        Refusal::CampaignBudgetExhausted,
        Refusal::CampaignShareExhausted,
        Refusal::DisputeExceedsPayment,
        Refusal::CreditInUse,
        Refusal::LossBudgetExhausted,
        Refusal::ExposureCapReached,
        Refusal::AmountLimit,
        Refusal::DayLimit,
        Refusal::MonthLimit,
        Refusal::BalanceLimit,
        Refusal::InsufficientFunds,
        Refusal::PositionLimit,
        Refusal::MerchantBalanceTooLow,
        Refusal::DifferenceNotFound,
        Refusal::FileUsed,
        Refusal::CorrelationTaken,
        Refusal::AuthorisationExceeded,
        Refusal::AuthorisationExpired,
        Refusal::Overflow,
        Refusal::PathNotAllowed,
        Refusal::BillPaid,
        Refusal::BillOverdue,
        Refusal::LinkNotReady,
    ];

    /// The stable code in problems, records and plugin refusals.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::AmountNotPositive => "amount_not_positive",
            Refusal::UserNotFound => "user_not_found",
            Refusal::MerchantNotFound => "merchant_not_found",
            Refusal::PaymentNotFound => "payment_not_found",
            Refusal::ReviewNotFound => "review_not_found",
            Refusal::CampaignNotFound => "campaign_not_found",
            Refusal::LotNotFound => "lot_not_found",
            Refusal::DisputeNotFound => "dispute_not_found",
            Refusal::ClosingNotFound => "closing_not_found",
            Refusal::SameParty => "same_party",
            Refusal::KeyFrozen => "key_frozen",
            Refusal::DeviceFrozen => "device_frozen",
            Refusal::WalletFrozen => "wallet_frozen",
            Refusal::AccountClosed => "account_closed",
            Refusal::MerchantFrozen => "merchant_frozen",
            Refusal::CurrencyNotAccepted => "currency_not_accepted",
            Refusal::DeclinedByFraud => "declined_by_fraud",
            Refusal::StepUpRequired => "step_up_required",
            Refusal::ReviewRequired => "review_required",
            Refusal::ChannelNotAvailable => "channel_not_available",
            Refusal::NotVerified => "not_verified",
            Refusal::ReceiverNotVerified => "receiver_not_verified",
            Refusal::ReceiverUnavailable => "receiver_unavailable",
            Refusal::VerificationRevoked => "verification_revoked",
            Refusal::AlreadyVerified => "already_verified",
            Refusal::VerificationState => "verification_state",
            Refusal::RateNotAvailable => "rate_not_available",
            Refusal::RateChanged => "rate_changed",
            Refusal::QuoteExpired => "quote_expired",
            Refusal::RateStale => "rate_stale",
            Refusal::RateOutOfBand => "rate_out_of_band",
            Refusal::AmountTooSmall => "amount_too_small",
            Refusal::RepaymentDue => "repayment_due",
            Refusal::HoldsOpen => "holds_open",
            Refusal::AdjustmentNotFound => "adjustment_not_found",
            Refusal::AdjustmentClosed => "adjustment_closed",
            Refusal::SecondPersonRequired => "second_person_required",
            Refusal::MerchantReferenceUsed => "merchant_reference_used",
            Refusal::ReviewClosed => "review_closed",
            Refusal::CampaignClosed => "campaign_closed",
            Refusal::DisputeClosed => "dispute_closed",
            Refusal::PeriodClosed => "period_closed",
            Refusal::PeriodNotOver => "period_not_over",
            Refusal::ClosingPaid => "closing_paid",
            Refusal::PaymentInReview => "payment_in_review",
            Refusal::HoldExpired => "hold_expired",
            Refusal::HoldEnded => "hold_ended",
            Refusal::LotExpired => "lot_expired",
            Refusal::LotEmpty => "lot_empty",
            Refusal::NotExpired => "not_expired",
            Refusal::ReferenceUsed => "reference_used",
            Refusal::PayoutReferenceUsed => "payout_reference_used",
            Refusal::ReferenceTombstoned => "reference_tombstoned",
            Refusal::ReferenceCredited => "reference_credited",
            Refusal::CreditNotFound => "credit_not_found",
            Refusal::ReversalExceedsCredit => "reversal_exceeds_credit",
            Refusal::CaptureExceedsHold => "capture_exceeds_hold",
            Refusal::RefundExceedsPayment => "refund_exceeds_payment",
            Refusal::BudgetBelowGranted => "budget_below_granted",
            Refusal::LotsFull => "lots_full",
            Refusal::CampaignBudgetExhausted => "campaign_budget_exhausted",
            Refusal::CampaignShareExhausted => "campaign_share_exhausted",
            Refusal::DisputeExceedsPayment => "dispute_exceeds_payment",
            Refusal::CreditInUse => "credit_in_use",
            Refusal::LossBudgetExhausted => "loss_budget_exhausted",
            Refusal::ExposureCapReached => "exposure_cap_reached",
            Refusal::AmountLimit => "amount_limit",
            Refusal::DayLimit => "day_limit",
            Refusal::MonthLimit => "month_limit",
            Refusal::BalanceLimit => "balance_limit",
            Refusal::InsufficientFunds => "insufficient_funds",
            Refusal::PositionLimit => "position_limit",
            Refusal::MerchantBalanceTooLow => "merchant_balance_too_low",
            Refusal::DifferenceNotFound => "difference_not_found",
            Refusal::FileUsed => "file_used",
            Refusal::CorrelationTaken => "correlation_taken",
            Refusal::AuthorisationExceeded => "authorisation_exceeded",
            Refusal::AuthorisationExpired => "authorisation_expired",
            Refusal::Overflow => "overflow",
            Refusal::PathNotAllowed => "path_not_allowed",
            Refusal::BillPaid => "bill_paid",
            Refusal::BillOverdue => "bill_overdue",
            Refusal::LinkNotReady => "link_not_ready",
        }
    }

    /// The HTTP status under which the API answers it.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::AmountNotPositive => 400,
            Refusal::UserNotFound
            | Refusal::MerchantNotFound
            | Refusal::ClosingNotFound
            | Refusal::DisputeNotFound
            | Refusal::ReviewNotFound
            | Refusal::CampaignNotFound
            | Refusal::LotNotFound
            | Refusal::PaymentNotFound
            | Refusal::AdjustmentNotFound
            | Refusal::CreditNotFound
            | Refusal::DifferenceNotFound => 404,
            Refusal::DeclinedByFraud
            | Refusal::StepUpRequired
            | Refusal::KeyFrozen
            | Refusal::DeviceFrozen
            | Refusal::WalletFrozen
            | Refusal::AccountClosed
            | Refusal::VerificationRevoked
            | Refusal::SecondPersonRequired
            | Refusal::ReviewRequired
            | Refusal::NotVerified => 403,
            Refusal::AlreadyVerified
            | Refusal::ClosingPaid
            | Refusal::PeriodNotOver
            | Refusal::PeriodClosed
            | Refusal::DisputeClosed
            | Refusal::PayoutReferenceUsed
            | Refusal::ReviewClosed
            | Refusal::CampaignClosed
            | Refusal::LotEmpty
            | Refusal::PaymentInReview
            | Refusal::HoldExpired
            | Refusal::HoldEnded
            | Refusal::NotExpired
            | Refusal::MerchantReferenceUsed
            | Refusal::ReferenceUsed
            | Refusal::ReferenceTombstoned
            | Refusal::ReferenceCredited
            | Refusal::VerificationState
            | Refusal::HoldsOpen
            | Refusal::AdjustmentClosed
            | Refusal::FileUsed
            | Refusal::RateChanged
            | Refusal::QuoteExpired
            | Refusal::CorrelationTaken
            | Refusal::BillPaid
            | Refusal::LinkNotReady => 409,
            Refusal::SameParty
            | Refusal::CurrencyNotAccepted
            | Refusal::ReceiverNotVerified
            | Refusal::MerchantFrozen
            | Refusal::ReceiverUnavailable
            | Refusal::CreditInUse
            | Refusal::DisputeExceedsPayment
            | Refusal::RepaymentDue
            | Refusal::CaptureExceedsHold
            | Refusal::ReversalExceedsCredit
            | Refusal::RefundExceedsPayment
            | Refusal::LotExpired
            | Refusal::BudgetBelowGranted
            | Refusal::LotsFull
            | Refusal::CampaignBudgetExhausted
            | Refusal::CampaignShareExhausted
            | Refusal::LossBudgetExhausted
            | Refusal::ExposureCapReached
            | Refusal::AmountLimit
            | Refusal::DayLimit
            | Refusal::MonthLimit
            | Refusal::BalanceLimit
            | Refusal::InsufficientFunds
            | Refusal::AmountTooSmall
            | Refusal::PositionLimit
            | Refusal::MerchantBalanceTooLow
            | Refusal::AuthorisationExceeded
            | Refusal::AuthorisationExpired
            | Refusal::Overflow
            | Refusal::BillOverdue => 422,
            Refusal::ChannelNotAvailable | Refusal::RateNotAvailable | Refusal::RateStale | Refusal::RateOutOfBand => {
                503
            }
            Refusal::PathNotAllowed => 500,
        }
    }

    /// Whether trying again, with a new key, can help.
    pub const fn retry(self) -> Retry {
        match self {
            Refusal::KeyFrozen
            | Refusal::DeviceFrozen
            | Refusal::WalletFrozen
            | Refusal::MerchantFrozen
            | Refusal::ReceiverUnavailable
            | Refusal::VerificationRevoked
            | Refusal::PeriodNotOver
            | Refusal::CreditInUse
            | Refusal::VerificationState
            | Refusal::HoldsOpen
            | Refusal::StepUpRequired
            | Refusal::ReviewRequired
            | Refusal::ChannelNotAvailable
            | Refusal::NotVerified
            | Refusal::ReceiverNotVerified
            | Refusal::PaymentInReview
            | Refusal::NotExpired
            | Refusal::RepaymentDue
            | Refusal::CampaignClosed
            | Refusal::LotsFull
            | Refusal::CampaignBudgetExhausted
            | Refusal::CampaignShareExhausted
            | Refusal::LossBudgetExhausted
            | Refusal::ExposureCapReached
            | Refusal::DayLimit
            | Refusal::MonthLimit
            | Refusal::BalanceLimit
            | Refusal::InsufficientFunds
            | Refusal::RateNotAvailable
            | Refusal::RateChanged
            | Refusal::QuoteExpired
            | Refusal::RateStale
            | Refusal::RateOutOfBand
            | Refusal::PositionLimit
            | Refusal::MerchantBalanceTooLow
            | Refusal::BillPaid
            | Refusal::LinkNotReady => Retry::AfterChange,
            Refusal::AccountClosed
            | Refusal::AdjustmentNotFound
            | Refusal::AdjustmentClosed
            | Refusal::SecondPersonRequired
            | Refusal::AmountNotPositive
            | Refusal::UserNotFound
            | Refusal::MerchantNotFound
            | Refusal::PaymentNotFound
            | Refusal::SameParty
            | Refusal::CurrencyNotAccepted
            | Refusal::DeclinedByFraud
            | Refusal::AlreadyVerified
            | Refusal::ClosingNotFound
            | Refusal::DisputeNotFound
            | Refusal::ClosingPaid
            | Refusal::PeriodClosed
            | Refusal::DisputeClosed
            | Refusal::PayoutReferenceUsed
            | Refusal::DisputeExceedsPayment
            | Refusal::ReviewNotFound
            | Refusal::CampaignNotFound
            | Refusal::LotNotFound
            | Refusal::LotExpired
            | Refusal::LotEmpty
            | Refusal::BudgetBelowGranted
            | Refusal::ReviewClosed
            | Refusal::HoldExpired
            | Refusal::HoldEnded
            | Refusal::CaptureExceedsHold
            | Refusal::MerchantReferenceUsed
            | Refusal::ReferenceUsed
            | Refusal::ReferenceTombstoned
            | Refusal::ReferenceCredited
            | Refusal::CreditNotFound
            | Refusal::ReversalExceedsCredit
            | Refusal::RefundExceedsPayment
            | Refusal::AmountLimit
            | Refusal::DifferenceNotFound
            | Refusal::FileUsed
            | Refusal::CorrelationTaken
            | Refusal::AmountTooSmall
            | Refusal::AuthorisationExceeded
            | Refusal::AuthorisationExpired
            | Refusal::Overflow
            | Refusal::PathNotAllowed
            | Refusal::BillOverdue => Retry::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_without_doubles() {
        let codes: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.code());
        }
    }

    /// Rows have a refusal by its place in the enum.
    #[test]
    fn new_refusals_are_appended_whatever_their_precedence() {
        let places = [Refusal::AmountNotPositive, Refusal::LossBudgetExhausted, Refusal::PathNotAllowed];
        assert_eq!(places.map(|refusal| refusal as usize), [0, 60, 75]);
        assert!(Refusal::ALL.iter().all(|refusal| (*refusal as usize) < Refusal::ALL.len()));
    }
}
