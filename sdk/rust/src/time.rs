//! Calendar arithmetic on Unix milliseconds, for guests have no clock and no time zones.

/// Japan Standard Time, nine hours before UTC all year.
const JST_OFFSET_MS: u64 = 9 * 3_600_000;

const DAY_MS: i64 = 86_400_000;

/// The hour of the day in Japan, 0 to 23.
pub fn jst_hour(unix_ms: u64) -> i64 {
    let hour = (unix_ms.saturating_add(JST_OFFSET_MS) / 3_600_000) % 24;
    i64::try_from(hour).unwrap_or(0)
}

/// A moment as calendars and clocks in Japan show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jst {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: i64,
    /// The day of the month, 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

impl Jst {
    /// Year, month and day with this between them: `2026-04-01`.
    pub fn date(&self, between: &str) -> String {
        format!("{:04}{between}{:02}{between}{:02}", self.year, self.month, self.day)
    }
}

/// What calendars and clocks in Japan show at this time, in Unix milliseconds.
pub fn jst(unix_ms: u64) -> Jst {
    let ms = i64::try_from(unix_ms.saturating_add(JST_OFFSET_MS)).unwrap_or(i64::MAX);
    let of_day = ms % DAY_MS / 1_000;
    // Years are counted from March in cycles of 400, so that leap days fall at a year's end.
    let shifted = ms / DAY_MS + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    Jst {
        year: cycle * 400 + year_of_cycle + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * from_march + 2) / 5 + 1,
        hour: of_day / 3_600,
        minute: of_day / 60 % 60,
        second: of_day % 60,
    }
}

/// Unix milliseconds of an RFC 3339 time such as `2026-04-01T09:30:00+09:00` or `2026-04-01T00:30:00.250Z`. Nothing for anything else, for times before
/// 1970 and for leap seconds.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&bytes[0..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_ms, zone) = fraction_ms(&bytes[19..])?;
    let time_ms = ((hour * 60 + minute) * 60 + second) * 1_000 + fraction_ms;
    let unix_ms = days_from_civil(year, month, day)? * DAY_MS + time_ms - offset_ms(zone)?;
    u64::try_from(unix_ms).ok()
}

/// Days since 1970-01-01 of a day in the Gregorian calendar, years 1970 to 9999. Nothing for a day that does not exist.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    if year < 1970 || day < 1 || day > *lengths.get(before)? {
        return None;
    }
    // Leap days before this year, counted from year 1; up to and including 1969 there were 477 of them.
    let last = year - 1;
    let leap_days = last / 4 - last / 100 + last / 400 - 477;
    let in_year: i64 = lengths[..before].iter().sum();
    Some((year - 1970) * 365 + leap_days + in_year + day - 1)
}

/// The milliseconds of a fraction such as `.25`, if there is one, and what follows it. Digits beyond milliseconds are dropped.
fn fraction_ms(rest: &[u8]) -> Option<(i64, &[u8])> {
    if rest.first() != Some(&b'.') {
        return Some((0, rest));
    }
    let length = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 9 {
        return None;
    }
    let mut milliseconds = [b'0'; 3];
    for (place, digit) in milliseconds.iter_mut().zip(&rest[1..=length]) {
        *place = *digit;
    }
    Some((digits(&milliseconds)?, &rest[length + 1..]))
}

fn offset_ms(zone: &[u8]) -> Option<i64> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*m1, *m2])?);
            let offset = (hours * 60 + minutes) * 60_000;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'+' { offset } else { -offset })
        }
        _ => None,
    }
}

/// The number that a few ASCII digits write.
fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_in_japan_begins_at_three_in_the_afternoon_of_utc() {
        assert_eq!(jst_hour(0), 9);
        assert_eq!(jst_hour(14 * 3_600_000 + 3_599_999), 23);
        assert_eq!(jst_hour(15 * 3_600_000), 0);
    }

    #[test]
    fn calendars_and_clocks_in_japan_show_what_rfc_3339_says() {
        for text in [
            "1970-01-01T09:00:00",
            "2000-02-29T23:59:59",
            "2026-04-01T00:00:00",
            "2100-03-01T12:34:56",
            "2024-12-31T08:00:01",
        ] {
            let jst = jst(parse_rfc3339(&format!("{text}+09:00")).unwrap());
            let shown = format!("{}T{:02}:{:02}:{:02}", jst.date("-"), jst.hour, jst.minute, jst.second);
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn times_of_rfc_3339_become_milliseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-04-01T09:30:00+09:00", 1_775_003_400_000),
            ("2026-04-01T00:30:00.25Z", 1_775_003_400_250),
            ("2026-03-31T19:30:00.123456-05:00", 1_775_003_400_123),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_rfc_3339_is_nothing() {
        for text in [
            "",
            "2026-04-01",
            "2026-04-01T09:30:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-04-01T24:00:00Z",
            "2026-04-01T09:30:60Z",
            "2026-04-01T09:30:00.Z",
            "2026-04-01T09:30:00+9:00",
            "2026-04-01T09:30:00+09:00x",
            "1969-12-31T23:59:59Z",
            "2026-04-01T09:30:00é",
            "+026-04-01T09:30:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
