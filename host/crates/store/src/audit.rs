//! The audit log: every privileged act, in a chain that shows a changed or missing row.

use koban_domain::ids::AuditId;
use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all};
use crate::error::StoreError;
use crate::ledger::pages::{append_audit, audit_hash};

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Counts the rows from 1; the cursor of listings.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
    /// Who did what.
    pub audit: Audit,
    /// Covers the row and the hash of the row before it.
    pub hash: Digest,
}

impl AuditRow {
    /// Whether the row says what was written behind the row with this hash (zeros before the first).
    pub fn follows(&self, before: Digest) -> bool {
        self.hash == audit_hash(before, self.sequence, &self.audit, self.at)
    }
}

/// Which rows are asked for. What is given must match exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFilter<'a> {
    /// Who.
    pub actor: Option<&'a str>,
    /// What.
    pub act: Option<&'a str>,
    /// To whom or what.
    pub subject: Option<&'a str>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Up to before this time.
    pub to: Option<Timestamp>,
}

impl AuditFilter<'_> {
    /// Whether only a time is asked for: then the rows come in order of time, by its index.
    fn is_time_alone(&self) -> bool {
        self.actor.is_none()
            && self.act.is_none()
            && self.subject.is_none()
            && (self.from.is_some() || self.to.is_some())
    }
}

/// Appends a row in a transaction of its own, for acts that no commit and no other change carries.
pub async fn append(store: &Store, audit: &Audit, at: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    append_audit(&mut tx, &[(audit.clone(), at)]).await?;
    tx.commit().await
}

macro_rules! select_audit {
    ($filters:literal) => {
        concat!(
            "select sequence, id, at, actor, act, subject, detail, hash from audit where sequence < $1 and ",
            $filters,
            " and at >= $6 and at < $7 order by sequence desc limit $5"
        )
    };
}

const BY_TIME: &str = "select sequence, id, at, actor, act, subject, detail, hash from audit
    where at >= $3 and at < $4 and ($1 = 0 or (at, sequence) < ((select at from audit where sequence = $1), $1))
    order by at desc, sequence desc limit $2";

/// Rows that match, newest first, before this one.
pub async fn list(
    store: &Store,
    filter: AuditFilter<'_>,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<AuditRow>, StoreError> {
    let from = filter.from.map_or(i64::MIN, |from| from.0);
    let to = filter.to.map_or(i64::MAX, |to| to.0);
    if filter.is_time_alone() {
        return all!(store, BY_TIME, [before.unwrap_or(0), i64::from(limit), from, to], read);
    }
    // Each text leads with the column whose index serves it; what may be absent follows.
    let sql = match filter {
        AuditFilter { subject: Some(_), .. } => select_audit!(
            "subject = $4 and (cast($2 as text) is null or actor = $2) and (cast($3 as text) is null or act = $3)"
        ),
        AuditFilter { actor: Some(_), .. } => {
            select_audit!("actor = $2 and (cast($3 as text) is null or act = $3) and cast($4 as text) is null")
        }
        AuditFilter { act: Some(_), .. } => {
            select_audit!("act = $3 and cast($2 as text) is null and cast($4 as text) is null")
        }
        AuditFilter { .. } => {
            select_audit!("cast($2 as text) is null and cast($3 as text) is null and cast($4 as text) is null")
        }
    };
    all!(
        store,
        sql,
        [before.unwrap_or(i64::MAX), filter.actor, filter.act, filter.subject, i64::from(limit), from, to],
        read
    )
}

/// Rows behind this one, oldest first: how the chain is checked and exported.
pub async fn after(store: &Store, sequence: i64, limit: u16) -> Result<Vec<AuditRow>, StoreError> {
    const SQL: &str = "select sequence, id, at, actor, act, subject, detail, hash from audit
        where sequence > $1 order by sequence limit $2";
    all!(store, SQL, [sequence, i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        sequence: row.long(0)?,
        at: row.time(2)?,
        audit: Audit {
            id: AuditId(row.id(1)?),
            actor: row.text(3)?,
            act: row.text(4)?,
            subject: row.text(5)?,
            detail: row.text(6)?,
        },
        hash: row.digest(7)?,
    })
}
