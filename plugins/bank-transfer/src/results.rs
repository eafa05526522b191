//! The bank's result file: what it did about each transfer of a file, in CSV with a header and a trailer of count and sum.

use koban_sdk::Failure;

/// What the bank did about one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// In yen, as it read it.
    pub(crate) amount: i64,
    /// The bank's receipt, or why it refused.
    pub(crate) outcome: Result<String, String>,
}

/// The rows of the file: reference and row. Errors: any line that cannot be read, for half a file is worse than none.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let wrong = |line: usize, problem: &str| Failure::new("file_invalid", format!("line {line}: {problem}"));
    let text = std::str::from_utf8(content).map_err(|_| wrong(1, "the file is no text"))?;
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let Some((_, header)) = lines.next() else { return Err(wrong(1, "the file is empty")) };
    if header.strip_prefix("H,").is_none_or(str::is_empty) {
        return Err(wrong(1, "the header is `H,` and the name of the file that this answers"));
    }
    let (mut rows, mut sum) = (Vec::new(), 0_i64);
    for (at, line) in lines.by_ref() {
        if let Some(trailer) = line.strip_prefix("T,") {
            if trailer != format!("{},{sum}", rows.len()) {
                return Err(wrong(at, "count or sum are not those of the rows"));
            }
            return match lines.next() {
                None => Ok(rows),
                Some((at, _)) => Err(wrong(at, "something follows the trailer")),
            };
        }
        let (reference, said) = row(line).ok_or_else(|| {
            wrong(at, "a row is `R,reference,amount,DONE,receipt` or `R,reference,amount,REFUSED,reason`")
        })?;
        sum = sum.checked_add(said.amount).ok_or_else(|| wrong(at, "the sum is too large"))?;
        rows.push((reference, line.as_bytes().to_vec()));
    }
    Err(wrong(text.lines().count() + 1, "the trailer is missing"))
}

/// What one row says. Errors: it is none.
pub(crate) fn read(row_bytes: &[u8]) -> Result<Said, Failure> {
    let read = std::str::from_utf8(row_bytes).ok().and_then(row);
    read.map(|(_, said)| said).ok_or_else(|| Failure::new("file_invalid", "a row of the result file cannot be read"))
}

fn row(line: &str) -> Option<(String, Said)> {
    let fields: Vec<&str> = line.split(',').collect();
    let ["R", reference, amount, how, why] = fields[..] else { return None };
    let amount: i64 = amount.parse().ok().filter(|amount| *amount > 0)?;
    if reference.is_empty() || why.is_empty() {
        return None;
    }
    let outcome = match how {
        "DONE" => Ok(why.to_owned()),
        "REFUSED" => Err(why.to_owned()),
        _ => return None,
    };
    Some((reference.to_owned(), Said { amount, outcome }))
}
