//! Prices that were named to users, as rows.

use koban_domain::exchanges::{Pair, Rate};
use koban_domain::ids::{QuoteId, RecordId, UserId};
use koban_domain::money::{Currency, Money};
use koban_domain::quotes::Quote;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, blob, on_write, one};
use crate::error::StoreError;

/// Keeps a new quote.
pub async fn put(store: &Store, quote: &Quote) -> Result<(), StoreError> {
    const SQL: &str =
        "insert into quotes (id, user_id, plugin, component, decision, sell_amount, sell_currency, buy_amount,
            buy_currency, asked_amount, asked_currency, base, quote, rate, mid, fixed_at, at, expires_at, last_good)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    on_write!(store, pool => {
        sqlx::query(SQL)
            .bind(blob(quote.id.bytes()))
            .bind(blob(quote.user.bytes()))
            .bind(quote.plugin.as_str())
            .bind(blob(quote.component.0))
            .bind(blob(quote.decision.bytes()))
            .bind(quote.sell.minor)
            .bind(quote.sell.currency.code())
            .bind(quote.buy.minor)
            .bind(quote.buy.currency.code())
            .bind(quote.asked.minor)
            .bind(quote.asked.currency.code())
            .bind(quote.pair.base.code())
            .bind(quote.pair.quote.code())
            .bind(quote.rate.units())
            .bind(quote.mid.to_string())
            .bind(quote.fixed_at.0)
            .bind(quote.at.0)
            .bind(quote.expires_at.0)
            .bind(i16::from(quote.last_good))
            .execute(pool)
            .await?;
        Ok(())
    })
}

/// A user's quote.
pub async fn by_id(store: &Store, id: QuoteId, user: UserId) -> Result<Option<Quote>, StoreError> {
    const SQL: &str = "select * from quotes where id = $1 and user_id = $2";
    one!(store, SQL, [blob(id.bytes()), blob(user.bytes())], read)
}

/// The last quote that a plugin itself named for this side since then, whoever asked.
pub async fn last_good(
    store: &Store,
    plugin: &str,
    (sell, buy): (Currency, Currency),
    since: Timestamp,
) -> Result<Option<Quote>, StoreError> {
    const SQL: &str = "select * from quotes
        where plugin = $1 and sell_currency = $2 and buy_currency = $3 and last_good = 0 and at >= $4
        order by id desc limit 1";
    one!(store, SQL, [plugin, sell.code(), buy.code(), since.0], read)
}

/// Forgets quotes that ran out before then, at most so many.
pub async fn forget(store: &Store, before: Timestamp, limit: u16) -> Result<u64, StoreError> {
    const SQL: &str = "delete from quotes where id in
        (select id from quotes where expires_at < $1 order by id limit $2)";
    on_write!(store, pool => {
        Ok(sqlx::query(SQL).bind(before.0).bind(i64::from(limit)).execute(pool).await?.rows_affected())
    })
}

fn read(row: &impl Columns) -> Result<Quote, StoreError> {
    let id = QuoteId(row.id("id")?);
    let damaged = |what: &str| StoreError::damaged(format!("quote {id}: its {what} cannot be one"));
    let component = row.bytes("component")?;
    Ok(Quote {
        id,
        user: UserId(row.id("user_id")?),
        plugin: row.text("plugin")?,
        component: Digest(component.try_into().map_err(|_| damaged("component"))?),
        decision: RecordId(row.id("decision")?),
        asked: Money::new(row.long("asked_amount")?, row.currency("asked_currency")?),
        sell: Money::new(row.long("sell_amount")?, row.currency("sell_currency")?),
        buy: Money::new(row.long("buy_amount")?, row.currency("buy_currency")?),
        pair: Pair { base: row.currency("base")?, quote: row.currency("quote")? },
        rate: Rate::of_units(row.long("rate")?).ok_or_else(|| damaged("rate"))?,
        mid: row.text("mid")?.parse().map_err(|_| damaged("middle"))?,
        fixed_at: row.time("fixed_at")?,
        at: row.time("at")?,
        expires_at: row.time("expires_at")?,
        last_good: row.small("last_good")? == 1,
    })
}
