//! `koban partner-file`: files that go to partners at cut-offs, and files that came from them.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use koban_domain::ids::PartnerFileId;
use koban_service::flows::partner_files::{self, File, PartnerFileRow, ReceivedRow};
use koban_service::page::Page;
use serde_json::{Value, json};

use crate::commands::{PageArguments, new_file, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with files that are shared with partners.
#[derive(Debug, Subcommand)]
pub(crate) enum PartnerFiles {
    /// Files to partners, newest first
    #[command(after_help = "Example:\n  koban partner-file list --plugin bank-transfer")]
    List {
        /// Of this plugin alone
        #[arg(long)]
        plugin: Option<String>,
        #[command(flatten)]
        page: PageArguments,
    },
    /// One file, and what lies in its place in the directory
    #[command(after_help = "Example:\n  koban partner-file show pfl_0193…")]
    Show {
        /// The file, `pfl_…`
        file: PartnerFileId,
    },
    /// Write a file's bytes, as they were composed, to a file of yours
    #[command(after_help = "Example:\n  koban partner-file download pfl_0193… --out transfers.txt")]
    Download {
        /// The file, `pfl_…`
        file: PartnerFileId,
        /// Where they go; it must not be there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Seal an open file now; records that come later go into the file of the next cut-off
    #[command(after_help = "Example:\n  koban partner-file seal pfl_0193… --reason 'the bank closes early today'")]
    Seal(Act),
    /// Have a file composed once more that its plugin could not compose
    #[command(after_help = "Example:\n  koban partner-file retry pfl_0193… --reason 'the client code is set now'")]
    Retry(Act),
    /// Write the same bytes into the directory once more
    #[command(after_help = "Example:\n  koban partner-file send pfl_0193… --reason 'the bank lost it'")]
    Send(Act),
    /// Files from partners, newest first
    #[command(after_help = "Example:\n  koban partner-file received --plugin bank-transfer")]
    Received {
        /// Of this plugin alone
        #[arg(long)]
        plugin: Option<String>,
        #[command(flatten)]
        page: PageArguments,
    },
}

/// Which file, and why.
#[derive(Debug, Args)]
pub(crate) struct Act {
    /// The file, `pfl_…`
    file: PartnerFileId,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: PartnerFiles) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let file = match command {
        PartnerFiles::List { plugin, page } => {
            let list = partner_files::list(&app, &ctx, plugin.as_deref(), &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
                table(&["ID", "PLUGIN", "NAME", "CUT-OFF", "STATE", "RECORDS", "NOTE"], &rows)
            });
            return Ok(());
        }
        PartnerFiles::Received { plugin, page } => {
            let list = partner_files::list_received(&app, &ctx, plugin.as_deref(), &Page::from(&page)).await?;
            say_page(global, &list, json_of_received, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row_of_received).collect();
                table(&["ID", "PLUGIN", "NAME", "AT", "STATE", "RECORDS", "NOTE"], &rows)
            });
            return Ok(());
        }
        PartnerFiles::Download { file, out } => {
            let (name, content) = partner_files::content(&app, &ctx, file).await?;
            new_file(&out)?.write_all(&content).with_context(|| format!("{} cannot be written", out.display()))?;
            let value = json!({ "file": out, "name": name, "bytes": content.len() });
            say(global, &value, || format!("{}: {} bytes of {name}", out.display(), content.len()));
            return Ok(());
        }
        PartnerFiles::Show { file } => partner_files::get(&app, &ctx, file).await?,
        PartnerFiles::Seal(Act { file, reason }) => partner_files::seal(&app, &ctx, file, &reason).await?,
        PartnerFiles::Retry(Act { file, reason }) => partner_files::retry(&app, &ctx, file, &reason).await?,
        PartnerFiles::Send(Act { file, reason }) => partner_files::send(&app, &ctx, file, &reason).await?,
    };
    say(global, &json_of_one(&file), || text_of(&file));
    Ok(())
}

fn row(file: &PartnerFileRow) -> Vec<String> {
    vec![
        file.id.to_string(),
        file.key.plugin.clone(),
        file.name.clone(),
        file.key.cut_off.to_string(),
        file.state.word().to_owned(),
        file.records.to_string(),
        file.note.as_deref().unwrap_or_default().chars().take(100).collect(),
    ]
}

fn row_of_received(file: &ReceivedRow) -> Vec<String> {
    vec![
        file.id.to_string(),
        file.plugin.clone(),
        file.name.clone(),
        file.at.to_string(),
        state_of(file).to_owned(),
        file.records.to_string(),
        file.note.as_deref().unwrap_or_default().chars().take(100).collect(),
    ]
}

fn state_of(file: &ReceivedRow) -> &'static str {
    if file.taken { "taken" } else { "unreadable" }
}

fn json_of(file: &PartnerFileRow) -> Value {
    json!({
        "id": file.id, "plugin": file.key.plugin, "file": file.key.file, "directory": file.directory, "name": file.name,
        "number": file.number, "cut_off": file.key.cut_off.to_string(), "state": file.state.word(), "records": file.records,
        "digest": file.digest, "note": file.note, "changed_at": file.changed_at.to_string(),
    })
}

fn json_of_one(file: &File) -> Value {
    let mut value = json_of(&file.row);
    value["in_directory"] = json!(file.lying.word());
    value
}

fn json_of_received(file: &ReceivedRow) -> Value {
    json!({
        "id": file.id, "plugin": file.plugin, "file": file.file, "name": file.name, "digest": file.digest,
        "state": state_of(file), "records": file.records, "note": file.note, "at": file.at.to_string(),
    })
}

fn text_of(file: &File) -> String {
    let row = &file.row;
    let number = row.number.map_or("none yet".to_owned(), |number| number.to_string());
    let digest = row.digest.map_or("none yet".to_owned(), |digest| digest.to_string());
    let mut lines = vec![
        format!("{}  {}", row.id, row.name),
        format!("plugin     {} ({}, directory {})", row.key.plugin, row.key.file, row.directory),
        format!("cut-off    {}", row.key.cut_off),
        format!("state      {}, {} records, number {number}", row.state.word(), row.records),
        format!("digest     {digest}"),
        format!("directory  {}", file.lying.word()),
    ];
    lines.extend(row.note.as_ref().map(|note| format!("note       {note}")));
    lines.join("\n")
}
