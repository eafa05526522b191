//! Points in time as values, and the Japanese calendar days that limits are counted by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unix milliseconds, UTC. Nobody in this crate can ask what time it is: it is handed in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

const DAY_MS: i64 = 86_400_000;
/// Japan Standard Time is UTC+9 all year.
const JST_OFFSET_MS: i64 = 9 * 3_600_000;

impl Timestamp {
    /// This point moved by milliseconds; stays within the representable range.
    pub const fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this point; negative if it lies before.
    pub const fn since_ms(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads `2018-09-25T03:00:00Z`, with or without milliseconds: RFC 3339 in UTC, and no other way to write it.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        let (whole, milli) = match bytes.len() {
            20 => (text.strip_suffix('Z')?, 0),
            24 => (text.strip_suffix('Z')?.get(..19)?, digits(text.get(20..23)?)?),
            _ => return None,
        };
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| bytes[*at] != *mark) || (bytes.len() == 24 && bytes[19] != b'.') {
            return None;
        }
        let part = |from: usize, to: usize| digits(whole.get(from..to)?);
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
        let days = days_before(year, month, day)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(Timestamp(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + milli))
    }

    /// The Japanese calendar day, counted in days since 1970-01-01.
    pub fn jst_day(self) -> i32 {
        let day = self.0.saturating_add(JST_OFFSET_MS).div_euclid(DAY_MS);
        i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
    }

    /// The Japanese calendar month, counted in months since year 0.
    pub fn jst_month(self) -> i32 {
        let (year, month, _) = civil(i64::from(self.jst_day()));
        i32::try_from(year * 12 + month - 1).unwrap_or(i32::MAX)
    }

    /// The hour of the Japanese day, 0 to 23.
    pub fn jst_hour(self) -> u8 {
        let ms = self.0.saturating_add(JST_OFFSET_MS).rem_euclid(DAY_MS);
        u8::try_from(ms / 3_600_000).unwrap_or(0)
    }

    /// The beginning of the day `2018-09-25` in Japan, and no other way to write it.
    pub fn of_jst_date(text: &str) -> Option<Timestamp> {
        if text.len() != 10 {
            return None;
        }
        Timestamp::parse(&format!("{text}T00:00:00Z")).map(|midnight| midnight.plus_ms(-JST_OFFSET_MS))
    }

    /// `2018-09-25` in Japan.
    pub fn jst_date(self) -> String {
        date_of_day(self.jst_day())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2018-09-25T03:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `2018-09-25` of a day count since 1970-01-01.
pub fn date_of_day(day: i32) -> String {
    let (year, month, day) = civil(i64::from(day));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The day count since 1970-01-01 of a date such as `2018-09-25`; none if it is written in another way or there is no such day.
pub fn day_of_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let part = |from: usize, to: usize| digits(text.get(from..to)?);
    i32::try_from(days_before(part(0, 4)?, part(5, 7)?, part(8, 10)?)?).ok()
}

/// The day of the month, 1 to 31, of a day count since 1970-01-01.
pub fn day_of_month(day: i32) -> i32 {
    i32::try_from(civil(i64::from(day)).2).unwrap_or(1)
}

/// When a Japanese day begins, of a day count since 1970-01-01.
pub fn beginning_of_day(day: i32) -> Timestamp {
    Timestamp(i64::from(day) * DAY_MS - JST_OFFSET_MS)
}

/// Year, month and day of a day count since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March in
/// cycles of 400, so that leap days fall at a year's end.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar; none if there is no such day.
fn days_before(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year_from_march = year - i64::from(month <= 2);
    let (cycle, year_of_cycle) = (year_from_march.div_euclid(400), year_from_march.rem_euclid(400));
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_japanese_day_begins_nine_hours_before_it_does_in_greenwich() {
        let day = Timestamp::of_jst_date("2018-09-25").unwrap();
        assert_eq!((day.to_string().as_str(), day.jst_date().as_str()), ("2018-09-24T15:00:00.000Z", "2018-09-25"));
        for wrong in ["2018-9-25", "2018-02-30", "2018-09-25Z", "18-09-25", ""] {
            assert_eq!(Timestamp::of_jst_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_japanese_day_begins_at_fifteen_hours_utc() {
        let before = Timestamp(1_537_887_599_999); // 2018-09-25T14:59:59.999Z
        assert_eq!(before.to_string(), "2018-09-25T14:59:59.999Z");
        assert_eq!(before.jst_date(), "2018-09-25");
        assert_eq!(before.jst_hour(), 23);
        assert_eq!(before.plus_ms(1).jst_date(), "2018-09-26");
        assert_eq!(before.plus_ms(1).jst_day(), before.jst_day() + 1);
    }

    #[test]
    fn a_time_reads_back_as_it_was_written_and_nothing_else_is_a_time() {
        for ms in [0, 1, 1_537_844_400_000, 951_782_400_000, 1_582_934_400_123, 4_102_444_799_999] {
            assert_eq!(Timestamp::parse(&Timestamp(ms).to_string()), Some(Timestamp(ms)));
        }
        assert_eq!(Timestamp::parse("2018-09-25T03:00:00Z"), Some(Timestamp(1_537_844_400_000)));
        for wrong in [
            "",
            "2018-09-25",
            "2018-09-25 03:00:00Z",
            "2018-09-25T03:00:00",
            "2018-09-25T03:00:00+09:00",
            "2018-02-29T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "2018-00-01T00:00:00Z",
            "2018-01-00T00:00:00Z",
            "2018-09-25T24:00:00Z",
            "2018-09-25T03:60:00Z",
            "2018-09-25T03:00:60Z",
            "2018-09-25T03:00:00,000Z",
            "2018-09-25T03:00:00.0a0Z",
            "+018-09-25T03:00:00Z",
            "2018-09-25T03:00:0\u{660}Z",
            "２018-09-25T03:00:0Z",
        ] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_date_reads_back_as_it_was_written_and_nothing_else_is_a_date() {
        for date in ["1970-01-01", "2018-09-25", "2020-02-29", "0001-12-31"] {
            let day = day_of_date(date).unwrap();
            assert_eq!((date_of_day(day), beginning_of_day(day).jst_day()), (date.to_owned(), day));
            assert_eq!(beginning_of_day(day).plus_ms(-1).jst_day(), day - 1);
        }
        assert_eq!(day_of_month(day_of_date("2018-09-25").unwrap()), 25);
        for wrong in ["", "2018-9-25", "2018-02-29", "2018-09-25T", "2018/09/25", "２018-09-2", "+018-09-25"] {
            assert_eq!(day_of_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn months_change_with_the_calendar() {
        let leap = Timestamp(1_582_934_400_000); // 2020-02-29T00:00:00Z
        assert_eq!(leap.to_string(), "2020-02-29T00:00:00.000Z");
        assert_eq!(leap.plus_ms(DAY_MS).jst_month(), leap.jst_month() + 1);
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(leap.jst_month(), 2020 * 12 + 1);
    }
}
