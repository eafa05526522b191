//! Publishers as rows: who signs packages, and whether an operator trusts them.

use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on_tx, one};
use crate::error::StoreError;

/// How far a publisher is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublisherState {
    /// The key is known; what it signs is not taken.
    Known,
    /// What it signs is taken.
    Trusted,
    /// Nothing it ever signed may be rested on.
    Revoked,
}

impl PublisherState {
    /// The word in answers.
    pub const fn word(self) -> &'static str {
        match self {
            PublisherState::Known => "known",
            PublisherState::Trusted => "trusted",
            PublisherState::Revoked => "revoked",
        }
    }

    const fn code(self) -> i16 {
        match self {
            PublisherState::Known => 1,
            PublisherState::Trusted => 2,
            PublisherState::Revoked => 3,
        }
    }
}

/// A publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherRow {
    /// What operators call it.
    pub name: String,
    /// Its Ed25519 public key.
    pub key: [u8; 32],
    /// How far it is trusted.
    pub state: PublisherState,
    /// Why it is trusted or revoked.
    pub note: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Writes a new publisher. False if name or key is there already, and then nothing is written.
pub async fn add(store: &Store, publisher: &PublisherRow, audit: &Audit) -> Result<bool, StoreError> {
    const SQL: &str = "insert into publishers (name, key, state, note, added_at, changed_at)
        values ($1, $2, $3, $4, $5, $5) on conflict do nothing";
    let mut admin = store.administer().await?;
    let written = on_tx!(admin.tx(), connection => sqlx::query(SQL)
        .bind(publisher.name.as_str())
        .bind(blob(publisher.key))
        .bind(publisher.state.code())
        .bind(publisher.note.as_str())
        .bind(publisher.added_at.0)
        .execute(connection)
        .await?
        .rows_affected());
    if written == 0 {
        return Ok(false);
    }
    admin.audit(audit, publisher.added_at).await?;
    admin.commit().await?;
    Ok(true)
}

/// The publisher of this name.
pub async fn by_name(store: &Store, name: &str) -> Result<Option<PublisherRow>, StoreError> {
    const SQL: &str = "select name, key, state, note, added_at, changed_at from publishers where name = $1";
    one!(store, SQL, [name], read)
}

/// The publisher with this key.
pub async fn by_key(store: &Store, key: [u8; 32]) -> Result<Option<PublisherRow>, StoreError> {
    const SQL: &str = "select name, key, state, note, added_at, changed_at from publishers where key = $1";
    one!(store, SQL, [blob(key)], read)
}

/// Publishers in order of name.
pub async fn list(store: &Store, limit: u16) -> Result<Vec<PublisherRow>, StoreError> {
    const SQL: &str = "select name, key, state, note, added_at, changed_at from publishers order by name limit $1";
    all!(store, SQL, [i64::from(limit)], read)
}

pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    name: &str,
    state: PublisherState,
    note: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "update publishers set state = $2, note = $3, changed_at = $4 where name = $1";
    on_tx!(tx, connection => {
        sqlx::query(SQL).bind(name).bind(state.code()).bind(note).bind(now.0).execute(connection).await?;
    });
    Ok(())
}

fn read(row: &impl Columns) -> Result<PublisherRow, StoreError> {
    Ok(PublisherRow {
        name: row.text(0)?,
        key: row.fixed(1)?,
        state: match row.small(2)? {
            1 => PublisherState::Known,
            2 => PublisherState::Trusted,
            3 => PublisherState::Revoked,
            other => return Err(StoreError::damaged(format!("a publisher has the state {other}"))),
        },
        note: row.text(3)?,
        added_at: row.time(4)?,
        changed_at: row.time(5)?,
    })
}
