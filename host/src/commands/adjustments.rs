//! `koban adjustment`: corrections of the books that one operator proposes and another posts or rejects.

use clap::{Args, Subcommand};
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::adjustments::{Adjustment, Line};
use koban_domain::ids::{AdjustmentId, FlowId};
use koban_domain::money::Currency;
use koban_service::adjustments;
use koban_service::page::Page;
use serde_json::{Value, json};

use crate::commands::{PageArguments, fresh_key, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with adjustments.
#[derive(Debug, Subcommand)]
pub(crate) enum Adjustments {
    /// Adjustments, newest first
    #[command(after_help = "Example:\n  koban adjustment list")]
    List {
        #[command(flatten)]
        page: PageArguments,
    },
    /// One adjustment, line by line
    #[command(after_help = "Example:\n  koban adjustment show adj_0193…")]
    Show {
        /// The adjustment, `adj_…`
        id: AdjustmentId,
    },
    /// Propose a correction. Nothing moves before another operator approves it, within seven days
    #[command(
        after_help = "Examples:\n  koban --operator one@example.com adjustment propose --line 'write-off prepaid/usr_0193… 700' --reason 'the machine kept a note'\n  koban --operator one@example.com adjustment propose --line 'suspense payable/mer_0193… 1280' --line 'bank suspense 20' --reason 'letter of 3 May'\n\nAn account is a class, and its owner behind a slash where it has one: prepaid, funds, receivable (of a user), payable (of a\nmerchant), clearing (of a plugin); suspense, bank, write-off, closed-balances (the platform's). docs/reference/accounts.md has\nthe table of what may be moved where."
    )]
    Propose(Proposal),
    /// Post what another operator proposed
    #[command(
        after_help = "Example:\n  koban --operator two@example.com adjustment approve adj_0193… --reason 'checked with the network'"
    )]
    Approve(Decision),
    /// Reject what another operator proposed
    #[command(
        after_help = "Example:\n  koban --operator two@example.com adjustment reject adj_0193… --reason 'the note was found'"
    )]
    Reject(Decision),
}

/// Arguments of `propose`.
#[derive(Debug, Args)]
pub(crate) struct Proposal {
    /// `DEBIT CREDIT AMOUNT [CURRENCY]`, the amount in whole minor units, yen unless told; repeat it for 2 to 20 lines
    #[arg(long = "line", value_name = "LINE", required = true, value_parser = line)]
    lines: Vec<Line>,
    /// The flow that shall end with it: it is then posted by `koban flow resolve --adjustment`
    #[arg(long, value_name = "FLOW")]
    flow: Option<FlowId>,
    /// Why; the other operator sees it
    #[arg(long)]
    reason: String,
    /// The same key gives the first answer again [default: a new one]
    #[arg(long)]
    key: Option<String>,
}

/// Which adjustment, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The adjustment, `adj_…`
    id: AdjustmentId,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

fn line(text: &str) -> Result<Line, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (debit, credit, amount, currency) = match words[..] {
        [debit, credit, amount] => (debit, credit, amount, "JPY"),
        [debit, credit, amount, currency] => (debit, credit, amount, currency),
        _ => return Err("write DEBIT CREDIT AMOUNT [CURRENCY], such as 'write-off prepaid/usr_… 700'".to_owned()),
    };
    let currency = Currency::new(currency).map_err(|error| error.to_string())?;
    let amount = amount.parse().map_err(|_| format!("`{amount}`: write whole minor units, such as 700"))?;
    Ok(Line { debit: account(debit, currency)?, credit: account(credit, currency)?, amount })
}

fn account(text: &str, currency: Currency) -> Result<AccountKey, String> {
    let (class, owner) = text.split_once('/').map_or((text, None), |(class, owner)| (class, Some(owner)));
    let class: Class =
        serde_json::from_value(json!(class)).map_err(|_| format!("`{class}` is no class of accounts; see --help"))?;
    adjustments::account(class, owner, currency).map_err(|problem| format!("`{text}`: {problem}"))
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Adjustments) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let (Decision { id, reason }, approve) = match command {
        Adjustments::List { page } => {
            let list = adjustments::list(&app, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                table(
                    &["ADJUSTMENT", "STATE", "LINES", "PROPOSED BY", "AT", "REASON"],
                    &list.items.iter().map(row).collect::<Vec<_>>(),
                )
            });
            return Ok(());
        }
        Adjustments::Show { id } => {
            tell(global, &adjustments::get(&app, id).await?);
            return Ok(());
        }
        Adjustments::Propose(Proposal { lines, flow, reason, key }) => {
            let key = key.unwrap_or_else(|| fresh_key(&app, "adjustment"));
            let ctx = person::ctx(global, &app.store, key).await?;
            tell(global, &adjustments::propose(&app, &ctx, lines, flow, &reason).await?.value);
            return Ok(());
        }
        Adjustments::Approve(decision) => (decision, true),
        Adjustments::Reject(decision) => (decision, false),
    };
    let ctx = person::ctx(global, &app.store, fresh_key(&app, "adjustment")).await?;
    tell(global, &adjustments::judge(&app, &ctx, id, approve, &reason).await?.value);
    Ok(())
}

fn tell(global: &Global, adjustment: &Adjustment) {
    say(global, &json_of(adjustment), || {
        let mut lines = vec![format!("{} {}: {}", adjustment.id, adjustment.state.word(), adjustment.reason)];
        let cells = adjustment.lines.iter().map(|line| {
            let amount = format!("{} {}", line.amount, line.debit.currency);
            vec![adjustments::account_name(&line.debit), adjustments::account_name(&line.credit), amount]
        });
        lines.push(table(&["DEBIT", "CREDIT", "AMOUNT"], &cells.collect::<Vec<_>>()));
        if let Some(flow) = adjustment.flow {
            lines.push(format!("ends {flow}; `koban flow resolve {flow} --adjustment {}` posts it", adjustment.id));
        }
        lines.push(match adjustment.decided_at {
            None => format!("another operator decides until {}", adjustment.expires_at()),
            Some(at) => format!("decided {at}"),
        });
        lines.join("\n")
    });
}

fn row(adjustment: &Adjustment) -> Vec<String> {
    vec![
        adjustment.id.to_string(),
        adjustment.state.word().to_owned(),
        adjustment.lines.len().to_string(),
        adjustment.proposer.to_string(),
        adjustment.at.to_string(),
        adjustment.reason.clone(),
    ]
}

fn json_of(adjustment: &Adjustment) -> Value {
    let line = |line: &Line| {
        json!({ "debit": adjustments::account_name(&line.debit), "credit": adjustments::account_name(&line.credit),
            "amount": line.amount, "currency": line.debit.currency })
    };
    json!({
        "id": adjustment.id, "state": adjustment.state, "lines": adjustment.lines.iter().map(line).collect::<Vec<_>>(),
        "reason": adjustment.reason, "flow": adjustment.flow, "proposer": adjustment.proposer, "decider": adjustment.decider,
        "at": adjustment.at.to_string(), "expires_at": adjustment.expires_at().to_string(),
        "decided_at": adjustment.decided_at.map(|at| at.to_string()),
    })
}
