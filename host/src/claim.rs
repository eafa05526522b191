//! One host for one SQLite file: whoever serves it holds a lock beside it, which the system frees when the process ends,
//! however it ends.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::{Global, make_private};

/// The right to serve a database. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "the open file is the lock")] Option<File>);

impl Claim {
    /// Claims the SQLite file; a PostgreSQL server has as many hosts as it likes. Fails when another host serves the file, and
    /// names it.
    pub(crate) fn of(global: &Global) -> anyhow::Result<Claim> {
        let Some(database) = global.sqlite_file() else { return Ok(Claim(None)) };
        make_private(&global.data)?;
        let mut path = database.clone().into_os_string();
        path.push(".host");
        let path = Path::new(&path);
        let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file =
            open.with_context(|| format!("{} cannot be opened; is its folder there and writable?", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                bail!(
                    "another host serves {} ({holder}); one SQLite file has one host: stop that one, or move to PostgreSQL, \
                     which has as many as you like (--shared-file lets a second one in on the same machine)",
                    database.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        // Only for the message to the next one: a full disk does not keep a host from serving what it can read.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Claim(Some(file)))
    }
}
