//! `cargo xtask test`: the parts in order, the time each took beside its budget, and one closing line.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::guests::{build_host, build_packages};
use crate::limit::within;
use crate::postgres::{Purpose, Server};
use crate::run::{Stopwatch, run, run_tests, say, seconds};
use crate::setup;
use crate::tally::Tally;
use crate::tree::{Profile, Tree};

/// One part of the tests and the seconds it may take on two cores from a cold start.
struct Part {
    name: &'static str,
    what: &'static str,
    budget_s: u64,
    run: fn(&mut Bench) -> Result<()>,
}

/// In the order of what is quick to learn: a misplaced brace should not cost ten minutes.
const PARTS: [Part; 9] = [
    Part { name: "setup", what: "what the tests need from this machine", budget_s: 240, run: prepare },
    Part { name: "format", what: "formatting of the host", budget_s: 20, run: format },
    Part { name: "lints", what: "lints of the host, warnings are errors", budget_s: 300, run: lints },
    Part { name: "docs", what: "documentation of the host, warnings are errors", budget_s: 80, run: docs },
    Part { name: "guests-native", what: "formatting, lints and unit tests of the guests", budget_s: 100, run: native },
    Part { name: "guests", what: "koban, then every guest as a package", budget_s: 500, run: packages },
    Part { name: "unit", what: "unit tests and documentation tests of the host", budget_s: 440, run: unit },
    Part { name: "it-sqlite", what: "end-to-end tests on SQLite", budget_s: 500, run: it_sqlite },
    Part { name: "it-postgres", what: "end-to-end tests on PostgreSQL", budget_s: 520, run: it_postgres },
];

/// A part that takes so many times its budget hangs, and is killed.
const LIMIT_BUDGETS: u64 = 3;
/// No part is killed sooner: a slow machine is no mistake.
const LIMIT_LEAST_S: u64 = 600;

/// All parts together: 45 minutes.
const BUDGET_S: u64 = 45 * 60;

/// What the parts share: the clone, the results so far, and one server that is started when first needed.
struct Bench<'a> {
    tree: &'a Tree,
    tally: Tally,
    server: Option<Server>,
}

/// Runs all parts, or the one named by `--only` (which relies on what earlier parts have left, such as the packages).
pub(crate) fn test(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    let parts = chosen(arguments)?;
    let mut bench = Bench { tree, tally: Tally::default(), server: None };
    let mut taken: Vec<(&Part, Duration)> = Vec::new();
    let mut failure = None;
    for part in parts {
        say(&format!("{}: {}", part.name, part.what));
        let failed_before = bench.tally.failed;
        let stopwatch = Stopwatch::start();
        let limit = Duration::from_secs((LIMIT_BUDGETS * part.budget_s).max(LIMIT_LEAST_S));
        let (outcome, killed) = within(part.name, limit, || (part.run)(&mut bench));
        let outcome =
            if killed { Err(anyhow::anyhow!("it hung and was killed after {}", seconds(limit))) } else { outcome };
        taken.push((part, stopwatch.elapsed()));
        match outcome {
            Ok(()) => say(&format!("{}: {}", part.name, seconds(stopwatch.elapsed()))),
            Err(error) => {
                // A part that fails without a failed test (it does not compile, say) counts as one.
                if bench.tally.failed == failed_before {
                    bench.tally.failed += 1;
                }
                failure = Some(format!("{}: failed: {error:#}", part.name));
                break;
            }
        }
    }
    drop(bench.server);
    println!("\n{}", table(&taken));
    if let Some(failure) = &failure {
        println!("{failure}\n");
    }
    bench.tally.close()?;
    Ok(if failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(arguments: &[String]) -> Result<Vec<&'static Part>> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let names = || PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
    match words.as_slice() {
        [] => Ok(PARTS.iter().collect()),
        ["--only", name] => match PARTS.iter().find(|part| part.name == *name) {
            Some(part) => Ok(vec![part]),
            None => bail!("there is no part called `{name}`; the parts are {}", names()),
        },
        _ => bail!("usage: cargo xtask test [--only PART]; the parts are {}", names()),
    }
}

/// The budget table. Going over is said, not punished: a slow machine is no mistake in the change.
fn table(taken: &[(&Part, Duration)]) -> String {
    let mut rows = format!("{:<14} {:>10} {:>8}\n", "part", "seconds", "budget");
    let mut row = |name: &str, duration: Duration, budget_s: u64| {
        let over = if duration.as_secs() >= budget_s { "  over budget" } else { "" };
        let figure = format!("{}.{}", duration.as_secs(), duration.subsec_millis() / 100);
        rows.push_str(&format!("{name:<14} {figure:>10} {budget_s:>8}{over}\n"));
    };
    for (part, duration) in taken {
        row(part.name, *duration, part.budget_s);
    }
    row("total", taken.iter().map(|(_, duration)| *duration).sum(), BUDGET_S);
    rows
}

fn prepare(_: &mut Bench) -> Result<()> {
    setup::c_compiler()?;
    setup::rust_components()?;
    setup::guest_toolchain()?;
    setup::python()?;
    setup::postgresql()
}

fn format(bench: &mut Bench) -> Result<()> {
    run(bench.tree.cargo().args(["fmt", "--all", "--check"]))
}

fn lints(bench: &mut Bench) -> Result<()> {
    run(bench.tree.cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

fn docs(bench: &mut Bench) -> Result<()> {
    run(bench.tree.cargo().args(["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

fn native(bench: &mut Bench) -> Result<()> {
    run(bench.tree.guest_cargo().args(["fmt", "--all", "--check"]))?;
    run(bench.tree.guest_cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run_tests(bench.tree.guest_cargo().args(["test", "--workspace", "--no-fail-fast"]), &mut bench.tally)
}

fn packages(bench: &mut Bench) -> Result<()> {
    build_host(bench.tree)?;
    build_packages(bench.tree, Profile::Dev)
}

/// Every test of the workspace but the end-to-end ones. A store's own tests find the server in the environment.
fn unit(bench: &mut Bench) -> Result<()> {
    let url = bench.server()?.url().to_owned();
    let mut command = bench.tree.cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--examples"]);
    for name in test_files(&bench.tree.root)? {
        command.args(["--test", &name]);
    }
    run_tests(command.env("KOBAN_TEST_POSTGRES", &url), &mut bench.tally)?;
    run_tests(bench.tree.cargo().args(["test", "--workspace", "--no-fail-fast", "--doc"]), &mut bench.tally)
}

fn it_sqlite(bench: &mut Bench) -> Result<()> {
    let mut command = it(bench.tree);
    run_tests(command.env("KOBAN_TEST_STORE", "sqlite"), &mut bench.tally)
}

fn it_postgres(bench: &mut Bench) -> Result<()> {
    let url = bench.server()?.url().to_owned();
    let mut command = it(bench.tree);
    run_tests(command.env("KOBAN_TEST_STORE", "postgres").env("KOBAN_TEST_POSTGRES", &url), &mut bench.tally)
}

fn it(tree: &Tree) -> std::process::Command {
    let mut command = tree.cargo();
    command.args(["test", "--workspace", "--test", "it"]);
    command
}

impl Bench<'_> {
    fn server(&mut self) -> Result<&Server> {
        if self.server.is_none() {
            self.server = Some(Server::start(Purpose::Tests)?);
        }
        self.server.as_ref().context("the server was started just now")
    }
}

/// The names of tests that crates keep in a `tests` folder of their own. Cargo can name a test but not leave one out,
/// and leaving the package `host` out would select other features and build much a second time.
fn test_files(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for home in ["host/crates", "examples"] {
        for package in std::fs::read_dir(root.join(home)).with_context(|| format!("the clone has no folder {home}"))? {
            let Ok(files) = std::fs::read_dir(package?.path().join("tests")) else { continue };
            for file in files {
                let path = file?.path();
                // A test of several files is a folder with a `main.rs`.
                if path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file() {
                    names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
                }
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_of_the_parts_add_up_to_the_budget() {
        assert_eq!(PARTS.iter().map(|part| part.budget_s).sum::<u64>(), BUDGET_S);
    }

    #[test]
    fn tests_of_several_files_are_run_as_well_as_those_of_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let names = test_files(&root).unwrap();
        for name in ["rules", "conformance", "rows", "flows", "door", "build"] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn only_runs_the_part_it_names_and_an_unknown_part_is_refused() {
        let one = chosen(&["--only".to_owned(), "docs".to_owned()]).unwrap();
        assert_eq!(one.iter().map(|part| part.name).collect::<Vec<_>>(), ["docs"]);
        assert_eq!(chosen(&[]).unwrap().len(), PARTS.len());
        assert!(chosen(&["--only".to_owned(), "nothing".to_owned()]).is_err());
        assert!(chosen(&["docs".to_owned()]).is_err());
    }

    #[test]
    fn the_table_marks_what_went_over_its_budget() {
        let rows = table(&[(&PARTS[1], Duration::from_millis(1_250)), (&PARTS[3], Duration::from_secs(500))]);
        let lines: Vec<&str> = rows.lines().collect();
        assert_eq!(lines[1], "format                1.2       20");
        assert_eq!(lines[2], "docs                500.0       80  over budget");
        assert_eq!(lines[3], "total               501.2     2700");
    }
}
