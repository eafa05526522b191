//! `koban operator`: accounts of the people who run the platform.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use koban_service::operators;
use serde_json::json;

use crate::commands::say;
use crate::config::Global;

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
        /// A file whose first line is the password; without it the first line of standard input is
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Operators) -> anyhow::Result<()> {
    global.start_log()?;
    let Operators::Create { email, name, password_file } = command;
    let password = read_password(password_file)?;
    let app = global.app().await?;
    let ctx = operators::command_line("");
    let operator = operators::create(&app, &ctx, &email, &name, password).await?;
    say(global, &json!({ "id": operator.id, "email": operator.email }), || {
        format!("{} can sign in as {}", operator.id, operator.email)
    });
    Ok(())
}

fn read_password(file: Option<PathBuf>) -> anyhow::Result<String> {
    let text = match file {
        Some(file) => std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?,
        None => {
            if std::io::stdin().is_terminal() {
                eprintln!("password (12 to 128 characters, it is shown as you type):");
            }
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
    };
    Ok(text.lines().next().unwrap_or("").to_owned())
}
