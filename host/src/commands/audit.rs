//! `koban audit`: who did what, searched and handed out.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use koban_domain::time::Timestamp;
use koban_service::audit::{self, Filter};
use koban_service::page::Page;
use koban_service::platform;
use koban_store::audit::AuditRow;
use serde_json::{Value, json};

use crate::commands::{PageArguments, moment, new_file, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommands {
    /// Rows of the audit log, newest first
    #[command(
        after_help = "Examples:\n  koban audit list\n  koban audit list --act user.freeze --since 2026-11-01T00:00:00Z\n  koban audit list --actor command-line:alice\n  koban audit list --subject usr_0193…\n  koban --json audit list --limit 100 --after CURSOR    the page behind `next` of the page before"
    )]
    List(ListArguments),
    /// Write the whole log as lines of JSON, oldest first, each with its hash. That it was handed out goes into the log itself
    #[command(after_help = "Example:\n  koban audit export --out audit.jsonl")]
    Export {
        /// The file to write; it must not be there yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// What somebody did: `operator:opr_…`, `command-line:NAME`, `user:usr_…`, `system` …
    #[arg(long)]
    actor: Option<String>,
    /// One sort of act, such as `user.freeze`
    #[arg(long)]
    act: Option<String>,
    /// What was done to somebody or something, by its id or name
    #[arg(long)]
    subject: Option<String>,
    /// From this time on, such as 2026-11-20T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArguments,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: AuditCommands) -> anyhow::Result<()> {
    global.start_log()?;
    match command {
        AuditCommands::List(arguments) => {
            let app = global.app().await?;
            let page = Page::from(&arguments.page);
            let ListArguments { actor, act, subject, since, until, .. } = arguments;
            let filter = Filter { actor, act, subject, from: since, to: until };
            let list = audit::list(&app, &filter, &page).await?;
            say_page(global, &list, json_of, || {
                table(
                    &["NO", "AT", "ACTOR", "ACT", "SUBJECT", "DETAIL"],
                    &list.items.iter().map(row).collect::<Vec<_>>(),
                )
            });
            Ok(())
        }
        AuditCommands::Export { out } => export(global, out).await,
    }
}

/// Rows read at a time.
const PAGE: u16 = 1_000;

async fn export(global: &Global, out: Option<PathBuf>) -> anyhow::Result<()> {
    let store = global.store().await?;
    let clock = platform::clock(&store).await?;
    let ctx = person::ctx(global, &store, "").await?;
    audit::note(&store, &clock, &ctx, "audit.export", "audit").await?;
    let mut to: Box<dyn std::io::Write> = match &out {
        None => Box::new(std::io::BufWriter::new(std::io::stdout())),
        Some(path) => Box::new(std::io::BufWriter::new(new_file(path)?)),
    };
    let mut last = 0;
    let mut rows = 0_u64;
    loop {
        let page = koban_store::audit::after(&store, last, PAGE).await?;
        for row in &page {
            let mut value = json_of(row);
            value["hash"] = json!(row.hash);
            writeln!(to, "{value}").context("the export cannot be written")?;
            (last, rows) = (row.sequence, rows + 1);
        }
        if page.len() < usize::from(PAGE) {
            break;
        }
    }
    to.flush().context("the export cannot be written")?;
    eprintln!("{rows} rows");
    Ok(())
}

fn row(row: &AuditRow) -> Vec<String> {
    let detail = if row.audit.detail == "{}" { String::new() } else { row.audit.detail.clone() };
    vec![
        row.sequence.to_string(),
        row.at.to_string(),
        row.audit.actor.clone(),
        row.audit.act.clone(),
        row.audit.subject.clone(),
        detail,
    ]
}

fn json_of(row: &AuditRow) -> Value {
    let detail = serde_json::from_str::<Value>(&row.audit.detail).unwrap_or_else(|_| json!(row.audit.detail));
    json!({
        "id": row.audit.id.to_string(), "sequence": row.sequence, "at": row.at.to_string(), "actor": row.audit.actor,
        "act": row.audit.act, "subject": row.audit.subject, "detail": detail,
    })
}
