//! Merchants' API keys, found by their hash. A key is rotated by giving the old one an end while the new one is in use already.

use koban_domain::ids::{KeyId, MerchantId};
use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;
use crate::query::LAST_ID;

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// SHA-256 of the key.
    pub hash: Digest,
    /// Its id, which may be shown.
    pub id: KeyId,
    /// Whose.
    pub merchant: MerchantId,
    /// What the merchant calls it.
    pub name: String,
    /// What it may do, as words without commas or spaces.
    pub scopes: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when; none means until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKeyRow {
    /// Whether the key opens anything at this time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// What came of making or replacing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It is written.
    Done,
    /// The merchant has as many live keys as it may; nothing was written.
    TooMany,
    /// There is no such key to replace; nothing was written.
    NoSuchKey,
    /// The key to replace has expired or is revoked; nothing was written.
    NotGood,
}

/// Writes a new key, with who made it in the audit log, unless the merchant has `live_max` that are neither expired nor revoked.
pub async fn create(store: &Store, key: &ApiKeyRow, live_max: i64, audit: &Audit) -> Result<Made, StoreError> {
    let mut tx = store.begin().await?;
    lock_keys(&mut tx, key.merchant).await?;
    if live(&mut tx, key.merchant, key.created_at).await? >= live_max {
        return Ok(Made::TooMany);
    }
    insert(&mut tx, key).await?;
    append_audit(&mut tx, &[(audit.clone(), key.created_at)]).await?;
    tx.commit().await?;
    Ok(Made::Done)
}

/// Replaces a good key in one transaction: writes the successor, which takes the old key's name and scopes, and gives the old one
/// its end, which may come sooner than the one it has but never later.
pub async fn rotate(
    store: &Store,
    old: KeyId,
    successor: ApiKeyRow,
    until: Timestamp,
    live_max: i64,
    audits: [Audit; 2],
) -> Result<(Made, ApiKeyRow), StoreError> {
    const END: &str = "update api_keys
        set expires_at = case when expires_at is not null and expires_at < $3 then expires_at else $3 end
        where id = $1 and merchant = $2";
    let (merchant, now) = (successor.merchant, successor.created_at);
    let mut tx = store.begin().await?;
    lock_keys(&mut tx, merchant).await?;
    let Some(found) = by_id_in(&mut tx, merchant, old).await? else { return Ok((Made::NoSuchKey, successor)) };
    if !found.is_good(now) {
        return Ok((Made::NotGood, successor));
    }
    if live(&mut tx, merchant, now).await? >= live_max {
        return Ok((Made::TooMany, successor));
    }
    let successor = ApiKeyRow { name: found.name, scopes: found.scopes, ..successor };
    insert(&mut tx, &successor).await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(END)
            .bind(blob(old.bytes()))
            .bind(blob(merchant.bytes()))
            .bind(until.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &audits.map(|audit| (audit, now))).await?;
    tx.commit().await?;
    Ok((Made::Done, successor))
}

/// One change of a merchant's keys at a time, so that counting them holds. SQLite has one writer anyway.
async fn lock_keys(tx: &mut Tx<'_>, merchant: MerchantId) -> Result<(), StoreError> {
    if let Tx::Postgres(transaction) = tx {
        sqlx::query("select id from merchants where id = $1 for update")
            .bind(blob(merchant.bytes()))
            .fetch_optional(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// How many keys of a merchant are neither expired nor revoked.
async fn live(tx: &mut Tx<'_>, merchant: MerchantId, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select count(*) from api_keys
        where merchant = $1 and revoked_at is null and (expires_at is null or expires_at > $2)";
    on_tx!(tx, connection => sqlx::query(SQL).bind(blob(merchant.bytes())).bind(now.0).fetch_one(connection).await?.long(0))
}

async fn insert(tx: &mut Tx<'_>, key: &ApiKeyRow) -> Result<(), StoreError> {
    const SQL: &str = "insert into api_keys (hash, id, merchant, name, scopes, created_at, expires_at, revoked_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    on_tx!(tx, connection => {
        sqlx::query(SQL)
            .bind(blob(key.hash.0))
            .bind(blob(key.id.bytes()))
            .bind(blob(key.merchant.bytes()))
            .bind(key.name.as_str())
            .bind(key.scopes.join(","))
            .bind(key.created_at.0)
            .bind(key.expires_at.map(|at| at.0))
            .bind(key.revoked_at.map(|at| at.0))
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// The key with this hash, whether it is good or not: the caller asks [`ApiKeyRow::is_good`].
pub async fn by_hash(store: &Store, hash: Digest) -> Result<Option<ApiKeyRow>, StoreError> {
    const SQL: &str = "select * from api_keys where hash = $1";
    one!(store, SQL, [blob(hash.0)], read)
}

const BY_ID: &str = "select * from api_keys where id = $1 and merchant = $2";
/// A key of whichever merchant.
pub async fn find(store: &Store, id: KeyId) -> Result<Option<ApiKeyRow>, StoreError> {
    const SQL: &str = "select * from api_keys where id = $1";
    one!(store, SQL, [blob(id.bytes())], read)
}

/// One of a merchant's keys.
pub async fn by_id(store: &Store, merchant: MerchantId, id: KeyId) -> Result<Option<ApiKeyRow>, StoreError> {
    one!(store, BY_ID, [blob(id.bytes()), blob(merchant.bytes())], read)
}

async fn by_id_in(tx: &mut Tx<'_>, merchant: MerchantId, id: KeyId) -> Result<Option<ApiKeyRow>, StoreError> {
    on_tx!(tx, connection => sqlx::query(BY_ID)
        .bind(blob(id.bytes()))
        .bind(blob(merchant.bytes()))
        .fetch_optional(connection)
        .await?
        .map(|row| read(&row))
        .transpose())
}

/// A merchant's keys, newest first, before this one.
pub async fn list(
    store: &Store,
    merchant: MerchantId,
    before: Option<KeyId>,
    limit: u16,
) -> Result<Vec<ApiKeyRow>, StoreError> {
    const SQL: &str = "select * from api_keys where merchant = $1 and id < $2 order by id desc limit $3";
    all!(store, SQL, [blob(merchant.bytes()), blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], read)
}

/// Revokes one of a merchant's keys at once and for ever. Whether there is such a key; if not, nothing is written.
pub async fn revoke(
    store: &Store,
    (merchant, id): (MerchantId, KeyId),
    audit: &Audit,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "update api_keys set revoked_at = coalesce(revoked_at, $3) where id = $1 and merchant = $2";
    let mut tx = store.begin().await?;
    let changed = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(blob(merchant.bytes()))
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    if changed == 0 {
        return Ok(false);
    }
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await?;
    Ok(true)
}

fn read(row: &impl Columns) -> Result<ApiKeyRow, StoreError> {
    let scopes = row.text("scopes")?;
    Ok(ApiKeyRow {
        hash: row.digest("hash")?,
        id: KeyId(row.id("id")?),
        merchant: MerchantId(row.id("merchant")?),
        name: row.text("name")?,
        scopes: scopes.split(',').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        created_at: row.time("created_at")?,
        expires_at: row.maybe_time("expires_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}
