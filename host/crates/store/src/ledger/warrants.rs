//! What requests' authority rests on, looked at once more in the commit: a session that was signed out and a key that was revoked since a
//! request was let in stop it here.

use std::collections::BTreeSet;

use koban_domain::access::Warrant;
use koban_domain::books::Books;
use koban_domain::ids::KeyId;
use koban_domain::touched::Touched;

use crate::database::{Columns, Tx, on_tx};
use crate::error::StoreError;
use crate::query::key_list;

/// Reads which of them are over.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let mut stands = BTreeSet::new();
    let sessions = touched.warrants.iter().filter_map(|warrant| match warrant {
        Warrant::Session(token_hash) => Some(token_hash.0),
        Warrant::Key(_) => None,
    });
    if let Some(keys) = key_list(sessions) {
        let sql = tx.either(
            "select token_hash from sessions where token_hash in (select unhex(value ->> 0) from json_each($1))",
            "select token_hash from sessions
                where token_hash = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                stands.insert(Warrant::Session(row.digest(0)?));
            }
        });
    }
    let keys = touched.warrants.iter().filter_map(|warrant| match warrant {
        Warrant::Key(key) => Some(key.bytes()),
        Warrant::Session(_) => None,
    });
    if let Some(keys) = key_list(keys) {
        let sql = tx.either(
            "select id from api_keys
                where id in (select unhex(value ->> 0) from json_each($1)) and revoked_at is null",
            "select id from api_keys
                where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))
                    and revoked_at is null",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                stands.insert(Warrant::Key(KeyId(row.id(0)?)));
            }
        });
    }
    touched.warrants.difference(&stands).for_each(|over| books.ended.load(*over, ()));
    Ok(())
}
