//! Transfers as rows. The ledger writes them; a user's are found through the postings of the user's own accounts.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::ids::{TransferId, UserId};
use koban_domain::money::Currency;
use koban_domain::paths::EntryKind;
use koban_domain::transfers::Transfer;

use crate::database::{Columns, Store, blob, on};
use crate::error::StoreError;
use crate::ledger::rows;

/// The transfer with this id.
pub async fn by_id(store: &Store, id: TransferId) -> Result<Option<Transfer>, StoreError> {
    const SQL: &str = "select * from transfers where id = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| rows::transfer(&row))
        .transpose())
}

macro_rules! newest_of {
    ($account:literal) => {
        concat!(
            "select * from (select p.sequence, t.* from postings p ",
            "join entries e on e.sequence = p.sequence and e.kind = $4 join transfers t on t.id = e.subject ",
            "where p.account = ",
            $account,
            " and p.sequence < $3 order by p.sequence desc limit $5) as newest"
        )
    };
}

/// What a user sent and received in one currency, newest first, before this place. Each comes with its place, the sequence
/// of its entry: the cursor of the next page.
pub async fn by_user(
    store: &Store,
    user: UserId,
    currency: Currency,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<(i64, Transfer)>, StoreError> {
    // A transfer that repays what is owed posts to the receivable account, perhaps to it alone. Each account is read along its
    // own key until the page is full; `union` keeps one of two equal rows.
    const SQL: &str = concat!(newest_of!("$1"), " union ", newest_of!("$2"), " order by sequence desc limit $5");
    let account = |class| blob(AccountKey::user(class, user, currency).id().0);
    on!(store, pool => sqlx::query(SQL)
        .bind(account(Class::Funds))
        .bind(account(Class::Receivable))
        .bind(before.unwrap_or(i64::MAX))
        .bind(i16::from(EntryKind::Transfer.code()))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok((row.long("sequence")?, rows::transfer(row)?)))
        .collect())
}
