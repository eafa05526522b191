//! What each endpoint was given, and how its delivery stands: leased to one host at a time, tried, ended, kept for a while.

use std::collections::{HashMap, HashSet};

use koban_domain::events;
use koban_domain::ids::{EventId, WebhookId};
use koban_domain::ledger::{Audit, News};
use koban_domain::time::Timestamp;
use koban_domain::webhooks::Health;
use serde::{Deserialize, Serialize};

use super::{WebhookRow, lock, read};
use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, on_write};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::ledger::pages::append_audit;
use crate::query::{from_postcard, to_postcard};

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for its time.
    Waiting,
    /// A host has it in hand.
    Leased,
    /// The endpoint took it.
    Delivered,
    /// It is not tried any more.
    Failed,
}

impl State {
    fn of(number: i16) -> Result<State, StoreError> {
        match number {
            0 => Ok(State::Waiting),
            1 => Ok(State::Leased),
            2 => Ok(State::Delivered),
            3 => Ok(State::Failed),
            other => Err(StoreError::damaged(format!("a delivery has the state {other}"))),
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it ended.
    pub at: Timestamp,
    /// The status that was answered, if any was.
    pub status: Option<u16>,
    /// Why there was none.
    pub problem: Option<String>,
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// For whom.
    pub endpoint: WebhookId,
    /// The event.
    pub event: EventId,
    /// Counts what the endpoint was given.
    pub sequence: i64,
    /// The event's type.
    pub kind: String,
    /// What is sent, to the byte.
    pub body: String,
    /// How it stands.
    pub state: State,
    /// Attempts that ended, since it was last asked for.
    pub attempts: u32,
    /// Not before this.
    pub due_at: Timestamp,
    /// No attempt after this.
    pub give_up_at: Timestamp,
    /// Raised by each lease.
    pub fence: i64,
    /// The last attempts, oldest first.
    pub tries: Vec<Try>,
    /// Since when it has been there.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Most attempts that are remembered.
pub const TRIES_MAX: usize = 16;

/// A delivery that the caller alone may make until its lease ends, with its endpoint as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedDelivery {
    /// To whom.
    pub endpoint: WebhookRow,
    /// What.
    pub delivery: DeliveryRow,
}

/// How an attempt ended, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Delivered, failed, or waiting again.
    pub state: State,
    /// When it is due again.
    pub due_at: Timestamp,
    /// The attempt.
    pub tried: Try,
    /// How the endpoint is doing after it.
    pub health: Health,
    /// The endpoint is switched off for this reason, which the audit log keeps.
    pub disabled: Option<(String, Audit)>,
}

/// Deliveries whose time has come and that nobody holds, of endpoints that are switched on and do not rest: so many that no endpoint has more
/// than `per_endpoint` together with those `under_way`, and one that is failing has one. Each is leased with a higher fence than anybody had before.
pub async fn lease_due(
    store: &Store,
    (owner, now, lease_ms): (&str, Timestamp, i64),
    (per_endpoint, limit): (u16, u16),
    under_way: &HashMap<WebhookId, u16>,
) -> Result<Vec<LeasedDelivery>, StoreError> {
    const DUE: &str =
        "select e.*, d.event, d.sequence, d.type, d.body, d.state, d.attempts, d.due_at, d.give_up_at, d.fence,
            d.tries, d.created_at as given_at, d.changed_at as moved_at
        from webhook_endpoints e join webhook_deliveries d on d.endpoint = e.id
        where e.enabled = 1 and e.resting_until <= $1 and d.event in (
            select x.event from webhook_deliveries x
            where x.endpoint = e.id and x.state < 2 and x.due_at <= $1 and (x.state = 0 or x.lease_until <= $1)
            order by x.due_at, x.sequence limit $2)
        order by d.due_at, d.sequence limit $3";
    let found: Vec<LeasedDelivery> = on!(store, pool => sqlx::query(DUE)
        .bind(now.0)
        .bind(i64::from(per_endpoint))
        .bind(i64::from(limit) + 256)
        .fetch_all(pool)
        .await?
        .iter()
        .map(read_leased)
        .collect::<Result<_, StoreError>>())?;
    let mut places = under_way.clone();
    let mut chosen: Vec<LeasedDelivery> = Vec::new();
    for due in found {
        let most = if due.endpoint.health.failures > 0 { 1 } else { per_endpoint };
        let taken = places.entry(due.endpoint.id).or_default();
        if chosen.len() < usize::from(limit) && *taken < most {
            *taken += 1;
            chosen.push(due);
        }
    }
    let mut keys = JsonRows::with_capacity(chosen.len() * 80);
    for LeasedDelivery { delivery, .. } in &chosen {
        keys.row().bytes(&delivery.endpoint.bytes()).bytes(&delivery.event.bytes()).int(delivery.fence);
    }
    let Some(keys) = keys.finish() else { return Ok(Vec::new()) };
    // Two hosts may have found the same: the fence lets one of them have it.
    let sql = store.either(
        "update webhook_deliveries set state = 1, lease_owner = $1, lease_until = $2, fence = fence + 1
            where state < 2 and (endpoint, event, fence) in
                (select unhex(value ->> 0), unhex(value ->> 1), value ->> 2 from json_each($3))
            returning endpoint, event",
        "update webhook_deliveries set state = 1, lease_owner = $1, lease_until = $2, fence = fence + 1
            where state < 2 and (endpoint, event, fence) in
                (select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex'), (value ->> 2)::bigint
                from json_array_elements($3::json))
            returning endpoint, event",
    );
    let leased: HashSet<(WebhookId, EventId)> = on_write!(store, pool => sqlx::query(sql)
        .bind(owner)
        .bind(now.plus_ms(lease_ms).0)
        .bind(keys)
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok((WebhookId(row.id(0)?), EventId(row.id(1)?))))
        .collect::<Result<_, StoreError>>())?;
    chosen.retain(|one| leased.contains(&(one.delivery.endpoint, one.delivery.event)));
    for one in &mut chosen {
        one.delivery.fence += 1;
        one.delivery.state = State::Leased;
    }
    Ok(chosen)
}

/// Writes down how attempts ended, and how their endpoints are doing, in one transaction. False for each whose lease was lost: then nothing
/// is written of it, and whoever has it sees to the rest.
pub async fn end(store: &Store, ended: &[(DeliveryRow, Ended)], now: Timestamp) -> Result<Vec<bool>, StoreError> {
    let mut tx = store.begin().await?;
    let mut held = Vec::with_capacity(ended.len());
    let mut audits = Vec::new();
    for (delivery, ended) in ended {
        let is_held = end_one(&mut tx, delivery, ended, now).await?;
        if let Some((reason, audit)) = ended.disabled.as_ref().filter(|_| is_held)
            && disable(&mut tx, delivery.endpoint, reason, now).await?
        {
            audits.push((audit.clone(), now));
        }
        held.push(is_held);
    }
    // The audit's head is locked last, as everywhere.
    append_audit(&mut tx, &audits).await?;
    tx.commit().await?;
    Ok(held)
}

async fn end_one(tx: &mut Tx<'_>, delivery: &DeliveryRow, ended: &Ended, now: Timestamp) -> Result<bool, StoreError> {
    const DELIVERY: &str = "update webhook_deliveries set state = $4, attempts = attempts + 1, due_at = $5, tries = $6,
            lease_owner = null, lease_until = null, changed_at = $7
        where endpoint = $1 and event = $2 and fence = $3 and state = 1";
    const HEALTH: &str = "update webhook_endpoints set failures = $2, failing_since = $3, resting_until = $4
        where id = $1 and (failures <> $2 or resting_until <> $4)";
    let mut tries = delivery.tries.clone();
    tries.push(ended.tried.clone());
    let tries = to_postcard(&tries[tries.len().saturating_sub(TRIES_MAX)..])?;
    let state: i16 = match ended.state {
        State::Waiting | State::Leased => 0,
        State::Delivered => 2,
        State::Failed => 3,
    };
    let written = on_tx!(&mut *tx, connection => sqlx::query(DELIVERY)
        .bind(blob(delivery.endpoint.bytes()))
        .bind(blob(delivery.event.bytes()))
        .bind(delivery.fence)
        .bind(state)
        .bind(ended.due_at.0)
        .bind(tries)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    if written != 1 {
        return Ok(false);
    }
    on_tx!(&mut *tx, connection => {
        sqlx::query(HEALTH)
            .bind(blob(delivery.endpoint.bytes()))
            .bind(ended.health.failures)
            .bind(ended.health.failing_since.map(|at| at.0))
            .bind(ended.health.resting_until.0)
            .execute(connection)
            .await?;
    });
    Ok(true)
}

/// Switches an endpoint off. False if it is off already.
async fn disable(tx: &mut Tx<'_>, endpoint: WebhookId, reason: &str, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update webhook_endpoints set enabled = 0, disabled_reason = $2, changed_at = $3
        where id = $1 and enabled = 1";
    fail_waiting(tx, endpoint, now).await?;
    Ok(on_tx!(tx, connection => sqlx::query(SQL)
        .bind(blob(endpoint.bytes()))
        .bind(reason)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected())
        == 1)
}

/// What waits for an endpoint is not tried any more. Replaying brings it back.
pub(crate) async fn fail_waiting(tx: &mut Tx<'_>, endpoint: WebhookId, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str =
        "update webhook_deliveries set state = 3, lease_owner = null, lease_until = null, fence = fence + 1,
            changed_at = $2
        where endpoint = $1 and state < 2";
    on_tx!(tx, connection => {
        sqlx::query(SQL).bind(blob(endpoint.bytes())).bind(now.0).execute(connection).await?;
    });
    Ok(())
}

/// Gives an endpoint one event that is for nobody else, such as a test. False if the endpoint is gone.
pub async fn give(store: &Store, endpoint: WebhookId, news: &News, give_up_at: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    lock(&mut tx).await?;
    const NEXT: &str = "update webhook_endpoints set next_sequence = next_sequence + 1 where id = $1
        returning next_sequence - 1";
    let sequence = on_tx!(&mut tx, connection => sqlx::query(NEXT)
        .bind(blob(endpoint.bytes()))
        .fetch_optional(connection)
        .await?
        .map(|row| row.long(0))
        .transpose())?;
    let Some(sequence) = sequence else { return Ok(false) };
    insert(&mut tx, &[Given::of(endpoint, news, sequence)], news.at, give_up_at).await?;
    tx.commit().await?;
    Ok(true)
}

/// One event for one endpoint, before it is written.
pub(crate) struct Given {
    pub(crate) endpoint: WebhookId,
    pub(crate) event: EventId,
    sequence: i64,
    kind: String,
    body: String,
}

impl Given {
    pub(crate) fn of(endpoint: WebhookId, news: &News, sequence: i64) -> Given {
        let body = events::message(news, sequence);
        Given { endpoint, event: news.id, sequence, kind: news.kind.clone(), body }
    }
}

/// Writes deliveries that are due at once.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    given: &[Given],
    now: Timestamp,
    give_up_at: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = JsonRows::with_capacity(given.len() * 600);
    for one in given {
        rows.row()
            .bytes(&one.endpoint.bytes())
            .bytes(&one.event.bytes())
            .int(one.sequence)
            .text(&one.kind)
            .text(&one.body);
    }
    let Some(rows) = rows.finish() else { return Ok(()) };
    let sql = tx.either(
        "insert into webhook_deliveries (endpoint, event, sequence, type, body, state, attempts, due_at, give_up_at, fence, tries,
            created_at, changed_at)
        select unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, 0, 0, $2, $3, 0, $4, $2, $2
        from json_each($1)",
        "insert into webhook_deliveries (endpoint, event, sequence, type, body, state, attempts, due_at, give_up_at, fence, tries,
            created_at, changed_at)
        select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex'), (value ->> 2)::bigint, value ->> 3, value ->> 4,
            0, 0, $2, $3, 0, $4, $2, $2
        from json_array_elements($1::json)",
    );
    let none = to_postcard(&Vec::<Try>::new())?;
    on_tx!(tx, connection => {
        sqlx::query(sql).bind(rows).bind(now.0).bind(give_up_at.0).bind(none).execute(connection).await?;
    });
    Ok(())
}

/// Asks for one event again, delivered or not: it is due at once, with all its attempts before it. False if the endpoint was never given
/// it, or the log has let it go.
pub async fn again(
    store: &Store,
    endpoint: WebhookId,
    event: EventId,
    now: Timestamp,
    give_up_at: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let found = again_in(&mut tx, &[(endpoint, event)], now, give_up_at).await?;
    tx.commit().await?;
    Ok(!found.is_empty())
}

/// As [`again`], for many; answers which of them were there.
pub(crate) async fn again_in(
    tx: &mut Tx<'_>,
    asked: &[(WebhookId, EventId)],
    now: Timestamp,
    give_up_at: Timestamp,
) -> Result<Vec<EventId>, StoreError> {
    let mut keys = JsonRows::with_capacity(asked.len() * 80);
    for (endpoint, event) in asked {
        keys.row().bytes(&endpoint.bytes()).bytes(&event.bytes());
    }
    let Some(keys) = keys.finish() else { return Ok(Vec::new()) };
    let sql = tx.either(
        "update webhook_deliveries set state = 0, attempts = 0, due_at = $1, give_up_at = $2, lease_owner = null,
            lease_until = null, fence = fence + 1, changed_at = $1
        where (endpoint, event) in (select unhex(value ->> 0), unhex(value ->> 1) from json_each($3))
        returning event",
        "update webhook_deliveries set state = 0, attempts = 0, due_at = $1, give_up_at = $2, lease_owner = null,
            lease_until = null, fence = fence + 1, changed_at = $1
        where (endpoint, event) in
            (select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex') from json_array_elements($3::json))
        returning event",
    );
    on_tx!(tx, connection => sqlx::query(sql)
        .bind(now.0)
        .bind(give_up_at.0)
        .bind(keys)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| row.id(0).map(EventId))
        .collect())
}

/// What an endpoint was given, newest first before this number.
pub async fn list(
    store: &Store,
    endpoint: WebhookId,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<DeliveryRow>, StoreError> {
    const SQL: &str = "select *, created_at as given_at, changed_at as moved_at from webhook_deliveries
        where endpoint = $1 and sequence < $2 order by sequence desc limit $3";
    all!(store, SQL, [blob(endpoint.bytes()), before.unwrap_or(i64::MAX), i64::from(limit)], |row| read_delivery(
        row,
        WebhookId(row.id("endpoint")?)
    ))
}

/// One event as an endpoint was given it.
pub async fn by_event(store: &Store, endpoint: WebhookId, event: EventId) -> Result<Option<DeliveryRow>, StoreError> {
    const SQL: &str = "select *, created_at as given_at, changed_at as moved_at from webhook_deliveries
        where endpoint = $1 and event = $2";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(endpoint.bytes()))
        .bind(blob(event.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| read_delivery(&row, endpoint))
        .transpose())
}

/// How many deliveries wait, and how many endpoints the host has switched off.
pub async fn backlog(store: &Store) -> Result<(i64, i64), StoreError> {
    const SQL: &str = "select (select count(*) from webhook_deliveries where state < 2),
        (select count(*) from webhook_endpoints where disabled_reason is not null)";
    on!(store, pool => {
        let row = sqlx::query(SQL).fetch_one(pool).await?;
        Ok((row.long(0)?, row.long(1)?))
    })
}

/// Lets go of what need not be kept, at most `limit` rows of each sort: what waited too long has failed; what ended before `ended_before`
/// and what lies more than `kept` numbers back is deleted. How many rows were touched.
pub async fn sweep(
    store: &Store,
    now: Timestamp,
    ended_before: Timestamp,
    kept: i64,
    limit: u16,
) -> Result<u64, StoreError> {
    const GIVE_UP: &str =
        "update webhook_deliveries set state = 3, fence = fence + 1, lease_owner = null, lease_until = null,
            changed_at = $1
        where (endpoint, event) in
            (select endpoint, event from webhook_deliveries where state < 2 and give_up_at <= $1 limit $2)";
    const OLD: &str = "delete from webhook_deliveries where (endpoint, event) in
        (select endpoint, event from webhook_deliveries where state >= 2 and changed_at < $1 limit $2)";
    const MANY: &str = "delete from webhook_deliveries where state >= 2 and (endpoint, event) in
        (select d.endpoint, d.event from webhook_endpoints e join webhook_deliveries d on d.endpoint = e.id
            where d.sequence < e.next_sequence - $1 and d.state >= 2 limit $2)";
    let mut touched = 0;
    for (sql, bound) in [(GIVE_UP, now.0), (OLD, ended_before.0), (MANY, kept)] {
        touched += on_write!(store, pool => sqlx::query(sql)
            .bind(bound)
            .bind(i64::from(limit))
            .execute(pool)
            .await?
            .rows_affected());
    }
    Ok(touched)
}

fn read_leased(row: &impl Columns) -> Result<LeasedDelivery, StoreError> {
    let endpoint = read(row)?;
    let delivery = read_delivery(row, endpoint.id)?;
    Ok(LeasedDelivery { endpoint, delivery })
}

fn read_delivery(row: &impl Columns, endpoint: WebhookId) -> Result<DeliveryRow, StoreError> {
    Ok(DeliveryRow {
        endpoint,
        event: EventId(row.id("event")?),
        sequence: row.long("sequence")?,
        kind: row.text("type")?,
        body: row.text("body")?,
        state: State::of(row.small("state")?)?,
        attempts: u32::try_from(row.int("attempts")?)
            .map_err(|_| StoreError::damaged("a delivery counts attempts below zero"))?,
        due_at: row.time("due_at")?,
        give_up_at: row.time("give_up_at")?,
        fence: row.long("fence")?,
        tries: from_postcard(&row.bytes("tries")?, "the attempts of a delivery")?,
        created_at: row.time("given_at")?,
        changed_at: row.time("moved_at")?,
    })
}
