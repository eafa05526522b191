//! Files from partners: each is taken once, by its digest.

use std::collections::BTreeSet;

use koban_domain::flows::Arrival;
use koban_domain::ids::ReceivedFileId;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on_tx, one};
use crate::error::StoreError;
use crate::flows::arrive_in;
use crate::query::LAST_ID;

/// A file from a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRow {
    /// Its id.
    pub id: ReceivedFileId,
    /// The plugin's id.
    pub plugin: String,
    /// The file's name in the manifest.
    pub file: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// What it was called in the directory, where it was seen first.
    pub name: String,
    /// Whether its records were delivered; otherwise it could not be read.
    pub taken: bool,
    /// Records that concerned a flow.
    pub records: i32,
    /// What an operator should know.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A file that came before, if it did.
pub async fn received(
    store: &Store,
    plugin: &str,
    file: &str,
    digest: Digest,
) -> Result<Option<ReceivedRow>, StoreError> {
    const SQL: &str = "select id, plugin, file, digest, name, state, records, note, at from received_files
        where plugin = $1 and file = $2 and digest = $3";
    one!(store, SQL, [plugin, file, blob(digest.0)], read)
}

/// Files from partners, newest first, before this one: of one plugin or of all.
pub async fn list_received(
    store: &Store,
    plugin: Option<&str>,
    before: Option<ReceivedFileId>,
    limit: u16,
) -> Result<Vec<ReceivedRow>, StoreError> {
    const SQL: &str = "select id, plugin, file, digest, name, state, records, note, at from received_files
        where id < $1 and ($2 = '' or plugin = $2) order by id desc limit $3";
    let before = blob(before.map_or(LAST_ID, |id| id.bytes()));
    all!(store, SQL, [before, plugin.unwrap_or_default(), i64::from(limit)], read)
}

/// Correlations of records in files that are sealed and of which nobody was told yet: no answer to them is given to a flow before that.
pub async fn untold(store: &Store, plugin: &str) -> Result<BTreeSet<String>, StoreError> {
    const SQL: &str = "select r.correlation from partner_file_records r join partner_files f on f.id = r.of_file
        where f.plugin = $1 and f.state in (1, 2) limit 100000";
    let found: Result<Vec<String>, StoreError> = all!(store, SQL, [plugin], |row| row.text(0));
    Ok(found?.into_iter().collect())
}

/// Takes a partner's file: its records arrive at their flows in the transaction that remembers its digest. False if it was taken before: then nothing
/// arrives. One that could not be read is remembered as well, and may be taken later.
pub async fn take(store: &Store, file: &ReceivedRow, arrivals: &[Arrival]) -> Result<bool, StoreError> {
    const SQL: &str = "insert into received_files (id, plugin, file, digest, name, state, records, note, at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (plugin, file, digest) do update set state = excluded.state, records = excluded.records,
            note = excluded.note, at = excluded.at where received_files.state = 2";
    let mut tx = store.begin().await?;
    let new = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(file.id.bytes()))
        .bind(file.plugin.as_str())
        .bind(file.file.as_str())
        .bind(blob(file.digest.0))
        .bind(file.name.as_str())
        .bind(if file.taken { 1_i16 } else { 2 })
        .bind(file.records)
        .bind(file.note.as_deref())
        .bind(file.at.0)
        .execute(connection)
        .await?
        .rows_affected());
    if new != 1 {
        return Ok(false);
    }
    for arrival in arrivals {
        arrive_in(&mut tx, arrival).await?;
    }
    tx.commit().await?;
    Ok(true)
}

fn read(row: &impl Columns) -> Result<ReceivedRow, StoreError> {
    Ok(ReceivedRow {
        id: ReceivedFileId(row.id(0)?),
        plugin: row.text(1)?,
        file: row.text(2)?,
        digest: row.digest(3)?,
        name: row.text(4)?,
        taken: row.small(5)? == 1,
        records: row.int(6)?,
        note: row.maybe_text(7)?,
        at: row.time(8)?,
    })
}
