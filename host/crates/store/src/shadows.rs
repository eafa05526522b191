//! Calls in shadow: which records are of such calls, and what each said beside the decision that counted.

use koban_domain::guest::Verdict;
use koban_domain::ids::RecordId;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on, on_tx};
use crate::error::StoreError;

/// A call in shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowCall {
    /// The record of the call.
    pub decision: RecordId,
    /// The decision that counted, if a plugin gave one.
    pub beside: Option<RecordId>,
    /// Which plugin was asked.
    pub plugin: String,
    /// Its component.
    pub digest: Digest,
    /// What was judged, such as a payment's id.
    pub subject: String,
    /// What counted: the verdict of the same plugin's release that decides, or without one the verdict of all rules.
    pub decided: Verdict,
    /// What the shadow said; none if it faulted.
    pub verdict: Option<Verdict>,
    /// When it was asked.
    pub at: Timestamp,
}

/// How often a release in shadow said what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Calls.
    pub calls: i64,
    /// Calls whose verdict differs from what counted.
    pub differ: i64,
    /// Calls that faulted.
    pub faults: i64,
}

/// Marks records as those of calls in shadow. Done before the records are committed: a mark without its record says nothing, a record
/// without its mark would pass for a decision that counted.
pub async fn mark(store: &Store, calls: &[ShadowCall]) -> Result<(), StoreError> {
    const SQL: &str = "insert into shadow_calls (decision, beside, plugin, digest, subject, decided, verdict, at)
        values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (decision) do nothing";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        for call in calls {
            sqlx::query(SQL)
                .bind(blob(call.decision.0.as_bytes()))
                .bind(call.beside.map(|beside| blob(beside.0.as_bytes())))
                .bind(call.plugin.as_str())
                .bind(blob(call.digest.0))
                .bind(call.subject.as_str())
                .bind(code(call.decided))
                .bind(call.verdict.map(code))
                .bind(call.at.0)
                .execute(&mut *connection)
                .await?;
        }
    });
    tx.commit().await
}

/// Calls of a release in shadow, newest first, before this one.
pub async fn list(
    store: &Store,
    plugin: &str,
    digest: Digest,
    before: Option<RecordId>,
    limit: u16,
) -> Result<Vec<ShadowCall>, StoreError> {
    const SQL: &str = "select decision, beside, plugin, digest, subject, decided, verdict, at from shadow_calls
        where plugin = $1 and digest = $2 and decision < $3 order by decision desc limit $4";
    let before = before.map_or(blob(crate::query::LAST_ID), |before| blob(before.0.as_bytes()));
    all!(store, SQL, [plugin, blob(digest.0), before, i64::from(limit)], read)
}

/// Whether a record is of a call in shadow, and of which.
pub async fn by_decision(store: &Store, decision: RecordId) -> Result<Option<ShadowCall>, StoreError> {
    const SQL: &str = "select decision, beside, plugin, digest, subject, decided, verdict, at from shadow_calls
        where decision = $1";
    crate::database::one!(store, SQL, [blob(decision.0.as_bytes())], read)
}

/// How often a release in shadow agreed with what counted.
pub async fn agreement(store: &Store, plugin: &str, digest: Digest) -> Result<Agreement, StoreError> {
    const SQL: &str = "select count(*), count(case when verdict <> decided then 1 end),
            count(case when verdict is null then 1 end)
        from shadow_calls where plugin = $1 and digest = $2";
    on!(store, pool => {
        let row = sqlx::query(SQL).bind(plugin).bind(blob(digest.0)).fetch_one(pool).await?;
        Ok(Agreement { calls: row.long(0)?, differ: row.long(1)?, faults: row.long(2)? })
    })
}

const fn code(verdict: Verdict) -> i16 {
    match verdict {
        Verdict::Allow => 1,
        Verdict::StepUp => 2,
        Verdict::Review => 3,
        Verdict::Decline => 4,
    }
}

fn verdict(code: i32) -> Result<Verdict, StoreError> {
    let all = [Verdict::Allow, Verdict::StepUp, Verdict::Review, Verdict::Decline];
    let known = all.into_iter().find(|verdict| i32::from(self::code(*verdict)) == code);
    known.ok_or_else(|| StoreError::damaged(format!("a call in shadow has the verdict {code}")))
}

fn read(row: &impl Columns) -> Result<ShadowCall, StoreError> {
    Ok(ShadowCall {
        decision: RecordId(row.id(0)?),
        beside: row.maybe_id(1)?.map(RecordId),
        plugin: row.text(2)?,
        digest: row.digest(3)?,
        subject: row.text(4)?,
        decided: verdict(i32::from(row.small(5)?))?,
        verdict: row.maybe_small(6)?.map(|code| verdict(i32::from(code))).transpose()?,
        at: row.time(7)?,
    })
}
