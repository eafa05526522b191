//! Holidays of a span of days, and the text in which people write them down.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{EVERY_DAY, is_calendar_name};
use crate::time::day_of_date;

/// Longest span of one text, days: three years.
const SPAN_DAYS_MAX: i32 = 1_100;
/// Longest text, bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Public holidays of a span of days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holidays {
    /// The first day that this is good for, as days since 1970-01-01 in Japan.
    pub from: i32,
    /// The last one.
    pub until: i32,
    /// The holidays in between.
    pub days: BTreeSet<i32>,
}

/// A calendar as people write it down: comments behind `#`, the lines `calendar NAME`, `from DAY` and `until DAY`, then a line for each holiday, which begins
/// with its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarText {
    /// Which calendar it is for.
    pub name: String,
    /// What it says.
    pub holidays: Holidays,
}

/// Why a text is no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NotACalendar {
    /// The line, from 1; the one behind the last where something is missing.
    pub line: usize,
    /// What is wrong, and what should stand there.
    pub problem: &'static str,
}

impl CalendarText {
    /// Reads a calendar. Errors: the first line that is wrong.
    pub fn read(text: &str) -> Result<CalendarText, NotACalendar> {
        let wrong = |line, problem| NotACalendar { line, problem };
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong(1, "a calendar has at most 64 KiB"));
        }
        let (mut name, mut from, mut until, mut days) = (None, None, None, BTreeSet::new());
        let mut last = 0;
        for (place, text) in text.lines().enumerate() {
            last = place + 1;
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            let day = |text: &str| day_of_date(text).ok_or_else(|| wrong(last, "write a day such as 2028-01-10"));
            match word {
                "calendar" if name.is_none() => name = Some(rest.to_owned()),
                "from" if from.is_none() => from = Some(day(rest)?),
                "until" if until.is_none() => until = Some(day(rest)?),
                "calendar" | "from" | "until" => return Err(wrong(last, "this was said before")),
                _ => {
                    if !days.insert(day(word)?) {
                        return Err(wrong(last, "this day is listed twice"));
                    }
                }
            }
        }
        let missing = |problem| wrong(last + 1, problem);
        let name = name.ok_or_else(|| missing("the line `calendar NAME` is missing"))?;
        let from =
            from.ok_or_else(|| missing("the line `from DAY` is missing: the first day that this is good for"))?;
        let until =
            until.ok_or_else(|| missing("the line `until DAY` is missing: the last day that this is good for"))?;
        if !is_calendar_name(&name) || name == EVERY_DAY {
            return Err(missing("a calendar is named by 3 to 40 of a-z, 0-9 and `-`; `every-day` has no holidays"));
        }
        if until < from || until - from > SPAN_DAYS_MAX {
            return Err(missing("from the first day to the last it is at most three years"));
        }
        if days.iter().any(|day| !(from..=until).contains(day)) {
            return Err(missing("each holiday lies between the first day and the last"));
        }
        Ok(CalendarText { name, holidays: Holidays { from, until, days } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_is_read_from_its_text() {
        let text = "# a source\ncalendar mine\nfrom 2028-01-01\nuntil 2028-12-31\n\n2028-01-10 Coming of Age Day\n2028-05-03\n";
        let read = CalendarText::read(text).unwrap();
        assert_eq!((read.name.as_str(), read.holidays.days.len()), ("mine", 2));
        assert!(read.holidays.days.contains(&day_of_date("2028-01-10").unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (text, line, says) in [
            ("", 1, "calendar NAME"),
            ("calendar mine\nfrom 2028-01-01\n", 3, "until DAY"),
            ("calendar mine\nfrom 2028-13-01\n", 2, "write a day"),
            ("calendar mine\nfrom 2028-01-01\nuntil 2027-01-01", 4, "three years"),
            ("calendar mine\nfrom 2028-01-01\nuntil 2032-01-01", 4, "three years"),
            ("calendar mine\nfrom 2028-01-01\nuntil 2028-12-31\n2029-01-01", 5, "between"),
            ("calendar mine\nfrom 2028-01-01\nuntil 2028-12-31\n2028-01-02\n2028-01-02 again", 5, "twice"),
            ("calendar every-day\nfrom 2028-01-01\nuntil 2028-12-31", 4, "every-day"),
            ("calendar mine\ncalendar yours", 2, "before"),
            ("closed on Mondays", 1, "write a day"),
        ] {
            let problem = CalendarText::read(text).unwrap_err();
            assert_eq!(problem.line, line, "{text}: {problem}");
            assert!(problem.to_string().contains(says), "{text}: {problem}");
        }
    }
}
