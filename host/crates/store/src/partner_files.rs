//! Files to partners that work in batches: records wait for their cut-off, a file is numbered when it is sealed and composed once.

mod received;

pub use received::{ReceivedRow, list_received, received, take, untold};

use koban_domain::calendars::file_name;
use koban_domain::flows::Arrival;
use koban_domain::guest::{Act, What};
use koban_domain::ids::{FlowId, PartnerFileId};
use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on_tx, on_write, one};
use crate::error::StoreError;
use crate::flows::{Lease, arrive_in};
use crate::ledger::pages::append_audit;
use crate::query::{LAST_ID, from_postcard};

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartnerFileState {
    /// Records are still put into it.
    Open,
    /// No record any more; it waits to be composed.
    Sealed,
    /// Its bytes are fixed; it waits to be written.
    Composed,
    /// It lay in the partner's directory.
    Written,
    /// The plugin could not compose it.
    Refused,
}

impl PartnerFileState {
    const fn code(self) -> i16 {
        match self {
            PartnerFileState::Open => 0,
            PartnerFileState::Sealed => 1,
            PartnerFileState::Composed => 2,
            PartnerFileState::Written => 3,
            PartnerFileState::Refused => 4,
        }
    }

    /// The word in answers.
    pub const fn word(self) -> &'static str {
        match self {
            PartnerFileState::Open => "open",
            PartnerFileState::Sealed => "sealed",
            PartnerFileState::Composed => "composed",
            PartnerFileState::Written => "written",
            PartnerFileState::Refused => "refused",
        }
    }
}

/// Which cut-off of which file of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// The plugin's id.
    pub plugin: String,
    /// The file's name in the manifest.
    pub file: String,
    /// The cut-off that it is for.
    pub cut_off: Timestamp,
}

/// A file to a partner, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerFileRow {
    /// Its id.
    pub id: PartnerFileId,
    /// What it is for.
    pub key: FileKey,
    /// The directory of the manifest.
    pub directory: String,
    /// How it stands.
    pub state: PartnerFileState,
    /// Its number, once it is sealed.
    pub number: Option<u32>,
    /// What it is called in the directory; before it is sealed, the manifest's pattern.
    pub name: String,
    /// Digest of its bytes, once composed.
    pub digest: Option<Digest>,
    /// Records in it.
    pub records: i32,
    /// What stands in the way, if something does.
    pub note: Option<String>,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// A record in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Whose.
    pub flow: FlowId,
    /// The flow's name for the effect.
    pub key: String,
    /// What answers to it will carry.
    pub correlation: String,
    /// The record.
    pub record: Vec<u8>,
}

macro_rules! select_files {
    ($rest:literal) => {
        concat!(
            "select id, plugin, file, cut_off, directory, state, number, name, digest, records, note, changed_at
            from partner_files where ",
            $rest
        )
    };
}

/// A file that is to be opened if nobody has.
#[derive(Debug, Clone)]
pub struct Opened<'a> {
    /// The id that it gets.
    pub id: PartnerFileId,
    /// Which cut-off of which file.
    pub key: &'a FileKey,
    /// The directory of the manifest.
    pub directory: &'a str,
    /// The manifest's pattern of its name.
    pub called: &'a str,
}

/// What a record costs beside its bytes when it is given to a guest.
const ITEM_BYTES: usize = 16;

/// What came of putting a record into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in it, and its flow is told.
    Done,
    /// The lease was lost.
    LeaseLost,
    /// The file is sealed already.
    Sealed,
    /// The file holds as much as it may.
    Full,
}

/// Puts a leased effect's record into a file that is open, and tells its flow `queued`, all in one transaction. At most so many records and bytes.
pub async fn put(
    store: &Store,
    lease: &Lease,
    file: &Opened<'_>,
    (correlation, record): (&str, &[u8]),
    (records_max, bytes_max): (i64, i64),
    now: Timestamp,
) -> Result<Put, StoreError> {
    const OPEN: &str = "insert into partner_files
            (id, plugin, file, cut_off, directory, state, name, records, bytes, changed_at)
        values ($1, $2, $3, $4, $5, 0, $6, 0, 0, $7)
        on conflict (plugin, file, cut_off) do update set changed_at = excluded.changed_at
        returning id, state, records, bytes";
    const DONE: &str = "update flow_effects set state = 2, lease_owner = null, lease_until = null
        where flow = $1 and key = $2 and fence = $3 and state = 1";
    const PUT: &str = "insert into partner_file_records (of_file, flow, key, correlation, record)
        values ($1, $2, $3, $4, $5)";
    const COUNT: &str = "update partner_files set records = records + 1, bytes = bytes + $2 where id = $1";
    let mut tx = store.begin().await?;
    // The row is locked from here on: nobody seals it in between.
    let (id, state, records, bytes) = on_tx!(&mut tx, connection => {
        let row = sqlx::query(OPEN)
            .bind(blob(file.id.bytes()))
            .bind(file.key.plugin.as_str())
            .bind(file.key.file.as_str())
            .bind(file.key.cut_off.0)
            .bind(file.directory)
            .bind(file.called)
            .bind(now.0)
            .fetch_one(connection)
            .await?;
        (PartnerFileId(row.id(0)?), row.small(1)?, row.int(2)?, row.long(3)?)
    });
    if state != PartnerFileState::Open.code() {
        return Ok(Put::Sealed);
    }
    let own = i64::try_from(record.len() + correlation.len() + ITEM_BYTES).unwrap_or(i64::MAX);
    if i64::from(records) >= records_max || bytes.saturating_add(own) > bytes_max {
        return Ok(Put::Full);
    }
    let ended = on_tx!(&mut tx, connection => sqlx::query(DONE)
        .bind(blob(lease.flow.bytes()))
        .bind(lease.key.as_str())
        .bind(lease.fence)
        .execute(connection)
        .await?
        .rows_affected());
    if ended != 1 {
        return Ok(Put::LeaseLost);
    }
    on_tx!(&mut tx, connection => {
        sqlx::query(PUT)
            .bind(blob(id.bytes()))
            .bind(blob(lease.flow.bytes()))
            .bind(lease.key.as_str())
            .bind(correlation)
            .bind(record)
            .execute(connection)
            .await?;
    });
    on_tx!(&mut tx, connection => {
        sqlx::query(COUNT).bind(blob(id.bytes())).bind(own).execute(connection).await?;
    });
    let arrival = Arrival { flow: lease.flow, key: lease.key.clone(), what: What::Queued, call: None, at: now };
    arrive_in(&mut tx, &arrival).await?;
    tx.commit().await?;
    Ok(Put::Done)
}

/// Files that are not written yet and whose cut-off has come or that somebody sealed before it, oldest first. Those that could not be composed wait for an
/// operator and are not among them.
pub async fn due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<PartnerFileRow>, StoreError> {
    const SQL: &str = select_files!(
        "state <> 3 and state <> 4 and (cut_off <= $1 or state > 0) order by cut_off, plugin, file limit $2"
    );
    all!(store, SQL, [now.0, i64::from(limit)], read)
}

/// Files that should have been written and are not, of cut-offs up to this time; those that could not be composed are among them.
pub async fn late(store: &Store, cut_off: Timestamp, limit: u16) -> Result<Vec<PartnerFileRow>, StoreError> {
    const SQL: &str = select_files!("state <> 3 and cut_off <= $1 order by cut_off, plugin, file limit $2");
    all!(store, SQL, [cut_off.0, i64::from(limit)], read)
}

/// Files that were written since then, newest first.
pub async fn written_since(store: &Store, since: Timestamp, limit: u16) -> Result<Vec<PartnerFileRow>, StoreError> {
    const SQL: &str = select_files!("state = 3 and changed_at >= $1 order by changed_at desc, id limit $2");
    all!(store, SQL, [since.0, i64::from(limit)], read)
}

/// Whether a record for this file was asked for before its cut-off and is not in a file yet.
pub async fn is_awaited(store: &Store, key: &FileKey) -> Result<bool, StoreError> {
    const SQL: &str = "select e.act from flow_effects e join flows f on f.id = e.flow
        where e.state < 2 and e.queued_at < $1 and f.plugin = $2 and e.due_at < $3 order by e.due_at limit 1000";
    // A record is due when it is asked for, unlike most timers.
    let soon = key.cut_off.plus_ms(86_400_000).0;
    let acts: Result<Vec<Act>, StoreError> = all!(store, SQL, [key.cut_off.0, key.plugin.as_str(), soon], |row| {
        from_postcard(&row.bytes(0)?, "an effect")
    });
    Ok(acts?.iter().any(|act| matches!(act, Act::Enqueue(file, ..) if *file == key.file)))
}

/// Seals a file: no record is put into it any more, and it has its number and its name. With an operator's audit row, or without one at its cut-off.
/// False if somebody has sealed it before.
pub async fn seal(
    store: &Store,
    file: PartnerFileId,
    audit: Option<&Audit>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const OPEN: &str = select_files!("id = $1 and state = 0");
    const LAST: &str = "select coalesce(max(number), 0) from partner_files where plugin = $1 and file = $2";
    // Two hosts that seal two files at once would give one number: the second to come breaks `partner_files_by_number`, and does it again.
    const SEAL: &str = "update partner_files set state = 1, number = $2, name = $3, note = null, changed_at = $4
        where id = $1 and state = 0";
    let mut tx = store.begin().await?;
    let found = on_tx!(&mut tx, connection => {
        let row = sqlx::query(OPEN).bind(blob(file.bytes())).fetch_optional(connection).await?;
        row.map(|row| read(&row)).transpose()?
    });
    let Some(found) = found else { return Ok(false) };
    let last = on_tx!(&mut tx, connection => sqlx::query(LAST)
        .bind(found.key.plugin.as_str())
        .bind(found.key.file.as_str())
        .fetch_one(connection)
        .await?
        .int(0))?;
    let number = last.saturating_add(1);
    let name = file_name(&found.name, found.key.cut_off, u32::try_from(number).unwrap_or(0));
    let sealed = on_tx!(&mut tx, connection => sqlx::query(SEAL)
        .bind(blob(file.bytes()))
        .bind(number)
        .bind(name)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected());
    if sealed != 1 {
        return Ok(false);
    }
    if let Some(audit) = audit {
        append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Notes that a sealed file could not be composed, and why.
pub async fn refuse(store: &Store, file: PartnerFileId, note: &str, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let states = (PartnerFileState::Sealed, PartnerFileState::Refused);
    let refused = step(&mut tx, file, states, Some(note), now).await?;
    tx.commit().await?;
    Ok(refused)
}

/// Lets a file that was refused be composed once more, with who wanted it in the audit log. Whether there was one.
pub async fn retry(store: &Store, file: PartnerFileId, audit: &Audit, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let states = (PartnerFileState::Refused, PartnerFileState::Sealed);
    if !step(&mut tx, file, states, None, now).await? {
        return Ok(false);
    }
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await?;
    Ok(true)
}

async fn step(
    tx: &mut Tx<'_>,
    file: PartnerFileId,
    (from, to): (PartnerFileState, PartnerFileState),
    note: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "update partner_files set state = $3, note = $4, changed_at = $5 where id = $1 and state = $2";
    Ok(on_tx!(tx, connection => sqlx::query(SQL)
        .bind(blob(file.bytes()))
        .bind(from.code())
        .bind(to.code())
        .bind(note)
        .bind(now.0)
        .execute(connection)
        .await?
        .rows_affected())
        == 1)
}

/// The records of a file, in the order in which they were put there.
pub async fn records(store: &Store, file: PartnerFileId) -> Result<Vec<RecordRow>, StoreError> {
    const SQL: &str = "select flow, key, correlation, record from partner_file_records
        where of_file = $1 order by place limit 100000";
    all!(store, SQL, [blob(file.bytes())], |row| Ok(RecordRow {
        flow: FlowId(row.id(0)?),
        key: row.text(1)?,
        correlation: row.text(2)?,
        record: row.bytes(3)?,
    }))
}

/// Fixes the bytes of a sealed file, for ever: whoever composes it second changes nothing.
pub async fn compose(store: &Store, file: PartnerFileId, content: &[u8], now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "update partner_files set state = 2, content = $2, digest = $3, note = null, changed_at = $4
        where id = $1 and state = 1 and content is null";
    on_write!(store, pool => Ok(sqlx::query(SQL)
        .bind(blob(file.bytes()))
        .bind(content)
        .bind(blob(Digest::of(content).0))
        .bind(now.0)
        .execute(pool)
        .await?
        .rows_affected() == 1))
}

/// The bytes of a composed file.
pub async fn content(store: &Store, file: PartnerFileId) -> Result<Option<Vec<u8>>, StoreError> {
    const SQL: &str = "select content from partner_files where id = $1 and content is not null";
    one!(store, SQL, [blob(file.bytes())], |row: &_| Columns::bytes(row, 0))
}

/// Notes what stands in the way of a composed file, or that a written one is not what it was; none, if nothing does any more. `changed_at` stays: it says when
/// the file was written.
pub async fn note(store: &Store, file: PartnerFileId, note: Option<&str>) -> Result<(), StoreError> {
    const SQL: &str = "update partner_files set note = $2 where id = $1 and state in (2, 3)";
    on_write!(store, pool => {
        sqlx::query(SQL).bind(blob(file.bytes())).bind(note).execute(pool).await?;
        Ok(())
    })
}

/// Notes that a file lies in the partner's directory, and tells every flow of a record in it, in one transaction. False if that was done before.
pub async fn written(
    store: &Store,
    file: &PartnerFileRow,
    records: &[RecordRow],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let states = (PartnerFileState::Composed, PartnerFileState::Written);
    if !step(&mut tx, file.id, states, None, now).await? {
        return Ok(false);
    }
    for record in records {
        let what = What::Sealed(file.name.clone());
        let arrival = Arrival { flow: record.flow, key: record.key.clone(), what, call: None, at: now };
        arrive_in(&mut tx, &arrival).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// A file by its id.
pub async fn by_id(store: &Store, file: PartnerFileId) -> Result<Option<PartnerFileRow>, StoreError> {
    const SQL: &str = select_files!("id = $1");
    one!(store, SQL, [blob(file.bytes())], read)
}

/// Files to partners, newest first, before this one: of one plugin or of all.
pub async fn list(
    store: &Store,
    plugin: Option<&str>,
    before: Option<PartnerFileId>,
    limit: u16,
) -> Result<Vec<PartnerFileRow>, StoreError> {
    const SQL: &str = select_files!("id < $1 and ($2 = '' or plugin = $2) order by id desc limit $3");
    let before = blob(before.map_or(LAST_ID, |id| id.bytes()));
    all!(store, SQL, [before, plugin.unwrap_or_default(), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<PartnerFileRow, StoreError> {
    Ok(PartnerFileRow {
        id: PartnerFileId(row.id(0)?),
        key: FileKey { plugin: row.text(1)?, file: row.text(2)?, cut_off: row.time(3)? },
        directory: row.text(4)?,
        state: match row.small(5)? {
            0 => PartnerFileState::Open,
            1 => PartnerFileState::Sealed,
            2 => PartnerFileState::Composed,
            3 => PartnerFileState::Written,
            4 => PartnerFileState::Refused,
            code => return Err(StoreError::damaged(format!("{code} is no state of a partner's file"))),
        },
        number: row
            .maybe_int(6)?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| StoreError::damaged("a file has a number below zero"))?,
        name: row.text(7)?,
        digest: row.maybe_fixed(8)?.map(Digest),
        records: row.int(9)?,
        note: row.maybe_text(10)?,
        changed_at: row.time(11)?,
    })
}
