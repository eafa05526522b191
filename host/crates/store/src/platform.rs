//! What a database is for, live money or tests, and how far a test's clock runs ahead of the machine's.

use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Store, on, on_tx, on_write};
use crate::error::StoreError;
use crate::limits::setting;

/// What the books of a database are for. Written once, when a host first serves them, and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Money.
    Live,
    /// Tests: the clock can be moved.
    Test,
}

impl Mode {
    /// The word in rows, keys and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Test => "test",
        }
    }

    /// The other one.
    pub const fn other(self) -> Mode {
        match self {
            Mode::Live => Mode::Test,
            Mode::Test => Mode::Live,
        }
    }
}

const MODE: &str = "platform.mode";
pub(crate) const AHEAD: &str = "clock.ahead_ms";

/// What the database is for, if that was decided.
pub async fn mode(store: &Store) -> Result<Option<Mode>, StoreError> {
    match setting(store, MODE).await?.as_deref() {
        None => Ok(None),
        Some("live") => Ok(Some(Mode::Live)),
        Some("test") => Ok(Some(Mode::Test)),
        Some(other) => Err(StoreError::damaged(format!("the database is for `{other}`; it can be for live or test"))),
    }
}

/// Decides what a database is for, unless it was decided: of two hosts that begin at once one wins. Answers what it is for.
pub async fn begin(store: &Store, wanted: Mode) -> Result<Mode, StoreError> {
    const SQL: &str = "insert into policy_settings (name, value) values ($1, $2) on conflict (name) do nothing";
    on_write!(store, pool => sqlx::query(SQL).bind(MODE).bind(wanted.word()).execute(pool).await.map(drop))?;
    Ok(mode(store).await?.unwrap_or(wanted))
}

/// Whether a merchant has ever had a key here.
pub async fn has_keys(store: &Store) -> Result<bool, StoreError> {
    Ok(on!(store, pool => sqlx::query("select 1 from api_keys limit 1").fetch_optional(pool).await?.is_some()))
}

/// How far the clock runs ahead, milliseconds.
pub async fn ahead_ms(store: &Store) -> Result<i64, StoreError> {
    parse_ahead(setting(store, AHEAD).await?.as_deref())
}

/// Moves the clock on by so many milliseconds, at most to `most` ahead of the machine's; every host follows with its next commit.
/// Answers how far ahead it runs now; none if that would have been too far.
pub async fn move_clock(
    store: &Store,
    by_ms: i64,
    most_ms: i64,
    audit: &Audit,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    const READ: &str = "select value from policy_settings where name = $1";
    const WRITE: &str = "insert into policy_settings (name, value) values ($1, $2)
        on conflict (name) do update set value = excluded.value";
    // Under the head's lock: two moves at once add up.
    let mut admin = store.administer().await?;
    let known = on_tx!(admin.tx(), connection => {
        sqlx::query(READ).bind(AHEAD).fetch_optional(connection).await?.map(|row| row.text(0)).transpose()?
    });
    let ahead = parse_ahead(known.as_deref())?.saturating_add(by_ms);
    if ahead > most_ms {
        return Ok(None);
    }
    on_tx!(admin.tx(), connection => {
        sqlx::query(WRITE).bind(AHEAD).bind(ahead.to_string()).execute(connection).await?;
    });
    admin.bump_generation().await?;
    admin.audit(audit, now).await?;
    admin.commit().await?;
    Ok(Some(ahead))
}

pub(crate) fn parse_ahead(value: Option<&str>) -> Result<i64, StoreError> {
    let damaged = |value| StoreError::damaged(format!("the clock runs `{value}` ahead, which is no number"));
    value.map_or(Ok(0), |value| value.parse().map_err(|_| damaged(value)))
}
