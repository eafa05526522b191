//! `koban ledger`: the journal verified, and its head.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use koban_service::{audit, checkpoints, export, platform, verify};
use koban_store::Store;
use serde_json::json;

use crate::commands::{new_file, say};
use crate::config::Global;
use crate::person;

/// What can be done with the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommands {
    /// Check every entry, hash, balance, record and component, and name the first difference
    #[command(
        after_help = "Examples:\n  koban ledger verify\n  koban ledger verify --checkpoint checkpoints.jsonl --key checkpoint.pub\n  koban ledger verify --export journal.jsonl\n\nExit code 1 and one line that names the place if anything differs."
    )]
    Verify {
        /// Compare the journal with this file of signed checkpoints as well: finds rewriting and cut tails
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The public key whose signatures count, or the file that holds it [default: checkpoint.pub in --data]
        #[arg(long, value_name = "KEY", requires = "checkpoint")]
        key: Option<String>,
        /// Check this export by itself; no database is needed
        #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
        export: Option<PathBuf>,
    },
    /// Write the journal as lines of JSON that anybody can verify without a database
    #[command(
        after_help = "Examples:\n  koban ledger export > journal.jsonl\n  koban ledger export --out journal.jsonl && koban ledger verify --export journal.jsonl"
    )]
    Export {
        /// The file to write; it must not be there yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The last entry's number, hash and time
    #[command(after_help = "Example:\n  koban --json ledger head")]
    Head,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: LedgerCommands) -> anyhow::Result<()> {
    global.start_log()?;
    match command {
        LedgerCommands::Verify { export: Some(path), .. } => verify_export(global, &path),
        LedgerCommands::Verify { checkpoint, key, .. } => {
            let store = global.store().await?;
            verify_books(global, &store).await?;
            match checkpoint {
                Some(path) => verify_checkpoints(global, &store, &path, key).await,
                None => Ok(()),
            }
        }
        LedgerCommands::Export { out } => {
            let store = global.store().await?;
            let ctx = person::ctx(global, &store, "").await?;
            audit::note(&store, &platform::clock(&store).await?, &ctx, "ledger.export", "journal").await?;
            write_export(&store, out).await
        }
        LedgerCommands::Head => {
            let head = global.store().await?.lane_head().await?.head;
            say(global, &json!({ "sequence": head.sequence, "hash": head.hash, "at": head.at.to_string() }), || {
                format!("entry {}  {}  {}", head.sequence, head.hash, head.at)
            });
            Ok(())
        }
    }
}

async fn verify_books(global: &Global, store: &Store) -> anyhow::Result<()> {
    let verdict = verify::verify(store).await?;
    let value = json!({
        "clean": verdict.difference.is_none(), "entries": verdict.entries, "postings": verdict.postings,
        "accounts": verdict.accounts, "records": verdict.records, "head": verdict.head.hash,
        "difference": verdict.difference.as_ref().map(|difference| json!({ "place": difference.place, "what": difference.what })),
    });
    say(global, &value, || verdict.to_string());
    if verdict.difference.is_some() {
        bail!("the books are not what they must be; nothing was changed");
    }
    Ok(())
}

async fn verify_checkpoints(global: &Global, store: &Store, path: &Path, key: Option<String>) -> anyhow::Result<()> {
    let key = match key {
        Some(key) if key.len() == 64 && key.bytes().all(|letter| letter.is_ascii_hexdigit()) => key,
        Some(file) => read_key(Path::new(&file))?,
        None => read_key(&global.data.join("checkpoint.pub"))?,
    };
    let compared = checkpoints::verify(store, path, &key).await?;
    let value = json!({
        "clean": compared.difference.is_none(), "checkpoints": compared.good, "until": compared.good_until,
        "difference": compared.difference.as_ref().map(|difference| json!({ "place": difference.place, "what": difference.what })),
    });
    say(global, &value, || match &compared.difference {
        None => format!("{} checkpoints hold, the last one until entry {}", compared.good, compared.good_until),
        Some(difference) => format!("DIFFERENT at {}: {}", difference.place, difference.what),
    });
    if compared.difference.is_some() {
        bail!("the journal is not the one that the checkpoints vouch for; nothing was changed");
    }
    Ok(())
}

fn read_key(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} holds no public key; name one with --key", path.display()))?;
    Ok(text.trim().to_owned())
}

fn verify_export(global: &Global, path: &Path) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let seen = export::verify(std::io::BufReader::new(file))?;
    let value = json!({
        "clean": seen.difference.is_none(), "entries": seen.entries, "accounts": seen.accounts, "head": seen.hash,
        "difference": seen.difference.as_ref().map(|difference| json!({ "place": difference.place, "what": difference.what })),
    });
    say(global, &value, || seen.to_string());
    if seen.difference.is_some() {
        bail!("the export is not what it must be");
    }
    Ok(())
}

async fn write_export(store: &Store, out: Option<PathBuf>) -> anyhow::Result<()> {
    let exported = match out {
        None => export::export(store, &mut std::io::BufWriter::new(std::io::stdout())).await?,
        Some(path) => export::export(store, &mut std::io::BufWriter::new(new_file(&path)?)).await?,
    };
    eprintln!("{} entries, {} accounts, head {}", exported.entries, exported.accounts, exported.hash);
    Ok(())
}
