//! What a call used, beside its limit and what is left.

use koban_runtime::{Door, Used};
use serde_json::{Value, json};

use crate::commands::table;

/// The columns.
const HEADER: &[&str] = &["", "USED", "LIMIT", "HEADROOM"];

/// One measured thing: name, used, limit, how it is written.
struct Figure {
    name: &'static str,
    used: u64,
    limit: u64,
    write: fn(u64) -> String,
}

fn figures(door: &Door, used: &Used, us: Option<u64>) -> Vec<Figure> {
    let limits = door.limits().of(used.class);
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let mut list = vec![
        Figure { name: "fuel", used: used.fuel, limit: limits.fuel, write: grouped },
        Figure { name: "memory", used: wide(used.memory_bytes), limit: wide(limits.memory_bytes), write: bytes },
    ];
    if let Some(us) = us {
        list.push(Figure { name: "time", used: us, limit: limits.deadline_ms() * 1_000, write: microseconds });
    }
    list.extend([
        Figure { name: "input", used: wide(used.input_bytes), limit: wide(limits.input_bytes), write: bytes },
        Figure { name: "answer", used: wide(used.output_bytes), limit: wide(limits.output_bytes), write: bytes },
        Figure { name: "log lines", used: wide(used.log_lines), limit: wide(limits.log_lines), write: grouped },
    ]);
    list
}

/// As a table. `us` is the time of the call in microseconds, if it was measured.
pub(super) fn text(door: &Door, used: &Used, us: Option<u64>) -> String {
    let rows: Vec<Vec<String>> = figures(door, used, us)
        .iter()
        .map(|figure| {
            let left =
                figure.limit.saturating_sub(figure.used).saturating_mul(1_000).checked_div(figure.limit).unwrap_or(0);
            vec![
                figure.name.to_owned(),
                (figure.write)(figure.used),
                (figure.write)(figure.limit),
                format!("{}.{} %", left / 10, left % 10),
            ]
        })
        .collect();
    table(HEADER, &rows)
}

/// As JSON: bytes, units of fuel, microseconds.
pub(super) fn value(door: &Door, used: &Used, us: Option<u64>) -> Value {
    let list = figures(door, used, us);
    let fields = list.iter().map(|figure| {
        let name = match figure.name {
            "fuel" => "fuel",
            "memory" => "memory_bytes",
            "time" => "time_us",
            "input" => "input_bytes",
            "answer" => "answer_bytes",
            _ => "log_lines",
        };
        (name.to_owned(), json!({ "used": figure.used, "limit": figure.limit }))
    });
    Value::Object(fields.chain([("class".to_owned(), json!(used.class.word()))]).collect())
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => format!("{}.{} KiB", bytes / 1_024, bytes % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

/// Microseconds, as milliseconds where there are many.
pub(super) fn microseconds(us: u64) -> String {
    match us {
        0..=999 => format!("{us} us"),
        _ => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_be_read() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([12, 1_536, 16 << 20].map(bytes), ["12 B", "1.5 KiB", "16.0 MiB"]);
        assert_eq!([420, 250_000].map(microseconds), ["420 us", "250.0 ms"]);
    }
}
