//! A plugin's package: manifest, component, documents and signature in one file, the same bytes for the same content.
//!
//! docs/reference/package.md has the format byte by byte. Reading is bounded before anything is copied, and nothing in a package is
//! trusted: what it says of itself is compared with its component, and its signature with a publisher that an operator trusts.

use crate::manifest::{Manifest, ManifestError};
use crate::records::Digest;

/// The first bytes of every package.
pub const MAGIC: &[u8] = b"koban package 1\n";
/// What is signed begins with this, so that a signature of a package is one of nothing else.
const SIGNED: &[u8] = b"koban package signature 1\n";
/// Most bytes of a package: a component of the interpreter's class, its documents and a head.
pub const PACKAGE_BYTES_MAX: usize = 50 << 20;
/// Most bytes of a manifest.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;
/// Most documents.
pub const DOCUMENTS_MAX: usize = 32;
/// Most bytes of all documents with their names.
pub const DOCUMENTS_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a document's name.
const NAME_BYTES_MAX: usize = 100;

const MANIFEST: u8 = 1;
const COMPONENT: u8 = 2;
const DOCUMENT: u8 = 3;
const SIGNATURE: u8 = 9;

/// A package as it was read or is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What the plugin asks for.
    pub manifest: Manifest,
    /// The component's bytes.
    pub component: Vec<u8>,
    /// What people read: `README.md`, `plugin.toml` as its author wrote it, a licence. Sorted by name, each name once.
    pub documents: Vec<Document>,
    /// Who vouches for all of it.
    pub signature: Option<Signature>,
}

/// A file for people. It is shown and kept, never run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Document {
    /// A plain file name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// A publisher's Ed25519 signature (RFC 8032) over [`signed_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The publisher's public key.
    pub key: [u8; 32],
    /// The signature.
    pub bytes: [u8; 64],
}

/// Why bytes are no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Larger than a package may be.
    #[error("a package has at most {PACKAGE_BYTES_MAX} bytes, and this has {0}")]
    TooLarge(usize),
    /// Something else, or a package of a later format.
    #[error("these bytes are no package of this format: give the .koban file that `koban plugin sign` writes")]
    NotAPackage,
    /// Cut off.
    #[error("the package ends in the middle of its {0}: it was cut off on its way, fetch it again")]
    CutOff(&'static str),
    /// A part is missing, stands twice or at another place.
    #[error("the package has {0}: build it again with `koban plugin sign`")]
    Order(String),
    /// A part is larger than it may be.
    #[error("the package's {part} has more than {most} bytes: make it smaller")]
    PartTooLarge {
        /// Which part.
        part: &'static str,
        /// The bound.
        most: usize,
    },
    /// A document's name could lead somewhere.
    #[error(
        "the package has a document named `{0}`: a name has 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, and does not begin with `.`"
    )]
    Name(String),
    /// The manifest is not this host's JSON of one.
    #[error("the package's manifest cannot be read: {0}; build it with a koban of this version")]
    Manifest(String),
    /// The manifest makes no sense.
    #[error("the package's manifest: {0}")]
    Senseless(#[from] ManifestError),
}

/// What a publisher signs: a word of its own, then the digest of the package's content.
pub fn signed_bytes(content: Digest) -> Vec<u8> {
    [SIGNED, &content.0].concat()
}

impl Package {
    /// The same content, unsigned: everything that a signature covers.
    pub fn content(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        // A manifest has no map with keys that are not text, the only thing that can fail here.
        part(&mut bytes, MANIFEST, &serde_json::to_vec(&self.manifest).unwrap_or_default());
        part(&mut bytes, COMPONENT, &self.component);
        let mut documents: Vec<&Document> = self.documents.iter().collect();
        documents.sort_by(|one, other| one.name.cmp(&other.name));
        for document in documents {
            let length = u8::try_from(document.name.len()).unwrap_or(u8::MAX);
            part(&mut bytes, DOCUMENT, &[&[length], document.name.as_bytes(), &document.body].concat());
        }
        bytes
    }

    /// The digest of the content: the package's identity, signed or not.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.content())
    }

    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.content();
        if let Some(signature) = &self.signature {
            part(&mut bytes, SIGNATURE, &[&signature.key[..], &signature.bytes].concat());
        }
        bytes
    }

    /// Reads a package. Errors: [`PackageError`], which names what is wrong and what to do.
    pub fn decode(bytes: &[u8]) -> Result<Package, PackageError> {
        if bytes.len() > PACKAGE_BYTES_MAX {
            return Err(PackageError::TooLarge(bytes.len()));
        }
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(PackageError::NotAPackage)?;
        let (mut manifest, mut component, mut signature) = (None, None, None);
        let mut documents: Vec<Document> = Vec::new();
        let mut room = DOCUMENTS_BYTES_MAX;
        let mut last = 0;
        while let Some((tag, body, after)) = next(rest)? {
            if tag < last || (tag == last && tag != DOCUMENT) {
                return Err(PackageError::Order(format!("part {tag} after part {last}")));
            }
            (last, rest) = (tag, after);
            match tag {
                MANIFEST => manifest = Some(body),
                COMPONENT => component = Some(body),
                DOCUMENT => {
                    room = room
                        .checked_sub(body.len())
                        .filter(|_| documents.len() < DOCUMENTS_MAX)
                        .ok_or(PackageError::PartTooLarge { part: "documents together", most: DOCUMENTS_BYTES_MAX })?;
                    let document = document(body)?;
                    if documents.last().is_some_and(|before| before.name >= document.name) {
                        return Err(PackageError::Order(format!("`{}` twice or out of order", document.name)));
                    }
                    documents.push(document);
                }
                SIGNATURE => signature = Some(read_signature(body)?),
                other => return Err(PackageError::Order(format!("a part {other}, which this format does not know"))),
            }
        }
        let missing = |what: &str| PackageError::Order(format!("no {what}"));
        let manifest = manifest.ok_or_else(|| missing("manifest"))?;
        let component = component.ok_or_else(|| missing("component"))?.to_vec();
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(PackageError::PartTooLarge { part: "manifest", most: MANIFEST_BYTES_MAX });
        }
        let manifest: Manifest =
            serde_json::from_slice(manifest).map_err(|error| PackageError::Manifest(error.to_string()))?;
        if let Some(error) = manifest.check().into_iter().next() {
            return Err(error.into());
        }
        Ok(Package { manifest, component, documents, signature })
    }
}

/// Whether a document may be called so.
pub fn is_document_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

fn part(bytes: &mut Vec<u8>, tag: u8, body: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(body);
}

type Part<'a> = (u8, &'a [u8], &'a [u8]);

/// The next part and what follows it; none at the end. Nothing is copied.
fn next(bytes: &[u8]) -> Result<Option<Part<'_>>, PackageError> {
    let Some((tag, rest)) = bytes.split_first() else { return Ok(None) };
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(PackageError::CutOff("head"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let (body, after) = rest.split_at_checked(length).ok_or(PackageError::CutOff("content"))?;
    Ok(Some((*tag, body, after)))
}

fn document(body: &[u8]) -> Result<Document, PackageError> {
    let (length, rest) = body.split_first().ok_or(PackageError::CutOff("documents"))?;
    let (name, body) = rest.split_at_checked(usize::from(*length)).ok_or(PackageError::CutOff("documents"))?;
    let name = String::from_utf8_lossy(name).into_owned();
    if !is_document_name(&name) {
        return Err(PackageError::Name(name.chars().take(120).collect()));
    }
    Ok(Document { name, body: body.to_vec() })
}

fn read_signature(body: &[u8]) -> Result<Signature, PackageError> {
    match body.split_first_chunk::<32>() {
        Some((key, bytes)) if bytes.len() == 64 => {
            let mut signature = Signature { key: *key, bytes: [0; 64] };
            signature.bytes.copy_from_slice(bytes);
            Ok(signature)
        }
        _ => Err(PackageError::Order(format!("a signature of {} bytes instead of 96", body.len()))),
    }
}
