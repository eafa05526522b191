//! Finds a way to build guests on this machine: the active Rust toolchain, rustup, or Debian's own Rust.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What guests are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Where Debian keeps its programs; rustup's stand before them on PATH, so they are named in full.
const SYSTEM_BIN: &str = "/usr/bin";
/// How long rustup may try to fetch the target, in quarters of a second: two minutes.
const FETCH_QUARTERS_MAX: u32 = 480;

/// A way to build guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The active toolchain has the target.
    Active {
        /// `rustc --version`.
        version: String,
    },
    /// Debian's rustc and cargo, which build std for the target from its sources.
    Debian {
        /// `rustc --version`.
        version: String,
        /// Its compiler.
        rustc: PathBuf,
        /// Its cargo.
        cargo: PathBuf,
    },
}

/// There is no way to build guests on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no Rust toolchain here can build for {TARGET}. One of these helps:\n\
     1. a toolchain that has the target: `rustc --print target-libdir --target {TARGET}` must name a directory that exists;\n\
     2. `rustup target add {TARGET}`{rustup};\n\
     3. on Debian: `apt-get install rustc-web cargo-web rust-web-src rust-web-llvm lld-22`{debian}."
)]
pub struct NoToolchain {
    rustup: String,
    debian: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Toolchain::Active { version } => write!(f, "{version}, which has {TARGET}"),
            Toolchain::Debian { version, .. } => write!(f, "Debian's {version}, with std built from source"),
        }
    }
}

impl Toolchain {
    /// A cargo of this toolchain that inherits nothing from a cargo that may have started us.
    pub(crate) fn cargo(&self, dir: &Path) -> Command {
        let mut command = match self {
            Toolchain::Active { .. } => Command::new("cargo"),
            Toolchain::Debian { cargo, .. } => Command::new(cargo),
        };
        clean(&mut command);
        command.current_dir(dir).stdin(Stdio::null());
        if let Toolchain::Debian { rustc, .. } = self {
            // Building std is not a stable option of cargo; the variable is for this child alone.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// What this toolchain needs beside `--target`.
    pub(crate) fn build_arguments(&self) -> &'static [&'static str] {
        match self {
            Toolchain::Active { .. } => &[],
            Toolchain::Debian { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// Finds a way to build in this directory: the active toolchain if it has the target, else with rustup's help, else Debian's. `say` hears of
/// what takes time. Errors: [`NoToolchain`], which names what helps.
pub fn find(dir: &Path, say: &mut dyn FnMut(&str)) -> Result<Toolchain, NoToolchain> {
    if let Some(active) = active(dir) {
        return Ok(active);
    }
    let rustup = match add_target(dir, say) {
        Ok(()) => match active(dir) {
            Some(active) => return Ok(active),
            None => " (it ran here, but the active toolchain still lacks the target)".to_owned(),
        },
        Err(problem) => format!(" ({problem})"),
    };
    match debian() {
        Ok(debian) => Ok(debian),
        Err(missing) => Err(NoToolchain { rustup, debian: format!(" ({missing})") }),
    }
}

/// The active toolchain, if it has the target.
pub fn active(dir: &Path) -> Option<Toolchain> {
    let libdir = answer(rustc("rustc", dir).args(["--print", "target-libdir", "--target", TARGET]))?;
    if !has_std(Path::new(&libdir)) {
        return None;
    }
    let version = answer(rustc("rustc", dir).arg("--version"))?;
    answer(clean(&mut Command::new("cargo")).current_dir(dir).arg("--version"))?;
    Some(Toolchain::Active { version })
}

/// Debian's own Rust, if everything it needs is installed. Errors: what is missing, in words.
pub fn debian() -> Result<Toolchain, String> {
    let (rustc_path, cargo) = (Path::new(SYSTEM_BIN).join("rustc"), Path::new(SYSTEM_BIN).join("cargo"));
    for program in [&rustc_path, &cargo] {
        if !program.is_file() {
            return Err(format!("{} is missing", program.display()));
        }
    }
    let ask = |argument: &[&str]| {
        let program = rustc_path.display();
        answer(rustc(&rustc_path, Path::new("/")).args(argument)).ok_or(format!("{program} does not work"))
    };
    let version = ask(&["--version"])?;
    let std = Path::new(&ask(&["--print", "sysroot"])?).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !std.is_file() {
        return Err("the sources of std are missing: rust-web-src".to_owned());
    }
    if !on_path("rust-lld") {
        return Err("rust-lld is missing: rust-web-llvm and lld-22".to_owned());
    }
    Ok(Toolchain::Debian { version, rustc: rustc_path, cargo })
}

fn add_target(dir: &Path, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    if !on_path("rustup") {
        return Err("rustup is not installed".to_owned());
    }
    say(&format!("rustup target add {TARGET}"));
    let mut command = Command::new("rustup");
    clean(&mut command).current_dir(dir).args(["target", "add", TARGET]);
    let unable = |error: io::Error| format!("rustup cannot be run: {error}");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(unable)?;
    for _ in 0..FETCH_QUARTERS_MAX {
        match child.try_wait().map_err(unable)? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err("it failed here".to_owned()),
            None => std::thread::sleep(Duration::from_millis(250)),
        }
    }
    // Ours alone, and nobody waits for it any more.
    let _ = child.kill();
    let _ = child.wait();
    Err("it did not end within two minutes here".to_owned())
}

fn rustc(program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    clean(&mut command).current_dir(dir);
    command
}

/// Takes out what the host's own build may have set: a guest is built by its own rules.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of_a_build = name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_BIN_")
            || name.starts_with("CARGO_CFG_")
            || name.starts_with("CARGO_FEATURE_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_PROFILE_")
            || matches!(
                name,
                "CARGO"
                    | "CARGO_BUILD_TARGET"
                    | "CARGO_CRATE_NAME"
                    | "CARGO_ENCODED_RUSTFLAGS"
                    | "CARGO_INCREMENTAL"
                    | "CARGO_PRIMARY_PACKAGE"
                    | "CARGO_TARGET_DIR"
                    | "CARGO_TARGET_TMPDIR"
                    | "OUT_DIR"
                    | "RUSTC"
                    | "RUSTC_BOOTSTRAP"
                    | "RUSTC_WRAPPER"
                    | "RUSTC_WORKSPACE_WRAPPER"
                    | "RUSTDOC"
                    | "RUSTFLAGS"
            );
        if of_a_build {
            command.env_remove(name);
        }
    }
    command
}

/// The one line that a program answers with, if it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let Output { status, stdout, .. } = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(stdout).ok()?.trim().to_owned();
    (status.success() && !line.is_empty()).then_some(line)
}

/// A target's directory can exist without its std.
fn has_std(libdir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libdir) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
