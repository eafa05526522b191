//! `koban bench`: the ledger and the door measured beside a baseline.

use clap::Args;

use crate::config::Global;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The PostgreSQL to measure on; without it only SQLite is measured
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
}

/// Measures.
pub async fn run(_global: &Global, _arguments: Arguments) -> anyhow::Result<()> {
    anyhow::bail!("build it with `cargo xtask bench`: a debug build says nothing about speed")
}
