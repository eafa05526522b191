//! Files with partners that work in batches. What goes out: records wait for their cut-off, the file is sealed, composed once, written whole, and its flows are
//! told. What comes in: read when it is whole, once by its digest, each record to the flow that expects it.
//!
//! Every step leaves a state that the next one starts from, on this host or another: open, sealed, composed, written. Two hosts that do the same step do it
//! once, because the bytes of a composed file never change and a name that is taken is never overwritten.

mod incoming;
mod operator;
mod outgoing;

use std::time::Duration;

pub use koban_store::partner_files::{FileKey, PartnerFileRow, PartnerFileState, ReceivedRow};
pub use operator::{File, Lying, content, get, list, list_received, retry, seal, send};
pub(crate) use outgoing::{Enqueued, enqueue};
pub use outgoing::{late, look_at_written};
use tokio::sync::watch;

use crate::app::App;
use crate::calendars;
use crate::error::Error;

/// How often it is looked for files whose time has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks at the directories of partners are so many looks apart: what has not changed in between is whole.
const LOOKS_APART: u32 = 5;
/// Looks at what was written are so many looks apart.
const CHECKS_APART: u32 = 60;
/// Largest file, both ways: what the limits class of `files` can be given.
const FILE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Sees to files until told to stop.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    // What is not whole yet is written under a name of this host's own.
    let draft = own_draft();
    let mut watcher = incoming::Watcher::default();
    let mut look = 0_u32;
    while !*stop.borrow() {
        if let Err(error) = outgoing::send_due(&app, &draft).await {
            let error = crate::ledger::chain(&error);
            tracing::warn!(error, "files to partners could not be seen to; it is tried again");
        }
        if look.is_multiple_of(LOOKS_APART)
            && let Err(error) = watcher.look(&app).await
        {
            let error = crate::ledger::chain(&error);
            tracing::warn!(error, "files from partners could not be seen to; it is tried again");
        }
        if look.is_multiple_of(CHECKS_APART)
            && let Err(error) = outgoing::check_written(&app).await
        {
            let error = crate::ledger::chain(&error);
            tracing::warn!(error, "files that were written could not be looked at; it is tried again");
        }
        look = look.wrapping_add(1);
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Brings the gauges of the metrics up to date.
pub(crate) async fn measure(app: &App) -> Result<(), Error> {
    let late = late(&app.store, app.clock.now()).await?;
    app.metrics.partner_files_late.set(i64::try_from(late.len()).unwrap_or(i64::MAX));
    Ok(calendars::measure(app).await?)
}

/// A word for drafts that no other host and no other task has.
fn own_draft() -> String {
    format!("host-{}", &crate::clock::token()[..16])
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(act).await.map_err(|error| Error::Internal(error.to_string()))
}

fn short(why: &str) -> String {
    why.chars().take(500).collect()
}
