//! CSV in the form of Money Forward ME: newest first, every cell in quotes, yen.

use koban_sdk::statement::{Account, Row};
use koban_sdk::time;

use crate::Names;
use crate::csv::{quoted, text};
use crate::money::decimal;
use crate::ofx::words;

const HEADER: [&str; 10] =
    ["計算対象", "日付", "内容", "金額（円）", "保有金融機関", "大項目", "中項目", "メモ", "振替", "ID"];

/// The whole file.
pub(crate) fn write(names: &Names, account: &Account) -> String {
    let mut csv = line(&HEADER.map(str::to_owned));
    for row in account.rows.iter().rev() {
        csv.push_str(&line(&cells(names, row)));
    }
    csv
}

fn line(cells: &[String; 10]) -> String {
    let quoted: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{}\r\n", quoted.join(","))
}

fn cells(names: &Names, row: &Row) -> [String; 10] {
    // What only moves between the user's own places is no income and no expense.
    let is_transfer = matches!(row.kind.as_str(), "charge" | "exchange" | "withdrawal");
    let flag = |yes: bool| if yes { "1" } else { "0" }.to_owned();
    let content = if row.counterpart.trim().is_empty() { words(&row.kind).to_owned() } else { text(&row.counterpart) };
    let category = if row.amount.minor < 0 { text(&names.category) } else { "収入".to_owned() };
    [
        flag(!is_transfer),
        time::jst(row.at).date("/"),
        content,
        decimal(row.amount.minor, "JPY"),
        text(&names.wallet),
        category,
        words(&row.kind).to_owned(),
        text(&row.memo),
        flag(is_transfer),
        row.id.clone(),
    ]
}
