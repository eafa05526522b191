//! Effects: leased and performed by somebody after the commit that asked for them.
//!
//! A fence tells the holder of a lease from everybody who had the effect before: whoever holds an older one can say nothing
//! about it any more.

use koban_domain::flows::Arrival;
use koban_domain::guest::Act;
use koban_domain::ids::FlowId;
use koban_domain::manifest::Repeat;
use koban_domain::time::Timestamp;

use super::arrive_in;
use crate::database::{Columns, Dialect, Store, all, blob, on, on_tx, on_write};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::from_postcard;

/// An effect that is neither done nor cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// Whose effect.
    pub flow: FlowId,
    /// The flow's name for it.
    pub key: String,
    /// What is asked.
    pub act: Act,
    /// Whether it may be repeated when no answer came.
    pub repeat: Repeat,
    /// Not before this.
    pub due_at: Timestamp,
    /// No attempt after this.
    pub deadline: Timestamp,
    /// Attempts that have begun.
    pub attempts: u32,
    /// Since when it has been asked for.
    pub queued_at: Timestamp,
    /// Raised by each lease.
    pub fence: i64,
    /// Until when somebody has it.
    pub leased_until: Option<Timestamp>,
}

/// An effect that the caller alone may perform until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedEffect {
    /// The effect as it stands under this lease.
    pub effect: EffectRow,
    /// Somebody else had it and did not come back. If attempts have begun, one of them may have happened.
    pub taken_over: bool,
}

/// Names a lease: an effect with the fence it was leased under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose effect.
    pub flow: FlowId,
    /// The flow's name for it.
    pub key: String,
    /// The fence.
    pub fence: i64,
}

impl LeasedEffect {
    /// The lease, by which the rest of the work proves that it still holds.
    pub fn lease(&self) -> Lease {
        Lease { flow: self.effect.flow, key: self.effect.key.clone(), fence: self.effect.fence }
    }
}

/// Leases effects whose time has come and that nobody holds, oldest first, at most `limit`. Each gets a higher fence than
/// everybody had before: who held it has lost it.
pub async fn lease_due(
    store: &Store,
    owner: &str,
    now: Timestamp,
    lease_ms: i64,
    limit: u16,
) -> Result<Vec<LeasedEffect>, StoreError> {
    let until = now.plus_ms(lease_ms);
    let mut leased = match store.dialect() {
        Dialect::Sqlite => lease_in_two(store, owner, now, until, limit).await,
        Dialect::Postgres => lease_in_one(store, owner, now, until, limit).await,
    }?;
    leased.sort_by_key(|leased| (leased.effect.due_at, leased.effect.flow));
    Ok(leased)
}

/// One statement; hosts that lease at once pass over each other's rows.
async fn lease_in_one(
    store: &Store,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u16,
) -> Result<Vec<LeasedEffect>, StoreError> {
    const SQL: &str = "with due as materialized (
            select flow, key, state from flow_effects
            where state < 2 and due_at <= $1 and (state = 0 or lease_until <= $1)
            order by due_at limit $2 for update skip locked)
        update flow_effects as e set state = 1, lease_owner = $3, lease_until = $4, fence = e.fence + 1
        from due where e.flow = due.flow and e.key = due.key
        returning e.flow, e.key, e.act, e.repeat, e.due_at, e.deadline, e.attempts, e.queued_at, e.fence, e.lease_until,
            due.state";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(now.0)
        .bind(i64::from(limit))
        .bind(owner)
        .bind(until.0)
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok(LeasedEffect { effect: read_effect(row)?, taken_over: row.small(10)? == 1 }))
        .collect())
}

/// A reading and a writing statement inside one transaction, which holds the only lock there is: SQLite's `returning` cannot
/// say how a row was before.
async fn lease_in_two(
    store: &Store,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u16,
) -> Result<Vec<LeasedEffect>, StoreError> {
    const DUE: &str = "select flow, key, act, repeat, due_at, deadline, attempts, queued_at, fence, lease_until, state
        from flow_effects where state < 2 and due_at <= $1 and (state = 0 or lease_until <= $1)
        order by due_at limit $2";
    const LEASE: &str = "update flow_effects set state = 1, lease_owner = $1, lease_until = $2, fence = fence + 1
        where (flow, key) in (select unhex(value ->> 0), value ->> 1 from json_each($3))";
    let mut tx = store.begin().await?;
    let mut leased: Vec<LeasedEffect> = on_tx!(&mut tx, connection => sqlx::query(DUE)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok(LeasedEffect { effect: read_effect(row)?, taken_over: row.small(10)? == 1 }))
        .collect::<Result<_, StoreError>>())?;
    if leased.is_empty() {
        return Ok(leased);
    }
    let mut keys = JsonRows::with_capacity(leased.len() * 64);
    for LeasedEffect { effect, .. } in &mut leased {
        keys.row().bytes(&effect.flow.bytes()).text(&effect.key);
        effect.fence += 1;
        effect.leased_until = Some(until);
    }
    let keys = keys.finish();
    on_tx!(&mut tx, connection => {
        sqlx::query(LEASE).bind(owner).bind(until.0).bind(keys).execute(connection).await?;
    });
    tx.commit().await?;
    Ok(leased)
}

/// Notes that an attempt begins; ask before a byte leaves. False if the lease was lost or the effect taken back: then nothing
/// may leave.
pub async fn mark_attempt(store: &Store, lease: &Lease) -> Result<bool, StoreError> {
    const SQL: &str = "update flow_effects set attempts = attempts + 1
        where flow = $1 and key = $2 and fence = $3 and state = 1";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(lease.flow.bytes()))
        .bind(lease.key.as_str())
        .bind(lease.fence)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

/// Ends an effect with what came of it, which enters the flow's inbox in the same transaction; returns its place. None if the
/// lease was lost or the effect taken back: somebody else speaks for it, and nothing is written.
pub async fn finish_effect(store: &Store, lease: &Lease, arrival: &Arrival) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "update flow_effects set state = 2, lease_owner = null, lease_until = null
        where flow = $1 and key = $2 and fence = $3 and state = 1";
    let mut tx = store.begin().await?;
    let ended = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(lease.flow.bytes()))
        .bind(lease.key.as_str())
        .bind(lease.fence)
        .execute(connection)
        .await?
        .rows_affected());
    if ended != 1 {
        return Ok(None);
    }
    let place = arrive_in(&mut tx, arrival).await?;
    tx.commit().await?;
    Ok(Some(place))
}

/// Gives a leased effect back, to be leased again from this time on. False if the lease was lost or the effect taken back.
pub async fn requeue(store: &Store, lease: &Lease, due_at: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update flow_effects set state = 0, due_at = $4, lease_owner = null, lease_until = null
        where flow = $1 and key = $2 and fence = $3 and state = 1";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(lease.flow.bytes()))
        .bind(lease.key.as_str())
        .bind(lease.fence)
        .bind(due_at.0)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

/// A flow's effects that are neither done nor cancelled, in order of time; a flow has a bounded number of them.
pub async fn open_effects(store: &Store, flow: FlowId) -> Result<Vec<EffectRow>, StoreError> {
    const SQL: &str = "select flow, key, act, repeat, due_at, deadline, attempts, queued_at, fence, lease_until
        from flow_effects where flow = $1 and state < 2 order by due_at, key";
    all!(store, SQL, [blob(flow.bytes())], read_effect)
}

/// When the next effect is due that nobody holds, or the next lease ends: how long a performer may sleep.
pub async fn next_due(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    const SQL: &str = "select min(case when state = 1 and lease_until > due_at then lease_until else due_at end)
        from flow_effects where state < 2";
    on!(store, pool => sqlx::query(SQL).fetch_one(pool).await?.maybe_time(0))
}

fn read_effect(row: &impl Columns) -> Result<EffectRow, StoreError> {
    Ok(EffectRow {
        flow: FlowId(row.id(0)?),
        key: row.text(1)?,
        act: from_postcard(&row.bytes(2)?, "an effect")?,
        repeat: if row.flag(3)? { Repeat::Safe } else { Repeat::Never },
        due_at: row.time(4)?,
        deadline: row.time(5)?,
        attempts: u32::try_from(row.int(6)?)
            .map_err(|_| StoreError::damaged("an effect counts attempts below zero"))?,
        queued_at: row.time(7)?,
        fence: row.long(8)?,
        leased_until: row.maybe_time(9)?,
    })
}
