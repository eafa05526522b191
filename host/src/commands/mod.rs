//! Commands of operators and authors. Data goes to standard output, talk to standard error.

pub(crate) mod adjustments;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod authoring;
pub(crate) mod backtests;
pub(crate) mod backup;
pub(crate) mod bills;
pub(crate) mod calendars;
pub(crate) mod decisions;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod documents;
pub(crate) mod endpoints;
pub(crate) mod flows;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod merchants;
pub(crate) mod operators;
pub(crate) mod partner_files;
pub(crate) mod plugins;
pub(crate) mod publishers;
pub(crate) mod releases;
pub(crate) mod reviews;
pub(crate) mod subscriptions;
pub(crate) mod users;
pub(crate) mod webhooks;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use koban_domain::outcomes::Refusal;
use koban_domain::time::Timestamp;
use koban_service::Error;
use koban_service::page::{Page, Paged};
use koban_store::{Schema, StoreError, StoreErrorKind, schema_version};
use serde_json::{Value, json};

use crate::config::{Global, shown};

/// Says what went wrong, why, and what to do: in words, or as one object of JSON. The exit code says which sort it was.
pub(crate) fn failed(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let mut because = Vec::new();
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !last.contains(&cause) {
            because.push(cause.clone());
        }
        last = cause;
    }
    let (hint, code) = (hint(error), exit_code(error));
    if as_json {
        eprintln!("{}", json!({ "error": error.to_string(), "because": because, "hint": hint, "exit_code": code }));
        return ExitCode::from(code);
    }
    eprintln!("error: {error}");
    for cause in because {
        eprintln!("  because: {cause}");
    }
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}

/// One table for every command: docs/operating/configure.md has it, too.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(store) = store_error(error) {
        return match store.kind() {
            StoreErrorKind::Retry
            | StoreErrorKind::Unknown
            | StoreErrorKind::Full
            | StoreErrorKind::Unwritable
            | StoreErrorKind::SyncFailed => 69,
            StoreErrorKind::Conflict => 5,
            StoreErrorKind::Damaged | StoreErrorKind::Fatal => 1,
        };
    }
    match error.downcast_ref::<Error>() {
        Some(Error::NotFound(_)) => 3,
        Some(
            Error::NotSignedIn
            | Error::WrongCredentials
            | Error::Forbidden(_)
            | Error::BadSignature(_)
            | Error::StepUp { .. },
        ) => 4,
        Some(Error::Refused { refusal, .. }) => match refusal.status() {
            403 => 4,
            404 => 3,
            409 => 5,
            503 => 69,
            _ => 1,
        },
        Some(Error::KeyReused | Error::KeyRunning | Error::Exists(_) | Error::Conflict(_)) => 5,
        Some(
            Error::Busy
            | Error::ClockLeads { .. }
            | Error::Store(_)
            | Error::StorageFull(_)
            | Error::StorageUnwritable(_)
            | Error::TooMany { .. },
        ) => 69,
        Some(
            Error::Invalid { .. }
            | Error::PluginFault { .. }
            | Error::PluginRefused { .. }
            | Error::Foreseen(_)
            | Error::TrialNotPossible
            | Error::Item { .. }
            | Error::Internal(_),
        )
        | None => match error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()) {
            Some(io) if io.kind() == std::io::ErrorKind::NotFound => 3,
            Some(io) if io.kind() == std::io::ErrorKind::AlreadyExists => 5,
            _ => 1,
        },
    }
}

fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Error>() {
        Some(Error::Store(store) | Error::StorageFull(store) | Error::StorageUnwritable(store)) => Some(&**store),
        _ => cause.downcast_ref::<StoreError>(),
    })
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if store_error(error).is_some_and(|store| store.kind() == StoreErrorKind::Retry) {
        return Some("is the database running, and is --database (or KOBAN_DATABASE) its address?");
    }
    match error.downcast_ref::<Error>()? {
        Error::NotFound("user") => {
            Some("`koban user list` names the newest users; an email address does as well as an id")
        }
        Error::NotFound("merchant") => Some("`koban merchant list` names the merchants"),
        Error::NotFound("operator") => Some("`koban operator list` names the operators"),
        Error::NotFound("seal key") => Some("`koban key list` names the keys"),
        Error::NotFound("adjustment") => Some("`koban adjustment list` names the newest adjustments"),
        Error::NotFound("webhook endpoint") => Some("`koban webhook list` names the endpoints"),
        Error::WrongCredentials => {
            Some("--operator is an operator's address, --operator-password-file holds the password")
        }
        Error::Refused { refusal: Refusal::SecondPersonRequired, .. } => {
            Some("another operator decides: --operator EMAIL with their own password")
        }
        Error::NotFound("plugin") => Some("`koban plugin list` names what is installed"),
        Error::NotFound("release") => Some("`koban plugin releases ID` names a plugin's releases"),
        Error::NotFound("publisher") => Some("`koban publisher list` names the publishers"),
        Error::NotFound("format") => Some("`koban plugin list` names what is installed; its manifest has the formats"),
        Error::NotFound("subscription") => Some("`koban subscription list` names the plugins that hear events"),
        Error::NotFound("partner file") => Some("`koban partner-file list` names the newest files"),
        Error::NotFound("calendar") => Some("`koban calendar add FILE` adds one; jp-banking ships"),
        Error::NotFound("parked event") => Some("`koban subscription parked PLUGIN` names what waits"),
        Error::NotFound("bill") => {
            Some("no plugin that is switched on knows this code; `koban plugin list` names them")
        }
        Error::NotFound("flow") => Some("`koban flow list` names the flows"),
        Error::NotFound("review") => Some("`koban review list --all` names the newest reviews"),
        Error::NotFound("decision") => Some("`koban decision list` names the newest decisions"),
        _ => None,
    }
}

/// Writes data: as JSON if asked for, else as the given text.
pub(crate) fn say(global: &Global, value: &Value, text: impl FnOnce() -> String) {
    use std::io::Write as _;
    let text = if global.json { value.to_string() } else { text() };
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Which page of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArguments {
    /// How many, 1 to 100
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub limit: u16,
    /// The page behind this cursor: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
}

impl From<&PageArguments> for Page {
    fn from(arguments: &PageArguments) -> Page {
        Page { after: arguments.after.clone(), limit: arguments.limit }
    }
}

/// Writes one page of a list: as JSON like the API, `items` and `next`, or as text, with how to see more.
pub(crate) fn say_page<T>(
    global: &Global,
    page: &Paged<T>,
    json_of: impl Fn(&T) -> Value,
    text: impl FnOnce() -> String,
) {
    let value = json!({ "items": page.items.iter().map(json_of).collect::<Vec<_>>(), "next": page.next });
    say(global, &value, text);
    if global.json {
        return;
    }
    if page.items.is_empty() {
        eprintln!("none");
    } else if let Some(next) = &page.next {
        eprintln!("there are more: the same command with --after {next}");
    }
}

/// A time on the command line.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write a time such as 2026-11-20T00:00:00Z, in UTC".to_owned())
}

/// A key for an act that nobody repeats by key.
pub(crate) fn fresh_key(app: &koban_service::App, what: &str) -> String {
    format!("{what}-{}", app.clock.id().simple())
}

/// A new file that only its owner reads: what it holds is not everybody's.
pub(crate) fn new_file(path: &std::path::Path) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("{} cannot be written; it must not be there yet", path.display()))
}

/// A table with aligned columns.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Brings the database up to date.
pub(crate) async fn migrate(global: &Global) -> anyhow::Result<()> {
    global.start_log()?;
    let store = global.open().await?;
    let before = store.schema().await?;
    store.migrate().await?;
    let database = shown(&global.database());
    let value = json!({ "database": database, "migrated": true, "version": schema_version() });
    say(global, &value, || match before {
        Schema::Current(version) => format!("{database} is up to date at version {version}"),
        Schema::Older { found, .. } => format!("{database} went from version {found} to {}", schema_version()),
        _ => format!("{database} has its tables now, at version {}", schema_version()),
    });
    Ok(())
}
