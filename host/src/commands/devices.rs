//! `koban device`: devices, by the name that requests give them.

use clap::{Args, Subcommand};
use koban_service::freezes;
use koban_service::page::Paged;
use serde_json::json;

use crate::commands::{say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// The devices that are frozen
    #[command(after_help = "Example:\n  koban device list")]
    List,
    /// Refuse a device from the next commit on
    #[command(after_help = "Example:\n  koban device freeze phone-7 --reason 'reported stolen'")]
    Freeze(Decision),
    /// Let a frozen device be used again
    #[command(after_help = "Example:\n  koban device thaw phone-7 --reason 'it was found'")]
    Thaw(Decision),
}

/// Which device, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The device, as requests name it in `Koban-Device`
    device: String,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Devices) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let (Decision { device, reason }, frozen) = match command {
        Devices::List => {
            let list = Paged { items: app.ledger.policy().frozen_devices.iter().cloned().collect(), next: None };
            say_page(
                global,
                &list,
                |device: &String| json!({ "device": device, "frozen": true }),
                || table(&["DEVICE"], &list.items.iter().map(|device| vec![device.clone()]).collect::<Vec<_>>()),
            );
            return Ok(());
        }
        Devices::Freeze(decision) => (decision, true),
        Devices::Thaw(decision) => (decision, false),
    };
    let ctx = person::ctx(global, &app.store, "").await?;
    freezes::set_device(&app, &ctx, &device, frozen, &reason).await?;
    let word = if frozen { "frozen" } else { "good again" };
    say(global, &json!({ "device": device, "frozen": frozen }), || format!("{device} is {word}"));
    Ok(())
}
