//! The time of the outside world: handed in, and counted in Japanese days.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Says what time it is, in milliseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    pub fn system() -> Clock {
        #[expect(clippy::disallowed_methods, reason = "the one edge where this program reads the time")]
        Clock::new(|| {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// Any other clock.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now_ms))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now_ms())
    }
}

/// A calendar day in Japan, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

const DAY_MS: i64 = 86_400_000;
const JST_MS: i64 = 9 * 3_600_000;

impl Day {
    /// The day in Japan at this time.
    pub fn at(now_ms: i64) -> Day {
        Day(now_ms.saturating_add(JST_MS).div_euclid(DAY_MS))
    }

    /// The day after.
    pub fn next(self) -> Day {
        Day(self.0 + 1)
    }

    /// Reads `2026-04-24`; only days that exist, from 1970 to 9999.
    pub fn parse(text: &str) -> Option<Day> {
        let mut parts = text.split('-').map(|part| {
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<i64>().ok() } else { None }
        });
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let found = in_range.then(|| Day(days_before(year, month) + day - 1))?;
        // What was read must be written the same way, which leaves out the 31st of April and `2026-4-1`.
        (found.to_string() == text).then_some(found)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Leap days make the estimate too high now and then, never too low.
        let mut year = 1970 + self.0.div_euclid(365);
        while days_before(year, 1) > self.0 {
            year -= 1;
        }
        let month = (1..=12).rev().find(|month| days_before(year, *month) <= self.0).unwrap_or(1);
        let day = self.0 - days_before(year, month) + 1;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// `2026-04-24T12:06:40+09:00`
pub fn japanese_time(now_ms: i64) -> String {
    let seconds = now_ms.saturating_add(JST_MS).rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}+09:00", Day::at(now_ms))
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let whole_years = year - 1;
    let leap_days = |years: i64| years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let before_month = usize::try_from(month - 1).ok().and_then(|at| BEFORE_MONTH.get(at)).copied().unwrap_or(0);
    (year - 1970) * 365 + leap_days(whole_years) - leap_days(1969) + before_month + i64::from(is_leap && month > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_japan() {
        assert_eq!(Day::at(1_776_956_399_999).to_string(), "2026-04-23");
        assert_eq!(Day::at(1_776_956_400_000).to_string(), "2026-04-24");
        assert_eq!(japanese_time(1_777_000_000_123), "2026-04-24T12:06:40+09:00");
        assert_eq!(Day::at(-JST_MS).to_string(), "1970-01-01");
    }

    #[test]
    fn every_day_of_two_centuries_is_written_and_read_back() {
        let mut day = Day(0);
        for _ in 0..73_000 {
            assert_eq!(Day::parse(&day.to_string()), Some(day), "{day}");
            day = day.next();
        }
        assert_eq!(day.to_string(), "2169-11-13");
    }

    #[test]
    fn days_that_do_not_exist_are_not_read() {
        for text in
            ["", "2026", "2026-04", "2026-4-1", "2026-04-31", "2025-02-29", "2026-00-01", "2026-13-01", "+026-01-01"]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert!(Day::parse("2024-02-29").is_some());
    }
}
