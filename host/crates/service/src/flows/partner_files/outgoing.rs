//! What goes out: a record into the file of the next cut-off, and a file from its cut-off into its partner's directory.

use koban_domain::calendars::NoCutOff;
use koban_domain::flows::Flow;
use koban_domain::guest::OutgoingFile;
use koban_domain::ids::PartnerFileId;
use koban_domain::manifest::{EngineKind, Manifest};
use koban_domain::records::{Digest, FaultClass, Input, Output};
use koban_domain::time::Timestamp;
use koban_outside::{Directories, DirectoryError, Lies};
use koban_store::Store;
use koban_store::flows::LeasedEffect;
use koban_store::partner_files::{self as rows, FileKey, Opened, PartnerFileRow, PartnerFileState, Put};

use super::{FILE_BYTES_MAX, blocking, short};
use crate::app::App;
use crate::calendars;
use crate::crash::{self, Point};
use crate::error::Error;
use crate::flows::inbound::keep;
use crate::guests::{self, For};
use crate::plugins;

/// Most files that are taken on in one look: many more than a platform has partners, so that those that cannot be written do not keep the others.
const FILES_AT_ONCE: u16 = 200;
/// How long a file waits after its cut-off for records that were asked for before it.
const STRAGGLERS_MS: i64 = 600_000;
/// How long after its cut-off a file that is not written is late.
const LATE_MS: i64 = 900_000;
/// Most files that are late are counted.
const LATE_MAX: u16 = 100;
/// Most records of a file, and most bytes of them with their correlations: well within what a call can be given and answer, so that a file that was sealed can be
/// composed.
const RECORDS_MAX: i64 = 10_000;
const BYTES_MAX: i64 = 2 * 1024 * 1024;
/// The same for a plugin that carries an interpreter.
const INTERPRETED_BYTES_MAX: i64 = 512 * 1024;
/// Most cut-offs that a record is moved on by, because files were sealed in between.
const MOVED_ON_MAX: u32 = 8;
/// How long a file that was written is looked at.
const LOOKED_AT_MS: i64 = 7 * 86_400_000;
/// Most files that are looked at.
const LOOKED_AT_MAX: u16 = 200;

/// What came of asking for a record to be put into a file.
pub(crate) enum Enqueued {
    /// It is in it.
    Done,
    /// Somebody else has the effect now.
    LeaseLost,
    /// It cannot be.
    Refused(String),
    /// Not now.
    Later(String),
}

/// Puts a record into the file of the next cut-off after it was asked for.
pub(crate) async fn enqueue(
    app: &App,
    (leased, flow, manifest): (&LeasedEffect, &Flow, &Manifest),
    file: &str,
    (correlation, record): (&str, &[u8]),
) -> Result<Enqueued, Error> {
    let Some((directory, spec)) = manifest.outgoing(file) else {
        return Ok(Enqueued::Refused(format!("the manifest has no outgoing file `{file}`")));
    };
    let calendar = calendars::calendar(&app.store, &spec.calendar).await?;
    let minutes = spec.minutes();
    let mut after = leased.effect.queued_at;
    for _ in 0..MOVED_ON_MAX {
        let cut_off = match calendar.next_cut_off(&minutes, after) {
            Ok(cut_off) => cut_off,
            Err(why @ (NoCutOff::Unknown { .. } | NoCutOff::Never(_))) => {
                tracing::warn!(plugin = flow.plugin, file, flow = %flow.id, %why, "a record waits for a calendar");
                return Ok(Enqueued::Later(why.to_string()));
            }
        };
        let key = FileKey { plugin: flow.plugin.clone(), file: file.to_owned(), cut_off };
        let id = PartnerFileId(app.clock.id());
        let opened = Opened { id, key: &key, directory: &directory.name, called: &spec.called };
        let bytes_max = match manifest.engine {
            EngineKind::Native => BYTES_MAX,
            EngineKind::Interpreter => INTERPRETED_BYTES_MAX,
        };
        let bounds = (RECORDS_MAX, bytes_max);
        let now = app.clock.now();
        match rows::put(&app.store, &leased.lease(), &opened, (correlation, record), bounds, now).await? {
            Put::Done => {
                crash::pass(Point::RecordPut);
                app.bell.flow(flow.id);
                return Ok(Enqueued::Done);
            }
            Put::LeaseLost => return Ok(Enqueued::LeaseLost),
            Put::Full => {
                let why = format!("the file `{file}` of {cut_off} holds as much as a file may");
                return Ok(Enqueued::Refused(why));
            }
            // Sealed while this host was away, or by an operator: the next one.
            Put::Sealed => after = cut_off,
        }
    }
    Ok(Enqueued::Later("the files of the next cut-offs are sealed".to_owned()))
}

/// Takes every file whose cut-off has come one or more steps further.
pub(super) async fn send_due(app: &App, draft: &str) -> Result<(), Error> {
    for file in rows::due(&app.store, app.clock.now(), FILES_AT_ONCE).await? {
        let (id, plugin) = (file.id, file.key.plugin.clone());
        // One file that cannot go on does not keep the others.
        if let Err(error) = advance(app, file, draft).await {
            let error = crate::ledger::chain(&error);
            tracing::warn!(plugin, file = %id, error, "a file to a partner could not go on; it is tried again");
        }
    }
    Ok(())
}

async fn advance(app: &App, file: PartnerFileRow, draft: &str) -> Result<(), Error> {
    if file.state == PartnerFileState::Open {
        let waits = app.clock.now().since_ms(file.key.cut_off) < STRAGGLERS_MS;
        if waits && rows::is_awaited(&app.store, &file.key).await? {
            return Ok(());
        }
        rows::seal(&app.store, file.id, None, app.clock.now()).await?;
        crash::pass(Point::FileSealed);
    }
    // Read anew: another host or an operator may have sealed it, and the name is whole only now.
    let Some(file) = rows::by_id(&app.store, file.id).await? else { return Ok(()) };
    if file.state == PartnerFileState::Sealed && !compose(app, &file).await? {
        return Ok(());
    }
    if matches!(file.state, PartnerFileState::Sealed | PartnerFileState::Composed) {
        write(app, &file, draft).await?;
    }
    Ok(())
}

/// Has a sealed file composed, once. Whether its bytes are fixed now.
async fn compose(app: &App, file: &PartnerFileRow) -> Result<bool, Error> {
    let key = &file.key;
    // A plugin that is not in force composes nothing; its file waits.
    let Some(plugin) = plugins::in_force(app, &key.plugin).await? else { return Ok(false) };
    if app.ledger.policy().revoked.contains(&plugin.digest()) {
        return Ok(false);
    }
    let records = rows::records(&app.store, file.id).await?;
    let given = records.into_iter().map(|record| (record.correlation, record.record)).collect();
    let told = OutgoingFile {
        file: key.file.clone(),
        called: file.name.clone(),
        number: file.number.unwrap_or(0),
        cut_off: u64::try_from(key.cut_off.0).unwrap_or(0),
    };
    let (answer, record) = guests::call(app, &plugin, For::PLATFORM, Input::ComposeFile(told, given)).await;
    crash::pass(Point::FileMade);
    let why = match answer {
        Ok(Output::File(content)) if (1..=FILE_BYTES_MAX).contains(&content.len()) => {
            keep(app, &plugin, record).await?;
            if rows::compose(&app.store, file.id, &content, app.clock.now()).await? {
                let digest = Digest::of(&content);
                tracing::info!(plugin = key.plugin, file = %file.id, name = file.name, %digest, "a file was composed");
            }
            crash::pass(Point::FileComposed);
            return Ok(true);
        }
        // Nothing ran.
        Err(fault) if fault.class == FaultClass::Busy => return Ok(false),
        Ok(Output::File(content)) => format!("it has {} bytes; a file has 1 to {FILE_BYTES_MAX}", content.len()),
        Ok(Output::Failure(failure)) => format!("{}: {}", failure.code, failure.message),
        Ok(_) => "the plugin gave another answer".to_owned(),
        Err(fault) => format!("the plugin faulted: {fault}"),
    };
    let decision = record.id;
    keep(app, &plugin, record).await?;
    tracing::warn!(plugin = key.plugin, file = %file.id, %decision, why, "a file could not be composed; an operator is asked");
    rows::refuse(&app.store, file.id, &short(&why), app.clock.now()).await?;
    Ok(false)
}

/// Writes a composed file into its directory and tells its flows.
async fn write(app: &App, file: &PartnerFileRow, draft: &str) -> Result<(), Error> {
    let Some(content) = rows::content(&app.store, file.id).await? else { return Ok(()) };
    if let Err(error) = put_down(app, file, content, draft).await? {
        let why = short(&error.to_string());
        // It is tried each second, and said once.
        if file.note.as_ref() != Some(&why) {
            tracing::warn!(plugin = file.key.plugin, file = %file.id, %error, "a file could not be written; it is tried again");
            rows::note(&app.store, file.id, Some(&why)).await?;
        }
        return Ok(());
    }
    crash::pass(Point::FilePutDown);
    let records = rows::records(&app.store, file.id).await?;
    if rows::written(&app.store, file, &records, app.clock.now()).await? {
        crash::pass(Point::FileWritten);
        let (name, records_in) = (file.name.as_str(), records.len());
        tracing::info!(plugin = file.key.plugin, file = %file.id, name, records = records_in, "a file lies in its partner's directory");
        for record in records {
            app.bell.flow(record.flow);
        }
    }
    Ok(())
}

/// Puts a file's bytes into its directory, unless they lie there.
pub(super) async fn put_down(
    app: &App,
    file: &PartnerFileRow,
    content: Vec<u8>,
    draft: &str,
) -> Result<Result<(), DirectoryError>, Error> {
    let (own, file, draft) = (app.clone(), file.clone(), draft.to_owned());
    blocking(move || {
        let place = (file.key.plugin.as_str(), file.directory.as_str());
        own.outside.directories().write(place, &file.name, &draft, &content)
    })
    .await
}

/// What lies in the place of a composed file.
pub(super) async fn look_at(
    store: &Store,
    directories: &Directories,
    file: &PartnerFileRow,
) -> Result<Result<Lies, DirectoryError>, Error> {
    let Some(content) = rows::content(store, file.id).await? else { return Ok(Ok(Lies::Nothing)) };
    let (directories, file) = (directories.clone(), file.clone());
    blocking(move || directories.look((&file.key.plugin, &file.directory), &file.name, &content)).await
}

/// Files of the last seven days that somebody changed after they were written. Those that their partners took away are as they should be.
pub async fn look_at_written(
    store: &Store,
    directories: &Directories,
    now: Timestamp,
) -> Result<Vec<PartnerFileRow>, Error> {
    let mut changed = Vec::new();
    for file in rows::written_since(store, now.plus_ms(-LOOKED_AT_MS), LOOKED_AT_MAX).await? {
        match look_at(store, directories, &file).await? {
            Ok(Lies::Other) => changed.push(file),
            Ok(Lies::Same | Lies::Nothing) => {}
            Err(DirectoryError::None) => return Ok(Vec::new()),
            Err(error) => {
                tracing::warn!(plugin = file.key.plugin, file = %file.id, %error, "a file that was written cannot be looked at");
            }
        }
    }
    Ok(changed)
}

/// Files that should have been written a quarter of an hour ago and are not; the oldest hundred.
pub async fn late(store: &Store, now: Timestamp) -> Result<Vec<PartnerFileRow>, Error> {
    Ok(rows::late(store, now.plus_ms(-LATE_MS), LATE_MAX).await?)
}

/// Counts the files that somebody changed, and says of each what it is.
pub(super) async fn check_written(app: &App) -> Result<(), Error> {
    let changed = look_at_written(&app.store, app.outside.directories(), app.clock.now()).await?;
    app.metrics.partner_files_changed.set(i64::try_from(changed.len()).unwrap_or(i64::MAX));
    for file in changed {
        let why = format!("`{}` in its directory is not what was written; somebody changed it", file.name);
        tracing::warn!(plugin = file.key.plugin, file = %file.id, why);
        if file.note.as_ref() != Some(&why) {
            rows::note(&app.store, file.id, Some(&why)).await?;
        }
    }
    Ok(())
}
