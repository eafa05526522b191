//! `koban plugin endpoint`: where partners are, what is shared with them, and whether they can be reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use koban_service::endpoints::{self, EndpointInput, EndpointView, LimitsInput, OauthAddresses, Tested};
use serde_json::json;

use crate::commands::{say, table};
use crate::config::Global;
use crate::person;

/// What can be done with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommands {
    /// A plugin's endpoints: where they are, on both sides, and what stands before them
    #[command(after_help = "Example:\n  koban plugin endpoint list charge-atm")]
    List {
        /// The plugin's id
        id: String,
    },
    /// Say where a partner is and how both sides prove themselves
    #[command(
        after_help = "Examples:\n  koban plugin endpoint set charge-atm network --base https://atm.example.com --secret-file secrets.txt\n  koban plugin endpoint set charge-atm network --sandbox --base https://sandbox.atm.example.com --secret-file sandbox.txt\n\nThe secret file holds one `whsec_…` secret a line, or for other credentials TOML: `token = \"…\"`, `user` and `password`, `secret` and `key`, `client_id` and `client_secret`, `certificate` and `key` (PEM), the names of the manifest's headers. A table `[fill]` holds what `{{secret:name}}` in a body stands for."
    )]
    Set(Box<SetArguments>),
    /// Try an endpoint step by step: address, policy, connection, certificate, credential, answer. Nothing changes at the partner
    #[command(after_help = "Example:\n  koban plugin endpoint test charge-atm network")]
    Test {
        /// The plugin's id
        id: String,
        /// The endpoint's name in the manifest
        name: String,
        /// Its sandbox, also while the plugin is live
        #[arg(long)]
        sandbox: bool,
    },
    /// Put a plugin on its partners' sandboxes, from where it can reach no live base, or on the live ones
    #[command(after_help = "Example:\n  koban plugin endpoint mode charge-atm sandbox")]
    Mode {
        /// The plugin's id
        id: String,
        /// `live` or `sandbox`
        #[arg(value_parser = ["live", "sandbox"])]
        mode: String,
    },
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// The plugin's id
    id: String,
    /// The endpoint's name in the manifest
    name: String,
    /// Its base address
    #[arg(long)]
    base: String,
    /// The file with what is secret; none for the credential `none`
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Allow a private address for exactly this endpoint
    #[arg(long)]
    allow_private: bool,
    /// This is the partner's sandbox
    #[arg(long)]
    sandbox: bool,
    /// PEM of the partner's own authorities, which then are the only ones that are believed there
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// Where tokens are asked for (OAuth)
    #[arg(long, value_name = "URL")]
    token: Option<String>,
    /// The page where users agree (OAuth of users)
    #[arg(long, value_name = "URL")]
    authorize: Option<String>,
    /// Where users come back to, to the letter (OAuth of users)
    #[arg(long, value_name = "URL")]
    redirect: Option<String>,
    /// Where the token server is told that a user's token is given up (RFC 7009)
    #[arg(long, value_name = "URL")]
    revoke: Option<String>,
    /// Requests in a minute, of each host [default: 600]
    #[arg(long, value_name = "N")]
    per_minute: Option<u32>,
    /// Requests at the same time, of each host [default: 16]
    #[arg(long, value_name = "N")]
    concurrent: Option<u32>,
    /// Bytes of an answer [default: 65536]
    #[arg(long, value_name = "BYTES")]
    answer_bytes: Option<u32>,
    /// Seconds of an exchange [default: 60]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: EndpointCommands) -> anyhow::Result<()> {
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let id = match command {
        EndpointCommands::List { id } => id,
        EndpointCommands::Set(arguments) => {
            let id = arguments.id.clone();
            endpoints::set(&app, &ctx, &id, input(*arguments)?).await?;
            id
        }
        EndpointCommands::Mode { id, mode } => {
            endpoints::set_mode(&app, &ctx, &id, mode == "sandbox").await?;
            id
        }
        EndpointCommands::Test { id, name, sandbox } => {
            let tested = endpoints::test(&app, &ctx, &id, &name, sandbox.then_some(true)).await?;
            say(global, &json_of_test(&tested), || shown_test(&tested));
            if !tested.good {
                bail!("`{id}/{name}` cannot be used as it is set; see the step that is bad");
            }
            return Ok(());
        }
    };
    let list = endpoints::list(&app, &id).await?;
    let value = json!({ "items": list.iter().map(json_of).collect::<Vec<_>>(), "next": null });
    say(global, &value, || {
        table(
            &["ENDPOINT", "SIDE", "IN USE", "CREDENTIAL", "BASE", "LIMITS"],
            &list.iter().map(row).collect::<Vec<_>>(),
        )
    });
    Ok(())
}

fn side(sandbox: bool) -> &'static str {
    if sandbox { "sandbox" } else { "live" }
}

fn row(view: &EndpointView) -> Vec<String> {
    let mut base = view.base.clone().unwrap_or_else(|| "(not set: koban plugin endpoint set)".to_owned());
    if view.allow_private {
        base.push_str(" (private allowed)");
    }
    if view.own_authorities {
        base.push_str(" (own authorities)");
    }
    vec![
        view.name.clone(),
        side(view.sandbox).to_owned(),
        if view.in_use { "yes" } else { "no" }.to_owned(),
        view.credential.word().to_owned(),
        base,
        format!("{}/min, {} at a time", view.limits.per_minute, view.limits.concurrent),
    ]
}

fn json_of(view: &EndpointView) -> serde_json::Value {
    let operations = view.operations.iter();
    json!({
        "name": view.name, "side": side(view.sandbox), "in_use": view.in_use, "credential": view.credential.word(), "base": view.base,
        "allow_private": view.allow_private, "own_authorities": view.own_authorities,
        "limits": {
            "per_minute": view.limits.per_minute, "concurrent": view.limits.concurrent,
            "answer_bytes": view.limits.answer_bytes, "timeout_s": view.limits.timeout_s,
        },
        "operations": operations.map(|operation| json!({
            "name": operation.name, "method": operation.method, "path": operation.path, "probe": operation.probe,
        })).collect::<Vec<_>>(),
    })
}

fn json_of_test(tested: &Tested) -> serde_json::Value {
    let steps = tested.steps.iter();
    let steps = steps.map(|step| json!({ "step": step.step, "how": step.how, "words": step.words, "ms": step.ms }));
    json!({ "good": tested.good, "side": side(tested.sandbox), "steps": steps.collect::<Vec<_>>() })
}

fn shown_test(tested: &Tested) -> String {
    let rows: Vec<Vec<String>> = tested
        .steps
        .iter()
        .map(|step| {
            let ms = if step.how == "skipped" { "-".to_owned() } else { format!("{} ms", step.ms) };
            vec![step.step.to_owned(), step.how.to_owned(), ms, step.words.clone()]
        })
        .collect();
    table(&["STEP", "HOW", "TIME", "FOUND"], &rows)
}

fn input(arguments: SetArguments) -> anyhow::Result<EndpointInput> {
    let file = arguments.secret_file.as_deref().map(secret_file).transpose()?.unwrap_or_default();
    let authorities = arguments.authorities.as_deref().map(text_of).transpose()?;
    Ok(EndpointInput {
        name: arguments.name,
        base: arguments.base,
        secrets: file.secrets,
        allow_private: arguments.allow_private,
        sandbox: arguments.sandbox.then_some(true),
        credential: file.credential,
        fill: file.fill,
        authorities,
        oauth: OauthAddresses {
            token: arguments.token,
            authorize: arguments.authorize,
            redirect: arguments.redirect,
            revoke: arguments.revoke,
        },
        limits: LimitsInput {
            per_minute: arguments.per_minute,
            concurrent: arguments.concurrent,
            answer_bytes: arguments.answer_bytes,
            timeout_s: arguments.timeout,
        },
    })
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// What a secret file holds.
#[derive(Default)]
struct SecretFile {
    secrets: Vec<String>,
    credential: BTreeMap<String, String>,
    fill: BTreeMap<String, String>,
}

/// Reads a secret file: lines of `whsec_…`, or TOML. No error repeats anything that stands in it.
fn secret_file(path: &Path) -> anyhow::Result<SecretFile> {
    let text = zeroize::Zeroizing::new(text_of(path)?);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    if lines.peek().is_none_or(|line| line.starts_with("whsec_")) {
        return Ok(SecretFile { secrets: lines.map(str::to_owned).collect(), ..SecretFile::default() });
    }
    let hint = "write one whsec_… secret a line, or TOML: name = \"value\", and a table [fill]";
    let Ok(table) = text.parse::<toml::Table>() else { bail!("{} is neither: {hint}", path.display()) };
    let mut file = SecretFile::default();
    for (name, value) in table {
        match value {
            toml::Value::String(value) => {
                file.credential.insert(name, value);
            }
            toml::Value::Table(values) if name == "fill" => {
                for (name, value) in values {
                    let toml::Value::String(value) = value else { bail!("fill.{name} is no text; {hint}") };
                    file.fill.insert(name, value);
                }
            }
            _ => bail!("`{name}` in {} is no text; {hint}", path.display()),
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> anyhow::Result<SecretFile> {
        let place = std::env::temp_dir().join(format!("koban-secret-file-{}-{}", std::process::id(), text.len()));
        std::fs::write(&place, text).unwrap();
        let file = secret_file(&place);
        std::fs::remove_file(&place).unwrap();
        file
    }

    #[test]
    fn a_secret_file_is_lines_or_toml_and_is_never_repeated() {
        assert_eq!(read("# ours\nwhsec_a\n\nwhsec_b\n").unwrap().secrets, ["whsec_a", "whsec_b"]);
        let file = read("token = \"t0ken\"\n[fill]\nterminal_pin = \"12345678\"\n").unwrap();
        assert_eq!(file.credential["token"], "t0ken");
        assert_eq!(file.fill["terminal_pin"], "12345678");
        for bad in ["hunter2-hunter2", "token = hunter2", "token = 1", "[fill]\nhunter2 = 1", "[hunter2]\na = \"b\""] {
            let error = format!("{:#}", read(bad).err().expect("refused"));
            assert!(!error.contains("hunter2-") && !error.contains("= hunter2"), "{error}");
        }
    }
}
