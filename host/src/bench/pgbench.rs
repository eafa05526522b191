//! PostgreSQL's own benchmark in the same run: TPC-B on the same server says how well this server and machine do by themselves,
//! and that the baseline is no straw man.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// Rows per 100,000 accounts; ten, as ledger benchmarks usually take.
const SCALE: &str = "10";
const CLIENTS: &str = "32";

/// Runs TPC-B with prepared statements for so many seconds and answers transactions per second, or nothing where pgbench is not
/// installed.
pub(super) async fn run(url: &str, seconds: u64) -> anyhow::Result<Option<f64>> {
    let Some(program) = find() else { return Ok(None) };
    output(&program, &["--initialize", "--quiet", "--scale", SCALE, url]).await?;
    let seconds = seconds.to_string();
    let words = ["--protocol", "prepared", "--client", CLIENTS, "--jobs", "2", "--time", &seconds, url];
    let text = output(&program, &words).await?;
    match tps(&text) {
        Some(tps) => Ok(Some(tps)),
        None => bail!("pgbench did not say how many transactions it made: {}", text.trim()),
    }
}

async fn output(program: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).output().await;
    let output = output.with_context(|| format!("{} could not be started", program.display()))?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The figure of `tps = 1511.3 (without initial connection time)`.
fn tps(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok())
}

/// On PATH, or where Debian keeps a version's own programs.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("pgbench")).find(|file| file.is_file());
    on_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        versions.map(|version| version.path().join("bin/pgbench")).filter(|file| file.is_file()).max()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_figure_is_found_among_the_lines() {
        let text = "latency average = 21.2 ms\ntps = 1511.323 (without initial connection time)\n";
        assert_eq!(super::tps(text), Some(1511.323));
        assert_eq!(super::tps("nothing"), None);
    }
}
