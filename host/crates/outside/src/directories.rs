//! Directories shared with partners, through capabilities: nothing outside the one directory that the operator gave can be named, whatever a name says.
//!
//! It is opened for each look and each file, so that one that was away, such as a disk of another machine, serves again when it is back.
//! A file goes out whole or not at all: written beside its place, synced, renamed, the directory synced. What stands there already with the same bytes is
//! ours from before a crash; with other bytes it is somebody else's and is left alone. What comes in is read only if it is a plain file.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, OpenOptions, OpenOptionsExt as _};
use koban_domain::manifest::is_file_name;
use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;

/// The directory of all partners. Blocking: call it away from the async workers.
#[derive(Clone, Debug)]
pub struct Directories(Option<PathBuf>);

/// A file that lies in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// When it was last written, as the file system says: to be compared and not to be read.
    pub stamp: i128,
}

/// What lies in the place of a file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Exactly what was written.
    Same,
    /// Something else: somebody changed it.
    Other,
    /// Nothing: its partner has taken it.
    Nothing,
}

/// Why nothing was written or read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The host was started without a directory for partners.
    #[error("this host has no directory for partners' files; start it with --partner-files DIR")]
    None,
    /// The directory that the operator gave is not there.
    #[error(
        "the directory of partners' files {path} cannot be opened: {source}; is it mounted, and may this user write there?"
    )]
    Root {
        /// Where it should be.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A name that is no plain file name.
    #[error("`{0}` is not a name for a file in a shared directory")]
    Name(String),
    /// Something that is no plain file: a link, a directory, a device, a pipe.
    #[error("`{0}` is not a plain file; take it away")]
    NotPlain(String),
    /// Another file of this name lies there.
    #[error("another file named `{0}` lies there, which is not ours; it is never overwritten. Move it away")]
    Taken(String),
    /// More than a partner's file may have.
    #[error("`{name}` has more than {limit} bytes")]
    TooLong {
        /// Its name.
        name: String,
        /// The bound.
        limit: u64,
    },
    /// The file system says no.
    #[error("the shared directory cannot be used: {0}")]
    Io(#[from] std::io::Error),
}

/// Most files of a directory that one look sees.
const LISTED_MAX: usize = 1_000;

impl Directories {
    /// Over the directory that the operator gave, or none at all.
    pub fn new(root: Option<PathBuf>) -> Directories {
        Directories(root)
    }

    /// Whether the directory that the operator gave can be read and written. Changes nothing.
    pub fn check(&self) -> Result<(), DirectoryError> {
        let path = self.0.as_ref().ok_or(DirectoryError::None)?;
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        let open = Dir::open_ambient_dir(path, ambient_authority()).map(drop);
        open.and_then(|()| Ok(rustix::fs::access(path, access)?))
            .map_err(|source| DirectoryError::Root { path: path.display().to_string(), source })
    }

    /// A partner's directory, made if it is not there. Every part of the way must be a directory and no link.
    fn of(&self, way: [&str; 3]) -> Result<Dir, DirectoryError> {
        self.on(way, true)
    }

    fn on(&self, way: [&str; 3], makes: bool) -> Result<Dir, DirectoryError> {
        let path = self.0.as_ref().ok_or(DirectoryError::None)?;
        let mut dir = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|source| DirectoryError::Root { path: path.display().to_string(), source })?;
        for part in way {
            if !is_file_name(part) {
                return Err(DirectoryError::Name(part.to_owned()));
            }
            if makes {
                match dir.create_dir_with(part, &DirBuilder::new()) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
                    _ => {}
                }
            }
            if !dir.symlink_metadata(part)?.is_dir() {
                return Err(DirectoryError::NotPlain(part.to_owned()));
            }
            dir = dir.open_dir(part)?;
        }
        Ok(dir)
    }

    /// Writes a file for a partner: `out` below the plugin's directory. Done again with the same bytes it changes nothing. `draft` is a word of the
    /// caller's own for what is not whole yet: hosts must not share one.
    pub fn write(
        &self,
        (plugin, directory): (&str, &str),
        name: &str,
        draft: &str,
        content: &[u8],
    ) -> Result<(), DirectoryError> {
        let dir = self.of([plugin, directory, "out"])?;
        if !is_file_name(name) || !is_file_name(draft) {
            return Err(DirectoryError::Name(name.to_owned()));
        }
        if !lies_there(&dir, name, content)? {
            let draft = format!(".{name}.{draft}.part");
            let placed = write_draft(&dir, &draft, content).and_then(|()| place(&dir, &draft, name, content));
            if placed.is_err() {
                // Nothing of it stays; what cannot be taken away now is taken away with the next success.
                let _ = dir.remove_file(&draft);
            }
            placed?;
        }
        // Also when it lay there: whoever put it there may not have come so far.
        sync(&dir)?;
        clear_drafts(&dir, name)
    }

    /// What lies in the place of a file that was written with this content. Changes nothing.
    pub fn look(&self, (plugin, directory): (&str, &str), name: &str, content: &[u8]) -> Result<Lies, DirectoryError> {
        let dir = match self.on([plugin, directory, "out"], false) {
            Err(DirectoryError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(Lies::Nothing),
            dir => dir?,
        };
        if !is_file_name(name) {
            return Err(DirectoryError::Name(name.to_owned()));
        }
        match lies_there(&dir, name, content) {
            Ok(true) => Ok(Lies::Same),
            Ok(false) => Ok(Lies::Nothing),
            Err(DirectoryError::Taken(_) | DirectoryError::NotPlain(_)) => Ok(Lies::Other),
            Err(error) => Err(error),
        }
    }

    /// The plain files in the directory where a partner puts its own: `in` below the plugin's directory. Hidden files, links, devices and names that are
    /// none of a file's are not among them.
    pub fn list(&self, (plugin, directory): (&str, &str)) -> Result<Vec<Listed>, DirectoryError> {
        let dir = self.of([plugin, directory, "in"])?;
        let mut listed = Vec::new();
        for entry in dir.entries()?.take(LISTED_MAX) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_file_name(&name) {
                continue;
            }
            let Ok(metadata) = dir.symlink_metadata(&name) else { continue };
            if !metadata.is_file() {
                continue;
            }
            listed.push(Listed { name, size: metadata.len(), stamp: stamp(&metadata) });
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Reads a file that a partner has put there.
    pub fn read(&self, (plugin, directory): (&str, &str), name: &str, limit: u64) -> Result<Vec<u8>, DirectoryError> {
        let dir = self.of([plugin, directory, "in"])?;
        if !is_file_name(name) {
            return Err(DirectoryError::Name(name.to_owned()));
        }
        if !dir.symlink_metadata(name)?.is_file() {
            return Err(DirectoryError::NotPlain(name.to_owned()));
        }
        read(&dir, name, limit)
    }
}

/// Whether exactly this lies there already. Errors: something else does.
fn lies_there(dir: &Dir, name: &str, content: &[u8]) -> Result<bool, DirectoryError> {
    match dir.symlink_metadata(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
        Ok(metadata) if !metadata.is_file() => Err(DirectoryError::NotPlain(name.to_owned())),
        Ok(metadata) if metadata.len() != content.len() as u64 => Err(DirectoryError::Taken(name.to_owned())),
        Ok(_) if read(dir, name, content.len() as u64)? == content => Ok(true),
        Ok(_) => Err(DirectoryError::Taken(name.to_owned())),
    }
}

fn write_draft(dir: &Dir, draft: &str, content: &[u8]) -> Result<(), DirectoryError> {
    // Ours from before a crash, if it is there.
    match dir.remove_file(draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640).custom_flags(flags());
    let mut file = dir.open_with(draft, &options)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(())
}

/// Syncs the directory itself. A capability may be a mere path, which cannot be synced, so that it is opened for reading.
fn sync(dir: &Dir) -> Result<(), DirectoryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::openat(dir, ".", flags, rustix::fs::Mode::empty()).map_err(std::io::Error::from)?;
    rustix::fs::fsync(open).map_err(std::io::Error::from)?;
    Ok(())
}

/// Gives a whole draft its name; never over what somebody has put there meanwhile.
fn place(dir: &Dir, draft: &str, name: &str, content: &[u8]) -> Result<(), DirectoryError> {
    let renamed = match rustix::fs::renameat_with(dir, draft, dir, name, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it: looked at once more, then renamed.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !lies_there(dir, name, content)? => {
            rustix::fs::renameat(dir, draft, dir, name)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(Errno::EXIST),
        renamed => renamed,
    };
    match renamed {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if lies_there(dir, name, content)? => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

/// Takes away what hosts that are gone have left of this file, half written or not renamed. A host that is just writing it finds the whole file next.
fn clear_drafts(dir: &Dir, name: &str) -> Result<(), DirectoryError> {
    let begins = format!(".{name}.");
    for entry in dir.entries()?.take(LISTED_MAX) {
        let Ok(left) = entry?.file_name().into_string() else { continue };
        if left.starts_with(&begins) && left.ends_with(".part") {
            match dir.remove_file(&left) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

fn stamp(metadata: &cap_std::fs::Metadata) -> i128 {
    use cap_std::fs::MetadataExt as _;
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// Not through a link that took the file's place since it was looked at, and not waiting at a pipe that did.
fn flags() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn read(dir: &Dir, name: &str, limit: u64) -> Result<Vec<u8>, DirectoryError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags());
    let file = dir.open_with(name, &options)?;
    if !file.metadata()?.is_file() {
        return Err(DirectoryError::NotPlain(name.to_owned()));
    }
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(DirectoryError::TooLong { name: name.to_owned(), limit });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A directory of the test's own, with a secret beside it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let place = std::env::temp_dir().join(format!("koban-directories-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(place.join("root")).unwrap();
            std::fs::write(place.join("secret"), "secret").unwrap();
            Place(place)
        }

        fn directories(&self) -> Directories {
            Directories::new(Some(self.0.join("root")))
        }

        fn at(&self, rest: &str) -> PathBuf {
            self.0.join("root").join(rest)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const BANK: (&str, &str) = ("charge-bank", "bank");

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_goes_out_whole_once_and_again_without_effect() {
        let place = Place::new("out");
        let directories = place.directories();
        // What a crash left behind.
        std::fs::create_dir_all(place.at("charge-bank/bank/out")).unwrap();
        std::fs::write(place.at("charge-bank/bank/out/.debit-1.txt.host-1.part"), "half").unwrap();
        std::fs::write(place.at("charge-bank/bank/out/.debit-1.txt.host-0.part"), "ha").unwrap();
        for _ in 0..2 {
            directories.write(BANK, "debit-1.txt", "host-1", b"content").unwrap();
        }
        assert_eq!(std::fs::read(place.at("charge-bank/bank/out/debit-1.txt")).unwrap(), b"content");
        assert_eq!(names(&place.at("charge-bank/bank/out")), ["debit-1.txt"]);
        for other in [&b"Content"[..], b"longer content"] {
            let error = directories.write(BANK, "debit-1.txt", "host-1", other).unwrap_err();
            assert!(matches!(error, DirectoryError::Taken(_)), "{error}");
        }
        assert_eq!(std::fs::read(place.at("charge-bank/bank/out/debit-1.txt")).unwrap(), b"content");
    }

    #[test]
    fn no_name_and_no_link_leads_out_of_the_directory() {
        let place = Place::new("escape");
        let directories = place.directories();
        for name in ["../secret", "..", ".", "/etc/passwd", "a/b", ".hidden", "", "a\0b"] {
            assert!(matches!(directories.write(BANK, name, "host-1", b"x"), Err(DirectoryError::Name(_))), "{name}");
            assert!(matches!(directories.read(BANK, name, 10), Err(DirectoryError::Name(_))), "{name}");
            assert!(
                matches!(directories.write((name, "bank"), "a", "host-1", b"x"), Err(DirectoryError::Name(_))),
                "{name}"
            );
        }
        directories.list(BANK).unwrap();
        let inside = place.at("charge-bank/bank/in");
        symlink(place.0.join("secret"), inside.join("link.txt")).unwrap();
        symlink("../../../../secret", inside.join("relative.txt")).unwrap();
        std::fs::write(inside.join("plain.txt"), "plain").unwrap();
        symlink("plain.txt", inside.join("near.txt")).unwrap();
        std::fs::create_dir(inside.join("folder.txt")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe.txt"), 0o600.into()).unwrap();
        let listed: Vec<String> = directories.list(BANK).unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(listed, ["plain.txt"]);
        for name in ["link.txt", "relative.txt", "near.txt", "folder.txt", "pipe.txt"] {
            let error = directories.read(BANK, name, 10).unwrap_err();
            assert!(matches!(error, DirectoryError::NotPlain(_)), "{name}: {error}");
        }
        assert_eq!(directories.read(BANK, "plain.txt", 5).unwrap(), b"plain");
        assert!(matches!(directories.read(BANK, "plain.txt", 4), Err(DirectoryError::TooLong { .. })));
        // A directory that is a link is not gone through, and what goes out does not follow one either.
        std::fs::create_dir_all(place.at("other-bank")).unwrap();
        symlink(&place.0, place.at("other-bank/bank")).unwrap();
        let error = directories.write(("other-bank", "bank"), "a.txt", "host-1", b"x").unwrap_err();
        assert!(matches!(error, DirectoryError::NotPlain(_)), "{error}");
        directories.write(BANK, "first.txt", "host-1", b"x").unwrap();
        symlink(place.0.join("secret"), place.at("charge-bank/bank/out/debit.txt")).unwrap();
        let error = directories.write(BANK, "debit.txt", "host-1", b"x").unwrap_err();
        assert!(matches!(error, DirectoryError::NotPlain(_)), "{error}");
        assert_eq!(std::fs::read(place.0.join("secret")).unwrap(), b"secret");
    }

    #[test]
    fn what_somebody_did_to_a_file_is_seen() {
        let place = Place::new("look");
        let directories = place.directories();
        let look = || directories.look(BANK, "debit-1.txt", b"content").unwrap();
        assert_eq!(look(), Lies::Nothing);
        directories.write(BANK, "debit-1.txt", "host-1", b"content").unwrap();
        assert_eq!(look(), Lies::Same);
        let path = place.at("charge-bank/bank/out/debit-1.txt");
        std::fs::write(&path, "Content").unwrap();
        assert_eq!(look(), Lies::Other);
        std::fs::remove_file(&path).unwrap();
        symlink(place.0.join("secret"), &path).unwrap();
        assert_eq!(look(), Lies::Other);
    }

    #[test]
    fn two_hosts_that_write_the_same_file_leave_it_once_and_whole() {
        let place = Place::new("two");
        let content = vec![b'x'; 300_000];
        for round in 0..20 {
            let name = format!("debit-{round}.txt");
            std::thread::scope(|scope| {
                for host in ["host-1", "host-2"] {
                    let (directories, name, content) = (place.directories(), &name, &content);
                    // The other one may take a draft away; the next try finds the whole file.
                    scope.spawn(move || {
                        if directories.write(BANK, name, host, content).is_err() {
                            directories.write(BANK, name, host, content).unwrap();
                        }
                    });
                }
            });
            assert_eq!(std::fs::read(place.at("charge-bank/bank/out").join(&name)).unwrap(), content);
        }
        assert_eq!(names(&place.at("charge-bank/bank/out")).len(), 20, "no draft is left");
    }

    #[test]
    fn a_directory_that_vanishes_is_made_again_and_one_that_cannot_be_made_is_named() {
        let place = Place::new("gone");
        let directories = place.directories();
        directories.write(BANK, "debit-1.txt", "host-1", b"content").unwrap();
        std::fs::remove_dir_all(place.at("charge-bank")).unwrap();
        directories.write(BANK, "debit-1.txt", "host-1", b"content").unwrap();
        assert_eq!(std::fs::read(place.at("charge-bank/bank/out/debit-1.txt")).unwrap(), b"content");
        // What the operator gave is gone: it is not made anew in another place, and serves again when it is back.
        std::fs::remove_dir_all(place.at("")).unwrap();
        let error = directories.write(BANK, "debit-2.txt", "host-1", b"content").unwrap_err();
        assert!(error.to_string().contains("is it mounted"), "{error}");
        assert!(!place.at("").exists());
        std::fs::create_dir_all(place.at("")).unwrap();
        directories.write(BANK, "debit-2.txt", "host-1", b"content").unwrap();
        // A file in the place of a directory.
        let place = Place::new("blocked");
        std::fs::write(place.at("charge-bank"), "no directory").unwrap();
        let error = place.directories().write(BANK, "debit-1.txt", "host-1", b"content").unwrap_err();
        assert!(matches!(error, DirectoryError::NotPlain(_)), "{error}");
    }

    #[test]
    fn without_a_directory_it_is_said_how_to_give_one() {
        let error = Directories::new(None).list(BANK).unwrap_err().to_string();
        assert!(error.contains("--partner-files"), "{error}");
    }
}
