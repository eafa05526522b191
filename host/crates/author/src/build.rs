//! From a plugin's source to its package, in every language: compile or link, make a component, check it, write it.

mod interpreted;
mod run;
mod rust;
mod stage;
mod tools;

use std::io;
use std::path::{Path, PathBuf};

use koban_domain::manifest::Manifest;

use crate::check::{CheckError, Checked, check};
use crate::package::{self, PackageError};
use crate::toolchain::NoToolchain;
pub(crate) use interpreted::{JAVASCRIPT, PYTHON};
pub(crate) use rust::TARGET_DIR_VARIABLE;

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
    #[error("give at least one directory with a plugin.toml and a Cargo.toml, package.json or pyproject.toml")]
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
    /// Nothing says what it is written in.
    #[error("{} has a plugin.toml, but no Cargo.toml (Rust), package.json (JavaScript) or pyproject.toml (Python) beside it", dir.display())]
    NoLanguage {
        /// Which one.
        dir: PathBuf,
    },
    /// A program that the language needs is not there.
    #[error("{id}: building it needs `{program}`, which is not on PATH: {hint}")]
    Program {
        /// The plugin.
        id: String,
        /// The program.
        program: &'static str,
        /// What helps.
        hint: &'static str,
    },
    /// The language's tools could not be fetched.
    #[error("the tools for {language} plugins could not be fetched into {}:\n{tail}", dir.display())]
    Tools {
        /// The language.
        language: &'static str,
        /// Where they go.
        dir: PathBuf,
        /// The last lines of what fetches them.
        tail: String,
    },
    /// A file of the plugin or of its SDK cannot be used.
    #[error("{id}: {problem}")]
    Source {
        /// The plugin.
        id: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The language's own tool refuses the plugin.
    #[error("{id} could not be built:\n{tail}")]
    Refused {
        /// The plugin.
        id: String,
        /// Its last lines.
        tail: String,
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
/// own workspace or folder. The language is known by the file beside `plugin.toml`: Cargo.toml, package.json or pyproject.toml. `say` hears
/// what is going on, line by line. Errors: the first that stops the work; no package is written for a plugin that does not pass its check.
pub fn build(dirs: &[PathBuf], out: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<Vec<Built>, BuildError> {
    let opened = dirs.iter().map(|dir| Opened::open(dir)).collect::<Result<Vec<_>, _>>()?;
    if opened.is_empty() {
        return Err(BuildError::Nothing);
    }
    let (mut compiled, mut interpreted) = (Vec::new(), Vec::new());
    for plugin in opened {
        match Language::of(&plugin.dir)? {
            Language::Rust => compiled.push(plugin),
            Language::JavaScript => interpreted.push((JAVASCRIPT, plugin)),
            Language::Python => interpreted.push((PYTHON, plugin)),
        }
    }
    let mut built = rust::build(compiled, out, say)?;
    for (language, plugin) in interpreted {
        let component = interpreted::build(&language, &plugin, say)?;
        let out = out.map_or_else(|| plugin.dir.join("target").join("packages"), Path::to_owned);
        built.push(plugin.finish(&component, &out, say)?);
    }
    Ok(built)
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    JavaScript,
    Python,
}

impl Language {
    fn of(dir: &Path) -> Result<Language, BuildError> {
        let files = [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::JavaScript),
            ("pyproject.toml", Language::Python),
        ];
        let found = files.into_iter().find(|(file, _)| dir.join(file).is_file());
        found.map(|(_, language)| language).ok_or_else(|| BuildError::NoLanguage { dir: dir.to_owned() })
    }
}

/// A plugin's source directory with its manifest.
struct Opened {
    dir: PathBuf,
    manifest: Manifest,
    manifest_text: String,
}

impl Opened {
    fn open(dir: &Path) -> Result<Opened, BuildError> {
        let dir = dir.canonicalize().map_err(|source| BuildError::Directory { dir: dir.to_owned(), source })?;
        let (manifest, manifest_text) = package::open_source(&dir)?;
        Ok(Opened { dir, manifest, manifest_text })
    }

    /// Checks the component and writes the package.
    fn finish(&self, component: &[u8], out: &Path, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
        let Manifest { id, version, .. } = &self.manifest;
        let checked =
            check(component, &self.manifest).map_err(|errors| BuildError::Check { id: id.clone(), errors })?;
        let package = package::write(out, id, &self.manifest_text, component)?;
        let digest = checked.digest.to_string();
        say(&format!("{id} {version}: {} bytes, digest {}, in {}", checked.bytes, &digest[..16], package.display()));
        Ok(Built { id: id.clone(), version: version.clone(), package, checked })
    }
}
