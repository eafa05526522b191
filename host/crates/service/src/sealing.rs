//! Sealing what must not lie open in the database: the key is the host's and never a row.
//!
//! A sealed value is a random nonce of 24 bytes and the XChaCha20-Poly1305 ciphertext behind it. What it belongs to is
//! authenticated with it, so that a value copied into another row does not open there. Beside it stands the id of its key.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use koban_domain::records::Digest;
use zeroize::Zeroizing;

use crate::clock;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Most keys of one host: the current one, and old ones while their values are sealed again.
const KEYS_MAX: usize = 16;

/// Why something could not be sealed or opened. No message says anything of what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The host was started without a key.
    #[error("this host has no seal key; set KOBAN_SEAL_KEY or --seal-key-file")]
    NoKey,
    /// A line of the key text is no key.
    #[error("line {0} of the seal key is none: write 32 random bytes in URL-safe base64, 43 characters")]
    BadKey(usize),
    /// Too many keys.
    #[error("a host takes at most {KEYS_MAX} seal keys; remove those that seal nothing any more")]
    TooMany,
    /// Another host's key, or one that was removed too early.
    #[error(
        "the value was sealed with the key `{0}`, which this host does not have; add that key behind the current one"
    )]
    UnknownKey(String),
    /// The bytes were changed, or belong to another row.
    #[error("the sealed value is damaged or belongs to something else")]
    Damaged,
}

/// A sealed value, as rows keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key opens it.
    pub key_id: String,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

struct SealKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// The host's keys: the first seals, each opens. Cloning it is cheap.
#[derive(Clone, Default)]
pub struct Sealer(Arc<Vec<SealKey>>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Sealer {
    /// No key: nothing can be sealed.
    pub fn none() -> Sealer {
        Sealer::default()
    }

    /// The keys of a text, one a line; the first seals. Empty lines and those that begin with `#` are passed over.
    pub fn of(text: &str) -> Result<Sealer, SealError> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(line).map_err(|_| SealError::BadKey(number))?);
            if bytes.len() != KEY_BYTES {
                return Err(SealError::BadKey(number));
            }
            let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::BadKey(number))?;
            let id = hex::encode(&Digest::of_parts(&[b"koban seal key 1", &bytes]).half()[..8]);
            keys.push(SealKey { id, cipher });
        }
        match keys.len() {
            0 => Err(SealError::NoKey),
            1..=KEYS_MAX => Ok(Sealer(Arc::new(keys))),
            _ => Err(SealError::TooMany),
        }
    }

    /// A new key as text, for a file that only the host can read.
    pub fn new_key() -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        clock::fill(&mut *bytes);
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))
    }

    /// The id of the key that seals, which says nothing of the key.
    pub fn current(&self) -> Option<&str> {
        self.0.first().map(|key| key.id.as_str())
    }

    /// Seals a value that belongs to this, such as `verification usr_…`.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        let key = self.0.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_BYTES];
        clock::fill(&mut nonce);
        let payload = Payload { msg: plain, aad: about.as_bytes() };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        Ok(Sealed { key_id: key.id.clone(), bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens a value that belongs to this. The bytes are wiped when they are dropped.
    pub fn open(&self, about: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?;
        let (nonce, bytes) = sealed.bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: bytes, aad: about.as_bytes() };
        key.cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_where_it_belongs_and_unchanged() {
        let sealer = Sealer::of(&Sealer::new_key()).unwrap();
        let sealed = sealer.seal("verification usr_1", b"Hana").unwrap();
        assert!(!sealed.bytes.windows(4).any(|window| window == b"Hana"));
        assert_eq!(sealer.open("verification usr_1", &sealed).unwrap().as_slice(), b"Hana");
        assert_eq!(sealer.open("verification usr_2", &sealed), Err(SealError::Damaged));
        for place in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[place] ^= 1;
            assert_eq!(sealer.open("verification usr_1", &changed), Err(SealError::Damaged), "{place}");
        }
        let cut = Sealed { bytes: sealed.bytes[..20].to_vec(), ..sealed.clone() };
        assert_eq!(sealer.open("verification usr_1", &cut), Err(SealError::Damaged));
        assert_ne!(sealer.seal("x", b"Hana").unwrap(), sealer.seal("x", b"Hana").unwrap(), "a nonce is used once");
    }

    #[test]
    fn an_old_key_opens_and_the_first_one_seals() {
        let (old, new) = (Sealer::new_key(), Sealer::new_key());
        let sealed = Sealer::of(&old).unwrap().seal("x", b"secret").unwrap();
        let both = Sealer::of(&format!("# rotated\n{}\n\n{}\n", *new, *old)).unwrap();
        assert_eq!(both.open("x", &sealed).unwrap().as_slice(), b"secret");
        let again = both.seal("x", b"secret").unwrap();
        assert_eq!(Some(again.key_id.as_str()), both.current());
        let alone = Sealer::of(&new).unwrap();
        assert_eq!(alone.open("x", &sealed), Err(SealError::UnknownKey(sealed.key_id.clone())));
        assert_eq!(alone.open("x", &again).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line_and_never_shown() {
        assert_eq!(Sealer::of("\n#\n").unwrap_err(), SealError::NoKey);
        assert_eq!(Sealer::of("# one\nshort").unwrap_err(), SealError::BadKey(2));
        let many: Vec<_> = (0..=KEYS_MAX).map(|_| Sealer::new_key().to_string()).collect();
        assert_eq!(Sealer::of(&many.join("\n")).unwrap_err(), SealError::TooMany);
        assert_eq!(Sealer::none().seal("x", b""), Err(SealError::NoKey));
        let key = Sealer::new_key();
        assert!(!format!("{:?}", Sealer::of(&key).unwrap()).contains(&*key));
    }
}
