//! A folder for one build: the plugin's own files and its SDK, copied, so that a tool sees these and nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use koban_domain::records::Digest;

/// What is made, fetched or hidden is not the plugin's source.
const NOT_SOURCE: [&str; 5] = ["target", "node_modules", "__pycache__", "test", "tests"];
/// More files and bytes than a plugin's source has.
const FILES_MAX: u32 = 5_000;
const BYTES_MAX: u64 = 64 << 20;
/// Folders within folders.
const DEPTH_MAX: u32 = 32;

/// The folder; gone when dropped.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    files_left: u32,
    bytes_left: u64,
}

impl Stage {
    /// A new folder below this one. Errors: it cannot be made.
    pub(super) fn new(below: &Path) -> io::Result<Stage> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = below.join(format!("stage-{}-{number}", std::process::id()));
        // What a build of the same name left behind when it was killed.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        Ok(Stage { dir: dir.canonicalize()?, files_left: FILES_MAX, bytes_left: BYTES_MAX })
    }

    /// Copies a folder's source to a place in the stage. Errors: a file that cannot be read, or too much of it.
    pub(super) fn copy(&mut self, from: &Path, to: &str) -> io::Result<()> {
        let to = self.dir.join(to);
        self.copy_folder(from, &to, DEPTH_MAX)
    }

    /// The digest of all that was staged: names and contents, whatever machine it is on. Errors: a file that cannot be read.
    pub(super) fn digest(&self) -> io::Result<Digest> {
        let mut parts = Vec::new();
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&self.dir).map_err(io::Error::other)?;
                    let digest = Digest::of(&std::fs::read(&path)?);
                    parts.push(format!("{} {digest}", name.display()));
                }
            }
        }
        parts.sort();
        Ok(Digest::of(parts.join("\n").as_bytes()))
    }

    fn copy_folder(&mut self, from: &Path, to: &Path, depth: u32) -> io::Result<()> {
        if depth == 0 {
            return Err(io::Error::other(format!("{} lies in too many folders", from.display())));
        }
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if hidden || NOT_SOURCE.iter().any(|not_source| name == *not_source) {
                continue;
            }
            // Links are followed: the stage has none.
            let metadata = std::fs::metadata(entry.path())?;
            if metadata.is_dir() {
                self.copy_folder(&entry.path(), &to.join(&name), depth - 1)?;
            } else if metadata.is_file() {
                let room = self.files_left.checked_sub(1).zip(self.bytes_left.checked_sub(metadata.len()));
                let (files_left, bytes_left) = room.ok_or_else(|| {
                    io::Error::other(format!("{} has more than {FILES_MAX} files or {BYTES_MAX} bytes", from.display()))
                })?;
                (self.files_left, self.bytes_left) = (files_left, bytes_left);
                std::fs::copy(entry.path(), to.join(&name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It lies in a cache folder, where the next build of this name takes it away.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_source_is_staged_and_nothing_stays() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("plugin");
        for file in
            ["src/plugin.js", "node_modules/left/pad.js", "target/old.wasm", "test/plugin.test.js", ".git/config"]
        {
            std::fs::create_dir_all(from.join(file).parent().unwrap()).unwrap();
            std::fs::write(from.join(file), "x").unwrap();
        }
        let mut stage = Stage::new(home.path()).unwrap();
        stage.copy(&from, "").unwrap();
        let dir = stage.dir.clone();
        let digest = stage.digest().unwrap();
        let mut other = Stage::new(home.path()).unwrap();
        other.copy(&from, "").unwrap();
        assert_eq!(other.digest().unwrap(), digest, "the same source has the same digest wherever it lies");
        std::fs::write(other.dir.join("src/plugin.js"), "y").unwrap();
        assert_ne!(other.digest().unwrap(), digest);
        let names: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["src"]);
        drop(stage);
        assert!(!dir.exists());
    }
}
