//! Who runs the command: an operator who proves it with a password, or the user of the machine.

use std::io::{BufRead as _, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};
use koban_service::identity::Hashing;
use koban_service::{Actor, Ctx, operators};
use koban_store::Store;

use crate::config::Global;

/// The circumstances of this command under an idempotency key: the operator that `--operator` names, once the password is
/// proven, else the user of the machine.
pub(crate) async fn ctx(global: &Global, store: &Store, key: impl Into<String>) -> anyhow::Result<Ctx> {
    let Some(email) = &global.operator else {
        return Ok(Ctx::new(Actor::CommandLine(machine_user()), key));
    };
    let password = read_secret(global.operator_password_file.as_deref(), &format!("password of {email}"))?;
    let operator = operators::prove(store, &Hashing::default(), email, password).await?;
    Ok(Ctx::new(Actor::Operator(operator), key))
}

/// The user that this process runs as, and in brackets whoever called `sudo` for it, as the environment says.
fn machine_user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let uid = std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid());
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = name_of(uid, &users).unwrap_or_else(|| format!("uid-{uid}"));
        match std::env::var("SUDO_USER").ok().filter(|caller| is_plain(caller) && *caller != user) {
            Some(caller) => format!("{user}({caller})"),
            None => user,
        }
    })
}

/// The name of a user in the format of passwd(5).
fn name_of(uid: u32, users: &str) -> Option<String> {
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':').next().filter(|name| is_plain(name)).map(str::to_owned)
}

fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-$@".contains(&byte))
}

/// The first line of a file, or of standard input; typed in a terminal it is not shown.
pub(crate) fn read_secret(file: Option<&Path>, what: &str) -> anyhow::Result<String> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?,
        None => {
            let _hidden = std::io::stdin().is_terminal().then(|| {
                eprint!("{what}: ");
                Hidden::begin()
            });
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
    };
    let secret = text.lines().next().unwrap_or("").to_owned();
    if secret.is_empty() {
        bail!("no {what} was given: name a file with its first line, or pipe it in");
    }
    Ok(secret)
}

/// While it lives, the terminal does not show what is typed.
struct Hidden;

impl Hidden {
    fn begin() -> Hidden {
        stty("-echo");
        Hidden
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        stty("echo");
        eprintln!();
    }
}

/// A terminal that cannot do it shows what is typed.
fn stty(how: &str) {
    let _ = std::process::Command::new("stty").arg(how).stdin(std::process::Stdio::inherit()).status();
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_user_is_named_as_the_machine_names_them() {
        let users = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\nodd name:x:7:7::/:\n";
        assert_eq!(name_of(1000, users).as_deref(), Some("alice"));
        assert_eq!(name_of(0, users).as_deref(), Some("root"));
        assert_eq!((name_of(100, users), name_of(7, users)), (None, None));
    }
}
