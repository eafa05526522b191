//! `koban-auditor DATABASE [--told LOG [--complete]] [--book FILE --of PLUGIN] [--till NAME]…`: the auditor as a program of its own.

use std::io::Write as _;
use std::process::ExitCode;

use koban_auditor::{Evidence, Report, Source, audit};

const USAGE: &str = "\
Checks the fourteen invariants of the books and exits with 1 if one does not hold.

  koban-auditor DATABASE [OPTIONS]        DATABASE is sqlite:PATH or postgres://…

  --told LOG      what clients were told: one JSON object a line with id, and amount, actor and key where known
  --complete      that log has everything that anybody was told
  --book FILE     the partner's book, JSON with `deposits`
  --of PLUGIN     whose partner's book it is
  --till NAME     a plugin that is only a name in the books
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match look(&arguments).await {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

async fn look(arguments: &[String]) -> Result<Report, Box<dyn std::error::Error>> {
    let mut evidence = Evidence::default();
    let mut database = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value after it"));
        match argument.as_str() {
            "--told" => evidence.read_acknowledged(&std::fs::read_to_string(value()?)?)?,
            "--complete" => evidence.is_complete = true,
            "--book" => evidence.book = Some(serde_json::from_str(&std::fs::read_to_string(value()?)?)?),
            "--of" => evidence.book_of = value()?.clone(),
            "--till" => evidence.tills.push(value()?.clone()),
            _ if argument.starts_with('-') => return Err(format!("there is no option `{argument}`").into()),
            _ => database = Some(argument.clone()),
        }
    }
    let mut source = Source::open(&database.ok_or("name the database")?).await?;
    let report = audit(&mut source, &evidence).await;
    source.close().await;
    Ok(report?)
}
