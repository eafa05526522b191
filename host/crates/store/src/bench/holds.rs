//! The yardstick of W6: holds as most houses write them, each step one SQL transaction over the same tables.

use koban_domain::time::Timestamp;
use uuid::Uuid;

use super::{Baseline, BaselineOutcome, DAY_LIMIT, LOCK, OPERATION};
use crate::database::{Columns as _, Tx, blob, on_tx};
use crate::error::StoreError;

/// What is done to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStep {
    /// An amount is set aside.
    Authorise,
    /// All of it is taken.
    Capture,
    /// It is let go.
    Void,
    /// Its time has run out.
    Expire,
}

/// One step of a hold.
#[derive(Debug, Clone, Copy)]
pub struct BaselineHold {
    /// Which.
    pub step: HoldStep,
    /// The hold's id, time-ordered.
    pub hold: Uuid,
    /// The number of the account that pays.
    pub payer: usize,
    /// The number of the account that is paid; another one.
    pub merchant: usize,
    /// Minor units, more than zero.
    pub amount: i64,
    /// The entry's id, time-ordered.
    pub entry: Uuid,
    /// The hash of the request's idempotency key.
    pub key: [u8; 16],
    /// When.
    pub at: Timestamp,
}

pub(super) const TABLES: [&str; 2] = [
    "create table if not exists baseline_holds (id blob primary key, payer blob not null, merchant blob not null,
        amount integer not null, state integer not null, captured integer not null, expires_at integer not null,
        at integer not null) strict, without rowid",
    "create table if not exists baseline_holds (id bytea primary key, payer bytea not null, merchant bytea not null,
        amount bigint not null, state smallint not null, captured bigint not null, expires_at bigint not null,
        at bigint not null) with (fillfactor = 90)",
];

const COUNTER: &str =
    "insert into baseline_counters (user_id, rule, period, currency, total) values ($1, 22, $2, 'JPY', $3)
    on conflict (user_id, rule, period, currency) do update set total = baseline_counters.total + excluded.total
    returning total";
const ADD: &str = "insert into baseline_holds (id, payer, merchant, amount, state, captured, expires_at, at)
    values ($1, $2, $3, $4, 1, 0, $5, $6)";
const END: &str = "update baseline_holds set state = $2, captured = $3 where id = $1 and state = 1";
const ENTRY: &str = "insert into baseline_entries (id, kind, at, actor, subject, reverses, records, meta)
    values ($1, $2, $3, $4, $5, null, $6, '{}')";
/// Sides 2 and 3 set aside, 4 and 5 let go.
const ASIDE: &str = "insert into baseline_postings (account, entry, ordinal, side, amount, balance)
    values ($1, $3, 0, $7, $4, $5), ($2, $3, 1, $7 + 1, $4, $6)";
const TAKEN: &str = "insert into baseline_postings (account, entry, ordinal, side, amount, balance)
    values ($1, $3, 0, $7, $4, $5), ($2, $3, 1, $7 + 1, $4, $6), ($1, $3, 2, 0, $4, $5), ($2, $3, 3, 1, $4, $6)";
const ACCOUNTS: &str = "update baseline_accounts set
    debits_posted = debits_posted + case when id = $1 then cast($3 as bigint) else 0 end,
    credits_posted = credits_posted + case when id = $2 then cast($3 as bigint) else 0 end,
    debits_pending = debits_pending + case when id = $1 then cast($4 as bigint) else 0 end,
    credits_pending = credits_pending + case when id = $2 then cast($4 as bigint) else 0 end
    where id in ($1, $2)";

/// The statements of a step between `begin` and `commit`, in order: first authorise, then capture, void and expire.
pub(super) fn sql(lock: &'static str) -> [Vec<&'static str>; 3] {
    [
        vec![lock, OPERATION, COUNTER, ADD, ENTRY, ASIDE, ACCOUNTS],
        vec![lock, OPERATION, END, ENTRY, TAKEN, ACCOUNTS],
        vec![lock, OPERATION, END, ENTRY, ASIDE, ACCOUNTS],
    ]
}

impl Baseline {
    /// One step of a hold in one transaction. Errors: an account number that was not prepared.
    pub async fn hold(&self, hold: BaselineHold) -> Result<BaselineOutcome, StoreError> {
        let (payer, merchant) = (self.account(hold.payer)?, self.account(hold.merchant)?);
        let mut tx = self.begin().await?;
        match step(&mut tx, payer, merchant, &hold).await? {
            BaselineOutcome::Posted => tx.commit().await.map(|()| BaselineOutcome::Posted),
            // Dropping the transaction takes it back.
            refused => Ok(refused),
        }
    }
}

async fn step(
    tx: &mut Tx<'_>,
    payer: [u8; 16],
    merchant: [u8; 16],
    hold: &BaselineHold,
) -> Result<BaselineOutcome, StoreError> {
    let (amount, at, step) = (hold.amount, hold.at, hold.step);
    let lock = tx.either(LOCK[0], LOCK[1]);
    on_tx!(tx, connection => {
        let locked = sqlx::query(lock).bind(blob(payer)).bind(blob(merchant)).fetch_all(&mut *connection).await?;
        let mut balances = [None, None];
        for row in &locked {
            let place = usize::from(row.fixed::<16>(0)? != payer);
            balances[place] = Some((row.long(2)? - row.long(1)?, row.long(3)?));
        }
        let [Some((paying, pending)), Some((paid, _))] = balances else {
            return Err(StoreError::damaged("the baseline's accounts are not there: prepare them again"));
        };
        if step == HoldStep::Authorise && paying - pending < amount {
            return Ok(BaselineOutcome::InsufficientFunds);
        }
        let done = sqlx::query(OPERATION)
            .bind(blob(hold.key))
            .bind(blob(hold.key))
            .bind(blob([0; 90]))
            .bind(at.0)
            .execute(&mut *connection)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(BaselineOutcome::Repeated);
        }
        // Kind of the entry, state of the hold, code of the postings' side, what is taken, and how what is pending changes.
        let (kind, state, side, taken, pending) = match step {
            HoldStep::Authorise => (14_i16, 1_i16, 2_i16, 0, amount),
            HoldStep::Capture => (15, 3, 4, amount, -amount),
            HoldStep::Void => (16, 4, 4, 0, -amount),
            HoldStep::Expire => (17, 5, 4, 0, -amount),
        };
        if step == HoldStep::Authorise {
            let counted = sqlx::query(COUNTER).bind(blob(payer)).bind(at.jst_day()).bind(amount);
            if counted.fetch_one(&mut *connection).await?.long(0)? > DAY_LIMIT {
                return Ok(BaselineOutcome::DayLimit);
            }
            sqlx::query(ADD)
                .bind(blob(hold.hold.as_bytes()))
                .bind(blob(payer))
                .bind(blob(merchant))
                .bind(amount)
                .bind(at.0 + 1)
                .bind(at.0)
                .execute(&mut *connection)
                .await?;
        } else {
            let ended = sqlx::query(END).bind(blob(hold.hold.as_bytes())).bind(state).bind(taken);
            if ended.execute(&mut *connection).await?.rows_affected() == 0 {
                return Ok(BaselineOutcome::Repeated);
            }
        }
        sqlx::query(ENTRY)
            .bind(blob(hold.entry.as_bytes()))
            .bind(kind)
            .bind(at.0)
            .bind("user:usr_00000000000000000000000000000000")
            .bind(blob(hold.hold.as_bytes()))
            .bind(Vec::<u8>::new())
            .execute(&mut *connection)
            .await?;
        sqlx::query(if taken > 0 { TAKEN } else { ASIDE })
            .bind(blob(payer))
            .bind(blob(merchant))
            .bind(blob(hold.entry.as_bytes()))
            .bind(amount)
            .bind(paying - taken)
            .bind(paid + taken)
            .bind(side)
            .execute(&mut *connection)
            .await?;
        sqlx::query(ACCOUNTS)
            .bind(blob(payer))
            .bind(blob(merchant))
            .bind(taken)
            .bind(pending)
            .execute(connection)
            .await?;
    });
    Ok(BaselineOutcome::Posted)
}
