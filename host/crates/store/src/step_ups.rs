//! Challenges as payers confirm them. The ledger opens and uses them in its commits; what is done here races with neither.

use koban_domain::ids::{StepUpId, UserId};
use koban_domain::step_ups::StepUp;
use koban_domain::time::Timestamp;

use crate::database::{Store, blob, on_write, one};
use crate::error::StoreError;
use crate::ledger::step_ups::step_up;

/// A user's challenge.
pub async fn by_id(store: &Store, id: StepUpId, user: UserId) -> Result<Option<StepUp>, StoreError> {
    const SQL: &str = "select * from step_ups where id = $1 and user_id = $2";
    one!(store, SQL, [blob(id.bytes()), blob(user.bytes())], step_up)
}

/// Counts a password that is about to be tried, so that no two tries at once are counted as one. False if the challenge is not
/// open any more, has run out, or was tried too often.
pub async fn attempt(store: &Store, id: StepUpId, now: Timestamp, most: i16) -> Result<bool, StoreError> {
    const SQL: &str = "update step_ups set attempts = attempts + 1
        where id = $1 and state = 1 and expires_at > $2 and attempts < $3";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(now.0)
        .bind(most)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

/// Notes that the payer has proved who they are; it can be used until then. False if somebody else's try was faster.
pub async fn confirm(store: &Store, id: StepUpId, until: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update step_ups set state = 2, expires_at = $2 where id = $1 and state = 1";
    on_write!(store, pool => {
        Ok(sqlx::query(SQL).bind(blob(id.bytes())).bind(until.0).execute(pool).await?.rows_affected() == 1)
    })
}

/// Forgets challenges that ran out before then, at most so many.
pub async fn forget(store: &Store, before: Timestamp, limit: u16) -> Result<u64, StoreError> {
    const SQL: &str = "delete from step_ups where id in
        (select id from step_ups where expires_at < $1 order by expires_at limit $2)";
    on_write!(store, pool => {
        Ok(sqlx::query(SQL).bind(before.0).bind(i64::from(limit)).execute(pool).await?.rows_affected())
    })
}
