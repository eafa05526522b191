//! Hangs every entry of the journal onto the histories of its accounts, in the migration's transaction.

use std::collections::HashMap;

use koban_domain::accounts::{Account, AccountId};
use koban_domain::books::Books;
use koban_domain::ids::EntryId;
use koban_domain::journal::{Draft, Entry};
use koban_domain::paths::EntryKind;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::database::{Columns as _, Tx, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::ledger::rows;

/// Rows of one page.
const PAGE: i64 = 1_000;

/// Statements over many rows as one parameter, for each database.
const PREVIOUS: [&str; 2] = [
    "update entries as e set previous = u.value ->> 1 from json_each($1) u where e.sequence = u.value ->> 0",
    "update entries e set previous = u ->> 1 from json_array_elements($1::json) u where e.sequence = (u ->> 0)::int8",
];
const ACCOUNTS: [&str; 2] = [
    "update accounts as a set moved = u.value ->> 1, last = u.value ->> 2 from json_each($1) u where a.id = unhex(u.value ->> 0)",
    "update accounts a set moved = (u ->> 1)::int8, last = (u ->> 2)::int8 from json_array_elements($1::json) u
        where a.id = decode(u ->> 0, 'hex')",
];
const MARKS: [&str; 2] = [
    "insert into account_marks (account, sequence) select unhex(value ->> 0), value ->> 1 from json_each($1)",
    "insert into account_marks (account, sequence)
        select decode(u ->> 0, 'hex'), (u ->> 1)::int8 from json_array_elements($1::json) u",
];

/// Walks the journal once from its beginning.
pub(super) async fn fill(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    const SELECT: &str = "select sequence, postings from entries where sequence > $1 order by sequence limit $2";
    let mut books = Books::default();
    let mut last = 0;
    loop {
        let mut page: Vec<Entry> = on_tx!(&mut *tx, connection => {
            let rows = sqlx::query(SELECT).bind(last).bind(PAGE).fetch_all(connection).await?;
            rows.iter().map(|row| entry(row.long(0)?, &row.bytes(1)?)).collect::<Result<_, StoreError>>()?
        });
        let Some(end) = page.last() else { break };
        last = end.sequence;
        let (mut previous, mut marks) = (JsonRows::with_capacity(page.len() * 40), JsonRows::with_capacity(1_024));
        for entry in &mut page {
            for posting in &entry.draft.postings {
                if !books.accounts.contains(&posting.id) {
                    books.accounts.load(posting.id, Account::empty(posting.account));
                }
            }
            for account in books.enter(entry) {
                marks.row().bytes(&account.0).int(entry.sequence);
            }
            previous.row().int(entry.sequence).text(&rows::pack_previous(&entry.draft.postings));
        }
        // What could be taken back need not be kept.
        books.savepoint();
        run(tx, PREVIOUS, previous).await?;
        run(tx, MARKS, marks).await?;
    }
    let accounts: HashMap<AccountId, Account> = books.accounts.iter().map(|(id, account)| (*id, *account)).collect();
    let accounts: Vec<_> = accounts.into_iter().filter(|(_, account)| account.moved > 0).collect();
    for page in accounts.chunks(1_000) {
        let mut rows = JsonRows::with_capacity(page.len() * 64);
        for (id, account) in page {
            rows.row().bytes(&id.0).int(account.moved).int(account.last);
        }
        run(tx, ACCOUNTS, rows).await?;
    }
    Ok(())
}

/// An entry of which nothing counts but its place and its postings.
fn entry(sequence: i64, postings: &[u8]) -> Result<Entry, StoreError> {
    let postings = rows::unpack_postings(postings)
        .ok_or_else(|| StoreError::damaged(format!("entry {sequence}: its postings cannot be read")))?;
    let draft = Draft {
        id: EntryId::default(),
        kind: EntryKind::Adjustment,
        actor: String::new(),
        subject: [0; 16],
        reverses: None,
        postings,
        records: Vec::new(),
        meta: String::new(),
    };
    Ok(Entry { sequence, at: Timestamp(0), draft, hash: Digest::default() })
}

async fn run(tx: &mut Tx<'_>, sql: [&'static str; 2], rows: JsonRows) -> Result<(), StoreError> {
    let Some(rows) = rows.finish() else { return Ok(()) };
    let sql = tx.either(sql[0], sql[1]);
    on_tx!(tx, connection => sqlx::query(sql).bind(rows).execute(connection).await.map(drop))?;
    Ok(())
}
