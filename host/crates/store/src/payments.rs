//! Payments and refunds as rows. The ledger writes them; here they are found and listed.

use koban_domain::ids::{MerchantId, PaymentId, RefundId, UserId};
use koban_domain::money::Money;
use koban_domain::payments::Payment;
use koban_domain::refunds::Refund;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, one};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::LAST_ID;

macro_rules! select_payments {
    ($rest:literal) => {
        concat!(
            "select id, payer, merchant, amount, currency, state, parts, captured, refunded, disputed, expires_at, ",
            "reference, decision, at from payments where ",
            $rest
        )
    };
}

/// The payment with this id.
pub async fn by_id(store: &Store, id: PaymentId) -> Result<Option<Payment>, StoreError> {
    const SQL: &str = select_payments!("id = $1");
    one!(store, SQL, [blob(id.bytes())], rows::payment)
}

/// The payment that a merchant knows under its own reference.
pub async fn by_reference(store: &Store, merchant: MerchantId, reference: &str) -> Result<Option<Payment>, StoreError> {
    const SQL: &str = select_payments!("merchant = $1 and reference = $2");
    one!(store, SQL, [blob(merchant.bytes()), reference], rows::payment)
}

/// What a user paid, newest first, before this payment.
pub async fn by_payer(
    store: &Store,
    payer: UserId,
    before: Option<PaymentId>,
    limit: u16,
) -> Result<Vec<Payment>, StoreError> {
    const SQL: &str = select_payments!("payer = $1 and id < $2 order by id desc limit $3");
    page(store, SQL, payer.bytes(), before, limit).await
}

/// Authorised payments whose hold has run out, the oldest end first.
pub async fn holds_due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<Payment>, StoreError> {
    const SQL: &str = select_payments!("state = 1 and expires_at <= $1 order by expires_at, id limit $2");
    all!(store, SQL, [now.0, i64::from(limit)], rows::payment)
}

/// What a merchant was paid, newest first, before this payment.
pub async fn by_merchant(
    store: &Store,
    merchant: MerchantId,
    before: Option<PaymentId>,
    limit: u16,
) -> Result<Vec<Payment>, StoreError> {
    const SQL: &str = select_payments!("merchant = $1 and id < $2 order by id desc limit $3");
    page(store, SQL, merchant.bytes(), before, limit).await
}

/// The refunds of a payment, oldest first, after this one.
pub async fn refunds(
    store: &Store,
    payment: PaymentId,
    after: Option<RefundId>,
    limit: u16,
) -> Result<Vec<Refund>, StoreError> {
    const SQL: &str = "select * from refunds where payment = $1 and id > $2 order by id limit $3";
    all!(store, SQL, [blob(payment.bytes()), blob(after.unwrap_or_default().bytes()), i64::from(limit)], read_refund)
}

/// The refund with this id.
pub async fn refund_by_id(store: &Store, id: RefundId) -> Result<Option<Refund>, StoreError> {
    const SQL: &str = "select * from refunds where id = $1";
    one!(store, SQL, [blob(id.bytes())], read_refund)
}

async fn page(
    store: &Store,
    sql: &'static str,
    of: [u8; 16],
    before: Option<PaymentId>,
    limit: u16,
) -> Result<Vec<Payment>, StoreError> {
    all!(store, sql, [blob(of), blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], rows::payment)
}

fn read_refund(row: &impl Columns) -> Result<Refund, StoreError> {
    Ok(Refund {
        id: RefundId(row.id("id")?),
        payment: PaymentId(row.id("payment")?),
        merchant: MerchantId(row.id("merchant")?),
        payer: UserId(row.id("payer")?),
        amount: Money::new(row.long("amount")?, row.currency("currency")?),
        repaid: row.long("repaid")?,
        at: row.time("at")?,
        bonus: row.long("bonus")?,
        lapsed: row.long("lapsed")?,
    })
}
