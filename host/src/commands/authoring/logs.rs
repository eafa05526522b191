//! `koban plugin logs`: what a plugin wrote to its log on this platform, and its faults, oldest first.

use std::time::Duration;

use clap::{Args, ValueEnum};
use koban_domain::ids::RecordId;
use koban_domain::records::{Ending, Record};
use koban_service::decisions;
use koban_service::page::Page;
use serde_json::json;

use super::run::word;
use crate::config::Global;

/// How often the platform is asked for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Decisions of one page.
const PAGE: u16 = 100;
/// Most pages that are read between two looks; what is older is passed over.
const PAGES_MAX: usize = 20;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The plugin's id
    #[arg(value_name = "PLUGIN")]
    id: String,
    /// Go on until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Leave out what is below this level
    #[arg(long, value_enum, default_value = "debug")]
    level: Level,
    /// How many of the newest decisions are looked through
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    last: u16,
}

/// Levels of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Everything
    Debug,
    /// What is worth reading
    Info,
    /// What should not be
    Warn,
    /// What went wrong
    Error,
}

/// Runs the command.
pub(super) async fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    koban_service::plugins::get(&app, &arguments.id).await?;
    let mut last = None;
    let pages = usize::from(arguments.last.div_ceil(PAGE));
    let newest = newer(&app, &arguments.id, None, pages).await?;
    let skip = newest.len().saturating_sub(usize::from(arguments.last));
    let mut lines = 0;
    for record in newest.iter().skip(skip) {
        lines += tell(global, arguments, record);
        last = Some(record.id);
    }
    if !arguments.follow {
        if lines == 0 && !global.json {
            eprintln!("nothing was logged in the last {} decisions of {}", newest.len() - skip, arguments.id);
        }
        return Ok(());
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for record in newer(&app, &arguments.id, last, PAGES_MAX).await? {
            tell(global, arguments, &record);
            last = Some(record.id);
        }
    }
}

/// The decisions since one, oldest first.
async fn newer(
    app: &koban_service::App,
    plugin: &str,
    since: Option<RecordId>,
    pages: usize,
) -> Result<Vec<Record>, koban_service::Error> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..pages {
        let page = decisions::list(app, Some(plugin), &Page { after, limit: PAGE }).await?;
        let known = since.and_then(|since| page.items.iter().position(|kept| kept.head.id == since));
        let all = page.items.len();
        // What was erased has no lines any more.
        found.extend(page.items.iter().take(known.unwrap_or(all)).filter_map(|kept| kept.record().ok()));
        after = page.next;
        if known.is_some() || after.is_none() {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Writes the lines of one decision, and says how many they were.
fn tell(global: &Global, arguments: &Arguments, record: &Record) -> usize {
    let least = arguments.level as u8;
    let mut lines: Vec<(u8, String)> = record.log.iter().filter(|(level, _)| *level >= least).cloned().collect();
    if let Ending::Fault(fault) = &record.ending {
        lines.push((3, format!("fault: {fault}")));
    }
    for (level, line) in &lines {
        let level = word(*level);
        let text = if global.json {
            json!({ "at": record.at.to_string(), "level": level, "line": line, "decision": record.id, "call": record.input.function() })
                .to_string()
        } else {
            format!("{} {level:<5} {line}  ({} {})", record.at, record.input.function(), record.id)
        };
        use std::io::Write as _;
        // A reader that has seen enough, such as `head`, is no failure.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    lines.len()
}
