//! What a fraud rule is told beforehand: counters of many subjects and known payees of many payments, one statement each.

use std::collections::{HashMap, HashSet};

use koban_domain::ids::{MerchantId, UserId};
use koban_domain::signals::{Ring, SubjectKey};

use crate::database::{Columns as _, Store, on};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::key_list;

/// The rings of many subjects in one statement; a subject that was never counted is absent.
pub async fn read_rings(store: &Store, subjects: &[SubjectKey]) -> Result<HashMap<SubjectKey, Ring>, StoreError> {
    let sql = store.either(
        "select subject, ring from signals where subject in (select unhex(value ->> 0) from json_each($1))",
        "select subject, ring from signals
            where subject = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    on!(store, pool => sqlx::query(sql)
        .bind(key_list(subjects.iter().map(|subject| *subject.0.as_bytes())))
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok((SubjectKey(row.id(0)?), Ring::decode(&row.bytes(1)?))))
        .collect())
}

/// Which of these users have paid which of these payees before, in one statement. Payees are kept by id alone: a receiver of
/// transfers is asked for as a merchant of the same id.
pub async fn known_payees(
    store: &Store,
    pairs: &[(UserId, MerchantId)],
) -> Result<HashSet<(UserId, MerchantId)>, StoreError> {
    let sql = store.either(
        "select p.user_id, p.payee from json_each($1) asked cross join payees p
            where p.user_id = unhex(asked.value ->> 0) and p.payee = unhex(asked.value ->> 1)",
        "select p.user_id, p.payee from json_array_elements($1::json) asked join payees p
            on p.user_id = decode(asked.value ->> 0, 'hex') and p.payee = decode(asked.value ->> 1, 'hex')",
    );
    let mut asked = JsonRows::with_capacity(pairs.len() * 72 + 2);
    for (user, merchant) in pairs {
        asked.row().bytes(&user.bytes()).bytes(&merchant.bytes());
    }
    on!(store, pool => sqlx::query(sql)
        .bind(asked.finish())
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok((UserId(row.id(0)?), MerchantId(row.id(1)?))))
        .collect())
}
