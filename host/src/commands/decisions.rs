//! `koban decision`: what guests were asked and answered, and the same call run again.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use koban_domain::ids::{RecordId, UserId};
use koban_domain::records::{Kept, Outcome, Part};
use koban_runtime::{Difference, Replayed};
use koban_service::page::Page;
use koban_service::replays::{self, Replayer, Summary};
use koban_service::walk::Progress;
use koban_service::{decisions, erasures};
use serde_json::{Value, json};

use crate::commands::{PageArguments, new_file, say, say_page, table};
use crate::config::Global;
use crate::person;
use crate::progress::Bar;

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
    /// Run a decision again in a fresh sandbox and compare; or every decision there is. A file from `export` needs no database
    #[command(
        after_help = "Examples:\n  koban decision replay dec_0193…\n  koban decision replay --file decision.json\n  koban decision replay --all"
    )]
    Replay {
        /// The decision, `dec_…`
        #[arg(required_unless_present_any = ["file", "all"])]
        id: Option<RecordId>,
        /// An exported decision
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        file: Option<PathBuf>,
        /// Every decision of the database, on all cores
        #[arg(long, conflicts_with_all = ["id", "file"])]
        all: bool,
    },
    /// Erase what decisions hold of people: of one decision, or of all that are about a user. The chain of records stays whole
    #[command(
        after_help = "Examples:\n  koban decision erase dec_0193… --reason 'asked for by letter of 3 November'\n  koban decision erase --user usr_0193… --reason 'account closed, retention over'\n\nWhat was told and answered is gone for good, also for replay; who was asked, when, and how it ended stays. Backups that\nwere made before still have it."
    )]
    Erase {
        /// The decision, `dec_…`
        #[arg(required_unless_present = "user")]
        id: Option<RecordId>,
        /// Everything about this user
        #[arg(long, value_name = "USER", conflicts_with = "id")]
        user: Option<UserId>,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// For how long the contents of decisions are kept; without an option it says so
    #[command(
        after_help = "Examples:\n  koban decision keep\n  koban decision keep --days 730\n  koban decision keep --for-ever\n\nA running host erases what is older, some pages every half minute. What is erased cannot be run again."
    )]
    Keep {
        /// So many days, 30 to 36500
        #[arg(long, value_name = "DAYS")]
        days: Option<i64>,
        /// Without an end
        #[arg(long, conflicts_with = "days")]
        for_ever: bool,
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
            say_page(global, &list, json_of, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
                table(&["DECISION", "AT", "PLUGIN", "CALL", "ENDED", "FUEL"], &rows)
            });
        }
        Decisions::Show { id } => {
            let found = decisions::get(&global.app().await?, id).await?;
            let mut value = json_of(&found.kept);
            value["previous"] = json!(found.previous);
            value["link"] = json!(found.link);
            say(global, &value, || serde_json::to_string_pretty(&value).unwrap_or_default());
        }
        Decisions::Replay { all: true, .. } => replay_all(global).await?,
        Decisions::Replay { id, file, .. } => {
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
        Decisions::Export { id, out } => export(global, id, out).await?,
        Decisions::Erase { id, user, reason } => {
            let app = global.app().await?;
            let ctx = person::ctx(global, &app.store, "").await?;
            let erased = match (id, user) {
                (Some(id), _) => erasures::erase(&app, &ctx, id, &reason).await.map(|()| 1)?,
                (None, Some(user)) => {
                    let bar = Bar::new();
                    let show = |done: i64, of: i64| {
                        let whole = |number: i64| u64::try_from(number).unwrap_or(0);
                        bar.show(whole(done), whole(of), &format!("{done} of {of} pages"));
                    };
                    erasures::erase_user(&app, &ctx, user, &reason, show).await?
                }
                (None, None) => bail!("name a decision or a user"),
            };
            say(global, &json!({ "erased": erased }), || format!("erased the contents of {erased} decision(s)"));
        }
        Decisions::Keep { days, for_ever } => {
            let app = global.app().await?;
            let retention = match days.is_some() || for_ever {
                true => {
                    let ctx = person::ctx(global, &app.store, "").await?;
                    erasures::set_retention(&app, &ctx, days).await?
                }
                false => erasures::retention(&app).await?,
            };
            let value = json!({ "keep_days": retention.keep_days, "erased_to_page": retention.swept_to });
            say(global, &value, || {
                let kept = retention.keep_days.map_or("for ever".to_owned(), |days| format!("for {days} days"));
                format!("contents are kept {kept}; those of pages up to {} are erased", retention.swept_to)
            });
        }
    }
    Ok(())
}

async fn export(global: &Global, id: RecordId, out: Option<PathBuf>) -> anyhow::Result<()> {
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
    Ok(())
}

async fn replay_all(global: &Global) -> anyhow::Result<()> {
    let app = global.app().await?;
    let bar = Bar::new();
    let show = |progress: Progress| {
        bar.show(progress.pages, progress.pages_of, &format!("{} decisions", progress.records));
    };
    let summary = replays::replay_all(&app.store, &Replayer::new(app.door.clone()), &show).await?;
    drop(bar);
    let named: Vec<Value> = summary
        .named
        .iter()
        .map(|(id, differences)| json!({ "decision": id, "differences": differences_json(differences) }))
        .collect();
    let Summary { records, same, erased, busy, deadlines, differing, .. } = summary;
    let value = json!({
        "decisions": records, "same": same, "differing": differing, "erased": erased, "busy": busy,
        "deadlines": deadlines, "named": named,
    });
    say(global, &value, || {
        let mut text = format!(
            "{records} decisions: {same} ended the same way, {differing} another way\nnot run: {erased} erased, {busy} busy, \
             {deadlines} deadline"
        );
        for (id, differences) in &summary.named {
            text.push_str(&format!("\n{id}"));
            differences.iter().for_each(|difference| text.push_str(&shown(difference)));
        }
        text
    });
    if summary.is_confirmed() { Ok(()) } else { bail!("{differing} decision(s) are not confirmed") }
}

/// A decision as JSON: what its head says, and its content unless that was erased.
fn json_of(kept: &Kept) -> Value {
    let head = &kept.head;
    let mut value = match kept.record() {
        Ok(record) => json!(record),
        Err(_) => json!({
            "id": head.id, "at": head.at, "plugin": head.plugin, "part": head.part, "about": head.about,
            "component": head.component, "contract": head.contract, "engine": head.engine,
            "settings": head.settings, "grants": head.grants, "fuel": head.fuel,
        }),
    };
    value["function"] = json!(function(kept));
    value["outcome"] = json!(head.outcome);
    value["holds"] = json!(head.holds);
    value["digest"] = json!(kept.digest());
    value["erased"] = json!(kept.is_erased());
    value
}

fn function(kept: &Kept) -> String {
    match (kept.head.function.as_str(), kept.record()) {
        ("", Ok(record)) => record.input.function().to_owned(),
        (function, _) => function.to_owned(),
    }
}

fn row(kept: &Kept) -> Vec<String> {
    let record = kept.record();
    let outcome = match (&kept.head.outcome, &record) {
        (Outcome::Untold, Ok(record)) => Outcome::of(&record.ending),
        (outcome, _) => outcome.clone(),
    };
    let shadow = matches!(kept.head.part, Part::Shadow(_)).then_some(" (shadow)").unwrap_or_default();
    vec![
        kept.head.id.to_string(),
        kept.head.at.to_string(),
        kept.head.plugin.clone(),
        function(kept),
        format!("{}{shadow}", outcome.word()),
        record.map_or(kept.head.fuel, |record| record.fuel).to_string(),
    ]
}

fn differences_json(differences: &[Difference]) -> Vec<Value> {
    let one = |difference: &Difference| json!({ "what": difference.what, "recorded": difference.recorded, "found": difference.found });
    differences.iter().map(one).collect()
}

fn shown(difference: &Difference) -> String {
    let Difference { what, recorded, found } = difference;
    format!("\n{what}\n  recorded {recorded}\n  found    {found}")
}

fn told(global: &Global, replayed: &Replayed) -> anyhow::Result<()> {
    let differences = differences_json(&replayed.differences);
    let value = json!({ "same": replayed.same, "fuel": replayed.fuel, "fuel_compared": replayed.fuel_compared, "differences": differences });
    say(global, &value, || {
        let mut text = if replayed.same { "the same ending".to_owned() } else { "another ending".to_owned() };
        text.push_str(&format!(", {} fuel{}", replayed.fuel, if replayed.fuel_compared { " as recorded" } else { "" }));
        replayed.differences.iter().for_each(|difference| text.push_str(&shown(difference)));
        text
    });
    if replayed.same { Ok(()) } else { bail!("the decision is not confirmed") }
}
