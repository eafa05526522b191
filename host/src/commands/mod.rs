//! Commands of operators and authors. Data goes to standard output, talk to standard error.

pub(crate) mod backup;
pub(crate) mod decisions;
pub(crate) mod doctor;
pub(crate) mod flows;
pub(crate) mod ledger;
pub(crate) mod operators;
pub(crate) mod plugins;
pub(crate) mod reviews;
pub(crate) mod webhooks;

use std::process::ExitCode;

use koban_service::Error;
use koban_store::{Schema, StoreError, StoreErrorKind, schema_version};
use serde_json::{Value, json};

use crate::config::{Global, shown};

/// Says what went wrong, why, and what to do; the exit code says which sort it was.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !last.contains(&cause) {
            eprintln!("  because: {cause}");
        }
        last = cause;
    }
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if store_error(error).is_some_and(|store| store.kind() == StoreErrorKind::Retry) {
        return 69;
    }
    match error.downcast_ref::<Error>() {
        Some(Error::NotFound(_)) => 3,
        Some(Error::NotSignedIn | Error::WrongCredentials | Error::Forbidden(_) | Error::BadSignature(_)) => 4,
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
            | Error::Refused { .. }
            | Error::PluginFault { .. }
            | Error::PluginRefused { .. }
            | Error::Foreseen(_)
            | Error::TrialNotPossible
            | Error::Item { .. }
            | Error::Internal(_),
        )
        | None => 1,
    }
}

fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    error.chain().find_map(|cause| cause.downcast_ref::<StoreError>())
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if store_error(error).is_some_and(|store| store.kind() == StoreErrorKind::Retry) {
        return Some("is the database running, and is --database (or KOBAN_DATABASE) its address?");
    }
    match error.downcast_ref::<Error>()? {
        Error::NotFound("plugin") => Some("`koban plugin list` names what is installed"),
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
