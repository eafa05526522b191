//! `koban key`: the host's own keys, which seal what must not lie open in the database.

use anyhow::bail;
use clap::Subcommand;
use koban_service::platform;
use koban_service::sealing::Sealer;
use koban_service::sealing::file::KeyFile;
use koban_service::sealing::rotate::{self, KeyUse, Rotated};
use serde_json::{Value, json};

use crate::commands::doctor::State;
use crate::commands::{say, table};
use crate::config::Global;
use crate::person;

/// What can be done with seal keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// The keys by their ids, and how many values of the database each one seals
    #[command(
        after_help = "Example:\n  koban key list\n\nAn id says nothing of its key. Exit code 1 if the database names a key that this host lacks."
    )]
    List,
    /// Make a key that opens and does not seal yet, to be given to every host before it does
    #[command(
        after_help = "Example, with several hosts:\n  koban key prepare                 on one host; copy its seal.key to the others\n  koban key rotate --to 7c5e…       once every host has it"
    )]
    Prepare,
    /// Let a new key seal, and seal everything again with it, a hundred values at a time, while hosts run
    #[command(
        after_help = "Examples:\n  koban key rotate\n  koban key rotate --to 7c5e…       the key that `koban key prepare` made\n\nCut short, it goes on where it was: give the command again. Hosts that read the same file follow by themselves."
    )]
    Rotate {
        /// The id of a key of the file, instead of a new one
        #[arg(long, value_name = "ID")]
        to: Option<String>,
    },
    /// Take a key out of the file that nothing names any more
    #[command(
        after_help = "Example:\n  koban key remove 51aa…\n\nBackups made before the rotation need the old key: keep a copy with them."
    )]
    Remove {
        /// The key's id
        id: String,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Keys) -> anyhow::Result<()> {
    global.start_log()?;
    let store = global.store().await?;
    let sealer = global.sealer()?;
    let clock = platform::clock(&store).await?;
    match command {
        Keys::List => return list(global, &rotate::uses(&store, &sealer).await?),
        Keys::Prepare => {
            let id = file(global)?.add()?;
            let path = global.seal_key_file();
            say(global, &json!({ "prepared": id }), || {
                format!(
                    "{id} opens and does not seal yet\ncopy {} to every host, then `koban key rotate --to {id}`",
                    path.display()
                )
            });
        }
        Keys::Rotate { to } => {
            let ctx = person::ctx(global, &store, "").await?;
            let rotated = match (global.seal_key_place().is_none(), &to) {
                (true, Some(_)) => bail!(
                    "the keys come from KOBAN_SEAL_KEY: put that key's line first there, then rotate without --to"
                ),
                // The environment says which key seals; everything is sealed again with that one.
                (true, None) => rotate::reseal(&store, &clock, &ctx, &sealer).await?,
                (false, _) => rotate::rotate(&store, &clock, &ctx, &file(global)?, &sealer, to.as_deref()).await?,
            };
            told(global, &rotated)?;
        }
        Keys::Remove { id } => {
            let ctx = person::ctx(global, &store, "").await?;
            rotate::remove(&store, &clock, &ctx, &file(global)?, &sealer, &id).await?;
            say(global, &json!({ "removed": id }), || {
                format!("{id} is gone from {}", global.seal_key_file().display())
            });
        }
    }
    Ok(())
}

fn file(global: &Global) -> anyhow::Result<KeyFile> {
    if global.seal_key_place().is_none() {
        bail!(
            "the keys come from KOBAN_SEAL_KEY, which only whoever sets it can change; its first line seals, all open"
        );
    }
    Ok(KeyFile::take(&global.seal_key_file())?)
}

/// What is the matter with a key, if anything is.
pub(crate) fn standing(key: &KeyUse) -> &'static str {
    match key {
        KeyUse { id, .. } if id.is_empty() => "NOT SEALED: `koban key rotate` seals it",
        KeyUse { known: false, .. } => "MISSING: this host cannot open what it seals",
        KeyUse { current: true, .. } => "seals",
        KeyUse { values: 0, .. } => "opens; nothing names it",
        KeyUse { .. } => "opens; `koban key rotate` seals its values again",
    }
}

fn list(global: &Global, uses: &[KeyUse]) -> anyhow::Result<()> {
    let value = |key: &KeyUse| json!({ "id": key.id, "seals": key.current, "known": key.known, "values": key.values });
    let value = json!({ "items": uses.iter().map(value).collect::<Vec<Value>>(), "next": null });
    say(global, &value, || {
        let row = |key: &KeyUse| {
            let id = if key.id.is_empty() { "-".to_owned() } else { key.id.clone() };
            vec![id, key.values.to_string(), standing(key).to_owned()]
        };
        table(&["KEY", "VALUES", "STATE"], &uses.iter().map(row).collect::<Vec<_>>())
    });
    if uses.iter().any(|key| !key.known && !key.id.is_empty()) {
        bail!("the database names a key that this host lacks; add its line to the seal key file");
    }
    Ok(())
}

fn told(global: &Global, rotated: &Rotated) -> anyhow::Result<()> {
    let Rotated { current, made, resealed, unopened, removable } = rotated;
    let value =
        json!({ "current": current, "made": made, "resealed": resealed, "unopened": unopened, "removable": removable });
    say(global, &value, || {
        let mut lines = vec![format!(
            "{current} seals{}; {resealed} values were sealed again",
            if *made { ", made just now" } else { "" }
        )];
        lines.extend(
            removable
                .iter()
                .map(|id| format!("{id} seals nothing any more; once no backup needs it: `koban key remove {id}`")),
        );
        lines.join("\n")
    });
    if let Some(first) = unopened.first() {
        bail!("{} values do not open and stay as they are, first {first}", unopened.len());
    }
    Ok(())
}

/// The host's keys as one line of the doctor: how well, what was found, what to do.
pub(crate) fn judged(uses: &[KeyUse], sealer: &Sealer) -> (State, String, &'static str) {
    let values: i64 = uses.iter().map(|key| key.values).sum();
    let found =
        format!("{} of {} keys seals, {values} values", sealer.current().unwrap_or_default(), sealer.ids().len());
    let worst = |is: fn(&KeyUse) -> bool| uses.iter().any(is);
    if worst(|key| !key.known && !key.id.is_empty()) {
        let next = "a key is missing: add its line to the seal key file (`koban key list` names it)";
        return (State::Fail, found, next);
    }
    if worst(|key| key.id.is_empty() && key.values > 0) {
        return (State::Warn, found, "something lies unsealed: koban key rotate");
    }
    if worst(|key| key.known && !key.current && key.values > 0) {
        return (State::Warn, found, "a rotation is not finished: koban key rotate");
    }
    (State::Ok, found, "")
}
