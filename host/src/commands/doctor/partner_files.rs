//! What `koban doctor` says of files that are shared with partners: the directory, cut-offs that were missed, what somebody changed, and calendars that end.

use koban_domain::time::Timestamp;
use koban_outside::Directories;
use koban_service::calendars;
use koban_service::flows::partner_files;
use koban_store::Store;

use super::{Report, State};
use crate::config::Global;

/// A calendar that ends sooner than this is spoken of, days.
const CALENDAR_WARN: i32 = 60;

/// Looks at everything about them. Without a plugin that shares a directory nothing is said.
pub(super) async fn look(report: &mut Report, store: &Store, global: &Global, now: Timestamp) {
    let Ok(calendars) = calendars::days_left(store, now).await else { return };
    let place = global.partner_place();
    let directories = Directories::new(Some(place.clone()));
    let Ok(shares) = calendars::shares_directories(store).await else { return };
    if !shares {
        return;
    }
    match directories.check() {
        Ok(()) => report.ok("partner files", place.display().to_string()),
        // The host's own is made when it starts.
        Err(_) if global.partner_files.is_none() && !place.exists() => {
            report.ok("partner files", format!("{} is made by koban serve", place.display()));
        }
        Err(error) => {
            let next = "mount it, or name another with --partner-files; until then files wait";
            report.say(State::Fail, "partner files", error.to_string(), next);
        }
    }
    match partner_files::late(store, now).await {
        Ok(late) if late.is_empty() => report.ok("cut-offs", "none was missed"),
        Ok(late) => {
            let first: Vec<String> = late.iter().take(3).map(named).collect();
            let found = format!("{} files are late: {}", late.len(), first.join("; "));
            report.say(State::Fail, "cut-offs", found, "koban partner-file list, then docs/operating/runbooks.md");
        }
        Err(error) => report.say(State::Fail, "cut-offs", error.to_string(), "look at the database and its log"),
    }
    match partner_files::look_at_written(store, &directories, now).await {
        Ok(changed) if changed.is_empty() => report.ok("files to partners", "none was changed after it was written"),
        Ok(changed) => {
            let names: Vec<&str> = changed.iter().take(3).map(|file| file.name.as_str()).collect();
            let found = format!("somebody changed {} after they were written: {}", changed.len(), names.join(", "));
            report.say(State::Fail, "files to partners", found, "tell the partner, then docs/operating/runbooks.md");
        }
        Err(error) => {
            report.say(State::Fail, "files to partners", error.to_string(), "look at the database and its log")
        }
    }
    for (calendar, days) in calendars {
        let next = "koban calendar add FILE adds the holidays of the next years";
        match days {
            days if days < 0 => {
                report.say(State::Fail, "calendar", format!("{calendar} says nothing of today; records wait"), next);
            }
            days if days < CALENDAR_WARN => {
                report.say(State::Warn, "calendar", format!("{calendar} ends in {days} days"), next);
            }
            days => report.ok("calendar", format!("{calendar} is known for {days} days")),
        }
    }
}

fn named(file: &partner_files::PartnerFileRow) -> String {
    let why = file.note.as_deref().unwrap_or("nobody takes it on: is its plugin enabled, and does a host run?");
    format!("{} of {} ({why})", file.name, file.key.plugin)
}
