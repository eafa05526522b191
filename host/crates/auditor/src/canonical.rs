//! Bytes as docs/reference/encoding.md writes them down, encoded and read here a second time.

use sha2::{Digest as _, Sha256};

use crate::source::Id;

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 over parts, each preceded by its length in eight bytes.
pub(crate) fn digest_of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first half of a digest.
pub(crate) fn half(digest: [u8; 32]) -> Id {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// The id of an account.
pub(crate) fn account_id(class: u8, owner: Id, currency: [u8; 3]) -> Id {
    half(digest(&[b"koban account 1".as_slice(), &[class], &owner, &currency].concat()))
}

/// A plugin as accounts and references name it.
pub(crate) fn plugin_key(id: &str) -> Id {
    half(digest_of_parts(&[b"koban plugin 1", id.as_bytes()]))
}

/// One side of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) account: Id,
    pub(crate) class: u8,
    pub(crate) owner: Id,
    pub(crate) currency: [u8; 3],
    /// 0 posted, 1 set aside, 2 no longer set aside.
    pub(crate) layer: u8,
    pub(crate) is_credit: bool,
    pub(crate) amount: i64,
    /// What the row says that the account stood at afterwards.
    pub(crate) balance: i64,
}

impl Posting {
    /// Debits above zero.
    pub(crate) fn signed(&self) -> i128 {
        if self.is_credit { -i128::from(self.amount) } else { i128::from(self.amount) }
    }

    fn side(&self) -> u8 {
        u8::from(self.is_credit) + 2 * self.layer
    }
}

/// Bytes of one posting in an entry's row: class, owner, currency, side and layer, amount, balance.
const POSTING_BYTES: usize = 37;

/// The postings in an entry's row; none if they cannot be read.
pub(crate) fn postings(bytes: &[u8]) -> Option<Vec<Posting>> {
    if !bytes.len().is_multiple_of(POSTING_BYTES) {
        return None;
    }
    let number = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
    let read = |row: &[u8]| {
        let (class, owner, currency) = (row[0], row[1..17].try_into().ok()?, row[17..20].try_into().ok()?);
        let side = row[20];
        (side < 6).then_some(())?;
        Some(Posting {
            account: account_id(class, owner, currency),
            class,
            owner,
            currency,
            layer: side / 2,
            is_credit: side % 2 == 1,
            amount: number(&row[21..29])?,
            balance: number(&row[29..37])?,
        })
    };
    bytes.chunks_exact(POSTING_BYTES).map(read).collect()
}

/// What of an entry is hashed.
pub(crate) struct Hashed<'a> {
    pub(crate) sequence: i64,
    pub(crate) id: Id,
    pub(crate) kind: u8,
    pub(crate) at: i64,
    pub(crate) actor: &'a str,
    pub(crate) subject: Id,
    pub(crate) reverses: Option<Id>,
    pub(crate) postings: &'a [Posting],
    pub(crate) records: &'a [[u8; 32]],
    pub(crate) meta: &'a str,
}

impl Hashed<'_> {
    /// The hash behind the hash before; none for what is too long to be an entry.
    pub(crate) fn after(&self, before: [u8; 32]) -> Option<[u8; 32]> {
        let count = |length: usize| u16::try_from(length).ok().map(u16::to_be_bytes);
        let mut bytes = before.to_vec();
        bytes.extend(b"KBN\x01");
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.id);
        bytes.push(self.kind);
        bytes.extend(self.at.to_be_bytes());
        bytes.extend(count(self.actor.len())?);
        bytes.extend(self.actor.as_bytes());
        bytes.extend(self.subject);
        bytes.extend(self.reverses.unwrap_or_default());
        bytes.extend(count(self.postings.len())?);
        for posting in self.postings {
            bytes.extend(posting.account);
            bytes.push(posting.side());
            bytes.extend(posting.amount.to_be_bytes());
            bytes.extend(posting.currency);
        }
        bytes.extend(count(self.records.len())?);
        bytes.extend(self.records.iter().flatten());
        bytes.extend(count(self.meta.len())?);
        bytes.extend(self.meta.as_bytes());
        Some(digest(&bytes))
    }
}

/// A page of the outbox or of records: lz4 behind its unpacked length, postcard within.
pub(crate) fn unpack(page: &[u8]) -> Option<Vec<u8>> {
    lz4_flex::decompress_size_prepended(page).ok()
}

/// Reads postcard 1: varints, zig-zag for signed numbers, texts and lists behind their length.
pub(crate) struct Postcard<'a>(pub(crate) &'a [u8]);

impl<'a> Postcard<'a> {
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.varint()?;
        let magnitude = i64::try_from(number >> 1).ok()?;
        Some(if number & 1 == 0 { magnitude } else { -magnitude - 1 })
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.varint()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}

/// The bytes of an id such as `pay_00…`; none if it is no id with this prefix.
pub(crate) fn id_of(text: &str, prefix: &str) -> Option<Id> {
    let digits = text.strip_prefix(prefix)?.strip_prefix('_')?;
    let mut id = [0; 16];
    hex::decode_to_slice(digits, &mut id).ok()?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let page = include_str!("../../../../docs/reference/encoding.md");
        let of = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap();
            hex::decode(line.rsplit(' ').next().unwrap()).unwrap()
        };
        let (bank, clearing) = (account_id(6, [0; 16], *b"JPY"), account_id(5, plugin_key("charge-atm"), *b"JPY"));
        assert_eq!((bank.to_vec(), clearing.to_vec()), (of("account bank"), of("account clearing")));
        let posting = |account, class, is_credit| Posting {
            account,
            class,
            owner: [0; 16],
            currency: *b"JPY",
            layer: 0,
            is_credit,
            amount: 1_280,
            balance: 0,
        };
        let postings = [posting(bank, 6, false), posting(clearing, 5, true)];
        let mut id = [0; 16];
        id[15] = 1;
        let first = Hashed {
            sequence: 1,
            id,
            kind: 6,
            at: 1_537_851_600_000,
            actor: "system",
            subject: [0; 16],
            reverses: None,
            postings: &postings,
            records: &[],
            meta: "{}",
        };
        let hash = first.after([0; 32]).unwrap();
        assert_eq!(hash.to_vec(), of("entry 1 hash"));
        id[15] = 2;
        let second = Hashed {
            sequence: 2,
            id,
            actor: "operator:小判",
            subject: [7; 16],
            reverses: Some(first.id),
            records: &[digest(b"a record")],
            meta: r#"{"reference":"r1"}"#,
            ..first
        };
        assert_eq!(second.after(hash).unwrap().to_vec(), of("entry 2 hash"));
    }

    #[test]
    fn numbers_of_postcard_read_as_its_page_says() {
        assert_eq!(Postcard(&[0x80, 0x01]).varint(), Some(128));
        assert_eq!(Postcard(&[0x01]).signed(), Some(-1));
        assert_eq!(Postcard(&[0x80, 0x02]).signed(), Some(128));
        assert_eq!(Postcard(&[0x02, b'a', b'b', 9]).text(), Some("ab"));
        assert_eq!(Postcard(&[0x05, b'a']).text(), None);
    }
}
