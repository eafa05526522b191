//! What operators added to banking calendars.

use std::collections::BTreeSet;

use koban_domain::calendars::Holidays;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, on_tx};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;

/// Adds holidays to a calendar, with who did it in the audit log.
pub async fn add(
    store: &Store,
    name: &str,
    holidays: &Holidays,
    audit: &Audit,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "insert into calendars (name, from_day, until_day, days, changed_at) values ($1, $2, $3, $4, $5)";
    let days = holidays.days.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(name)
            .bind(holidays.from)
            .bind(holidays.until)
            .bind(days)
            .bind(now.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await
}

/// What operators added to a calendar, the newest first.
pub async fn holidays(store: &Store, name: &str) -> Result<Vec<Holidays>, StoreError> {
    const SQL: &str = "select from_day, until_day, days from calendars where name = $1 order by id desc limit 100";
    all!(store, SQL, [name], |row| {
        let days: Result<BTreeSet<i32>, _> = row.text(2)?.split_whitespace().map(str::parse).collect();
        let days = days.map_err(|_| StoreError::damaged("a calendar holds something that is no day"))?;
        Ok(Holidays { from: row.int(0)?, until: row.int(1)?, days })
    })
}
