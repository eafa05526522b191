//! Transfers as rows. The ledger writes them; a user's are found through the histories of the user's own accounts.

use std::collections::HashMap;

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::ids::{TransferId, UserId};
use koban_domain::money::Currency;
use koban_domain::paths::EntryKind;
use koban_domain::transfers::Transfer;

use crate::database::{Store, blob, on, one};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::key_list;
use crate::statements;

/// The transfer with this id.
pub async fn by_id(store: &Store, id: TransferId) -> Result<Option<Transfer>, StoreError> {
    const SQL: &str = "select * from transfers where id = $1";
    one!(store, SQL, [blob(id.bytes())], rows::transfer)
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
    // A transfer that repays what is owed posts to the receivable account, perhaps to it alone.
    let accounts = [Class::Funds, Class::Receivable].map(|class| AccountKey::user(class, user, currency).id());
    let before = before.unwrap_or(i64::MAX);
    let entries = statements::entries_of(store, &accounts, EntryKind::Transfer, before, limit).await?;
    let sql = store.either(
        "select t.* from json_each($1) k cross join transfers t on t.id = unhex(k.value ->> 0)",
        "select t.* from transfers t
            where t.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    let mut transfers: HashMap<[u8; 16], Transfer> = on!(store, pool => {
        let rows = sqlx::query(sql).bind(key_list(entries.iter().map(|entry| entry.subject))).fetch_all(pool).await?;
        let transfers = rows.iter().map(|row| rows::transfer(row).map(|transfer| (transfer.id.bytes(), transfer)));
        transfers.collect::<Result<_, StoreError>>()?
    });
    let entries = entries.iter().filter_map(|entry| Some((entry.sequence, transfers.remove(&entry.subject)?)));
    Ok(entries.collect())
}
