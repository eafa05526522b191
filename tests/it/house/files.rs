//! How every file and every crate begins, and how long a file may be.

use super::{none, sources};

/// Files over the limit, each with the one story it tells.
const LONG: [(&str, &str); 5] = [
    (
        "host/crates/store/src/ledger/postgres.rs",
        "one commit in one dialect: each statement stands beside the rows it is for",
    ),
    ("host/crates/store/src/ledger/sqlite.rs", "the same commit in the other dialect, in the same order"),
    ("host/crates/domain/src/ledger.rs", "every command beside the one line of work that decides it"),
    ("host/crates/domain/src/outcomes.rs", "every refusal in one order, with all that is said of it"),
    (
        "host/crates/domain/tests/rules/outcomes.rs",
        "one ladder of refusals for each command, in the order of their page",
    ),
];

const LINES_MAX: usize = 600;

#[test]
fn every_rust_file_opens_with_one_plain_sentence() {
    let opens = |text: &str| {
        text.lines().next().and_then(|line| line.strip_prefix("//! ")).is_some_and(|rest| rest.contains(' '))
    };
    let closed = sources(&["rs"]).into_iter().filter(|source| !opens(&source.text));
    none(
        closed
            .map(|source| {
                format!(
                    "{}:1: error: a file without an opening sentence is banned, use `//! What this file is for.`",
                    source.path
                )
            })
            .collect(),
    )
}

#[test]
fn every_crate_takes_the_lints_of_its_workspace() {
    let mut findings = Vec::new();
    for manifest in sources(&["toml"]) {
        let is_crate = manifest.path.ends_with("Cargo.toml") && manifest.text.lines().any(|line| line == "[package]");
        if is_crate && !takes_lints(&manifest.text) {
            findings.push(format!(
                "{}:1: error: lints of its own are banned, use `[lints]` with `workspace = true`",
                manifest.path
            ));
        }
    }
    none(findings);
}

fn takes_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true")
}

#[test]
fn a_file_is_no_longer_than_one_story() {
    let mut findings = Vec::new();
    for source in sources(&["rs", "wit", "sql", "js", "css", "html", "sh"]) {
        let lines = source.text.lines().count();
        let listed = LONG.iter().any(|(path, _)| *path == source.path);
        if lines > LINES_MAX && !listed {
            findings.push(format!("{}:{lines}: error: more than {LINES_MAX} lines are banned, use two files, or give the reason in tests/it/house/files.rs", source.path));
        }
        if lines <= LINES_MAX && listed {
            findings.push(format!(
                "{}:{lines}: error: it is short again, take it out of tests/it/house/files.rs",
                source.path
            ));
        }
    }
    for (path, reason) in LONG {
        if !super::root().join(path).is_file() || reason.is_empty() {
            findings.push(format!(
                "tests/it/house/files.rs:1: error: `{path}` is listed as long, but is gone or has no reason"
            ));
        }
    }
    none(findings);
}
