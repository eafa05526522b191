//! `koban review`: amounts that a fraud rule had held, and the operator's yes or no.

use clap::{Args, Subcommand};
use koban_domain::ids::ReviewId;
use koban_domain::reviews::{Review, Reviewed};
use koban_service::page::Page;
use koban_service::reviews::{self, ReviewInput};
use serde_json::json;

use crate::commands::{PageArguments, fresh_key, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with reviews.
#[derive(Debug, Subcommand)]
pub(crate) enum Reviews {
    /// The newest reviews that nobody has decided yet
    #[command(after_help = "Examples:\n  koban review list\n  koban review list --all")]
    List {
        /// Those that are over, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        page: PageArguments,
    },
    /// Let the amount go on its way
    #[command(after_help = "Example:\n  koban review approve rev_0193… --reason 'the payer confirmed it by phone'")]
    Approve(Decision),
    /// Give the amount back to where it was
    #[command(after_help = "Example:\n  koban review decline rev_0193… --reason 'the card of a stolen phone'")]
    Decline(Decision),
}

/// Which review, and why.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The review, `rev_…`
    id: ReviewId,
    /// Why; goes into the audit log
    #[arg(long)]
    reason: String,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Reviews) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let (Decision { id, reason }, approve) = match command {
        Reviews::List { all, page } => {
            let list = reviews::list(&app, !all, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
                table(&["REVIEW", "OF", "PAYER", "AMOUNT", "STATE", "UNTIL"], &rows)
            });
            return Ok(());
        }
        Reviews::Approve(decision) => (decision, true),
        Reviews::Decline(decision) => (decision, false),
    };
    let ctx = person::ctx(global, &app.store, fresh_key(&app, "review")).await?;
    let review = reviews::decide(&app, &ctx, ReviewInput { review: id, approve, reason }).await?.value;
    say(global, &json_of(&review), || format!("{id} is {}", review.state.word()));
    Ok(())
}

fn subject(review: &Review) -> String {
    match review.of {
        Reviewed::Payment(of) => of.payment.to_string(),
        Reviewed::Transfer { transfer, .. } => transfer.to_string(),
    }
}

fn row(review: &Review) -> Vec<String> {
    vec![
        review.id.to_string(),
        subject(review),
        review.of.payer().to_string(),
        format!("{} {}", review.amount.minor, review.amount.currency),
        review.state.word().to_owned(),
        review.expires_at.to_string(),
    ]
}

fn json_of(review: &Review) -> serde_json::Value {
    json!({
        "id": review.id, "subject": subject(review), "payer": review.of.payer(), "amount": review.amount.minor,
        "currency": review.amount.currency, "decision": review.decision, "state": review.state.word(),
        "at": review.at.to_string(), "expires_at": review.expires_at.to_string(), "operator": review.operator,
        "ended_at": review.ended_at.map(|at| at.to_string()),
    })
}
