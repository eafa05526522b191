//! Where time and randomness come from: the service's clock, and a few edges that only measure.

use super::{none, sources};

/// Files that may read a clock of the machine, and what for. Nothing is ever decided by the times of the others.
const READERS: [(&str, &str); 17] = [
    ("host/crates/service/src/clock.rs", "the one clock"),
    ("host/crates/runtime/src/door.rs", "how long a call waited, for metrics"),
    ("host/crates/runtime/examples/door-cost.rs", "a measurement"),
    ("host/crates/web/src/layers.rs", "how long requests take, for metrics"),
    (
        "host/crates/web/src/rates.rs",
        "how fast somebody asks: no time of day, and a moved clock must not open the gate",
    ),
    ("host/crates/outside/src/send.rs", "how long a call took"),
    ("host/src/traces/layer.rs", "when spans begin and end"),
    ("host/src/up.rs", "the play's stopwatch"),
    ("host/src/play.rs", "the play's stopwatch"),
    ("host/src/client.rs", "the play's stopwatch"),
    ("host/src/commands/authoring/door.rs", "how long an author's call took"),
    ("host/src/bench/clients.rs", "a measurement"),
    ("host/src/selftest/mod.rs", "how long attacks and the neighbours' payments took"),
    ("host/xtask/src/run.rs", "how long chores take"),
    ("examples/outside-world/src/clock.rs", "another program, with a clock of its own"),
    ("tests/it/harness/wait.rs", "a test's patience"),
    ("tests/it/house/time.rs", "this list"),
];

/// What reads a clock. Clippy refuses these calls as well; what it is told to expect must stand in the list above.
const CALLS: [&str; 5] = ["SystemTime::now", "Instant::now", "DefaultClock", "OffsetDateTime::now", "Utc::now"];

#[test]
fn nothing_but_the_clock_tells_the_time() {
    let mut findings = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for source in sources(&["rs"]) {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let Some(call) = CALLS.iter().find(|call| code.contains(*call)) else { continue };
            match READERS.iter().find(|(path, _)| *path == source.path) {
                Some((path, _)) => drop(used.insert(*path)),
                None => findings.push(format!(
                    "{}:{}: error: {call} is banned, use the Clock or the time that is passed in",
                    source.path,
                    number + 1
                )),
            }
        }
    }
    let idle = READERS.iter().filter(|(path, _)| !used.contains(path));
    findings.extend(idle.map(|(path, _)| format!("{path}:1: error: reads no clock any more; take it off the list")));
    none(findings);
}
