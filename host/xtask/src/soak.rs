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

/// One part that can be run by itself: its name, and which of the domain's tests and of the end-to-end tests belong to it.
type Part = (&'static str, &'static [&'static str], &'static [&'static str]);

const PARTS: [Part; 8] = [
    ("simulation", &["soak"], &["simulation"]),
    ("anomalies", &[], &["anomalies"]),
    ("kills", &[], &["kills", "two_hosts"]),
    ("bills", &[], &["bill_kills"]),
    ("faults", &[], &["faults", "unsure"]),
    ("fuzz", &["fuzz"], &["fuzz"]),
    ("answers", &[], &["canaries", "schema"]),
    ("backtests", &[], &["backtests"]),
];

/// Runs the ledger against its model and the end-to-end tests, with `KOBAN_SOAK=1`. `--only PART,PART` runs these parts; `--seeds N` becomes
/// `KOBAN_SOAK_SEEDS`; other arguments go to the end-to-end test runner.
pub(crate) fn soak(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    let (only, rest) = take_only(arguments)?;
    let (seeds, mut filters) = take_seeds(&rest)?;
    let domain: Vec<&str> = match only.as_slice() {
        [] => PARTS.iter().flat_map(|part| part.1).copied().collect(),
        only => only.iter().flat_map(|part| part.1).copied().collect(),
    };
    filters.extend(only.iter().flat_map(|part| part.2.iter().map(|test| (*test).to_owned())));
    let end_to_end = only.is_empty() || !filters.is_empty();
    setup::c_compiler()?;
    setup::guest_toolchain()?;
    setup::postgresql()?;
    build_host(tree)?;
    build_packages(tree, Profile::Dev)?;
    let server = Server::start(Purpose::Tests)?;

    let mut tally = Tally::default();
    let mut outcome = Ok(());
    if !domain.is_empty() {
        outcome = outcome.and(timed("soak of the domain", || {
            let mut command = tree.cargo();
            command
                .args(["test", "--workspace", "--test", "rules", "--", "--show-output"])
                .args(&domain)
                .env("KOBAN_SOAK", "1");
            if let Some(seeds) = &seeds {
                command.env("KOBAN_SOAK_SEEDS", seeds);
            }
            run_tests(&mut command, &mut tally)
        }));
    }
    for store in ["sqlite", "postgres"].into_iter().filter(|_| end_to_end) {
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
    if filters.is_empty() && only.is_empty() {
        outcome = outcome.and_then(|()| artifacts::try_all(tree));
    }
    println!("{}", tally.line());
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// Splits `--only PART,PART` (or `--only=…`) off.
fn take_only(arguments: &[String]) -> Result<(Vec<&'static Part>, Vec<String>)> {
    let (mut parts, mut left) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let names = match argument.strip_prefix("--only=") {
            Some(names) => names,
            None if argument == "--only" => rest.next().context("--only needs parts after it, with commas")?,
            None => {
                left.push(argument.clone());
                continue;
            }
        };
        for name in names.split(',') {
            let part = PARTS.iter().find(|part| part.0 == name).with_context(|| {
                let known: Vec<&str> = PARTS.iter().map(|part| part.0).collect();
                format!("there is no part `{name}` of soak; the parts are {}", known.join(", "))
            })?;
            parts.push(part);
        }
    }
    Ok((parts, left))
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
    fn parts_are_taken_out_by_name_and_an_unknown_one_is_refused() {
        for line in ["--only simulation,kills --seeds 20", "--seeds 20 --only=simulation,kills"] {
            let (parts, rest) = take_only(&words(line)).unwrap();
            assert_eq!(parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["simulation", "kills"], "{line}");
            assert_eq!(rest, words("--seeds 20"), "{line}");
        }
        assert!(take_only(&words("--only nothing")).is_err() && take_only(&words("--only")).is_err());
    }

    #[test]
    fn seeds_that_are_no_number_are_refused() {
        for line in ["--seeds", "--seeds many", "--seeds=-1"] {
            assert!(take_seeds(&words(line)).is_err(), "{line}");
        }
    }
}
