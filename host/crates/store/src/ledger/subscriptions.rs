//! What plugins hear, and what was granted for them, of one commit, on either database. Most commits touch none.

use koban_domain::accounts::PluginKey;
use koban_domain::books::Books;
use koban_domain::gifts::{GiftKey, Gifted};
use koban_domain::ids::{CampaignId, EventId, LotId, PaymentId, UserId};
use koban_domain::ledger::Commit;
use koban_domain::subscriptions::{Heard, Subscription};
use koban_domain::touched::Touched;

use crate::database::{Columns, Tx, blob, on_tx};
use crate::error::StoreError;
use crate::query::{key_list, to_postcard};

/// Reads versions of subscriptions, gifts by their names, and what users have had of campaigns: the sum of their lots.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    if let Some(keys) = key_list(touched.subscriptions.iter().map(|plugin| plugin.0.into_bytes())) {
        let sql = tx.either(
            "select plugin, version from subscriptions where plugin in (select unhex(value ->> 0) from json_each($1))",
            "select plugin, version from subscriptions
                where plugin = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
        );
        on_tx!(&mut *tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                books.subscriptions.load(PluginKey(row.id(0)?), row.id(1)?);
            }
        });
    }
    for (campaign, user) in &touched.shares {
        const SQL: &str =
            "select cast(coalesce(sum(amount), 0) as bigint) from bonus_lots where campaign = $1 and user_id = $2";
        let share = on_tx!(&mut *tx, connection => sqlx::query(SQL)
            .bind(blob(campaign.bytes()))
            .bind(blob(user.bytes()))
            .fetch_one(connection)
            .await?
            .long(0)?);
        load_share(books, (*campaign, *user), share);
    }
    for key in &touched.gifts {
        const SQL: &str =
            "select lot, payment, granted, taken from plugin_gifts where plugin = $1 and budget = $2 and event = $3";
        let gifted = on_tx!(&mut *tx, connection => sqlx::query(SQL)
            .bind(blob(key.plugin.0.as_bytes()))
            .bind(key.budget.as_str())
            .bind(blob(key.event.bytes()))
            .fetch_optional(connection)
            .await?
            .map(|row| gifted(&row))
            .transpose()?);
        if let Some(gifted) = gifted {
            books.gifts.load(key.clone(), gifted);
        }
    }
    Ok(())
}

fn load_share(books: &mut Books, key: (CampaignId, UserId), share: i64) {
    if share > 0 {
        books.shares.load(key, share);
    }
}

/// lot, payment, granted, taken.
fn gifted(row: &impl Columns) -> Result<Gifted, StoreError> {
    Ok(Gifted {
        lot: LotId(row.id(0)?),
        payment: row.maybe_id(1)?.map(PaymentId),
        granted: row.long(2)?,
        taken: row.long(3)?,
    })
}

/// A subscription's row.
pub(crate) fn subscription(row: &impl Columns) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        plugin: row.text("name")?,
        version: row.id("version")?,
        sequence: row.long("sequence")?,
        place: row.long("place")?,
        attempts: row.long("attempts")?,
        heard: row.long("heard")?,
        parked: row.long("parked")?,
        kept: row.long("kept")?,
        kept_bytes: row.long("kept_bytes")?,
        since: row.time("since")?,
        changed_at: row.time("changed_at")?,
    })
}

/// Writes what plugins heard, in order, and the gifts that were granted or taken back.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    const GIFT: &str = "insert into plugin_gifts (plugin, budget, event, lot, payment, granted, taken)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (plugin, budget, event) do update set taken = excluded.taken";
    let mut gifts: Vec<(&GiftKey, &Gifted)> = commit.books.gifts.changed().map(|row| (row.key, row.value)).collect();
    gifts.sort_unstable_by_key(|(key, _)| *key);
    for (key, gifted) in gifts {
        on_tx!(&mut *tx, connection => {
            sqlx::query(GIFT)
                .bind(blob(key.plugin.0.as_bytes()))
                .bind(key.budget.as_str())
                .bind(blob(key.event.bytes()))
                .bind(blob(gifted.lot.bytes()))
                .bind(gifted.payment.map(|payment| blob(payment.bytes())))
                .bind(gifted.granted)
                .bind(gifted.taken)
                .execute(connection)
                .await?;
        });
    }
    for heard in &commit.heard {
        move_on(tx, heard).await?;
        remember(tx, heard).await?;
        park(tx, heard).await?;
    }
    Ok(())
}

/// The head's lock orders all writers, so the version cannot have changed since it was loaded.
async fn move_on(tx: &mut Tx<'_>, heard: &Heard) -> Result<(), StoreError> {
    const SQL: &str =
        "update subscriptions set version = $2, sequence = $3, place = $4, attempts = $5, heard = $6, parked = $7,
        kept = $8, kept_bytes = $9, changed_at = $10 where plugin = $1";
    let subscription = &heard.subscription;
    on_tx!(&mut *tx, connection => {
        sqlx::query(SQL)
            .bind(blob(heard.key().0.as_bytes()))
            .bind(blob(subscription.version.as_bytes()))
            .bind(subscription.sequence)
            .bind(subscription.place)
            .bind(subscription.attempts)
            .bind(subscription.heard)
            .bind(subscription.parked)
            .bind(subscription.kept)
            .bind(subscription.kept_bytes)
            .bind(subscription.changed_at.0)
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn remember(tx: &mut Tx<'_>, heard: &Heard) -> Result<(), StoreError> {
    const PUT: &str = "insert into plugin_values (plugin, about, name, value, expires_at) values ($1, $2, $3, $4, $5)
        on conflict (plugin, about, name) do update set value = excluded.value, expires_at = excluded.expires_at";
    const FORGET: &str = "delete from plugin_values where plugin = $1 and about = $2 and name = $3";
    let plugin = blob(heard.key().0.as_bytes());
    for kept in &heard.put {
        let value = to_postcard(&kept.value)?;
        on_tx!(&mut *tx, connection => {
            sqlx::query(PUT)
                .bind(plugin.clone())
                .bind(blob(kept.whose.0.bytes()))
                .bind(kept.name.as_str())
                .bind(value)
                .bind(kept.expires_at.map(|at| at.0))
                .execute(connection)
                .await?;
        });
    }
    for (whose, name) in &heard.forgotten {
        on_tx!(&mut *tx, connection => {
            sqlx::query(FORGET)
                .bind(plugin.clone())
                .bind(blob(whose.0.bytes()))
                .bind(name.as_str())
                .execute(connection)
                .await?;
        });
    }
    Ok(())
}

async fn park(tx: &mut Tx<'_>, heard: &Heard) -> Result<(), StoreError> {
    const PARK: &str =
        "insert into parked_events (plugin, event, kind, merchant, body, at, reason, decision, parked_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (plugin, event) do update set reason = excluded.reason, decision = excluded.decision";
    const UNPARK: &str = "delete from parked_events where plugin = $1 and event = $2";
    let plugin = blob(heard.key().0.as_bytes());
    if let Some(parked) = &heard.parked {
        on_tx!(&mut *tx, connection => {
            sqlx::query(PARK)
                .bind(plugin.clone())
                .bind(blob(parked.news.id.bytes()))
                .bind(parked.news.kind.as_str())
                .bind(parked.news.merchant.map(|merchant| blob(merchant.bytes())))
                .bind(parked.news.body.as_str())
                .bind(parked.news.at.0)
                .bind(parked.reason.as_str())
                .bind(parked.decision.map(|decision| blob(decision.bytes())))
                .bind(parked.at.0)
                .execute(connection)
                .await?;
        });
    }
    let unparked: Option<EventId> = heard.unparked;
    if let Some(event) = unparked {
        on_tx!(&mut *tx, connection => {
            sqlx::query(UNPARK).bind(plugin).bind(blob(event.bytes())).execute(connection).await?;
        });
    }
    Ok(())
}
