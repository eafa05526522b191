//! Balances and statements: what happened on an account, newest first, with the entry it belongs to.

use std::collections::HashMap;

use koban_domain::accounts::{Account, AccountId, PostingSide};
use koban_domain::ids::EntryId;
use koban_domain::paths::EntryKind;
use koban_domain::time::Timestamp;
use uuid::Uuid;

use crate::database::{Columns, Store, blob, on};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::key_list;

/// One posting with its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub place: LinePlace,
    /// On which account.
    pub account: AccountId,
    /// Which side.
    pub side: PostingSide,
    /// Minor units, more than zero.
    pub amount: i64,
    /// The account's balance after the entry, on its normal side.
    pub balance: i64,
    /// The entry.
    pub entry: EntryId,
    /// What the entry is for.
    pub kind: EntryKind,
    /// What it is about: the bits of the id of a payment, refund, transfer, flow or file.
    pub subject: Uuid,
    /// Who caused it.
    pub actor: String,
    /// What else there is to know, as compact JSON.
    pub meta: String,
    /// When it was posted.
    pub at: Timestamp,
}

/// Where a line stands among all lines; later ones are greater. The cursor of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePlace {
    /// The entry's place in its lane.
    pub sequence: i64,
    /// The posting's place in the entry.
    pub ordinal: i16,
}

/// Accounts of one statement of SQL; more are read in several and merged.
const ACCOUNTS_AT_ONCE: usize = 3;

macro_rules! newest_of {
    ($account:literal) => {
        concat!(
            "select * from (select p.account, p.sequence, p.ordinal, p.side, p.amount, p.balance, e.id, e.kind, e.subject, ",
            "e.actor, e.meta, e.at from postings p join entries e on e.sequence = p.sequence where p.account = ",
            $account,
            " and (p.sequence, p.ordinal) < ($4, $5) order by p.sequence desc, p.ordinal desc limit $6) as newest"
        )
    };
}

/// The newest of each account apart, each along its own key, then the newest of them together.
const LINES: &str = concat!(
    newest_of!("$1"),
    " union all ",
    newest_of!("$2"),
    " union all ",
    newest_of!("$3"),
    " order by sequence desc, ordinal desc limit $6"
);

/// What happened on these accounts together, newest first, before this place. The cost grows with the number of accounts,
/// not with their history.
pub async fn lines(
    store: &Store,
    accounts: &[AccountId],
    before: Option<LinePlace>,
    limit: u16,
) -> Result<Vec<Line>, StoreError> {
    let before = before.unwrap_or(LinePlace { sequence: i64::MAX, ordinal: i16::MAX });
    let mut lines = Vec::new();
    for some in accounts.chunks(ACCOUNTS_AT_ONCE) {
        // No account has an empty id: an unused place finds nothing.
        let account = |place: usize| some.get(place).map_or_else(Vec::new, |account| blob(account.0));
        let found: Result<Vec<Line>, StoreError> = on!(store, pool => sqlx::query(LINES)
            .bind(account(0))
            .bind(account(1))
            .bind(account(2))
            .bind(before.sequence)
            .bind(before.ordinal)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
            .iter()
            .map(read)
            .collect());
        lines.extend(found?);
    }
    if accounts.len() > ACCOUNTS_AT_ONCE {
        lines.sort_by_key(|line| std::cmp::Reverse(line.place));
        lines.truncate(usize::from(limit));
    }
    Ok(lines)
}

/// The last entry that was posted at this time or before: its place in the journal, 0 if there is none. Time never runs backwards
/// in the journal, so it is found by halving.
pub async fn sequence_at(store: &Store, at: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "select at from entries where sequence = $1";
    // Everything up to `before` was posted by then; nothing from `after` on was.
    let (mut before, mut after) = (0, store.lane_head().await?.head.sequence.saturating_add(1));
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        let posted = on!(store, pool => {
            sqlx::query(SQL).bind(middle).fetch_optional(pool).await?.map(|row| row.time(0)).transpose()?
        });
        match posted {
            Some(posted) if posted <= at => before = middle,
            Some(_) => after = middle,
            None => return Err(StoreError::damaged(format!("entry {middle} is missing"))),
        }
    }
    Ok(before)
}

/// These accounts as they stand; one that nothing was posted to is absent.
pub async fn balances(store: &Store, accounts: &[AccountId]) -> Result<HashMap<AccountId, Account>, StoreError> {
    let sql = store.either(
        "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending
            from accounts a where id in (select unhex(value ->> 0) from json_each($1))",
        "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending
            from accounts a
            where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    on!(store, pool => sqlx::query(sql)
        .bind(key_list(accounts.iter().map(|account| account.0)))
        .fetch_all(pool)
        .await?
        .iter()
        .map(rows::account)
        .collect())
}

fn read(row: &impl Columns) -> Result<Line, StoreError> {
    let (side, kind) = (row.small("side")?, row.small("kind")?);
    Ok(Line {
        place: LinePlace { sequence: row.long("sequence")?, ordinal: row.small("ordinal")? },
        account: AccountId(row.fixed("account")?),
        side: match side {
            0 => PostingSide::Debit,
            1 => PostingSide::Credit,
            _ => return Err(StoreError::damaged(format!("{side} is no side of a posting"))),
        },
        amount: row.long("amount")?,
        balance: row.long("balance")?,
        entry: EntryId(row.id("id")?),
        kind: u8::try_from(kind)
            .ok()
            .and_then(EntryKind::from_code)
            .ok_or_else(|| StoreError::damaged(format!("{kind} is no kind of entry")))?,
        subject: row.id("subject")?,
        actor: row.text("actor")?,
        meta: row.text("meta")?,
        at: row.time("at")?,
    })
}
