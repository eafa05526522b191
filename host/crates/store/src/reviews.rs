//! Reviews as rows. The ledger writes them; here operators and the sweeper find them.

use koban_domain::ids::ReviewId;
use koban_domain::reviews::Review;
use koban_domain::time::Timestamp;

use crate::database::{Store, all, blob, one};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::LAST_ID;

macro_rules! select_reviews {
    ($rest:literal) => {
        concat!(
            "select id, kind, payer, payee, amount, currency, hold_ms, decision, state, at, expires_at, operator, ended_at ",
            "from reviews where ",
            $rest
        )
    };
}

/// The review with this id.
pub async fn by_id(store: &Store, id: ReviewId) -> Result<Option<Review>, StoreError> {
    const SQL: &str = select_reviews!("id = $1");
    one!(store, SQL, [blob(id.bytes())], rows::review)
}

/// Reviews, newest first, before this one: all of them, or those that are open.
pub async fn list(store: &Store, open: bool, before: Option<ReviewId>, limit: u16) -> Result<Vec<Review>, StoreError> {
    const ALL: &str = select_reviews!("id < $1 order by id desc limit $2");
    const OPEN: &str = select_reviews!("state = 1 and id < $1 order by id desc limit $2");
    all!(
        store,
        if open { OPEN } else { ALL },
        [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)],
        rows::review
    )
}

/// Open reviews whose time has run out, the oldest end first.
pub async fn due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<Review>, StoreError> {
    const SQL: &str = select_reviews!("state = 1 and expires_at <= $1 order by expires_at, id limit $2");
    all!(store, SQL, [now.0, i64::from(limit)], rows::review)
}
