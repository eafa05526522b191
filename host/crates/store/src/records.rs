//! Records of guest calls: found by id through the pages they were written in, listed newest first.

mod keeping;

use koban_domain::ids::RecordId;
use koban_domain::records::{Digest, Kept};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on, one};
use crate::error::StoreError;
use crate::ledger::pages::{last_link, open_contents, open_records};
use crate::query::LAST_ID;

pub use keeping::{Retention, erase, oldest_unswept, retention, set_retention, sweep};

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
    pub records: Vec<(RecordPlace, Kept)>,
    /// Where to go on; none at the end. A part may hold fewer records than asked for, even none, and still go on.
    pub next: Option<RecordPlace>,
}

/// A record in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chained {
    /// The record.
    pub kept: Kept,
    /// The link before it: of the record before it, or the hash of the page before.
    pub previous: Digest,
    /// Its own link; in a page of form 1, the page's hash.
    pub link: Digest,
}

/// The record with this id.
pub async fn find(store: &Store, id: RecordId) -> Result<Option<Chained>, StoreError> {
    const PAGE: &str = "select page, contents, form, hash from record_pages where sequence = $1";
    for sequence in candidates(store, id).await? {
        let (page, contents, form, hash): (Vec<u8>, Option<Vec<u8>>, i16, Digest) = on!(store, pool => {
            let row = sqlx::query(PAGE).bind(sequence).fetch_one(pool).await?;
            (row.bytes(0)?, row.maybe_bytes(1)?, row.small(2)?, row.digest(3)?)
        });
        let records = open_records(&page)?;
        let Some(place) = records.iter().position(|(known, _)| *known == id) else { continue };
        let before = hash_of(store, sequence - 1).await?;
        let digests = |upto: usize| records.iter().take(upto).map(|(_, bytes)| Digest::of(bytes));
        let (previous, link) = match form {
            1 => (before, hash),
            _ => (last_link(before, digests(place)), last_link(before, digests(place + 1))),
        };
        let kept = kept(records, contents.as_deref())?.swap_remove(place);
        return Ok(Some(Chained { kept, previous, link }));
    }
    Ok(None)
}

/// The page that holds the record with this id.
pub async fn page_of(store: &Store, id: RecordId) -> Result<Option<i64>, StoreError> {
    const PAGE: &str = "select page from record_pages where sequence = $1";
    for sequence in candidates(store, id).await? {
        let page = on!(store, pool => sqlx::query(PAGE).bind(sequence).fetch_one(pool).await?.bytes(0))?;
        if open_records(&page)?.iter().any(|(known, _)| *known == id) {
            return Ok(Some(sequence));
        }
    }
    Ok(None)
}

/// The hash of the page with this sequence; zeros before the first.
async fn hash_of(store: &Store, sequence: i64) -> Result<Digest, StoreError> {
    const SQL: &str = "select hash from record_pages where sequence = $1";
    let found: Option<Digest> = one!(store, SQL, [sequence], |row: &_| digest_of(row))?;
    match (found, sequence) {
        (Some(hash), _) => Ok(hash),
        (None, 0) => Ok(Digest::default()),
        (None, _) => Err(StoreError::damaged(format!("the record page {sequence} is missing"))),
    }
}

fn digest_of(row: &impl Columns) -> Result<Digest, StoreError> {
    row.digest(0)
}

/// The records of a page with their contents, as far as those are still there. Errors: [`StoreError::Damaged`].
pub(crate) fn kept(records: Vec<(RecordId, Vec<u8>)>, contents: Option<&[u8]>) -> Result<Vec<Kept>, StoreError> {
    let contents = match contents {
        Some(contents) => open_contents(contents)?,
        None => vec![None; records.len()],
    };
    if contents.len() != records.len() {
        return Err(StoreError::damaged(format!("{} records have {} contents", records.len(), contents.len())));
    }
    let open = |((id, bytes), held)| {
        let kept = Kept::open(bytes, held)
            .map_err(|error| StoreError::damaged(format!("the record {id} cannot be read: {error}")))?;
        match kept.head.id == id {
            true => Ok(kept),
            false => Err(StoreError::damaged(format!("the record {id} says that it is {}", kept.head.id))),
        }
    };
    records.into_iter().zip(contents).map(open).collect()
}

/// The pages whose span of ids holds this one, nearest first. A page is filed under the size of its span: one whose ids lie
/// within 16 ms can only hold ids of the 16 ms before its last, so each size is looked up in a stretch of its own length. What is
/// found grows with the pages that really overlap the id, and none is ever left out.
async fn candidates(store: &Store, id: RecordId) -> Result<Vec<i64>, StoreError> {
    const SQL: &str = "select sequence, last_id from record_pages
            where span = 0 and last_id >= $1 and last_id <= $2 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 1 and last_id >= $1 and last_id <= $3 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 2 and last_id >= $1 and last_id <= $4 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 3 and last_id >= $1 and last_id <= $5 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 4 and last_id >= $1 and last_id <= $6 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 5 and last_id >= $1 and last_id <= $7 and first_id <= $1
        union all select sequence, last_id from record_pages
            where span = 6 and last_id >= $1 and first_id <= $1
        order by last_id";
    let until = |span: i16| blob(span_end(id.bytes(), span));
    all!(store, SQL, [blob(id.bytes()), until(0), until(1), until(2), until(3), until(4), until(5)], |row| row.long(0))
}

/// The largest size of a span: longer than 4 hours and a half, without an end.
const SPAN_MAX: i16 = 6;

/// The milliseconds that an id begins with (UUIDv7, RFC 9562, section 5.7).
fn id_ms(id: [u8; 16]) -> u64 {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id[..6]);
    u64::from_be_bytes(ms)
}

/// Milliseconds below which a span is of this size: 16, 256, 4,096 and so on.
const fn span_ms(span: i16) -> u64 {
    16 << (4 * span.unsigned_abs())
}

/// The size of the span from a page's first id to its last.
pub(crate) fn span_of(first: [u8; 16], last: [u8; 16]) -> i16 {
    let length = id_ms(last).saturating_sub(id_ms(first));
    (0..SPAN_MAX).find(|span| length < span_ms(*span)).unwrap_or(SPAN_MAX)
}

/// The last id that a page of this size can end with, if it holds this id.
fn span_end(id: [u8; 16], span: i16) -> [u8; 16] {
    let mut end = [0xff; 16];
    let ms = id_ms(id).saturating_add(span_ms(span)).min((1 << 48) - 1);
    end[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    end
}

/// Records newest first before this place, of one plugin or of all; at most `limit`, and at most so many pages are opened.
pub async fn list(
    store: &Store,
    plugin: Option<&str>,
    before: Option<RecordPlace>,
    limit: u16,
) -> Result<RecordList, StoreError> {
    const SQL: &str =
        "select sequence, page, contents from record_pages where sequence <= $1 order by sequence desc limit $2";
    let mut before = before.unwrap_or(RecordPlace { page: i64::MAX, place: u32::MAX });
    let mut records = Vec::new();
    let mut opened = 0;
    loop {
        let pages: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = on!(store, pool => sqlx::query(SQL)
            .bind(before.page)
            .bind(PAGES_AT_ONCE)
            .fetch_all(pool)
            .await?
            .iter()
            .map(|row| Ok((row.long(0)?, row.bytes(1)?, row.maybe_bytes(2)?)))
            .collect::<Result<_, StoreError>>())?;
        if pages.is_empty() {
            return Ok(RecordList { records, next: None });
        }
        for (page, bytes, contents) in pages {
            if page == before.page && before.place == 0 {
                continue;
            }
            let rows: Vec<(u32, Kept)> = (0..).zip(kept(open_records(&bytes)?, contents.as_deref())?).collect();
            for (place, kept) in rows.into_iter().rev() {
                let at = RecordPlace { page, place };
                if at < before && plugin.is_none_or(|plugin| plugin == kept.head.plugin) {
                    records.push((at, kept));
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

/// A page as it is stored, to be opened where there is time for it.
#[derive(Debug, Clone)]
pub struct SealedPage {
    /// Counts the lane's pages from 1.
    pub sequence: i64,
    /// When it was written.
    pub at: Timestamp,
    /// How many records it has.
    pub count: i32,
    page: Vec<u8>,
    contents: Option<Vec<u8>>,
}

impl SealedPage {
    /// Its records in order. Errors: [`StoreError::Damaged`].
    pub fn open(&self) -> Result<Vec<Kept>, StoreError> {
        kept(open_records(&self.page)?, self.contents.as_deref())
    }
}

/// The pages from this one up to that one, in order, at most `limit` of them.
pub async fn pages(store: &Store, from: i64, to: i64, limit: u16) -> Result<Vec<SealedPage>, StoreError> {
    const SQL: &str = "select sequence, at, count, page, contents from record_pages
        where sequence >= $1 and sequence <= $2 order by sequence limit $3";
    all!(store, SQL, [from, to, i64::from(limit)], sealed_page)
}

fn sealed_page(row: &impl Columns) -> Result<SealedPage, StoreError> {
    let (sequence, at, count) = (row.long(0)?, row.time(1)?, row.int(2)?);
    Ok(SealedPage { sequence, at, count, page: row.bytes(3)?, contents: row.maybe_bytes(4)? })
}

/// How many pages there are.
pub async fn last_page(store: &Store) -> Result<i64, StoreError> {
    const SQL: &str = "select record_sequence from lane_heads where lane = 0";
    on!(store, pool => sqlx::query(SQL).fetch_one(pool).await?.long(0))
}

/// The first page that was written at this time or later; one more than there are if none was. Pages are written in the order of
/// their times, so it is found in some twenty looks.
pub async fn first_page_at(store: &Store, at: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select at from record_pages where sequence = $1";
    let (mut low, mut high) = (1, last_page(store).await? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<Timestamp> = one!(store, SQL, [middle], |row: &_| time_of(row))?;
        match found.is_some_and(|found| found < at) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

fn time_of(row: &impl Columns) -> Result<Timestamp, StoreError> {
    row.time(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, low: u8) -> [u8; 16] {
        let mut id = [low; 16];
        id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        id
    }

    #[test]
    fn a_page_is_looked_for_no_further_than_its_size_reaches() {
        let sizes = [(0, 0), (15, 0), (16, 1), (255, 1), (256, 2), (16_777_215, 5), (16_777_216, 6), (1 << 40, 6)];
        for (length, span) in sizes {
            assert_eq!(span_of(id(1_000, 0xff), id(1_000 + length, 0)), span, "{length}");
            // Wherever in its page the id is, the page's last one lies within the stretch that is read.
            if span < SPAN_MAX {
                assert!(span_end(id(1_000, 0), span) >= id(1_000 + length, 0xff), "{length}");
            }
        }
        assert_eq!(span_end([0xff; 16], 0), [0xff; 16]);
    }
}
