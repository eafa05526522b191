//! CSV in the form of Zaim: oldest first, quotes only where a cell needs them.

use koban_sdk::statement::{Account, Row};
use koban_sdk::time;

use crate::Names;
use crate::csv::{plain, text};
use crate::money::decimal;
use crate::ofx::words;

const HEADER: &str = "日付,方法,カテゴリ,カテゴリの内訳,支払元,入金先,品目,メモ,お店,通貨,収入,支出,振替,残高調整,通貨変換前の金額,集計の設定";
const COUNTED: &str = "常に集計に含める";
const NOT_COUNTED: &str = "集計に含めない";
const NONE: &str = "-";

/// The whole file.
pub(crate) fn write(names: &Names, account: &Account) -> String {
    let mut csv = format!("{HEADER}\r\n");
    for row in &account.rows {
        csv.push_str(&line(names, row, &account.currency).map(|cell| plain(&cell)).join(","));
        csv.push_str("\r\n");
    }
    csv
}

fn line(names: &Names, row: &Row, currency: &str) -> [String; 16] {
    let amount = decimal(row.amount.minor.saturating_abs(), currency);
    let (zero, none, wallet) = ("0".to_owned(), NONE.to_owned(), text(&names.wallet));
    let came_in = row.amount.minor >= 0;
    let other = if row.counterpart.trim().is_empty() { words(&row.kind).to_owned() } else { text(&row.counterpart) };
    let is_transfer = matches!(row.kind.as_str(), "charge" | "exchange" | "withdrawal");
    let method = match (is_transfer, came_in) {
        (true, _) => "transfer",
        (false, true) => "income",
        (false, false) => "payment",
    };
    let category = if method == "payment" { text(&names.category) } else { words(&row.kind).to_owned() };
    let (from, to) = match (method, came_in) {
        ("transfer", true) => (other.clone(), wallet),
        ("transfer", false) => (wallet, other.clone()),
        (_, true) => (none.clone(), wallet),
        (_, false) => (wallet, none.clone()),
    };
    let only = |wanted: &str, amount: &str| if method == wanted { amount.to_owned() } else { zero.clone() };
    [
        time::jst(row.at).date("-"),
        method.to_owned(),
        category,
        none.clone(),
        from,
        to,
        String::new(),
        text(&row.memo),
        if is_transfer { String::new() } else { other },
        currency.to_owned(),
        only("income", &amount),
        only("payment", &amount),
        only("transfer", &amount),
        zero.clone(),
        amount,
        if is_transfer { NOT_COUNTED } else { COUNTED }.to_owned(),
    ]
}
