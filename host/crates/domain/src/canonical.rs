//! Canonical bytes of an entry read back as fields: what exports carry, and what anybody checks who has nothing but them.

use crate::accounts::AccountId;
use crate::journal::chain;
use crate::records::Digest;

/// An entry as its canonical bytes say it, version 1 (docs/reference/encoding.md). Codes stay codes: a reader that does not
/// know a kind can still check the chain and the sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Counts the lane's entries from 1.
    pub sequence: i64,
    /// The entry's id.
    pub id: [u8; 16],
    /// The code of its kind.
    pub kind: u8,
    /// Unix milliseconds.
    pub at: i64,
    /// Who caused it.
    pub actor: String,
    /// What it is about.
    pub subject: [u8; 16],
    /// The entry that it takes back; zeros for none.
    pub reverses: [u8; 16],
    /// Its postings in order.
    pub postings: Vec<FieldsPosting>,
    /// Digests of the records behind it.
    pub records: Vec<Digest>,
    /// What else there is to know, as compact JSON.
    pub meta: String,
}

/// One side of an entry, as encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldsPosting {
    /// Which account.
    pub account: AccountId,
    /// Side and layer: 0 debit, 1 credit; and 2 more for what is reserved, 4 more for what is released.
    pub side: u8,
    /// Minor units.
    pub amount: i64,
    /// The letters of its currency.
    pub currency: [u8; 3],
}

/// Side bytes that mean something: two sides in three layers.
pub const SIDE_MAX: u8 = 5;

/// Bytes that are no entry of version 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// They do not begin with `KBN` and version 1.
    #[error("the bytes do not begin with `KBN` and version 1")]
    Magic,
    /// They end in the middle of this field.
    #[error("the bytes end within `{0}`")]
    CutOff(&'static str),
    /// This field is no UTF-8.
    #[error("`{0}` is no UTF-8")]
    NotText(&'static str),
    /// Something follows the last field.
    #[error("{0} bytes follow the last field")]
    TooLong(usize),
    /// A text or list that no length of two bytes can count.
    #[error("`{0}` has more than 65,535 bytes or items")]
    TooMany(&'static str),
}

impl Fields {
    /// Reads canonical bytes. Errors: [`NotCanonical`] says where they stop being an entry.
    pub fn read(bytes: &[u8]) -> Result<Fields, NotCanonical> {
        let mut rest = bytes;
        if take::<4>(&mut rest, "magic")? != *b"KBN\x01" {
            return Err(NotCanonical::Magic);
        }
        let fields = Fields {
            sequence: i64::from_be_bytes(take(&mut rest, "sequence")?),
            id: take(&mut rest, "id")?,
            kind: take::<1>(&mut rest, "kind")?[0],
            at: i64::from_be_bytes(take(&mut rest, "at")?),
            actor: text(&mut rest, "actor")?,
            subject: take(&mut rest, "subject")?,
            reverses: take(&mut rest, "reverses")?,
            postings: list(&mut rest, "postings", |rest| {
                Ok(FieldsPosting {
                    account: AccountId(take(rest, "postings")?),
                    side: take::<1>(rest, "postings")?[0],
                    amount: i64::from_be_bytes(take(rest, "postings")?),
                    currency: take(rest, "postings")?,
                })
            })?,
            records: list(&mut rest, "records", |rest| Ok(Digest(take(rest, "records")?)))?,
            meta: text(&mut rest, "meta")?,
        };
        if rest.is_empty() { Ok(fields) } else { Err(NotCanonical::TooLong(rest.len())) }
    }

    /// The canonical bytes of these fields. Errors: [`NotCanonical::TooMany`].
    pub fn write(&self) -> Result<Vec<u8>, NotCanonical> {
        let mut bytes = Vec::with_capacity(128 + self.actor.len() + self.meta.len() + self.postings.len() * 28);
        bytes.extend_from_slice(b"KBN\x01");
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.id);
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.at.to_be_bytes());
        count(&mut bytes, self.actor.len(), "actor")?;
        bytes.extend_from_slice(self.actor.as_bytes());
        bytes.extend_from_slice(&self.subject);
        bytes.extend_from_slice(&self.reverses);
        count(&mut bytes, self.postings.len(), "postings")?;
        for posting in &self.postings {
            bytes.extend_from_slice(&posting.account.0);
            bytes.push(posting.side);
            bytes.extend_from_slice(&posting.amount.to_be_bytes());
            bytes.extend_from_slice(&posting.currency);
        }
        count(&mut bytes, self.records.len(), "records")?;
        for digest in &self.records {
            bytes.extend_from_slice(&digest.0);
        }
        count(&mut bytes, self.meta.len(), "meta")?;
        bytes.extend_from_slice(self.meta.as_bytes());
        Ok(bytes)
    }

    /// The hash that the entry must have behind this one. Errors: [`NotCanonical::TooMany`].
    pub fn hash_after(&self, before: Digest) -> Result<Digest, NotCanonical> {
        Ok(chain(before, &self.write()?))
    }
}

fn take<const N: usize>(rest: &mut &[u8], field: &'static str) -> Result<[u8; N], NotCanonical> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(NotCanonical::CutOff(field))?;
    *rest = after;
    Ok(*taken)
}

fn text(rest: &mut &[u8], field: &'static str) -> Result<String, NotCanonical> {
    let length = usize::from(u16::from_be_bytes(take(rest, field)?));
    let (taken, after) = rest.split_at_checked(length).ok_or(NotCanonical::CutOff(field))?;
    *rest = after;
    String::from_utf8(taken.to_vec()).map_err(|_| NotCanonical::NotText(field))
}

fn list<T>(
    rest: &mut &[u8],
    field: &'static str,
    item: impl Fn(&mut &[u8]) -> Result<T, NotCanonical>,
) -> Result<Vec<T>, NotCanonical> {
    let length = u16::from_be_bytes(take(rest, field)?);
    (0..length).map(|_| item(rest)).collect()
}

fn count(bytes: &mut Vec<u8>, length: usize, field: &'static str) -> Result<(), NotCanonical> {
    let length = u16::try_from(length).map_err(|_| NotCanonical::TooMany(field))?;
    bytes.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields() -> impl Strategy<Value = Fields> {
        let posting = (any::<[u8; 16]>(), 0..=SIDE_MAX, any::<i64>(), any::<[u8; 3]>()).prop_map(
            |(account, side, amount, currency)| FieldsPosting { account: AccountId(account), side, amount, currency },
        );
        (
            (any::<i64>(), any::<[u8; 16]>(), any::<u8>(), any::<i64>(), ".{0,40}"),
            (any::<[u8; 16]>(), any::<[u8; 16]>()),
            proptest::collection::vec(posting, 0..6),
            proptest::collection::vec(any::<[u8; 32]>().prop_map(Digest), 0..4),
            ".{0,60}",
        )
            .prop_map(|((sequence, id, kind, at, actor), (subject, reverses), postings, records, meta)| {
                Fields { sequence, id, kind, at, actor, subject, reverses, postings, records, meta }
            })
    }

    proptest! {
        #[test]
        fn fields_read_back_from_their_bytes(fields in fields()) {
            let bytes = fields.write().unwrap();
            prop_assert_eq!(Fields::read(&bytes).unwrap(), fields);
        }

        #[test]
        fn whatever_can_be_read_is_written_as_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes: Vec<u8> = b"KBN\x01".iter().copied().chain(bytes).collect();
            if let Ok(fields) = Fields::read(&bytes) {
                prop_assert_eq!(fields.write().unwrap(), bytes);
            }
        }

        #[test]
        fn bytes_that_were_cut_off_are_refused(fields in fields(), cut in 1usize..40) {
            let mut bytes = fields.write().unwrap();
            bytes.truncate(bytes.len().saturating_sub(cut));
            prop_assert!(Fields::read(&bytes).is_err());
        }
    }

    #[test]
    fn other_bytes_say_what_is_wrong_with_them() {
        assert_eq!(Fields::read(b"KBN\x02rest"), Err(NotCanonical::Magic));
        assert_eq!(Fields::read(b"KB"), Err(NotCanonical::CutOff("magic")));
    }
}
