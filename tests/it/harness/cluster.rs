//! A PostgreSQL of a test's own, that may be stopped in every way, restarted, copied to a standby and promoted.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::{Stopwatch, eventually_for, unique};

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It breaks off what runs, takes it back, and ends in order.
    Fast,
    /// It ends at once and recovers at its next start.
    Immediate,
    /// Its processes are killed, as when the machine loses its power.
    Kill,
}

/// One server with a data folder of its own. Dropping it stops it and removes the folder.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    environment: Vec<(&'static str, OsString)>,
}

/// How long a start may take: a standby first reads what it has missed.
const START: Duration = Duration::from_secs(60);

impl Cluster {
    /// A new server with an empty database `koban`.
    pub(crate) async fn start() -> Cluster {
        Cluster::prepared().start_in(Vec::new()).await
    }

    /// A server with data, but none of its processes yet.
    pub(crate) fn prepared() -> Cluster {
        let cluster = Cluster::empty();
        let mut init = cluster.program("initdb");
        init.arg("-D").arg(cluster.data()).args(["-U", "koban", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        cluster.done(init.arg("--no-sync"));
        cluster
    }

    /// Starts it with something more in the environment of its processes, and makes the database.
    pub(crate) async fn start_in(mut self, environment: Vec<(&'static str, OsString)>) -> Cluster {
        self.environment = environment;
        self.go().await;
        self.run("postgres", "create database koban").await;
        self
    }

    fn empty() -> Cluster {
        let home = std::env::var_os("KOBAN_POSTGRES_HOME").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let folder = home.join(unique(&format!("koban-cluster-{}", std::process::id())));
        let cluster = Cluster { folder, port: free_port(), child: None, environment: Vec::new() };
        // Made by the server's user, so that it is the owner.
        let mut make = as_user(Path::new("mkdir"));
        make.arg("-m").arg("700").arg(&cluster.folder).current_dir("/");
        assert!(make.status().expect("mkdir runs").success(), "no folder for a server in {}", home.display());
        cluster
    }

    /// A copy of this server that follows it, and that its commits wait for from now on.
    pub(crate) async fn synchronous_standby(&self) -> Cluster {
        let mut standby = Cluster::empty();
        let mut copy = standby.program("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-U", "koban", "-p", &self.port.to_string(), "-X", "stream", "-c", "fast"]);
        copy.args(["-R", "--no-sync", "-D"]).arg(standby.data());
        standby.done(&mut copy);
        let conninfo = format!("host=127.0.0.1 port={} user=koban application_name=standby", self.port);
        standby.set("primary_conninfo", &conninfo);
        standby.go().await;
        self.run("postgres", "alter system set synchronous_standby_names = 'standby'").await;
        self.run("postgres", "select pg_reload_conf()").await;
        self.is_followed().await;
        standby
    }

    /// Waits until commits wait for a standby that is there.
    pub(crate) async fn is_followed(&self) {
        let sql = "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'";
        let followed = || async { self.number(sql).await };
        eventually_for(START, "the standby follows", followed, |count| *count == 1).await;
    }

    /// Makes a standby the primary, and waits until it is.
    pub(crate) async fn promote(&self) {
        self.run("postgres", "select pg_promote()").await;
    }

    /// Stops it.
    pub(crate) async fn stop(&mut self, how: Stop) {
        let Some(mut child) = self.child.take() else { return };
        match how {
            Stop::Fast => signal("INT", &[child.id()]),
            Stop::Immediate => signal("QUIT", &[child.id()]),
            Stop::Kill => {
                // All of them at once: none is left to finish what it was at.
                let mut all = children(child.id());
                all.push(child.id());
                signal("KILL", &all);
            }
        }
        let stopwatch = Stopwatch::start();
        while child.try_wait().expect("the server can be waited for").is_none() {
            assert!(stopwatch.elapsed() < START, "the server does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it again, at the same port, and waits until it answers.
    pub(crate) async fn go(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let stopwatch = Stopwatch::start();
        loop {
            let mut command = self.program("postgres");
            command.arg("-D").arg(self.data());
            for setting in ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "listen_addresses=127.0.0.1"] {
                command.args(["-c", setting]);
            }
            command.args(["-c", &format!("port={}", self.port), "-c"]);
            command.arg(format!("unix_socket_directories={}", self.folder.display()));
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
            let mut child = command.spawn().expect("postgres starts");
            while child.try_wait().expect("it can be waited for").is_none() {
                if self.options("postgres").connect().await.is_ok() {
                    self.child = Some(child);
                    return;
                }
                assert!(stopwatch.elapsed() < START, "the server does not answer: {}", self.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Processes of one that was killed may still be ending, or somebody took the port meanwhile.
            assert!(stopwatch.elapsed() < START, "the server does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sets something for its next start, over what stood there before.
    pub(crate) fn set(&self, name: &str, value: &str) {
        use std::io::Write as _;
        let path = self.data().join("postgresql.auto.conf");
        let mut file = File::options().append(true).open(&path).expect("the settings open");
        writeln!(file, "{name} = '{value}'").expect("the setting is written");
    }

    /// Runs a statement in one of its databases.
    pub(crate) async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.options(database).connect().await.expect("the server answers");
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let _ = connection.close().await;
    }

    /// Whether it does this, or breaks off.
    pub(crate) async fn takes(&self, sql: &str) -> bool {
        let Ok(mut connection) = self.options("koban").connect().await else { return false };
        connection.execute(AssertSqlSafe(sql.to_owned())).await.is_ok()
    }

    /// The number that a query finds.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.options("koban").connect().await.expect("the server answers");
        let row = connection.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{error}"));
        row.try_get(0).expect("a number")
    }

    /// `postgres://…`, of its database `koban`.
    pub(crate) fn url(&self) -> String {
        format!("postgres://koban@{}/koban", self.address())
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The end of what it wrote to its log.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new().host("127.0.0.1").port(self.port).username("koban").database(database)
    }

    /// A program of PostgreSQL, run as the server's user inside its folder, talking to its log.
    fn program(&self, name: &str) -> Command {
        let mut command = as_user(&programs().join(name));
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("the log opens");
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the log")).stderr(log);
        command
    }

    fn done(&self, command: &mut Command) {
        assert!(command.status().expect("it runs").success(), "{command:?}: {}", self.log());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal("QUIT", &[child.id()]);
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The folder of the newest version that Debian's packages left, else the one on PATH.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("postgres").is_file())
        .max_by_key(|(version, _)| *version);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("postgres").is_file())
    };
    newest.map(|(_, folder)| folder).or_else(on_path).expect("PostgreSQL is installed")
}

/// As a user that PostgreSQL accepts: not root. It ends with the thread that started it, should that be killed.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if number(&["-u"]).as_deref() == Some("0") {
        let ids =
            ["postgres", "nobody"].into_iter().find_map(|name| Some((number(&["-u", name])?, number(&["-g", name])?)));
        let (user, group) = ids.expect("a user `postgres` or `nobody`");
        command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

fn number(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn signal(name: &str, processes: &[u32]) {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    // Some may have ended just now.
    let _ = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -s {name} {}", processes.join(" ")))
        .stderr(Stdio::null())
        .status();
}

/// The processes that this one started.
fn children(parent: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}
