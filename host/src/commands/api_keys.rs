//! `koban api-key`: the keys that merchants' programs use.

use clap::{Args, Subcommand};
use koban_domain::ids::{KeyId, MerchantId};
use koban_service::keys::{self, KeyView};
use koban_service::page::Paged;
use koban_service::{App, freezes};
use serde_json::{Value, json};

use crate::commands::{say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeys {
    /// A merchant's keys, without their secrets, which nobody has but the merchant
    #[command(after_help = "Example:\n  koban api-key list --merchant mer_0193…")]
    List {
        /// Whose
        #[arg(long)]
        merchant: MerchantId,
    },
    /// Refuse a key from the next commit on
    #[command(after_help = "Example:\n  koban api-key freeze key_0193… --reason 'found in a public repository'")]
    Freeze(Decision),
    /// Let a frozen key be used again
    #[command(after_help = "Example:\n  koban api-key thaw key_0193… --reason 'it was another one'")]
    Thaw(Decision),
}

/// Which key, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The key, `key_…`
    id: KeyId,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: ApiKeys) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    match command {
        ApiKeys::List { merchant } => {
            let ctx = person::ctx(global, &app.store, "").await?;
            koban_service::merchants::get(&app, merchant).await?;
            let policy = app.ledger.policy();
            let list = Paged { items: keys::list(&app, &ctx, merchant).await?, next: None };
            let state = |key: &KeyView| match (key.revoked_at, policy.frozen_keys.contains(&key.id)) {
                (Some(at), _) => format!("revoked {at}"),
                (None, true) => "frozen".to_owned(),
                (None, false) => key.expires_at.map_or("good".to_owned(), |at| format!("until {at}")),
            };
            let value = |key: &KeyView| json_of(key, policy.frozen_keys.contains(&key.id));
            say_page(global, &list, value, || {
                let row = |key: &KeyView| {
                    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.word()).collect();
                    vec![key.id.to_string(), key.name.clone(), scopes.join(","), state(key)]
                };
                table(&["KEY", "NAME", "SCOPES", "STATE"], &list.items.iter().map(row).collect::<Vec<_>>())
            });
            Ok(())
        }
        ApiKeys::Freeze(decision) => set(global, &app, decision, true).await,
        ApiKeys::Thaw(decision) => set(global, &app, decision, false).await,
    }
}

async fn set(global: &Global, app: &App, Decision { id, reason }: Decision, frozen: bool) -> anyhow::Result<()> {
    let ctx = person::ctx(global, &app.store, "").await?;
    freezes::set_key(app, &ctx, id, frozen, &reason).await?;
    let word = if frozen { "frozen" } else { "good again" };
    say(global, &json!({ "id": id, "frozen": frozen }), || format!("{id} is {word}"));
    Ok(())
}

fn json_of(key: &KeyView, frozen: bool) -> Value {
    json!({
        "id": key.id, "merchant": key.merchant, "name": key.name, "frozen": frozen,
        "scopes": key.scopes.iter().map(|scope| scope.word()).collect::<Vec<_>>(),
        "created_at": key.created_at.to_string(), "expires_at": key.expires_at.map(|at| at.to_string()),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
    })
}
