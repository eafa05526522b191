//! Everything that is sealed, wherever it lies: found by key, counted, and exchanged for the same under another key.

use std::collections::BTreeMap;

use koban_domain::ids::{SubmissionId, UserId, WebhookId};

use crate::database::{Columns, Store, Tx, all, blob, on_tx};
use crate::error::StoreError;

/// Where a sealed value lies. The order is that of [`not_under`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// What a user submitted.
    Submission {
        /// Which submission.
        id: SubmissionId,
        /// Whose.
        user: UserId,
    },
    /// The keys of a webhook endpoint.
    Webhook(WebhookId),
    /// Those before them, while they overlap.
    WebhookBefore(WebhookId),
    /// The tokens of a user's consent.
    Consent {
        /// The plugin's id.
        plugin: String,
        /// The endpoint's name, with its side.
        endpoint: String,
        /// Whose.
        user: UserId,
    },
    /// The secrets shared with a partner.
    Endpoint {
        /// The plugin's id.
        plugin: String,
        /// The endpoint's name.
        name: String,
    },
}

/// A value that names a key, or none: then it lies open.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Where.
    pub place: Place,
    /// The key's id; empty for what is not sealed.
    pub key_id: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for SealedRow {
    /// Without the bytes: they may lie open.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRow").field("place", &self.place).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// How many values name each key.
pub async fn count_by_key(store: &Store) -> Result<BTreeMap<String, i64>, StoreError> {
    const SQL: &str = "select key_id, cast(count(*) as bigint) from (
            select key_id from submissions
            union all select key_id from webhook_endpoints
            union all select old_key_id from webhook_endpoints where old_secret is not null
            union all select key_id from endpoints
            union all select key_id from consents where state = 1
            union all select key_id from consent_revocations
        ) as named group by key_id";
    all!(store, SQL, [], |row| Ok((row.text(0)?, row.long(1)?)))
}

/// Values that do not name this key, behind this place, at most `limit` of them and of one kind: kinds follow each other. Empty
/// once there are none behind it.
pub async fn not_under(
    store: &Store,
    key: &str,
    after: Option<&Place>,
    limit: u16,
) -> Result<Vec<SealedRow>, StoreError> {
    const START: [u8; 16] = [0; 16];
    let (mut kind, mut id, mut text) = match after {
        None => (0, START, (String::new(), String::new())),
        Some(Place::Submission { id, .. }) => (0, id.bytes(), Default::default()),
        Some(Place::Webhook(id)) => (1, id.bytes(), Default::default()),
        Some(Place::WebhookBefore(id)) => (2, id.bytes(), Default::default()),
        Some(Place::Endpoint { plugin, name }) => (3, START, (plugin.clone(), name.clone())),
        Some(Place::Consent { plugin, endpoint, user }) => (4, user.bytes(), (plugin.clone(), endpoint.clone())),
    };
    loop {
        let found = match kind {
            0 => submissions(store, key, id, limit).await?,
            1 => webhooks(store, key, id, limit).await?,
            2 => webhooks_before(store, key, id, limit).await?,
            3 => endpoints(store, key, &text, limit).await?,
            4 => consents(store, key, (&text, id), limit).await?,
            _ => return Ok(Vec::new()),
        };
        if !found.is_empty() {
            return Ok(found);
        }
        (kind, id, text) = (kind + 1, START, Default::default());
    }
}

async fn submissions(store: &Store, key: &str, after: [u8; 16], limit: u16) -> Result<Vec<SealedRow>, StoreError> {
    const SQL: &str =
        "select id, user_id, key_id, sealed from submissions where id > $1 and key_id <> $2 order by id limit $3";
    all!(store, SQL, [blob(after), key, i64::from(limit)], |row| Ok(SealedRow {
        place: Place::Submission { id: SubmissionId(row.id(0)?), user: UserId(row.id(1)?) },
        key_id: row.text(2)?,
        bytes: row.bytes(3)?,
    }))
}

async fn webhooks(store: &Store, key: &str, after: [u8; 16], limit: u16) -> Result<Vec<SealedRow>, StoreError> {
    const SQL: &str =
        "select id, key_id, secret from webhook_endpoints where id > $1 and key_id <> $2 order by id limit $3";
    all!(store, SQL, [blob(after), key, i64::from(limit)], |row| of_webhook(row, Place::Webhook))
}

async fn webhooks_before(store: &Store, key: &str, after: [u8; 16], limit: u16) -> Result<Vec<SealedRow>, StoreError> {
    const SQL: &str = "select id, old_key_id, old_secret from webhook_endpoints
        where id > $1 and old_secret is not null and old_key_id <> $2 order by id limit $3";
    all!(store, SQL, [blob(after), key, i64::from(limit)], |row| of_webhook(row, Place::WebhookBefore))
}

fn of_webhook(row: &impl Columns, place: impl Fn(WebhookId) -> Place) -> Result<SealedRow, StoreError> {
    Ok(SealedRow { place: place(WebhookId(row.id(0)?)), key_id: row.text(1)?, bytes: row.bytes(2)? })
}

async fn endpoints(
    store: &Store,
    key: &str,
    (plugin, name): &(String, String),
    limit: u16,
) -> Result<Vec<SealedRow>, StoreError> {
    const SQL: &str = "select plugin, name, key_id, secret from endpoints
        where (plugin, name) > ($1, $2) and key_id <> $3 order by plugin, name limit $4";
    all!(store, SQL, [plugin.as_str(), name.as_str(), key, i64::from(limit)], |row| Ok(SealedRow {
        place: Place::Endpoint { plugin: row.text(0)?, name: row.text(1)? },
        key_id: row.text(2)?,
        bytes: row.bytes(3)?,
    }))
}

async fn consents(
    store: &Store,
    key: &str,
    ((plugin, endpoint), user): (&(String, String), [u8; 16]),
    limit: u16,
) -> Result<Vec<SealedRow>, StoreError> {
    const SQL: &str = "select plugin, endpoint, user_id, key_id, secret from consents
        where state = 1 and (plugin, endpoint, user_id) > ($1, $2, $3) and key_id <> $4 order by plugin, endpoint, user_id limit $5";
    let (plugin, endpoint) = (plugin.as_str(), endpoint.as_str());
    all!(store, SQL, [plugin, endpoint, blob(user), key, i64::from(limit)], |row| Ok(SealedRow {
        place: Place::Consent { plugin: row.text(0)?, endpoint: row.text(1)?, user: UserId(row.id(2)?) },
        key_id: row.text(3)?,
        bytes: row.bytes(4)?,
    }))
}

/// Exchanges values for the same under another key, in one transaction: row, new key's id, new bytes. What changed meanwhile stays
/// as it is now. How many were exchanged.
pub async fn replace(store: &Store, changes: &[(SealedRow, String, Vec<u8>)]) -> Result<u64, StoreError> {
    if changes.is_empty() {
        return Ok(0);
    }
    let mut tx = store.begin().await?;
    let mut exchanged = 0;
    for (row, key_id, bytes) in changes {
        exchanged += exchange(&mut tx, row, key_id, bytes).await?;
    }
    tx.commit().await?;
    Ok(exchanged)
}

async fn exchange(tx: &mut Tx<'_>, row: &SealedRow, key_id: &str, bytes: &[u8]) -> Result<u64, StoreError> {
    let sql = match row.place {
        Place::Submission { .. } => "update submissions set key_id = $1, sealed = $2 where id = $3 and sealed = $4",
        Place::Webhook(_) => "update webhook_endpoints set key_id = $1, secret = $2 where id = $3 and secret = $4",
        Place::WebhookBefore(_) => {
            "update webhook_endpoints set old_key_id = $1, old_secret = $2 where id = $3 and old_secret = $4"
        }
        Place::Endpoint { .. } => {
            "update endpoints set key_id = $1, secret = $2 where plugin = $3 and name = $5 and secret = $4"
        }
        Place::Consent { .. } => {
            "update consents set key_id = $1, secret = $2
                where plugin = $3 and endpoint = $5 and user_id = $6 and secret = $4"
        }
    };
    Ok(on_tx!(tx, connection => {
        let query = sqlx::query(sql).bind(key_id).bind(bytes);
        let query = match &row.place {
            Place::Submission { id, .. } => query.bind(blob(id.bytes())).bind(row.bytes.as_slice()),
            Place::Webhook(id) | Place::WebhookBefore(id) => query.bind(blob(id.bytes())).bind(row.bytes.as_slice()),
            Place::Endpoint { plugin, name } => {
                query.bind(plugin.as_str()).bind(row.bytes.as_slice()).bind(name.as_str())
            }
            Place::Consent { plugin, endpoint, user } => {
                query.bind(plugin.as_str()).bind(row.bytes.as_slice()).bind(endpoint.as_str()).bind(blob(user.bytes()))
            }
        };
        query.execute(connection).await?.rows_affected()
    }))
}
