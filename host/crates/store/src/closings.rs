//! What is agreed with merchants and their closings as rows. The ledger writes them; here they are found.

use koban_domain::arrangements::{Arrangement, CutOff};
use koban_domain::closings::Closing;
use koban_domain::ids::{ClosingId, MerchantId};
use koban_domain::money::Currency;

use crate::database::{Columns as _, Store, all, blob, on, one};
use crate::error::StoreError;
use crate::ledger::merchants::{arrangement, closing};
use crate::query::LAST_ID;

/// What is agreed with a merchant, in each currency in which something is.
pub async fn arrangements(store: &Store, merchant: MerchantId) -> Result<Vec<(Currency, Arrangement)>, StoreError> {
    const SQL: &str = "select * from arrangements where merchant = $1 order by currency limit 200";
    all!(store, SQL, [blob(merchant.bytes())], |row| arrangement(row)
        .map(|((_, currency), arrangement)| (currency, arrangement)))
}

/// The closing with this id.
pub async fn by_id(store: &Store, id: ClosingId) -> Result<Option<Closing>, StoreError> {
    const SQL: &str = "select * from closings where id = $1";
    one!(store, SQL, [blob(id.bytes())], closing)
}

/// Closings, newest first, before this one: those of a merchant, or all of them.
pub async fn list(
    store: &Store,
    merchant: Option<MerchantId>,
    before: Option<ClosingId>,
    limit: u16,
) -> Result<Vec<Closing>, StoreError> {
    const ALL: &str = "select * from closings where id < $1 order by id desc limit $2";
    const OF_MERCHANT: &str = "select * from closings where merchant = $3 and id < $1 order by id desc limit $2";
    on!(store, pool => {
        let query = sqlx::query(if merchant.is_some() { OF_MERCHANT } else { ALL })
            .bind(blob(before.map_or(LAST_ID, |id| id.bytes())))
            .bind(i64::from(limit));
        let query = match merchant {
            Some(merchant) => query.bind(blob(merchant.bytes())),
            None => query,
        };
        query.fetch_all(pool).await?.iter().map(closing).collect()
    })
}

/// Closings of periods that end on or after the one Japanese day and before the other, the last period first: those of a merchant, or all
/// of them.
pub async fn between(
    store: &Store,
    merchant: Option<MerchantId>,
    (from, to): (i32, i32),
    limit: u16,
) -> Result<Vec<Closing>, StoreError> {
    const ALL: &str =
        "select * from closings where until >= $1 and until < $2 order by until desc, merchant, currency limit $3";
    const OF_MERCHANT: &str = "select * from closings where until >= $1 and until < $2 and merchant = $4
        order by until desc, merchant, currency limit $3";
    on!(store, pool => {
        let query = sqlx::query(if merchant.is_some() { OF_MERCHANT } else { ALL });
        let query = query.bind(from).bind(to).bind(i64::from(limit));
        let query = match merchant {
            Some(merchant) => query.bind(blob(merchant.bytes())),
            None => query,
        };
        query.fetch_all(pool).await?.iter().map(closing).collect()
    })
}

/// A period that is over and was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// The Japanese day with whose beginning it ends, in days since 1970-01-01.
    pub until: i32,
}

/// Periods that are over on this Japanese day and were not closed, of merchants that were there before they ended. A merchant that
/// nothing was ever agreed with is closed with in yen, at the platform's own cut-off.
pub async fn due(store: &Store, today: i32, own: CutOff, limit: u16) -> Result<Vec<Due>, StoreError> {
    // A day begins nine hours earlier than in UTC.
    const SQL: &str = "select merchant, currency, until from (
            select m.id as merchant, coalesce(a.currency, 'JPY') as currency, m.created_at, coalesce(a.closed_to, 0) as closed_to,
                case coalesce(a.cut_off, $1) when 1 then $2 when 2 then $3 else $4 end as until
            from merchants m left join arrangements a on a.merchant = m.id) periods
        where closed_to < until and created_at < until * 86400000 - 32400000
        order by until, merchant, currency limit $5";
    all!(
        store,
        SQL,
        [
            i64::from(own.code()),
            i64::from(CutOff::Daily.latest(today)),
            i64::from(CutOff::TwiceMonthly.latest(today)),
            i64::from(CutOff::Monthly.latest(today)),
            i64::from(limit)
        ],
        |row| {
            let until = i32::try_from(row.long(2)?).map_err(|_| StoreError::damaged("a period ends on no day"))?;
            Ok(Due { merchant: MerchantId(row.id(0)?), currency: row.currency(1)?, until })
        }
    )
}
