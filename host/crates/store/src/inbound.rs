//! Partners' calls: the same call is delivered once and answered alike for ever.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::{Arrival, CallKey, Expectation};
use koban_domain::guest::HttpAnswer;
use koban_domain::ids::FlowId;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, blob, on, on_tx, one};
use crate::error::StoreError;
use crate::flows;
use crate::ledger::rows;
use crate::query::{from_postcard, to_postcard};

/// A call that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundRow {
    /// What makes it the same call.
    pub key: CallKey,
    /// Whose partner called.
    pub plugin: PluginKey,
    /// The inbound operation.
    pub operation: String,
    /// The correlation that the plugin found in it.
    pub correlation: String,
    /// When it first came.
    pub at: Timestamp,
}

/// A call as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCall {
    /// The call.
    pub call: InboundRow,
    /// The flow that got it, with the place in its inbox; none if it was answered without one.
    pub delivered: Option<(FlowId, i64)>,
    /// The reply, once there is one.
    pub reply: Option<HttpAnswer>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It came for the first time and stands at this place of the flow's inbox.
    First(i64),
    /// It came before; this is what is known of it.
    Again(StoredCall),
}

/// The stored call with this key.
pub async fn find_call(store: &Store, key: CallKey) -> Result<Option<StoredCall>, StoreError> {
    one!(store, FIND, [blob(key.0)], read)
}

/// Delivers a call to a flow: notes the call and puts the arrival into the inbox in one transaction. The same call again, also
/// on another host at the same time, delivers nothing and gets what is stored.
pub async fn deliver(store: &Store, call: &InboundRow, arrival: &Arrival) -> Result<Delivered, StoreError> {
    const PLACE: &str = "update inbound_calls set place = $2 where key = $1";
    let mut tx = store.begin().await?;
    if !insert(&mut tx, call, Some(arrival.flow), None).await? {
        return stored(&mut tx, call.key).await.map(Delivered::Again);
    }
    let place = flows::arrive_in(&mut tx, &Arrival { call: Some(call.key), ..arrival.clone() }).await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(PLACE).bind(blob(call.key.0)).bind(place).execute(connection).await?;
    });
    tx.commit().await?;
    Ok(Delivered::First(place))
}

/// Keeps the answer to a call that no flow got, and returns the answer that holds: the first one that was kept. None if a flow
/// has the call and its reply is still to come.
pub async fn store_answer(
    store: &Store,
    call: &InboundRow,
    reply: &HttpAnswer,
) -> Result<Option<HttpAnswer>, StoreError> {
    let mut tx = store.begin().await?;
    if !insert(&mut tx, call, None, Some(to_postcard(reply)?)).await? {
        return Ok(stored(&mut tx, call.key).await?.reply);
    }
    tx.commit().await?;
    Ok(Some(reply.clone()))
}

/// Who gets calls with this correlation, if anybody ever expected it or a call came before.
pub async fn expectation(
    store: &Store,
    plugin: PluginKey,
    correlation: &str,
) -> Result<Option<Expectation>, StoreError> {
    const SQL: &str = "select plugin, correlation, flow, key, at from expectations
        where plugin = $1 and correlation = $2";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(plugin.0.as_bytes()))
        .bind(correlation)
        .fetch_optional(pool)
        .await?
        .map(|row| rows::expectation(&row).map(|(_, expectation)| expectation))
        .transpose())
}

const FIND: &str =
    "select key, plugin, operation, correlation, flow, place, reply, at from inbound_calls where key = $1";

/// Whether the call was new. On PostgreSQL a call that another transaction is just inserting is waited for.
async fn insert(
    tx: &mut Tx<'_>,
    call: &InboundRow,
    flow: Option<FlowId>,
    reply: Option<Vec<u8>>,
) -> Result<bool, StoreError> {
    const SQL: &str = "insert into inbound_calls (key, plugin, operation, correlation, flow, place, reply, at)
        values ($1, $2, $3, $4, $5, null, $6, $7) on conflict (key) do nothing";
    on_tx!(tx, connection => Ok(sqlx::query(SQL)
        .bind(blob(call.key.0))
        .bind(blob(call.plugin.0.as_bytes()))
        .bind(call.operation.as_str())
        .bind(call.correlation.as_str())
        .bind(flow.map(|flow| blob(flow.bytes())))
        .bind(reply)
        .bind(call.at.0)
        .execute(connection)
        .await?
        .rows_affected() == 1))
}

/// The call that stood in the way of an insert.
async fn stored(tx: &mut Tx<'_>, key: CallKey) -> Result<StoredCall, StoreError> {
    on_tx!(tx, connection => read(&sqlx::query(FIND).bind(blob(key.0)).fetch_one(connection).await?))
}

fn read(row: &impl Columns) -> Result<StoredCall, StoreError> {
    let (flow, place) = (row.maybe_id(4)?.map(FlowId), row.maybe_long(5)?);
    Ok(StoredCall {
        call: InboundRow {
            key: CallKey(row.fixed(0)?),
            plugin: PluginKey(row.id(1)?),
            operation: row.text(2)?,
            correlation: row.text(3)?,
            at: row.time(7)?,
        },
        delivered: flow.zip(place),
        reply: row.maybe_bytes(6)?.map(|bytes| from_postcard(&bytes, "a stored reply")).transpose()?,
    })
}
