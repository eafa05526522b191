//! What plugins hear, as rows: how far they have come, what they have remembered, and what waits for an operator. The ledger writes them.

use std::collections::BTreeMap;

use koban_domain::accounts::PluginKey;
use koban_domain::bonus::{Campaign, OfLot};
use koban_domain::gifts::GiftKey;
use koban_domain::ids::{EventId, LotId, MerchantId, PaymentId, RecordId, UserId};
use koban_domain::ledger::News;
use koban_domain::subscriptions::{Kept, Parked, Subscription, Whose};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on, on_write, one};
use crate::error::StoreError;
use crate::ledger::bonus::campaign;
use crate::ledger::subscriptions::subscription;
use crate::query::from_postcard;

/// How far this plugin has heard.
pub async fn by_plugin(store: &Store, plugin: &str) -> Result<Option<Subscription>, StoreError> {
    const SQL: &str = "select * from subscriptions where plugin = $1";
    one!(store, SQL, [blob(PluginKey::of(plugin).0.as_bytes())], subscription)
}

/// All of them, in the order of the plugins' ids.
pub async fn list(store: &Store, after: &str, limit: u16) -> Result<Vec<Subscription>, StoreError> {
    const SQL: &str = "select * from subscriptions where name > $1 order by name limit $2";
    all!(store, SQL, [after, i64::from(limit)], subscription)
}

/// The last page of the outbox that was written before this time: a plugin that listens since then begins behind it.
pub async fn page_before(store: &Store, since: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select coalesce((select min(sequence) from outbox where at >= $1), h.outbox_sequence + 1) - 1
        from lane_heads h where h.lane = 0";
    on!(store, pool => Ok(sqlx::query(SQL).bind(since.0).fetch_one(pool).await?.long(0)?))
}

/// The oldest page that is there; none if there is none.
pub async fn oldest_page(store: &Store) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "select min(sequence) from outbox";
    on!(store, pool => Ok(sqlx::query(SQL).fetch_one(pool).await?.maybe_long(0)?))
}

/// Notes that a plugin listens, unless it does already.
pub async fn begin(store: &Store, new: &Subscription) -> Result<(), StoreError> {
    const SQL: &str =
        "insert into subscriptions (plugin, name, version, sequence, place, attempts, heard, parked, kept, kept_bytes,
            since, changed_at, owner, leased_until)
        values ($1, $2, $3, $4, 0, 0, 0, 0, 0, 0, $5, $6, null, 0) on conflict (plugin) do nothing";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(PluginKey::of(&new.plugin).0.as_bytes()))
        .bind(new.plugin.as_str())
        .bind(blob(new.version.as_bytes()))
        .bind(new.sequence)
        .bind(new.since.0)
        .bind(new.changed_at.0)
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

/// Takes a plugin to this host alone until a time. False if another host has it.
pub async fn lease(
    store: &Store,
    plugin: &str,
    (owner, now, until): (&str, Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    const SQL: &str = "update subscriptions set owner = $2, leased_until = $3
        where plugin = $1 and (owner = $2 or owner is null or leased_until < $4)";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(PluginKey::of(plugin).0.as_bytes()))
        .bind(owner)
        .bind(until.0)
        .bind(now.0)
        .execute(pool)
        .await?
        .rows_affected()
        == 1))
}

/// What a plugin has remembered about a user, if there is one, and about its scope; in the order of the names. What is over is among it.
pub async fn remembered(store: &Store, plugin: &str, user: Option<UserId>) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "select about, name, value, expires_at from plugin_values where plugin = $1 and about in ($2, $3)
        order by about, name";
    let scope = blob(Whose::SCOPE.0.bytes());
    let about = user.map_or_else(|| scope.clone(), |user| blob(user.bytes()));
    all!(store, SQL, [blob(PluginKey::of(plugin).0.as_bytes()), scope, about], kept)
}

/// Values whose time has run out, the oldest end first.
pub async fn over(store: &Store, plugin: &str, now: Timestamp, limit: u16) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "select about, name, value, expires_at from plugin_values where plugin = $1 and expires_at <= $2
        order by expires_at limit $3";
    all!(store, SQL, [blob(PluginKey::of(plugin).0.as_bytes()), now.0, i64::from(limit)], kept)
}

fn kept(row: &impl Columns) -> Result<Kept, StoreError> {
    Ok(Kept {
        whose: Whose(UserId(row.id(0)?)),
        name: row.text(1)?,
        value: from_postcard(&row.bytes(2)?, "what a plugin has remembered")?,
        expires_at: row.maybe_time(3)?,
    })
}

/// The campaigns that are bound to budgets of a plugin, by the budgets' names: of two that were bound at the same moment the latest.
pub async fn budgets(store: &Store, plugin: &str) -> Result<BTreeMap<String, Campaign>, StoreError> {
    const SQL: &str = "select * from campaigns where bound_plugin = $1 order by bound_budget, id limit 200";
    let campaigns: Result<Vec<Campaign>, StoreError> = all!(store, SQL, [plugin], campaign);
    Ok(campaigns?.into_iter().filter_map(|known| Some((known.bound.as_ref()?.budget.clone(), known))).collect())
}

/// What was granted for a payment out of one budget of a plugin, with the lots that it is. A payment has few captures.
pub async fn gifts_of(
    store: &Store,
    (plugin, budget): (&str, &str),
    payment: PaymentId,
) -> Result<Vec<(GiftKey, OfLot)>, StoreError> {
    const SQL: &str =
        "select g.event, l.id, l.user_id, l.currency from plugin_gifts g join bonus_lots l on l.id = g.lot
        where g.plugin = $1 and g.payment = $2 and g.budget = $3 order by g.event limit 1000";
    let key = PluginKey::of(plugin);
    all!(store, SQL, [blob(key.0.as_bytes()), blob(payment.bytes()), budget], |row| {
        let key = GiftKey { plugin: key, budget: budget.to_owned(), event: EventId(row.id(0)?) };
        Ok((key, OfLot { lot: LotId(row.id(1)?), user: UserId(row.id(2)?), currency: row.currency(3)? }))
    })
}

/// Events that a plugin could not take, the oldest first, behind this one.
pub async fn parked(
    store: &Store,
    plugin: &str,
    after: Option<EventId>,
    limit: u16,
) -> Result<Vec<Parked>, StoreError> {
    const SQL: &str = "select * from parked_events where plugin = $1 and event > $2 order by event limit $3";
    let after = blob(after.unwrap_or_default().bytes());
    all!(store, SQL, [blob(PluginKey::of(plugin).0.as_bytes()), after, i64::from(limit)], read_parked)
}

/// One of them.
pub async fn parked_by_id(store: &Store, plugin: &str, event: EventId) -> Result<Option<Parked>, StoreError> {
    const SQL: &str = "select * from parked_events where plugin = $1 and event = $2";
    one!(store, SQL, [blob(PluginKey::of(plugin).0.as_bytes()), blob(event.bytes())], read_parked)
}

fn read_parked(row: &impl Columns) -> Result<Parked, StoreError> {
    Ok(Parked {
        news: News {
            id: EventId(row.id("event")?),
            kind: row.text("kind")?,
            merchant: row.maybe_id("merchant")?.map(MerchantId),
            body: row.text("body")?,
            at: row.time("at")?,
        },
        reason: row.text("reason")?,
        decision: row.maybe_id("decision")?.map(RecordId),
        at: row.time("parked_at")?,
    })
}
