//! The transfer file of Japanese banks (Zengin, business kind 21): header, a record of 120 bytes for each transfer, trailer, end.

use koban_sdk::files::Outgoing;
use koban_sdk::time::jst;
use koban_sdk::{Failure, Values};

use crate::kana;
use crate::settings::BankSettings;

/// Bytes of each record.
const RECORD_BYTES: usize = 120;
/// Where the amount of a transfer stands in its record.
const AMOUNT: std::ops::Range<usize> = 80..90;
/// Largest count and sum of a file: what their fields hold.
const COUNT_MAX: usize = 999_999;
const SUM_MAX: u64 = 999_999_999_999;
/// Bytes of the payee's name.
const NAME_BYTES: usize = 30;

/// The record of one transfer: where it goes, as the user's form says, how many yen, and what the bank calls it when it answers. Errors: the name has
/// characters that banks do not use.
pub(crate) fn record(values: &Values<'_>, amount: i64, reference: &str) -> Result<Vec<u8>, Failure> {
    let text = |name: &str| values.get::<String>(name).unwrap_or_default();
    let name = kana::folded(&text("name")).map_err(|character| {
        let message = format!("the name has `{character}`, which banks do not use");
        Failure::new("payee_invalid", message).text("payee-invalid")
    })?;
    let mut line = Line::of(b"2");
    line.digits(&text("bank"), 4).spaces(15).digits(&text("branch"), 3).spaces(15);
    // Clearing house, ordinary account.
    line.put(b"0000").put(b"1").digits(&text("account"), 7);
    line.left(&name, NAME_BYTES).number(amount.unsigned_abs(), 10);
    // No new code; the reference stands where the mark `Y` says so; by wire.
    line.put(b"0").left(reference.as_bytes(), 20).put(b"7").put(b"Y").spaces(7);
    line.whole()
}

/// The file of these records. Errors: one of them is no transfer, or they are too many.
pub(crate) fn compose(
    settings: &BankSettings,
    file: &Outgoing,
    records: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, Failure> {
    let wrong = |message: String| Failure::new("file_invalid", message);
    if records.len() > COUNT_MAX {
        return Err(wrong(format!("{} transfers; a file has at most {COUNT_MAX}", records.len())));
    }
    let mut content = header(settings, file)?;
    let mut sum: u64 = 0;
    for (correlation, record) in records {
        let amount = amount_of(record).ok_or_else(|| wrong(format!("the record of {correlation} is no transfer")))?;
        sum = sum.saturating_add(amount);
        content.extend_from_slice(record);
        content.extend_from_slice(b"\r\n");
    }
    if sum > SUM_MAX {
        return Err(wrong(format!("{sum} yen in one file; it holds at most {SUM_MAX}")));
    }
    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
    let mut trailer = Line::of(b"8");
    trailer.number(count, 6).number(sum, 12).spaces(101);
    content.extend_from_slice(&trailer.whole()?);
    content.extend_from_slice(b"\r\n");
    let mut end = Line::of(b"9");
    end.spaces(119);
    content.extend_from_slice(&end.whole()?);
    content.extend_from_slice(b"\r\n");
    Ok(content)
}

fn header(settings: &BankSettings, file: &Outgoing) -> Result<Vec<u8>, Failure> {
    // The settings were judged when they were set.
    let name = kana::folded(&settings.client_name).unwrap_or_default();
    let day = jst(file.cut_off);
    let account = settings.paying_account.as_str();
    let part = |range| account.get(range).unwrap_or_default();
    let mut line = Line::of(b"1");
    line.put(b"21").put(b"0").digits(&settings.client_code, 10).left(&name, 40);
    line.number(day.month.unsigned_abs(), 2).number(day.day.unsigned_abs(), 2);
    line.digits(part(0..4), 4).spaces(15).digits(part(4..7), 3).spaces(15);
    line.put(b"1").digits(part(7..14), 7).spaces(17);
    let mut header = line.whole()?;
    header.extend_from_slice(b"\r\n");
    Ok(header)
}

fn amount_of(record: &[u8]) -> Option<u64> {
    if record.len() != RECORD_BYTES || record.first() != Some(&b'2') {
        return None;
    }
    let digits = record.get(AMOUNT).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A record in the making.
struct Line {
    bytes: Vec<u8>,
    /// Whether everything fitted so far.
    fits: bool,
}

impl Line {
    fn of(kind: &[u8]) -> Line {
        let mut bytes = Vec::with_capacity(RECORD_BYTES + 2);
        bytes.extend_from_slice(kind);
        Line { bytes, fits: true }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Line {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn spaces(&mut self, count: usize) -> &mut Line {
        self.bytes.resize(self.bytes.len() + count, b' ');
        self
    }

    /// Text to the left, cut where it is too long, as banks cut names.
    fn left(&mut self, text: &[u8], width: usize) -> &mut Line {
        let text = &text[..text.len().min(width)];
        self.put(text).spaces(width - text.len())
    }

    /// Exactly so many digits.
    fn digits(&mut self, text: &str, width: usize) -> &mut Line {
        self.fits &= text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        self.put(text.as_bytes())
    }

    fn number(&mut self, number: u64, width: usize) -> &mut Line {
        let text = format!("{number:0width$}");
        self.fits &= text.len() == width;
        self.put(text.as_bytes())
    }

    /// The record. Errors: something did not fit its field.
    fn whole(&self) -> Result<Vec<u8>, Failure> {
        if self.fits && self.bytes.len() == RECORD_BYTES {
            Ok(self.bytes.clone())
        } else {
            Err(Failure::new("file_invalid", "a field of the transfer file does not fit its place"))
        }
    }
}
