//! `koban publisher`: whose signature under a package counts.

use std::path::PathBuf;

use clap::Subcommand;
use koban_author::sign::SigningKey;
use koban_service::publishers::{self, PublisherRow};
use serde_json::{Value, json};

use crate::commands::{say, table};
use crate::config::Global;
use crate::person;

/// What can be done with publishers.
#[derive(Debug, Subcommand)]
pub(crate) enum Publishers {
    /// Make a signing key, for whoever publishes plugins. Needs no database
    #[command(after_help = "Example:\n  koban publisher keygen publisher.key")]
    Keygen {
        /// A file that is not there yet; only you will be able to read it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add a publisher's public key. What it signs is taken once it is trusted
    #[command(
        after_help = "Compare the key with its publisher by another way than the one the package came.\n\nExample:\n  koban publisher add example-inc 0f1e2d…"
    )]
    Add {
        /// What you call it: a-z, 0-9 and `-`
        name: String,
        /// Its public key, 64 hexadecimal digits
        key: String,
    },
    /// Take what a publisher signs
    #[command(
        after_help = "Example:\n  koban publisher trust example-inc --reason 'key compared by phone with their CTO'"
    )]
    Trust {
        /// The publisher
        name: String,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Kill switch: let nothing rest on anything that a publisher ever signed, from the next commit on
    #[command(
        after_help = "Where its releases were enabled, the last good release of somebody else decides again. It cannot be taken back.\n\nExample:\n  koban publisher revoke example-inc --reason 'its key was stolen'"
    )]
    Revoke {
        /// The publisher
        name: String,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Every publisher
    #[command(after_help = "Example:\n  koban publisher list")]
    List,
}

const HEADER: &[&str] = &["PUBLISHER", "STATE", "KEY", "SINCE", "WHY"];

fn row(publisher: &PublisherRow) -> Vec<String> {
    vec![
        publisher.name.clone(),
        publisher.state.word().to_owned(),
        hex::encode(publisher.key),
        publisher.changed_at.to_string(),
        if publisher.note.is_empty() { String::from("-") } else { publisher.note.clone() },
    ]
}

fn json_of(publisher: &PublisherRow) -> Value {
    json!({
        "name": publisher.name, "key": hex::encode(publisher.key), "state": publisher.state.word(),
        "note": publisher.note, "added_at": publisher.added_at.to_string(), "changed_at": publisher.changed_at.to_string(),
    })
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Publishers) -> anyhow::Result<()> {
    global.start_log()?;
    if let Publishers::Keygen { file } = &command {
        let key = SigningKey::create(file)?.public_key();
        let value = json!({ "file": file, "public_key": key });
        say(global, &value, || {
            format!(
                "{} holds the signing key: keep it, nobody can make it again.\nPublic key, for those who run your plugins:\n  {key}",
                file.display()
            )
        });
        return Ok(());
    }
    let app = global.first_app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let publisher = match command {
        Publishers::Keygen { .. } | Publishers::List => {
            let list = publishers::list(&app).await?;
            let value = json!({ "items": list.iter().map(json_of).collect::<Vec<_>>(), "next": null });
            say(global, &value, || table(HEADER, &list.iter().map(row).collect::<Vec<_>>()));
            return Ok(());
        }
        Publishers::Add { name, key } => publishers::add(&app, &ctx, &name, &key).await?,
        Publishers::Trust { name, reason } => publishers::trust(&app, &ctx, &name, &reason).await?,
        Publishers::Revoke { name, reason } => publishers::revoke(&app, &ctx, &name, &reason).await?,
    };
    say(global, &json_of(&publisher), || table(HEADER, &[row(&publisher)]));
    Ok(())
}
