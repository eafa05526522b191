//! A disk that fails on command, under the process that is told to use it: `disk.c` says how.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Folder;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ill {
    /// Nothing may grow.
    Full,
    /// Nothing may be written.
    ReadOnly,
    /// A sync fails.
    Unsynced,
    /// A sync takes 30 ms more.
    Slow,
}

/// The files under one path. Well until told otherwise.
pub(crate) struct Disk {
    under: PathBuf,
    control: PathBuf,
    library: PathBuf,
    _folder: Folder,
}

impl Disk {
    /// Files whose path begins like this.
    pub(crate) fn under(path: &Path) -> Disk {
        let folder = Folder::new();
        // Also a server that runs as another user reads the word.
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).expect("the folder can be entered");
        let library = library(folder.path());
        Disk { under: path.to_owned(), control: folder.path().join("mode"), library, _folder: folder }
    }

    /// From now on it is ill in this way.
    pub(crate) fn is(&self, ill: Ill) {
        let word = match ill {
            Ill::Full => "full",
            Ill::ReadOnly => "readonly",
            Ill::Unsynced => "unsynced",
            Ill::Slow => "slow",
        };
        std::fs::write(&self.control, word).expect("the word is written");
    }

    /// From now on it is well.
    pub(crate) fn is_well(&self) {
        // Written over, not removed: whoever reads meanwhile reads a word or nothing.
        std::fs::write(&self.control, "").expect("the word is taken back");
    }

    /// What a process gets in its environment, so that this is its disk.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("KOBAN_TEST_DISK_UNDER", self.under.clone().into()),
            ("KOBAN_TEST_DISK_MODE", self.control.clone().into()),
        ]
    }
}

/// `disk.c`, compiled. The C compiler is the one that SQLite needs, too.
fn library(folder: &Path) -> PathBuf {
    let source = super::root().join("tests/it/harness/disk.c");
    let library = folder.join("disk.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    let output = command.output().expect("a C compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
