//! `koban user document`: a user's statement as a file, for a user who asked an operator for it.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use koban_domain::ids::UserId;
use koban_domain::money::Currency;
use koban_domain::time::{Timestamp, beginning_of_day, day_of_date};
use koban_service::App;
use koban_service::documents::{self, DocumentInput};
use serde_json::json;

use crate::commands::{new_file, say};
use crate::config::Global;
use crate::person;

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The plugin that writes it
    #[arg(long)]
    plugin: String,
    /// One of its formats
    #[arg(long)]
    format: String,
    /// The first day, such as 2019-12-01, in Japan
    #[arg(long, value_parser = day)]
    from: i32,
    /// The last day
    #[arg(long, value_parser = day)]
    until: i32,
    /// Which wallet
    #[arg(long, default_value = "JPY")]
    currency: Currency,
    /// Where the file goes; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn day(text: &str) -> Result<i32, String> {
    day_of_date(text).ok_or_else(|| "write a day such as 2019-12-01".to_owned())
}

/// Writes the file.
pub(crate) async fn write(global: &Global, app: &App, user: UserId, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { plugin, format, from, until, currency, out } = arguments;
    let ctx = person::ctx(global, &app.store, "").await?;
    let (from, to): (Timestamp, Timestamp) = (beginning_of_day(from), beginning_of_day(until.saturating_add(1)));
    let input = DocumentInput { plugin, format, currency, from, to };
    let written = documents::write_for(app, &ctx, user, &input).await?;
    let content = &written.document.content;
    new_file(&out)?.write_all(content).with_context(|| format!("{} cannot be written", out.display()))?;
    let value =
        json!({ "file": out, "bytes": content.len(), "media_type": written.media_type, "decision": written.decision });
    say(global, &value, || format!("{}: {} bytes, decision {}", out.display(), content.len(), written.decision));
    Ok(())
}
