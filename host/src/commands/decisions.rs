//! `koban decision`: what guests were asked and answered, and the same call run again.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use koban_domain::ids::RecordId;
use koban_domain::records::{Ending, Record};
use koban_runtime::Replayed;
use koban_service::decisions;
use koban_service::page::Page;
use serde_json::json;

use crate::commands::{PageArguments, new_file, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with decisions.
#[derive(Debug, Subcommand)]
pub(crate) enum Decisions {
    /// The newest decisions
    #[command(after_help = "Example:\n  koban decision list --plugin fraud-rules --limit 5")]
    List {
        /// Of one plugin only
        #[arg(long)]
        plugin: Option<String>,
        #[command(flatten)]
        page: PageArguments,
    },
    /// One decision: what the guest was told, what it answered
    #[command(after_help = "Example:\n  koban decision show dec_0193…")]
    Show {
        /// The decision, `dec_…`
        id: RecordId,
    },
    /// Run a decision again in a fresh sandbox and compare. A file from `export` needs no database
    #[command(
        after_help = "Examples:\n  koban decision replay dec_0193…\n  koban decision replay --file decision.json"
    )]
    Replay {
        /// The decision, `dec_…`
        #[arg(required_unless_present = "file")]
        id: Option<RecordId>,
        /// An exported decision
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        file: Option<PathBuf>,
    },
    /// Write a decision with everything that running it again needs into one file
    #[command(after_help = "Example:\n  koban decision export dec_0193… --out decision.json")]
    Export {
        /// The decision, `dec_…`
        id: RecordId,
        /// Where to write; standard output if absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Decisions) -> anyhow::Result<()> {
    global.start_log()?;
    match command {
        Decisions::List { plugin, page } => {
            let page = Page::from(&page);
            let list = decisions::list(&global.app().await?, plugin.as_deref(), &page).await?;
            say_page(
                global,
                &list,
                |record| json!(record),
                || {
                    let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
                    table(&["DECISION", "AT", "PLUGIN", "CALL", "ENDED", "FUEL"], &rows)
                },
            );
        }
        Decisions::Show { id } => {
            let record = decisions::get(&global.app().await?, id).await?;
            say(global, &json!(record), || serde_json::to_string_pretty(&record).unwrap_or_default());
        }
        Decisions::Replay { id, file } => {
            let replayed = match (id, file) {
                (_, Some(file)) => {
                    let text = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
                    let export = serde_json::from_slice(&text)
                        .with_context(|| format!("{} is no exported decision", file.display()))?;
                    decisions::replay_export(&global.door()?, &export).await?
                }
                (Some(id), None) => decisions::replay(&global.app().await?, id).await?,
                (None, None) => bail!("name a decision or a file"),
            };
            told(global, &replayed)?;
        }
        Decisions::Export { id, out } => {
            let app = global.app().await?;
            let ctx = person::ctx(global, &app.store, "").await?;
            let export = decisions::export(&app, &ctx, id).await?;
            let text = serde_json::to_string_pretty(&export)?;
            match out {
                Some(out) => {
                    // It says what a person did: the file is the caller's alone.
                    new_file(&out)?
                        .write_all(text.as_bytes())
                        .with_context(|| format!("{} cannot be written", out.display()))?;
                    let out = out.display();
                    say(global, &json!({ "written": out.to_string() }), || {
                        format!("written to {out}; replay it with `koban decision replay --file {out}`")
                    });
                }
                None => println!("{text}"),
            }
        }
    }
    Ok(())
}

fn row(record: &Record) -> Vec<String> {
    let ended = match &record.ending {
        Ending::Output(koban_domain::records::Output::Assessment(answer)) => {
            format!("{:?}", answer.verdict).to_lowercase()
        }
        Ending::Output(koban_domain::records::Output::Failure(failure)) => failure.code.clone(),
        Ending::Output(_) => "answered".to_owned(),
        Ending::Fault(fault) => fault.class.word().to_owned(),
    };
    vec![
        record.id.to_string(),
        record.at.to_string(),
        record.plugin.clone(),
        record.input.function().to_owned(),
        ended,
        record.fuel.to_string(),
    ]
}

fn told(global: &Global, replayed: &Replayed) -> anyhow::Result<()> {
    let differences: Vec<_> = replayed
        .differences
        .iter()
        .map(
            |difference| json!({ "what": difference.what, "recorded": difference.recorded, "found": difference.found }),
        )
        .collect();
    let value = json!({ "same": replayed.same, "fuel": replayed.fuel, "fuel_compared": replayed.fuel_compared, "differences": differences });
    say(global, &value, || {
        let mut text = if replayed.same { "the same ending".to_owned() } else { "another ending".to_owned() };
        text.push_str(&format!(", {} fuel{}", replayed.fuel, if replayed.fuel_compared { " as recorded" } else { "" }));
        for difference in &replayed.differences {
            text.push_str(&format!(
                "\n{}\n  recorded {}\n  found    {}",
                difference.what, difference.recorded, difference.found
            ));
        }
        text
    });
    if replayed.same { Ok(()) } else { bail!("the decision is not confirmed") }
}
