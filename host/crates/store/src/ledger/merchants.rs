//! What is agreed with merchants, disputes and closings, as commits read and write them. Rows travel as one JSON parameter on both databases.

use koban_domain::arrangements::{Arrangement, CutOff, Share, Tally};
use koban_domain::books::Books;
use koban_domain::captures::OfPayment;
use koban_domain::closings::{Closing, ClosingState};
use koban_domain::disputes::{Dispute, DisputeState};
use koban_domain::ids::{ClosingId, DisputeId, MerchantId, OperatorId, PaymentId, UserId};
use koban_domain::ledger::Commit;
use koban_domain::money::{Currency, Money};
use koban_domain::touched::Touched;

use crate::database::{Columns, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::key_list;

/// Reads what is touched: one statement for each kind, none for a kind that is not.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(touched.arrangements.len() * 48);
    for (merchant, currency) in &touched.arrangements {
        json.row().bytes(&merchant.bytes()).text(currency.code());
    }
    if let Some(keys) = json.finish() {
        let sql = tx.either(
            "select a.* from json_each($1) k
                cross join arrangements a on a.merchant = unhex(k.value ->> 0) and a.currency = k.value ->> 1",
            "select a.* from json_array_elements($1::json) k
                join arrangements a on a.merchant = decode(k.value ->> 0, 'hex') and a.currency = k.value ->> 1",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let (key, arrangement) = arrangement(row)?;
                books.arrangements.load(key, arrangement);
            }
        });
    }
    if let Some(keys) = key_list(touched.disputes.iter().map(DisputeId::bytes)) {
        let sql = tx.either(
            "select d.* from json_each($1) k cross join disputes d on d.id = unhex(k.value ->> 0)",
            "select d.* from json_array_elements($1::json) k join disputes d on d.id = decode(k.value ->> 0, 'hex')",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let dispute = dispute(row)?;
                books.disputes.load(dispute.id, dispute);
            }
        });
    }
    if let Some(keys) = key_list(touched.closings.iter().map(ClosingId::bytes)) {
        let sql = tx.either(
            "select c.* from json_each($1) k cross join closings c on c.id = unhex(k.value ->> 0)",
            "select c.* from json_array_elements($1::json) k join closings c on c.id = decode(k.value ->> 0, 'hex')",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let closing = closing(row)?;
                books.closings.load(closing.id, closing);
            }
        });
    }
    load_references(tx, touched, books).await
}

async fn load_references(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(64);
    for reference in &touched.payout_references {
        json.row().text(reference);
    }
    let Some(keys) = json.finish() else { return Ok(()) };
    let sql = tx.either(
        "select c.reference, c.id from json_each($1) k cross join closings c on c.reference = k.value ->> 0",
        "select c.reference, c.id from json_array_elements($1::json) k join closings c on c.reference = k.value ->> 0",
    );
    on_tx!(tx, connection => {
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            books.payout_references.load(row.text(0)?, ClosingId(row.id(1)?));
        }
    });
    Ok(())
}

/// What is agreed with a merchant, by its row.
pub(crate) fn arrangement(row: &impl Columns) -> Result<((MerchantId, Currency), Arrangement), StoreError> {
    let merchant = MerchantId(row.id("merchant")?);
    let damaged = |what: &str| StoreError::damaged(format!("the arrangement with {merchant} has no known {what}"));
    let arrangement = Arrangement {
        credit_limit: row.long("credit_limit")?,
        fee_rate: Share::of_millionths(row.int("fee_rate")?).ok_or_else(|| damaged("fee rate"))?,
        cut_off: row.maybe_int("cut_off")?.map(cut_off).transpose()?,
        tally: Tally {
            closed_to: row.int("closed_to")?,
            through: row.long("through")?,
            left: row.long("left_over")?,
            credits: row.long("credits")?,
            debits: row.long("debits")?,
            disputed: row.long("disputed")?,
            returned: row.long("returned")?,
            adjusted_up: row.long("adjusted_up")?,
            adjusted_down: row.long("adjusted_down")?,
            overdrawn: row.long("overdrawn")?,
        },
    };
    Ok(((merchant, row.currency("currency")?), arrangement))
}

fn cut_off(code: i32) -> Result<CutOff, StoreError> {
    let known = i16::try_from(code).ok().and_then(CutOff::from_code);
    known.ok_or_else(|| StoreError::damaged(format!("an arrangement has the cut-off {code}")))
}

/// A dispute by its row.
pub(crate) fn dispute(row: &impl Columns) -> Result<Dispute, StoreError> {
    let (id, currency) = (DisputeId(row.id("id")?), row.currency("currency")?);
    let of = OfPayment {
        payment: PaymentId(row.id("payment")?),
        payer: UserId(row.id("payer")?),
        merchant: MerchantId(row.id("merchant")?),
        currency,
    };
    let state = DisputeState::from_code(row.small("state")?);
    Ok(Dispute {
        id,
        of,
        amount: Money::new(row.long("amount")?, currency),
        reason: row.text("reason")?,
        evidence: row.maybe_text("evidence")?,
        state: state.ok_or_else(|| StoreError::damaged(format!("dispute {id}: unknown state")))?,
        operator: OperatorId(row.id("operator")?),
        at: row.time("at")?,
        due_at: row.time("due_at")?,
        decider: row.maybe_id("decider")?.map(OperatorId),
        ended_at: row.maybe_time("ended_at")?,
        repaid: row.long("repaid")?,
    })
}

/// A closing by its row.
pub(crate) fn closing(row: &impl Columns) -> Result<Closing, StoreError> {
    let id = ClosingId(row.id("id")?);
    let damaged = |what: &str| StoreError::damaged(format!("closing {id}: unknown {what}"));
    let share = |column: &str, millionths: i32| Share::of_millionths(millionths).ok_or_else(|| damaged(column));
    Ok(Closing {
        id,
        merchant: MerchantId(row.id("merchant")?),
        currency: row.currency("currency")?,
        until: row.int("until")?,
        after: row.long("after_entry")?,
        through: row.long("through_entry")?,
        carried: row.long("carried")?,
        captured: row.long("captured")?,
        refunded: row.long("refunded")?,
        disputed: row.long("disputed")?,
        returned: row.long("returned")?,
        adjusted: row.long("adjusted")?,
        fee: row.long("fee")?,
        tax: row.long("tax")?,
        fee_rate: share("fee rate", row.int("fee_rate")?)?,
        tax_rate: share("tax rate", row.int("tax_rate")?)?,
        due: row.long("due")?,
        left: row.long("left_over")?,
        state: ClosingState::from_code(row.small("state")?).ok_or_else(|| damaged("state"))?,
        at: row.time("at")?,
        reference: row.maybe_text("reference")?,
        operator: row.maybe_id("operator")?.map(OperatorId),
        paid_at: row.maybe_time("paid_at")?,
    })
}

const ARRANGEMENTS: (&str, &str) = (
    "insert into arrangements (merchant, currency, credit_limit, fee_rate, cut_off, closed_to, through, left_over, credits,
            debits, disputed, returned, adjusted_up, adjusted_down, overdrawn)
        select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14
        from json_each($1) where true
        on conflict (merchant, currency) do update set credit_limit = excluded.credit_limit,
            fee_rate = excluded.fee_rate, cut_off = excluded.cut_off, closed_to = excluded.closed_to,
            through = excluded.through, left_over = excluded.left_over, credits = excluded.credits,
            debits = excluded.debits, disputed = excluded.disputed, returned = excluded.returned,
            adjusted_up = excluded.adjusted_up, adjusted_down = excluded.adjusted_down, overdrawn = excluded.overdrawn",
    "insert into arrangements (merchant, currency, credit_limit, fee_rate, cut_off, closed_to, through, left_over, credits,
            debits, disputed, returned, adjusted_up, adjusted_down, overdrawn)
        select decode(value ->> 0, 'hex'), value ->> 1, (value ->> 2)::int8, (value ->> 3)::int4, (value ->> 4)::int2,
            (value ->> 5)::int4, (value ->> 6)::int8, (value ->> 7)::int8, (value ->> 8)::int8, (value ->> 9)::int8,
            (value ->> 10)::int8, (value ->> 11)::int8, (value ->> 12)::int8, (value ->> 13)::int8, (value ->> 14)::int8
        from json_array_elements($1::json)
        on conflict (merchant, currency) do update set credit_limit = excluded.credit_limit,
            fee_rate = excluded.fee_rate, cut_off = excluded.cut_off, closed_to = excluded.closed_to,
            through = excluded.through, left_over = excluded.left_over, credits = excluded.credits,
            debits = excluded.debits, disputed = excluded.disputed, returned = excluded.returned,
            adjusted_up = excluded.adjusted_up, adjusted_down = excluded.adjusted_down, overdrawn = excluded.overdrawn",
);

const DISPUTES: (&str, &str) = (
    "insert into disputes (id, payment, payer, merchant, amount, currency, reason, evidence, state, operator, at, due_at,
            decider, ended_at, repaid)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10, value ->> 11, unhex(value ->> 12),
            value ->> 13, value ->> 14
        from json_each($1) where true
        on conflict (id) do update set state = excluded.state, decider = excluded.decider,
            ended_at = excluded.ended_at, repaid = excluded.repaid",
    "insert into disputes (id, payment, payer, merchant, amount, currency, reason, evidence, state, operator, at, due_at,
            decider, ended_at, repaid)
        select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex'), decode(value ->> 2, 'hex'),
            decode(value ->> 3, 'hex'), (value ->> 4)::int8, value ->> 5, value ->> 6, value ->> 7, (value ->> 8)::int2,
            decode(value ->> 9, 'hex'), (value ->> 10)::int8, (value ->> 11)::int8, decode(value ->> 12, 'hex'),
            (value ->> 13)::int8, (value ->> 14)::int8
        from json_array_elements($1::json)
        on conflict (id) do update set state = excluded.state, decider = excluded.decider,
            ended_at = excluded.ended_at, repaid = excluded.repaid",
);

const CLOSINGS: (&str, &str) = (
    "insert into closings (id, merchant, currency, until, after_entry, through_entry, carried, captured, refunded, disputed,
            returned, adjusted, fee, tax, fee_rate, tax_rate, due, left_over, state, at, reference, operator, paid_at)
        select unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
            value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19, value ->> 20, unhex(value ->> 21),
            value ->> 22
        from json_each($1) where true
        on conflict (id) do update set state = excluded.state, reference = excluded.reference,
            operator = excluded.operator, paid_at = excluded.paid_at",
    "insert into closings (id, merchant, currency, until, after_entry, through_entry, carried, captured, refunded, disputed,
            returned, adjusted, fee, tax, fee_rate, tax_rate, due, left_over, state, at, reference, operator, paid_at)
        select decode(value ->> 0, 'hex'), decode(value ->> 1, 'hex'), value ->> 2, (value ->> 3)::int4,
            (value ->> 4)::int8, (value ->> 5)::int8, (value ->> 6)::int8, (value ->> 7)::int8, (value ->> 8)::int8,
            (value ->> 9)::int8, (value ->> 10)::int8, (value ->> 11)::int8, (value ->> 12)::int8, (value ->> 13)::int8,
            (value ->> 14)::int4, (value ->> 15)::int4, (value ->> 16)::int8, (value ->> 17)::int8, (value ->> 18)::int2,
            (value ->> 19)::int8, value ->> 20, decode(value ->> 21, 'hex'), (value ->> 22)::int8
        from json_array_elements($1::json)
        on conflict (id) do update set state = excluded.state, reference = excluded.reference,
            operator = excluded.operator, paid_at = excluded.paid_at",
);

/// Writes what changed, nothing for most commits.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let mut json = JsonRows::with_capacity(256);
    for row in books.arrangements.changed() {
        let ((merchant, currency), Arrangement { credit_limit, fee_rate, cut_off, tally }) = (*row.key, *row.value);
        json.row().bytes(&merchant.bytes()).text(currency.code()).int(credit_limit).int(fee_rate.millionths());
        json.maybe_int(cut_off.map(|cut_off| i64::from(cut_off.code()))).int(tally.closed_to).int(tally.through);
        json.int(tally.left).int(tally.credits).int(tally.debits).int(tally.disputed).int(tally.returned);
        json.int(tally.adjusted_up).int(tally.adjusted_down).int(tally.overdrawn);
    }
    run(tx, ARRANGEMENTS, json).await?;

    let mut json = JsonRows::with_capacity(512);
    for dispute in books.disputes.changed().map(|row| row.value) {
        let of = &dispute.of;
        json.row().bytes(&dispute.id.bytes()).bytes(&of.payment.bytes()).bytes(&of.payer.bytes());
        json.bytes(&of.merchant.bytes()).int(dispute.amount.minor).text(of.currency.code()).text(&dispute.reason);
        json.maybe_text(dispute.evidence.as_deref()).int(dispute.state.code()).bytes(&dispute.operator.bytes());
        json.int(dispute.at.0).int(dispute.due_at.0);
        json.maybe_bytes(dispute.decider.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.maybe_int(dispute.ended_at.map(|at| at.0)).int(dispute.repaid);
    }
    run(tx, DISPUTES, json).await?;

    let mut json = JsonRows::with_capacity(512);
    for closing in books.closings.changed().map(|row| row.value) {
        json.row().bytes(&closing.id.bytes()).bytes(&closing.merchant.bytes()).text(closing.currency.code());
        json.int(closing.until).int(closing.after).int(closing.through).int(closing.carried).int(closing.captured);
        json.int(closing.refunded).int(closing.disputed).int(closing.returned).int(closing.adjusted).int(closing.fee);
        json.int(closing.tax).int(closing.fee_rate.millionths()).int(closing.tax_rate.millionths()).int(closing.due);
        json.int(closing.left).int(closing.state.code()).int(closing.at.0).maybe_text(closing.reference.as_deref());
        json.maybe_bytes(closing.operator.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.maybe_int(closing.paid_at.map(|at| at.0));
    }
    run(tx, CLOSINGS, json).await
}

/// Runs one bulk statement over these rows; none if there are none.
pub(super) async fn run(
    tx: &mut Tx<'_>,
    (sqlite, postgres): (&'static str, &'static str),
    rows: JsonRows,
) -> Result<(), StoreError> {
    let Some(rows) = rows.finish() else { return Ok(()) };
    let sql = tx.either(sqlite, postgres);
    on_tx!(tx, connection => {
        sqlx::query(sql).bind(rows).execute(connection).await?;
    });
    Ok(())
}
