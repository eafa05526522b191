//! Building the guests through the author's own door: `koban plugin build`, as any third party would.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::run::{run, timed};
use crate::setup;
use crate::tree::{Profile, Tree};

/// `cargo xtask guests`.
pub(crate) fn guests(tree: &Tree) -> Result<ExitCode> {
    setup::c_compiler()?;
    setup::guest_toolchain()?;
    build_host(tree)?;
    build_packages(tree, Profile::Dev)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the host's program. The whole workspace is selected, as the tests do, so that no dependency is built a second
/// time with other features.
pub(crate) fn build_host(tree: &Tree) -> Result<()> {
    timed("building koban (minutes the first time, seconds after that)", || {
        run(tree.cargo().args(["build", "--workspace", "--bin", "koban"]))
    })
}

/// Builds every plugin and every test guest into `plugins/target/packages/<id>/`.
pub(crate) fn build_packages(tree: &Tree, profile: Profile) -> Result<()> {
    let folders = guest_folders(&tree.root)?;
    let what = format!("building {} guests into packages (their std is built once, about two minutes)", folders.len());
    timed(&what, || {
        let mut command = Command::new(tree.koban(profile));
        command.current_dir(&tree.root).env("CARGO_TARGET_DIR", &tree.guest_target);
        // Its lines on standard error say what was built; the table of the same stays away.
        command.args(["plugin", "build"]).args(&folders).arg("--out").arg(tree.packages()).stdout(Stdio::null());
        run(&mut command)
    })
}

/// The folders that hold a manifest, in a fixed order: first-party plugins, examples, then the tests' guests.
fn guest_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for home in ["plugins", "examples", "tests/guests"] {
        let entries = std::fs::read_dir(root.join(home)).with_context(|| format!("the clone has no folder {home}"))?;
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("{home} could not be read"))?.file_name();
            let folder = Path::new(home).join(name);
            if root.join(&folder).join("plugin.toml").is_file() {
                found.push(folder);
            }
        }
        found.sort();
        folders.append(&mut found);
    }
    if folders.is_empty() {
        bail!("no folder in plugins/, examples/ or tests/guests/ holds a plugin.toml");
    }
    Ok(folders)
}
