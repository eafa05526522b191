//! Which crate may use which: `koban -> web -> service -> (runtime, store, outside) -> domain`, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::{metadata, none};

/// Every package of the host's workspace with the packages of ours that it uses. The three middle rooms never see each
/// other, so no guest can reach SQL or a socket even by mistake; `author` sees only the domain; the outside world is the
/// other side and shares no code with us; the auditor judges us and shares none either.
const EDGES: [(&str, &[&str]); 11] = [
    ("koban-domain", &[]),
    ("koban-auditor", &[]),
    ("koban-store", &["koban-domain"]),
    ("koban-runtime", &["koban-domain"]),
    ("koban-outside", &["koban-domain"]),
    ("koban-author", &["koban-domain"]),
    ("koban-service", &["koban-domain", "koban-outside", "koban-runtime", "koban-store"]),
    ("koban-web", &["koban-domain", "koban-service"]),
    (
        "host",
        &[
            "koban-auditor",
            "koban-author",
            "koban-domain",
            "koban-outside",
            "koban-runtime",
            "koban-service",
            "koban-store",
            "koban-web",
            "outside-world",
        ],
    ),
    ("outside-world", &[]),
    ("xtask", &[]),
];

/// Rooms whose tools are known by name, and the only packages of ours that may hold the tool.
const TOOLS: [(&str, &[&str], &str); 5] = [
    ("wasmtime", &["koban-runtime"], "guests run only through runtime's door"),
    (
        "sqlx",
        &["koban-store", "koban-auditor", "host"],
        "rows are store's; the auditor reads them by itself, and `host` measures the baseline of its bench with plain SQL",
    ),
    ("tokio-rustls", &["koban-outside"], "connections to the world are outside's"),
    (
        "axum",
        &["koban-web", "outside-world", "host"],
        "requests are web's; the outside world is a server of its own, and the bench calls web's router",
    ),
    ("wit-component", &["koban-author"], "components are made by the author's tools"),
];

#[test]
fn crates_use_each_other_exactly_as_designed() {
    let designed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let mut findings = Vec::new();
    for package in metadata::host().members() {
        let name = package.name.as_str();
        let Some(allowed) = designed.get(name) else {
            findings.push(format!("Cargo.toml:1: error: `{name}` is no crate of the design; a new room needs a line in tests/it/house/edges.rs"));
            continue;
        };
        let used: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|used| used.path.is_some() && used.name != name)
            .map(|used| used.name.as_str())
            .collect();
        for extra in used.difference(allowed) {
            findings.push(format!(
                "{name}: error: using `{extra}` is banned, use the room between them (docs/internals/ARCHITECTURE.md)"
            ));
        }
        if name != "host" {
            for missing in allowed.difference(&used) {
                findings.push(format!(
                    "{name}: error: the edge to `{missing}` is gone; take it out of tests/it/house/edges.rs"
                ));
            }
        }
    }
    for name in designed.keys() {
        if !metadata::host().members().any(|package| package.name == *name) {
            findings.push(format!("Cargo.toml:1: error: the crate `{name}` of the design is gone"));
        }
    }
    none(findings);
}

#[test]
fn a_tool_stays_in_its_room() {
    let mut findings = Vec::new();
    for (tool, rooms, reason) in TOOLS {
        for package in metadata::host().members().filter(|package| !rooms.contains(&package.name.as_str())) {
            if package.dependencies.iter().any(|used| used.name == tool && used.kind.is_none()) {
                findings.push(format!("{}: error: `{tool}` is banned here, use {}: {reason}", package.name, rooms[0]));
            }
        }
    }
    none(findings);
}

#[test]
fn guests_use_the_sdk_and_nothing_of_the_host() {
    let mut findings = Vec::new();
    for package in metadata::guests().members() {
        for used in package.dependencies.iter().filter(|used| used.path.is_some()) {
            if used.name != "koban-sdk" {
                findings.push(format!(
                    "{}: error: using `{}` is banned, use koban-sdk: a first-party plugin has no privilege",
                    package.name, used.name
                ));
            }
        }
    }
    none(findings);
}
