//! Users' links as they are read outside of commits, and the one thing that is written there: when a link is looked at next.

use koban_domain::accounts::PluginKey;
use koban_domain::ids::{LinkId, UserId};
use koban_domain::links::{Link, LinkKey};
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on_write, one};
use crate::error::StoreError;
use crate::ledger::links::link;
use crate::query::key_list;

/// Most links of a user that are listed, ended ones among them.
const LISTED_MAX: i64 = 1_000;

fn read(row: &impl Columns) -> Result<Link, StoreError> {
    link(row).map(|(_, link)| link)
}

/// The link with this id.
pub async fn by_id(store: &Store, id: LinkId) -> Result<Option<Link>, StoreError> {
    const SQL: &str = "select plugin, reference, due_at, body from links where id = $1";
    one!(store, SQL, [blob(id.bytes())], read)
}

/// The link of this name.
pub async fn by_key(store: &Store, key: &LinkKey) -> Result<Option<Link>, StoreError> {
    const SQL: &str = "select plugin, reference, due_at, body from links where plugin = $1 and reference = $2";
    one!(store, SQL, [blob(key.plugin.0.as_bytes()), key.reference.as_str()], read)
}

/// A user's links, those that ended among them; newest first.
pub async fn of_user(store: &Store, user: UserId) -> Result<Vec<Link>, StoreError> {
    const SQL: &str = "select plugin, reference, due_at, body from links where user_id = $1 limit $2";
    let links: Result<Vec<Link>, StoreError> = all!(store, SQL, [blob(user.bytes()), LISTED_MAX], read);
    let mut links = links?;
    links.sort_by_key(|link| std::cmp::Reverse((link.since, link.id)));
    Ok(links)
}

/// A user's live links with one plugin.
pub async fn live(store: &Store, plugin: PluginKey, user: UserId) -> Result<Vec<Link>, StoreError> {
    const SQL: &str =
        "select plugin, reference, due_at, body from links where user_id = $1 and plugin = $2 and live = 1 limit $3";
    all!(store, SQL, [blob(user.bytes()), blob(plugin.0.as_bytes()), LISTED_MAX], read)
}

/// Live links whose time has come, the longest waiting first.
pub async fn due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<Link>, StoreError> {
    const SQL: &str = "select plugin, reference, due_at, body from links
        where live = 1 and due_at <= $1 order by due_at limit $2";
    all!(store, SQL, [now.0, i64::from(limit)], read)
}

/// Notes when these links are looked at next. One that a commit has moved on meanwhile is only looked at sooner or later.
pub async fn look_again(store: &Store, links: &[LinkId], at: Timestamp) -> Result<(), StoreError> {
    let Some(ids) = key_list(links.iter().map(LinkId::bytes)) else { return Ok(()) };
    let sql = store.either(
        "update links set due_at = $2 where id in (select unhex(value ->> 0) from json_each($1))",
        "update links set due_at = $2
            where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    on_write!(store, pool => {
        sqlx::query(sql).bind(ids).bind(at.0).execute(pool).await?;
    });
    Ok(())
}
