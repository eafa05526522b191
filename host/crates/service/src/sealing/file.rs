//! The file with the host's seal keys: read, and changed whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{SealError, Sealer};
use crate::error::Error;

/// How a file looked: another file, another time of change or another length is another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    seconds: i64,
    nanos: i64,
    bytes: u64,
}

impl Stamp {
    pub(super) fn of(file: &Path) -> Option<Stamp> {
        let seen = std::fs::metadata(file).ok()?;
        Some(Stamp { inode: seen.ino(), seconds: seen.mtime(), nanos: seen.mtime_nsec(), bytes: seen.len() })
    }
}

/// The text of a key file.
pub(super) fn text(file: &Path) -> Result<Zeroizing<String>, SealError> {
    let read = std::fs::read_to_string(file).map(Zeroizing::new);
    read.map_err(|error| SealError::Unreadable { file: file.display().to_string(), problem: error.to_string() })
}

/// The key in a line, if it holds one: not an empty line, not a note behind `#`.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then_some(line)
}

/// A key file that only one `koban key` changes at a time.
#[derive(Debug)]
pub struct KeyFile {
    file: PathBuf,
    // Unlocked when it is closed, however the process ends.
    _lock: File,
}

/// A key and its id. The key is wiped when it is dropped.
struct Key {
    id: String,
    line: Zeroizing<String>,
}

impl KeyFile {
    /// Takes the file for changes. Errors: another `koban key` is at work, or the file cannot be read.
    pub fn take(file: &Path) -> Result<KeyFile, Error> {
        let unusable =
            |error: std::io::Error| Error::Conflict(format!("{} cannot be changed: {error}", file.display()));
        let lock = beside(file, "lock");
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock).map_err(unusable)?;
        lock.try_lock().map_err(|_| {
            Error::Conflict(format!("another `koban key` is changing {}; wait until it has ended", file.display()))
        })?;
        let taken = KeyFile { file: file.to_owned(), _lock: lock };
        taken.keys()?;
        Ok(taken)
    }

    /// The ids, the one that seals first.
    pub fn ids(&self) -> Result<Vec<String>, Error> {
        Ok(self.keys()?.into_iter().map(|key| key.id).collect())
    }

    /// A new key behind all others: it opens and does not seal yet. Answers its id.
    pub fn add(&self) -> Result<String, Error> {
        let mut keys = self.keys()?;
        let line = Sealer::new_key();
        let id = id_of(&line)?;
        keys.push(Key { id: id.clone(), line });
        self.write(&keys)?;
        Ok(id)
    }

    /// Puts a key first: from now on it seals. Errors: the file has no such key.
    pub fn put_first(&self, id: &str) -> Result<(), Error> {
        let mut keys = self.keys()?;
        let place = place_of(&keys, id)?;
        if place == 0 {
            return Ok(());
        }
        let key = keys.remove(place);
        keys.insert(0, key);
        self.write(&keys)
    }

    /// Takes a key away. Errors: it seals, or the file has no such key.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let mut keys = self.keys()?;
        if place_of(&keys, id)? == 0 {
            return Err(Error::Conflict(
                "this key seals; `koban key rotate` puts another in its place first".to_owned(),
            ));
        }
        keys.retain(|key| key.id != id);
        self.write(&keys)
    }

    fn keys(&self) -> Result<Vec<Key>, Error> {
        let text = text(&self.file).map_err(wrong)?;
        // All of it must be good before any of it is changed.
        Sealer::of(&text).map_err(wrong)?;
        let lines = text.lines().filter_map(key_of);
        lines.map(|line| Ok(Key { id: id_of(line)?, line: Zeroizing::new(line.to_owned()) })).collect()
    }

    /// Writes beside the file, syncs, and moves it into place: a crash leaves the old text or the new one.
    fn write(&self, keys: &[Key]) -> Result<(), Error> {
        let mut text = Zeroizing::new(String::from("# seal keys of Koban: the first seals, all open\n"));
        for key in keys {
            text.push_str(&key.line);
            text.push('\n');
        }
        Sealer::of(&text).map_err(wrong)?;
        let draft = beside(&self.file, "new");
        let write = || -> std::io::Result<()> {
            let _ = std::fs::remove_file(&draft);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.file)?;
            let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| Error::Conflict(format!("{} cannot be written: {error}", self.file.display())))
    }
}

fn place_of(keys: &[Key], id: &str) -> Result<usize, Error> {
    keys.iter().position(|key| key.id == id).ok_or(Error::NotFound("seal key"))
}

fn id_of(line: &str) -> Result<String, Error> {
    let id = Sealer::of(line).map_err(wrong)?.current();
    id.ok_or_else(|| wrong(SealError::NoKey))
}

fn wrong(error: SealError) -> Error {
    Error::Conflict(error.to_string())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
