//! Koban's chores, each one command: play it, test it, build its guests, measure it, wear it down, try what operators get.

mod apt;
mod artifacts;
mod bench;
mod guests;
mod limit;
mod parts;
mod postgres;
mod run;
mod setup;
mod soak;
mod tally;
mod tree;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::tree::Tree;

const HELP: &str = "\
Koban's chores. Each installs what it needs first and says what and why.

  cargo xtask up [--once]         build everything, play the main job, stay up (--once: play it and exit)
  cargo xtask test [--only PART]  everything that must hold, on SQLite and PostgreSQL, with a time budget per part
  cargo xtask guests              build the plugins and the test guests into packages
  cargo xtask bench [ARGS]        build for release and measure, beside a temporary PostgreSQL (ARGS go to `koban bench`)
  cargo xtask soak [--only PARTS] [--seeds N]
                                  the heavy tests at full scale: simulation,anomalies,kills,bills,faults,fuzz,
                                  answers,backtests (other arguments choose tests by name)
  cargo xtask artifacts           try unit, alert rules and Containerfile with the programs they are for, where these are installed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::FAILURE);
    };
    match command.as_str() {
        "up" => up::up(&Tree::find()?, rest),
        "test" => parts::test(&Tree::find()?, rest),
        "guests" => guests::guests(&Tree::find()?),
        "bench" => bench::bench(&Tree::find()?, rest),
        "soak" => soak::soak(&Tree::find()?, rest),
        "artifacts" => artifacts::artifacts(&Tree::find()?),
        "postgres" => postgres::lend(rest),
        "postgres-guard" => postgres::guard::guard(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => {
            eprintln!("error: there is no chore called `{other}`\n\n{HELP}");
            Ok(ExitCode::FAILURE)
        }
    }
}
