//! A shipped migration never changes: what ran on someone's books cannot be edited, only followed by another.
//!
//! `migrations.sha256` lists what has been shipped, in the format of `sha256sum`; a release adds its lines with
//! `sha256sum host/crates/store/migrations/*/*.sql`. Migrations that are not listed yet are free to change.

use std::collections::BTreeMap;
use std::process::Command;

use super::{none, root, sources};

const SHIPPED: &str = "tests/it/house/migrations.sha256";

#[test]
fn shipped_migrations_are_unchanged() {
    let shipped = shipped();
    let mut findings = Vec::new();
    for (path, (line, expected)) in &shipped {
        if !root().join(path).is_file() {
            findings.push(format!(
                "{SHIPPED}:{line}: error: taking away the shipped migration {path} is banned, use a new one"
            ));
        } else if digest(path) != *expected {
            findings.push(format!(
                "{path}:1: error: changing a shipped migration is banned, use a new one that follows it"
            ));
        }
    }
    none(findings);
}

#[test]
fn new_migrations_come_after_the_shipped_ones() {
    let shipped = shipped();
    let mut findings = Vec::new();
    for migration in sources(&["sql"]).iter().filter(|source| source.path.contains("/migrations/")) {
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let last = shipped.keys().rfind(|path| folder(path) == folder(&migration.path));
        if let Some(last) = last
            && !shipped.contains_key(&migration.path)
            && migration.path < *last
        {
            findings.push(format!(
                "{}:1: error: a migration before the shipped {last} is banned, use a later number",
                migration.path
            ));
        }
    }
    none(findings);
}

/// Path -> line and digest.
fn shipped() -> BTreeMap<String, (usize, String)> {
    let list = std::fs::read_to_string(root().join(SHIPPED)).expect("the list of shipped migrations is there");
    let rows = list.lines().enumerate().filter(|(_, row)| !row.starts_with('#') && !row.is_empty());
    rows.map(|(index, row)| {
        let (digest, path) =
            row.split_once("  ").unwrap_or_else(|| panic!("{SHIPPED}:{}: error: not a line of sha256sum", index + 1));
        (path.to_owned(), (index + 1, digest.to_owned()))
    })
    .collect()
}

/// The digest as `sha256sum` prints it: anyone can check the list by hand with the same program.
fn digest(path: &str) -> String {
    let output =
        Command::new("sha256sum").current_dir(root()).arg(path).output().expect("sha256sum is part of every Linux");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
