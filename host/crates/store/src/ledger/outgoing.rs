//! What flows have set aside and the bills that they pay, as commits read and write them. Rows travel as one JSON parameter on both databases.

use koban_domain::accounts::PluginKey;
use koban_domain::bills::{BillKey, ClaimedBill};
use koban_domain::books::Books;
use koban_domain::holds::{Held, OfHold, Purpose};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::ledger::Commit;
use koban_domain::touched::Touched;

use super::merchants::run;
use crate::database::{Columns, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::{from_postcard, to_postcard};

/// Reads what is touched: one statement for each kind, none for a kind that is not.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(touched.held.len() * 64);
    for (flow, key) in &touched.held {
        json.row().bytes(&flow.bytes()).text(key);
    }
    if let Some(keys) = json.finish() {
        let sql = tx.either(
            "select h.* from json_each($1) k
                cross join flow_holds h on h.flow = unhex(k.value ->> 0) and h.key = k.value ->> 1",
            "select h.* from json_array_elements($1::json) k
                join flow_holds h on h.flow = decode(k.value ->> 0, 'hex') and h.key = k.value ->> 1",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let held = held(row)?;
                books.held.load(held.of.row(), held);
            }
        });
    }
    let mut json = JsonRows::with_capacity(touched.bills.len() * 128);
    for bill in &touched.bills {
        json.row().bytes(bill.plugin.0.as_bytes()).text(&bill.biller).text(&bill.reference);
    }
    if let Some(keys) = json.finish() {
        let sql = tx.either(
            "select b.* from json_each($1) k cross join bills b
                on b.plugin = unhex(k.value ->> 0) and b.biller = k.value ->> 1 and b.reference = k.value ->> 2",
            "select b.* from json_array_elements($1::json) k join bills b
                on b.plugin = decode(k.value ->> 0, 'hex') and b.biller = k.value ->> 1 and b.reference = k.value ->> 2",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let (key, bill) = bill(row)?;
                books.bills.load(key, bill);
            }
        });
    }
    Ok(())
}

/// A hold's row.
pub(crate) fn held(row: &impl Columns) -> Result<Held, StoreError> {
    let purpose = u8::try_from(row.small("purpose")?).ok().and_then(Purpose::from_code);
    Ok(Held {
        of: OfHold {
            flow: FlowId(row.id("flow")?),
            key: row.text("key")?,
            plugin: PluginKey(row.id("plugin")?),
            user: UserId(row.id("user_id")?),
            currency: row.currency("currency")?,
            purpose: purpose.ok_or_else(|| StoreError::damaged("a flow's hold has no known purpose"))?,
        },
        amount: row.long("amount")?,
        parts: from_postcard(&row.bytes("parts")?, "the parts of a flow's hold")?,
        at: row.time("at")?,
    })
}

fn bill(row: &impl Columns) -> Result<(BillKey, ClaimedBill), StoreError> {
    let key = BillKey {
        plugin: PluginKey(row.id("plugin")?),
        biller: row.text("biller")?,
        reference: row.text("reference")?,
    };
    Ok((key, ClaimedBill { flow: row.maybe_id("flow")?.map(FlowId), at: row.time("at")? }))
}

const HELD: (&str, &str) = (
    "insert into flow_holds (flow, key, plugin, user_id, currency, purpose, amount, held, captured, parts, at)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10 from json_each($1) where true
        on conflict (flow, key) do update set held = excluded.held, captured = excluded.captured, parts = excluded.parts",
    "insert into flow_holds (flow, key, plugin, user_id, currency, purpose, amount, held, captured, parts, at)
        select decode(value ->> 0, 'hex'), value ->> 1, decode(value ->> 2, 'hex'), decode(value ->> 3, 'hex'), value ->> 4,
            (value ->> 5)::int2, (value ->> 6)::int8, (value ->> 7)::int8, (value ->> 8)::int8,
            decode(value ->> 9, 'hex'), (value ->> 10)::int8
        from json_array_elements($1::json)
        on conflict (flow, key) do update set held = excluded.held, captured = excluded.captured, parts = excluded.parts",
);

const BILLS: (&str, &str) = (
    "insert into bills (plugin, biller, reference, flow, at)
        select unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4 from json_each($1) where true
        on conflict (plugin, biller, reference) do update set flow = excluded.flow, at = excluded.at",
    "insert into bills (plugin, biller, reference, flow, at)
        select decode(value ->> 0, 'hex'), value ->> 1, value ->> 2, decode(value ->> 3, 'hex'), (value ->> 4)::int8
        from json_array_elements($1::json)
        on conflict (plugin, biller, reference) do update set flow = excluded.flow, at = excluded.at",
);

/// Writes what changed, nothing for most commits.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let mut json = JsonRows::with_capacity(256);
    for held in books.held.changed().map(|row| row.value) {
        let of = &held.of;
        json.row().bytes(&of.flow.bytes()).text(&of.key).bytes(of.plugin.0.as_bytes()).bytes(&of.user.bytes());
        json.text(of.currency.code()).int(of.purpose.code()).int(held.amount).int(held.held()).int(held.captured());
        json.bytes(&to_postcard(&held.parts)?).int(held.at.0);
    }
    run(tx, HELD, json).await?;

    let mut json = JsonRows::with_capacity(256);
    for row in books.bills.changed() {
        json.row().bytes(row.key.plugin.0.as_bytes()).text(&row.key.biller).text(&row.key.reference);
        json.maybe_bytes(row.value.flow.as_ref().map(|flow| flow.0.as_bytes().as_slice())).int(row.value.at.0);
    }
    run(tx, BILLS, json).await
}
