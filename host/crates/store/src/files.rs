//! Partners' settlement files: kept by content before anything is made of them, so that the same file twice changes nothing.

use koban_domain::accounts::PluginKey;
use koban_domain::ids::FileId;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, blob, on, on_tx, on_write};
use crate::error::StoreError;
use crate::query::LAST_ID;

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileStatus {
    /// Nothing was made of it yet.
    Waiting,
    /// Its lines are in the books.
    Taken,
    /// Its plugin could not read it.
    Unreadable,
}

impl FileStatus {
    const fn code(self) -> i16 {
        match self {
            FileStatus::Waiting => 0,
            FileStatus::Taken => 1,
            FileStatus::Unreadable => 2,
        }
    }

    /// The word in answers.
    pub const fn word(self) -> &'static str {
        match self {
            FileStatus::Waiting => "waiting",
            FileStatus::Taken => "taken",
            FileStatus::Unreadable => "unreadable",
        }
    }
}

/// A file without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Whose partner sent it.
    pub plugin: PluginKey,
    /// Digest of its content.
    pub digest: Digest,
    /// Its id.
    pub id: FileId,
    /// How it stands.
    pub status: FileStatus,
    /// Why it cannot be read, if so.
    pub note: Option<String>,
    /// When it came.
    pub at: Timestamp,
    /// Lines that matched; none before the books have taken it.
    pub matched: Option<u32>,
    /// Differences it opened; none before the books have taken it.
    pub differences: Option<u32>,
}

macro_rules! select_files {
    ($rest:literal) => {
        concat!(
            "select f.plugin, f.digest, f.id, f.status, f.note, f.at, s.matched, s.differences from file_contents f ",
            "left join settlement_files s on s.plugin = f.plugin and s.digest = f.digest where ",
            $rest
        )
    };
}

/// Keeps a file. The same content from the same partner again changes nothing. Returns the file as it is kept, and whether it
/// came for the first time.
pub async fn put(
    store: &Store,
    plugin: PluginKey,
    id: FileId,
    content: &[u8],
    now: Timestamp,
) -> Result<(FileRow, bool), StoreError> {
    const SQL: &str = "insert into file_contents (plugin, digest, id, content, status, note, at)
        values ($1, $2, $3, $4, 0, null, $5) on conflict (plugin, digest) do nothing";
    let digest = Digest::of(content);
    let mut tx = store.begin().await?;
    let new = on_tx!(&mut tx, connection => sqlx::query(SQL)
        .bind(blob(plugin.0.as_bytes()))
        .bind(blob(digest.0))
        .bind(blob(id.bytes()))
        .bind(content)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    let file = on_tx!(&mut tx, connection => read(&sqlx::query(select_files!("f.plugin = $1 and f.digest = $2"))
        .bind(blob(plugin.0.as_bytes()))
        .bind(blob(digest.0))
        .fetch_one(connection)
        .await?))?;
    tx.commit().await?;
    Ok((file, new == 1))
}

/// The file with this id.
pub async fn by_id(store: &Store, id: FileId) -> Result<Option<FileRow>, StoreError> {
    on!(store, pool => sqlx::query(select_files!("f.id = $1"))
        .bind(blob(id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| read(&row))
        .transpose())
}

/// A file's content.
pub async fn content(store: &Store, id: FileId) -> Result<Option<Vec<u8>>, StoreError> {
    const SQL: &str = "select content from file_contents where id = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| row.bytes(0))
        .transpose())
}

/// Files that nothing was made of yet, oldest first.
pub async fn waiting(store: &Store, after: Option<FileId>, limit: u16) -> Result<Vec<FileRow>, StoreError> {
    on!(store, pool => sqlx::query(select_files!("f.status = 0 and f.id > $1 order by f.id limit $2"))
        .bind(blob(after.map_or([0; 16], |id| id.bytes())))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?
        .iter()
        .map(read)
        .collect())
}

/// A partner's files, newest first, before this one.
pub async fn list(
    store: &Store,
    plugin: PluginKey,
    before: Option<FileId>,
    limit: u16,
) -> Result<Vec<FileRow>, StoreError> {
    on!(store, pool => sqlx::query(select_files!("f.plugin = $1 and f.id < $2 order by f.id desc limit $3"))
        .bind(blob(plugin.0.as_bytes()))
        .bind(blob(before.map_or(LAST_ID, |id| id.bytes())))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?
        .iter()
        .map(read)
        .collect())
}

/// Notes what was made of a file. One that was taken stays taken. Whether anything changed.
pub async fn set_status(store: &Store, id: FileId, status: FileStatus, note: Option<&str>) -> Result<bool, StoreError> {
    const SQL: &str = "update file_contents set status = $2, note = $3 where id = $1 and status <> 1";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .bind(status.code())
        .bind(note)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

fn read(row: &impl Columns) -> Result<FileRow, StoreError> {
    let count = |count: Option<i32>| {
        let count = count.map(u32::try_from).transpose();
        count.map_err(|_| StoreError::damaged("a settlement file counts below zero"))
    };
    Ok(FileRow {
        plugin: PluginKey(row.id(0)?),
        digest: row.digest(1)?,
        id: FileId(row.id(2)?),
        status: match row.small(3)? {
            0 => FileStatus::Waiting,
            1 => FileStatus::Taken,
            2 => FileStatus::Unreadable,
            code => return Err(StoreError::damaged(format!("{code} is no status of a file"))),
        },
        note: row.maybe_text(4)?,
        at: row.time(5)?,
        matched: count(row.maybe_int(6)?)?,
        differences: count(row.maybe_int(7)?)?,
    })
}
