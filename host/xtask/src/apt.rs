//! Installing packages of Debian and Ubuntu: only what is missing, and only after saying so.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{answer, run, say, succeeds};

/// Installs those of `packages` that are missing. `why` completes the sentence "installing … with apt: ".
///
/// # Errors
/// When this machine has no apt, when we may not use it, or when apt itself fails; the message says what to do by hand.
pub(crate) fn install(packages: &[&str], why: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("needed {why}, and this machine has no apt-get: install what `{names}` is called here, then try again");
    }
    let root = is_root();
    if !root && !succeeds(Command::new("sudo").arg("--version")) {
        bail!("needed {why}, and only root may install it: as root, `apt-get install {names}`, then try again");
    }
    say(&format!("installing with apt: {names} ({why})"));
    let known = missing.iter().all(|package| candidate(package));
    if !known {
        update(root)?;
    }
    match run(&mut apt_get(root, &["install", "--yes", "--no-install-recommends"], &missing)) {
        // A list that is older than the archive names files that are gone: with a new list it works.
        Err(_) if known => {
            update(root)?;
            run(&mut apt_get(root, &["install", "--yes", "--no-install-recommends"], &missing))
        }
        first => first,
    }
}

/// Whether dpkg has all of these, configured.
pub(crate) fn all_installed(packages: &[&str]) -> bool {
    packages.iter().all(|package| installed(package))
}

/// Whether we may install without asking anyone.
pub(crate) fn is_root() -> bool {
    answer(Command::new("id").arg("-u")).as_deref() == Some("0")
}

fn installed(package: &str) -> bool {
    let status = answer(Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]));
    status.as_deref() == Some("install ok installed")
}

/// Whether the package lists on this machine know the package. A fresh machine often has no lists at all.
fn candidate(package: &str) -> bool {
    succeeds(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
}

fn update(root: bool) -> Result<()> {
    say("reading the package lists with apt-get update");
    run(&mut apt_get(root, &["update"], &[]))
}

fn apt_get(root: bool, action: &[&str], packages: &[&str]) -> Command {
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        command.arg("env"); // sudo drops variables that were only exported
    }
    command.arg("DEBIAN_FRONTEND=noninteractive").args(["apt-get", "-o", "DPkg::Lock::Timeout=120", "--quiet"]);
    command.args(action).args(packages);
    command
}
