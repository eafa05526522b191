//! Balances and statements: what happened on an account, newest first, with the entry it belongs to.
//!
//! There is no table of lines. Each entry names, for each of its postings, the entry that moved the account before; the account names
//! the last one, and a mark at every so many leads into the middle. A statement walks back from there.

use std::collections::HashMap;

use koban_domain::accounts::{Account, AccountId, AccountKey, Layer, PostingSide};
use koban_domain::ids::EntryId;
use koban_domain::journal::Posting;
use koban_domain::paths::EntryKind;
use koban_domain::time::Timestamp;
use uuid::Uuid;

use crate::database::{Columns, Store, all, on};
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

/// Where the walk through an account's history begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    key: AccountKey,
    /// An entry that moved the account: the last one, or a marked one not before the place that is asked for.
    from: i64,
}

/// An entry on the way back through an account's history.
pub(crate) struct Step {
    pub(crate) sequence: i64,
    pub(crate) subject: [u8; 16],
    id: EntryId,
    kind: EntryKind,
    at: Timestamp,
    actor: String,
    meta: String,
    postings: Vec<Posting>,
}

/// From entry to entry along the list of entries before: the posting's place in one list is its place in the other. Nothing but the
/// key of the journal is read through, one entry for each step, and as many are skipped at most as lie between two marks.
const WALK: [&str; 2] = [
    "with recursive line (sequence, id, kind, at, actor, subject, postings, meta, previous) as (
        select e.sequence, e.id, e.kind, e.at, e.actor, e.subject, e.postings, e.meta,
            cast(e.previous ->> ((instr(e.postings, $2) - 1) / 37) as integer)
        from entries e where e.sequence = $1
        union all
        select e.sequence, e.id, e.kind, e.at, e.actor, e.subject, e.postings, e.meta,
            cast(e.previous ->> ((instr(e.postings, $2) - 1) / 37) as integer)
        from line l cross join entries e on e.sequence = l.previous where l.previous < l.sequence)
    select sequence, id, kind, at, actor, subject, postings, meta from line
    where sequence < $3 and (kind = $4 or $4 = 0) limit $5",
    "with recursive line (sequence, id, kind, at, actor, subject, postings, meta, previous) as (
        select e.sequence, e.id, e.kind, e.at, e.actor, e.subject, e.postings, e.meta,
            (e.previous::json ->> ((position($2::bytea in e.postings) - 1) / 37))::int8
        from entries e where e.sequence = $1
        union all
        select e.sequence, e.id, e.kind, e.at, e.actor, e.subject, e.postings, e.meta,
            (e.previous::json ->> ((position($2::bytea in e.postings) - 1) / 37))::int8
        from line l join entries e on e.sequence = l.previous where l.previous < l.sequence)
    select sequence, id, kind, at, actor, subject, postings, meta from line
    where sequence < $3 and (kind = $4 or $4 = 0) limit $5",
];

/// These accounts with an entry of theirs each, from which everything before this sequence is found.
async fn starts(store: &Store, accounts: &[AccountId], before: i64) -> Result<Vec<Start>, StoreError> {
    let sql = store.either(
        "select a.class, a.owner, a.currency, coalesce((select min(m.sequence) from account_marks m
                where m.account = a.id and m.sequence >= $2), a.last)
            from accounts a where a.id in (select unhex(value ->> 0) from json_each($1))",
        "select a.class, a.owner, a.currency, coalesce((select min(m.sequence) from account_marks m
                where m.account = a.id and m.sequence >= $2), a.last)
            from accounts a
            where a.id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    all!(store, sql, [key_list(accounts.iter().map(|account| account.0)), before], |row| {
        let key = AccountKey { class: rows::class(row.small(0)?)?, owner: row.id(1)?, currency: row.currency(2)? };
        Ok(Start { key, from: row.long(3)? })
    })
}

/// Entries that moved an account, newest first, before this sequence; of one kind or of all.
async fn steps(
    store: &Store,
    start: Start,
    before: i64,
    kind: Option<EntryKind>,
    limit: i64,
) -> Result<Vec<Step>, StoreError> {
    let sql = store.either(WALK[0], WALK[1]);
    all!(
        store,
        sql,
        [start.from, rows::posting_key(&start.key), before, kind.map_or(0, |kind| i16::from(kind.code())), limit],
        step
    )
}

/// Entries of one kind that moved one of these accounts, newest first, before this sequence.
pub(crate) async fn entries_of(
    store: &Store,
    accounts: &[AccountId],
    kind: EntryKind,
    before: i64,
    limit: u16,
) -> Result<Vec<Step>, StoreError> {
    let mut found = Vec::new();
    for start in starts(store, accounts, before).await? {
        found.extend(steps(store, start, before, Some(kind), i64::from(limit)).await?);
    }
    found.sort_unstable_by_key(|step| std::cmp::Reverse(step.sequence));
    found.dedup_by_key(|step| step.sequence);
    found.truncate(usize::from(limit));
    Ok(found)
}

/// What happened on these accounts together, newest first, before this place. The cost grows with the number of accounts and of
/// lines, not with their history.
pub async fn lines(
    store: &Store,
    accounts: &[AccountId],
    before: Option<LinePlace>,
    limit: u16,
) -> Result<Vec<Line>, StoreError> {
    let before = before.unwrap_or(LinePlace { sequence: i64::MAX, ordinal: i16::MIN });
    let mut lines = Vec::new();
    // Each entry has a line, but perhaps not the one at the place itself, of which only the part before it counts.
    let (most, end) = (i64::from(limit) + 1, before.sequence.saturating_add(1));
    for start in starts(store, accounts, before.sequence).await? {
        for step in steps(store, start, end, None, most).await? {
            lines.extend(step.lines(&start.key).filter(|line| line.place < before));
        }
    }
    lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.place));
    lines.truncate(usize::from(limit));
    Ok(lines)
}

impl Step {
    /// The lines of an account. Statements say what has moved, not what is set aside.
    fn lines(&self, key: &AccountKey) -> impl Iterator<Item = Line> {
        let postings = (0..).zip(&self.postings).filter(|(_, posting)| posting.layer == Layer::Posted);
        postings.filter(|(_, posting)| posting.account == *key).map(|(ordinal, posting)| Line {
            place: LinePlace { sequence: self.sequence, ordinal },
            account: posting.id,
            side: posting.side,
            amount: posting.amount,
            balance: posting.balance,
            entry: self.id,
            kind: self.kind,
            subject: Uuid::from_bytes(self.subject),
            actor: self.actor.clone(),
            meta: self.meta.clone(),
            at: self.at,
        })
    }
}

/// sequence, id, kind, at, actor, subject, postings, meta.
fn step(row: &impl Columns) -> Result<Step, StoreError> {
    let sequence = row.long(0)?;
    let damaged = |what: &str| StoreError::damaged(format!("entry {sequence}: {what}"));
    let kind = u8::try_from(row.small(2)?).ok().and_then(EntryKind::from_code);
    Ok(Step {
        sequence,
        id: EntryId(row.id(1)?),
        kind: kind.ok_or_else(|| damaged("unknown kind"))?,
        at: row.time(3)?,
        actor: row.text(4)?,
        subject: row.fixed(5)?,
        postings: rows::unpack_postings(&row.bytes(6)?).ok_or_else(|| damaged("its postings cannot be read"))?,
        meta: row.text(7)?,
    })
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
        "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending,
                a.moved, a.last
            from accounts a where id in (select unhex(value ->> 0) from json_each($1))",
        "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending,
                a.moved, a.last
            from accounts a
            where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    all!(store, sql, [key_list(accounts.iter().map(|account| account.0))], rows::account)
}
