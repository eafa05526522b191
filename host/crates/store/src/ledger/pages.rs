//! Pages and the audit log: what a commit writes beside the books, each in a chain of its own or in order.

use koban_domain::ids::RecordId;
use koban_domain::ledger::{Audit, News, SealedRecord};
use koban_domain::records::{Digest, Held, link};
use koban_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::{Columns as _, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;

/// Most bytes of a page once it is opened: no damaged length may make us ask for more.
const PAGE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The form of record pages that this program writes: their hash is the last link of their records. Form 1 hashed the page's bytes.
pub(crate) const RECORDS_FORM: i16 = 2;

/// The records of one commit as a page: lz4 of the postcard of (id, canonical bytes of the head) in the commit's order.
pub(crate) fn seal_records(records: &[SealedRecord]) -> Result<Vec<u8>, StoreError> {
    let rows: Vec<(RecordId, &[u8])> = records.iter().map(|record| (record.id, record.bytes.as_slice())).collect();
    seal(&rows)
}

/// The contents of one commit's records, in the same order, each as long as nobody has erased it: lz4 of the postcard.
pub(crate) fn seal_contents<'a>(contents: impl Iterator<Item = Option<&'a Held>>) -> Result<Vec<u8>, StoreError> {
    seal(&contents.collect::<Vec<_>>())
}

/// The contents of a page's records. Errors: [`StoreError::Damaged`].
pub(crate) fn open_contents(contents: &[u8]) -> Result<Vec<Option<Held>>, StoreError> {
    open(contents)
}

/// The records of a page: ids with their canonical bytes. Errors: [`StoreError::Damaged`].
pub(crate) fn open_records(page: &[u8]) -> Result<Vec<(RecordId, Vec<u8>)>, StoreError> {
    open(page)
}

/// The news of one commit as a page.
pub(crate) fn seal_news(news: &[News]) -> Result<Vec<u8>, StoreError> {
    seal(&news)
}

/// The news of a page. Errors: [`StoreError::Damaged`].
pub(crate) fn open_news(page: &[u8]) -> Result<Vec<News>, StoreError> {
    open(page)
}

fn seal(rows: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(rows, Vec::new())
        .map_err(|error| StoreError::damaged(format!("a page cannot be written: {error}")))?;
    Ok(lz4_flex::compress_prepend_size(&bytes))
}

fn open<T: DeserializeOwned>(page: &[u8]) -> Result<T, StoreError> {
    let damaged = |what: &dyn std::fmt::Display| StoreError::damaged(format!("a page cannot be opened: {what}"));
    let (size, rest) = lz4_flex::block::uncompressed_size(page).map_err(|error| damaged(&error))?;
    if size > PAGE_BYTES_MAX {
        return Err(damaged(&"it claims to be too large"));
    }
    let bytes = lz4_flex::block::decompress(rest, size).map_err(|error| damaged(&error))?;
    postcard::from_bytes(&bytes).map_err(|error| damaged(&error))
}

/// The hash of a record page of form 1: over the hash before it, its place and its bytes.
pub(crate) fn page_hash(before: Digest, sequence: i64, page: &[u8]) -> Digest {
    Digest::of_parts(&[b"koban record page 1", &before.0, &sequence.to_be_bytes(), page])
}

/// The hash of a record page: the last link of these records, by their digests in order, after the hash before it.
pub(crate) fn last_link(before: Digest, records: impl Iterator<Item = Digest>) -> Digest {
    records.fold(before, link)
}

/// The hash of an audit row: over the hash before it and all that the row says.
pub(crate) fn audit_hash(before: Digest, sequence: i64, audit: &Audit, at: Timestamp) -> Digest {
    Digest::of_parts(&[
        b"koban audit 1",
        &before.0,
        &sequence.to_be_bytes(),
        &audit.id.bytes(),
        &at.0.to_be_bytes(),
        audit.actor.as_bytes(),
        audit.act.as_bytes(),
        audit.subject.as_bytes(),
        audit.detail.as_bytes(),
    ])
}

/// Appends rows to the audit log inside a transaction: locks the end of its chain, writes all rows with one statement and
/// moves the end on.
pub(crate) async fn append_audit(tx: &mut Tx<'_>, rows: &[(Audit, Timestamp)]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.either(
        "select sequence, hash from audit_head where lane = 0",
        "select sequence, hash from audit_head where lane = 0 for update",
    );
    let (mut sequence, mut hash) = on_tx!(tx, connection => {
        let row = sqlx::query(sql).fetch_one(connection).await?;
        (row.long(0)?, row.digest(1)?)
    });
    let mut chained = Vec::with_capacity(rows.len());
    for (audit, at) in rows {
        sequence += 1;
        hash = audit_hash(hash, sequence, audit, *at);
        chained.push((sequence, audit, *at, hash));
    }
    insert_audit(tx, &chained).await?;
    on_tx!(tx, connection => {
        let sql = "update audit_head set sequence = $1, hash = $2 where lane = 0";
        sqlx::query(sql).bind(sequence).bind(hash.0.to_vec()).execute(connection).await?;
    });
    Ok(())
}

async fn insert_audit(tx: &mut Tx<'_>, rows: &[(i64, &Audit, Timestamp, Digest)]) -> Result<(), StoreError> {
    match tx {
        Tx::Postgres(transaction) => {
            let sql = "insert into audit (sequence, id, at, actor, act, subject, detail, hash)
                select * from unnest($1::int8[], $2::bytea[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])";
            sqlx::query(sql)
                .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.1.id.bytes()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.2.0).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.1.actor.as_str()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.1.act.as_str()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.1.subject.as_str()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.1.detail.as_str()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.3.0).collect::<Vec<_>>())
                .execute(&mut **transaction)
                .await?;
        }
        Tx::Sqlite(transaction) => {
            let mut json = JsonRows::with_capacity(rows.len() * 300);
            for (sequence, audit, at, hash) in rows {
                json.row().int(*sequence).bytes(&audit.id.bytes()).int(at.0).text(&audit.actor).text(&audit.act);
                json.text(&audit.subject).text(&audit.detail).bytes(&hash.0);
            }
            let sql = "insert into audit (sequence, id, at, actor, act, subject, detail, hash)
                select value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                    unhex(value ->> 7) from json_each($1)";
            sqlx::query(sql).bind(json.finish()).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_page_opens_to_what_was_sealed_and_a_damaged_one_does_not() {
        let held = Some(Held { salt: [7; 16], bytes: b"said".to_vec() });
        let (id, bytes) = (RecordId(Uuid::from_u128(5)), b"abc".repeat(50));
        let record = SealedRecord { id, digest: Digest::default(), bytes, held };
        let contents = seal_contents([record.held.as_ref(), None].into_iter()).unwrap();
        assert_eq!(open_contents(&contents).unwrap(), [record.held.clone(), None]);
        let mut page = seal_records(std::slice::from_ref(&record)).unwrap();
        assert_eq!(open_records(&page).unwrap(), [(record.id, record.bytes)]);
        page[0] ^= 0xff;
        assert!(open_records(&page).is_err());
        assert!(open_records(&[]).is_err());
    }
}
