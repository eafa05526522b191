//! The rows that are looked at, with the journal and the pages decoded.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::AuditError;
use crate::canonical::{Hashed, Postcard, Posting, id_of, postings, unpack};
use crate::records::{self, Record, RecordPage};
use crate::source::{Id, Row, Source};

/// Tables that are read whole. One that is not there (a later version may have none) reads as empty.
const TABLES: [&str; 36] = [
    "accounts",
    "adjustments",
    "api_keys",
    "audit",
    "audit_head",
    "bonus_lots",
    "campaigns",
    "captures",
    "counters",
    "differences",
    "exchanges",
    "exposures",
    "bills",
    "flow_holds",
    "frozen",
    "lane_heads",
    "limits",
    "merchants",
    "operations",
    "operators",
    "outbox_cursors",
    "partner_references",
    "payments",
    "plugins",
    "postings",
    "refunds",
    "reviews",
    "schedules",
    "settlement_files",
    "transfers",
    "users",
    "webhook_deliveries",
    "webhook_endpoints",
    "disputes",
    "closings",
    "arrangements",
];

/// An entry of the journal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: i64,
    pub(crate) id: Id,
    pub(crate) kind: u8,
    pub(crate) at: i64,
    pub(crate) actor: String,
    pub(crate) subject: Id,
    pub(crate) reverses: Option<Id>,
    pub(crate) postings: Vec<Posting>,
    pub(crate) records: Vec<[u8; 32]>,
    pub(crate) meta_text: String,
    pub(crate) meta: Value,
    pub(crate) hash: [u8; 32],
}

/// An event of the outbox.
#[derive(Debug)]
pub(crate) struct News {
    /// The page that it stands in.
    pub(crate) page: i64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) merchant: Option<String>,
    pub(crate) body: String,
    pub(crate) at: i64,
}

/// Everything that was read.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) entries: Vec<Entry>,
    pub(crate) news: Vec<News>,
    /// The numbers of the outbox's pages, in order.
    pub(crate) outbox_pages: Vec<i64>,
    pub(crate) records: Vec<Record>,
    pub(crate) record_pages: Vec<RecordPage>,
    /// Flows: id, plugin, user.
    pub(crate) flows: BTreeMap<Id, (String, Id)>,
    /// Flows that have ended.
    pub(crate) final_flows: HashSet<Id>,
    /// Rows that cannot be decoded.
    pub(crate) damaged: Vec<String>,
    tables: BTreeMap<&'static str, Vec<Row>>,
    present: HashSet<String>,
}

impl Books {
    /// The rows of a table.
    pub(crate) fn table(&self, name: &str) -> &[Row] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the database has this table.
    pub(crate) fn has_table(&self, name: &str) -> bool {
        self.present.contains(name)
    }

    pub(crate) async fn read(source: &mut Source) -> Result<Books, AuditError> {
        let present: HashSet<String> = source.tables().await?.into_iter().collect();
        let mut books = Books {
            entries: Vec::new(),
            news: Vec::new(),
            outbox_pages: Vec::new(),
            records: Vec::new(),
            record_pages: Vec::new(),
            flows: BTreeMap::new(),
            final_flows: HashSet::new(),
            damaged: Vec::new(),
            tables: BTreeMap::new(),
            present,
        };
        for table in TABLES {
            if books.has_table(table) {
                books.tables.insert(table, source.rows(&format!("select * from {table}")).await?);
            }
        }
        for row in source.rows("select id, plugin, user_id, standing from flows").await? {
            if row.int("standing")? > 3 {
                books.final_flows.insert(row.id("id")?);
            }
            books.flows.insert(row.id("id")?, (row.text("plugin")?.to_owned(), row.id("user_id")?));
        }
        for row in source.rows("select * from entries order by sequence").await? {
            let place = format!("entry {}", row.int("sequence")?);
            match entry(&row)? {
                Some(entry) => books.entries.push(entry),
                None => books.damaged.push(place),
            }
        }
        let sql = "select sequence, page, hash, form, contents from record_pages order by sequence";
        for row in source.rows(sql).await? {
            match records::page(&row)? {
                Some((page, found)) => {
                    books.records.extend(found);
                    books.record_pages.push(page);
                }
                None => books.damaged.push(format!("record page {}", row.int("sequence")?)),
            }
        }
        for row in source.rows("select sequence, page from outbox order by sequence").await? {
            let sequence = row.int("sequence")?;
            match news(row.bytes("page")?, sequence) {
                Some(found) => books.news.extend(found),
                None => books.damaged.push(format!("outbox page {sequence}")),
            }
            books.outbox_pages.push(sequence);
        }
        Ok(books)
    }
}

fn entry(row: &Row) -> Result<Option<Entry>, AuditError> {
    let (records, meta_text) = (row.bytes("records")?, row.text("meta")?.to_owned());
    let (Some(postings), Ok(meta)) = (postings(row.bytes("postings")?), serde_json::from_str(&meta_text)) else {
        return Ok(None);
    };
    let (digests, rest) = records.as_chunks::<32>();
    let Ok(kind) = u8::try_from(row.int("kind")?) else { return Ok(None) };
    if !rest.is_empty() {
        return Ok(None);
    }
    Ok(Some(Entry {
        sequence: row.int("sequence")?,
        id: row.id("id")?,
        kind,
        at: row.int("at")?,
        actor: row.text("actor")?.to_owned(),
        subject: row.id("subject")?,
        reverses: row.maybe_id("reverses")?,
        postings,
        records: digests.to_vec(),
        meta_text,
        meta,
        hash: row.hash("hash")?,
    }))
}

impl Entry {
    /// What the meta says under this name.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.meta.get(name).and_then(Value::as_str)
    }

    /// The payment or transfer that it is about: the subject, or the payment that a capture or a refund names.
    pub(crate) fn about(&self) -> Id {
        self.said("payment").and_then(|text| id_of(text, "pay")).unwrap_or(self.subject)
    }

    pub(crate) fn hash_after(&self, before: [u8; 32]) -> Option<[u8; 32]> {
        Hashed {
            sequence: self.sequence,
            id: self.id,
            kind: self.kind,
            at: self.at,
            actor: &self.actor,
            subject: self.subject,
            reverses: self.reverses,
            postings: &self.postings,
            records: &self.records,
            meta: &self.meta_text,
        }
        .after(before)
    }

    /// What this entry posts to accounts of a class, debits above zero.
    pub(crate) fn moved(&self, class: impl Fn(u8) -> bool) -> i128 {
        self.postings.iter().filter(|posting| posting.layer == 0 && class(posting.class)).map(Posting::signed).sum()
    }
}

fn news(page: &[u8], sequence: i64) -> Option<Vec<News>> {
    let bytes = unpack(page)?;
    let mut rest = Postcard(&bytes);
    let count = rest.varint()?;
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(News {
            page: sequence,
            id: rest.text()?.to_owned(),
            kind: rest.text()?.to_owned(),
            merchant: rest.option(|rest| rest.text().map(str::to_owned))?,
            body: rest.text()?.to_owned(),
            at: rest.signed()?,
        });
    }
    rest.0.is_empty().then_some(found)
}
