//! `cargo xtask up`: from a fresh clone to a running Koban in one command.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::guests::{build_host, build_packages};
use crate::run::say;
use crate::setup;
use crate::tree::{Profile, Tree};

/// Installs, builds, and becomes `koban up`.
pub(crate) fn up(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    setup::c_compiler()?;
    setup::guest_toolchain()?;
    build_host(tree)?;
    build_packages(tree, Profile::Dev)?;

    let koban = tree.koban(Profile::Dev);
    say("starting koban up");
    // Becoming it, not starting it: signals and the exit code are koban's own.
    let error = Command::new(&koban).current_dir(&tree.root).arg("up").args(arguments).exec();
    Err(error).with_context(|| format!("could not start {}", koban.display()))
}
