//! The real program on a database of a test's own: served, signalled, killed and started again; and its other commands.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Database, Stopwatch, compiled};
use crate::client::Client;

/// A `koban serve` in a process of its own.
pub(crate) struct HostProcess {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    /// From starting the process until it answered that it is ready.
    pub(crate) ready_after: Duration,
}

/// How long a start may take: a plugin may have to be compiled.
const START_MAX: Duration = Duration::from_secs(60);

impl HostProcess {
    /// Starts a host on a free port and waits until it is ready.
    pub(crate) async fn start(database: &Database) -> HostProcess {
        HostProcess::start_at(database, "host", "127.0.0.1:0").await
    }

    /// Starts a host whose data folder has this name at this address, and waits until it is ready.
    pub(crate) async fn start_at(database: &Database, data: &str, address: &str) -> HostProcess {
        HostProcess::start_with(database, data, &["--listen", address]).await
    }

    /// Starts a host with these arguments of `serve`, and waits until it is ready.
    pub(crate) async fn start_with(database: &Database, data: &str, arguments: &[&str]) -> HostProcess {
        HostProcess::start_in(database, data, arguments, &[]).await
    }

    /// The same, with something more in its environment.
    pub(crate) async fn start_in(
        database: &Database,
        data: &str,
        arguments: &[&str],
        environment: &[(&'static str, OsString)],
    ) -> HostProcess {
        let stopwatch = Stopwatch::start();
        let mut child = serve(database, data, arguments, environment);
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().expect("a piped child has stderr"), Arc::clone(&log));
        let mut lines = BufReader::new(child.stdout.take().expect("a piped child has stdout"));
        let (told, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let mut told = Some(told);
            // Read to the end: a full pipe would stop the host.
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if let Some(address) = listening(&line)
                    && let Some(told) = told.take()
                {
                    let _ = told.send(address);
                }
                line.clear();
            }
        });
        let address = match tokio::time::timeout(START_MAX, address).await {
            Ok(Ok(address)) => address,
            _ => {
                let _ = child.kill();
                panic!("koban serve did not say where it listens: {}", log.lock().expect("the log"));
            }
        };
        super::told::serves(&address, database.url());
        let mut host = HostProcess { child, address, log, ready_after: Duration::ZERO };
        host.is_ready(&stopwatch).await;
        host.ready_after = stopwatch.elapsed();
        host
    }

    /// Starts a host and kills it after this time, ready or not.
    pub(crate) async fn start_and_kill(database: &Database, data: &str, address: &str, after: Duration) {
        let mut child = serve(database, data, &["--listen", address], &[]);
        tokio::time::sleep(after).await;
        child.kill().expect("the host is killed");
        child.wait().expect("the host is gone");
    }

    async fn is_ready(&self, stopwatch: &Stopwatch) {
        loop {
            if let Ok(reply) = self.client().get("/readyz").await
                && reply.status == 200
            {
                return;
            }
            assert!(stopwatch.elapsed() < START_MAX, "koban serve is not ready: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A caller without identity.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address.clone())
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its log so far.
    pub(crate) fn said(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // `kill` is a builtin of every shell; a package for one system call would be too much.
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().expect("sh runs");
        assert!(sent.success(), "the signal {name} was not sent to {pid}");
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the host is killed");
        self.child.wait().expect("the host is gone");
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let stopwatch = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().expect("the host can be waited for") {
                return status;
            }
            assert!(stopwatch.elapsed() < Duration::from_secs(40), "the host does not end: {}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // Also one that was stopped by SIGSTOP ends by this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(database: &Database, data: &str, arguments: &[&str], environment: &[(&'static str, OsString)]) -> Child {
    let mut command = program(database, data);
    // Several hosts on one SQLite file are for tests of what two writers do; `koban serve` refuses the second otherwise.
    command.env("KOBAN_SHARED_FILE", "true").envs(environment.iter().map(|(name, value)| (name, value)));
    command.arg("serve").args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("koban starts")
}

/// The program with its database, and a data folder in which compiled code is already there.
pub(crate) fn program(database: &Database, data: &str) -> Command {
    let data = data_folder(database.folder(), data);
    let mut command = Command::new(env!("CARGO_BIN_EXE_koban"));
    command.arg("--database").arg(database.url()).arg("--data").arg(data);
    command
        .env_remove("KOBAN_DATABASE")
        .env_remove("KOBAN_DATA")
        .env_remove("KOBAN_LOG")
        .env_remove("KOBAN_SHARED_FILE")
        .env("KOBAN_SEAL_KEY", super::seal_key())
        .stdin(Stdio::null());
    command
}

/// Runs a command of the program to its end and answers whether it succeeded, and what it wrote.
pub(crate) fn koban(database: &Database, arguments: &[&str]) -> (ExitStatus, String, String) {
    koban_in(database, "command", arguments, &[])
}

/// The same, with something more in its environment and a data folder of this name.
pub(crate) fn koban_in(
    database: &Database,
    data: &str,
    arguments: &[&str],
    environment: &[(&'static str, OsString)],
) -> (ExitStatus, String, String) {
    let mut command = program(database, data);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("koban runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

fn data_folder(folder: &Path, name: &str) -> PathBuf {
    let data = folder.join(name);
    std::fs::create_dir_all(&data).expect("a data folder");
    // Compiled once for all tests: a development build takes seconds for each plugin.
    let link = data.join("compiled");
    if !link.exists() {
        std::os::unix::fs::symlink(compiled(), &link).expect("a link to compiled code");
    }
    data
}

/// The address in a line such as `listening on http://127.0.0.1:8080`.
fn listening(line: &str) -> Option<String> {
    let rest = line.split("http://").nth(1)?;
    let end =
        rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':').unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(['.', ':']).to_owned())
}

/// Keeps the end of what a child writes.
fn collect(mut from: impl std::io::Read + Send + 'static, log: Arc<Mutex<String>>) {
    const KEPT: usize = 1024 * 1024;
    std::thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let mut log = log.lock().expect("the log");
            log.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if log.len() > 2 * KEPT {
                let mut cut = log.len() - KEPT;
                while !log.is_char_boundary(cut) {
                    cut += 1;
                }
                log.drain(..cut);
            }
        }
    });
}
