//! What each chore needs from the machine, looked for first and installed only when missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run::{answer, run, say, succeeds};
use crate::{apt, postgres};

const WASM: &str = "wasm32-unknown-unknown";

/// The oldest Node.js with the test runner that plugins' tests use; Debian 12 has this one.
const NODE_MAJOR_MIN: u32 = 18;

/// Debian's Rust with LLVM's WebAssembly back end, the sources of std, and the linker.
const DEBIAN_GUEST_TOOLCHAIN: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// A C compiler: SQLite, the cryptography and some of wasmtime's parts are C and assembly, and Rust links with it.
pub(crate) fn c_compiler() -> Result<()> {
    if succeeds(Command::new("cc").arg("--version")) {
        return Ok(());
    }
    apt::install(&["gcc", "libc6-dev"], "a C compiler, for linking and for the embedded SQLite")
}

/// What builds plugins in every language; `koban plugin build` fetches the rest by its locked version.
pub(crate) fn guest_toolchain() -> Result<()> {
    rust_for_guests()?;
    node()?;
    python()
}

/// A Node.js with npm, for plugins in JavaScript.
fn node() -> Result<()> {
    let major = answer(Command::new("node").arg("--version"))
        .and_then(|version| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE_MAJOR_MIN) && succeeds(Command::new("npm").arg("--version")) {
        return Ok(());
    }
    apt::install(&["nodejs", "npm"], "a Node.js that builds plugins in JavaScript and runs their tests")
}

/// Something that compiles Rust to WebAssembly. `koban plugin build` chooses among what is there.
fn rust_for_guests() -> Result<()> {
    if active_toolchain_has_wasm() || apt::all_installed(&DEBIAN_GUEST_TOOLCHAIN) {
        return Ok(());
    }
    if succeeds(Command::new("rustup").arg("--version")) {
        say(&format!("adding Rust's target {WASM} with rustup: plugins are compiled for it"));
        // Where rustup's server cannot be reached, Debian's packages come next: do not wait long.
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", WASM]).env("RUSTUP_MAX_RETRIES", "1");
        match run(&mut rustup) {
            Ok(()) if active_toolchain_has_wasm() => return Ok(()),
            Ok(()) => say("rustup added it to another toolchain than the active one; trying the system's packages"),
            Err(error) => say(&format!("{error:#}; trying the system's packages")),
        }
    }
    apt::install(&DEBIAN_GUEST_TOOLCHAIN, "a Rust that compiles plugins to WebAssembly")
        .with_context(|| format!("plugins cannot be compiled yet; `rustup target add {WASM}` would be the other way"))
}

/// A PostgreSQL to start for ourselves. The server that the package may set up is neither needed nor touched.
pub(crate) fn postgresql() -> Result<()> {
    if postgres::binaries().is_some() {
        return Ok(());
    }
    apt::install(&["postgresql"], "the second of the two databases that everything is tested on")?;
    if postgres::binaries().is_none() {
        bail!("postgresql is installed, but initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin");
    }
    Ok(())
}

/// A Python that makes virtual environments: tests read exports with it and put schemathesis into one, plugins in Python are built with it.
pub(crate) fn python() -> Result<()> {
    if succeeds(Command::new("python3").args(["-m", "ensurepip", "--version"])) {
        return Ok(());
    }
    apt::install(
        &["python3", "python3-venv"],
        "a Python that builds plugins, reads exports and sends what the API's description allows",
    )
}

/// rustfmt and clippy, for the tests.
pub(crate) fn rust_components() -> Result<()> {
    let missing: Vec<&str> = [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(_, command)| !succeeds(Command::new("cargo").args([command, "--version"])))
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    say(&format!("adding with rustup: {names} (formatting and lints are part of the tests)"));
    run(Command::new("rustup").args(["component", "add"]).args(&missing))
        .with_context(|| format!("{names} are missing: install them for the active Rust, then try again"))
}

/// Whether the active toolchain carries std for WebAssembly.
fn active_toolchain_has_wasm() -> bool {
    answer(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM]))
        .is_some_and(|folder| Path::new(&folder).is_dir())
}
