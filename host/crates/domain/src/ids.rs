//! Ids with readable prefixes: mixing two kinds of them does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}; it begins with `{prefix}_` and 32 hexadecimal digits follow")]
pub struct IdError {
    given: String,
    what: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the underscore in the id's text.
            pub const PREFIX: &'static str = $prefix;

            /// The id's 16 bytes.
            pub fn bytes(&self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { given: text.chars().take(48).collect(), what: $what, prefix: $prefix };
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or_else(error)?;
                if digits.len() != 32 || digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(error());
                }
                Uuid::try_parse(digits).map($name).map_err(|_| error())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// A wallet user.
    UserId "usr" "a user id";
    /// A merchant.
    MerchantId "mer" "a merchant id";
    /// An operator of the platform.
    OperatorId "opr" "an operator id";
    /// A payment to a merchant.
    PaymentId "pay" "a payment id";
    /// A capture of a held payment.
    CaptureId "cap" "a capture id";
    /// A review of a payment or transfer: the same bits as its id.
    ReviewId "rev" "a review id";
    /// A refund of a payment.
    RefundId "ref" "a refund id";
    /// A transfer between users.
    TransferId "trf" "a transfer id";
    /// An exchange of one currency for another.
    ExchangeId "exc" "an exchange id";
    /// A price that a user was named for an exchange.
    QuoteId "quo" "a quote id";
    /// A dealing that is to be done later.
    ScheduleId "sch" "a schedule id";
    /// A journal entry.
    EntryId "ent" "an entry id";
    /// A flow; a charge is known to its user by the id of its flow.
    FlowId "flw" "a flow id";
    /// A user's link with a plugin.
    LinkId "lnk" "a link id";
    /// The record of one guest call; what the API calls a decision.
    RecordId "dec" "a decision id";
    /// A signed-in session.
    SessionId "ses" "a session id";
    /// A merchant's API key.
    KeyId "key" "an API key id";
    /// One row of the audit log.
    AuditId "aud" "an audit id";
    /// One event of the outbox.
    EventId "evt" "an event id";
    /// A partner's settlement file.
    FileId "fil" "a file id";
    /// A file that goes to a partner at a cut-off.
    PartnerFileId "pfl" "a partner file id";
    /// A file that a partner put into a shared directory.
    ReceivedFileId "rfl" "a received file id";
    /// A dispute about a payment.
    DisputeId "dsp" "a dispute id";
    /// A closing with a merchant.
    ClosingId "clo" "a closing id";
    /// A back-test of a component on recorded decisions.
    BacktestId "bkt" "a back-test id";
    /// A challenge by which a payer proves again who they are.
    StepUpId "stu" "a step-up id";
    /// What a user submitted to be verified.
    SubmissionId "sub" "a submission id";
    /// An adjustment that two operators make.
    AdjustmentId "adj" "an adjustment id";
    /// A campaign that grants bonus.
    CampaignId "cmp" "a campaign id";
    /// A lot of bonus.
    LotId "lot" "a lot id";
    /// Where a merchant or the platform receives webhooks.
    WebhookId "whk" "a webhook endpoint id";
}

/// A source of new ids. The host makes them time-ordered (UUIDv7); tests and simulations count.
pub trait NewId {
    /// The next id's bits.
    fn next(&self) -> Uuid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_another_kind_does_not() {
        let id = PaymentId(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "pay_00000000000000000000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        let error = id.to_string().parse::<UserId>().unwrap_err();
        assert!(error.to_string().contains("`usr_`"), "{error}");
        assert!("pay_0000000000000000000000000000000G".parse::<PaymentId>().is_err());
        assert!("pay_{00000000-0000-0000-0000-000000000007}".parse::<PaymentId>().is_err());
    }
}
