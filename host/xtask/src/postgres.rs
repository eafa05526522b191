//! A real PostgreSQL of our own for as long as we live: a temporary directory, a free port, gone afterwards.
//!
//! The server is kept by a second process, the guard. We hold the writing end of the guard's input; when we end, however we
//! end (done, failed, Ctrl-C, killed), the system closes it, and the guard stops the server and removes its directory.

pub(crate) mod guard;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::run::{say, seconds};
use crate::{run, setup};

/// What the server is for. Durability is on for both: what is tested is what is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many small databases.
    Tests,
    /// Few large ones: more memory and a longer way between checkpoints.
    Bench,
}

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    url: String,
    guard: Child,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When no PostgreSQL is installed or it does not come up; its log is shown.
    pub(crate) fn start(purpose: Purpose) -> Result<Server> {
        let stopwatch = run::Stopwatch::start();
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let mut guard = Command::new(program)
            .args(["postgres-guard", purpose.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches everything in the terminal's group. The guard must outlive it, to clean up.
            .process_group(0)
            .spawn()
            .context("could not start the PostgreSQL guard")?;
        let mut first = String::new();
        let output = guard.stdout.take().context("a piped child has an output")?;
        BufReader::new(output).read_line(&mut first).context("the PostgreSQL guard could not be read")?;
        let server = Server { url: first.trim().to_owned(), guard };
        if server.url.is_empty() {
            bail!("the temporary PostgreSQL did not start; the lines above say why");
        }
        say(&format!("a temporary PostgreSQL answers at {} after {}", server.url, seconds(stopwatch.elapsed())));
        Ok(server)
    }

    /// `postgres://user@127.0.0.1:port/database`; the user may create databases.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The guard bounds its own ending; waiting only makes sure that nothing is left when we are gone.
        if let Err(error) = self.guard.wait() {
            eprintln!("warning: the PostgreSQL guard could not be waited for: {error}");
        }
    }
}

/// `cargo xtask postgres [bench] [-- COMMAND …]`: lends a server to a command, or to you until you press enter.
pub(crate) fn lend(arguments: &[String]) -> Result<ExitCode> {
    let (options, command) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &arguments[arguments.len()..]),
    };
    let purpose = match options {
        [] => Purpose::Tests,
        [word] => Purpose::named(word)?,
        _ => bail!("usage: cargo xtask postgres [tests|bench] [-- COMMAND …]"),
    };
    setup::postgresql()?;
    let server = Server::start(purpose)?;
    let Some((program, words)) = command.split_first() else {
        println!("press enter to stop it");
        // Any input, or its end, is as good as enter.
        let _ = std::io::stdin().read(&mut [0]);
        return Ok(ExitCode::SUCCESS);
    };
    let status = Command::new(program).args(words).env("KOBAN_TEST_POSTGRES", server.url()).status();
    let status = status.with_context(|| format!("could not start `{program}`"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Purpose::Tests => "tests",
            Purpose::Bench => "bench",
        }
    }

    fn named(word: &str) -> Result<Purpose> {
        [Purpose::Tests, Purpose::Bench]
            .into_iter()
            .find(|purpose| purpose.word() == word)
            .with_context(|| format!("a PostgreSQL is for `tests` or `bench`, not for `{word}`"))
    }
}

/// The folder with `initdb` and `postgres`: the newest version that Debian's packages left, else one on PATH.
pub(crate) fn binaries() -> Option<PathBuf> {
    let complete = |folder: &Path| ["initdb", "postgres", "createdb"].iter().all(|name| folder.join(name).is_file());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| complete(folder))
        .max_by_key(|(version, _)| *version);
    if let Some((_, folder)) = newest {
        return Some(folder);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| complete(folder))
}
