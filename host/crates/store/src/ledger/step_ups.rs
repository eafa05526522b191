//! Challenges as commits read, open and use them. Confirming one is no commit of the ledger: [`crate::step_ups`].

use koban_domain::books::Books;
use koban_domain::ids::{StepUpId, UserId};
use koban_domain::ledger::Commit;
use koban_domain::money::Money;
use koban_domain::operations::Fingerprint;
use koban_domain::step_ups::{StepUp, StepUpState};
use koban_domain::touched::Touched;

use crate::database::{Columns, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::ledger::merchants::run;
use crate::query::key_list;

/// Reads challenges that are to be used.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let Some(keys) = key_list(touched.step_ups.iter().map(StepUpId::bytes)) else { return Ok(()) };
    let sql = tx.either(
        "select s.* from json_each($1) k cross join step_ups s on s.id = unhex(k.value ->> 0)",
        "select s.* from json_array_elements($1::json) k join step_ups s on s.id = decode(k.value ->> 0, 'hex')",
    );
    on_tx!(tx, connection => {
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            let step_up = step_up(row)?;
            books.step_ups.load(step_up.id, step_up);
        }
    });
    Ok(())
}

/// A challenge by its row.
pub(crate) fn step_up(row: &impl Columns) -> Result<StepUp, StoreError> {
    let id = StepUpId(row.id("id")?);
    let state = StepUpState::from_code(row.small("state")?);
    Ok(StepUp {
        id,
        user: UserId(row.id("user_id")?),
        payee: row.id("payee")?,
        amount: Money::new(row.long("amount")?, row.currency("currency")?),
        fingerprint: Fingerprint(row.fixed("fingerprint")?),
        state: state.ok_or_else(|| StoreError::damaged(format!("step-up {id}: unknown state")))?,
        attempts: row.small("attempts")?,
        at: row.time("at")?,
        expires_at: row.time("expires_at")?,
    })
}

const STEP_UPS: (&str, &str) = (
    "insert into step_ups (id, user_id, payee, amount, currency, fingerprint, state, attempts, at, expires_at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, unhex(value ->> 5),
            value ->> 6, value ->> 7, value ->> 8, value ->> 9
        from json_each($1) where true
        on conflict (id) do update set state = excluded.state",
    "insert into step_ups (id, user_id, payee, amount, currency, fingerprint, state, attempts, at, expires_at)
        select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex'), decode(value ->> 2, 'hex'), (value ->> 3)::int8,
            value ->> 4, decode(value ->> 5, 'hex'), (value ->> 6)::int2, (value ->> 7)::int2, (value ->> 8)::int8,
            (value ->> 9)::int8
        from json_array_elements($1::json)
        on conflict (id) do update set state = excluded.state",
);

/// Writes new challenges and used ones, nothing for most commits.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(256);
    for step_up in commit.books.step_ups.changed().map(|row| row.value) {
        json.row().bytes(&step_up.id.bytes()).bytes(&step_up.user.bytes()).bytes(step_up.payee.as_bytes());
        json.int(step_up.amount.minor).text(step_up.amount.currency.code()).bytes(&step_up.fingerprint.0);
        json.int(step_up.state.code()).int(step_up.attempts).int(step_up.at.0).int(step_up.expires_at.0);
    }
    run(tx, STEP_UPS, json).await
}
