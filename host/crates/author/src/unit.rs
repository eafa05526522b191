//! The plugin's own unit tests, run natively by its language's tools.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build::{JAVASCRIPT, PYTHON, TARGET_DIR_VARIABLE};
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
    /// The SDK is not where the plugin's own file says.
    #[error("the unit tests in {} cannot be run: {problem}", dir.display())]
    Sdk {
        /// Where.
        dir: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
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

/// Runs the tests in `tests` and says how many passed, as `node --test` does.
const UNITTEST: &str = "import sys, unittest\n\
    found = unittest.main(module=None, argv=['unittest', 'discover', 'tests'], exit=False).result\n\
    print('# pass', found.testsRun - len(found.failures) - len(found.errors))\n\
    sys.exit(not found.wasSuccessful())";

fn command(dir: &Path) -> Result<Option<Command>, UnitError> {
    let no_sdk = |problem: String| UnitError::Sdk { dir: dir.to_owned(), problem };
    if dir.join("package.json").is_file() {
        JAVASCRIPT.link_sdk(dir).map_err(no_sdk)?;
        let mut node = Command::new("node");
        node.current_dir(dir).args(["--test", "--test-reporter=tap"]).args(javascript_tests(dir));
        return Ok(Some(node));
    }
    if dir.join("pyproject.toml").is_file() {
        PYTHON.link_sdk(dir).map_err(no_sdk)?;
        let mut python = Command::new("python3");
        python.current_dir(dir).args(["-c", UNITTEST]).env("PYTHONDONTWRITEBYTECODE", "1");
        return Ok(Some(python));
    }
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

/// The plugin's own test files: left to itself, Node would run those of `vendor` as well.
fn javascript_tests(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = dir.join("test").read_dir() else { return Vec::new() };
    let names = entries.flatten().map(|entry| Path::new("test").join(entry.file_name()));
    let mut files: Vec<PathBuf> = names.filter(|file| file.to_string_lossy().ends_with(".test.js")).collect();
    files.sort();
    files
}

/// Adds up the lines `test result: ok. 5 passed; …` and `# pass 5`.
fn passed(said: &str) -> u64 {
    let plain = said.lines().filter_map(|line| line.strip_prefix("# pass ")?.trim().parse::<u64>().ok());
    let plain: u64 = plain.sum();
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let counts = results.filter_map(|line| {
        let before = line.split(" passed").next()?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    plain + counts.sum::<u64>()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_passed_is_added_up() {
        let said = "\nrunning 5 tests\n.....\ntest result: ok. 5 passed; 0 failed; 0 ignored\n\ntest result: FAILED. 1 passed; 2 failed\n";
        assert_eq!(super::passed(said), 6);
        assert_eq!(super::passed("ok 1 - a\n# tests 3\n# pass 2\n# fail 1\n"), 2);
        assert_eq!(super::passed(""), 0);
    }
}
