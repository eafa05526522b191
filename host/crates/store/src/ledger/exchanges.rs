//! New exchanges of one commit, written in bulk on either database. Most commits have none.

use koban_domain::exchanges::Exchange;
use koban_domain::ledger::Commit;
use sqlx::{PgConnection, SqliteConnection};

use crate::error::StoreError;
use crate::ledger::json::JsonRows;

fn new(commit: &Commit) -> Vec<&Exchange> {
    let mut exchanges: Vec<_> = commit.books.exchanges.changed().map(|row| row.value).collect();
    exchanges.sort_unstable_by_key(|exchange| exchange.id);
    exchanges
}

pub(crate) async fn write_sqlite(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    const SQL: &str = "insert into exchanges
            (id, user_id, sell_amount, sell_currency, buy_amount, buy_currency, base, quote, rate, repaid, at)
        select unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10 from json_each($1)";
    let exchanges = new(commit);
    if exchanges.is_empty() {
        return Ok(());
    }
    let mut json = JsonRows::with_capacity(exchanges.len() * 200);
    for exchange in exchanges {
        json.row().bytes(&exchange.id.bytes()).bytes(&exchange.user.bytes());
        json.int(exchange.sell.minor).text(exchange.sell.currency.code());
        json.int(exchange.buy.minor).text(exchange.buy.currency.code());
        json.text(exchange.pair.base.code()).text(exchange.pair.quote.code()).int(exchange.rate.units());
        json.int(exchange.repaid).int(exchange.at.0);
    }
    crate::ledger::sqlite::run(connection, SQL, json).await.map(drop)
}

pub(crate) async fn write_postgres(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    const SQL: &str = "insert into exchanges
            (id, user_id, sell_amount, sell_currency, buy_amount, buy_currency, base, quote, rate, repaid, at)
        select * from unnest($1::bytea[], $2::bytea[], $3::int8[], $4::text[], $5::int8[], $6::text[], $7::text[], $8::text[],
            $9::int8[], $10::int8[], $11::int8[])";
    let exchanges = new(commit);
    if exchanges.is_empty() {
        return Ok(());
    }
    sqlx::query(SQL)
        .bind(exchanges.iter().map(|exchange| exchange.id.bytes()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.user.bytes()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.sell.minor).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.sell.currency.code()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.buy.minor).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.buy.currency.code()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.pair.base.code()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.pair.quote.code()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.rate.units()).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.repaid).collect::<Vec<_>>())
        .bind(exchanges.iter().map(|exchange| exchange.at.0).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
