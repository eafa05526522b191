//! What plugins cost, as a picture: how many transfers are left with more and more of them, and how long one call takes in each language.

use super::figures::{ratio, times, whole};
use super::languages;
use super::report::Row;
use crate::chart::Chart;

/// Colours: one for each store, and one for each language.
const STORES: [&str; 2] = ["postgres", "sqlite"];
const OTHERS: usize = 2;

/// The chart of these rows. None: nothing was measured that belongs into it.
pub(super) fn svg(rows: &[Row]) -> Option<String> {
    let mut chart = Chart::new(
        "What plugins cost",
        "Compare bars of one section with each other: all are of one run on one machine, and say little of another.",
    );
    let mut empty = true;
    for (series, store) in STORES.into_iter().enumerate() {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.workload == "W7" && row.store == store).collect();
        if rows.is_empty() {
            continue;
        }
        empty = false;
        chart
            .section(format!("Transfers per second on {store}, each after so many calls of the fraud rules, recorded"));
        for row in rows {
            let label = match row.plugins {
                0 => "no plugin".to_owned(),
                1 => "1 plugin".to_owned(),
                more => format!("{more} plugins"),
            };
            let shown = format!("{:.0} per second, {:.0} %", row.per_second, times(row.ratio, 100));
            chart.bar(label, whole(row.per_second), shown, series);
        }
    }
    let named = |row: &'_ Row| languages::name(row.workload);
    let languages: Vec<(&Row, &str)> = rows.iter().filter_map(|row| Some((row, named(row)?))).collect();
    if let Some((first, _)) = languages.first() {
        empty = false;
        chart.section("One call in a fresh instance through the door, microseconds");
        let mut call = |name: &str, per_second: f64, series| {
            let us = ratio(1_000_000.0, per_second);
            chart.bar(name, whole(us), format!("{us:.0} µs"), series);
        };
        call("Rust", first.baseline_per_second, OTHERS);
        for (number, (row, name)) in languages.iter().enumerate() {
            call(name, row.per_second, OTHERS + 1 + number);
        }
    }
    (!empty).then(|| chart.svg())
}

#[cfg(test)]
mod tests {
    use super::super::figures::Latencies;
    use super::*;

    fn row(workload: &'static str, store: &'static str, plugins: usize, per_second: f64, ratio: f64) -> Row {
        Row {
            workload,
            store,
            clients: 256,
            plugins,
            per_second,
            baseline_per_second: 20_000.0,
            ratio,
            latencies: Latencies::of(Vec::new()),
            audit: "clean".to_owned(),
            beside: String::new(),
            stages: Vec::new(),
            deadlocks: None,
        }
    }

    #[test]
    fn one_picture_has_the_plugins_of_each_store_and_every_language() {
        let rows = [
            row("W3", "postgres", 0, 19_000.0, 4.7),
            row("W7", "postgres", 0, 19_000.0, 1.0),
            row("W7", "postgres", 10, 9_500.0, 0.5),
            row("W7", "sqlite", 3, 10_000.0, 0.8),
            row("js", "none", 1, 2_000.0, 10.0),
            row("python", "none", 1, 500.0, 40.0),
        ];
        let svg = svg(&rows).unwrap();
        let shown = [
            "no plugin",
            "10 plugins",
            "9500 per second, 50 %",
            "3 plugins",
            "50 µs",
            "JavaScript",
            "500 µs",
            "Python",
        ];
        for text in shown {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn without_plugins_there_is_no_picture() {
        assert_eq!(svg(&[row("W3", "sqlite", 0, 10_000.0, 8.0)]), None);
    }
}
