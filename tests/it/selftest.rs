//! `koban selftest`: every attack of the pack is contained, whoever is beside it is unharmed, and nothing is left behind.

use std::ffi::OsString;

use serde_json::Value;

use crate::harness::{Database, koban, koban_in, root};
use crate::load::is_soak;

/// How many the pack has.
const ATTACKS: usize = 91;

fn selftest(database: &Database, words: &[&str]) -> (bool, Value, String) {
    let words: Vec<&str> = ["--json", "selftest"].iter().chain(words).copied().collect();
    // What is freed goes back to the system at once (mallopt(3)): what is left is in use.
    let freed = ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];
    let freed = [(freed[0], OsString::from("1")), (freed[1], "65536".into()), (freed[2], "65536".into())];
    let (status, said, log) = koban_in(database, "command", &words, &freed);
    let said = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{log}"));
    (status.success(), said, log)
}

fn rows<'a>(said: &'a Value, of: &str) -> &'a Vec<Value> {
    said[of].as_array().unwrap_or_else(|| panic!("no {of}: {said}"))
}

/// Goal: what the table of attacks promises, on the program as it is installed, with the neighbours at work. In soak three times over: the
/// second and the third round show whether anything stays behind in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_contained_and_no_neighbour_notices() {
    let rounds: u8 = if is_soak() { 3 } else { 1 };
    // It puts up a database of its own whatever is served.
    let database = Database::sqlite();
    database.store().await.close().await;
    let before = folder(&database);
    let (is_well, said, log) = selftest(&database, &["--rounds", &rounds.to_string()]);
    let attacks = rows(&said, "attacks");
    for attack in attacks {
        assert_eq!(attack["contained"], true, "{attack:#}");
        assert_eq!(attack["seen"], attack["expected"], "{attack:#}");
    }
    assert_eq!(attacks.len(), usize::from(rounds) * ATTACKS);
    for neighbour in rows(&said, "neighbours") {
        assert_eq!(neighbour["failed"], 0, "{neighbour:#}");
        // One payment after each attack, and some all the while.
        assert!(neighbour["calls"].as_u64().expect("a number") > ATTACKS as u64, "{neighbour:#}");
    }
    let growth = rows(&said, "growth_bytes");
    assert_eq!(growth.len(), usize::from(rounds) - 1);
    assert!(growth.iter().all(|bytes| bytes.as_i64().expect("a number") < 2 << 20), "{growth:?}");
    assert!(is_well, "{log}");
    assert_eq!(
        folder(&database),
        before,
        "nothing of the database that is served is touched, and nothing is left behind"
    );
}

/// Every file of the database's folder with its bytes. Tests link to compiled code; what is behind a link is not looked at.
fn folder(database: &Database) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![database.folder().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder") {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind of file"));
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push((path.clone(), std::fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_is_tried_can_be_listed_chosen_and_read_on_its_page() {
    let database = Database::sqlite();
    let (is_well, said, _) = selftest(&database, &["--list"]);
    assert!(is_well);
    let page = std::fs::read_to_string(root().join("docs/reference/attacks.md")).expect("the page");
    let listed = rows(&said, "attacks");
    assert!(listed.len() >= 48 + 43, "the 48 known ones and those of contract and flow");
    for attack in listed {
        let text = |field: &str| attack[field].as_str().expect("text").to_owned();
        let expected = text("expected").replace("; ", "`, then `");
        let row = format!("| {} | {} | {} | `{expected}` |\n", attack["number"], text("attack"), text("how"));
        assert!(page.contains(&row), "docs/reference/attacks.md lacks {row}");
    }
    let (is_well, said, log) = selftest(&database, &["--rounds", "1", "--only", "1,26"]);
    assert!(is_well, "{log}");
    let seen: Vec<_> = rows(&said, "attacks").iter().map(|attack| (&attack["number"], &attack["seen"])).collect();
    assert_eq!(seen, [(&1.into(), &"fuel-exhausted".into()), (&26.into(), &"refused: authorisation_exceeded".into())]);
    let (status, _, log) = koban(&database, &["selftest", "--only", "0"]);
    assert!(!status.success() && log.contains("there is no attack 0"), "{log}");
}
