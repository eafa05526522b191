//! Schedules as rows: made once for each key, cancelled or taken up by exactly one side, ended.

use koban_domain::ids::{ScheduleId, UserId};
use koban_domain::operations::{Claim, Fingerprint};
use koban_domain::schedules::{Schedule, ScheduleState, WAITING_MAX};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on, on_write, one};
use crate::error::StoreError;
use crate::query::LAST_ID;

macro_rules! select_schedules {
    ($rest:literal) => {
        concat!(
            "select id, user_id, wish, execute_at, device, locale, state, outcome, created_at, ended_at, fingerprint ",
            "from schedules where ",
            $rest
        )
    };
}

/// Makes a schedule under its key, unless the key was used or as many wait as may; answers what is under the key now, and the
/// fingerprint of the request that made it. None: too many wait.
pub async fn create(
    store: &Store,
    schedule: &Schedule,
    claim: Claim,
) -> Result<Option<(Schedule, Fingerprint)>, StoreError> {
    const SQL: &str = "insert into schedules
            (id, user_id, wish, execute_at, due_at, device, locale, state, created_at, operation, fingerprint)
        select $1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10
        where (select count(*) from schedules where user_id = $2 and state = 1) < $11
        on conflict (operation) do nothing";
    let wish = crate::query::to_postcard(&schedule.wish)?;
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(schedule.id.bytes()))
        .bind(blob(schedule.user.bytes()))
        .bind(wish)
        .bind(schedule.execute_at.0)
        .bind(schedule.device.as_deref())
        .bind(schedule.locale.as_str())
        .bind(i16::from(schedule.state as u8))
        .bind(schedule.created_at.0)
        .bind(blob(claim.key.0))
        .bind(blob(claim.fingerprint.0))
        .bind(i64::from(WAITING_MAX))
        .execute(pool)
        .await
        .map(drop))?;
    by_operation(store, claim).await
}

/// What is under a key, with the fingerprint of the request that made it.
pub async fn by_operation(store: &Store, claim: Claim) -> Result<Option<(Schedule, Fingerprint)>, StoreError> {
    const SQL: &str = select_schedules!("operation = $1");
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(claim.key.0))
        .fetch_optional(pool)
        .await?
        .map(|row| Ok((read(&row)?, Fingerprint(row.fixed("fingerprint")?))))
        .transpose())
}

/// The schedule with this id.
pub async fn by_id(store: &Store, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
    const SQL: &str = select_schedules!("id = $1");
    one!(store, SQL, [blob(id.bytes())], read)
}

/// A user's schedules, newest first, before this one.
pub async fn by_user(
    store: &Store,
    user: UserId,
    before: Option<ScheduleId>,
    limit: u16,
) -> Result<Vec<Schedule>, StoreError> {
    const SQL: &str = select_schedules!("user_id = $1 and id < $2 order by id desc limit $3");
    let before = before.map_or(LAST_ID, |id| id.bytes());
    all!(store, SQL, [blob(user.bytes()), blob(before), i64::from(limit)], read)
}

/// Cancels what still waits. Of a cancellation and a host that takes it up one wins. Answers whether this one did.
pub async fn cancel(store: &Store, id: ScheduleId, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update schedules set state = 5, ended_at = $2 where id = $1 and state = 1";
    let changed = on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(now.0)
        .execute(pool)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(changed == 1)
}

/// When something is to be looked at next: a schedule that waits, or one whose host did not end it.
pub async fn next_due(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    const SQL: &str = "select min(due_at) from schedules where state < 3";
    on!(store, pool => sqlx::query(SQL).fetch_one(pool).await?.maybe_time(0))
}

/// Takes up what is due, and what a host took up and did not end within its lease, for so long.
pub async fn take_up(store: &Store, now: Timestamp, lease_ms: i64, limit: u16) -> Result<Vec<Schedule>, StoreError> {
    // The condition stands twice: a host that waited for another's lock looks at the row again, not at the inner list.
    const SQL: &str = "update schedules set state = 2, due_at = $2
        where id in (select id from schedules where state < 3 and due_at <= $1 order by due_at, id limit $3)
            and state < 3 and due_at <= $1
        returning id, user_id, wish, execute_at, device, locale, state, outcome, created_at, ended_at";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(now.0)
        .bind(now.plus_ms(lease_ms).0)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?
        .iter()
        .map(read)
        .collect())
}

/// Writes what became of a schedule that was taken up. The first who ends it is believed.
pub async fn end(
    store: &Store,
    id: ScheduleId,
    state: ScheduleState,
    outcome: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "update schedules set state = $2, outcome = $3, ended_at = $4 where id = $1 and state = 2";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(i16::from(state as u8))
        .bind(outcome)
        .bind(now.0)
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

fn read(row: &impl Columns) -> Result<Schedule, StoreError> {
    let id = ScheduleId(row.id("id")?);
    let damaged = |what: &str| StoreError::damaged(format!("schedule {id}: {what}"));
    let state = u8::try_from(row.small("state")?).ok().and_then(ScheduleState::from_code);
    Ok(Schedule {
        id,
        user: UserId(row.id("user_id")?),
        wish: postcard::from_bytes(&row.bytes("wish")?).map_err(|_| damaged("its wish cannot be read"))?,
        execute_at: row.time("execute_at")?,
        device: row.maybe_text("device")?,
        locale: row.text("locale")?,
        state: state.ok_or_else(|| damaged("unknown state"))?,
        outcome: row.maybe_text("outcome")?,
        created_at: row.time("created_at")?,
        ended_at: row.maybe_time("ended_at")?,
    })
}
