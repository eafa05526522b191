//! Captures as rows. The ledger writes them; here they are listed.

use koban_domain::captures::Capture;
use koban_domain::ids::{CaptureId, MerchantId, PaymentId, RecordId};
use koban_domain::money::Money;

use crate::database::{Columns, Store, all, blob};
use crate::error::StoreError;

/// The captures of a payment, oldest first, after this one.
pub async fn of_payment(
    store: &Store,
    payment: PaymentId,
    after: Option<CaptureId>,
    limit: u16,
) -> Result<Vec<Capture>, StoreError> {
    const SQL: &str = "select id, payment, merchant, amount, currency, let_go, last, decision, at from captures
        where payment = $1 and id > $2 order by id limit $3";
    all!(store, SQL, [blob(payment.bytes()), blob(after.unwrap_or_default().bytes()), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<Capture, StoreError> {
    Ok(Capture {
        id: CaptureId(row.id(0)?),
        payment: PaymentId(row.id(1)?),
        merchant: MerchantId(row.id(2)?),
        amount: Money::new(row.long(3)?, row.currency(4)?),
        let_go: row.long(5)?,
        last: row.flag(6)?,
        decision: row.maybe_id(7)?.map(RecordId),
        at: row.time(8)?,
    })
}
