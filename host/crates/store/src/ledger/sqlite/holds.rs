//! Captures, reviews, and transfers whose review ends, in SQLite.

use koban_domain::books::Books;
use koban_domain::ledger::Commit;
use koban_domain::touched::Touched;
use sqlx::SqliteConnection;

use super::{keys, run};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::ledger::rows;

/// Reads the reviews that are touched, and the transfers that they are about.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    touched: &Touched,
    books: &mut Books,
) -> Result<(), StoreError> {
    if let Some(keys) = keys(touched.reviews.iter().map(|id| id.bytes())) {
        let sql = "select r.id, r.kind, r.payer, r.payee, r.amount, r.currency, r.hold_ms, r.decision, r.state, r.at,
            r.expires_at, r.operator, r.ended_at
            from json_each($1) k cross join reviews r on r.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let review = rows::review(row)?;
            books.reviews.load(review.id, review);
        }
    }
    if let Some(keys) = keys(touched.transfers.iter().map(|id| id.bytes())) {
        let sql = "select t.* from json_each($1) k cross join transfers t on t.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            let transfer = rows::transfer(row)?;
            books.transfers.load(transfer.id, transfer);
        }
    }
    Ok(())
}

/// Writes what changed, nothing for most commits.
pub(super) async fn write(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let mut captures: Vec<_> = books.captures.changed().map(|row| row.value).collect();
    captures.sort_unstable_by_key(|capture| capture.id);
    let mut json = JsonRows::with_capacity(captures.len() * 240);
    for capture in captures {
        json.row().bytes(&capture.id.bytes()).bytes(&capture.payment.bytes()).bytes(&capture.merchant.bytes());
        json.int(capture.amount.minor).text(capture.amount.currency.code()).int(capture.let_go).int(capture.last);
        json.maybe_bytes(capture.decision.as_ref().map(|id| id.0.as_bytes().as_slice())).int(capture.at.0);
    }
    let sql = "insert into captures (id, payment, merchant, amount, currency, let_go, last, decision, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, unhex(value ->> 7), value ->> 8 from json_each($1)";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(300);
    for review in books.reviews.changed().map(|row| row.value) {
        let (kind, payee) = rows::reviewed_parts(&review.of);
        json.row().bytes(&review.id.bytes()).int(kind).bytes(&review.of.payer().bytes()).bytes(&payee);
        json.int(review.amount.minor).text(review.amount.currency.code()).maybe_int(rows::hold_ms(review.terms));
        json.maybe_bytes(review.decision.as_ref().map(|id| id.0.as_bytes().as_slice())).int(review.state.code());
        json.int(review.at.0).int(review.expires_at.0);
        json.maybe_bytes(review.operator.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.maybe_int(review.ended_at.map(|at| at.0));
    }
    let sql = "insert into reviews (id, kind, payer, payee, amount, currency, hold_ms, decision, state, at, expires_at,
            operator, ended_at)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            value ->> 6, unhex(value ->> 7), value ->> 8, value ->> 9, value ->> 10, unhex(value ->> 11), value ->> 12
        from json_each($1) where true
        on conflict (id) do update set state = excluded.state, operator = excluded.operator, ended_at = excluded.ended_at";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(80);
    for row in books.transfers.changed().filter(|row| row.stored) {
        json.row().bytes(&row.key.bytes()).int(row.value.state.code());
    }
    let sql = "update transfers set state = u.state
        from (select unhex(value ->> 0) as id, value ->> 1 as state from json_each($1)) u where transfers.id = u.id";
    run(connection, sql, json).await?;
    Ok(())
}
