//! The end-of-day file that channels agree on with their partners: CSV with a header, one row for each transaction, and a trailer `T,count,sum` that
//! all rows must agree with.

use super::{Line, Side};
use crate::{Failure, Money, time};

const HEADER: &str = "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at";

/// All lines of the file, fees as lines of their own. `kinds` says which kinds of rows there are, such as `CHARGE`, and what each comes to. Errors:
/// `file_invalid` with the number of the first line that cannot be read; half a file is never settled.
pub fn parse(content: &[u8], kinds: &[(&str, Side)]) -> Result<Vec<Line>, Failure> {
    let text = std::str::from_utf8(content).map_err(|_| invalid(1, "the file is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut numbered = (1_usize..).zip(text.split('\n'));
    if numbered.next() != Some((1, HEADER)) {
        return Err(invalid(1, &format!("the header should be `{HEADER}`")));
    }
    let mut lines = Vec::new();
    let mut listed = Vec::new();
    let (mut count, mut sum_yen, mut file_id) = (0_usize, 0_i64, None);
    while let Some((number, line)) = numbered.next() {
        if let Some(trailer) = line.strip_prefix("T,") {
            check_trailer(trailer, count, sum_yen).map_err(|problem| invalid(number, &problem))?;
            return match numbered.next() {
                None => check_listed_once(listed).map(|()| lines),
                Some((number, _)) => Err(invalid(number, "nothing may follow the trailer")),
            };
        }
        let row = Row::read(line, kinds).map_err(|problem| invalid(number, &problem))?;
        if *file_id.get_or_insert(row.file_id) != row.file_id {
            return Err(invalid(number, "file_id differs from the first row's"));
        }
        listed.push((row.reference, row.side == Side::Credit, number));
        count += 1;
        sum_yen = sum_yen.checked_add(row.amount).ok_or_else(|| invalid(number, "the sum is too great"))?;
        lines.push(row.line(row.side, row.amount));
        if row.fee > 0 {
            lines.push(row.line(Side::Fee, row.fee));
        }
    }
    Err(invalid(count + 2, "the trailer `T,count,sum` is missing: the file may have been cut"))
}

/// No transaction may stand there twice as the same kind. Sorted once: a file may have tens of thousands of rows.
fn check_listed_once(mut listed: Vec<(&str, bool, usize)>) -> Result<(), Failure> {
    listed.sort_unstable();
    match listed.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        None => Ok(()),
        Some(pair) => Err(invalid(pair[1].2, &format!("{} is listed twice as the same kind", pair[1].0))),
    }
}

/// One row, read but for what reconciliation has no use for.
struct Row<'a> {
    file_id: &'a str,
    side: Side,
    reference: &'a str,
    amount: i64,
    fee: i64,
    at: u64,
}

impl<'a> Row<'a> {
    fn read(line: &'a str, kinds: &[(&str, Side)]) -> Result<Row<'a>, String> {
        let columns: Vec<&str> = line.split(',').collect();
        let [file_id, _channel, _date, _seq, kind, reference, _wallet_txn_id, amount, fee, occurred_at] = columns[..]
        else {
            return Err(format!("a row has 10 columns, not {}", columns.len()));
        };
        let known = kinds.iter().find(|(word, _)| *word == kind).ok_or_else(|| {
            let words: Vec<&str> = kinds.iter().map(|(word, _)| *word).collect();
            format!("kind `{kind}` is none of this channel's: {}", words.join(", "))
        });
        let (_, side) = *known?;
        if reference.is_empty() || reference.len() > 100 {
            return Err("channel_txn_id should have 1 to 100 characters".to_owned());
        }
        let at = time::parse_rfc3339(occurred_at);
        Ok(Row {
            file_id,
            side,
            reference,
            amount: yen(amount).filter(|amount| *amount > 0).ok_or("amount should be whole yen above 0")?,
            fee: yen(fee).ok_or("fee should be whole yen, 0 for none")?,
            at: at.ok_or("occurred_at should look like 2026-04-01T09:30:00+09:00")?,
        })
    }

    fn line(&self, side: Side, yen: i64) -> Line {
        Line { reference: self.reference.to_owned(), side, amount: Money::yen(yen), at: self.at }
    }
}

fn check_trailer(trailer: &str, count: usize, sum_yen: i64) -> Result<(), String> {
    let (said_count, said_sum) = trailer.split_once(',').ok_or("the trailer should be `T,count,sum`")?;
    if said_count.parse() != Ok(count) {
        return Err(format!("the trailer says {said_count} rows, there are {count}"));
    }
    if yen(said_sum) != Some(sum_yen) {
        return Err(format!("the trailer says {said_sum} yen, the rows sum up to {sum_yen}"));
    }
    Ok(())
}

/// Whole yen without sign, such as `10000`.
fn yen(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

fn invalid(line: usize, problem: &str) -> Failure {
    Failure::new("file_invalid", format!("line {line}: {problem}"))
}
