//! What few commits touch: frozen merchants, submissions and adjustments. One text serves both databases where it can.

use koban_domain::adjustments::{Adjustment, State};
use koban_domain::books::Books;
use koban_domain::ids::{AdjustmentId, FlowId, OperatorId};
use koban_domain::ledger::Commit;
use koban_domain::touched::Touched;

use crate::database::{Columns, Tx, blob, on_tx};
use crate::error::StoreError;
use crate::query::{from_postcard, key_list, to_postcard};

/// Reads adjustments that are decided.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let Some(keys) = key_list(touched.adjustments.iter().map(AdjustmentId::bytes)) else { return Ok(()) };
    let sql = tx.either(
        "select * from adjustments where id in (select unhex(value ->> 0) from json_each($1))",
        "select * from adjustments
            where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    on_tx!(tx, connection => {
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            let adjustment = adjustment(row)?;
            books.adjustments.load(adjustment.id, adjustment);
        }
    });
    Ok(())
}

/// An adjustment's row.
pub(crate) fn adjustment(row: &impl Columns) -> Result<Adjustment, StoreError> {
    let state = row.small("state")?;
    let state = State::from_code(state);
    Ok(Adjustment {
        id: AdjustmentId(row.id("id")?),
        lines: from_postcard(&row.bytes("lines")?, "the lines of an adjustment")?,
        reason: row.text("reason")?,
        flow: row.maybe_id("flow")?.map(FlowId),
        proposer: OperatorId(row.id("proposer")?),
        state: state.ok_or_else(|| StoreError::damaged("an adjustment has no known state"))?,
        decider: row.maybe_id("decider")?.map(OperatorId),
        at: row.time("at")?,
        decided_at: row.maybe_time("decided_at")?,
    })
}

/// Writes what changed, row by row: an operator or a user changes one at a time.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    for row in commit.books.merchants.changed() {
        on_tx!(tx, connection => {
            sqlx::query("update merchants set access = $1 where id = $2")
                .bind(row.value.access.code())
                .bind(blob(row.key.bytes()))
                .execute(connection)
                .await?;
        });
    }
    for row in commit.books.submissions.changed() {
        let submission = row.value;
        on_tx!(tx, connection => {
            sqlx::query("insert into submissions (id, user_id, key_id, sealed, at) values ($1, $2, $3, $4, $5)")
                .bind(blob(submission.id.bytes()))
                .bind(blob(submission.user.bytes()))
                .bind(submission.key_id.as_str())
                .bind(submission.sealed.as_slice())
                .bind(submission.at.0)
                .execute(connection)
                .await?;
        });
    }
    const ADJUSTMENT: &str =
        "insert into adjustments (id, lines, reason, proposer, state, decider, at, decided_at, flow)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (id) do update set state = excluded.state, decider = excluded.decider,
            decided_at = excluded.decided_at";
    for row in commit.books.adjustments.changed() {
        let adjustment = row.value;
        let lines = to_postcard(&adjustment.lines)?;
        on_tx!(tx, connection => {
            sqlx::query(ADJUSTMENT)
                .bind(blob(adjustment.id.bytes()))
                .bind(lines)
                .bind(adjustment.reason.as_str())
                .bind(blob(adjustment.proposer.bytes()))
                .bind(adjustment.state.code())
                .bind(adjustment.decider.map(|id| blob(id.bytes())))
                .bind(adjustment.at.0)
                .bind(adjustment.decided_at.map(|at| at.0))
                .bind(adjustment.flow.map(|id| blob(id.bytes())))
                .execute(connection)
                .await?;
        });
    }
    Ok(())
}
