//! Reading the books back as they were written, page by page, for whoever verifies, exports or counts them.
//!
//! A reader sees one moment: what is committed meanwhile does not disturb sums that are taken over several pages.

use koban_domain::accounts::{Account, AccountId, PostingSide};
use koban_domain::ids::{AuditId, PaymentId, RecordId, TransferId};
use koban_domain::journal::Entry;
use koban_domain::ledger::Audit;
use koban_domain::payments::Payment;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_domain::transfers::Transfer;

use crate::database::{Backend, Columns, Store, Tx, blob, on_tx};
use crate::error::StoreError;
use crate::ledger::{LaneHead, pages, read_head, rows};

/// The books at one moment.
#[derive(Debug)]
pub struct JournalReader {
    tx: Tx<'static>,
}

/// The place of a posting in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingPlace {
    /// Which account.
    pub account: AccountId,
    /// Of which entry.
    pub sequence: i64,
    /// Which posting of the entry, from 0.
    pub ordinal: i16,
}

/// A row of the table of postings, which statements are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPosting {
    /// Where it stands.
    pub place: PostingPlace,
    /// Which side of the account.
    pub side: PostingSide,
    /// Minor units.
    pub amount: i64,
    /// The account's balance after it.
    pub balance: i64,
}

/// What the table of postings says an account's sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingSums {
    /// Which account.
    pub account: AccountId,
    /// Debits, minor units.
    pub debits: i64,
    /// Credits, minor units.
    pub credits: i64,
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
    /// Its hash as stored.
    pub hash: Digest,
    /// When it was written.
    pub at: Timestamp,
}

impl RecordPage {
    /// The hash that it must have if this is the hash of the page before it.
    pub fn hash_after(&self, before: Digest) -> Digest {
        pages::page_hash(before, self.sequence, &self.page)
    }

    /// Ids and canonical bytes of its records. Errors: [`StoreError::Damaged`].
    pub fn records(&self) -> Result<Vec<(RecordId, Vec<u8>)>, StoreError> {
        pages::open_records(&self.page)
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
        let sql = "select sequence, id, kind, at, actor, subject, reverses, postings, records, meta, hash from entries
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
        let sql = "select id, class, owner, currency, debits_posted, credits_posted, debits_pending, credits_pending
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

    /// Transfers whose amount is held for a review, in order of id, behind this one.
    pub async fn held_transfers_after(&mut self, id: TransferId, limit: u16) -> Result<Vec<Transfer>, StoreError> {
        let sql = "select * from transfers where state = 2 and id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(rows::transfer).collect()
        })
    }

    /// Rows of the table of postings behind this place, in order of account, sequence and ordinal.
    pub async fn postings_after(
        &mut self,
        place: Option<PostingPlace>,
        limit: u16,
    ) -> Result<Vec<StoredPosting>, StoreError> {
        let sql = "select account, sequence, ordinal, side, amount, balance from postings
            where (account, sequence, ordinal) > ($1, $2, $3) order by account, sequence, ordinal limit $4";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql)
                .bind(after(place.map(|place| place.account)))
                .bind(place.map_or(0, |place| place.sequence))
                .bind(place.map_or(0, |place| place.ordinal))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
            rows.iter().map(posting).collect()
        })
    }

    /// What the table of postings adds up to, account by account, behind this one.
    pub async fn posting_sums_after(
        &mut self,
        account: Option<AccountId>,
        limit: u16,
    ) -> Result<Vec<PostingSums>, StoreError> {
        let sql = "select account, cast(sum(case when side = 0 then amount else 0 end) as bigint),
                cast(sum(case when side = 1 then amount else 0 end) as bigint)
            from postings where account > $1 group by account order by account limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(after(account)).bind(i64::from(limit)).fetch_all(connection).await?;
            let sums = rows.iter().map(|row| {
                Ok(PostingSums { account: AccountId(row.fixed(0)?), debits: row.long(1)?, credits: row.long(2)? })
            });
            sums.collect()
        })
    }

    /// Record pages with a greater sequence, in order.
    pub async fn record_pages_after(&mut self, sequence: i64, limit: u16) -> Result<Vec<RecordPage>, StoreError> {
        let sql = "select sequence, first_id, last_id, count, page, hash, at from record_pages
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

fn posting(row: &impl Columns) -> Result<StoredPosting, StoreError> {
    let place = PostingPlace { account: AccountId(row.fixed(0)?), sequence: row.long(1)?, ordinal: row.small(2)? };
    let side = match row.small(3)? {
        0 => PostingSide::Debit,
        1 => PostingSide::Credit,
        other => {
            return Err(StoreError::damaged(format!("a posting of entry {} has the side {other}", place.sequence)));
        }
    };
    Ok(StoredPosting { place, side, amount: row.long(4)?, balance: row.long(5)? })
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
