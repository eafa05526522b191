//! Where things are in this clone, and a cargo that builds there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The clone and its two target folders: one for the host's workspace, one for the guests'.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) guest_target: PathBuf,
}

/// The two profiles in use: one for `up` and `test`, one for `bench`.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Tree {
    /// Finds the clone this program was started in. A target folder named by the environment is honoured: a cache outlives the clone.
    pub(crate) fn find() -> Result<Tree> {
        let here = std::env::current_dir().context("the current directory is gone")?;
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).ancestors().nth(2).context("xtask lies two folders below the root")?.to_owned();
        let named = |variable: &str, default: &str| match std::env::var_os(variable) {
            Some(folder) => here.join(folder),
            None => root.join(default),
        };
        let target = named("CARGO_TARGET_DIR", "target");
        let guest_target = named("KOBAN_GUEST_TARGET", "plugins/target");
        Ok(Tree { root, target, guest_target })
    }

    /// Cargo at the root, for the host's workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// Cargo in `plugins/`, for the guests' workspace built natively.
    pub(crate) fn guest_cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(self.root.join("plugins")).env("CARGO_TARGET_DIR", &self.guest_target);
        cargo
    }

    /// The host's program as `profile` leaves it.
    pub(crate) fn koban(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.folder()).join("koban")
    }

    /// Where the guests' packages go, whatever target folder they were built in: tests and `koban up` look here.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("plugins/target/packages")
    }
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}

/// The cargo that runs this program, so that both use the same toolchain. What cargo told this program of its own package is kept from it:
/// build scripts that look at it would otherwise run again, and half of the dependencies with them.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        cargo.env_remove(name);
    }
    cargo
}
