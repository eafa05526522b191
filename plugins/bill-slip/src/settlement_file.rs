//! The collector's file of confirmed payments: CSV with a header, one row for each receipt, and a trailer `T,count,sum` that all rows must agree with.

use koban_sdk::settlement::{Line, Side};
use koban_sdk::{Failure, Money, time};

const HEADER: &str = "kind,receipt_date,receipt_time,barcode,stamp,amount,receipt,file_date";
/// Confirmed; preliminary notices (01, 02) settle nothing.
const CONFIRMED: &str = "03";

/// All lines of the file. Errors: `file_invalid` with the number of the first line that cannot be read; half a file is never settled.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Line>, Failure> {
    let text = std::str::from_utf8(content).map_err(|_| invalid(1, "the file is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut numbered = (1_usize..).zip(text.split('\n'));
    if numbered.next() != Some((1, HEADER)) {
        return Err(invalid(1, &format!("the header should be `{HEADER}`")));
    }
    let (mut lines, mut count, mut sum) = (Vec::new(), 0_usize, 0_i64);
    while let Some((number, line)) = numbered.next() {
        if let Some(trailer) = line.strip_prefix("T,") {
            if trailer != format!("{count},{sum}") {
                return Err(invalid(number, &format!("the trailer should be `T,{count},{sum}`")));
            }
            return match numbered.next() {
                None => listed_once(&lines).map(|()| lines),
                Some((number, _)) => Err(invalid(number, "nothing may follow the trailer")),
            };
        }
        let line = row(line).map_err(|problem| invalid(number, &problem))?;
        count += 1;
        sum = sum.checked_add(line.amount.minor).ok_or_else(|| invalid(number, "the sum is too great"))?;
        lines.push(line);
    }
    Err(invalid(count + 2, "the trailer `T,count,sum` is missing: the file may have been cut"))
}

fn row(line: &str) -> Result<Line, String> {
    let columns: Vec<&str> = line.split(',').collect();
    let [kind, date, at, barcode, _stamp, amount, receipt, _file_date] = columns[..] else {
        return Err(format!("a row has 8 columns, not {}", columns.len()));
    };
    if kind != CONFIRMED {
        return Err(format!("kind `{kind}` is not confirmed (03): only confirmed payments are settled"));
    }
    if receipt.is_empty() || receipt.len() > 100 {
        return Err("receipt should have 1 to 100 characters".to_owned());
    }
    let yen = whole(amount).filter(|yen| *yen > 0).ok_or("amount should be whole yen above 0")?;
    if barcode.len() != 44 || whole(&barcode[37..43]) != Some(yen) {
        return Err("barcode should be the 44 digits of a slip over this amount".to_owned());
    }
    let at = moment(date, at).ok_or("receipt_date and receipt_time should look like 20180925 and 905")?;
    Ok(Line { reference: receipt.to_owned(), side: Side::Capture, amount: Money::yen(yen), at })
}

/// `20180925` and `905`, in Japan.
fn moment(date: &str, at: &str) -> Option<u64> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if date.len() != 8 || !(2..=4).contains(&at.len()) || !plain(date) || !plain(at) {
        return None;
    }
    let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
    let (hour, minute) = at.split_at(at.len() - 2);
    time::parse_rfc3339(&format!("{year}-{month}-{day}T{hour:0>2}:{minute}:00+09:00"))
}

/// No receipt may stand there twice. Sorted once: a file may have tens of thousands of rows.
fn listed_once(lines: &[Line]) -> Result<(), Failure> {
    let mut receipts: Vec<(&str, usize)> =
        lines.iter().zip(2_usize..).map(|(line, number)| (line.reference.as_str(), number)).collect();
    receipts.sort_unstable();
    match receipts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => Err(invalid(pair[1].1, &format!("{} is listed twice", pair[1].0))),
    }
}

/// Whole yen without sign.
fn whole(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

fn invalid(line: usize, problem: &str) -> Failure {
    Failure::new("file_invalid", format!("line {line}: {problem}"))
}
