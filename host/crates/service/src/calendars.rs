//! Banking calendars: what is known of their holidays, and more of them.

use std::collections::BTreeSet;

use koban_domain::calendars::{Calendar, CalendarText};
use koban_domain::releases::State;
use koban_domain::time::{Timestamp, date_of_day};
use koban_store::calendars as rows;
use koban_store::{Store, StoreError};
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::metrics::CalendarLabel;
use crate::users::audit;

/// Most plugins that are looked at.
const PLUGINS_MAX: u16 = 1_000;

/// The calendar of this name, with what operators added to it.
pub async fn calendar(store: &Store, name: &str) -> Result<Calendar, StoreError> {
    Ok(Calendar::new(name, rows::holidays(store, name).await?))
}

/// What is known of a calendar. Errors: nothing is.
pub async fn get(app: &App, ctx: &Ctx, name: &str) -> Result<Calendar, Error> {
    ctx.operator()?;
    let calendar = calendar(&app.store, name).await?;
    if calendar.holidays().is_empty() { Err(Error::NotFound("calendar")) } else { Ok(calendar) }
}

/// Most characters of a calendar that is added.
const TEXT_MAX: usize = 5_000;

/// Adds holidays to a calendar, from the text that people write them down in. What is added last decides; files that are open already keep their cut-off.
/// Errors: the first line that is wrong.
pub async fn add(app: &App, ctx: &Ctx, text: &str) -> Result<(String, Calendar), Error> {
    ctx.operator()?;
    if text.chars().count() > TEXT_MAX {
        let why = format!("at most {TEXT_MAX} characters are read at once; add one span of years after the other");
        return Err(Error::invalid("text", why));
    }
    let read = CalendarText::read(text).map_err(|error| Error::invalid("text", error.to_string()))?;
    let (name, holidays) = (read.name, read.holidays);
    let days: Vec<String> = holidays.days.iter().map(|day| date_of_day(*day)).collect();
    let (from, until) = (date_of_day(holidays.from), date_of_day(holidays.until));
    let detail = json!({ "from": from, "until": until, "holidays": days });
    let row = audit(app, ctx, "calendar.add", name.clone(), &detail.to_string());
    rows::add(&app.store, &name, &holidays, &row, app.clock.now()).await?;
    let calendar = calendar(&app.store, &name).await?;
    Ok((name, calendar))
}

/// Whether a plugin is installed that shares a directory with a partner.
pub async fn shares_directories(store: &Store) -> Result<bool, StoreError> {
    let installed = koban_store::plugins::list(store, None, PLUGINS_MAX).await?;
    Ok(installed.iter().any(|plugin| plugin.state != State::Removed && !plugin.manifest.directories.is_empty()))
}

/// How many days each calendar that installed plugins name is known from today on.
pub async fn days_left(store: &Store, now: Timestamp) -> Result<Vec<(String, i32)>, StoreError> {
    let installed = koban_store::plugins::list(store, None, PLUGINS_MAX).await?;
    let files = installed
        .iter()
        .filter(|plugin| plugin.state != State::Removed)
        .flat_map(|plugin| &plugin.manifest.directories)
        .flat_map(|directory| &directory.outgoing);
    let names: BTreeSet<&str> = files.map(|file| file.calendar.as_str()).collect();
    let (today, mut left) = (now.jst_day(), Vec::new());
    for name in names {
        if let Some(until) = calendar(store, name).await?.known_until(today) {
            left.push((name.to_owned(), until - today));
        }
    }
    Ok(left)
}

/// Brings the gauges of the metrics up to date.
pub(crate) async fn measure(app: &App) -> Result<(), StoreError> {
    for (calendar, days) in days_left(&app.store, app.clock.now()).await? {
        app.metrics.calendar_days_left.get_or_create(&CalendarLabel { calendar }).set(i64::from(days));
    }
    Ok(())
}
