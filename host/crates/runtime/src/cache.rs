//! Compiled code kept beside the host: loading it takes a fraction of a millisecond, compiling a fraction of a second.
//!
//! Loading machine code trusts it. So each file carries a MAC under a key that only this host reads, over the component, the engine and the
//! code; it is verified over the very bytes that are then loaded. A changed byte is found, named, and the component compiled again.
//!
//! File: the line `koban code 1`, 32 bytes of HMAC-SHA256, then the code as wasmtime writes it.

use std::io::{self, Read as _, Write as _};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use koban_domain::records::Digest;
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

/// First bytes of every file.
const MAGIC: &[u8] = b"koban code 1\n";
/// Where code begins.
const HEAD_BYTES: usize = MAGIC.len() + 32;
/// Compiled code is about four times its component; more than this was not written by us.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The file that holds the host's key.
const KEY_FILE: &str = "cache.key";

/// What the cache had to say about a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheUse {
    /// There is no cache.
    Off,
    /// The code was there and sound.
    Hit,
    /// The code was not there; it was compiled, and kept if the file could be written.
    Compiled,
    /// The code was there and not what this host had written; it was compiled again.
    Repaired {
        /// The file's name in the cache's directory.
        file: String,
        /// What was wrong with it.
        problem: String,
    },
}

/// A directory of compiled code with its key.
pub(crate) struct Cache {
    dir: Dir,
    key: [u8; 32],
    compiled_for: Digest,
}

impl Cache {
    /// Opens the cache in this directory; the first time, makes its key. Errors: the directory cannot be read or written.
    pub(crate) fn open(dir: Dir, compiled_for: Digest) -> io::Result<Cache> {
        let key = match read_key(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key(&dir)?;
                read_key(&dir)?
            }
            key => key?,
        };
        Ok(Cache { dir, key, compiled_for })
    }

    /// The compiled component, from its file or from `compile`, which gives the code. A cache that does not work costs time, never a
    /// component. Errors: those of `compile`.
    pub(crate) fn component<E: From<wasmtime::Error>>(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(Component, CacheUse), E> {
        let file = format!("{digest}-{}.cwasm", &self.compiled_for.to_string()[..16]);
        let outcome = match self.read(engine, &file, digest) {
            Ok(Some(component)) => return Ok((component, CacheUse::Hit)),
            Ok(None) => CacheUse::Compiled,
            Err(problem) => {
                tracing::warn!(%file, %problem, "compiled code in the cache is not what this host wrote: compiling again");
                CacheUse::Repaired { file: file.clone(), problem }
            }
        };
        let code = compile()?;
        // Loaded from the very bytes that are kept: what is found in the file next time is what runs now.
        let component = load_ours(engine, &code)?;
        if let Err(error) = self.write(&file, digest, &code) {
            tracing::warn!(%file, %error, "compiled code could not be kept: check the cache directory");
        }
        Ok((component, outcome))
    }

    fn read(&self, engine: &Engine, file: &str, digest: Digest) -> Result<Option<Component>, String> {
        let bytes = match read_bounded(&self.dir, file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if bytes.len() < HEAD_BYTES || !bytes.starts_with(MAGIC) {
            return Err("its head is damaged".into());
        }
        let (mac, code) = (&bytes[MAGIC.len()..HEAD_BYTES], &bytes[HEAD_BYTES..]);
        if self.mac(digest, code).verify_slice(mac).is_err() {
            return Err(format!("its code has digest {}, which this host did not write", Digest::of(code)));
        }
        load_ours(engine, code).map(Some).map_err(|error| error.root_cause().to_string())
    }

    /// Writes a file whole or not at all: another host that shares the directory never reads half of it.
    fn write(&self, file: &str, digest: Digest, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).finalize().into_bytes();
        let temporary = format!("{file}.{}.new", random_name()?);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = self.dir.open_with(&temporary, &options).and_then(|mut new| {
            new.write_all(MAGIC)?;
            new.write_all(&mac)?;
            new.write_all(code)?;
            self.dir.rename(&temporary, &self.dir, file)
        });
        if written.is_err() {
            // Nothing to keep; what cannot be removed either is overwritten by nobody and read by nobody.
            let _ = self.dir.remove_file(&temporary);
        }
        written
    }

    fn mac(&self, digest: Digest, code: &[u8]) -> Hmac<Sha256> {
        // The first half of the block is the key, the rest stays zero: what HMAC does with a key of 32 bytes (RFC 2104).
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(&digest.0);
        mac.update(&self.compiled_for.0);
        mac.update(code);
        mac
    }
}

/// Loads code that our own compiler made: just now, or before, and then its MAC has just been verified over these same bytes.
#[expect(unsafe_code, reason = "wasmtime trusts what it loads; the caller has it from our own compiler")]
pub(crate) fn load_ours(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was made by our own program's compiler, of this version, for this engine, and is in memory: nobody can change it
    // between check and use. wasmtime itself compares version and settings.
    unsafe { Component::deserialize(engine, code) }
}

fn read_bounded(dir: &Dir, file: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

fn read_key(dir: &Dir) -> io::Result<[u8; 32]> {
    let bytes = read_bounded(dir, KEY_FILE)?;
    bytes.try_into().map_err(|_| io::Error::other(format!("`{KEY_FILE}` has not 32 bytes: remove it to get a new one")))
}

/// Makes the key under another name first, so that nobody reads half a key; of two hosts that do this at once, the first one's key stays.
fn make_key(dir: &Dir) -> io::Result<()> {
    let key: [u8; 32] = random()?;
    let temporary = format!("{KEY_FILE}.{}.new", random_name()?);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    dir.open_with(&temporary, &options)?.write_all(&key)?;
    let linked = dir.hard_link(&temporary, dir, KEY_FILE);
    dir.remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn random_name() -> io::Result<String> {
    random::<8>().map(hex::encode)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a secret of this host's files, which no decision and no record ever sees"
)]
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
