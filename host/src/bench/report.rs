//! What was measured, as rows: a table for people, one JSON object per row for programs.

use serde_json::{Value, json};

use super::figures::{Latencies, rounded};
use super::stages::Stage;

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `W1`, `W3`, `W4`, `W5`, `W6`, `W7`, `hosts`, `door`, `js`, `backtest`, `growth` or `installed`.
    pub(super) workload: &'static str,
    /// `sqlite` or `postgres`; `none` for the door and for languages.
    pub(super) store: &'static str,
    /// Requests in flight.
    pub(super) clients: usize,
    /// Guest calls for each request.
    pub(super) plugins: usize,
    /// Done per second: the median of the repetitions.
    pub(super) per_second: f64,
    /// What it is compared with, per second, in the same run.
    pub(super) baseline_per_second: f64,
    /// One by the other. For the door and for languages it is that of times.
    pub(super) ratio: f64,
    /// Of all repetitions together.
    pub(super) latencies: Latencies,
    /// `clean`, or what the audit found.
    pub(super) audit: String,
    /// What it is compared with, in words.
    pub(super) beside: String,
    /// Processor time by stage, for W5.
    pub(super) stages: Vec<Stage>,
    /// Deadlocks that the server counted, for two hosts.
    pub(super) deadlocks: Option<i64>,
}

impl Row {
    /// The row as the readers parse it.
    pub(super) fn json(&self) -> Value {
        let mut row = json!({
            "workload": self.workload,
            "store": self.store,
            "clients": self.clients,
            "plugins": self.plugins,
            "per_second": rounded(self.per_second),
            "baseline_per_second": rounded(self.baseline_per_second),
            "ratio": rounded(self.ratio),
            "p50_us": self.latencies.at_permille(500),
            "p99_us": self.latencies.at_permille(990),
            "p999_us": self.latencies.at_permille(999),
            "audit": self.audit,
            "baseline": self.beside,
        });
        if !self.stages.is_empty() {
            let stages = self.stages.iter().map(|stage| {
                let (host, database) = (rounded(stage.host_us), rounded(stage.database_us));
                json!({ "stage": stage.name, "host_us": host, "database_us": database })
            });
            row["cpu"] = stages.collect();
        }
        if let Some(deadlocks) = self.deadlocks {
            row["deadlocks"] = deadlocks.into();
        }
        row
    }

    /// The row in the table.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<8} {:<9} {:>7} {:>7} {:>10.0} {:>10.0} {:>7.2} {:>9} {:>9} {:>9}  {:<6} {}",
            self.workload,
            self.store,
            self.clients,
            self.plugins,
            self.per_second,
            self.baseline_per_second,
            self.ratio,
            milliseconds(self.latencies.at_permille(500)),
            milliseconds(self.latencies.at_permille(990)),
            milliseconds(self.latencies.at_permille(999)),
            self.audit,
            self.beside,
        )
    }
}

/// The line above the rows.
pub(super) fn heading() -> String {
    format!(
        "{:<8} {:<9} {:>7} {:>7} {:>10} {:>10} {:>7} {:>9} {:>9} {:>9}  {:<6} {}",
        "",
        "store",
        "clients",
        "plugins",
        "per s",
        "beside",
        "ratio",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "audit",
        "beside what"
    )
}

/// The processor time of a payment, as a table.
pub(super) fn stages(store: &str, stages: &[Stage]) -> String {
    let mut text = format!(
        "\nprocessor time of one W5 payment on {store}, microseconds\n{:<50} {:>9} {:>9}\n",
        "", "host", "database"
    );
    for stage in stages {
        text.push_str(&format!("{:<50} {:>9.1} {:>9.1}\n", stage.name, stage.host_us, stage.database_us));
    }
    text
}

fn milliseconds(us: u32) -> String {
    format!("{}.{:02}", us / 1_000, us % 1_000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_fields_that_are_promised() {
        let row = Row {
            workload: "W3",
            store: "sqlite",
            clients: 256,
            plugins: 0,
            per_second: 12_345.678,
            baseline_per_second: 1_000.0,
            ratio: 12.345_678,
            latencies: Latencies::of(vec![900, 1_000, 1_100]),
            audit: "clean".to_owned(),
            beside: "one transaction each".to_owned(),
            stages: Vec::new(),
            deadlocks: None,
        };
        let json = row.json().to_string();
        assert_eq!(
            json,
            "{\"audit\":\"clean\",\"baseline\":\"one transaction each\",\"baseline_per_second\":1000.0,\"clients\":256,\
             \"p50_us\":1000,\"p999_us\":1100,\"p99_us\":1100,\"per_second\":12345.68,\"plugins\":0,\"ratio\":12.35,\
             \"store\":\"sqlite\",\"workload\":\"W3\"}"
        );
        assert_eq!(milliseconds(12_345), "12.34");
    }
}
