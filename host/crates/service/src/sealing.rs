//! Sealing what must not lie open in the database: the key is the host's and never a row.
//!
//! A sealed value is a random nonce of 24 bytes and the XChaCha20-Poly1305 ciphertext behind it. What it belongs to is
//! authenticated with it, so that a value copied into another row does not open there. Beside it stands the id of its key.

pub mod file;
pub mod rotate;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use koban_domain::ids::{UserId, WebhookId};
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
    /// The file cannot be read.
    #[error("the seal key file {file} cannot be read: {problem}")]
    Unreadable {
        /// Which file.
        file: String,
        /// The system's words.
        problem: String,
    },
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

/// The host's keys: the first seals, each opens. Cloning it is cheap. Keys of a file are read again when the file has changed,
/// so that a host that runs follows `koban key`.
#[derive(Clone, Default)]
pub struct Sealer(Arc<Keys>);

#[derive(Default)]
struct Keys {
    file: Option<PathBuf>,
    known: RwLock<Known>,
}

/// What was read, and how the file looked then.
#[derive(Default)]
struct Known {
    keys: Arc<Vec<SealKey>>,
    stamp: Option<file::Stamp>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys().iter().map(|key| &key.id)).finish()
    }
}

impl Sealer {
    /// No key: nothing can be sealed.
    pub fn none() -> Sealer {
        Sealer::default()
    }

    /// The keys of a text, one a line; the first seals. Empty lines and those that begin with `#` are passed over.
    pub fn of(text: &str) -> Result<Sealer, SealError> {
        let known = Known { keys: Arc::new(parse(text)?), stamp: None };
        Ok(Sealer(Arc::new(Keys { file: None, known: RwLock::new(known) })))
    }

    /// The keys of a file. Errors: [`SealError::Unreadable`], or what is wrong with its text.
    pub fn of_file(file: &Path) -> Result<Sealer, SealError> {
        let known = Known::read(file)?;
        Ok(Sealer(Arc::new(Keys { file: Some(file.to_owned()), known: RwLock::new(known) })))
    }

    fn keys(&self) -> Arc<Vec<SealKey>> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner).keys)
    }

    /// The keys as the file has them now. One that cannot be read leaves the keys that are known.
    fn latest(&self) -> Arc<Vec<SealKey>> {
        let Some(file) = &self.0.file else { return self.keys() };
        let stamp = file::Stamp::of(file);
        let is_known = self.0.known.read().unwrap_or_else(PoisonError::into_inner).stamp == stamp;
        if !is_known {
            match Known::read(file) {
                Ok(known) => *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known,
                Err(error) => {
                    tracing::warn!(%error, "the changed seal key file is not taken; the keys known before go on")
                }
            }
        }
        self.keys()
    }

    /// A new key as text, for a file that only the host can read.
    pub fn new_key() -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        clock::fill(&mut *bytes);
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))
    }

    /// The id of the key that seals, which says nothing of the key.
    pub fn current(&self) -> Option<String> {
        self.latest().first().map(|key| key.id.clone())
    }

    /// The ids of all keys, the one that seals first.
    pub fn ids(&self) -> Vec<String> {
        self.latest().iter().map(|key| key.id.clone()).collect()
    }

    /// Seals a value that belongs to this, such as `verification usr_…`.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        let keys = self.latest();
        let key = keys.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_BYTES];
        clock::fill(&mut nonce);
        let payload = Payload { msg: plain, aad: about.as_bytes() };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        Ok(Sealed { key_id: key.id.clone(), bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens a value that belongs to this. The bytes are wiped when they are dropped.
    pub fn open(&self, about: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut keys = self.keys();
        let find = |keys: &[SealKey]| keys.iter().position(|key| key.id == sealed.key_id);
        let place = match find(&keys) {
            Some(place) => place,
            None => {
                keys = self.latest();
                find(&keys).ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?
            }
        };
        let (nonce, bytes) = sealed.bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: bytes, aad: about.as_bytes() };
        keys[place].cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Damaged)
    }
}

impl Known {
    fn read(file: &Path) -> Result<Known, SealError> {
        // The stamp first: what changes meanwhile is seen as changed by the next look.
        let stamp = file::Stamp::of(file);
        Ok(Known { keys: Arc::new(parse(&file::text(file)?)?), stamp })
    }
}

fn parse(text: &str) -> Result<Vec<SealKey>, SealError> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(line) = file::key_of(line) else { continue };
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
        1..=KEYS_MAX => Ok(keys),
        _ => Err(SealError::TooMany),
    }
}

/// What a user's submission is bound to.
pub(crate) fn about_verification(user: UserId) -> String {
    format!("verification {user}")
}

/// What the keys of a webhook endpoint are bound to.
pub(crate) fn about_webhook(endpoint: WebhookId) -> String {
    format!("webhook {endpoint}")
}

/// What a user's tokens are bound to.
pub(crate) fn about_consent(plugin: &str, endpoint: &str, user: UserId) -> String {
    format!("consent {plugin}/{endpoint} {user}")
}

/// What a verifier is bound to while its user is at the partner's page.
pub(crate) fn about_consent_request(asked: Digest) -> String {
    format!("consent request {asked}")
}

/// What a partner's secrets are bound to: the name with its side, as rows keep it.
pub(crate) fn about_endpoint(plugin: &str, name: &str) -> String {
    format!("endpoint {plugin}/{name}")
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
        assert_eq!(Some(again.key_id.clone()), both.current());
        let alone = Sealer::of(&new).unwrap();
        assert_eq!(alone.open("x", &sealed), Err(SealError::UnknownKey(sealed.key_id.clone())));
        assert_eq!(alone.open("x", &again).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn a_running_host_follows_its_key_file() {
        let folder = std::env::temp_dir().join(format!("koban-sealing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("seal.key");
        let (old, new) = (Sealer::new_key(), Sealer::new_key());
        std::fs::write(&path, format!("{}\n", *old)).unwrap();
        let (host, other) = (Sealer::of_file(&path).unwrap(), Sealer::of(&new).unwrap());
        let before = host.seal("x", b"secret").unwrap();
        let theirs = other.seal("x", b"theirs").unwrap();
        assert_eq!(host.open("x", &theirs), Err(SealError::UnknownKey(theirs.key_id.clone())));
        let next = folder.join("next");
        std::fs::write(&next, format!("{}\n{}\n", *new, *old)).unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(host.open("x", &theirs).unwrap().as_slice(), b"theirs", "an unknown key is looked for in the file");
        assert_eq!(host.seal("x", b"secret").unwrap().key_id, theirs.key_id, "the first key of now seals");
        assert_eq!(host.open("x", &before).unwrap().as_slice(), b"secret");
        std::fs::write(&path, "nonsense\n").unwrap();
        assert_eq!(host.seal("x", b"").unwrap().key_id, theirs.key_id, "a spoilt file changes nothing");
        std::fs::remove_dir_all(&folder).unwrap();
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
