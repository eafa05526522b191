//! Records of guest calls, decoded by docs/reference/records.md: their heads in the chain, their contents beside it.

use std::collections::HashSet;

use serde_json::Value;

use crate::canonical::{Postcard, digest, digest_of_parts, unpack};
use crate::source::{Id, Row};
use crate::{AuditError, Invariant, Look, Report};

/// The record of a guest call, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) digest: [u8; 32],
    pub(crate) plugin: String,
}

/// A page of records in its chain.
#[derive(Debug)]
pub(crate) struct RecordPage {
    pub(crate) sequence: i64,
    pub(crate) hash: [u8; 32],
    form: i64,
    bytes: Vec<u8>,
    heads: Vec<Head>,
    contents: Contents,
}

/// What a page says of one record: its digest, its id and the digest of its content.
#[derive(Debug)]
struct Head {
    digest: [u8; 32],
    plugin: String,
    id: Id,
    content: Option<[u8; 32]>,
}

#[derive(Debug)]
enum Contents {
    /// All of them are gone.
    Gone,
    /// They cannot be read.
    Damaged,
    /// The digest of each; none for one that was erased.
    There(Vec<Option<[u8; 32]>>),
}

/// The page of a row, with its records; none if it cannot be read.
pub(crate) fn page(row: &Row) -> Result<Option<(RecordPage, Vec<Record>)>, AuditError> {
    let Some(heads) = heads(row.bytes("page")?) else { return Ok(None) };
    let contents = match row.maybe_bytes("contents")? {
        None => Contents::Gone,
        Some(bytes) => contents(bytes).map_or(Contents::Damaged, Contents::There),
    };
    let records = heads.iter().map(|head| Record { digest: head.digest, plugin: head.plugin.clone() }).collect();
    let page = RecordPage {
        sequence: row.int("sequence")?,
        hash: row.hash("hash")?,
        form: row.int("form")?,
        bytes: row.bytes("page")?.to_vec(),
        heads,
        contents,
    };
    Ok(Some((page, records)))
}

fn heads(page: &[u8]) -> Option<Vec<Head>> {
    let bytes = unpack(page)?;
    let mut rest = Postcard(&bytes);
    let count = rest.varint()?;
    let mut found = Vec::new();
    for _ in 0..count {
        rest.text()?;
        let record = rest.bytes()?;
        found.push(head(record)?);
    }
    rest.0.is_empty().then_some(found)
}

fn head(record: &[u8]) -> Option<Head> {
    let (version, fields) = record.split_first()?;
    let mut fields = Postcard(fields);
    let digest = digest(record);
    if *version == 1 {
        fields.text()?;
        fields.signed()?;
        return Some(Head { digest, plugin: fields.text()?.to_owned(), id: [0; 16], content: None });
    }
    let id = (*version == 2).then(|| fields.fixed::<16>())??;
    fields.signed()?;
    let plugin = fields.text()?.to_owned();
    fields.text()?;
    if fields.varint()? == 1 {
        fields.fixed::<16>()?;
    }
    fields.option(|fields| fields.fixed::<16>())?;
    fields.fixed::<32>()?;
    fields.text()?;
    fields.text()?;
    fields.fixed::<32>()?;
    fields.fixed::<32>()?;
    Some(Head { digest, plugin, id, content: Some(fields.fixed::<32>()?) })
}

fn contents(page: &[u8]) -> Option<Vec<Option<[u8; 32]>>> {
    let bytes = unpack(page)?;
    let mut rest = Postcard(&bytes);
    let count = rest.varint()?;
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(rest.option(|rest| {
            let salt = rest.fixed::<16>()?;
            Some(digest_of_parts(&[b"koban record content 1", &salt, rest.bytes()?]))
        })?);
    }
    rest.0.is_empty().then_some(found)
}

/// Pages follow from each other and end where the lane's head says; every content is the one that its record names, or somebody said in
/// the audit log that they erased it.
pub(crate) fn chain(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let (erased, swept_to) = erasures(look)?;
    let (mut sequence, mut hash) = (0_i64, [0; 32]);
    for page in &look.books.record_pages {
        let place = format!("record page {}", page.sequence);
        if page.sequence != sequence + 1 || page.hash_after(hash) != page.hash {
            out.add(Invariant::I12, &place, "does not follow from the page before it");
        }
        (sequence, hash) = (page.sequence, page.hash);
        if page.form == 1 {
            continue;
        }
        let there = match &page.contents {
            Contents::There(there) if there.len() == page.heads.len() => there.clone(),
            Contents::Gone => vec![None; page.heads.len()],
            Contents::There(_) | Contents::Damaged => {
                out.add(Invariant::I12, place, "has contents that are none of its records'");
                continue;
            }
        };
        for (head, content) in page.heads.iter().zip(there) {
            let is_excused = || page.sequence <= swept_to || erased.contains(&head.id);
            if content != head.content && (content.is_some() || !is_excused()) {
                let what = match content {
                    Some(_) => "has a content that it does not name",
                    None => "has lost its content, and no row of the audit log says so",
                };
                out.add(Invariant::I12, format!("record dec_{}", hex::encode(head.id)), what);
            }
        }
    }
    if let Some(head) = look.books.table("lane_heads").first()
        && (head.int("record_sequence")?, head.hash("record_hash")?) != (sequence, hash)
    {
        out.add(Invariant::I12, "lane_heads", "says that the records end elsewhere");
    }
    Ok(())
}

impl RecordPage {
    fn hash_after(&self, before: [u8; 32]) -> [u8; 32] {
        if self.form == 1 {
            return digest_of_parts(&[
                b"koban record page 1",
                &before,
                &self.sequence.to_be_bytes(),
                self.bytes.as_slice(),
            ]);
        }
        self.heads.iter().fold(before, |before, head| digest_of_parts(&[b"koban record 2", &before, &head.digest]))
    }
}

/// Whose contents were erased by name, and the last page whose contents went by the policy of retention.
fn erasures(look: &Look<'_>) -> Result<(HashSet<Id>, i64), AuditError> {
    let (mut erased, mut swept_to) = (HashSet::new(), 0);
    for row in look.books.table("audit") {
        let detail = || serde_json::from_str::<Value>(row.text("detail")?).map_err(|_| unreadable());
        match row.text("act")? {
            "decision.erase" => {
                for id in detail()?["records"].as_array().into_iter().flatten() {
                    let id = id.as_str().and_then(|id| crate::canonical::id_of(id, "dec")).ok_or_else(unreadable)?;
                    erased.insert(id);
                }
            }
            "decision.sweep" => swept_to = swept_to.max(detail()?["to"].as_i64().ok_or_else(unreadable)?),
            _ => {}
        }
    }
    Ok((erased, swept_to))
}

fn unreadable() -> AuditError {
    AuditError::Unreadable("an audit row about erased records does not say which".to_owned())
}
