//! Reading the books back as they were written, page by page, for whoever verifies, exports or counts them.
//!
//! A reader sees one moment: what is committed meanwhile does not disturb sums that are taken over several pages.

mod merchants;

use koban_domain::accounts::{Account, AccountId};
use koban_domain::bonus::{Campaign, Lot};
use koban_domain::holds::Held;
use koban_domain::ids::{AuditId, CampaignId, FlowId, LotId, PaymentId, RecordId, TransferId};
use koban_domain::journal::Entry;
use koban_domain::ledger::Audit;
use koban_domain::payments::Payment;
use koban_domain::records::{Digest, Kept};
use koban_domain::time::Timestamp;
use koban_domain::transfers::Transfer;

use crate::database::{Backend, Columns, Store, Tx, blob, on_tx};
use crate::error::StoreError;
use crate::ledger::{LaneHead, pages, read_head, rows};
use crate::records;

/// The books at one moment.
#[derive(Debug)]
pub struct JournalReader {
    tx: Tx<'static>,
}

/// A stored page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// Counts the lane's pages from 1.
    pub sequence: i64,
    /// The least id of a record in it.
    pub first: RecordId,
    /// The greatest.
    pub last: RecordId,
    /// How many records it has.
    pub count: i32,
    /// Its bytes.
    pub page: Vec<u8>,
    /// The contents of its records beside it; nothing once they are gone, and in pages of form 1, which have them inside.
    pub contents: Option<Vec<u8>>,
    /// What its hash covers: 1 its bytes, 2 the digests of its records.
    pub form: i16,
    /// Its hash as stored.
    pub hash: Digest,
    /// When it was written.
    pub at: Timestamp,
}

impl RecordPage {
    /// The hash that it must have if this is the hash of the page before it. Errors: [`StoreError::Damaged`].
    pub fn hash_after(&self, before: Digest) -> Result<Digest, StoreError> {
        match self.form {
            1 => Ok(pages::page_hash(before, self.sequence, &self.page)),
            _ => Ok(pages::last_link(before, self.records()?.iter().map(|(_, bytes)| Digest::of(bytes)))),
        }
    }

    /// Ids and canonical bytes of its records. Errors: [`StoreError::Damaged`].
    pub fn records(&self) -> Result<Vec<(RecordId, Vec<u8>)>, StoreError> {
        pages::open_records(&self.page)
    }

    /// The same with the content of each, as far as it is still there. Errors: [`StoreError::Damaged`], also for a content that is
    /// not the one that its record names.
    pub fn kept(&self) -> Result<Vec<Kept>, StoreError> {
        records::kept(self.records()?, self.contents.as_deref())
    }
}

/// A stored row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAudit {
    /// Counts the rows from 1.
    pub sequence: i64,
    /// What it says.
    pub audit: Audit,
    /// When it was written.
    pub at: Timestamp,
    /// Its hash as stored.
    pub hash: Digest,
}

impl StoredAudit {
    /// The hash that it must have if this is the hash of the row before it.
    pub fn hash_after(&self, before: Digest) -> Digest {
        pages::audit_hash(before, self.sequence, &self.audit, self.at)
    }
}

impl Store {
    /// The lane's head as it stands.
    pub async fn lane_head(&self) -> Result<LaneHead, StoreError> {
        read_head(&mut self.begin_read().await?).await
    }

    /// Waits until the commit that is under way has ended, if one is: whatever was taken back before, no commit rests on it afterwards.
    pub async fn commit_under_way_has_ended(&self) -> Result<(), StoreError> {
        // SQLite has one writer: what was taken back waited for it.
        if let Backend::Postgres(backend) = &*self.backend {
            sqlx::query("select 1 from lane_heads where lane = 0 for share").execute(&backend.pool()).await?;
        }
        Ok(())
    }

    /// The books as they stand now and until the reader is dropped. Ask again within seconds: the server ends a reader that
    /// pauses for long.
    pub async fn journal(&self) -> Result<JournalReader, StoreError> {
        let mut tx = match &*self.backend {
            Backend::Sqlite(backend) => Tx::Sqlite(backend.readers.begin().await?),
            Backend::Postgres(backend) => {
                Tx::Postgres(backend.pool().begin_with("begin isolation level repeatable read read only").await?)
            }
        };
        // The moment is that of the first read.
        read_head(&mut tx).await?;
        Ok(JournalReader { tx })
    }
}

impl JournalReader {
    /// The lane's head at this moment.
    pub async fn head(&mut self) -> Result<LaneHead, StoreError> {
        read_head(&mut self.tx).await
    }

    /// Entries with a greater sequence, in order, with their postings as they were hashed.
    pub async fn entries_after(&mut self, sequence: i64, limit: u16) -> Result<Vec<Entry>, StoreError> {
        let sql = "select sequence, id, kind, at, actor, subject, reverses, postings, records, meta, hash, previous from entries
            where sequence > $1 order by sequence limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(sequence).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(rows::entry).collect()
        })
    }

    /// The hash of the entry with this sequence, if the journal reaches that far.
    pub async fn hash_at(&mut self, sequence: i64) -> Result<Option<Digest>, StoreError> {
        let sql = "select hash from entries where sequence = $1";
        on_tx!(&mut self.tx, connection => {
            let row = sqlx::query(sql).bind(sequence).fetch_optional(connection).await?;
            row.map(|row| row.digest(0)).transpose()
        })
    }

    /// Accounts with a greater id, in order of id.
    pub async fn accounts_after(
        &mut self,
        id: Option<AccountId>,
        limit: u16,
    ) -> Result<Vec<(AccountId, Account)>, StoreError> {
        let sql = "select id, class, owner, currency, debits_posted, credits_posted, debits_pending, credits_pending,
                moved, last
            from accounts where id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(after(id)).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(rows::account).collect()
        })
    }

    /// Payments that hold something, in order of id, behind this one.
    pub async fn held_payments_after(&mut self, id: PaymentId, limit: u16) -> Result<Vec<Payment>, StoreError> {
        let sql =
            "select id, payer, merchant, amount, currency, state, parts, captured, refunded, disputed, expires_at,
            reference, decision, at from payments where state in (1, 2) and id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(rows::payment).collect()
        })
    }

    /// What flows have set aside and not let go of, in order of flow and name, behind this one.
    pub async fn open_holds_after(&mut self, (flow, key): (FlowId, &str), limit: u16) -> Result<Vec<Held>, StoreError> {
        let sql = "select * from flow_holds where held > 0 and (flow, key) > ($1, $2) order by flow, key limit $3";
        on_tx!(&mut self.tx, connection => {
            let asked = sqlx::query(sql).bind(blob(flow.bytes())).bind(key).bind(i64::from(limit));
            asked.fetch_all(connection).await?.iter().map(crate::ledger::outgoing::held).collect()
        })
    }

    /// Lots of bonus, in order of id, behind this one.
    pub async fn lots_after(&mut self, id: LotId, limit: u16) -> Result<Vec<Lot>, StoreError> {
        let sql = "select * from bonus_lots where id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(crate::ledger::bonus::lot).collect()
        })
    }

    /// Campaigns, in order of id, behind this one.
    pub async fn campaigns_after(&mut self, id: CampaignId, limit: u16) -> Result<Vec<Campaign>, StoreError> {
        let sql = "select * from campaigns where id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(crate::ledger::bonus::campaign).collect()
        })
    }

    /// Transfers whose amount is held for a review, in order of id, behind this one.
    pub async fn held_transfers_after(&mut self, id: TransferId, limit: u16) -> Result<Vec<Transfer>, StoreError> {
        let sql = "select * from transfers where state = 2 and id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(rows::transfer).collect()
        })
    }

    /// Marks in the histories of accounts behind this one, in order of account and sequence.
    pub async fn marks_after(
        &mut self,
        mark: Option<(AccountId, i64)>,
        limit: u16,
    ) -> Result<Vec<(AccountId, i64)>, StoreError> {
        let sql = "select account, sequence from account_marks where (account, sequence) > ($1, $2)
            order by account, sequence limit $3";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql)
                .bind(after(mark.map(|(account, _)| account)))
                .bind(mark.map_or(0, |(_, sequence)| sequence))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
            rows.iter().map(|row| Ok((AccountId(row.fixed(0)?), row.long(1)?))).collect()
        })
    }

    /// Record pages with a greater sequence, in order.
    pub async fn record_pages_after(&mut self, sequence: i64, limit: u16) -> Result<Vec<RecordPage>, StoreError> {
        let sql = "select sequence, first_id, last_id, count, page, hash, at, form, contents from record_pages
            where sequence > $1 order by sequence limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(sequence).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(record_page).collect()
        })
    }

    /// Rows of the audit log with a greater sequence, in order.
    pub async fn audit_after(&mut self, sequence: i64, limit: u16) -> Result<Vec<StoredAudit>, StoreError> {
        let sql = "select sequence, id, at, actor, act, subject, detail, hash from audit
            where sequence > $1 order by sequence limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(sequence).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(audit).collect()
        })
    }

    /// The end of the audit log: how many rows it has and the last one's hash.
    pub async fn audit_head(&mut self) -> Result<(i64, Digest), StoreError> {
        on_tx!(&mut self.tx, connection => {
            let sql = "select sequence, hash from audit_head where lane = 0";
            let row = sqlx::query(sql).fetch_one(connection).await?;
            Ok((row.long(0)?, row.digest(1)?))
        })
    }
}

/// What every id is greater than, or this id.
fn after(id: Option<AccountId>) -> Vec<u8> {
    id.map_or_else(Vec::new, |id| id.0.to_vec())
}

fn record_page(row: &impl Columns) -> Result<RecordPage, StoreError> {
    Ok(RecordPage {
        sequence: row.long(0)?,
        first: RecordId(row.id(1)?),
        last: RecordId(row.id(2)?),
        count: row.int(3)?,
        page: row.bytes(4)?,
        hash: row.digest(5)?,
        at: row.time(6)?,
        form: row.small(7)?,
        contents: row.maybe_bytes(8)?,
    })
}

fn audit(row: &impl Columns) -> Result<StoredAudit, StoreError> {
    let audit = Audit {
        id: AuditId(row.id(1)?),
        actor: row.text(3)?,
        act: row.text(4)?,
        subject: row.text(5)?,
        detail: row.text(6)?,
    };
    Ok(StoredAudit { sequence: row.long(0)?, audit, at: row.time(2)?, hash: row.digest(7)? })
}
