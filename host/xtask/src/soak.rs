//! `cargo xtask soak`: the heavy tests at full scale, on both stores, with the figures they print.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::artifacts;
use crate::guests::{build_host, build_packages};
use crate::postgres::{Purpose, Server};
use crate::run::{run_tests, timed};
use crate::setup;
use crate::tally::Tally;
use crate::tree::{Profile, Tree};

/// Runs the ledger against its model, then the end-to-end tests, with `KOBAN_SOAK=1`. `--seeds N` becomes `KOBAN_SOAK_SEEDS`; other arguments go to the test runner.
pub(crate) fn soak(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    let (seeds, filters) = take_seeds(arguments)?;
    setup::c_compiler()?;
    setup::guest_toolchain()?;
    setup::postgresql()?;
    build_host(tree)?;
    build_packages(tree, Profile::Dev)?;
    let server = Server::start(Purpose::Tests)?;

    let mut tally = Tally::default();
    let mut outcome = timed("soak of the domain", || {
        let mut command = tree.cargo();
        command.args(["test", "--workspace", "--test", "rules", "--", "--show-output", "soak"]).env("KOBAN_SOAK", "1");
        if let Some(seeds) = &seeds {
            command.env("KOBAN_SOAK_SEEDS", seeds);
        }
        run_tests(&mut command, &mut tally)
    });
    for store in ["sqlite", "postgres"] {
        outcome = outcome.and(timed(&format!("soak on {store}"), || {
            let mut command = tree.cargo();
            command.args(["test", "--workspace", "--test", "it", "--", "--show-output"]).args(&filters);
            command.env("KOBAN_SOAK", "1").env("KOBAN_TEST_STORE", store);
            command.env("KOBAN_TEST_POSTGRES", server.url());
            if let Some(seeds) = &seeds {
                command.env("KOBAN_SOAK_SEEDS", seeds);
            }
            run_tests(&mut command, &mut tally)
        }));
    }
    // With tests chosen by name, only these.
    if filters.is_empty() {
        outcome = outcome.and_then(|()| artifacts::try_all(tree));
    }
    println!("{}", tally.line());
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// Splits `--seeds N` (or `--seeds=N`) off.
fn take_seeds(arguments: &[String]) -> Result<(Option<String>, Vec<String>)> {
    let mut seeds = None;
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seeds" {
            seeds = Some(rest.next().context("--seeds needs a number after it")?.clone());
        } else if let Some(number) = argument.strip_prefix("--seeds=") {
            seeds = Some(number.to_owned());
        } else {
            filters.push(argument.clone());
        }
    }
    if let Some(number) = &seeds {
        number.parse::<u32>().with_context(|| format!("--seeds needs a whole number, not `{number}`"))?;
    }
    Ok((seeds, filters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_number_of_seeds_is_taken_out_and_the_rest_chooses_tests() {
        for line in ["--seeds 20 kills", "kills --seeds=20"] {
            let (seeds, filters) = take_seeds(&words(line)).unwrap();
            assert_eq!((seeds.as_deref(), filters), (Some("20"), words("kills")), "{line}");
        }
        assert_eq!(take_seeds(&words("kills")).unwrap(), (None, words("kills")));
    }

    #[test]
    fn seeds_that_are_no_number_are_refused() {
        for line in ["--seeds", "--seeds many", "--seeds=-1"] {
            assert!(take_seeds(&words(line)).is_err(), "{line}");
        }
    }
}
