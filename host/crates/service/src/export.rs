//! The journal as lines of JSON that anybody can check without a database: docs/reference/encoding.md has the fields.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};

use koban_domain::accounts::AccountId;
use koban_domain::canonical::{Fields, FieldsPosting, SIDE_MAX};
use koban_domain::journal::canonical;
use koban_domain::records::Digest;
use koban_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::verify::Difference;

/// Entries and accounts read at a time: an export holds no more of them than this.
const PAGE: u16 = 1_000;
/// Most bytes of one line that is read: an entry has far less.
const LINE_MAX: u64 = 16 * 1024 * 1024;

/// A line of an export, in this order: one head, entries, accounts, one end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    Head { version: u32, lane: u16, sequence: i64, hash: Digest, at: i64 },
    Entry(EntryLine),
    Account(AccountLine),
    End { entries: u64, accounts: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EntryLine {
    sequence: i64,
    id: String,
    kind: u8,
    at: i64,
    actor: String,
    subject: String,
    reverses: String,
    /// Account, side byte, amount, currency.
    postings: Vec<(String, u8, i64, String)>,
    records: Vec<Digest>,
    meta: String,
    hash: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AccountLine {
    id: String,
    class: u8,
    owner: String,
    currency: String,
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
}

/// What an export held, and the first difference, if it was checked and has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries.
    pub entries: u64,
    /// Accounts.
    pub accounts: u64,
    /// The last entry's sequence.
    pub sequence: i64,
    /// Its hash.
    pub hash: Digest,
    /// The first difference.
    pub difference: Option<Difference>,
}

impl std::fmt::Display for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.difference {
            None => f.write_str("clean")?,
            Some(difference) => write!(f, "DIFFERENT at {}: {}", difference.place, difference.what)?,
        }
        write!(f, "\n  {} entries, {} accounts\n  head {}", self.entries, self.accounts, self.hash)
    }
}

/// What keeps an export from being written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The books cannot be read.
    #[error("the journal cannot be read")]
    Store(#[from] StoreError),
    /// The file cannot be written or read.
    #[error("the export cannot be written or read")]
    Io(#[from] std::io::Error),
    /// An entry has no canonical bytes; `koban ledger verify` looks further.
    #[error("entry {0} cannot be exported; `koban ledger verify` looks further")]
    Entry(i64),
}

/// Writes the journal and its accounts as they are at one moment, page by page.
pub async fn export(store: &Store, out: &mut (impl Write + Send)) -> Result<Exported, ExportError> {
    let mut reader = store.journal().await?;
    let head = reader.head().await?.head;
    let mut exported = Exported { sequence: head.sequence, hash: head.hash, ..Exported::default() };
    put(out, &Line::Head { version: 1, lane: 0, sequence: head.sequence, hash: head.hash, at: head.at.0 })?;
    let mut sequence = 0;
    loop {
        let page = reader.entries_after(sequence, PAGE).await?;
        let Some(last) = page.last() else { break };
        sequence = last.sequence;
        for entry in &page {
            // What is exported is what was hashed: the fields are read out of the canonical bytes.
            let fields = Fields::read(&canonical(entry.sequence, entry.at, &entry.draft));
            let fields = fields.map_err(|_| ExportError::Entry(entry.sequence))?;
            put(out, &Line::Entry(entry_line(fields, entry.hash)))?;
            exported.entries += 1;
        }
    }
    let mut after = None;
    loop {
        let page = reader.accounts_after(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (id, account) in &page {
            let key = account.key;
            let line = AccountLine {
                id: hex::encode(id.0),
                class: key.class.code(),
                owner: hex::encode(key.owner.as_bytes()),
                currency: key.currency.to_string(),
                debits_posted: account.debits_posted,
                credits_posted: account.credits_posted,
                debits_pending: account.debits_pending,
                credits_pending: account.credits_pending,
            };
            put(out, &Line::Account(line))?;
            exported.accounts += 1;
        }
    }
    put(out, &Line::End { entries: exported.entries, accounts: exported.accounts })?;
    out.flush()?;
    Ok(exported)
}

fn put(out: &mut impl Write, line: &Line) -> Result<(), ExportError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn entry_line(fields: Fields, hash: Digest) -> EntryLine {
    let posting = |posting: &FieldsPosting| {
        let currency = String::from_utf8_lossy(&posting.currency).into_owned();
        (hex::encode(posting.account.0), posting.side, posting.amount, currency)
    };
    EntryLine {
        sequence: fields.sequence,
        id: hex::encode(fields.id),
        kind: fields.kind,
        at: fields.at,
        subject: hex::encode(fields.subject),
        reverses: hex::encode(fields.reverses),
        postings: fields.postings.iter().map(posting).collect(),
        actor: fields.actor,
        records: fields.records,
        meta: fields.meta,
        hash,
    }
}

/// Checks an export by itself: chain, sums, balances. Errors: only what keeps it from being read; all else is a difference.
pub fn verify(mut file: impl BufRead) -> Result<Exported, ExportError> {
    let mut check = Check::default();
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        (&mut file).take(LINE_MAX).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        let line = serde_json::from_slice::<Line>(&bytes).map_err(|error| error.to_string());
        if let Err((place, what)) = line.map_err(|what| (String::new(), what)).and_then(|line| check.line(line)) {
            let place = if place.is_empty() { format!("line {number}") } else { place };
            check.seen.difference = Some(Difference { place, what });
            return Ok(check.seen);
        }
    }
    if !check.is_ended {
        let what = "is missing: the export was cut off, or there is none".to_owned();
        check.seen.difference = Some(Difference { place: "the line `end`".to_owned(), what });
    }
    Ok(check.seen)
}

/// Debits and credits, posted and pending.
type Sums = [i128; 4];

#[derive(Default)]
struct Check {
    seen: Exported,
    head: Option<(i64, Digest, i64)>,
    at: i64,
    made: BTreeMap<AccountId, (Sums, String)>,
    last_account: Option<AccountId>,
    is_ended: bool,
}

/// Where, and what: no place means the line itself.
type Checked = Result<(), (String, String)>;

fn differs(place: impl Into<String>, what: impl Into<String>) -> Checked {
    Err((place.into(), what.into()))
}

impl Check {
    fn line(&mut self, line: Line) -> Checked {
        match (line, self.head) {
            _ if self.is_ended => differs("", "something follows the end"),
            (Line::Head { version: 1, sequence, hash, at, .. }, None) => {
                self.head = Some((sequence, hash, at));
                Ok(())
            }
            (Line::Head { version, .. }, None) => differs("", format!("version {version} is unknown; this reads 1")),
            (Line::Head { .. }, Some(_)) => differs("", "a second head"),
            (_, None) => differs("", "the first line is no head"),
            (Line::Entry(_), _) if self.last_account.is_some() => differs("", "an entry stands behind the accounts"),
            (Line::Entry(entry), _) => self.entry(&entry),
            (Line::Account(account), Some(head)) => self.account(&account, head),
            (Line::End { entries, accounts }, Some(head)) => self.end(entries, accounts, head),
        }
    }

    fn entry(&mut self, line: &EntryLine) -> Checked {
        let place = format!("entry {}", line.sequence);
        if line.sequence != self.seen.sequence + 1 {
            return differs(format!("entry {}", self.seen.sequence + 1), "is missing");
        }
        let Some(fields) = fields_of(line) else { return differs(place, "has a field of another length than it must") };
        match fields.hash_after(self.seen.hash) {
            Ok(hash) if hash == line.hash => {}
            Ok(hash) => {
                let what = format!("has the hash {}, its content and the entry before it make {hash}", line.hash);
                return differs(place, what);
            }
            Err(error) => return differs(place, error.to_string()),
        }
        if line.at < self.at {
            return differs(place, "lies before the entry before it");
        }
        let mut sums: BTreeMap<([u8; 3], u8), i128> = BTreeMap::new();
        for posting in &fields.postings {
            if posting.amount <= 0 || posting.side > SIDE_MAX {
                return differs(place, "has a posting of zero or less, or to a side that there is not");
            }
            let (layer, side) = (posting.side / 2, usize::from(posting.side % 2));
            let amount = i128::from(posting.amount);
            *sums.entry((posting.currency, layer)).or_default() += if side == 0 { amount } else { -amount };
            let currency = String::from_utf8_lossy(&posting.currency).into_owned();
            let (made, of) = self.made.entry(posting.account).or_insert(([0; 4], currency.clone()));
            if *of != currency {
                return differs(place, "posts to an account in another currency than the account's");
            }
            match layer {
                0 => made[side] += amount,
                1 => made[2 + side] += amount,
                _ => made[2 + side] -= amount,
            }
        }
        if let Some(((currency, _), sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
            return differs(place, format!("does not sum to zero in {}: {sum}", String::from_utf8_lossy(currency)));
        }
        self.seen.entries += 1;
        self.at = line.at;
        (self.seen.sequence, self.seen.hash) = (line.sequence, line.hash);
        Ok(())
    }

    /// The chain must have come to its end before the first account.
    fn chain_ends(&self, (sequence, hash, at): (i64, Digest, i64)) -> Checked {
        if (self.seen.sequence, self.seen.hash, self.at) == (sequence, hash, at) {
            return Ok(());
        }
        let found = (self.seen.sequence, self.seen.hash);
        differs(
            "the head",
            format!("says entry {sequence} with {hash}, the entries end at {} with {}", found.0, found.1),
        )
    }

    fn account(&mut self, line: &AccountLine, head: (i64, Digest, i64)) -> Checked {
        self.chain_ends(head)?;
        let place = format!("account {}", line.id);
        let (Some(id), Some(owner), 3) = (fixed::<16>(&line.id), fixed::<16>(&line.owner), line.currency.len()) else {
            return differs(place, "has a field of another length than it must");
        };
        let id = AccountId(id);
        if self.last_account.is_some_and(|last| last >= id) {
            return differs(place, "is listed twice or out of order");
        }
        let key = [&b"koban account 1"[..], &[line.class], &owner, line.currency.as_bytes()].concat();
        if Digest::of(&key).half() != id.0 {
            return differs(place, "does not follow from its class, owner and currency");
        }
        self.last_account = Some(id);
        self.seen.accounts += 1;
        let stored = [line.debits_posted, line.credits_posted, line.debits_pending, line.credits_pending];
        let stored: Sums = stored.map(i128::from);
        let (made, currency) = self.made.remove(&id).unwrap_or(([0; 4], line.currency.clone()));
        if currency != line.currency {
            return differs(place, "is posted to in another currency");
        }
        if made != stored {
            return differs(place, format!("has the sums {stored:?}, the entries make {made:?}"));
        }
        Ok(())
    }

    fn end(&mut self, entries: u64, accounts: u64, head: (i64, Digest, i64)) -> Checked {
        self.chain_ends(head)?;
        if let Some((id, (made, _))) = self.made.iter().find(|(_, (made, _))| made.iter().any(|sum| *sum != 0)) {
            return differs(
                format!("account {}", hex::encode(id.0)),
                format!("is not listed, the entries make {made:?}"),
            );
        }
        if (entries, accounts) != (self.seen.entries, self.seen.accounts) {
            return differs("the line `end`", "counts other entries or accounts than there are");
        }
        self.is_ended = true;
        Ok(())
    }
}

fn fields_of(line: &EntryLine) -> Option<Fields> {
    let posting = |(account, side, amount, currency): &(String, u8, i64, String)| {
        let currency = currency.as_bytes().try_into().ok()?;
        Some(FieldsPosting { account: AccountId(fixed(account)?), side: *side, amount: *amount, currency })
    };
    Some(Fields {
        sequence: line.sequence,
        id: fixed(&line.id)?,
        kind: line.kind,
        at: line.at,
        actor: line.actor.clone(),
        subject: fixed(&line.subject)?,
        reverses: fixed(&line.reverses)?,
        postings: line.postings.iter().map(posting).collect::<Option<_>>()?,
        records: line.records.clone(),
        meta: line.meta.clone(),
    })
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}
