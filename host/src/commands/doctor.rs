//! `koban doctor`: everything a host rests on, line by line, with the next step beside what is not well.

mod partner_files;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use koban_domain::releases::State as Stage;
use koban_domain::time::Timestamp;
use koban_service::sealing::rotate;
use koban_service::{checkpoints, standing};
use koban_store::replication::{self, Identity, Replication};
use koban_store::{Dialect, Schema, Store, StoreError, operators, plugins};
use serde_json::{Map, Value, json};

use crate::commands::say;
use crate::config::{CheckpointFiles, Global, shown};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    checkpoints: CheckpointFiles,
}

/// How well a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// One line.
struct Check {
    state: State,
    what: &'static str,
    found: String,
    /// What to do; empty if nothing is.
    next: String,
}

#[derive(Default)]
struct Report {
    checks: Vec<Check>,
    settings: Vec<(String, String)>,
    plugins: Vec<Value>,
    operators: i64,
    engine: String,
}

impl Report {
    fn say(&mut self, state: State, what: &'static str, found: impl Into<String>, next: impl Into<String>) {
        self.checks.push(Check { state, what, found: found.into(), next: next.into() });
    }

    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.say(State::Ok, what, found, "");
    }
}

/// Below this a disk is full for us; below the other it soon is.
const DISK_FAIL: u64 = 256 << 20;
const DISK_WARN: u64 = 2 << 30;
/// How far the machine's clock may lie behind the journal, and how long an entry may wait for a checkpoint, milliseconds.
const CLOCK_MS: i64 = 5_000;
const CHECKPOINT_MS: i64 = 10 * 60 * 1_000;

/// Runs the command.
pub(crate) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    global.start_log()?;
    let mut report = Report::default();
    let files = &arguments.checkpoints;
    let is_missing = global.sqlite_file().filter(|path| !path.exists());
    let opened = if is_missing.is_some() { Ok(None) } else { global.open().await.map(Some) };
    let mut seen = None;
    match opened {
        Ok(None) => {
            let next = "koban migrate makes it; or name another with --database";
            report.say(State::Fail, "database", format!("{} is not there", shown(&global.database())), next);
        }
        Ok(Some(store)) => {
            report.ok("database", shown(&global.database()));
            look_at_database(&mut report, &store, global, files).await;
            seen = Some(store);
        }
        Err(error) => {
            let next = "is it running, and is --database (or KOBAN_DATABASE) its address?";
            report.say(State::Fail, "database", format!("{}: {error:#}", shown(&global.database())), next);
        }
    }
    look_at_disk(&mut report, "disk", &global.data);
    if let Some(path) = global.sqlite_file() {
        look_at_disk(&mut report, "disk of the database", &path);
        look_at_mode(&mut report, "permissions of the database", &path, 0o077);
        for ending in ["-wal", "-shm"] {
            // They hold rows as the file does. Well or not there, they need no line of their own.
            let beside = PathBuf::from(format!("{}{ending}", path.display()));
            if !is_private(&beside, 0o077) {
                look_at_mode(&mut report, "permissions of the database", &beside, 0o077);
            }
        }
        look_at_folder(&mut report, "folder of the database", &path);
    }
    look_at_mode(&mut report, "permissions of the data folder", &global.data, 0o077);
    look_at_mode(&mut report, "permissions of the signing key", &files.key(global), 0o077);
    look_at_seal_keys(&mut report, seen.as_ref(), global).await;
    print(global, &report);
    match report.checks.iter().filter(|check| check.state == State::Fail).count() {
        0 => Ok(()),
        1 => bail!("one line says fail"),
        count => bail!("{count} lines say fail"),
    }
}

fn print(global: &Global, report: &Report) {
    let line = |check: &Check| json!({ "check": check.what, "state": check.state.word(), "found": check.found, "next": check.next });
    let value = json!({
        "database": shown(&global.database()),
        "checks": report.checks.iter().map(line).collect::<Vec<_>>(),
        "settings": report.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
        "plugins": report.plugins,
        "operators": report.operators,
        "engine": report.engine,
    });
    say(global, &value, || {
        let width = report.checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for Check { state, what, found, next } in &report.checks {
            lines.push(format!("{:<4}  {what:width$}  {found}", state.word()));
            if !next.is_empty() {
                lines.push(format!("      {:width$}  -> {next}", ""));
            }
        }
        lines.join("\n")
    });
}

async fn look_at_database(report: &mut Report, store: &Store, global: &Global, files: &CheckpointFiles) {
    match store.schema().await {
        Ok(Schema::Current(version)) => report.ok("schema", format!("version {version}")),
        Ok(other) => {
            let next = match other {
                Schema::Empty | Schema::Older { .. } => "koban migrate",
                _ => "use the koban that made it",
            };
            report.say(State::Fail, "schema", other.to_string(), next);
        }
        Err(error) => return unread(report, "schema", &error),
    }
    match store.settings_read_back().await {
        Ok(settings) => {
            look_at_settings(report, store.dialect(), &settings);
            report.settings = settings;
        }
        Err(error) => return unread(report, "settings", &error),
    }
    match replication::look(store).await {
        Ok(Some(found)) => look_at_servers(report, &found),
        Ok(None) => {}
        Err(error) => unread(report, "server", &error),
    }
    if report.checks.iter().any(|check| check.state == State::Fail && check.what == "schema") {
        return;
    }
    let clock = match koban_service::platform::clock(store).await {
        Ok(clock) => clock,
        Err(error) => return report.say(State::Fail, "clock", error.to_string(), "koban ledger verify"),
    };
    let now = clock.now();
    let head = match store.lane_head().await {
        Ok(lane) => lane.head,
        Err(error) => return unread(report, "journal", &error),
    };
    report.ok("journal", format!("entry {} at {}", head.sequence, head.at));
    match head.at.since_ms(now) {
        ahead if ahead > CLOCK_MS => report.say(
            State::Fail,
            "clock",
            format!("{now}, {} s behind the last entry", ahead / 1_000),
            "set the machine's clock (NTP): new entries take the last one's time until it has caught up",
        ),
        _ => report.ok("clock", now.to_string()),
    }
    look_at_plugins(report, store, global).await;
    match operators::count(store).await {
        Ok(0) => {
            report.say(State::Warn, "operators", "none", "koban operator create --email you@example.com --name You")
        }
        Ok(count) => {
            report.operators = count;
            report.ok("operators", count.to_string());
        }
        Err(error) => return unread(report, "operators", &error),
    }
    match standing::waiting(store, now).await {
        Ok(waiting) => {
            let next = |count: i64, text: &'static str| if count == 0 { (State::Ok, "") } else { (State::Warn, text) };
            let (state, text) = next(waiting.stuck, "koban flow list --stuck, then docs/operating/runbooks.md");
            report.say(state, "stuck flows", waiting.stuck.to_string(), text);
            let (state, text) =
                next(waiting.differences, "GET /v1/operator/differences, then docs/operating/runbooks.md");
            report.say(state, "open differences", waiting.differences.to_string(), text);
        }
        Err(error) => return unread(report, "flows", &error),
    }
    partner_files::look(report, store, global, now).await;
    look_at_checkpoints(report, store, &files.file(global), now).await;
}

fn unread(report: &mut Report, what: &'static str, error: &StoreError) {
    report.say(State::Fail, what, koban_service::ledger::chain(error), "look at the database and its log");
}

/// What durability rests on must be what it was opened with.
fn look_at_settings(report: &mut Report, dialect: Dialect, settings: &[(String, String)]) {
    let wanted: &[(&str, &str)] = match dialect {
        Dialect::Sqlite => &[("journal_mode", "wal"), ("synchronous", "2")],
        Dialect::Postgres => &[("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")],
    };
    let value = |name: &str| settings.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value.as_str());
    for (name, expected) in wanted {
        let found = value(name);
        if found != *expected {
            let next = format!("set {name} to {expected}: without it a crash loses what was acknowledged");
            report.say(State::Fail, "settings", format!("{name} = {found}"), next);
        }
    }
    if !report.checks.iter().any(|check| check.what == "settings") {
        let shown: Vec<String> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
        report.ok("settings", shown.join(" "));
    }
}

/// Which server it is, and whether somebody could take over from it.
fn look_at_servers(report: &mut Report, found: &Replication) {
    match found.identity {
        Some(Identity { system, timeline, is_primary }) => {
            let kind = if is_primary { "primary" } else { "standby" };
            let said = format!("{} is the {kind} of database {system}, timeline {timeline}", found.chosen);
            if is_primary {
                report.ok("server", said);
            } else {
                report.say(State::Warn, "server", said, "it can be read; koban serve needs the primary");
            }
        }
        None => report.say(
            State::Warn,
            "server",
            format!("{} does not say who it is", found.chosen),
            "grant execute on function pg_control_system() to this role: without it an old primary is not told from a new one",
        ),
    }
    let names: Vec<&str> = found.standbys.iter().map(|standby| standby.name.as_str()).collect();
    let is_hidden = found.standbys.iter().any(|standby| standby.state.is_empty());
    match (found.waits_for.as_str(), found.awaited()) {
        ("", _) if found.servers.len() > 1 => report.say(
            State::Warn,
            "standby",
            "several servers are named, and no commit waits for a standby",
            "set synchronous_standby_names on the primary, or a promotion may lose what was acknowledged: docs/operating/standby.md",
        ),
        ("", _) if names.is_empty() => report.ok("standby", "none, and no commit waits for one"),
        ("", _) => report.ok("standby", format!("{} follow, no commit waits for them", names.join(", "))),
        (wanted, 0) if is_hidden => report.say(
            State::Warn,
            "standby",
            format!("commits wait for {wanted}; whether it follows cannot be seen"),
            "grant pg_monitor to this role",
        ),
        (wanted, 0) => report.say(
            State::Fail,
            "standby",
            format!("{wanted}: commits wait for it and nobody follows"),
            "start the standby, or decide knowingly to go on without: docs/operating/standby.md",
        ),
        (wanted, count) => report.ok("standby", format!("commits wait for {wanted}, {count} of them follow")),
    }
}

async fn look_at_plugins(report: &mut Report, store: &Store, global: &Global) {
    let door = match global.door() {
        Ok(door) => door,
        Err(error) => return report.say(State::Fail, "engine", format!("{error:#}"), "look at the data folder"),
    };
    report.engine = door.engine().to_owned();
    report.ok("engine", report.engine.clone());
    let installed = match plugins::list(store, None, 1_000).await {
        Ok(installed) => installed,
        Err(error) => return unread(report, "plugins", &error),
    };
    if installed.is_empty() {
        report.say(State::Warn, "plugins", "none", "koban plugin install PACKAGE");
    }
    for plugin in installed {
        let (id, version) = (plugin.manifest.id.clone(), plugin.manifest.version.clone());
        let state = plugin.state.word();
        report.plugins.push(json!({ "id": id, "version": version, "state": state }));
        if plugin.state == Stage::Removed {
            continue;
        }
        let loaded = match plugins::component(store, plugin.digest).await {
            Ok(Some(component)) => {
                door.load(&component.bytes, &plugin.manifest, Vec::new()).map(drop).map_err(|error| error.to_string())
            }
            Ok(None) => Err("its component is not in the database".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match loaded {
            Ok(()) if plugin.state == Stage::Quarantined => {
                let next = format!("koban plugin releases {id}, then docs/operating/plugins.md");
                report.say(State::Warn, "plugin", format!("{id} {version} {state}"), next);
            }
            Ok(()) => report.ok("plugin", format!("{id} {version} {state}")),
            Err(error) => {
                let next = format!("koban ledger verify, then install {id} again");
                report.say(State::Fail, "plugin", format!("{id} {version} {state} cannot be loaded: {error}"), next);
            }
        }
    }
}

async fn look_at_checkpoints(report: &mut Report, store: &Store, path: &Path, now: Timestamp) {
    const WHAT: &str = "checkpoints";
    let last = match checkpoints::last(path) {
        Ok(Some(last)) => last,
        _ => {
            let next = "`koban serve` keeps them; name its file with --checkpoints";
            return report.say(State::Warn, WHAT, format!("none in {}", path.display()), next);
        }
    };
    let found = async {
        let mut reader = store.journal().await?;
        let head = reader.head().await?.head;
        Ok::<_, StoreError>((head, reader.hash_at(last.sequence).await?))
    };
    match found.await {
        Err(error) => unread(report, WHAT, &error),
        Ok((_, hash)) if last.sequence > 0 && hash != Some(last.hash) => {
            let found =
                format!("the journal is not the one that had entry {} at {}", last.sequence, Timestamp(last.at));
            report.say(State::Fail, WHAT, found, "stop every host, then koban ledger verify --checkpoint FILE");
        }
        Ok((head, _)) if head.sequence > last.sequence && now.since_ms(head.at) > CHECKPOINT_MS => {
            let found = format!("the last one is of entry {}, the journal is at {}", last.sequence, head.sequence);
            report.say(State::Warn, WHAT, found, "does a host run, and can it write the file?");
        }
        Ok(_) => report.ok(WHAT, format!("until entry {}, {}", last.sequence, Timestamp(last.at))),
    }
}

fn look_at_disk(report: &mut Report, what: &'static str, path: &Path) {
    let space = match rustix::fs::statvfs(path) {
        Ok(space) => space,
        Err(error) => return report.say(State::Warn, what, format!("{}: {error}", path.display()), "is it mounted?"),
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let found = format!("{} MiB free at {}", free >> 20, path.display());
    match free {
        free if free < DISK_FAIL => report.say(State::Fail, what, found, "make room now: commits fail when it is full"),
        free if free < DISK_WARN => report.say(State::Warn, what, found, "make room soon"),
        _ => report.ok(what, found),
    }
}

/// The keys that open what is sealed. Looking makes none.
async fn look_at_seal_keys(report: &mut Report, store: Option<&Store>, global: &Global) {
    const WHAT: &str = "seal keys";
    let place = match global.seal_key_place() {
        Some(path) if !path.exists() => {
            let next =
                "koban serve makes one at its first start; a restored database needs the keys it was sealed with";
            return report.say(State::Warn, WHAT, format!("none at {}", path.display()), next);
        }
        Some(path) => {
            look_at_mode(report, "permissions of the seal keys", &path, 0o077);
            path.display().to_string()
        }
        None => "KOBAN_SEAL_KEY".to_owned(),
    };
    match global.sealer() {
        Ok(sealer) => match store {
            // Without tables nothing is sealed.
            Some(store) if store.require_current().await.is_ok() => match rotate::uses(store, &sealer).await {
                Ok(uses) => {
                    let (state, found, next) = super::keys::judged(&uses, &sealer);
                    report.say(state, WHAT, format!("{found}, in {place}"), next);
                }
                Err(error) => report.say(State::Fail, WHAT, error.to_string(), "look at the database and its log"),
            },
            _ => report.ok(WHAT, format!("in {place}")),
        },
        Err(error) => {
            let next = "put the keys back from where they are kept: what is sealed cannot be opened without them";
            report.say(State::Fail, WHAT, format!("{error:#}"), next);
        }
    }
}

/// Whoever may write into the database's folder can put another file in the place of the database or of its log.
fn look_at_folder(report: &mut Report, what: &'static str, file: &Path) {
    let folder = crate::config::folder_of(file);
    let Ok(metadata) = std::fs::metadata(&folder) else { return };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return report.ok(what, format!("{mode:03o} {}", folder.display()));
    }
    let next = format!("chmod go-w {}, or move the database into a folder of its own", folder.display());
    report.say(State::Warn, what, format!("{mode:03o} {}: others can put files there", folder.display()), next);
}

/// Whether nobody else has any of these rights, by the file's own mode or by that of the folder that it lies in. What is not
/// there is private.
fn is_private(path: &Path, others: u32) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return true };
    let enters = |folder: std::fs::Metadata| folder.mode() & 0o077;
    let is_enclosed =
        path.is_file() && std::fs::metadata(crate::config::folder_of(path)).map(enters).is_ok_and(|mode| mode == 0);
    metadata.mode() & others == 0 || is_enclosed
}

/// Nobody else may have any of these rights.
fn look_at_mode(report: &mut Report, what: &'static str, path: &Path, others: u32) {
    // What is not there yet is made with the right mode.
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.mode() & 0o777;
    if is_private(path, others) {
        return report.ok(what, format!("{mode:03o} {}", path.display()));
    }
    let next = format!("chmod go= {}", path.display());
    report.say(State::Warn, what, format!("{mode:03o} {}: others can read it", path.display()), next);
}
