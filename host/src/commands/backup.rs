//! `koban backup`: make, restore and verify backups.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use koban_domain::time::Timestamp;
use koban_service::backup::{self, Manifest};
use koban_service::clock::Clock;
use koban_service::{audit, platform};
use serde_json::{Value, json};

use crate::commands::say;
use crate::config::Global;
use crate::person;

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Backups {
    /// Write every row of this moment into one file; hosts go on working
    #[command(
        after_help = "Examples:\n  koban backup create koban.backup\n  koban --database postgres://koban@db/koban backup create koban.backup\n\nThe file is as secret as the database. Keep the printed digest elsewhere: it tells this backup from any other."
    )]
    Create {
        /// The file to write; it must not be there yet
        file: PathBuf,
    },
    /// Fill an empty database of either kind from a backup, and verify the books that came of it
    #[command(
        after_help = "Example:\n  koban --database sqlite:restored.db backup restore koban.backup\n\nWhat was committed after the backup is not in it, and partners do not forget: see docs/operating/run.md."
    )]
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Read a whole backup and name the first place that is not as it was written; no database is needed
    #[command(after_help = "Example:\n  koban backup verify koban.backup")]
    Verify {
        /// The backup
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Backups) -> anyhow::Result<()> {
    global.start_log()?;
    match command {
        Backups::Create { file } => {
            let store = global.store().await?;
            let ctx = person::ctx(global, &store, "").await?;
            audit::note(&store, &platform::clock(&store).await?, &ctx, "backup.create", &file.display().to_string())
                .await?;
            let (manifest, digest) = backup::create(&store, &file, Clock::machine().now()).await?;
            let value = shown(&manifest, Some(digest.to_string()));
            say(global, &value, || format!("{} holds {}\ndigest {digest}", file.display(), summary(&manifest)));
        }
        Backups::Restore { file } => {
            let store = global.open().await?;
            let (manifest, verdict) = backup::restore(&store, &file).await?;
            store.close().await;
            let value = shown(&manifest, None);
            say(global, &value, || format!("restored {}\n{verdict}", summary(&manifest)));
        }
        Backups::Verify { file } => {
            let checked = backup::check(&file)?;
            let difference = checked.difference.as_ref();
            let mut value = checked
                .manifest
                .as_ref()
                .map_or_else(|| json!({}), |manifest| shown(manifest, Some(checked.digest.to_string())));
            value["clean"] = difference.is_none().into();
            value["difference"] = difference
                .map_or(Value::Null, |difference| json!({ "place": difference.place, "what": difference.what }));
            say(global, &value, || match (difference, &checked.manifest) {
                (None, Some(manifest)) => format!("clean: {}\ndigest {}", summary(manifest), checked.digest),
                (Some(difference), _) => format!("DIFFERENT at {}: {}", difference.place, difference.what),
                (None, None) => "nothing could be read".to_owned(),
            });
            if difference.is_some() {
                bail!("the backup is not what was written; do not restore it");
            }
        }
    }
    Ok(())
}

fn summary(manifest: &Manifest) -> String {
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    format!(
        "{rows} rows of {} tables ({}, version {}) as of {}, journal until entry {}",
        manifest.tables.len(),
        manifest.store,
        manifest.schema,
        Timestamp(manifest.at),
        manifest.sequence
    )
}

fn shown(manifest: &Manifest, digest: Option<String>) -> Value {
    json!({
        "store": manifest.store, "schema": manifest.schema, "at": Timestamp(manifest.at).to_string(),
        "sequence": manifest.sequence, "hash": manifest.hash, "digest": digest, "chunks": manifest.chunks.len(),
        "tables": manifest.tables.iter().map(|table| (table.name.clone(), json!(table.rows))).collect::<serde_json::Map<_, _>>(),
    })
}
