//! Words that are banned, where, and what to write in their place.

use super::{Source, none, sources};

/// A word that must not stand in some files.
struct Ban {
    word: &'static str,
    instead: &'static str,
    /// The files it holds for.
    place: Place,
    /// Whether comments and test modules count as well.
    everywhere: bool,
}

/// Where a ban holds, by path.
#[derive(Clone, Copy)]
enum Place {
    All,
    /// The folder, and what lies in it.
    In(&'static str),
    /// The rooms that are libraries.
    Rooms,
    Sql,
}

const TIME_IN_SQL: &str = "a bound value: one injected clock serves sessions, holds, timers and webhooks";
const PURE: &str = "a value passed in: domain has no world";
const FLOAT: &str = "Money, i64 minor units, or rust_decimal for a rate";

const BANS: [Ban; 25] = [
    Ban { word: "todo!", instead: "the finished thing, or leave it out", place: Place::All, everywhere: true },
    Ban { word: "unimplemented!", instead: "the finished thing, or leave it out", place: Place::All, everywhere: true },
    Ban { word: "TODO", instead: "an issue, or do it now", place: Place::All, everywhere: true },
    Ban { word: "FIXME", instead: "an issue, or mend it now", place: Place::All, everywhere: true },
    Ban { word: "dbg!", instead: "tracing", place: Place::All, everywhere: true },
    Ban {
        word: "#[ignore",
        instead: "a test of what happens today, with the reason",
        place: Place::All,
        everywhere: true,
    },
    Ban { word: "#[allow(", instead: "#[expect(…, reason = \"…\")]", place: Place::All, everywhere: true },
    Ban { word: "#![allow(", instead: "#![expect(…, reason = \"…\")]", place: Place::All, everywhere: true },
    Ban {
        word: "process::exit",
        instead: "a returned ExitCode: destructors run",
        place: Place::All,
        everywhere: false,
    },
    Ban { word: "println!", instead: "tracing: a library prints nothing", place: Place::Rooms, everywhere: false },
    Ban { word: "eprintln!", instead: "tracing: a library prints nothing", place: Place::Rooms, everywhere: false },
    Ban { word: "now()", instead: TIME_IN_SQL, place: Place::Sql, everywhere: false },
    Ban { word: "current_timestamp", instead: TIME_IN_SQL, place: Place::Sql, everywhere: false },
    Ban { word: "clock_timestamp", instead: TIME_IN_SQL, place: Place::Sql, everywhere: false },
    Ban { word: "gen_random_uuid", instead: "an id made by the caller", place: Place::Sql, everywhere: false },
    Ban { word: "f32", instead: FLOAT, place: Place::In("host/crates/domain/"), everywhere: false },
    Ban { word: "f64", instead: FLOAT, place: Place::In("host/crates/domain/"), everywhere: false },
    Ban { word: "f64", instead: FLOAT, place: Place::In("host/crates/store/"), everywhere: false },
    Ban { word: "f32", instead: "s64 minor units", place: Place::In("wit/"), everywhere: false },
    Ban { word: "f64", instead: "s64 minor units", place: Place::In("wit/"), everywhere: false },
    Ban { word: "std::fs", instead: PURE, place: Place::In("host/crates/domain/src/"), everywhere: false },
    Ban { word: "std::net", instead: PURE, place: Place::In("host/crates/domain/src/"), everywhere: false },
    Ban { word: "std::env", instead: PURE, place: Place::In("host/crates/domain/src/"), everywhere: false },
    Ban { word: "SystemTime", instead: PURE, place: Place::In("host/crates/domain/src/"), everywhere: false },
    Ban {
        word: "async fn",
        instead: "a plain function: domain waits for nothing",
        place: Place::In("host/crates/domain/src/"),
        everywhere: false,
    },
];

/// Places where a banned word is right: path, word, reason.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("sdk/rust/src/lib.rs", "#[allow(", "generated bindings: which lints they meet differs between targets"),
    ("host/crates/store/src/ledger.rs", "clock_timestamp", "the server's clock is compared with the host's, no more"),
];

/// This file names what it bans.
const HERE: &str = "tests/it/house/words.rs";

#[test]
fn banned_words_are_absent() {
    let excepted =
        |source: &Source, ban: &Ban| EXCEPTIONS.iter().any(|(path, word, _)| *path == source.path && *word == ban.word);
    let mut findings = Vec::new();
    for source in sources(&["rs", "toml", "wit", "sql"]).iter().filter(|source| source.path != HERE) {
        for ban in BANS.iter().filter(|ban| ban.place.holds_for(&source.path) && !excepted(source, ban)) {
            findings.extend(
                lines_with(&source.text, ban)
                    .into_iter()
                    .map(|line| format!("{}:{line}: error: {} is banned, use {}", source.path, ban.word, ban.instead)),
            );
        }
    }
    for (path, word, _) in EXCEPTIONS {
        let text = std::fs::read_to_string(super::root().join(path)).unwrap_or_default();
        if !text.lines().any(|line| contains_word(line, word)) {
            findings.push(format!("{HERE}:1: error: {path} holds no {word} any more, take the exception out"));
        }
    }
    none(findings);
}

impl Place {
    fn holds_for(self, path: &str) -> bool {
        match self {
            Place::All => true,
            Place::In(folder) => path.starts_with(folder),
            Place::Rooms => path.starts_with("host/crates/") && path.contains("/src/"),
            Place::Sql => path.starts_with("host/crates/store/") || path.ends_with(".sql"),
        }
    }
}

/// The numbers of the lines that hold the word. Unless a ban is for everywhere, it spares comments and the module of
/// tests, which by custom ends a file.
fn lines_with(text: &str, ban: &Ban) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    let end = if ban.everywhere { lines.len() } else { tests.unwrap_or(lines.len()) };
    let spared = |line: &str| !ban.everywhere && (line.starts_with("//") || line.starts_with("--"));
    let rows = lines[..end].iter().zip(1..);
    rows.filter(|(line, _)| !spared(line) && contains_word(line, ban.word)).map(|(_, number)| number).collect()
}

/// Whether the word stands in the line by itself: `now()` is not found in `clock.now()`, nor `f64` in `elf64`.
fn contains_word(line: &str, word: &str) -> bool {
    let part_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let starts_a_name = word.starts_with(part_of_name);
    let ends_a_name = word.ends_with(part_of_name);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let alone_before = !starts_a_name || !before.is_some_and(|letter| part_of_name(letter) || letter == '.');
        let alone_after = !ends_a_name || !after.is_some_and(part_of_name);
        alone_before && alone_after
    })
}

#[test]
fn a_word_is_found_only_where_it_stands_by_itself() {
    for (line, word, found) in [
        ("insert into t values (now())", "now()", true),
        ("let at = clock.now();", "now()", false),
        ("fn snow() {}", "now()", false),
        ("x: f64,", "f64", true),
        ("elf64", "f64", false),
        ("f64x2", "f64", false),
        ("// TODO: later", "TODO", true),
        ("AUTODOC", "TODO", false),
        ("    #[ignore = \"slow\"]", "#[ignore", true),
    ] {
        assert_eq!(contains_word(line, word), found, "{word} in {line}");
    }
}

#[test]
fn a_ban_on_code_spares_comments_and_the_module_of_tests() {
    let text = "// prints with println!\nuse a;\nprintln!(\"a\");\n#[cfg(test)]\nuse b;\n\
                println!(\"b\");\n#[cfg(test)]\nmod tests {\n    println!(\"c\");\n}\n";
    let mut ban = Ban { word: "println!", instead: "tracing", place: Place::Rooms, everywhere: false };
    assert_eq!(lines_with(text, &ban), [3, 6]);
    ban.everywhere = true;
    assert_eq!(lines_with(text, &ban), [1, 3, 6, 9]);
}
