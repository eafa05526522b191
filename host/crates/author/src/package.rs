//! A plugin's package: a directory with `plugin.toml` and `component.wasm`, read through a handle that cannot leave it.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use koban_domain::manifest::Manifest;
use koban_domain::packages::DOCUMENTS_BYTES_MAX;
use koban_domain::records::Digest;

use crate::check::{CheckError, Checked, check};
use crate::manifest::{self, ReadError};

/// The component's file.
pub const COMPONENT_FILE: &str = "component.wasm";
/// Largest manifest: 256 KiB.
const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// A package as it was read; nothing in it is trusted before [`Package::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What the plugin asks for.
    pub manifest: Manifest,
    /// The manifest as its author wrote it.
    pub manifest_text: String,
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The component's digest.
    pub digest: Digest,
}

impl Package {
    /// Whether component and manifest belong together and ask for nothing that plugins do not get. Errors: everything that is wrong.
    pub fn check(&self) -> Result<Checked, Vec<CheckError>> {
        check(&self.component, &self.manifest)
    }
}

/// Why a package cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The directory is not there or not readable.
    #[error("the package directory {} cannot be opened: give the directory that `koban plugin build` writes", dir.display())]
    Directory {
        /// Which one.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of the two files is missing, leads out of the directory or is no plain file.
    #[error("{file} in {} cannot be read: a package has {} and {COMPONENT_FILE} as plain files", dir.display(), manifest::FILE)]
    File {
        /// Which one.
        file: &'static str,
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than it may be.
    #[error("{file} in {} is larger than {most} bytes: make it smaller", dir.display())]
    TooLarge {
        /// Which one.
        file: &'static str,
        /// Where.
        dir: PathBuf,
        /// The bound.
        most: usize,
    },
    /// The manifest is not text.
    #[error("{} in {} is not UTF-8: save it as UTF-8", manifest::FILE, dir.display())]
    NotText {
        /// Where.
        dir: PathBuf,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ReadError),
    /// The package cannot be written.
    #[error("the package {} cannot be written: make its directory writable, or choose another with --out", dir.display())]
    Write {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a package from its directory. Links that lead out of it are not followed. Errors: [`PackageError`].
pub fn open(dir: &Path) -> Result<Package, PackageError> {
    let handle = Dir::open_ambient_dir(dir, ambient_authority())
        .map_err(|source| PackageError::Directory { dir: dir.to_owned(), source })?;
    let text = read(&handle, dir, manifest::FILE, MANIFEST_BYTES_MAX)?;
    let manifest_text = String::from_utf8(text).map_err(|_| PackageError::NotText { dir: dir.to_owned() })?;
    let manifest = manifest::read(&manifest_text)?;
    let component = read(&handle, dir, COMPONENT_FILE, manifest.engine.component_bytes_max())?;
    let digest = Digest::of(&component);
    Ok(Package { manifest, manifest_text, component, digest })
}

/// A document of a package's directory; none if it is not there. Errors: [`PackageError`].
pub(crate) fn document(dir: &Path, file: &'static str) -> Result<Option<Vec<u8>>, PackageError> {
    if !dir.join(file).exists() {
        return Ok(None);
    }
    let handle = Dir::open_ambient_dir(dir, ambient_authority())
        .map_err(|source| PackageError::Directory { dir: dir.to_owned(), source })?;
    read(&handle, dir, file, DOCUMENTS_BYTES_MAX).map(Some)
}

/// The manifest of a plugin's source directory, with its text. Errors: [`PackageError`].
pub(crate) fn open_source(dir: &Path) -> Result<(Manifest, String), PackageError> {
    let handle = Dir::open_ambient_dir(dir, ambient_authority())
        .map_err(|source| PackageError::Directory { dir: dir.to_owned(), source })?;
    let text = read(&handle, dir, manifest::FILE, MANIFEST_BYTES_MAX)?;
    let text = String::from_utf8(text).map_err(|_| PackageError::NotText { dir: dir.to_owned() })?;
    Ok((manifest::read(&text)?, text))
}

/// Writes a package as `<out>/<id>/`; each file whole or not at all. Returns its directory. Errors: [`PackageError::Write`].
pub(crate) fn write(out: &Path, id: &str, manifest_text: &str, component: &[u8]) -> Result<PathBuf, PackageError> {
    let dir = out.join(id);
    let written = || -> io::Result<()> {
        std::fs::create_dir_all(&dir)?;
        let handle = Dir::open_ambient_dir(&dir, ambient_authority())?;
        write_file(&handle, COMPONENT_FILE, component)?;
        write_file(&handle, manifest::FILE, manifest_text.as_bytes())
    };
    match written() {
        Ok(()) => Ok(dir),
        Err(source) => Err(PackageError::Write { dir, source }),
    }
}

fn write_file(dir: &Dir, file: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!(".{file}.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    dir.open_with(&temporary, &options)?.write_all(bytes)?;
    dir.rename(&temporary, dir, file)
}

fn read(handle: &Dir, dir: &Path, file: &'static str, most: usize) -> Result<Vec<u8>, PackageError> {
    let unreadable = |source: io::Error| PackageError::File { file, dir: dir.to_owned(), source };
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !handle.metadata(file).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a plain file")));
    }
    let opened = handle.open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(bound).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err(PackageError::TooLarge { file, dir: dir.to_owned(), most });
    }
    Ok(bytes)
}
