//! A slip: the 44 digits of its GS1-128 bar code, application identifier 91.

use koban_sdk::time;

/// How many digits a slip has.
const DIGITS: usize = 44;

/// What a slip says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slip {
    /// All of its digits.
    pub(crate) digits: String,
    /// The biller's company code, 6 digits.
    pub(crate) company: String,
    /// The biller's own numbers, 21 digits. With the company they are the bill, whatever the reissue count says.
    pub(crate) free: String,
    /// In yen.
    pub(crate) amount: i64,
    /// The end of the last day in Japan, in Unix milliseconds; none for a slip without a last day.
    pub(crate) due: Option<u64>,
}

/// Why digits that look like a slip are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlip {
    /// The last digit does not fit the others.
    CheckDigit,
    /// The last day does not exist, or there is no amount.
    Malformed,
}

/// Reads a slip; nothing if it is something else. Typed digits may be grouped as they are printed: `(91)912345-…`.
pub(crate) fn read(content: &str, is_typed: bool) -> Option<Result<Slip, NoSlip>> {
    let grouping = |character: &char| is_typed && "()- ".contains(*character);
    let digits: String = content.chars().filter(|character| !grouping(character)).collect();
    let is_slip =
        digits.len() == DIGITS && digits.starts_with("91") && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_slip.then(|| parse(digits))
}

fn parse(digits: String) -> Result<Slip, NoSlip> {
    let (body, check) = digits.split_at(DIGITS - 1);
    if check_digit(body) != check.bytes().next().map(|byte| byte - b'0') {
        return Err(NoSlip::CheckDigit);
    }
    let amount = digits[37..43].parse().ok().filter(|amount| *amount > 0).ok_or(NoSlip::Malformed)?;
    let due = match &digits[30..36] {
        "999999" => None,
        day => Some(end_of_day(day).ok_or(NoSlip::Malformed)?),
    };
    Ok(Slip { company: digits[2..8].to_owned(), free: digits[8..29].to_owned(), amount, due, digits })
}

/// The last millisecond of a day in Japan, written `YYMMDD` of this century.
fn end_of_day(day: &str) -> Option<u64> {
    time::parse_rfc3339(&format!("20{}-{}-{}T23:59:59.999+09:00", &day[..2], &day[2..4], &day[4..]))
}

/// From the right the digits weigh 3 and 1 in turn; with the check digit they make a multiple of ten.
fn check_digit(body: &str) -> Option<u8> {
    let weighed = body.bytes().rev().zip([3_u32, 1].into_iter().cycle());
    let sum: u32 = weighed.map(|(byte, weight)| u32::from(byte.saturating_sub(b'0')) * weight).sum();
    u8::try_from((10 - sum % 10) % 10).ok()
}
