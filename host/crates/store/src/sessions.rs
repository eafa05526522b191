//! Signed-in sessions, found by the hash of their token: a stolen table opens no door.

use koban_domain::ids::{OperatorId, SessionId, UserId};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on_tx, on_write, one};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionOwner {
    /// A wallet user's.
    User(UserId),
    /// An operator's.
    Operator(OperatorId),
}

impl SessionOwner {
    fn columns(self) -> (i16, [u8; 16]) {
        match self {
            SessionOwner::User(id) => (1, id.bytes()),
            SessionOwner::Operator(id) => (2, id.bytes()),
        }
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the token.
    pub token_hash: Digest,
    /// Its id, which may be shown.
    pub id: SessionId,
    /// Whose.
    pub owner: SessionOwner,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when at most.
    pub expires_at: Timestamp,
    /// When it was last used, as far as it was noted.
    pub last_seen: Timestamp,
    /// The device that it was opened on, as it named itself.
    pub device: Option<String>,
}

/// Writes a new session.
pub async fn create(store: &Store, session: &SessionRow) -> Result<(), StoreError> {
    const SQL: &str = "insert into sessions
        (token_hash, id, owner_kind, owner_id, created_at, expires_at, last_seen, device)
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (owner_kind, owner_id) = session.owner.columns();
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(session.token_hash.0))
        .bind(blob(session.id.bytes()))
        .bind(owner_kind)
        .bind(blob(owner_id))
        .bind(session.created_at.0)
        .bind(session.expires_at.0)
        .bind(session.last_seen.0)
        .bind(session.device.as_deref())
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

/// The session with this token, expired or not: the caller compares with its clock.
pub async fn by_token(store: &Store, token_hash: Digest) -> Result<Option<SessionRow>, StoreError> {
    const SQL: &str = "select * from sessions where token_hash = $1";
    one!(store, SQL, [blob(token_hash.0)], read)
}

/// An owner's sessions that are not expired, newest first, at most `limit`.
pub async fn list(
    store: &Store,
    owner: SessionOwner,
    now: Timestamp,
    limit: u16,
) -> Result<Vec<SessionRow>, StoreError> {
    const SQL: &str = "select * from sessions where owner_id = $1 and owner_kind = $2 and expires_at > $3
        order by created_at desc, id desc limit $4";
    let (owner_kind, owner_id) = owner.columns();
    all!(store, SQL, [blob(owner_id), owner_kind, now.0, i64::from(limit)], read)
}

/// Notes that a session was used and moves its end. Time never runs backwards in it.
pub async fn touch(
    store: &Store,
    token_hash: Digest,
    last_seen: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "update sessions set last_seen = $2, expires_at = $3 where token_hash = $1 and last_seen < $2";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(token_hash.0))
        .bind(last_seen.0)
        .bind(expires_at.0)
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

/// Notes of many sessions at once when they were last used, as [`touch`] does of one: token hash, last use, end. Each session
/// stands in the list once.
pub async fn touch_all(store: &Store, rows: &[(Digest, Timestamp, Timestamp)]) -> Result<(), StoreError> {
    let sql = store.either(
        "update sessions set last_seen = u.last_seen, expires_at = u.expires_at
            from (select unhex(value ->> 0) as token_hash, value ->> 1 as last_seen, value ->> 2 as expires_at
                from json_each($1)) u
            where sessions.token_hash = u.token_hash and sessions.last_seen < u.last_seen",
        "update sessions s set last_seen = u.last_seen, expires_at = u.expires_at
            from (select decode(value ->> 0, 'hex') as token_hash, (value ->> 1)::bigint as last_seen,
                (value ->> 2)::bigint as expires_at from json_array_elements($1::json)) u
            where s.token_hash = u.token_hash and s.last_seen < u.last_seen",
    );
    let mut json = JsonRows::with_capacity(rows.len() * 110);
    for (hash, last_seen, expires_at) in rows {
        json.row().bytes(&hash.0).int(last_seen.0).int(expires_at.0);
    }
    let Some(json) = json.finish() else { return Ok(()) };
    on_write!(store, pool => sqlx::query(sql).bind(json).execute(pool).await.map(drop))?;
    Ok(())
}

/// Ends the session with this token. Whether there was one.
pub async fn delete(store: &Store, token_hash: Digest) -> Result<bool, StoreError> {
    const SQL: &str = "delete from sessions where token_hash = $1";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(token_hash.0))
        .execute(pool)
        .await?
        .rows_affected() > 0))
}

/// Ends one of an owner's sessions by its id. Whether there was one.
pub async fn delete_by_id(store: &Store, owner: SessionOwner, id: SessionId) -> Result<bool, StoreError> {
    const SQL: &str = "delete from sessions where id = $1 and owner_kind = $2 and owner_id = $3";
    let (owner_kind, owner_id) = owner.columns();
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(owner_kind)
        .bind(blob(owner_id))
        .execute(pool)
        .await?
        .rows_affected() > 0))
}

/// Ends all of an owner's sessions but the one named. How many.
pub async fn delete_others(store: &Store, owner: SessionOwner, but: Option<SessionId>) -> Result<u64, StoreError> {
    const SQL: &str = "delete from sessions where owner_id = $1 and owner_kind = $2 and id <> $3";
    let (owner_kind, owner_id) = owner.columns();
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(owner_id))
        .bind(owner_kind)
        .bind(blob(but.unwrap_or_default().bytes()))
        .execute(pool)
        .await?
        .rows_affected()))
}

/// Ends all of an owner's sessions but the one with this token, within a change that asks for it.
pub(crate) async fn end(tx: &mut Tx<'_>, owner: SessionOwner, keep: Option<Digest>) -> Result<(), StoreError> {
    const SQL: &str = "delete from sessions where owner_id = $1 and owner_kind = $2 and token_hash <> $3";
    let (owner_kind, owner_id) = owner.columns();
    on_tx!(tx, connection => {
        sqlx::query(SQL)
            .bind(blob(owner_id))
            .bind(owner_kind)
            .bind(blob(keep.unwrap_or_default().0))
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// Takes away sessions that ended before this time, at most `limit` at once. How many.
pub async fn expire(store: &Store, now: Timestamp, limit: u16) -> Result<u64, StoreError> {
    const SQL: &str = "delete from sessions where token_hash in
        (select token_hash from sessions where expires_at <= $1 order by expires_at limit $2)";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(now.0)
        .bind(i64::from(limit))
        .execute(pool)
        .await?
        .rows_affected()))
}

pub(crate) fn read(row: &impl Columns) -> Result<SessionRow, StoreError> {
    let owner_id = row.id("owner_id")?;
    Ok(SessionRow {
        token_hash: row.digest("token_hash")?,
        id: SessionId(row.id("id")?),
        owner: match row.small("owner_kind")? {
            1 => SessionOwner::User(UserId(owner_id)),
            2 => SessionOwner::Operator(OperatorId(owner_id)),
            code => return Err(StoreError::damaged(format!("{code} is no owner of a session"))),
        },
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        last_seen: row.time("last_seen")?,
        device: row.maybe_text("device")?,
    })
}
