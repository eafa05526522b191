//! From a plugin's source to its package: one cargo call for each workspace, then componentise, check and write.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;

use koban_domain::manifest::Manifest;
use serde::Deserialize;
use wit_component::ComponentEncoder;

use crate::check::{CheckError, Checked, check};
use crate::package::{self, PackageError};
use crate::toolchain::{self, NoToolchain, TARGET, Toolchain};

/// Names another target folder for guests, for machines that keep one over several checkouts.
const TARGET_DIR_VARIABLE: &str = "KOBAN_GUEST_TARGET";
/// Last lines of cargo's own words that an error repeats.
const TAIL_LINES: usize = 40;

/// A plugin that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The package's directory.
    pub package: PathBuf,
    /// What was found in the component.
    pub checked: Checked,
}

/// Why a plugin could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nothing to build.
    #[error("give at least one directory with a plugin.toml and a Cargo.toml")]
    Nothing,
    /// The directory is not there.
    #[error("{} cannot be opened: give the directory of a plugin", dir.display())]
    Directory {
        /// Which one.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No way to build guests here.
    #[error(transparent)]
    Toolchain(#[from] NoToolchain),
    /// The manifest or the package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// cargo could not be started or understood.
    #[error("cargo cannot be used in {}: {problem}", dir.display())]
    Cargo {
        /// Where.
        dir: PathBuf,
        /// What it said.
        problem: String,
    },
    /// The directory is no package of cargo with a `cdylib`.
    #[error("{} is no crate that makes a plugin: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`", dir.display())]
    NotAPlugin {
        /// Which one.
        dir: PathBuf,
    },
    /// The code does not compile.
    #[error("cargo could not build {packages}:\n{tail}")]
    Compile {
        /// What it was building.
        packages: String,
        /// Its last lines.
        tail: String,
    },
    /// The core module cannot be made a component.
    #[error("{id}: the core module cannot be made a component: {problem}; export the plugin with the SDK's macro")]
    Componentise {
        /// The plugin.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// The component does not fit its manifest.
    #[error("{id}: the component and its manifest do not fit:\n{}", list(errors))]
    Check {
        /// The plugin.
        id: String,
        /// Everything that is wrong.
        errors: Vec<CheckError>,
    },
}

fn list(errors: &[CheckError]) -> String {
    errors.iter().map(|error| format!("- {error}")).collect::<Vec<_>>().join("\n")
}

/// Builds the plugins in these directories and writes a package `<out>/<id>` for each; without `out`, into `target/packages` of the guest's
/// own workspace. Plugins of one workspace are built by one cargo call, so that std and dependencies are built once. `say` hears what is
/// going on, line by line. Errors: the first that stops the work; no package is written for a plugin that does not pass its check.
pub fn build(dirs: &[PathBuf], out: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<Vec<Built>, BuildError> {
    let opened = dirs.iter().map(|dir| Opened::open(dir)).collect::<Result<Vec<_>, _>>()?;
    let first = opened.first().ok_or(BuildError::Nothing)?;
    let toolchain = toolchain::find(&first.dir, say)?;
    let target_dir = std::env::var_os(TARGET_DIR_VARIABLE);
    let mut workspaces: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for opened in opened {
        let (workspace, source) = opened.source(&toolchain)?;
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
            built.push(source.finish(&module.file, &out, say)?);
        }
    }
    Ok(built)
}

/// A plugin's source directory with its manifest.
struct Opened {
    dir: PathBuf,
    manifest: Manifest,
    manifest_text: String,
}

/// What cargo knows about it too.
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

impl Opened {
    fn open(dir: &Path) -> Result<Opened, BuildError> {
        let dir = dir.canonicalize().map_err(|source| BuildError::Directory { dir: dir.to_owned(), source })?;
        let (manifest, manifest_text) = package::open_source(&dir)?;
        Ok(Opened { dir, manifest, manifest_text })
    }

    /// The crate in this directory, with the root of its workspace.
    fn source(self, toolchain: &Toolchain) -> Result<(PathBuf, Source), BuildError> {
        let dir = &self.dir;
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
        Ok((metadata.workspace_root, Source { opened: self, manifest_path, package }))
    }
}

impl Source {
    /// Componentises, checks and writes the package.
    fn finish(&self, module: &Path, out: &Path, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
        let Opened { manifest, manifest_text, .. } = &self.opened;
        let Manifest { id, version, .. } = manifest;
        let broken = |problem: String| BuildError::Componentise { id: id.clone(), problem };
        let core = std::fs::read(module).map_err(|error| broken(format!("{}: {error}", module.display())))?;
        let component = componentise(&core).map_err(broken)?;
        let checked = check(&component, manifest).map_err(|errors| BuildError::Check { id: id.clone(), errors })?;
        let package = package::write(out, id, manifest_text, &component)?;
        let digest = checked.digest.to_string();
        say(&format!("{id} {version}: {} bytes, digest {}, in {}", checked.bytes, &digest[..16], package.display()));
        Ok(Built { id: id.clone(), version: version.clone(), package, checked })
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

/// One line of cargo's two streams.
enum Line {
    Said(String),
    Message(String),
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
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| unusable(error.to_string()))?;
    let (sender, lines) = mpsc::sync_channel(256);
    let readers = [
        child.stdout.take().map(|stream| forward(stream, sender.clone(), Line::Message)),
        child.stderr.take().map(|stream| forward(stream, sender.clone(), Line::Said)),
    ];
    drop(sender);
    let (mut modules, mut tail) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Said(line) => {
                say(&line);
                if tail.len() == TAIL_LINES {
                    tail.remove(0);
                }
                tail.push(line);
            }
            Line::Message(line) => modules.extend(module(&line)),
        }
    }
    for reader in readers.into_iter().flatten() {
        // A reader ends with its stream; it has nothing that could panic.
        let _ = reader.join();
    }
    let status = child.wait().map_err(|error| unusable(error.to_string()))?;
    if !status.success() {
        return Err(BuildError::Compile { packages: packages.join(", "), tail: tail.join("\n") });
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

fn forward<S: Read + Send + 'static>(
    stream: S,
    sender: mpsc::SyncSender<Line>,
    wrap: fn(String) -> Line,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(wrap(String::from_utf8_lossy(&line).trim_end().to_owned())).is_err() {
                return;
            }
        }
    })
}

fn module(line: &str) -> Option<Module> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" {
        return None;
    }
    let file = message.filenames.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "wasm"))?;
    Some(Module { manifest_path: message.manifest_path?, file })
}
