//! House rules as tests: they read the tree and say `path:line: error: X is banned, use Y`.
//!
//! A rule stands here when a reader of a change would otherwise have to remember it. To change a rule, change its list and
//! give the reason beside the line.

mod contract;
mod dependencies;
mod edges;
mod files;
mod licences;
mod links;
mod metadata;
mod migrations;
mod money;
mod time;
mod words;

use std::path::{Path, PathBuf};

/// A text file of the tree, with its path relative to the root and `/` between folders.
struct Source {
    path: String,
    text: String,
}

/// The root of the clone.
fn root() -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent().expect("the package `host` lies in a folder of the root").to_owned()
}

/// All files of the tree whose names end in one of `extensions`, in a fixed order. What is built or fetched is not ours.
fn sources(extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap_or_else(|error| panic!("{name}: {error}"));
            if kind.is_dir() {
                if !["target", "node_modules"].contains(&name.as_str()) && (!name.starts_with('.') || name == ".ci") {
                    folders.push(entry.path());
                }
            } else if kind.is_file() && extensions.iter().any(|extension| has_extension(&name, extension)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found.iter().map(|path| read(&root, path)).collect()
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.'))
}

fn read(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root).expect("found below the root").to_string_lossy().into_owned();
    Source { path, text }
}

/// Fails with all findings at once, one a line.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
