//! Whoever moves money in a test lets the auditor look afterwards.

use super::{none, sources};

/// What moves money.
const MOVES: [&str; 8] =
    ["World::new(", "_holding(", ".bring(", ".charge(&", "seed_money(", ".pay(&", ".send(&", ".deposit("];

/// What has the auditor look.
const LOOKS: [&str; 6] =
    ["ledger_is_clean()", "books_hold_what_was_told()", "is_sound(", "is_sound_with(", "audited(", "is_clean("];

/// Tests that leave their books broken, or that move nothing after all.
const SPARED: [(&str, &str); 3] = [
    ("what_is_well_is_said_to_be_ok", "the doctor looks instead, and verifies"),
    ("what_is_broken_is_said_to_fail", "the books are broken on purpose"),
    (
        "every_alert_and_panel_asks_for_metrics_that_a_host_has",
        "one payment to have its metrics; the host is gone then",
    ),
];

#[test]
fn a_test_that_moves_money_ends_with_the_auditor() {
    let mut findings = Vec::new();
    for source in sources(&["rs"]).iter().filter(|source| source.path.starts_with("tests/it/")) {
        let depth = source.path.matches('/').count();
        for (line, name, body) in tests(&source.text).into_iter().filter(|_| depth == 2) {
            let has = |words: &[&str]| words.iter().any(|word| body.contains(word));
            if has(&MOVES) && !has(&LOOKS) && !SPARED.iter().any(|(spared, _)| *spared == name) {
                findings.push(format!(
                    "{}:{line}: error: money moved and left alone is banned, use app.ledger_is_clean() at the end of {name}",
                    source.path
                ));
            }
        }
    }
    none(findings);
}

/// The tests of a file: line, name and text.
fn tests(text: &str) -> Vec<(usize, &str, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix("async fn ").and_then(|rest| rest.strip_suffix("() {")) else { continue };
        if at > 0 && lines[at - 1].starts_with("#[tokio::test") {
            let body = lines[at..].iter().take_while(|line| **line != "}");
            found.push((at + 1, name, body.copied().collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

#[test]
fn a_test_is_found_with_its_body() {
    let text = "#[tokio::test]\nasync fn money_moves() {\n    user.pay(&shop, 1).await;\n}\nasync fn no_test() {\n}\n";
    let found = tests(text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1), (2, "money_moves"));
    assert!(found[0].2.contains(".pay(&"));
}
