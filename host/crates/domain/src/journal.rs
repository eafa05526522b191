//! Journal entries: what is written for ever, its canonical bytes and the hash chain over them.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::accounts::{AccountId, AccountKey, Layer, PostingSide};
use crate::ids::EntryId;
use crate::paths::EntryKind;
use crate::records::Digest;
use crate::time::Timestamp;

/// One side of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Which account.
    pub account: AccountKey,
    /// Its id, kept beside the key because deriving it costs a hash.
    pub id: AccountId,
    /// Whether it moves the amount, sets it aside or no longer does.
    pub layer: Layer,
    /// Which side.
    pub side: PostingSide,
    /// Minor units, more than zero.
    pub amount: i64,
    /// The account's posted balance after the whole entry, on its normal side. Not part of the chain: it follows from it.
    pub balance: i64,
    /// The entry before this one that moved the account, by its sequence; 0 if there is none, or if this entry only sets aside or
    /// frees. Statements walk along it. Not part of the chain: it follows from it.
    pub previous: i64,
}

/// What an entry will say, before the chain gives it a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its id.
    pub id: EntryId,
    /// What it is for.
    pub kind: EntryKind,
    /// Who caused it, such as `user:usr_…`.
    pub actor: String,
    /// What it is about: the bytes of the id of a payment, refund, transfer or flow.
    pub subject: [u8; 16],
    /// The entry that it takes back, in part or whole.
    pub reverses: Option<EntryId>,
    /// Two or more postings that sum to zero per currency in each layer.
    pub postings: Vec<Posting>,
    /// Digests of the records of the guest calls behind it.
    pub records: Vec<Digest>,
    /// What else there is to know, as compact JSON; at most 4 KiB.
    pub meta: String,
}

/// An entry in its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the lane's entries from 1.
    pub sequence: i64,
    /// When it was posted: never before the entry before it.
    pub at: Timestamp,
    /// What it says.
    pub draft: Draft,
    /// SHA-256 over the hash before it and its canonical bytes.
    pub hash: Digest,
}

/// Each account's every sixty-fourth entry is marked, so that statements find their way into the middle of a long history in a bounded
/// number of steps.
pub const MARK_EVERY: i64 = 64;

/// The end of a lane's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Entries so far.
    pub sequence: i64,
    /// The last entry's hash; zeros before the first.
    pub hash: Digest,
    /// The last entry's time.
    pub at: Timestamp,
}

impl Head {
    /// The head of an empty lane.
    pub const EMPTY: Head = Head { sequence: 0, hash: Digest([0; 32]), at: Timestamp(0) };

    /// Gives a draft its place behind this head and moves the head on.
    pub fn append(&mut self, draft: Draft, now: Timestamp) -> Entry {
        let (sequence, at) = (self.sequence + 1, self.at.max(now));
        let hash = chain(self.hash, &canonical(sequence, at, &draft));
        *self = Head { sequence, hash, at };
        Entry { sequence, at, draft, hash }
    }
}

/// The hash of an entry: SHA-256 over the hash before it and its canonical bytes.
pub fn chain(before: Digest, canonical: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(before.0);
    hasher.update(canonical);
    Digest(hasher.finalize().into())
}

/// The canonical bytes of an entry, version 1, as docs/reference/encoding.md writes them down: integers big-endian, texts
/// and lists preceded by their length.
pub fn canonical(sequence: i64, at: Timestamp, draft: &Draft) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128 + draft.actor.len() + draft.meta.len() + draft.postings.len() * 29);
    bytes.extend_from_slice(b"KBN\x01");
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&draft.id.bytes());
    bytes.push(draft.kind.code());
    bytes.extend_from_slice(&at.0.to_be_bytes());
    short(&mut bytes, draft.actor.as_bytes());
    bytes.extend_from_slice(&draft.subject);
    bytes.extend_from_slice(&draft.reverses.unwrap_or_default().bytes());
    length(&mut bytes, draft.postings.len());
    for posting in &draft.postings {
        bytes.extend_from_slice(&posting.id.0);
        bytes.push(posting.layer.code(posting.side));
        bytes.extend_from_slice(&posting.amount.to_be_bytes());
        bytes.extend_from_slice(&posting.account.currency.bytes());
    }
    length(&mut bytes, draft.records.len());
    for digest in &draft.records {
        bytes.extend_from_slice(&digest.0);
    }
    short(&mut bytes, draft.meta.as_bytes());
    bytes
}

/// Most bytes of a text and most items of a list in an entry.
pub const LENGTH_MAX: usize = u16::MAX as usize;

fn short(bytes: &mut Vec<u8>, text: &[u8]) {
    length(bytes, text.len());
    bytes.extend_from_slice(text);
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    // Drafts are built within LENGTH_MAX; a longer one would be a mistake that the chain must not hide.
    let length = u16::try_from(length).expect("drafts keep within LENGTH_MAX");
    bytes.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Class;
    use crate::money::Currency;
    use uuid::Uuid;

    fn draft() -> Draft {
        let posting = |class, side| {
            let account = AccountKey::platform(class, Currency::JPY);
            Posting { account, id: account.id(), layer: Layer::Posted, side, amount: 1_280, balance: 0, previous: 0 }
        };
        Draft {
            id: EntryId(Uuid::from_u128(1)),
            kind: EntryKind::Settlement,
            actor: "system".into(),
            subject: [0; 16],
            reverses: None,
            postings: vec![posting(Class::Bank, PostingSide::Debit), posting(Class::Clearing, PostingSide::Credit)],
            records: vec![],
            meta: "{}".into(),
        }
    }

    #[test]
    fn the_published_vector_holds() {
        let mut head = Head::EMPTY;
        let entry = head.append(draft(), Timestamp(1_537_851_600_000));
        let bytes = canonical(entry.sequence, entry.at, &entry.draft);
        expect_test::expect!["4b424e0100000000000000010000000000000000000000000000000106000001660f192c80000673797374656d0000000000000000000000000000000000000000000000000000000000000000000214f1ef8dee3b728cad7a1192651498f90000000000000005004a5059c5fd884d24f9126fc87e4225705eb14d0100000000000005004a5059000000027b7d"].assert_eq(&hex::encode(&bytes));
        expect_test::expect!["486a5ce0ee90301a753c652e944d4b8ce34e2fe6fc520f7db3d826159fefc673"]
            .assert_eq(&entry.hash.to_string());
        assert_eq!(entry.hash, chain(Digest::default(), &bytes));
    }

    #[test]
    fn time_never_runs_backwards_in_the_chain() {
        let mut head = Head::EMPTY;
        let first = head.append(draft(), Timestamp(2_000));
        let second = head.append(draft(), Timestamp(1_000));
        assert_eq!((first.sequence, second.sequence), (1, 2));
        assert_eq!(second.at, Timestamp(2_000));
        assert_ne!(first.hash, second.hash);
        assert_eq!(head.hash, second.hash);
    }
}
