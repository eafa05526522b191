//! Records of guest calls: found by id through the pages they were written in, listed newest first.

use koban_domain::ids::RecordId;
use koban_domain::records::Record;

use crate::database::{Columns as _, Store, blob, on};
use crate::error::StoreError;
use crate::ledger::pages::open_records;
use crate::query::LAST_ID;

/// Pages whose span of ids may hold one id: hosts write their pages out of step by no more than the calls in flight.
const CANDIDATES_MAX: i64 = 64;
/// Pages that one listing opens at most.
const PAGES_MAX: usize = 64;
/// Pages that one statement reads: a page may be large.
const PAGES_AT_ONCE: i64 = 4;

/// Where a record stands among all records; later ones are greater. The cursor of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// Its page.
    pub page: i64,
    /// Its place in the page.
    pub place: u32,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordList {
    /// The records with their places, newest first.
    pub records: Vec<(RecordPlace, Record)>,
    /// Where to go on; none at the end. A part may hold fewer records than asked for, even none, and still go on.
    pub next: Option<RecordPlace>,
}

/// The record with this id.
pub async fn find(store: &Store, id: RecordId) -> Result<Option<Record>, StoreError> {
    Ok(match find_bytes(store, id).await? {
        Some(bytes) => Some(decode(id, &bytes)?),
        None => None,
    })
}

/// The canonical bytes of the record with this id.
pub async fn find_bytes(store: &Store, id: RecordId) -> Result<Option<Vec<u8>>, StoreError> {
    // The nearest pages first and only then their spans: the index ends the search for an id that is nowhere.
    const CANDIDATES: &str = "select sequence from
        (select sequence, first_id, last_id from record_pages where last_id >= $1 order by last_id limit $2) as nearest
        where first_id <= $1 order by last_id";
    let candidates: Vec<i64> = on!(store, pool => sqlx::query(CANDIDATES)
        .bind(blob(id.bytes()))
        .bind(CANDIDATES_MAX)
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| row.long(0))
        .collect::<Result<_, _>>())?;
    const PAGE: &str = "select page from record_pages where sequence = $1";
    for sequence in candidates {
        let page = on!(store, pool => sqlx::query(PAGE).bind(sequence).fetch_one(pool).await?.bytes(0))?;
        if let Some((_, bytes)) = open_records(&page)?.into_iter().find(|(known, _)| *known == id) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Records newest first before this place, of one plugin or of all; at most `limit`, and at most so many pages are opened.
pub async fn list(
    store: &Store,
    plugin: Option<&str>,
    before: Option<RecordPlace>,
    limit: u16,
) -> Result<RecordList, StoreError> {
    const SQL: &str = "select sequence, page from record_pages where sequence <= $1 order by sequence desc limit $2";
    let mut before = before.unwrap_or(RecordPlace { page: i64::MAX, place: u32::MAX });
    let mut records = Vec::new();
    let mut opened = 0;
    loop {
        let pages: Vec<(i64, Vec<u8>)> = on!(store, pool => sqlx::query(SQL)
            .bind(before.page)
            .bind(PAGES_AT_ONCE)
            .fetch_all(pool)
            .await?
            .iter()
            .map(|row| Ok((row.long(0)?, row.bytes(1)?)))
            .collect::<Result<_, StoreError>>())?;
        if pages.is_empty() {
            return Ok(RecordList { records, next: None });
        }
        for (page, bytes) in pages {
            if page == before.page && before.place == 0 {
                continue;
            }
            let rows: Vec<(u32, (RecordId, Vec<u8>))> = (0..).zip(open_records(&bytes)?).collect();
            for (place, (id, bytes)) in rows.into_iter().rev() {
                let at = RecordPlace { page, place };
                if at >= before {
                    continue;
                }
                let record = decode(id, &bytes)?;
                if plugin.is_none_or(|plugin| plugin == record.plugin) {
                    records.push((at, record));
                    if records.len() >= usize::from(limit) {
                        return Ok(RecordList { records, next: Some(at) });
                    }
                }
            }
            before = RecordPlace { page, place: 0 };
            opened += 1;
            if opened >= PAGES_MAX {
                return Ok(RecordList { records, next: Some(before) });
            }
        }
        before = RecordPlace { page: before.page - 1, place: u32::MAX };
    }
}

/// The newest record's id, if there is one.
pub async fn newest(store: &Store) -> Result<Option<RecordId>, StoreError> {
    const SQL: &str = "select last_id from record_pages where last_id <= $1 order by last_id desc limit 1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(LAST_ID))
        .fetch_optional(pool)
        .await?
        .map(|row| row.id(0).map(RecordId))
        .transpose())
}

fn decode(id: RecordId, bytes: &[u8]) -> Result<Record, StoreError> {
    let record = Record::decode(bytes)
        .map_err(|error| StoreError::damaged(format!("the record {id} cannot be read: {error}")))?;
    if record.id != id {
        return Err(StoreError::damaged(format!("the record {id} says that it is {}", record.id)));
    }
    Ok(record)
}
