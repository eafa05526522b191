//! The plugin's own unit tests, run natively by its language's tools.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build::TARGET_DIR_VARIABLE;
use crate::toolchain::{self, NoToolchain};

/// What came of the unit tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Whether all passed.
    pub good: bool,
    /// How many passed, as far as the tool says.
    pub passed: u64,
    /// What the tool said on standard output.
    pub said: String,
}

/// Why the unit tests could not be run.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// No way to build here.
    #[error(transparent)]
    Toolchain(#[from] NoToolchain),
    /// The tool could not be started.
    #[error("the unit tests in {} cannot be run: {source}", dir.display())]
    Start {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs the unit tests of the plugin in this folder; none for a language whose tests are run by other means. The tool's progress goes to
/// standard error. Errors: [`UnitError`]; a failing test is no error but an answer.
pub fn unit_tests(dir: &Path) -> Result<Option<Unit>, UnitError> {
    let Some(mut command) = command(dir)? else { return Ok(None) };
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| UnitError::Start { dir: dir.to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Some(Unit { good: output.status.success(), passed: passed(&said), said }))
}

fn command(dir: &Path) -> Result<Option<Command>, UnitError> {
    if !dir.join("Cargo.toml").is_file() {
        return Ok(None);
    }
    let mut cargo = toolchain::find(dir, &mut |_| {})?.cargo(dir);
    cargo.args(["test", "--quiet"]);
    let target: Option<OsString> = std::env::var_os(TARGET_DIR_VARIABLE);
    if let Some(target) = target {
        cargo.arg("--target-dir").arg(target);
    }
    Ok(Some(cargo))
}

/// Adds up the lines `test result: ok. 5 passed; …`.
fn passed(said: &str) -> u64 {
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let counts = results.filter_map(|line| {
        let before = line.split(" passed").next()?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_passed_is_added_up() {
        let said = "\nrunning 5 tests\n.....\ntest result: ok. 5 passed; 0 failed; 0 ignored\n\ntest result: FAILED. 1 passed; 2 failed\n";
        assert_eq!(super::passed(said), 6);
        assert_eq!(super::passed(""), 0);
    }
}
