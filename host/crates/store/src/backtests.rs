//! Back-tests as rows: what a component under settings would have answered to recorded decisions, and whether that was within bounds.

use koban_domain::ids::BacktestId;
use koban_domain::ledger::Audit;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on_tx, one};
use crate::error::StoreError;
use crate::query::LAST_ID;

/// A back-test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BacktestRow {
    /// Its id.
    pub id: BacktestId,
    /// The plugin's id.
    pub plugin: String,
    /// The component that was tried.
    pub component: Digest,
    /// The settings that it was given, by digest.
    pub settings: Digest,
    /// From this time on.
    pub from: Timestamp,
    /// Up to before this time.
    pub to: Timestamp,
    /// Decisions that were compared.
    pub decisions: i64,
    /// Those that it would have decided otherwise.
    pub flips: i64,
    /// Those on which it faulted.
    pub faults: i64,
    /// The most flips that its operator allowed; none if they did not say.
    pub flips_max: Option<i64>,
    /// Whether it stayed within that.
    pub passed: bool,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// The whole report, JSON.
    pub report: String,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "select id, plugin, component, settings, from_at, to_at, decisions, flips, faults, flips_max, passed, actor, at, report
            from backtests ",
            $rest
        )
    };
}

/// Keeps a back-test, and that it was made.
pub async fn put(store: &Store, row: &BacktestRow, audit: &Audit, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "insert into backtests
        (id, plugin, component, settings, from_at, to_at, decisions, flips, faults, flips_max, passed, actor, at, report)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let mut admin = store.administer().await?;
    on_tx!(admin.tx(), connection => {
        sqlx::query(SQL)
            .bind(blob(row.id.bytes()))
            .bind(row.plugin.as_str())
            .bind(blob(row.component.0))
            .bind(blob(row.settings.0))
            .bind(row.from.0)
            .bind(row.to.0)
            .bind(row.decisions)
            .bind(row.flips)
            .bind(row.faults)
            .bind(row.flips_max)
            .bind(i16::from(row.passed))
            .bind(row.actor.as_str())
            .bind(row.at.0)
            .bind(row.report.as_str())
            .execute(connection)
            .await?;
    });
    admin.audit(audit, now).await?;
    admin.commit().await
}

/// The newest back-test of this component under these settings whose operator said how many decisions may flip.
pub async fn newest_bounded(
    store: &Store,
    component: Digest,
    settings: Digest,
) -> Result<Option<BacktestRow>, StoreError> {
    const SQL: &str =
        columns!("where component = $1 and settings = $2 and flips_max is not null order by id desc limit 1");
    one!(store, SQL, [blob(component.0), blob(settings.0)], read)
}

/// Back-tests of a plugin, newest first, before this one.
pub async fn list(
    store: &Store,
    plugin: &str,
    before: Option<BacktestId>,
    limit: u16,
) -> Result<Vec<BacktestRow>, StoreError> {
    const SQL: &str = columns!("where plugin = $1 and id < $2 order by id desc limit $3");
    let before = before.map_or(LAST_ID, |before| before.bytes());
    all!(store, SQL, [plugin, blob(before), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<BacktestRow, StoreError> {
    Ok(BacktestRow {
        id: BacktestId(row.id(0)?),
        plugin: row.text(1)?,
        component: row.digest(2)?,
        settings: row.digest(3)?,
        from: row.time(4)?,
        to: row.time(5)?,
        decisions: row.long(6)?,
        flips: row.long(7)?,
        faults: row.long(8)?,
        flips_max: row.maybe_long(9)?,
        passed: row.flag(10)?,
        actor: row.text(11)?,
        at: row.time(12)?,
        report: row.text(13)?,
    })
}
