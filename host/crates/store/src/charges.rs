//! Partners' references and differences as rows. The ledger writes them; here they are found and listed.

use koban_domain::accounts::PluginKey;
use koban_domain::charges::{PartnerReference, ReferenceKey};
use koban_domain::guest::Side;
use koban_domain::ids::FlowId;
use koban_domain::money::Currency;
use koban_domain::settlements::Difference;
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Store, all, blob, on};
use crate::error::StoreError;
use crate::ledger::rows::{self, side_code};

/// Where a row stands in a listing by age: the cursor of the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgePlace {
    /// Its time.
    pub at: Timestamp,
    /// Its side.
    pub side: Side,
    /// Its reference.
    pub reference: String,
}

/// Credits and captures that a partner has not settled, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled {
    /// In which currency.
    pub currency: Currency,
    /// How many.
    pub count: i64,
    /// What of them counts against the exposure cap, minor units.
    pub exposed: i64,
    /// When the oldest was posted.
    pub oldest_at: Timestamp,
}

macro_rules! select_references {
    ($rest:literal) => {
        concat!(
            "select plugin, side, reference, state, amount, currency, flow, user_id, entry, reversed, reversed_listed, ",
            "exposed, listed, released, reverses_reference, at from partner_references where ",
            $rest
        )
    };
}

/// A partner's reference, if the books know it.
pub async fn reference(store: &Store, key: &ReferenceKey) -> Result<Option<PartnerReference>, StoreError> {
    on!(store, pool => sqlx::query(select_references!("plugin = $1 and side = $2 and reference = $3"))
        .bind(blob(key.plugin.0.as_bytes()))
        .bind(side_code(key.side))
        .bind(key.reference.as_str())
        .fetch_optional(pool)
        .await?
        .map(|row| rows::reference(&row).map(|(_, reference)| reference))
        .transpose())
}

/// The references that a flow brought, oldest first; a flow brings as many as it takes steps at most.
pub async fn by_flow(store: &Store, flow: FlowId) -> Result<Vec<(ReferenceKey, PartnerReference)>, StoreError> {
    on!(store, pool => sqlx::query(select_references!("flow = $1 order by at, side, reference"))
        .bind(blob(flow.bytes()))
        .fetch_all(pool)
        .await?
        .iter()
        .map(rows::reference)
        .collect())
}

/// Credits and captures that a plugin's partner has not settled, oldest first, behind this place.
pub async fn unsettled(
    store: &Store,
    plugin: PluginKey,
    after: Option<&AgePlace>,
    limit: u16,
) -> Result<Vec<(ReferenceKey, PartnerReference)>, StoreError> {
    let sql = select_references!(
        "plugin = $1 and released = 0 and (side = 1 and state < 3 or side = 3 and state = 6)
            and (at, side, reference) > ($2, $3, $4)
            order by at, side, reference limit $5"
    );
    let (at, side, reference) = behind(after);
    all!(store, sql, [blob(plugin.0.as_bytes()), at, side, reference, i64::from(limit)], rows::reference)
}

/// What a plugin's partner has not settled, by currency.
pub async fn unsettled_totals(store: &Store, plugin: PluginKey) -> Result<Vec<Unsettled>, StoreError> {
    const SQL: &str = "select currency, count(*), cast(sum(exposed) as bigint), min(at) from partner_references
        where plugin = $1 and released = 0 and (side = 1 and state < 3 or side = 3 and state = 6)
        group by currency order by currency";
    all!(store, SQL, [blob(plugin.0.as_bytes())], |row| {
        Ok(Unsettled {
            currency: row.currency(0)?,
            count: row.long(1)?,
            exposed: row.long(2)?,
            oldest_at: row.time(3)?,
        })
    })
}

/// What a plugin's flows have set aside and not let go of, by currency, minor units.
pub async fn set_aside_totals(store: &Store, plugin: PluginKey) -> Result<Vec<(Currency, i64)>, StoreError> {
    const SQL: &str = "select currency, cast(sum(held) as bigint) from flow_holds where plugin = $1 and held > 0
        group by currency order by currency";
    all!(store, SQL, [blob(plugin.0.as_bytes())], |row| Ok((row.currency(0)?, row.long(1)?)))
}

/// How many differences are open, plugin by plugin; those without any are not listed.
pub async fn open_difference_counts(store: &Store) -> Result<Vec<(PluginKey, i64)>, StoreError> {
    const SQL: &str = "select plugin, count(*) from differences where open = 1 group by plugin";
    on!(store, pool => {
        let rows = sqlx::query(SQL).fetch_all(pool).await?;
        rows.iter().map(|row| Ok((PluginKey(row.id(0)?), row.long(1)?))).collect()
    })
}

/// Differences with a plugin's partner that wait for an operator, oldest first, behind this place.
pub async fn open_differences(
    store: &Store,
    plugin: PluginKey,
    after: Option<&AgePlace>,
    limit: u16,
) -> Result<Vec<(ReferenceKey, Difference)>, StoreError> {
    const SQL: &str = "select plugin, side, reference, ours, theirs, currency, file, at, open from differences
        where plugin = $1 and open = 1 and (at, side, reference) > ($2, $3, $4)
        order by at, side, reference limit $5";
    let (at, side, reference) = behind(after);
    all!(store, SQL, [blob(plugin.0.as_bytes()), at, side, reference, i64::from(limit)], rows::difference)
}

/// A cursor as columns; before the first row if there is none.
fn behind(after: Option<&AgePlace>) -> (i64, i16, &str) {
    after.map_or((i64::MIN, 0, ""), |place| (place.at.0, side_code(place.side), place.reference.as_str()))
}
