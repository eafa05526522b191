//! The process that keeps the temporary PostgreSQL: sets it up, names its address, waits for its owner's end, cleans up.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Purpose, binaries};
use crate::apt::is_root;
use crate::run::{answer, run, succeeds};

const STEP: Duration = Duration::from_millis(50);
const START_STEPS: u32 = 600; // 30 s
const STOP_STEPS: u32 = 200; // 10 s for each way of asking
const PORT_ATTEMPTS: u32 = 5;

/// Prints the server's address as its only line, then lives until its input ends.
pub(crate) fn guard(arguments: &[String]) -> Result<ExitCode> {
    let [word] = arguments else { bail!("the guard is started by the other chores") };
    let purpose = Purpose::named(word)?;
    let site = Site::create()?;
    let served = serve(&site, purpose);
    if served.is_err() {
        site.show_log();
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

fn serve(site: &Site, purpose: Purpose) -> Result<()> {
    site.init()?;
    let server = Running::start(site, purpose)?;
    run(&mut site.client("createdb", server.port, &["koban"]))?;
    let mut output = std::io::stdout();
    writeln!(output, "postgres://koban@127.0.0.1:{}/koban", server.port)?;
    output.flush()?;
    // The owner never writes: reading ends when the owner does.
    std::io::stdin().read_to_end(&mut Vec::new()).context("the guard lost its owner's pipe")?;
    Ok(())
}

/// A directory of the server's own and the user it runs as. Dropping it removes the directory.
struct Site {
    folder: PathBuf,
    programs: PathBuf,
    /// User and group numbers to run as; PostgreSQL refuses to run as root.
    user: Option<(String, String)>,
}

impl Site {
    fn create() -> Result<Site> {
        let programs = binaries().context("no PostgreSQL is installed: `apt-get install postgresql`")?;
        let user = if is_root() { Some(unprivileged_user()?) } else { None };
        let folder = home().join(format!("koban-postgres-{}", std::process::id()));
        let site = Site { folder, programs, user };
        // Made by the server's user, so that it is the owner.
        run(site.as_user(Path::new("mkdir")).arg("-m").arg("700").arg(&site.folder).current_dir("/")).context(
            "no directory for a temporary PostgreSQL: name one that every user may write to in KOBAN_POSTGRES_HOME",
        )?;
        Ok(site)
    }

    fn init(&self) -> Result<()> {
        let mut command = self.program("initdb");
        command.arg("-D").arg(self.data()).args(["-U", "koban", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        // Trust is for this loopback and this 0700 socket; --no-sync skips flushing files that are made once and thrown away.
        run(command.arg("--no-sync").stdout(self.log()?).stderr(self.log()?))
    }

    /// A program of PostgreSQL, run as the server's user inside its directory.
    fn program(&self, name: &str) -> Command {
        let mut command = self.as_user(&self.programs.join(name));
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    fn client(&self, name: &str, port: u16, arguments: &[&str]) -> Command {
        let mut command = self.program(name);
        command.args(["-h", "127.0.0.1", "-U", "koban", "-p", &port.to_string()]).args(arguments);
        command
    }

    fn as_user(&self, program: &Path) -> Command {
        let Some((user, group)) = &self.user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        // Should the guard itself be killed, the server is told to stop as well.
        command.args(["--reuid", user, "--regid", group, "--clear-groups", "--pdeathsig", "INT", "--"]).arg(program);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> Result<File> {
        let path = self.folder.join("log");
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("could not open {}", path.display()))
    }

    /// Shows the last lines of the log, for the person who has to find out why.
    fn show_log(&self) {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            eprintln!("postgres: {line}");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("warning: {} could not be removed: {error}", self.folder.display());
        }
    }
}

/// The server process. Dropping it stops it.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    /// Starts on a free port. Between finding it and taking it someone else may, so this is tried a few times.
    fn start(site: &Site, purpose: Purpose) -> Result<Running> {
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let mut command = site.program("postgres");
            command.arg("-D").arg(site.data());
            for setting in settings(purpose) {
                command.args(["-c", &setting]);
            }
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}"), "-c"]);
            command.arg(format!("unix_socket_directories={}", site.folder.display()));
            let child = command.stdout(site.log()?).stderr(site.log()?).spawn().context("could not start postgres")?;
            let mut server = Running { child, port };
            if server.answers(site)? {
                return Ok(server);
            }
        }
        bail!("PostgreSQL gave up at each of {PORT_ATTEMPTS} starts");
    }

    /// Waits until the server answers; false when it has ended.
    fn answers(&mut self, site: &Site) -> Result<bool> {
        for _ in 0..START_STEPS {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if succeeds(&mut site.client("psql", self.port, &["-d", "postgres", "-c", "select 1"])) {
                return Ok(true);
            }
            sleep(STEP);
        }
        bail!("PostgreSQL did not answer within 30 seconds");
    }

    fn ended_after(&mut self, signal: &str) -> bool {
        let asked = succeeds(Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.child.id())));
        for _ in 0..STOP_STEPS {
            match self.child.try_wait() {
                Ok(None) if asked => sleep(STEP),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // INT is PostgreSQL's fast shutdown, QUIT its immediate one; the directory goes away in any case.
        if !self.ended_after("INT") && !self.ended_after("QUIT") {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Durable in both cases: `fsync`, `synchronous_commit` and `full_page_writes` are named so that nobody has to wonder.
fn settings(purpose: Purpose) -> Vec<String> {
    let mut settings = vec!["fsync=on", "synchronous_commit=on", "full_page_writes=on", "wal_sync_method=fdatasync"];
    settings.extend(match purpose {
        Purpose::Tests => ["max_connections=400", "max_wal_size=2GB"],
        Purpose::Bench => ["max_connections=200", "max_wal_size=8GB"],
    });
    let mut settings: Vec<String> = settings.into_iter().map(str::to_owned).collect();
    if purpose == Purpose::Bench {
        settings.push(format!("shared_buffers={}MB", shared_buffers_mb()));
    }
    settings
}

/// An eighth of the machine's memory, between 128 MB (PostgreSQL's own default) and 2 GB.
fn shared_buffers_mb() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kb =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    (total_kb.unwrap_or(0) / 1024 / 8).clamp(128, 2_048)
}

/// On a disk: /tmp may live in memory, where a flush proves nothing. A short path, for the socket's sake.
fn home() -> PathBuf {
    match std::env::var_os("KOBAN_POSTGRES_HOME") {
        Some(folder) => folder.into(),
        None if Path::new("/var/tmp").is_dir() => "/var/tmp".into(),
        None => std::env::temp_dir(),
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// The user that the package made, else the one who owns nothing.
fn unprivileged_user() -> Result<(String, String)> {
    for name in ["postgres", "nobody"] {
        let number = |option: &str| answer(Command::new("id").args([option, name]));
        if let (Some(user), Some(group)) = (number("-u"), number("-g")) {
            return Ok((user, group));
        }
    }
    bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor a user `nobody`");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_purposes_are_durable() {
        for purpose in [Purpose::Tests, Purpose::Bench] {
            let settings = settings(purpose);
            for durable in ["fsync=on", "synchronous_commit=on", "full_page_writes=on"] {
                assert!(settings.iter().any(|setting| setting == durable), "{purpose:?} {durable}");
            }
        }
    }

    #[test]
    fn the_servers_memory_stays_between_its_bounds() {
        assert!((128..=2_048).contains(&shared_buffers_mb()));
    }
}
