//! Where webhooks go, as merchants and operators set it. What each endpoint was given is in [`deliveries`], how news get there in
//! [`fan_out`].

pub mod deliveries;
pub mod fan_out;

use koban_domain::ids::{MerchantId, WebhookId};
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;
use koban_domain::webhooks::Health;

use crate::database::{Columns, Store, Tx, all, blob, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;
use crate::query::LAST_ID;

/// An endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Whose; none for the platform's own.
    pub merchant: Option<MerchantId>,
    /// Where.
    pub url: String,
    /// The types of events it is told; all if there are none.
    pub types: Vec<String>,
    /// What its owner calls it.
    pub description: String,
    /// What its messages are signed with.
    pub keys: Sealed,
    /// What they were signed with before, and until when they still are.
    pub old_keys: Option<(Sealed, Timestamp)>,
    /// The public half of its newest key pair.
    pub public_key: [u8; 32],
    /// An operator lets it have a private address, and no TLS there.
    pub allow_private: bool,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Why not, if the host switched it off.
    pub disabled_reason: Option<String>,
    /// How it has been doing.
    pub health: Health,
    /// News behind this page of the outbox are for it.
    pub since_sequence: i64,
    /// The number of its next delivery.
    pub next_sequence: i64,
    /// The outbox is read for it once more: the last page that was, and the last page that shall be.
    pub replay: Option<(i64, i64)>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last changed by somebody.
    pub changed_at: Timestamp,
}

/// Sealed bytes and the key that opens them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The key's name.
    pub key_id: String,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({:?}, …)", self.key_id)
    }
}

impl std::fmt::Debug for WebhookRow {
    /// Without the secrets, which have no business in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookRow")
            .field("id", &self.id)
            .field("merchant", &self.merchant)
            .field("url", &self.url)
            .field("enabled", &self.enabled)
            .field("health", &self.health)
            .field("next_sequence", &self.next_sequence)
            .finish_non_exhaustive()
    }
}

/// Makes an endpoint, with who made it in the audit log; it is told what is committed from now on. False if its owner has `most` of
/// them already: then nothing is written.
pub async fn create(store: &Store, row: &WebhookRow, most: i64, audit: &Audit) -> Result<bool, StoreError> {
    // No id is empty: the platform's own are counted by it.
    const COUNT: &str =
        "select count(*) from webhook_endpoints where merchant = $1 or (merchant is null and length($1) = 0)";
    const SQL: &str = "insert into webhook_endpoints (id, merchant, url, types, description, secret, key_id, old_key_id,
            public_key, allow_private, enabled, failures, resting_until, since_sequence, next_sequence, created_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, 1, 0, 0,
            (select outbox_sequence from lane_heads where lane = 0), 1, $10, $10)";
    let mut tx = store.begin().await?;
    // News are handed out under the same lock: none is handed out between reading the head and being there.
    lock(&mut tx).await?;
    let merchant = row.merchant.map(|merchant| blob(merchant.bytes()));
    let known = on_tx!(&mut tx, connection => sqlx::query(COUNT)
        .bind(merchant.clone().unwrap_or_default())
        .fetch_one(connection)
        .await?
        .long(0))?;
    if known >= most {
        return Ok(false);
    }
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(blob(row.id.bytes()))
            .bind(merchant)
            .bind(row.url.as_str())
            .bind(row.types.join(","))
            .bind(row.description.as_str())
            .bind(row.keys.bytes.as_slice())
            .bind(row.keys.key_id.as_str())
            .bind(row.public_key.as_slice())
            .bind(i16::from(row.allow_private))
            .bind(row.created_at.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), row.created_at)]).await?;
    tx.commit().await?;
    Ok(true)
}

/// Locks the cursor of webhooks, and with it the numbering of deliveries; answers where the cursor stands.
pub(crate) async fn lock(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    const SQL: &str = "update outbox_cursors set sequence = sequence where name = 'webhooks' returning sequence";
    on_tx!(tx, connection => sqlx::query(SQL).fetch_one(connection).await?.long(0))
}

/// One endpoint.
pub async fn by_id(store: &Store, id: WebhookId) -> Result<Option<WebhookRow>, StoreError> {
    const SQL: &str = "select * from webhook_endpoints where id = $1";
    one!(store, SQL, [blob(id.bytes())], read)
}

/// Endpoints of a merchant, or of everybody, newest first before this one.
pub async fn list(
    store: &Store,
    merchant: Option<MerchantId>,
    before: Option<WebhookId>,
    limit: u16,
) -> Result<Vec<WebhookRow>, StoreError> {
    const OF_ONE: &str = "select * from webhook_endpoints where id < $1 and merchant = $3 order by id desc limit $2";
    const OF_ALL: &str = "select * from webhook_endpoints where id < $1 order by id desc limit $2";
    let before = blob(before.map_or(LAST_ID, |id| id.bytes()));
    let limit = i64::from(limit);
    match merchant {
        Some(merchant) => all!(store, OF_ONE, [before, limit, blob(merchant.bytes())], read),
        None => all!(store, OF_ALL, [before, limit], read),
    }
}

/// What of an endpoint can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub url: String,
    /// The types of events it is told; all if there are none.
    pub types: Vec<String>,
    /// What its owner calls it.
    pub description: String,
    /// An operator lets it have a private address.
    pub allow_private: bool,
    /// Whether anything is sent. Switching it on forgets how it has been doing.
    pub enabled: bool,
}

/// Sets an endpoint, with who did it in the audit log. Switched off, what waits for it has failed. False if it is gone.
pub async fn change(
    store: &Store,
    id: WebhookId,
    change: &Change,
    audit: &Audit,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str =
        "update webhook_endpoints set url = $2, types = $3, description = $4, allow_private = $5, enabled = $6,
            disabled_reason = null, failures = 0, failing_since = null, resting_until = 0, changed_at = $7
        where id = $1";
    let mut tx = store.begin().await?;
    lock(&mut tx).await?;
    if !change.enabled {
        deliveries::fail_waiting(&mut tx, id, now).await?;
    }
    let changed = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(change.url.as_str())
        .bind(change.types.join(","))
        .bind(change.description.as_str())
        .bind(i16::from(change.allow_private))
        .bind(i16::from(change.enabled))
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

/// Gives an endpoint new keys; those it had go on beside them until `old_until`, and those before them end. False if it is gone.
pub async fn rotate(
    store: &Store,
    id: WebhookId,
    (keys, public_key): (&Sealed, [u8; 32]),
    old_until: Timestamp,
    audit: &Audit,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "update webhook_endpoints set old_secret = secret, old_key_id = key_id, old_until = $5,
            secret = $2, key_id = $3, public_key = $4, changed_at = $6
        where id = $1";
    let mut tx = store.begin().await?;
    let changed = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(keys.bytes.as_slice())
        .bind(keys.key_id.as_str())
        .bind(public_key.as_slice())
        .bind(old_until.0)
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

/// Takes an endpoint away, and what it was given. False if it is gone already.
pub async fn remove(store: &Store, id: WebhookId, audit: &Audit, now: Timestamp) -> Result<bool, StoreError> {
    const DELIVERIES: &str = "delete from webhook_deliveries where endpoint = $1";
    const SQL: &str = "delete from webhook_endpoints where id = $1";
    let mut tx = store.begin().await?;
    // Nothing is handed out to it meanwhile.
    lock(&mut tx).await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(DELIVERIES).bind(blob(id.bytes())).execute(connection).await?;
    });
    let removed = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .execute(connection)
        .await?
        .rows_affected());
    if removed == 0 {
        return Ok(false);
    }
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await?;
    Ok(true)
}

pub(crate) fn read(row: &impl Columns) -> Result<WebhookRow, StoreError> {
    let old = match (row.maybe_bytes("old_secret")?, row.maybe_time("old_until")?) {
        (Some(bytes), Some(until)) => Some((Sealed { bytes, key_id: row.text("old_key_id")? }, until)),
        _ => None,
    };
    let types = row.text("types")?;
    Ok(WebhookRow {
        id: WebhookId(row.id("id")?),
        merchant: row.maybe_id("merchant")?.map(MerchantId),
        url: row.text("url")?,
        types: types.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
        description: row.text("description")?,
        keys: Sealed { bytes: row.bytes("secret")?, key_id: row.text("key_id")? },
        old_keys: old,
        public_key: row.fixed("public_key")?,
        allow_private: row.flag("allow_private")?,
        enabled: row.flag("enabled")?,
        disabled_reason: row.maybe_text("disabled_reason")?,
        health: Health {
            failures: row.long("failures")?,
            failing_since: row.maybe_time("failing_since")?,
            resting_until: row.time("resting_until")?,
        },
        since_sequence: row.long("since_sequence")?,
        next_sequence: row.long("next_sequence")?,
        replay: row.maybe_long("replay_from")?.zip(row.maybe_long("replay_until")?),
        created_at: row.time("created_at")?,
        changed_at: row.time("changed_at")?,
    })
}
