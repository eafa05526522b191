//! What users let the platform do at partners: tokens of OAuth, sealed by the caller, and who may refresh one now.

use koban_domain::ids::UserId;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use uuid::Uuid;

use crate::database::{Columns, Store, all, blob, on_tx, on_write, one};
use crate::error::StoreError;

/// Whose consent, to what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsentKey {
    /// The plugin's id.
    pub plugin: String,
    /// The endpoint's name, with its side.
    pub endpoint: String,
    /// The user.
    pub user: UserId,
}

/// How a consent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentState {
    /// It holds.
    Given,
    /// It is over.
    Ended,
}

/// A consent.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsentRow {
    /// Whose, to what.
    pub key: ConsentKey,
    /// How it stands.
    pub state: ConsentState,
    /// Its tokens, sealed.
    pub secret: Vec<u8>,
    /// The key that sealed them.
    pub key_id: String,
    /// When the token in use ends.
    pub ends_at: Timestamp,
    /// Raised by each new token.
    pub generation: i64,
    /// Why it ended, if it did.
    pub reason: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

impl std::fmt::Debug for ConsentRow {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsentRow").field("key", &self.key).field("state", &self.state).finish_non_exhaustive()
    }
}

/// A user who was sent to a partner's page.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// SHA-256 of what comes back with the user.
    pub asked: Digest,
    /// Whose consent, to what.
    pub key: ConsentKey,
    /// The verifier, sealed.
    pub secret: Vec<u8>,
    /// The key that sealed it.
    pub key_id: String,
    /// Until when.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for RequestRow {
    /// Without the verifier.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestRow").field("key", &self.key).finish_non_exhaustive()
    }
}

macro_rules! select_consents {
    ($rest:literal) => {
        concat!(
            "select plugin, endpoint, user_id, state, secret, key_id, ends_at, generation, reason, created_at, changed_at ",
            "from consents where ",
            $rest
        )
    };
}

/// Notes that a user is sent to a partner's page, unless `open_max` such requests of this user are open. Forgets a few that have run out.
pub async fn ask(store: &Store, request: &RequestRow, open_max: i64, now: Timestamp) -> Result<bool, StoreError> {
    const FORGET: &str = "delete from consent_requests where asked in
        (select asked from consent_requests where expires_at <= $1 order by expires_at limit 100)";
    const OPEN: &str = "select count(*) from consent_requests where user_id = $1 and expires_at > $2";
    const SQL: &str = "insert into consent_requests (asked, plugin, endpoint, user_id, secret, key_id, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7)";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(FORGET).bind(now.0).execute(connection).await?;
    });
    let user = blob(request.key.user.bytes());
    let open = on_tx!(&mut tx, connection => sqlx::query(OPEN)
        .bind(user)
        .bind(now.0)
        .fetch_one(connection)
        .await?
        .long(0))?;
    if open >= open_max {
        return Ok(false);
    }
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(blob(request.asked.0))
            .bind(request.key.plugin.as_str())
            .bind(request.key.endpoint.as_str())
            .bind(blob(request.key.user.bytes()))
            .bind(request.secret.as_slice())
            .bind(request.key_id.as_str())
            .bind(request.expires_at.0)
            .execute(connection)
            .await?;
    });
    tx.commit().await?;
    Ok(true)
}

/// Takes a user's request that has not run out: whoever takes it is the only one.
pub async fn take(
    store: &Store,
    asked: Digest,
    user: UserId,
    now: Timestamp,
) -> Result<Option<RequestRow>, StoreError> {
    const SQL: &str = "delete from consent_requests where asked = $1 and user_id = $2 and expires_at > $3
        returning asked, plugin, endpoint, user_id, secret, key_id, expires_at";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(asked.0))
        .bind(blob(user.bytes()))
        .bind(now.0)
        .fetch_optional(pool)
        .await?
        .map(|row| Ok(RequestRow {
            asked: row.digest(0)?,
            key: ConsentKey { plugin: row.text(1)?, endpoint: row.text(2)?, user: UserId(row.id(3)?) },
            secret: row.bytes(4)?,
            key_id: row.text(5)?,
            expires_at: row.time(6)?,
        }))
        .transpose())
}

/// Writes what a user agreed to, new or again; its generation is above every one before.
pub async fn give(store: &Store, consent: &ConsentRow) -> Result<(), StoreError> {
    const SQL: &str = "insert into consents
            (plugin, endpoint, user_id, state, secret, key_id, ends_at, generation, reason, created_at, changed_at)
        values ($1, $2, $3, 1, $4, $5, $6, 1, null, $7, $7)
        on conflict (plugin, endpoint, user_id) do update set state = 1, secret = excluded.secret,
            key_id = excluded.key_id, ends_at = excluded.ends_at, generation = consents.generation + 1,
            lease_owner = null, lease_until = null, reason = null, changed_at = excluded.changed_at";
    on_write!(store, pool => {
        sqlx::query(SQL)
            .bind(consent.key.plugin.as_str())
            .bind(consent.key.endpoint.as_str())
            .bind(blob(consent.key.user.bytes()))
            .bind(consent.secret.as_slice())
            .bind(consent.key_id.as_str())
            .bind(consent.ends_at.0)
            .bind(consent.changed_at.0)
            .execute(pool)
            .await?;
    });
    Ok(())
}

/// A consent.
pub async fn get(store: &Store, key: &ConsentKey) -> Result<Option<ConsentRow>, StoreError> {
    const SQL: &str = select_consents!("plugin = $1 and endpoint = $2 and user_id = $3");
    one!(store, SQL, [key.plugin.as_str(), key.endpoint.as_str(), blob(key.user.bytes())], read)
}

/// A user's consents, in the order of plugin and endpoint; there are as many as endpoints of plugins that ask for one.
pub async fn of_user(store: &Store, user: UserId) -> Result<Vec<ConsentRow>, StoreError> {
    const SQL: &str = select_consents!("user_id = $1 order by plugin, endpoint limit 1000");
    all!(store, SQL, [blob(user.bytes())], read)
}

/// Takes the right to refresh a consent of this generation until then. False if somebody else has it, or the consent has changed.
pub async fn lease(
    store: &Store,
    (key, generation): (&ConsentKey, i64),
    owner: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "update consents set lease_owner = $5, lease_until = $6
        where plugin = $1 and endpoint = $2 and user_id = $3 and generation = $4 and state = 1
            and (lease_until is null or lease_until <= $7)";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(key.plugin.as_str())
        .bind(key.endpoint.as_str())
        .bind(blob(key.user.bytes()))
        .bind(generation)
        .bind(owner)
        .bind(until.0)
        .bind(now.0)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

/// What came of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// New tokens, sealed, with the key's id and their end.
    Tokens(Vec<u8>, String, Timestamp),
    /// It is over, and why.
    Ended(String),
    /// Nothing: somebody may try again.
    Nothing,
}

/// Ends a refresh. False if the consent has changed meanwhile: then nothing is written.
pub async fn refreshed(
    store: &Store,
    (key, generation): (&ConsentKey, i64),
    refreshed: &Refreshed,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const TOKENS: &str = "update consents set secret = $5, key_id = $6, ends_at = $7, generation = generation + 1,
            lease_owner = null, lease_until = null, changed_at = $8
        where plugin = $1 and endpoint = $2 and user_id = $3 and generation = $4 and state = 1";
    const NOTHING: &str = "update consents set lease_owner = null, lease_until = null
        where plugin = $1 and endpoint = $2 and user_id = $3 and generation = $4 and state = 1";
    match refreshed {
        Refreshed::Ended(reason) => end(store, key, Some(generation), reason, now).await,
        Refreshed::Tokens(secret, key_id, ends_at) => on_write!(store, pool => Ok(sqlx::query(TOKENS)
            .bind(key.plugin.as_str())
            .bind(key.endpoint.as_str())
            .bind(blob(key.user.bytes()))
            .bind(generation)
            .bind(secret.as_slice())
            .bind(key_id.as_str())
            .bind(ends_at.0)
            .bind(now.0)
            .execute(pool)
            .await?
            .rows_affected() == 1)),
        Refreshed::Nothing => on_write!(store, pool => Ok(sqlx::query(NOTHING)
            .bind(key.plugin.as_str())
            .bind(key.endpoint.as_str())
            .bind(blob(key.user.bytes()))
            .bind(generation)
            .execute(pool)
            .await?
            .rows_affected() == 1)),
    }
}

/// Tokens of a consent that ended, of which its server is to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// Its id.
    pub id: Uuid,
    /// Whose consent it was, to what.
    pub key: ConsentKey,
    /// The tokens, sealed.
    pub secret: Vec<u8>,
    /// The key that sealed them.
    pub key_id: String,
    /// How often it was tried.
    pub attempts: i32,
}

impl std::fmt::Debug for RevocationRow {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevocationRow").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Ends a consent and wipes its tokens there; they are kept under this id until its server was told. False if it does not hold.
pub async fn end_and_tell(
    store: &Store,
    key: &ConsentKey,
    (id, reason): (Uuid, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    const NOTE: &str =
        "insert into consent_revocations (id, plugin, endpoint, user_id, secret, key_id, attempts, due_at)
        select $1, plugin, endpoint, user_id, secret, key_id, 0, $5 from consents
        where plugin = $2 and endpoint = $3 and user_id = $4 and state = 1";
    const END: &str = "update consents set state = 2, secret = $4, key_id = '', generation = generation + 1,
            lease_owner = null, lease_until = null, reason = $5, changed_at = $6
        where plugin = $1 and endpoint = $2 and user_id = $3 and state = 1";
    let mut tx = store.begin().await?;
    let noted = on_tx!(&mut tx, connection => sqlx::query(NOTE)
        .bind(blob(id.as_bytes()))
        .bind(key.plugin.as_str())
        .bind(key.endpoint.as_str())
        .bind(blob(key.user.bytes()))
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    let ended = on_tx!(&mut tx, connection => sqlx::query(END)
        .bind(key.plugin.as_str())
        .bind(key.endpoint.as_str())
        .bind(blob(key.user.bytes()))
        .bind(Vec::<u8>::new())
        .bind(reason)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    // Refreshed between the two: what was noted is not what holds.
    if noted != 1 || ended != 1 {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// Tokens whose servers are to be told by now.
pub async fn revocations_due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<RevocationRow>, StoreError> {
    const SQL: &str = "select id, plugin, endpoint, user_id, secret, key_id, attempts from consent_revocations
        where due_at <= $1 order by due_at limit $2";
    all!(store, SQL, [now.0, i64::from(limit)], |row| {
        Ok(RevocationRow {
            id: row.id(0)?,
            key: ConsentKey { plugin: row.text(1)?, endpoint: row.text(2)?, user: UserId(row.id(3)?) },
            secret: row.bytes(4)?,
            key_id: row.text(5)?,
            attempts: row.int(6)?,
        })
    })
}

/// Its server could not be told: it is tried again at this time.
pub async fn revoke_again(store: &Store, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "update consent_revocations set attempts = attempts + 1, due_at = $2 where id = $1";
    on_write!(store, pool => {
        sqlx::query(SQL).bind(blob(id.as_bytes())).bind(at.0).execute(pool).await?;
    });
    Ok(())
}

/// Its server was told, or is not told any more: the tokens are gone.
pub async fn revoked(store: &Store, id: Uuid) -> Result<(), StoreError> {
    const SQL: &str = "delete from consent_revocations where id = $1";
    on_write!(store, pool => {
        sqlx::query(SQL).bind(blob(id.as_bytes())).execute(pool).await?;
    });
    Ok(())
}

/// Ends a consent and wipes its tokens. False if it does not hold, or not in this generation.
pub async fn end(
    store: &Store,
    key: &ConsentKey,
    generation: Option<i64>,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "update consents set state = 2, secret = $5, key_id = '', generation = generation + 1,
            lease_owner = null, lease_until = null, reason = $6, changed_at = $7
        where plugin = $1 and endpoint = $2 and user_id = $3 and ($4 < 0 or generation = $4) and state = 1";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(key.plugin.as_str())
        .bind(key.endpoint.as_str())
        .bind(blob(key.user.bytes()))
        .bind(generation.unwrap_or(-1))
        .bind(Vec::<u8>::new())
        .bind(reason)
        .bind(now.0)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

fn read(row: &impl Columns) -> Result<ConsentRow, StoreError> {
    Ok(ConsentRow {
        key: ConsentKey { plugin: row.text(0)?, endpoint: row.text(1)?, user: UserId(row.id(2)?) },
        state: match row.small(3)? {
            1 => ConsentState::Given,
            2 => ConsentState::Ended,
            code => return Err(StoreError::damaged(format!("{code} is no state of a consent"))),
        },
        secret: row.bytes(4)?,
        key_id: row.text(5)?,
        ends_at: row.time(6)?,
        generation: row.long(7)?,
        reason: row.maybe_text(8)?,
        created_at: row.time(9)?,
        changed_at: row.time(10)?,
    })
}
