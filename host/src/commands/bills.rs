//! `koban bill`: what the plugins that pay bills make of a code.

use clap::{Subcommand, ValueEnum};
use koban_domain::guest::{BillCode, BillSource, Value};
use koban_service::bills;
use serde_json::json;

use crate::commands::{say, table};
use crate::config::Global;
use crate::person;

/// What can be done with bills.
#[derive(Debug, Subcommand)]
pub(crate) enum Bills {
    /// Say what bill a code is. Pays nothing; each plugin's answer is recorded
    #[command(
        after_help = "Example:\n  koban bill recognise '(91)912345-0123456789012345678901-281031-0-012800-6' --source typed"
    )]
    Recognise {
        /// The code, as it was scanned or typed
        code: String,
        /// How it came in
        #[arg(long, value_enum, default_value = "bar-code")]
        source: SourceWord,
    },
}

/// How a code came in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SourceWord {
    /// Scanned from a one-dimensional bar code
    BarCode,
    /// Scanned from a QR code
    Qr,
    /// Typed by hand
    Typed,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Bills) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let Bills::Recognise { code, source } = command;
    let source = match source {
        SourceWord::BarCode => BillSource::BarCode,
        SourceWord::Qr => BillSource::Qr,
        SourceWord::Typed => BillSource::Typed,
    };
    let ctx = person::ctx(global, &app.store, "").await?;
    let found = bills::recognise(&app, &ctx, &BillCode { source, content: code }).await?;
    let due = found.bill.due.map(|at| koban_domain::time::Timestamp(i64::try_from(at).unwrap_or(i64::MAX)).to_string());
    let lines: Vec<(String, String)> = found.lines.iter().map(|(label, value)| (label.clone(), shown(value))).collect();
    let value = json!({ "payer": found.payer, "biller": found.bill.biller, "name": found.bill.name,
        "reference": found.bill.reference, "amount": found.bill.amount, "fee": found.bill.fee, "due": due,
        "lines": lines.iter().map(|(label, value)| json!({ "label": label, "value": value })).collect::<Vec<_>>() });
    say(global, &value, || {
        let mut rows = vec![
            vec!["payer".to_owned(), found.payer.clone()],
            vec!["biller".to_owned(), format!("{} ({})", found.bill.name, found.bill.biller)],
            vec!["reference".to_owned(), found.bill.reference.clone()],
            vec!["amount".to_owned(), found.bill.amount.to_string()],
            vec!["fee".to_owned(), found.bill.fee.to_string()],
            vec!["due".to_owned(), due.clone().unwrap_or_else(|| "-".to_owned())],
        ];
        rows.extend(lines.iter().map(|(label, value)| vec![label.clone(), value.clone()]));
        table(&["WHAT", "SAYS"], &rows)
    });
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Secret(text) => text.clone(),
        Value::Whole(number) => number.to_string(),
        Value::Amount(money) => money.to_string(),
        Value::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Moment(at) => koban_domain::time::Timestamp(i64::try_from(*at).unwrap_or(i64::MAX)).to_string(),
        Value::Rate(rate) => format!("{} / 10^{}", rate.mantissa, rate.scale),
    }
}
