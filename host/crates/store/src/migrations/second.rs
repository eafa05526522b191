//! What the second migration cannot say in SQL: values in postcard that have new fields, and keys that are digests.
//!
//! Everything runs in the migration's transaction, a page of rows at a time, in the order of the rows' keys.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::CallKey;
use koban_domain::guest::{InboundCall, What};
use koban_domain::ids::{FlowId, MerchantId, PaymentId, RecordId, TransferId, UserId};
use koban_domain::ledger::Answer;
use koban_domain::money::Money;
use koban_domain::operations::{Fingerprint, Operation};
use koban_domain::payments::{Part, Payment, PaymentState, Source};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_domain::transfers::{Transfer, TransferState};
use serde::Deserialize;

use crate::database::{Columns as _, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::ledger::rows::pack_parts;
use crate::query::{from_postcard, to_postcard};
use crate::records::span_of;

/// Rows of one page.
const PAGE: i64 = 500;

/// Fills what the migration's SQL left open, and takes away what it read from.
pub(super) async fn fill(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    payments(tx).await?;
    record_pages(tx).await?;
    outbox(tx).await?;
    let select = "select f.id, f.body, p.settings from flows f join plugins p on p.id = f.plugin where f.id > $1 order by f.id limit $2";
    rewrite(tx, select, FLOWS, |body, settings| flow(body, Digest(settings.try_into().ok()?))).await?;
    let select = tx.either(
        "select key, outcome, key from operations where key > $1 and substr(outcome, 1, 3) in (x'016102', x'016104')
            order by key limit $2",
        r"select key, outcome, key from operations where key > $1 and substr(outcome, 1, 3) in ('\x016102', '\x016104')
            order by key limit $2",
    );
    rewrite(tx, select, OPERATIONS, |bytes, _| outcome(bytes)).await?;
    calls(tx).await
}

/// New values under their keys: one text for each database.
struct Update {
    sqlite: &'static str,
    postgres: &'static str,
}

const PARTS: Update = Update {
    sqlite: "update payments as p set parts = unhex(u.value ->> 1) from json_each($1) u where p.id = unhex(u.value ->> 0)",
    postgres: "update payments p set parts = decode(u ->> 1, 'hex') from json_array_elements($1::json) u
        where p.id = decode(u ->> 0, 'hex')",
};
const SPANS: Update = Update {
    sqlite: "update record_pages as p set span = u.value ->> 1 from json_each($1) u where p.sequence = u.value ->> 0",
    postgres: "update record_pages p set span = (u ->> 1)::int2 from json_array_elements($1::json) u
        where p.sequence = (u ->> 0)::int8",
};
const FLOWS: Update = Update {
    sqlite: "update flows as f set body = unhex(u.value ->> 1) from json_each($1) u where f.id = unhex(u.value ->> 0)",
    postgres: "update flows f set body = decode(u ->> 1, 'hex') from json_array_elements($1::json) u
        where f.id = decode(u ->> 0, 'hex')",
};
const OPERATIONS: Update = Update {
    sqlite: "update operations as o set outcome = unhex(u.value ->> 1) from json_each($1) u where o.key = unhex(u.value ->> 0)",
    postgres: "update operations o set outcome = decode(u ->> 1, 'hex') from json_array_elements($1::json) u
        where o.key = decode(u ->> 0, 'hex')",
};
const CALLS: Update = Update {
    sqlite: "update inbound_calls as c set key = unhex(u.value ->> 1) from json_each($1) u where c.key = unhex(u.value ->> 0)",
    postgres: "update inbound_calls c set key = decode(u ->> 1, 'hex') from json_array_elements($1::json) u
        where c.key = decode(u ->> 0, 'hex')",
};
const ARRIVALS: Update = Update {
    sqlite: "update flow_inbox as i set call = unhex(u.value ->> 1) from json_each($1) u where i.place = u.value ->> 0",
    postgres: "update flow_inbox i set call = decode(u ->> 1, 'hex') from json_array_elements($1::json) u
        where i.place = (u ->> 0)::int8",
};

async fn update(tx: &mut Tx<'_>, update: &Update, rows: JsonRows) -> Result<(), StoreError> {
    let Some(rows) = rows.finish() else { return Ok(()) };
    let sql = tx.either(update.sqlite, update.postgres);
    on_tx!(tx, connection => sqlx::query(sql).bind(rows).execute(connection).await.map(drop))?;
    Ok(())
}

/// Gives the second column of each row a new value, made of it and the third; the first is the key.
async fn rewrite(
    tx: &mut Tx<'_>,
    select: &'static str,
    into: Update,
    new: impl Fn(&[u8], Vec<u8>) -> Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let mut last = Vec::new();
    loop {
        let found: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = on_tx!(&mut *tx, connection => {
            let rows = sqlx::query(select).bind(last.clone()).bind(PAGE).fetch_all(connection).await?;
            rows.iter().map(|row| Ok((row.bytes(0)?, row.bytes(1)?, row.bytes(2)?))).collect::<Result<_, StoreError>>()?
        });
        let Some((key, ..)) = found.last() else { return Ok(()) };
        last.clone_from(key);
        let mut rows = JsonRows::with_capacity(found.len() * 1_024);
        for (key, old, beside) in found {
            let new = new(&old, beside).ok_or_else(|| {
                StoreError::damaged("a value of the version before cannot be read; nothing was changed")
            })?;
            rows.row().bytes(&key).bytes(&new);
        }
        update(tx, &into, rows).await?;
    }
}

/// What a payment was taken from: two columns each for prepaid value and funds become a list.
async fn payments(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    const SELECT: &str =
        "select id, from_prepaid, refunded_prepaid, from_funds, refunded_funds from payments where id > $1
        order by id limit $2";
    const SUMS: &str =
        "update payments set captured = from_prepaid + from_funds, refunded = refunded_prepaid + refunded_funds";
    const DROP: [&str; 4] = [
        "alter table payments drop column from_prepaid",
        "alter table payments drop column from_funds",
        "alter table payments drop column refunded_prepaid",
        "alter table payments drop column refunded_funds",
    ];
    on_tx!(&mut *tx, connection => sqlx::query(SUMS).execute(connection).await.map(drop))?;
    let mut last = Vec::new();
    loop {
        let found: Vec<(Vec<u8>, Vec<Part>)> = on_tx!(&mut *tx, connection => {
            let rows = sqlx::query(SELECT).bind(last.clone()).bind(PAGE).fetch_all(connection).await?;
            rows.iter()
                .map(|row| Ok((row.bytes(0)?, parts([row.long(1)?, row.long(2)?, row.long(3)?, row.long(4)?]))))
                .collect::<Result<_, StoreError>>()?
        });
        let Some((id, _)) = found.last() else { break };
        last.clone_from(id);
        let mut rows = JsonRows::with_capacity(found.len() * 64);
        for (id, parts) in found {
            rows.row().bytes(&id).bytes(&pack_parts(&parts)?);
        }
        update(tx, &PARTS, rows).await?;
    }
    for sql in DROP {
        on_tx!(&mut *tx, connection => sqlx::query(sql).execute(connection).await.map(drop))?;
    }
    Ok(())
}

/// From prepaid value and given back of it, from funds and given back of them.
fn parts([prepaid, prepaid_back, funds, funds_back]: [i64; 4]) -> Vec<Part> {
    let part = |source, captured, refunded| Part { source, held: 0, captured, refunded };
    let both = [part(Source::Prepaid, prepaid, prepaid_back), part(Source::Funds, funds, funds_back)];
    both.into_iter().filter(|part| part.captured > 0).collect()
}

async fn record_pages(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    const SELECT: &str =
        "select sequence, first_id, last_id from record_pages where sequence > $1 order by sequence limit $2";
    let mut last = 0;
    loop {
        let found: Vec<(i64, i16)> = on_tx!(&mut *tx, connection => {
            let rows = sqlx::query(SELECT).bind(last).bind(PAGE).fetch_all(connection).await?;
            rows.iter().map(|row| Ok((row.long(0)?, span_of(row.fixed(1)?, row.fixed(2)?)))).collect::<Result<_, StoreError>>()?
        });
        let Some((sequence, _)) = found.last() else { return Ok(()) };
        last = *sequence;
        let mut rows = JsonRows::with_capacity(found.len() * 16);
        for (sequence, span) in found {
            rows.row().int(sequence).int(span);
        }
        update(tx, &SPANS, rows).await?;
    }
}

/// The version before wrote news that nobody read, in no shape that may be shown. Their pages stay, empty, so that the outbox has no hole.
async fn outbox(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let empty = crate::ledger::pages::seal_news(&[])?;
    let sql = "update outbox set count = 0, page = $1";
    on_tx!(tx, connection => sqlx::query(sql).bind(empty).execute(connection).await.map(drop))?;
    Ok(())
}

/// The flow with the settings that its plugin has now: the version before gave them to every flow.
fn flow(body: &[u8], settings: Digest) -> Option<Vec<u8>> {
    // Id, version, plugin and digest come first, and the settings behind them.
    let (_, rest) = postcard::take_from_bytes::<(FlowId, i64, String, Digest)>(body).ok()?;
    let before = &body[..body.len() - rest.len()];
    let settings = to_postcard(&settings).ok()?;
    Some([before, &settings, rest].concat())
}

#[derive(Deserialize)]
struct PaymentBefore {
    id: PaymentId,
    payer: UserId,
    merchant: MerchantId,
    amount: Money,
    from_prepaid: i64,
    from_funds: i64,
    refunded_prepaid: i64,
    refunded_funds: i64,
    reference: Option<String>,
    decision: Option<RecordId>,
    at: Timestamp,
}

#[derive(Deserialize)]
struct TransferBefore {
    id: TransferId,
    sender: UserId,
    receiver: UserId,
    amount: Money,
    message: Option<String>,
    decision: Option<RecordId>,
    at: Timestamp,
}

/// An outcome whose answer is a payment (2) or a transfer (4).
fn outcome(bytes: &[u8]) -> Option<Vec<u8>> {
    let answer = match bytes {
        [1, b'a', 2, payment @ ..] => {
            let old: PaymentBefore = postcard::from_bytes(payment).ok()?;
            Answer::Paid(Payment {
                id: old.id,
                payer: old.payer,
                merchant: old.merchant,
                amount: old.amount,
                state: PaymentState::Captured,
                parts: parts([old.from_prepaid, old.refunded_prepaid, old.from_funds, old.refunded_funds]),
                captured: old.from_prepaid + old.from_funds,
                refunded: old.refunded_prepaid + old.refunded_funds,
                disputed: 0,
                expires_at: None,
                reference: old.reference,
                decision: old.decision,
                at: old.at,
            })
        }
        [1, b'a', 4, transfer @ ..] => {
            let old: TransferBefore = postcard::from_bytes(transfer).ok()?;
            Answer::Transferred(Transfer {
                id: old.id,
                sender: old.sender,
                receiver: old.receiver,
                amount: old.amount,
                message: old.message,
                decision: old.decision,
                state: TransferState::Sent,
                at: old.at,
            })
        }
        _ => return None,
    };
    let operation = Operation { fingerprint: Fingerprint::default(), outcome: Ok(answer), at: Timestamp(0) };
    Some(operation.encode_outcome())
}

/// Place, event, and the call's key, plugin and correlation.
type StoredArrival = (i64, Vec<u8>, [u8; 16], PluginKey, String);

/// A stored call's key covers its path and query now. What was answered without a flow kept neither: it is asked of the plugin
/// again if it comes again.
async fn calls(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    const SELECT: &str = "select i.place, i.what, c.key, c.plugin, c.correlation
        from flow_inbox i join inbound_calls c on c.key = i.call where i.place > $1 order by i.place limit $2";
    let mut last = 0;
    loop {
        let found: Vec<StoredArrival> = on_tx!(&mut *tx, connection => {
            let rows = sqlx::query(SELECT).bind(last).bind(PAGE).fetch_all(connection).await?;
            rows.iter()
                .map(|row| Ok((row.long(0)?, row.bytes(1)?, row.fixed(2)?, PluginKey(row.id(3)?), row.text(4)?)))
                .collect::<Result<_, StoreError>>()?
        });
        let Some((place, ..)) = found.last() else { return Ok(()) };
        last = *place;
        let mut calls = JsonRows::with_capacity(found.len() * 80);
        let mut arrivals = JsonRows::with_capacity(found.len() * 60);
        for (place, what, old, plugin, correlation) in found {
            let What::Message(message) = from_postcard(&what, "an event")? else { continue };
            let call = InboundCall {
                endpoint: String::new(),
                operation: message.operation,
                path: message.path,
                query: message.query,
                body: message.body,
            };
            let key = CallKey::of(plugin, &call, &correlation);
            calls.row().bytes(&old).bytes(&key.0);
            arrivals.row().int(place).bytes(&key.0);
        }
        update(tx, &CALLS, calls).await?;
        update(tx, &ARRIVALS, arrivals).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outcomes that the version before left behind.
    #[test]
    fn outcomes_of_the_version_before_are_read_with_what_they_said() {
        let hex = "016102247061795f3031613230353538653966623739343839623534373533393135373030303030247573725f3031613230353538653\
                   762303765653139323834656361306364383130303030246d65725f303161323035353865393266373066663937363233386562303032\
                   36303030308014034a505980140000000001246465635f3031613230353538653966653739616638336234633062363230343530303030\
                   fca7c7d5c068";
        let old: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let new = outcome(&old).expect("it is read");
        let Some(Ok(Answer::Paid(payment))) = Operation::decode_outcome(&new) else { panic!("a payment") };
        assert_eq!(payment.id.to_string(), "pay_01a20558e9fb79489b54753915700000");
        assert_eq!((payment.amount.minor, payment.captured, payment.refunded), (1_280, 1_280, 0));
        assert_eq!(payment.parts, [Part { source: Source::Prepaid, held: 0, captured: 1_280, refunded: 0 }]);
        assert_eq!(payment.state, PaymentState::Captured);
        assert!(outcome(&old[..40]).is_none() && outcome(&[1, b'a', 9]).is_none());
    }

    #[test]
    fn a_payment_is_taken_from_what_it_was_taken_from() {
        let both = parts([300, 300, 700, 50]);
        assert_eq!(both.iter().map(|part| (part.captured, part.refunded)).collect::<Vec<_>>(), [(300, 300), (700, 50)]);
        assert_eq!(parts([0, 0, 5, 0]).len(), 1);
    }
}
