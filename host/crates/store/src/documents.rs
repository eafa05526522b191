//! Who stands behind the lines of a wallet's statement, as the user knows them: merchants, other users, channels.

use std::collections::HashMap;

use uuid::Uuid;

use crate::database::{Columns as _, Store, all};
use crate::error::StoreError;
use crate::query::key_list;

/// Most ids that one statement looks up.
const AT_ONCE: usize = 500;

/// What is known of a dealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The merchant's name, the other user's, or the channel's id.
    pub name: String,
    /// The payment that it belongs to, for dealings with merchants.
    pub payment: Option<Uuid>,
    /// What the sender wrote, for transfers.
    pub message: Option<String>,
}

/// Which dealings are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dealings {
    /// Payments: the merchant.
    Payments,
    /// Captures: the merchant.
    Captures,
    /// Refunds: the merchant.
    Refunds,
    /// Disputes: the merchant.
    Disputes,
    /// Transfers of this user: the other one.
    Transfers(Uuid),
    /// Flows: the channel.
    Flows,
}

impl Dealings {
    fn sql(self) -> [&'static str; 2] {
        match self {
            Dealings::Payments => [
                "select p.id, m.name, p.id, null from payments p join merchants m on m.id = p.merchant
                    where p.id in (select unhex(value ->> 0) from json_each($1)) and $2 is not null",
                "select p.id, m.name, p.id, null::text from payments p join merchants m on m.id = p.merchant
                    where p.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2::bytea is not null",
            ],
            Dealings::Captures => [
                "select d.id, m.name, d.payment, null from captures d join merchants m on m.id = d.merchant
                    where d.id in (select unhex(value ->> 0) from json_each($1)) and $2 is not null",
                "select d.id, m.name, d.payment, null::text from captures d join merchants m on m.id = d.merchant
                    where d.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2::bytea is not null",
            ],
            Dealings::Refunds => [
                "select d.id, m.name, d.payment, null from refunds d join merchants m on m.id = d.merchant
                    where d.id in (select unhex(value ->> 0) from json_each($1)) and $2 is not null",
                "select d.id, m.name, d.payment, null::text from refunds d join merchants m on m.id = d.merchant
                    where d.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2::bytea is not null",
            ],
            Dealings::Disputes => [
                "select d.id, m.name, d.payment, null from disputes d join merchants m on m.id = d.merchant
                    where d.id in (select unhex(value ->> 0) from json_each($1)) and $2 is not null",
                "select d.id, m.name, d.payment, null::text from disputes d join merchants m on m.id = d.merchant
                    where d.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2::bytea is not null",
            ],
            Dealings::Transfers(_) => [
                "select t.id, u.display_name, null, t.message from transfers t
                    join users u on u.id = case when t.sender = $2 then t.receiver else t.sender end
                    where t.id in (select unhex(value ->> 0) from json_each($1)) and $2 in (t.sender, t.receiver)",
                "select t.id, u.display_name, null::bytea, t.message from transfers t
                    join users u on u.id = case when t.sender = $2 then t.receiver else t.sender end
                    where t.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2 in (t.sender, t.receiver)",
            ],
            Dealings::Flows => [
                "select f.id, f.plugin, null, null from flows f
                    where f.id in (select unhex(value ->> 0) from json_each($1)) and $2 is not null",
                "select f.id, f.plugin, null::bytea, null::text from flows f
                    where f.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                        and $2::bytea is not null",
            ],
        }
    }

    fn whose(self) -> Uuid {
        match self {
            Dealings::Transfers(user) => user,
            _ => Uuid::nil(),
        }
    }
}

/// What is known of these dealings, by their ids. One that is not there is left out.
pub async fn behind(store: &Store, dealings: Dealings, ids: &[Uuid]) -> Result<HashMap<Uuid, Behind>, StoreError> {
    let [sqlite, postgres] = dealings.sql();
    let sql = store.either(sqlite, postgres);
    let whose = dealings.whose().as_bytes().to_vec();
    let mut found = HashMap::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let keys = key_list(some.iter().map(|id| id.into_bytes()));
        let rows: Result<Vec<(Uuid, Behind)>, StoreError> = all!(store, sql, [keys.clone(), whose.clone()], |row| {
            let behind = Behind { name: row.text(1)?, payment: row.maybe_id(2)?, message: row.maybe_text(3)? };
            Ok((row.id(0)?, behind))
        });
        found.extend(rows?);
    }
    Ok(found)
}
