//! Users' links as commits read and write them. Rows travel as one JSON parameter on both databases; most commits touch none.

use koban_domain::accounts::PluginKey;
use koban_domain::books::Books;
use koban_domain::ledger::Commit;
use koban_domain::links::{Link, LinkKey};
use koban_domain::touched::Touched;

use super::merchants::run;
use crate::database::{Columns, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::{from_postcard, to_postcard};

/// Reads links by their names, and the live ones of users who are about to have one more.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(touched.links.len() * 128);
    for key in &touched.links {
        json.row().bytes(key.plugin.0.as_bytes()).text(&key.reference);
    }
    if let Some(keys) = json.finish() {
        let sql = tx.either(
            "select l.plugin, l.reference, l.due_at, l.body from json_each($1) k cross join links l
                on l.plugin = unhex(k.value ->> 0) and l.reference = k.value ->> 1",
            "select l.plugin, l.reference, l.due_at, l.body from json_array_elements($1::json) k join links l
                on l.plugin = decode(k.value ->> 0, 'hex') and l.reference = k.value ->> 1",
        );
        on_tx!(&mut *tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let (key, link) = link(row)?;
                books.links.load(key, link);
            }
        });
    }
    let mut json = JsonRows::with_capacity(touched.linkers.len() * 80);
    for (plugin, user) in &touched.linkers {
        json.row().bytes(plugin.0.as_bytes()).bytes(&user.bytes());
    }
    if let Some(keys) = json.finish() {
        let sql = tx.either(
            "select l.plugin, l.reference, l.due_at, l.body from json_each($1) k cross join links l
                on l.user_id = unhex(k.value ->> 1) and l.plugin = unhex(k.value ->> 0) and l.live = 1",
            "select l.plugin, l.reference, l.due_at, l.body from json_array_elements($1::json) k join links l
                on l.user_id = decode(k.value ->> 1, 'hex') and l.plugin = decode(k.value ->> 0, 'hex') and l.live = 1",
        );
        on_tx!(&mut *tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let (key, link) = link(row)?;
                books.links.load(key, link);
            }
        });
    }
    Ok(())
}

/// plugin, reference, due_at, body.
pub(crate) fn link(row: &impl Columns) -> Result<(LinkKey, Link), StoreError> {
    let key = LinkKey { plugin: PluginKey(row.id(0)?), reference: row.text(1)? };
    let link: Link = from_postcard(&row.bytes(3)?, "a link")?;
    // Looking at it moves it on without a commit.
    Ok((key, Link { due_at: row.time(2)?, ..link }))
}

const LINKS: (&str, &str) = (
    "insert into links (plugin, reference, id, user_id, live, due_at, body)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            unhex(value ->> 6) from json_each($1) where true
        on conflict (plugin, reference) do update set live = excluded.live, due_at = excluded.due_at, body = excluded.body",
    "insert into links (plugin, reference, id, user_id, live, due_at, body)
        select decode(value ->> 0, 'hex'), value ->> 1, decode(value ->> 2, 'hex'), decode(value ->> 3, 'hex'),
            (value ->> 4)::int2, (value ->> 5)::int8, decode(value ->> 6, 'hex')
        from json_array_elements($1::json)
        on conflict (plugin, reference) do update set live = excluded.live, due_at = excluded.due_at, body = excluded.body",
);

/// Writes what changed.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(256);
    for row in commit.books.links.changed() {
        let (key, link) = (row.key, row.value);
        json.row().bytes(key.plugin.0.as_bytes()).text(&key.reference).bytes(&link.id.bytes());
        json.bytes(&link.user.bytes()).int(i64::from(link.ended.is_none())).int(link.due_at.0);
        json.bytes(&to_postcard(link)?);
    }
    run(tx, LINKS, json).await
}
