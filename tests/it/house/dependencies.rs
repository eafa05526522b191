//! Where packages come from, which are banned, and the reason written beside each one we chose.

use std::collections::BTreeMap;

use super::{metadata, none};

/// Nowhere in the tree, not even behind another package.
const BANNED_ANYWHERE: [(&str, &str); 7] = [
    ("openssl", "rustls: one TLS, in Rust, built from source everywhere"),
    ("openssl-sys", "rustls: one TLS, in Rust, built from source everywhere"),
    ("native-tls", "rustls: the same TLS on every machine"),
    ("atty", "std::io::IsTerminal: it is unmaintained"),
    ("ansi_term", "plain escape sequences: it is unmaintained"),
    ("failure", "thiserror: it is unmaintained"),
    ("rustc-serialize", "serde: it is unmaintained"),
];

/// Not in a manifest of ours; a package that we use may have its own reasons.
const BANNED_DIRECTLY: [(&str, &str); 14] = [
    ("reqwest", "the outside room: it connects only to addresses that were checked, and follows no redirect"),
    ("ureq", "the outside room: it connects only to addresses that were checked, and follows no redirect"),
    ("chrono", "domain's Timestamp: time enters as a value"),
    ("time", "domain's Timestamp: time enters as a value"),
    ("rand", "the random bytes of the context, so that a run can be repeated; getrandom at the outermost edge"),
    ("fastrand", "the random bytes of the context, so that a run can be repeated"),
    ("serde_yaml", "toml: it is unmaintained, and one configuration language is enough"),
    ("lazy_static", "std::sync::LazyLock"),
    ("once_cell", "std::sync::OnceLock"),
    ("async-trait", "async functions in traits, which the language has"),
    ("parking_lot", "std::sync::Mutex"),
    ("futures", "tokio and std::future"),
    ("mockall", "the real thing in a test, or a small pretend one written by hand"),
    ("wasmtime-wasi", "nothing: guests have no WASI"),
];

const REASONS: &str = "docs/dependencies.md";

#[test]
fn packages_come_from_one_registry_and_nowhere_else() {
    let mut findings = Vec::new();
    let mut registries: BTreeMap<&str, &str> = BTreeMap::new();
    for package in metadata::packages() {
        match package.source.as_deref() {
            None => {}
            Some(source) if source.starts_with("registry+") => {
                registries.entry(source).or_insert(&package.name);
            }
            Some(source) => {
                findings.push(format!("{}: error: the source {source} is banned, use the registry", package.name))
            }
        }
    }
    if registries.len() > 1 {
        let list: Vec<String> = registries.iter().map(|(source, name)| format!("{source} (`{name}`)")).collect();
        findings.push(format!("Cargo.lock:1: error: a second registry is banned, use one: {}", list.join(", ")));
    }
    none(findings);
}

#[test]
fn banned_packages_are_absent() {
    let mut findings = Vec::new();
    for package in metadata::packages() {
        if let Some((name, instead)) = BANNED_ANYWHERE.iter().find(|(name, _)| *name == package.name) {
            findings.push(format!("Cargo.lock:1: error: `{name}` is banned, use {instead}"));
        }
    }
    for member in metadata::host().members().chain(metadata::guests().members()) {
        for used in &member.dependencies {
            if let Some((name, instead)) = BANNED_DIRECTLY.iter().find(|(name, _)| *name == used.name) {
                let kind = used.kind.as_deref().unwrap_or("normal");
                findings.push(format!("{}: error: `{name}` ({kind} dependency) is banned, use {instead}", member.name));
            }
        }
    }
    none(findings);
}

/// The page has one row for each direct dependency: `| name | licence | why |`.
#[test]
fn every_direct_dependency_has_its_licence_and_reason_on_the_page() {
    let page = std::fs::read_to_string(super::root().join(REASONS)).expect("the page of dependencies is there");
    let mut rows: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
    for (index, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, licence, why, ""] = cells.as_slice()
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            rows.insert(name, (index + 1, licence, why));
        }
    }

    let mut findings = Vec::new();
    let licences: BTreeMap<&str, &str> = metadata::packages()
        .map(|package| (package.name.as_str(), package.license.as_deref().unwrap_or("none")))
        .collect();
    let members = || metadata::host().members().chain(metadata::guests().members());
    let mut direct: BTreeMap<&str, &str> = BTreeMap::new();
    for member in members() {
        for used in member.dependencies.iter().filter(|used| used.path.is_none()) {
            direct.insert(&used.name, &member.name);
        }
    }
    for (name, user) in &direct {
        let licence = licences.get(name).copied().unwrap_or("none");
        match rows.get(name) {
            None => findings.push(format!(
                "{REASONS}:1: error: `{name}` (used by {user}) has no reason, add: | `{name}` | {licence} | why |"
            )),
            Some((line, written, _)) if *written != licence => {
                findings.push(format!("{REASONS}:{line}: error: `{name}` is under {licence}, not {written}"));
            }
            Some((line, _, why)) if why.split_whitespace().count() < 3 => {
                findings.push(format!("{REASONS}:{line}: error: `{why}` is no reason for `{name}`"));
            }
            Some(_) => {}
        }
    }
    for (name, (line, _, _)) in &rows {
        if !direct.contains_key(name) {
            findings.push(format!("{REASONS}:{line}: error: nobody uses `{name}` any more, take its row out"));
        }
    }
    none(findings);
}
