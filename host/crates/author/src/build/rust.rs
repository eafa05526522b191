//! Plugins in Rust: one cargo call for each workspace, then a component of each core module.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wit_component::ComponentEncoder;

use super::run::run;
use super::{BuildError, Built, Opened};
use crate::toolchain::{self, TARGET, Toolchain};

/// Names another target folder for guests, for machines that keep one over several checkouts.
pub(crate) const TARGET_DIR_VARIABLE: &str = "KOBAN_GUEST_TARGET";

/// Builds these plugins. Plugins of one workspace are built by one cargo call, so that std and dependencies are built once.
pub(super) fn build(
    plugins: Vec<Opened>,
    out: Option<&Path>,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Built>, BuildError> {
    let Some(first) = plugins.first() else { return Ok(Vec::new()) };
    let toolchain = toolchain::find(&first.dir, say)?;
    let target_dir = std::env::var_os(TARGET_DIR_VARIABLE);
    let mut workspaces: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for opened in plugins {
        let (workspace, source) = Source::of(opened, &toolchain)?;
        workspaces.entry(workspace).or_default().push(source);
    }
    let mut built = Vec::new();
    for (workspace, sources) in &workspaces {
        let packages: Vec<&str> = sources.iter().map(|source| source.package.as_str()).collect();
        say(&format!("building {} with {toolchain}", packages.join(", ")));
        let modules = compile(&toolchain, workspace, &packages, target_dir.as_ref(), say)?;
        let out = out.map_or_else(|| workspace.join("target").join("packages"), Path::to_owned);
        for source in sources {
            let module = modules
                .iter()
                .find(|module| module.manifest_path == source.manifest_path)
                .ok_or_else(|| BuildError::NotAPlugin { dir: source.opened.dir.clone() })?;
            let id = &source.opened.manifest.id;
            let broken = |problem: String| BuildError::Componentise { id: id.clone(), problem };
            let file = &module.file;
            let core = std::fs::read(file).map_err(|error| broken(format!("{}: {error}", file.display())))?;
            built.push(source.opened.finish(&componentise(&core).map_err(broken)?, &out, say)?);
        }
    }
    Ok(built)
}

/// A plugin with what cargo knows about it.
struct Source {
    opened: Opened,
    manifest_path: PathBuf,
    package: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    crate_types: Vec<String>,
}

impl Source {
    /// The crate in this directory, with the root of its workspace.
    fn of(opened: Opened, toolchain: &Toolchain) -> Result<(PathBuf, Source), BuildError> {
        let dir = &opened.dir;
        let unusable = |problem: String| BuildError::Cargo { dir: dir.clone(), problem };
        let output = toolchain
            .cargo(dir)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .map_err(|error| unusable(error.to_string()))?;
        if !output.status.success() {
            return Err(unusable(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| unusable(error.to_string()))?;
        let manifest_path = dir.join("Cargo.toml");
        let makes_plugin = |package: &&MetadataPackage| {
            let cdylib = |target: &MetadataTarget| target.crate_types.iter().any(|kind| kind == "cdylib");
            package.manifest_path == manifest_path && package.targets.iter().any(cdylib)
        };
        let package = metadata
            .packages
            .iter()
            .find(makes_plugin)
            .map(|package| package.name.clone())
            .ok_or_else(|| BuildError::NotAPlugin { dir: dir.clone() })?;
        Ok((metadata.workspace_root, Source { opened, manifest_path, package }))
    }
}

/// Makes a component of a core module; the contract stands in a section of its own, put there by the SDK's bindings. Errors: in words.
fn componentise(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(true).module(core).map_err(|error| format!("{error:#}"))?;
    encoder.encode().map_err(|error| format!("{error:#}"))
}

/// A core module that cargo made.
struct Module {
    manifest_path: PathBuf,
    file: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    packages: &[&str],
    target_dir: Option<&OsString>,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Module>, BuildError> {
    let unusable = |problem: String| BuildError::Cargo { dir: workspace.to_owned(), problem };
    let mut command = toolchain.cargo(workspace);
    command.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    command.args(toolchain.build_arguments());
    command.arg("--config").arg(format!("target.{TARGET}.rustflags={}", remap(workspace)));
    for package in packages {
        command.args(["--package", package]);
    }
    if let Some(target_dir) = target_dir {
        command.arg("--target-dir").arg(target_dir);
    }
    let mut modules = Vec::new();
    let ended = run(&mut command, &mut |line| modules.extend(module(line)), say);
    let ended = ended.map_err(|error| unusable(error.to_string()))?;
    if !ended.success {
        return Err(BuildError::Compile { packages: packages.join(", "), tail: ended.tail });
    }
    Ok(modules)
}

/// Takes this machine's paths out of the texts of panics, so that the same source gives the same component wherever it lies. Of several
/// prefixes that fit, rustc takes the last.
fn remap(workspace: &Path) -> toml::Value {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let around = workspace.parent().filter(|parent| parent.file_name().is_some());
    let prefixes = [
        (cargo_home, "/cargo"),
        (around.map(Path::to_owned), "/source"),
        (Some(workspace.to_owned()), "/source/plugins"),
    ];
    let flags = prefixes.into_iter().filter_map(|(path, name)| {
        let path = path?.into_os_string().into_string().ok()?;
        Some(toml::Value::String(format!("--remap-path-prefix={path}={name}")))
    });
    toml::Value::Array(flags.collect())
}

fn module(line: &str) -> Option<Module> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" {
        return None;
    }
    let file = message.filenames.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "wasm"))?;
    Some(Module { manifest_path: message.manifest_path?, file })
}
