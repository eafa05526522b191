//! Captures, reviews, and transfers whose review ends, in PostgreSQL.

use koban_domain::books::Books;
use koban_domain::ledger::Commit;
use koban_domain::touched::Touched;
use sqlx::PgConnection;

use crate::error::StoreError;
use crate::ledger::rows;

/// Reads the reviews that are touched, and the transfers that they are about.
pub(super) async fn load(
    connection: &mut PgConnection,
    touched: &Touched,
    books: &mut Books,
) -> Result<(), StoreError> {
    if !touched.reviews.is_empty() {
        let ids: Vec<_> = touched.reviews.iter().map(|id| id.bytes()).collect();
        let sql = "select id, kind, payer, payee, amount, currency, hold_ms, decision, state, at, expires_at, operator,
            ended_at from reviews where id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(&mut *connection).await? {
            let review = rows::review(row)?;
            books.reviews.load(review.id, review);
        }
    }
    if !touched.transfers.is_empty() {
        let ids: Vec<_> = touched.transfers.iter().map(|id| id.bytes()).collect();
        let sql = "select * from transfers where id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(connection).await? {
            let transfer = rows::transfer(row)?;
            books.transfers.load(transfer.id, transfer);
        }
    }
    Ok(())
}

/// Writes what changed, nothing for most commits.
pub(super) async fn write(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let mut captures: Vec<_> = books.captures.changed().map(|row| row.value).collect();
    captures.sort_unstable_by_key(|capture| capture.id);
    if !captures.is_empty() {
        let sql = "insert into captures (id, payment, merchant, amount, currency, let_go, last, decision, at)
            select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[], $5::text[], $6::int8[], $7::int2[],
                $8::bytea[], $9::int8[])";
        sqlx::query(sql)
            .bind(captures.iter().map(|capture| capture.id.bytes()).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.payment.bytes()).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.merchant.bytes()).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.amount.minor).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.amount.currency.code()).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.let_go).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| i16::from(capture.last)).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.decision.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(captures.iter().map(|capture| capture.at.0).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let mut reviews: Vec<_> = books.reviews.changed().map(|row| row.value).collect();
    reviews.sort_unstable_by_key(|review| review.id);
    if !reviews.is_empty() {
        let sql =
            "insert into reviews (id, kind, payer, payee, amount, currency, hold_ms, decision, state, at, expires_at,
                operator, ended_at)
            select * from unnest($1::bytea[], $2::int2[], $3::bytea[], $4::bytea[], $5::int8[], $6::text[], $7::int8[],
                $8::bytea[], $9::int2[], $10::int8[], $11::int8[], $12::bytea[], $13::int8[])
            on conflict on constraint reviews_pk do update
                set state = excluded.state, operator = excluded.operator, ended_at = excluded.ended_at";
        let parts: Vec<_> = reviews.iter().map(|review| rows::reviewed_parts(&review.of)).collect();
        sqlx::query(sql)
            .bind(reviews.iter().map(|review| review.id.bytes()).collect::<Vec<_>>())
            .bind(parts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.of.payer().bytes()).collect::<Vec<_>>())
            .bind(parts.iter().map(|(_, payee)| *payee).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.amount.minor).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.amount.currency.code()).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| rows::hold_ms(review.terms)).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.decision.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| i16::from(review.state.code())).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.at.0).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.expires_at.0).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.operator.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(reviews.iter().map(|review| review.ended_at.map(|at| at.0)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let moved: Vec<_> = books.transfers.changed().filter(|row| row.stored).collect();
    if !moved.is_empty() {
        let sql = "update transfers t set state = u.state
            from unnest($1::bytea[], $2::int2[]) as u (id, state) where t.id = u.id";
        sqlx::query(sql)
            .bind(moved.iter().map(|row| row.key.bytes()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| i16::from(row.value.state.code())).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}
