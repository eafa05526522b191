//! Packing a plugin into one file and vouching for it with a publisher's Ed25519 key.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use koban_domain::packages::{self, Document, PACKAGE_BYTES_MAX, Package, Signature, signed_bytes};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::package::{self, PackageError};

/// What a packed plugin's file is called after its id and version.
pub const EXTENSION: &str = "koban";
/// What people read beside manifest and component, where a package's folder has it.
const DOCUMENTS: &[&str] = &["CHANGELOG.md", "LICENSE", "README.md"];
/// Bytes of a key's file: 64 hexadecimal digits, and room for a line's end.
const KEY_BYTES_MAX: u64 = 200;

/// Why a package cannot be packed, signed or read.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The package's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] PackageError),
    /// The file is no package.
    #[error("{}: {problem}", file.display())]
    NotAPackage {
        /// Which file.
        file: PathBuf,
        /// Why.
        problem: packages::PackageError,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be {what}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The key's file holds something else.
    #[error("{} holds no signing key: 64 hexadecimal digits are expected; `koban publisher keygen FILE` makes one", .0.display())]
    Key(PathBuf),
    /// There is a file already, and a key in it would be lost.
    #[error("{} is there already; a key that was lost cannot be made again: choose another file", .0.display())]
    KeyIsThere(PathBuf),
    /// The system gives no randomness.
    #[error("the system gives no random bytes for a key")]
    NoRandomness,
}

/// A publisher's signing key.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public_key())
    }
}

impl SigningKey {
    /// Makes a key and keeps it in a new file that only its owner can read (mode 0600). Errors: the file is there already, or cannot be
    /// made.
    pub fn create(file: &Path) -> Result<SigningKey, SignError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| SignError::NoRandomness)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SignError::NoRandomness)?;
        let text: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut new = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(SignError::KeyIsThere(file.to_owned()));
            }
            new => new.map_err(written(file))?,
        };
        new.write_all(format!("{text}\n").as_bytes()).and_then(|()| new.sync_all()).map_err(written(file))?;
        Ok(SigningKey(key))
    }

    /// Reads a key from its file. Errors: it cannot be read, or is no key.
    pub fn open(file: &Path) -> Result<SigningKey, SignError> {
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(read(file))?;
        opened.take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(read(file))?;
        let wrong = || SignError::Key(file.to_owned());
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut seed = [0; 32];
        for (place, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| wrong())?;
        }
        Ed25519KeyPair::from_seed_unchecked(&seed).map(SigningKey).map_err(|_| wrong())
    }

    /// The public key, 64 hexadecimal digits: what operators compare, add and trust.
    pub fn public_key(&self) -> String {
        self.0.public_key().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Puts this key's signature under a package, in place of whatever stood there.
    pub fn sign(&self, package: &mut Package) {
        let signed = self.0.sign(&signed_bytes(package.digest()));
        let mut signature = Signature { key: [0; 32], bytes: [0; 64] };
        // Both lengths are fixed by the algorithm.
        signature.key.copy_from_slice(self.0.public_key().as_ref());
        signature.bytes.copy_from_slice(signed.as_ref());
        package.signature = Some(signature);
    }
}

/// Whether a package's signature fits its content; none if it carries none. Whose key it is, an operator says.
pub fn fits(package: &Package) -> Option<bool> {
    let signature = package.signature.as_ref()?;
    let message = signed_bytes(package.digest());
    Some(UnparsedPublicKey::new(&ED25519, signature.key).verify(&message, &signature.bytes).is_ok())
}

/// Reads a package from its file, or packs the folder that `koban plugin build` wrote, with the documents that lie in it. Errors:
/// [`SignError`].
pub fn open(path: &Path) -> Result<Package, SignError> {
    if path.is_dir() {
        return Ok(pack(path)?);
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).map_err(read(path))?;
    let most = u64::try_from(PACKAGE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(most).read_to_end(&mut bytes).map_err(read(path))?;
    Package::decode(&bytes).map_err(|problem| SignError::NotAPackage { file: path.to_owned(), problem })
}

fn pack(dir: &Path) -> Result<Package, PackageError> {
    let folder = package::open(dir)?;
    let mut documents =
        vec![Document { name: crate::manifest::FILE.to_owned(), body: folder.manifest_text.into_bytes() }];
    for name in DOCUMENTS {
        if let Some(body) = package::document(dir, name)? {
            documents.push(Document { name: (*name).to_owned(), body });
        }
    }
    documents.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Package { manifest: folder.manifest, component: folder.component, documents, signature: None })
}

/// Writes a package to its file, whole or not at all. Errors: [`SignError::File`].
pub fn write(package: &Package, file: &Path) -> Result<(), SignError> {
    let draft = file.with_extension("koban-new");
    let save = || std::fs::write(&draft, package.encode()).and_then(|()| std::fs::rename(&draft, file));
    save().map_err(|source| {
        let _ = std::fs::remove_file(&draft);
        written(file)(source)
    })
}

fn read(file: &Path) -> impl Fn(io::Error) -> SignError + '_ {
    |source| SignError::File { file: file.to_owned(), what: "read", source }
}

fn written(file: &Path) -> impl Fn(io::Error) -> SignError + '_ {
    |source| SignError::File { file: file.to_owned(), what: "written", source }
}
