//! Lines of statements, of wallets and of merchants.

use koban_domain::ids::EntryId;
use koban_domain::money::Currency;
use koban_service::wallets::StatementLine;
use serde::Serialize;
use utoipa::ToSchema;

use crate::amounts::moment;

/// One line of a statement: how one account changed, and what for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementLine)]
pub(crate) struct StatementLineBody {
    /// The journal entry.
    #[schema(value_type = String, example = "ent_019a3f0c7b2e7c41a5d3000000000000")]
    entry: EntryId,
    /// Its place in the journal.
    sequence: i64,
    /// When it was posted.
    at: String,
    /// What for: `charge`, `payment`, `refund`, `transfer` and others.
    #[schema(value_type = String, example = "payment")]
    kind: &'static str,
    /// The id of the payment, refund, transfer or charge.
    subject: String,
    /// Which account: `prepaid`, `funds`, `receivable` or `payable`.
    #[schema(value_type = String, example = "prepaid")]
    account: &'static str,
    /// Whole minor units; positive grew, negative shrank.
    #[schema(example = -1280)]
    change: i64,
    /// The account's balance after it.
    balance: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<StatementLine> for StatementLineBody {
    fn from(line: StatementLine) -> StatementLineBody {
        StatementLineBody {
            entry: line.entry,
            sequence: line.sequence,
            at: moment(line.at),
            kind: line.kind.word(),
            subject: line.subject,
            account: line.class.word(),
            change: line.change.minor,
            balance: line.balance.minor,
            currency: line.change.currency,
        }
    }
}
