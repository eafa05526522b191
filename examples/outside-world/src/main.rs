//! The outside world as a program of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use outside_world::Config;

/// Plays the ATM network: takes cash, tells Koban, and misbehaves when it is told to.
#[derive(Parser)]
#[command(name = "outside-world", version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9700")]
    listen: SocketAddr,
    /// Where Koban is.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    koban: String,
    /// A file with the secrets shared with Koban (`whsec_…`), one a line: the first signs, any is accepted.
    #[arg(long)]
    secret_file: PathBuf,
    /// The name of the ATM; without one, each start is a new ATM.
    #[arg(long)]
    atm_id: Option<String>,
    /// The directory that the bank shares with Koban: PARTNER-FILES/bank-transfer/bank.
    #[arg(long)]
    bank_directory: Option<PathBuf>,
    /// What the network asks for each deposit, in yen.
    #[arg(long, default_value_t = 0)]
    fee: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    // What happens is told on stderr, so that stdout holds the address alone.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outside-world: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::read_to_string(&arguments.secret_file)
        .map_err(|error| format!("cannot read {}: {error}", arguments.secret_file.display()))?;
    let secrets = file.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let Arguments { listen, koban, atm_id, bank_directory, fee, .. } = arguments;
    let config = Config { listen, atm_id, bank_directory, fee, ..Config::new(koban, secrets) };
    let running = outside_world::start(config).await?;
    println!("the outside world listens at {}", running.base());
    tokio::signal::ctrl_c().await?;
    running.stop();
    Ok(())
}
