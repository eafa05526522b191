//! Where the host finds its database and its files, and how it is put together from them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use koban_outside::{Outside, Settings};
use koban_runtime::{Compiler, Door, DoorConfig};
use koban_service::App;
use koban_service::checkpoints::Keeper;
use koban_service::clock::Clock;
use koban_service::platform;
use koban_service::sealing::Sealer;
use koban_store::{Config as StoreConfig, Store};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::traces::Traces;

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The database: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME` [default: koban.db in --data]
    #[arg(long, global = true, env = "KOBAN_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// Where the host keeps its own files: the embedded database and compiled plugins
    #[arg(
        long,
        global = true,
        env = "KOBAN_DATA",
        hide_env_values = true,
        value_name = "DIR",
        default_value = ".koban"
    )]
    pub data: PathBuf,
    /// The file with the key that seals secrets at rest [default: seal.key in --data, made if it is not there]
    #[arg(long, global = true, env = "KOBAN_SEAL_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub seal_key_file: Option<PathBuf>,
    /// The directory shared with partners that work in batches, which must be there: PLUGIN/DIRECTORY/{in,out} below it [default: partners in --data, made if it is not there]
    #[arg(long, global = true, env = "KOBAN_PARTNER_FILES", hide_env_values = true, value_name = "DIR")]
    pub partner_files: Option<PathBuf>,
    /// The operator who acts, by email address; without it the audit log names the user of this machine
    #[arg(long, global = true, env = "KOBAN_OPERATOR", hide_env_values = true, value_name = "EMAIL")]
    pub operator: Option<String>,
    /// A file whose first line is that operator's password; without it the first line of standard input is
    #[arg(
        long,
        global = true,
        env = "KOBAN_OPERATOR_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "operator"
    )]
    pub operator_password_file: Option<PathBuf>,
    /// Answer with JSON: one object on standard output (`up`, `webhook listen` and `plugin logs`: one a line), errors on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// How many seconds this host's clock may lead the PostgreSQL server's before it refuses to start and to commit
    #[arg(long, global = true, env = "KOBAN_CLOCK_LEAD_MAX", hide_env_values = true, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub clock_lead_max: u16,
    /// What is logged to standard error, such as `info` or `koban_service=debug`
    #[arg(
        long,
        global = true,
        env = "KOBAN_LOG",
        hide_env_values = true,
        value_name = "FILTER",
        default_value = "warn"
    )]
    pub log: String,
}

impl Global {
    /// Starts logging to standard error.
    pub(crate) fn start_log(&self) -> anyhow::Result<()> {
        self.start_log_and(None)
    }

    /// Starts logging to standard error, and making traces of what happens.
    pub(crate) fn start_log_and(&self, traces: Option<Traces>) -> anyhow::Result<()> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .with_context(|| format!("--log `{}` is no filter; try `info`", self.log))?;
        let traces = traces.map(|traces| traces.with_filter(filter_fn(Traces::looks_at)));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(has_colours());
        let all = tracing_subscriber::registry().with(traces);
        // A second start in one process, as tests do, keeps the first.
        let _ = if self.json {
            all.with(log.json().with_filter(filter)).try_init()
        } else {
            all.with(log.with_filter(filter)).try_init()
        };
        Ok(())
    }

    /// The database's address.
    pub(crate) fn database(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.data.join("koban.db").display()))
    }

    /// The file of an SQLite database; none if the database is a server.
    pub(crate) fn sqlite_file(&self) -> Option<PathBuf> {
        let url = self.database();
        let path = url.strip_prefix("sqlite:")?;
        Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
    }

    /// Opens a database that is there. Fails if its tables are not those that this program needs. Makes nothing: a mistyped
    /// address would be answered with an empty platform.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        if let Some(file) = self.sqlite_file().filter(|file| !file.exists()) {
            let text = "there is no database; `koban migrate` makes one there, --database and --data name another";
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound))
                .context(format!("{}: {text}", file.display()));
        }
        let store = self.open().await?;
        store.require_current().await?;
        Ok(store)
    }

    /// Opens the database as it is, whatever its tables are.
    pub(crate) async fn open(&self) -> anyhow::Result<Store> {
        let url = self.database();
        make_private(&self.data)?;
        if let Some(file) = self.sqlite_file() {
            warn_of_others(&file);
        }
        Store::open_remembering(&StoreConfig::new(&url), Some(self.data.join("servers")))
            .await
            .with_context(|| format!("the database {} cannot be opened", shown(&url)))
    }

    /// Puts the host together for a command that visits the database.
    pub(crate) async fn app(&self) -> anyhow::Result<App> {
        let store = self.store().await?;
        let clock = platform::clock(&store).await?;
        self.app_over(store, clock).await
    }

    /// Puts the host together for a command that may be the first on an empty database, which gets its tables.
    pub(crate) async fn first_app(&self) -> anyhow::Result<App> {
        let store = self.prepared().await?;
        let clock = platform::clock(&store).await?;
        self.app_over(store, clock).await
    }

    /// Puts the host together that is to serve the database, for live money or for tests.
    pub(crate) async fn serving_app(&self, test_clock: bool) -> anyhow::Result<App> {
        let store = self.prepared().await?;
        let clock = platform::begin(&store, test_clock).await?;
        self.app_over(store, clock).await
    }

    /// An empty database gets its tables; older ones are left to `koban migrate`, which somebody runs on purpose and after a
    /// backup.
    async fn prepared(&self) -> anyhow::Result<Store> {
        let store = self.open().await?;
        store.prepare().await?;
        Ok(store)
    }

    /// Store, door with its cache, way out.
    async fn app_over(&self, store: Store, clock: Clock) -> anyhow::Result<App> {
        let door = self.door()?;
        let settings = Settings { directories: Some(self.partner_directory()?), ..Settings::default() };
        let outside = Outside::new(settings).context("the way out cannot be opened")?;
        let sealer = self.sealer()?;
        let clock = clock.that_may_lead(i64::from(self.clock_lead_max) * 1_000);
        Ok(App::start(store, door, outside, clock, sealer).await?)
    }

    /// The directory of partners' files. One of the operator's is not made: where it is not mounted, files wait instead of going nowhere.
    fn partner_directory(&self) -> anyhow::Result<PathBuf> {
        let place = self.partner_place();
        if self.partner_files.is_none() {
            make_private(&place)?;
        }
        Ok(place)
    }

    /// Where the directory of partners' files should be.
    pub(crate) fn partner_place(&self) -> PathBuf {
        self.partner_files.clone().unwrap_or_else(|| self.data.join("partners"))
    }

    /// The file with the keys that seal; the environment may hold them instead.
    pub(crate) fn seal_key_file(&self) -> PathBuf {
        self.seal_key_file.clone().unwrap_or_else(|| self.data.join("seal.key"))
    }

    /// The keys that seal: of the environment, of the file that is named, or of the host's own file.
    pub(crate) fn sealer(&self) -> anyhow::Result<Sealer> {
        if let Ok(text) = std::env::var("KOBAN_SEAL_KEY") {
            let text = zeroize::Zeroizing::new(text);
            return Sealer::of(&text).context("KOBAN_SEAL_KEY cannot be used");
        }
        let file = self.seal_key_file();
        if self.seal_key_file.is_none() {
            make_private(&self.data)?;
            write_new(&file, &Sealer::new_key())?;
        }
        Sealer::of_file(&file).with_context(|| format!("the seal keys of {} cannot be used", file.display()))
    }

    /// The file of the keys that seal; none if they are in the environment.
    pub(crate) fn seal_key_place(&self) -> Option<PathBuf> {
        match std::env::var_os("KOBAN_SEAL_KEY") {
            Some(_) => None,
            None => Some(self.seal_key_file()),
        }
    }

    /// Opens the door to guests.
    pub(crate) fn door(&self) -> anyhow::Result<Door> {
        door_in(&self.data.join("compiled"), DoorConfig::default())
    }
}

/// Opens a door to guests, as every command of this program does, that keeps compiled code in this folder.
pub(crate) fn door_in(cache: &Path, config: DoorConfig) -> anyhow::Result<Door> {
    make_private(cache)?;
    let cache = cap_std::fs::Dir::open_ambient_dir(cache, cap_std::ambient_authority())
        .with_context(|| format!("{} cannot be opened", cache.display()))?;
    // This very program, also when its file was replaced meanwhile (proc(5)).
    let compiler = Compiler::Worker(PathBuf::from("/proc/self/exe"));
    Ok(Door::new(DoorConfig { cache: Some(cache), compiler, ..config })?)
}

/// Where checkpoints are kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckpointFiles {
    /// The file that signed checkpoints are appended to; best on another disk or machine [default: checkpoints.jsonl in --data]
    #[arg(long, env = "KOBAN_CHECKPOINTS", value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// The signing key, made at the first start with mode 0600; its public key lies beside it as `.pub` [default: checkpoint.key in --data]
    #[arg(long, env = "KOBAN_CHECKPOINT_KEY", value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
}

impl CheckpointFiles {
    /// The file of checkpoints.
    pub(crate) fn file(&self, global: &Global) -> PathBuf {
        self.checkpoints.clone().unwrap_or_else(|| global.data.join("checkpoints.jsonl"))
    }

    /// The file of the signing key.
    pub(crate) fn key(&self, global: &Global) -> PathBuf {
        self.checkpoint_key.clone().unwrap_or_else(|| global.data.join("checkpoint.key"))
    }

    /// Opens the keeper of checkpoints.
    pub(crate) fn keeper(&self, global: &Global) -> anyhow::Result<Keeper> {
        make_private(&global.data)?;
        Ok(Keeper::open(&self.file(global), &self.key(global))?)
    }
}

/// Whether the log may be coloured: somebody reads it in a terminal and does not say otherwise (<https://no-color.org>).
fn has_colours() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A database's address without its password.
pub(crate) fn shown(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| rest.rsplit_once('@').map(|(_, host)| (scheme, host))) {
        Some((scheme, host)) => format!("{scheme}://…@{host}"),
        None => url.to_owned(),
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Where others may write beside the database they could put another in its place; `koban doctor` says so, too.
fn warn_of_others(file: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let folder = folder_of(file);
    if std::fs::metadata(&folder).is_ok_and(|metadata| metadata.mode() & 0o022 != 0) {
        tracing::warn!(folder = %folder.display(), "others can put files beside the database; take their right to write away");
    }
}

/// A directory that only this user can use: compiled code in it is trusted.
pub(crate) fn make_private(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("{} cannot be made; give another place with --data", dir.display()))
}

/// Writes a file that only this user can read, unless it is there: whole, or not at all.
fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if file.exists() {
        return Ok(());
    }
    let draft = file.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(open, "{text}")?;
        open.sync_all()?;
        // A link, unlike a rename, never replaces the key of somebody who was faster.
        match std::fs::hard_link(&draft, file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    };
    let written = write();
    let _ = std::fs::remove_file(&draft);
    written.with_context(|| format!("{} cannot be written; give a key with --seal-key-file", file.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(super::shown("postgres://koban:s3cret@db/koban"), "postgres://…@db/koban");
        assert_eq!(super::shown("sqlite:.koban/koban.db"), "sqlite:.koban/koban.db");
    }
}
