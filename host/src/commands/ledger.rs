//! `koban ledger`: the journal verified, and its head.

use anyhow::bail;
use clap::Subcommand;
use koban_service::verify;
use serde_json::json;

use crate::commands::say;
use crate::config::Global;

/// What can be done with the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommands {
    /// Check every entry, hash, balance, record and component, and name the first difference
    #[command(
        after_help = "Example:\n  koban ledger verify\n\nExit code 1 and one line that names the place if anything differs."
    )]
    Verify,
    /// The last entry's number, hash and time
    #[command(after_help = "Example:\n  koban --json ledger head")]
    Head,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: LedgerCommands) -> anyhow::Result<()> {
    global.start_log()?;
    let store = global.store().await?;
    match command {
        LedgerCommands::Verify => {
            let verdict = verify::verify(&store).await?;
            let value = json!({
                "clean": verdict.difference.is_none(), "entries": verdict.entries, "postings": verdict.postings,
                "accounts": verdict.accounts, "records": verdict.records, "head": verdict.head.hash,
                "difference": verdict.difference.as_ref().map(|difference| json!({ "place": difference.place, "what": difference.what })),
            });
            say(global, &value, || verdict.to_string());
            if verdict.difference.is_some() {
                bail!("the books are not what they must be; nothing was changed");
            }
        }
        LedgerCommands::Head => {
            let head = store.lane_head().await?.head;
            say(global, &json!({ "sequence": head.sequence, "hash": head.hash, "at": head.at.to_string() }), || {
                format!("entry {}  {}  {}", head.sequence, head.hash, head.at)
            });
        }
    }
    Ok(())
}
