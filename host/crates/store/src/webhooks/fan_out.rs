//! From the outbox to endpoints: every page once, in order, under one lock; and once more for an endpoint that asks.

use std::collections::HashSet;

use koban_domain::events;
use koban_domain::ids::{MerchantId, WebhookId};
use koban_domain::ledger::News;
use koban_domain::time::Timestamp;

use super::deliveries::{Given, again_in, insert};
use super::{WebhookRow, lock, read};
use crate::database::{Columns as _, Store, Tx, blob, on, on_tx};
use crate::error::StoreError;
use crate::ledger::pages::open_news;
use crate::query::key_list;

/// How far the outbox is written, how far it is handed out, and whether anybody is there to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The last page that was written.
    pub written: i64,
    /// The last page that was handed out.
    pub handed_out: i64,
    /// Whether an endpoint is switched on.
    pub anybody: bool,
    /// Whether an endpoint is to be told once more.
    pub replaying: bool,
}

/// How things stand. Reads only.
pub async fn lag(store: &Store) -> Result<Lag, StoreError> {
    const SQL: &str = "select h.outbox_sequence, c.sequence,
            case when exists (select 1 from webhook_endpoints where enabled = 1) then 1 else 0 end,
            case when exists (select 1 from webhook_endpoints where replay_from is not null) then 1 else 0 end
        from lane_heads h, outbox_cursors c where h.lane = 0 and c.name = 'webhooks'";
    on!(store, pool => {
        let row = sqlx::query(SQL).fetch_one(pool).await?;
        let int = |at: usize| row.long(at);
        Ok(Lag { written: int(0)?, handed_out: int(1)?, anybody: flag(&row, 2)?, replaying: flag(&row, 3)? })
    })
}

fn flag(row: &impl crate::database::Columns, at: usize) -> Result<bool, StoreError> {
    Ok(row.int(at)? != 0)
}

/// What was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandedOut {
    /// Pages that were read.
    pub pages: i64,
    /// Deliveries that arose.
    pub deliveries: usize,
}

/// Deliveries that one transaction makes: whole pages, as long as there are fewer.
const DELIVERIES_MAX: usize = 1_000;

/// Hands out the next pages, at most `pages_max`: each news becomes a delivery of each endpoint that is told of it, and the cursor moves,
/// all in one transaction. Errors: [`StoreError`] if a page is missing, for none is ever passed over.
pub async fn hand_out(
    store: &Store,
    pages_max: u16,
    now: Timestamp,
    give_up_at: Timestamp,
) -> Result<HandedOut, StoreError> {
    let mut tx = store.begin().await?;
    let cursor = lock(&mut tx).await?;
    let pages = pages(&mut tx, cursor, i64::MAX, pages_max).await?;
    let endpoints = told(&mut tx, &pages).await?;
    let mut out = HandedOut::default();
    let mut given = Vec::new();
    let mut numbering = Numbering::default();
    for (sequence, news) in &pages {
        if *sequence != cursor + out.pages + 1 {
            return Err(StoreError::damaged(format!("the outbox has no page {}", cursor + out.pages + 1)));
        }
        for news in news {
            for endpoint in &endpoints {
                if *sequence > endpoint.since_sequence && is_for(endpoint, news) {
                    given.push(Given::of(endpoint.id, news, numbering.next(endpoint)));
                }
            }
        }
        out.pages += 1;
        if given.len() >= DELIVERIES_MAX {
            break;
        }
    }
    if out.pages == 0 {
        return Ok(out);
    }
    out.deliveries = given.len();
    insert(&mut tx, &given, now, give_up_at).await?;
    numbering.write(&mut tx).await?;
    const MOVE: &str = "update outbox_cursors set sequence = $1 where name = 'webhooks'";
    on_tx!(&mut tx, connection => {
        sqlx::query(MOVE).bind(cursor + out.pages).execute(connection).await?;
    });
    tx.commit().await?;
    Ok(out)
}

/// Moves the cursor to the end of the outbox, if nobody is there to be told.
pub async fn skip(store: &Store) -> Result<(), StoreError> {
    const SQL: &str = "update outbox_cursors set sequence = (select outbox_sequence from lane_heads where lane = 0)
        where name = 'webhooks' and not exists (select 1 from webhook_endpoints where enabled = 1)";
    let mut tx = store.begin().await?;
    lock(&mut tx).await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL).execute(connection).await?;
    });
    tx.commit().await
}

/// Asks that an endpoint be told once more all that was committed since this time, as far as the outbox reaches back. False if it is gone or
/// is being told already.
pub async fn ask_again(store: &Store, endpoint: WebhookId, since: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update webhook_endpoints
        set replay_from = coalesce((select min(sequence) from outbox where at >= $2), $3 + 1) - 1, replay_until = $3
        where id = $1 and replay_from is null";
    let mut tx = store.begin().await?;
    let cursor = lock(&mut tx).await?;
    let asked = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(endpoint.bytes()))
        .bind(since.0)
        .bind(cursor)
        .execute(connection)
        .await?
        .rows_affected());
    tx.commit().await?;
    Ok(asked == 1)
}

/// Goes on with one endpoint that asked to be told again, by at most `pages_max` pages. False if none did.
pub async fn replay(store: &Store, pages_max: u16, now: Timestamp, give_up_at: Timestamp) -> Result<bool, StoreError> {
    const NEXT: &str = "select * from webhook_endpoints where replay_from is not null order by id limit 1";
    const MOVE: &str = "update webhook_endpoints set replay_from = $2, replay_until = $3 where id = $1";
    let mut tx = store.begin().await?;
    lock(&mut tx).await?;
    let endpoint = on_tx!(&mut tx, connection => sqlx::query(NEXT)
        .fetch_optional(connection)
        .await?
        .map(|row| read(&row))
        .transpose())?;
    let Some(endpoint) = endpoint else { return Ok(false) };
    let (from, until) = endpoint.replay.unwrap_or_default();
    let pages = pages(&mut tx, from, until, pages_max).await?;
    let mut read_to = from;
    let mut wanted: Vec<&News> = Vec::new();
    for (sequence, news) in &pages {
        wanted.extend(news.iter().filter(|news| is_for(&endpoint, news)));
        read_to = *sequence;
        if wanted.len() >= DELIVERIES_MAX {
            break;
        }
    }
    let keys: Vec<_> = wanted.iter().map(|news| (endpoint.id, news.id)).collect();
    let known: HashSet<_> = again_in(&mut tx, &keys, now, give_up_at).await?.into_iter().collect();
    let mut numbering = Numbering::default();
    let given: Vec<Given> = wanted
        .into_iter()
        .filter(|news| !known.contains(&news.id))
        .map(|news| Given::of(endpoint.id, news, numbering.next(&endpoint)))
        .collect();
    insert(&mut tx, &given, now, give_up_at).await?;
    numbering.write(&mut tx).await?;
    let goes_on = (!pages.is_empty() && read_to < until).then_some((read_to, until));
    on_tx!(&mut tx, connection => {
        sqlx::query(MOVE)
            .bind(blob(endpoint.id.bytes()))
            .bind(goes_on.map(|(from, _)| from))
            .bind(goes_on.map(|(_, until)| until))
            .execute(connection)
            .await?;
    });
    tx.commit().await?;
    Ok(true)
}

/// Whether an endpoint is told of this: its merchant's own or, for the platform, everything; and of a type it asked for.
fn is_for(endpoint: &WebhookRow, news: &News) -> bool {
    let own = endpoint.merchant.is_none() || endpoint.merchant == news.merchant;
    own && (endpoint.types.is_empty() || endpoint.types.contains(&news.kind)) && events::find(&news.kind).is_some()
}

async fn pages(tx: &mut Tx<'_>, after: i64, up_to: i64, limit: u16) -> Result<Vec<(i64, Vec<News>)>, StoreError> {
    const SQL: &str =
        "select sequence, page from outbox where sequence > $1 and sequence <= $2 order by sequence limit $3";
    on_tx!(tx, connection => sqlx::query(SQL)
        .bind(after)
        .bind(up_to)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((row.long(0)?, open_news(&row.bytes(1)?)?)))
        .collect())
}

/// The endpoints that are switched on and may be told of any of these pages.
async fn told(tx: &mut Tx<'_>, pages: &[(i64, Vec<News>)]) -> Result<Vec<WebhookRow>, StoreError> {
    let merchants: HashSet<MerchantId> =
        pages.iter().flat_map(|(_, news)| news).filter_map(|news| news.merchant).collect();
    let keys = key_list(merchants.iter().map(MerchantId::bytes)).unwrap_or_else(|| "[]".to_owned());
    let sql = tx.either(
        "select * from webhook_endpoints where enabled = 1 and (merchant is null
            or merchant in (select unhex(value ->> 0) from json_each($1))) order by id",
        "select * from webhook_endpoints where enabled = 1 and (merchant is null
            or merchant in (select decode(value ->> 0, 'hex') from json_array_elements($1::json))) order by id",
    );
    on_tx!(tx, connection => sqlx::query(sql).bind(keys).fetch_all(connection).await?.iter().map(read).collect())
}

/// The numbers that endpoints' deliveries get, without holes.
#[derive(Default)]
struct Numbering(Vec<(WebhookId, i64)>);

impl Numbering {
    fn next(&mut self, endpoint: &WebhookRow) -> i64 {
        let place = match self.0.iter().position(|(id, _)| *id == endpoint.id) {
            Some(place) => place,
            None => {
                self.0.push((endpoint.id, endpoint.next_sequence));
                self.0.len() - 1
            }
        };
        let number = self.0[place].1;
        self.0[place].1 += 1;
        number
    }

    async fn write(self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        const SQL: &str = "update webhook_endpoints set next_sequence = $2 where id = $1";
        for (id, next) in self.0 {
            on_tx!(&mut *tx, connection => {
                sqlx::query(SQL).bind(blob(id.bytes())).bind(next).execute(connection).await?;
            });
        }
        Ok(())
    }
}
