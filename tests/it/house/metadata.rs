//! What cargo knows about our two workspaces: packages, their dependencies, licences and sources.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

/// One workspace as `cargo metadata` describes it, for the platform we run on.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// A package: ours when it has no source.
#[derive(Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) source: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

/// A dependency as a manifest names it. `path` is there for our own crates, `kind` for `dev` and `build`.
#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) path: Option<String>,
}

impl Metadata {
    /// Our own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// The host's workspace. Cargo runs once for all rules.
pub(super) fn host() -> &'static Metadata {
    static HOST: LazyLock<Metadata> = LazyLock::new(|| read("Cargo.toml"));
    &HOST
}

/// The guests' workspace: plugins, SDK, test guests.
pub(super) fn guests() -> &'static Metadata {
    static GUESTS: LazyLock<Metadata> = LazyLock::new(|| read("plugins/Cargo.toml"));
    &GUESTS
}

/// Every package of both workspaces.
pub(super) fn packages() -> impl Iterator<Item = &'static Package> {
    host().packages.iter().chain(&guests().packages)
}

fn read(manifest: &str) -> Metadata {
    let root = super::root();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).args(["metadata", "--format-version", "1", "--offline", "--locked"]);
    cargo.args(["--filter-platform", &platform(&root), "--manifest-path", manifest]);
    let output = cargo.output().expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata of {manifest} failed (`cargo xtask guests` fetches what is missing):\n{errors}"
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints its documented format")
}

/// The triple we run on: packages of other platforms may never have been fetched.
fn platform(root: &Path) -> String {
    let output = Command::new("rustc").current_dir(root).arg("-vV").output().expect("rustc starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc -vV names its host").to_owned()
}
