//! `koban operator`: accounts of the people who run the platform.

use std::path::PathBuf;

use clap::Subcommand;
use koban_service::App;
use koban_service::operators::{self, OperatorView};
use koban_service::page::Page;
use serde_json::{Value, json};

use crate::commands::{say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with operators.
#[derive(Debug, Subcommand)]
pub(crate) enum Operators {
    /// Make an operator. The password is read from a file or from standard input, never from the arguments
    #[command(
        after_help = "Example:\n  koban operator create --email ops@example.com --name Ops --password-file secret.txt"
    )]
    Create {
        /// The address to sign in with
        #[arg(long)]
        email: String,
        /// The operator's name
        #[arg(long)]
        name: String,
        /// A file whose first line is the password, 12 to 128 characters; without it the first line of standard input is
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Who they are, newest first
    #[command(after_help = "Example:\n  koban operator list")]
    List {
        #[command(flatten)]
        page: super::PageArguments,
    },
    /// Take an operator away; their sessions end at once. The last one stays
    #[command(after_help = "Example:\n  koban operator remove --email ops@example.com --reason 'left the company'")]
    Remove {
        /// Whose account
        #[arg(long)]
        email: String,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
    /// Give an operator who forgot theirs a new password; all their sessions end
    #[command(
        after_help = "Example:\n  koban operator password --email ops@example.com --password-file secret.txt\n\nWho knows the old one changes it over the API: POST /v1/operator/password."
    )]
    Password {
        /// Whose password
        #[arg(long)]
        email: String,
        /// A file whose first line is the new password, 12 to 128 characters; without it the first line of standard input is
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Operators) -> anyhow::Result<()> {
    global.start_log()?;
    let app = match command {
        Operators::Create { .. } => global.first_app().await?,
        _ => global.app().await?,
    };
    let ctx = person::ctx(global, &app.store, "").await?;
    match command {
        Operators::Create { email, name, password_file } => {
            let password = person::read_secret(password_file.as_deref(), "password")?;
            let operator = operators::create(&app, &ctx, &email, &name, password).await?;
            say(global, &json_of(&operator), || format!("{} can sign in as {}", operator.id, operator.email));
        }
        Operators::List { page } => {
            let list = operators::list(&app, &ctx, &Page::from(&page)).await?;
            say_page(global, &list, json_of, || {
                table(&["OPERATOR", "EMAIL", "NAME", "SINCE"], &list.items.iter().map(row).collect::<Vec<_>>())
            });
        }
        Operators::Remove { email, reason } => {
            let operator = find(&app, &email).await?;
            operators::remove(&app, &ctx, operator.id, &reason).await?;
            say(global, &json!({ "id": operator.id, "removed": true }), || format!("{email} is no operator any more"));
        }
        Operators::Password { email, password_file } => {
            let operator = find(&app, &email).await?;
            let password = person::read_secret(password_file.as_deref(), "new password")?;
            operators::reset_password(&app, &ctx, operator.id, password).await?;
            let value = json!({ "id": operator.id, "password": "changed" });
            say(global, &value, || format!("{email} has a new password; every session of theirs ended"));
        }
    }
    Ok(())
}

async fn find(app: &App, email: &str) -> anyhow::Result<OperatorView> {
    Ok(operators::find_by_email(app, email).await?)
}

fn row(operator: &OperatorView) -> Vec<String> {
    let OperatorView { id, email, name, created_at } = operator;
    vec![id.to_string(), email.clone(), name.clone(), created_at.to_string()]
}

fn json_of(operator: &OperatorView) -> Value {
    let OperatorView { id, email, name, created_at } = operator;
    json!({ "id": id, "email": email, "name": name, "created_at": created_at.to_string() })
}
