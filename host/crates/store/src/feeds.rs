//! Feeds of exchange rates: when each is asked, and the newest rates that were read from it.

use koban_domain::guest::{Decimal, MarketRate};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, on_tx, on_write, one};
use crate::error::StoreError;

/// How a feed stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// The plugin whose feed it is.
    pub plugin: String,
    /// When it is asked next.
    pub due_at: Timestamp,
    /// When it was last read; the beginning of time if never.
    pub read_at: Timestamp,
    /// What went wrong last; empty if nothing.
    pub problem: String,
}

/// When a feed is asked next; none if it never was.
pub async fn due_at(store: &Store, plugin: &str) -> Result<Option<Timestamp>, StoreError> {
    const SQL: &str = "select due_at from feeds where plugin = $1";
    one!(store, SQL, [plugin], |row| Columns::time(row, 0))
}

/// Takes up a feed that is due, for one host: it is due again at `next`. False if it is not due, or another host was faster.
pub async fn take_up(store: &Store, plugin: &str, now: Timestamp, next: Timestamp) -> Result<bool, StoreError> {
    const NEW: &str = "insert into feeds (plugin, due_at, read_at, problem) values ($1, $2, 0, '')
        on conflict (plugin) do nothing";
    const TAKE: &str = "update feeds set due_at = $3 where plugin = $1 and due_at <= $2";
    on_write!(store, pool => {
        let new = sqlx::query(NEW).bind(plugin).bind(next.0).execute(pool).await?.rows_affected() == 1;
        let taken = sqlx::query(TAKE).bind(plugin).bind(now.0).bind(next.0).execute(pool).await?.rows_affected() == 1;
        Ok(new || taken)
    })
}

/// Keeps what was read, in one transaction: a pair's older rate never replaces a newer one.
pub async fn keep(store: &Store, plugin: &str, rates: &[MarketRate], now: Timestamp) -> Result<(), StoreError> {
    const RATE: &str = "insert into market_rates (plugin, base, quote, mantissa, scale, at) values ($1, $2, $3, $4, $5, $6)
        on conflict (plugin, base, quote) do update
            set mantissa = excluded.mantissa, scale = excluded.scale, at = excluded.at where market_rates.at <= excluded.at";
    const FEED: &str = "update feeds set read_at = $2, problem = '' where plugin = $1";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        for rate in rates {
            sqlx::query(RATE)
                .bind(plugin)
                .bind(rate.base.code())
                .bind(rate.quote.code())
                .bind(rate.mid.mantissa)
                .bind(i16::from(rate.mid.scale))
                .bind(i64::try_from(rate.at).unwrap_or(i64::MAX))
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query(FEED).bind(plugin).bind(now.0).execute(&mut *connection).await?;
    });
    tx.commit().await
}

/// Notes what went wrong, and when to try again.
pub async fn failed(store: &Store, plugin: &str, problem: &str, next: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "update feeds set problem = $2, due_at = $3 where plugin = $1";
    on_write!(store, pool => {
        sqlx::query(SQL).bind(plugin).bind(problem).bind(next.0).execute(pool).await?;
        Ok(())
    })
}

/// Asks a feed again at the next look, such as after its address was set.
pub async fn ask_soon(store: &Store, plugin: &str, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "update feeds set due_at = $2 where plugin = $1 and due_at > $2";
    on_write!(store, pool => {
        sqlx::query(SQL).bind(plugin).bind(now.0).execute(pool).await?;
        Ok(())
    })
}

/// How every feed stands, in the order of the plugins.
pub async fn list(store: &Store) -> Result<Vec<FeedRow>, StoreError> {
    const SQL: &str = "select plugin, due_at, read_at, problem from feeds order by plugin";
    all!(store, SQL, [], feed)
}

/// The newest rates of a plugin, in the order of their pairs.
pub async fn rates(store: &Store, plugin: &str) -> Result<Vec<MarketRate>, StoreError> {
    const SQL: &str =
        "select base, quote, mantissa, scale, at from market_rates where plugin = $1 order by base, quote";
    all!(store, SQL, [plugin], rate)
}

fn feed(row: &impl Columns) -> Result<FeedRow, StoreError> {
    Ok(FeedRow { plugin: row.text(0)?, due_at: row.time(1)?, read_at: row.time(2)?, problem: row.text(3)? })
}

fn rate(row: &impl Columns) -> Result<MarketRate, StoreError> {
    let scale = row.small(3)?;
    let damaged = || StoreError::damaged(format!("a market rate has the scale {scale}"));
    Ok(MarketRate {
        base: row.currency(0)?,
        quote: row.currency(1)?,
        mid: Decimal { mantissa: row.long(2)?, scale: u8::try_from(scale).map_err(|_| damaged())? },
        at: u64::try_from(row.long(4)?).unwrap_or(0),
    })
}
