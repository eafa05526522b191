//! Flows as they stand, and what waits in their inboxes.

mod effects;

use koban_domain::flows::{Arrival, CallKey, Consumed, Flow};
use koban_domain::guest::{Event, What};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::manifest::Beginning;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, on_write, one};
use crate::error::StoreError;
use crate::ledger::rows::beginning_code;
use crate::query::{LAST_ID, from_postcard, to_postcard};

pub use effects::{
    EffectRow, Lease, LeasedEffect, finish_effect, lease_due, mark_attempt, next_due, open_effects, requeue,
};

/// Which flows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that are not final.
    Open,
    /// Those that wait for an operator.
    Stuck,
}

/// How much waits, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Flows that are not final.
    pub open: i64,
    /// Flows that wait for an operator.
    pub stuck: i64,
    /// Events that wait in inboxes.
    pub events: i64,
    /// The time of the oldest of them.
    pub oldest_event_at: Option<Timestamp>,
    /// Effects that are neither done nor cancelled and whose time has come.
    pub effects: i64,
    /// Since when the oldest of them is due.
    pub oldest_due_at: Option<Timestamp>,
}

/// An event of a flow, waiting or consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the inbox.
    pub place: i64,
    /// The effect or expectation it belongs to.
    pub key: String,
    /// What happened.
    pub what: What,
    /// The stored call that it came with.
    pub call: Option<CallKey>,
    /// When it came.
    pub at: Timestamp,
    /// Its number in the flow, once a step has consumed it.
    pub number: Option<u32>,
}

/// The flow with this id.
pub async fn by_id(store: &Store, id: FlowId) -> Result<Option<Flow>, StoreError> {
    const SQL: &str = "select body from flows where id = $1";
    one!(store, SQL, [blob(id.bytes())], read_flow)
}

macro_rules! select_flows {
    ($filter:literal) => {
        concat!("select body from flows where id < $1 and ", $filter, " order by id desc limit $2")
    };
}

/// Flows, newest first, before this one; of one plugin or of all.
pub async fn list(
    store: &Store,
    which: Which,
    plugin: Option<&str>,
    before: Option<FlowId>,
    limit: u16,
) -> Result<Vec<Flow>, StoreError> {
    let sql = match (which, plugin.is_some()) {
        (Which::All, false) => select_flows!("cast($3 as text) is null"),
        (Which::All, true) => select_flows!("plugin = $3"),
        (Which::Open, _) => select_flows!("standing < 4 and (cast($3 as text) is null or plugin = $3)"),
        (Which::Stuck, _) => select_flows!("stuck = 1 and (cast($3 as text) is null or plugin = $3)"),
    };
    all!(store, sql, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit), plugin], read_flow)
}

/// A user's flows that began as this, newest first, before this one.
pub async fn by_user(
    store: &Store,
    user: UserId,
    beginning: Beginning,
    before: Option<FlowId>,
    limit: u16,
) -> Result<Vec<Flow>, StoreError> {
    const SQL: &str =
        "select body from flows where user_id = $1 and beginning = $2 and id < $3 order by id desc limit $4";
    let before = blob(before.map_or(LAST_ID, |id| id.bytes()));
    all!(store, SQL, [blob(user.bytes()), beginning_code(beginning), before, i64::from(limit)], read_flow)
}

/// Whether a user has a flow that is not final.
pub async fn user_has_open(store: &Store, user: UserId) -> Result<bool, StoreError> {
    const SQL: &str = "select 1 from flows where user_id = $1 and standing < 4 limit 1";
    Ok(on!(store, pool => sqlx::query(SQL).bind(blob(user.bytes())).fetch_optional(pool).await?.is_some()))
}

/// How much waits at this time, and since when.
pub async fn backlog(store: &Store, now: Timestamp) -> Result<Backlog, StoreError> {
    const SQL: &str = "select
        (select count(*) from flows where standing < 4),
        (select count(*) from flows where stuck = 1),
        (select count(*) from flow_inbox where consumed = 0),
        (select min(at) from flow_inbox where consumed = 0),
        (select count(*) from flow_effects where state < 2 and due_at <= $1),
        (select min(due_at) from flow_effects where state < 2 and due_at <= $1)";
    on!(store, pool => {
        let row = sqlx::query(SQL).bind(now.0).fetch_one(pool).await?;
        Ok(Backlog {
            open: row.long(0)?,
            stuck: row.long(1)?,
            events: row.long(2)?,
            oldest_event_at: row.maybe_time(3)?,
            effects: row.long(4)?,
            oldest_due_at: row.maybe_time(5)?,
        })
    })
}

/// A flow's body: its fields, behind them what it has set aside, and behind that the link that it is about; bodies of earlier versions lack
/// one or both.
pub(crate) fn pack(flow: &Flow) -> Result<Vec<u8>, StoreError> {
    to_postcard(&(flow, &flow.outgoing, &flow.linking))
}

fn read_flow(row: &impl Columns) -> Result<Flow, StoreError> {
    unpack(&row.bytes("body")?)
}

fn unpack(body: &[u8]) -> Result<Flow, StoreError> {
    let damaged = |error: postcard::Error| StoreError::damaged(format!("a flow: {error}"));
    let (mut flow, rest): (Flow, &[u8]) = postcard::take_from_bytes(body).map_err(damaged)?;
    let rest = match rest.is_empty() {
        true => rest,
        false => {
            let (outgoing, rest) = postcard::take_from_bytes(rest).map_err(damaged)?;
            flow.outgoing = outgoing;
            rest
        }
    };
    if !rest.is_empty() {
        flow.linking = from_postcard(rest, "a flow's link")?;
    }
    Ok(flow)
}

/// The first event in a flow's inbox that was not consumed, under the number that the flow as given would count it by.
pub async fn next_event(store: &Store, flow: &Flow) -> Result<Option<Consumed>, StoreError> {
    const SQL: &str = "select place, key, what, call from flow_inbox
        where flow = $1 and consumed = 0 order by place limit 1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(flow.id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| consumed(flow, &row))
        .transpose())
}

/// What waits in a flow's inbox, in order, under the number that the flow as given would count the first by.
pub async fn waiting(store: &Store, flow: &Flow, limit: u16) -> Result<Vec<Consumed>, StoreError> {
    const SQL: &str = "select place, key, what, call from flow_inbox
        where flow = $1 and consumed = 0 order by place limit $2";
    all!(store, SQL, [blob(flow.id.bytes()), i64::from(limit)], |row| consumed(flow, row))
}

fn consumed(flow: &Flow, row: &impl Columns) -> Result<Consumed, StoreError> {
    let number = flow.events.saturating_add(1);
    Ok(Consumed {
        place: row.long(0)?,
        event: Event { number, key: row.text(1)?, what: from_postcard(&row.bytes(2)?, "an event")? },
        call: row.maybe_fixed(3)?.map(CallKey),
    })
}

/// A flow's events behind this place, in order: what an operator looks at.
pub async fn events(store: &Store, flow: FlowId, after_place: i64, limit: u16) -> Result<Vec<EventRow>, StoreError> {
    const SQL: &str = "select place, key, what, call, at, number from flow_inbox
        where flow = $1 and place > $2 order by place limit $3";
    all!(store, SQL, [blob(flow.bytes()), after_place, i64::from(limit)], |row| {
        let number = row.maybe_int(5)?.map(u32::try_from).transpose();
        Ok(EventRow {
            place: row.long(0)?,
            key: row.text(1)?,
            what: from_postcard(&row.bytes(2)?, "an event")?,
            call: row.maybe_fixed(3)?.map(CallKey),
            at: row.time(4)?,
            number: number.map_err(|_| StoreError::damaged("an event's number is below zero"))?,
        })
    })
}

/// Puts an event into its flow's inbox, final or not; returns its place.
pub async fn arrive(store: &Store, arrival: &Arrival) -> Result<i64, StoreError> {
    let what = to_postcard(&arrival.what)?;
    on_write!(store, pool => sqlx::query(ARRIVE)
        .bind(blob(arrival.flow.bytes()))
        .bind(arrival.key.as_str())
        .bind(what)
        .bind(arrival.call.map(|call| blob(call.0)))
        .bind(arrival.at.0)
        .fetch_one(pool)
        .await?
        .long(0))
}

const ARRIVE: &str = "insert into flow_inbox (flow, key, what, call, at, consumed)
    values ($1, $2, $3, $4, $5, 0) returning place";

/// As [`arrive`], inside a transaction.
pub(crate) async fn arrive_in(tx: &mut Tx<'_>, arrival: &Arrival) -> Result<i64, StoreError> {
    let what = to_postcard(&arrival.what)?;
    on_tx!(tx, connection => sqlx::query(ARRIVE)
        .bind(blob(arrival.flow.bytes()))
        .bind(arrival.key.as_str())
        .bind(what)
        .bind(arrival.call.map(|call| blob(call.0)))
        .bind(arrival.at.0)
        .fetch_one(connection)
        .await?
        .long(0))
}

/// Flows in whose inbox something waits and that wait for no operator, each with the place of its first event, in order of
/// that place and behind this one.
pub async fn with_waiting_events(
    store: &Store,
    after_place: i64,
    limit: u16,
) -> Result<Vec<(i64, FlowId)>, StoreError> {
    // SQLite would rather read every event there ever was in order of flow, to spare itself a sort.
    let sql = store.either(
        "select min(i.place), i.flow from flow_inbox i indexed by flow_inbox_waiting join flows f on f.id = i.flow
            where i.consumed = 0 and f.stuck = 0 group by i.flow having min(i.place) > $1 order by 1 limit $2",
        "select min(i.place), i.flow from flow_inbox i join flows f on f.id = i.flow
            where i.consumed = 0 and f.stuck = 0 group by i.flow having min(i.place) > $1 order by 1 limit $2",
    );
    all!(store, sql, [after_place, i64::from(limit)], |row| Ok((row.long(0)?, FlowId(row.id(1)?))))
}
