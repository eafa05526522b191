//! Tools of other languages in a cache folder: fetched once by their locked versions, found again by what was locked.

use std::path::{Path, PathBuf};
use std::process::Command;

use koban_domain::records::Digest;

use super::BuildError;
use super::run::run;

/// Names the cache folder, for machines that keep it elsewhere.
const TOOLS_VARIABLE: &str = "KOBAN_TOOLS";

/// Components that are kept: a few plugins with their last few changes.
const BUILT_MAX: usize = 16;

/// Tools of one language.
pub(super) struct Tools<'a> {
    /// How the language is called in sentences.
    pub(super) language: &'static str,
    /// The folder's name begins with it.
    pub(super) name: &'a str,
    /// What was locked, with the version of what fetches it: another lock is another folder.
    pub(super) locked: &'a str,
}

/// Where tools are kept: `KOBAN_TOOLS`, else `koban/tools` in the user's cache folder, else below the system's folder for temporary files.
pub(super) fn home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = variable(TOOLS_VARIABLE) {
        return home;
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("koban").join("tools")
}

/// Components that were built here, by what they were built of: an interpreter's start is part of a component and differs from build to build, so
/// the same sources are built once and stay the same component.
pub(super) struct Built {
    file: PathBuf,
}

impl Built {
    /// What is built of this.
    pub(super) fn of(digest: Digest) -> Built {
        Built { file: home().join("built").join(format!("{digest}.wasm")) }
    }

    /// The component, if it was built here before.
    pub(super) fn component(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.file).ok()
    }

    /// Keeps it, and takes the oldest away beyond what is kept. A cache that cannot be written costs time, never a component.
    pub(super) fn keep(&self, component: &[u8]) {
        let Some(folder) = self.file.parent() else { return };
        let new = self.file.with_extension(format!("new-{}", std::process::id()));
        let kept = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            std::fs::write(&new, component)?;
            std::fs::rename(&new, &self.file)?;
            let mut files = Vec::new();
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
            files.sort();
            for (_, old) in files.iter().rev().skip(BUILT_MAX) {
                std::fs::remove_file(old)?;
            }
            Ok(())
        };
        if kept().is_err() {
            // Half a file under another name is read by nobody.
            let _ = std::fs::remove_file(&new);
        }
    }
}

impl Tools<'_> {
    /// The folder of the tools; `fetch` fills it the first time, given a folder that becomes this one when it has succeeded. Errors: those of
    /// `fetch`, with the last lines of what it ran.
    pub(super) fn folder(
        &self,
        say: &mut dyn FnMut(&str),
        fetch: impl FnOnce(&Path) -> std::io::Result<Vec<Command>>,
    ) -> Result<PathBuf, BuildError> {
        let digest = Digest::of(self.locked.as_bytes()).to_string();
        let dir = home().join(format!("{}-{}", self.name, &digest[..12]));
        if dir.is_dir() {
            return Ok(dir);
        }
        say(&format!("fetching the tools for {} plugins into {} (once)", self.language, dir.display()));
        let unable = |tail: String| BuildError::Tools { language: self.language, dir: dir.clone(), tail };
        let new = dir.with_extension(format!("new-{}", std::process::id()));
        let filled = || -> std::io::Result<Result<(), String>> {
            let _ = std::fs::remove_dir_all(&new);
            std::fs::create_dir_all(&new)?;
            for mut command in fetch(&new)? {
                let mut said = Vec::new();
                let ended = run(&mut command, &mut |line| said.push(line.to_owned()), say)?;
                if !ended.success {
                    return Ok(Err(if ended.tail.is_empty() { said.join("\n") } else { ended.tail }));
                }
            }
            // Another build may have been faster; its folder is as good.
            if let Err(error) = std::fs::rename(&new, &dir)
                && !dir.is_dir()
            {
                return Err(error);
            }
            Ok(Ok(()))
        };
        let result = match filled() {
            Ok(Ok(())) => Ok(dir.clone()),
            Ok(Err(tail)) => Err(unable(tail)),
            Err(error) => Err(unable(error.to_string())),
        };
        // Gone already if it became the folder.
        let _ = std::fs::remove_dir_all(&new);
        result
    }
}
