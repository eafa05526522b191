//! SDKs and plugins in JavaScript and Python pass their own unit tests, with nothing but Node.js and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of the repository.
fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path).canonicalize().unwrap()
}

#[track_caller]
fn passes(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask test` installs it"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}\n{}\n{}", said[0], said[1]);
}

#[test]
fn the_sdk_for_javascript_and_its_plugin_pass_their_tests() {
    passes(Command::new("node").arg("--test").current_dir(folder("sdk/js")));
    // As `koban plugin build` links it, for a clone in which nothing was built yet.
    let plugin = folder("plugins/fraud-night-owl");
    let link = plugin.join("node_modules/koban-sdk");
    if !link.exists() {
        std::fs::create_dir_all(plugin.join("node_modules")).unwrap();
        std::os::unix::fs::symlink(folder("sdk/js"), link).unwrap();
    }
    passes(Command::new("node").arg("--test").current_dir(plugin));
}

#[test]
fn the_sdk_for_python_passes_its_tests() {
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", ".");
    passes(python.args(["-m", "unittest", "discover", "--start-directory", "tests"]).current_dir(folder("sdk/python")));
}

#[test]
fn the_stamp_card_in_python_passes_its_tests() {
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", folder("sdk/python"));
    passes(python.args(["-m", "unittest", "discover", "tests"]).current_dir(folder("plugins/merchant-stamp-card")));
}
