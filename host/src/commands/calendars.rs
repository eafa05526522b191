//! `koban calendar`: on which days banks work.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use koban_domain::calendars::Calendar;
use koban_domain::time::date_of_day;
use koban_service::calendars;
use serde_json::{Value, json};

use crate::commands::say;
use crate::config::Global;
use crate::person;

/// What can be done with calendars.
#[derive(Debug, Subcommand)]
pub(crate) enum Calendars {
    /// What is known of a calendar's holidays, the newest first
    #[command(after_help = "Example:\n  koban calendar show jp-banking")]
    Show {
        /// The calendar's name
        name: String,
    },
    /// Add the holidays of a file to a calendar; what is added last decides
    #[command(
        after_help = "Example:\n  koban calendar add jp-banking-2028.txt\n\nThe file:\n  # Source: Cabinet Office, announced on 2027-02-01\n  calendar jp-banking\n  from 2028-01-01\n  until 2028-12-31\n  2028-01-01 New Year's Day\n  2028-01-10 Coming of Age Day"
    )]
    Add {
        /// The file
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Calendars) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let (name, calendar) = match command {
        Calendars::Show { name } => {
            let calendar = calendars::get(&app, &ctx, &name).await?;
            (name, calendar)
        }
        Calendars::Add { file } => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            calendars::add(&app, &ctx, &text).await?
        }
    };
    say(global, &json_of(&name, &calendar), || text_of(&calendar));
    Ok(())
}

fn json_of(name: &str, calendar: &Calendar) -> Value {
    let spans = calendar.holidays().iter().map(|span| {
        let days: Vec<String> = span.days.iter().map(|day| date_of_day(*day)).collect();
        json!({ "from": date_of_day(span.from), "until": date_of_day(span.until), "holidays": days })
    });
    json!({ "name": name, "spans": spans.collect::<Vec<_>>() })
}

fn text_of(calendar: &Calendar) -> String {
    let mut lines = Vec::new();
    for span in calendar.holidays() {
        lines.push(format!("{} to {}", date_of_day(span.from), date_of_day(span.until)));
        lines.extend(span.days.iter().map(|day| format!("  {}", date_of_day(*day))));
    }
    lines.join("\n")
}
