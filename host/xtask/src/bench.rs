//! `cargo xtask bench`: the release build measured beside a temporary PostgreSQL.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::guests::build_packages;
use crate::postgres::{Purpose, Server};
use crate::run::{run, timed};
use crate::setup;
use crate::tree::{Profile, Tree};

/// Builds for release, starts the server, runs `koban bench` and answers with its exit code.
pub(crate) fn bench(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    setup::c_compiler()?;
    setup::guest_toolchain()?;
    setup::postgresql()?;
    timed("building koban for release (about ten minutes the first time)", || {
        run(tree.cargo().args(["build", "--release", "--package", "host", "--bin", "koban"]))
    })?;
    build_packages(tree, Profile::Release)?;
    let server = Server::start(Purpose::Bench)?;

    let koban = tree.koban(Profile::Release);
    let status = Command::new(&koban)
        .current_dir(&tree.root)
        .args(["bench", "--postgres", server.url()])
        .args(arguments)
        .status()
        .with_context(|| format!("could not start {}", koban.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
