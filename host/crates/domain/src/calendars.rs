//! Banking calendars: on which days banks work, and when the next cut-off is. Days without data are not guessed.
//!
//! A calendar is data with a first and a last day, in a text that people can read; the one that ships says in its head where it is from. Operators add
//! later ones in the same form. Cut-offs are times of day in Japan.

mod holidays;

pub use holidays::{CalendarText, Holidays, NotACalendar};

use crate::time::{Timestamp, beginning_of_day, date_of_day};

/// The calendar of Japanese banks.
pub const JAPANESE_BANKS: &str = "jp-banking";
/// The calendar on which every day is one.
pub const EVERY_DAY: &str = "every-day";
/// How far the next cut-off is looked for.
const LOOK_AHEAD_DAYS: i32 = 31;
/// The calendar of Japanese banks as it ships.
const SHIPPED: &str = include_str!("../calendars/jp-banking.txt");

/// A calendar by its name, with what is known of its holidays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    name: String,
    /// The newest first: the first one that is good for a day decides.
    holidays: Vec<Holidays>,
}

/// Why there is no cut-off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCutOff {
    /// Nobody has said which days are holidays.
    #[error("the calendar `{calendar}` says nothing of {day}; `koban calendar add FILE` adds the holidays of its year")]
    Unknown {
        /// The calendar.
        calendar: String,
        /// The first day that is not known.
        day: String,
    },
    /// A month without a banking day.
    #[error(
        "the calendar `{0}` has no banking day within a month; correct its holidays with `koban calendar add FILE`"
    )]
    Never(String),
}

/// Whether a calendar can have this name.
pub fn is_calendar_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=40).contains(&name.len()) && name.bytes().all(plain)
}

impl Calendar {
    /// A calendar with what operators added, the newest first; the shipped holidays stand behind it.
    pub fn new(name: &str, mut holidays: Vec<Holidays>) -> Calendar {
        if name == JAPANESE_BANKS {
            holidays.extend(CalendarText::read(SHIPPED).map(|shipped| shipped.holidays));
        }
        Calendar { name: name.to_owned(), holidays }
    }

    /// Whether banks work on this day; none if nobody has said.
    pub fn is_banking_day(&self, day: i32) -> Option<bool> {
        if self.name == EVERY_DAY {
            return Some(true);
        }
        // 1970-01-01 was a Thursday.
        let weekend = matches!((day + 4).rem_euclid(7), 0 | 6);
        if weekend || (self.name == JAPANESE_BANKS && is_year_end(day)) {
            return Some(false);
        }
        let known = self.holidays.iter().find(|known| (known.from..=known.until).contains(&day))?;
        Some(!known.days.contains(&day))
    }

    /// The first cut-off after this time, on a banking day: `cut_offs` are minutes of the Japanese day, in any order. Errors: [`NoCutOff`].
    pub fn next_cut_off(&self, cut_offs: &[u16], after: Timestamp) -> Result<Timestamp, NoCutOff> {
        let today = after.jst_day();
        for day in today..today + LOOK_AHEAD_DAYS {
            let Some(works) = self.is_banking_day(day) else {
                return Err(NoCutOff::Unknown { calendar: self.name.clone(), day: date_of_day(day) });
            };
            if !works {
                continue;
            }
            let at = |minutes: &u16| beginning_of_day(day).plus_ms(i64::from(*minutes) * 60_000);
            if let Some(next) = cut_offs.iter().map(at).filter(|at| *at > after).min() {
                return Ok(next);
            }
        }
        Err(NoCutOff::Never(self.name.clone()))
    }

    /// What is known of its holidays, the newest first.
    pub fn holidays(&self) -> &[Holidays] {
        &self.holidays
    }

    /// The last of the days from this one on of which every one is known; none if days need not be known. The day before, if this one is not.
    pub fn known_until(&self, from: i32) -> Option<i32> {
        if self.name == EVERY_DAY {
            return None;
        }
        let mut end = from - 1;
        while let Some(span) = self.holidays.iter().find(|span| span.from <= end + 1 && span.until > end) {
            end = span.until;
        }
        Some(end)
    }
}

/// 31 December to 3 January.
fn is_year_end(day: i32) -> bool {
    let text = date_of_day(day);
    matches!(text.get(5..), Some("12-31" | "01-01" | "01-02" | "01-03"))
}

/// Minutes of a cut-off such as `15:00`; none if it is written in another way.
pub fn minutes_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse::<u16>().ok() } else { None }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// The name of a file by its pattern: `{date}` is the day of its cut-off as `20260401`, `{time}` its time as `1500`, `{number}` its number in six digits.
pub fn file_name(pattern: &str, cut_off: Timestamp, number: u32) -> String {
    let date = cut_off.jst_date().replace('-', "");
    let minutes = (cut_off.0 - beginning_of_day(cut_off.jst_day()).0) / 60_000;
    let time = format!("{:02}{:02}", minutes / 60, minutes % 60);
    pattern.replace("{date}", &date).replace("{time}", &time).replace("{number}", &format!("{number:06}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::day_of_date;

    fn day(text: &str) -> i32 {
        day_of_date(text).unwrap()
    }

    fn jst(text: &str) -> Timestamp {
        let (date, time) = text.split_once(' ').unwrap();
        beginning_of_day(day(date)).plus_ms(i64::from(minutes_of(time).unwrap()) * 60_000)
    }

    #[test]
    fn banks_rest_at_weekends_holidays_and_the_turn_of_the_year() {
        let banks = Calendar::new(JAPANESE_BANKS, Vec::new());
        for (date, works) in [
            ("2026-11-20", true),
            ("2026-11-21", false),
            ("2026-11-22", false),
            ("2026-11-23", false),
            ("2026-11-24", true),
            ("2026-12-30", true),
            ("2026-12-31", false),
            ("2027-01-01", false),
            ("2027-01-03", false),
            ("2027-01-04", true),
            ("2026-09-22", false),
            ("2026-05-06", false),
            ("2027-03-22", false),
        ] {
            assert_eq!(banks.is_banking_day(day(date)), Some(works), "{date}");
        }
        assert_eq!(banks.is_banking_day(day("2028-02-01")), None, "nobody has said");
        assert_eq!(banks.is_banking_day(day("2028-02-05")), Some(false), "a Saturday is one in every year");
        assert_eq!(banks.is_banking_day(day("2025-12-30")), None, "nor of days before");
        assert_eq!(banks.known_until(day("2026-11-20")).map(date_of_day), Some("2027-12-31".into()));
        assert_eq!(banks.known_until(day("2028-01-10")).map(date_of_day), Some("2028-01-09".into()));
    }

    /// What the National Holidays Act says, calculated: fixed days, Mondays, the equinoxes by the observatory's approximation, then substitutes for
    /// Sundays and days between two holidays.
    fn by_law(year: i32) -> Vec<String> {
        let at = |month: u32, of_month: i32| day(&format!("{year}-{month:02}-01")) + of_month - 1;
        let monday = |month: u32, count: i32| {
            let first = at(month, 1);
            first + (4 - first).rem_euclid(7) + 7 * (count - 1)
        };
        let equinox = |base: i32| (base + 242_194 * (year - 1980)) / 1_000_000 - (year - 1980) / 4;
        let named = [
            at(1, 1),
            monday(1, 2),
            at(2, 11),
            at(2, 23),
            at(3, equinox(20_843_100)),
            at(4, 29),
            at(5, 3),
            at(5, 4),
            at(5, 5),
            monday(7, 3),
            at(8, 11),
            monday(9, 3),
            at(9, equinox(23_248_800)),
            monday(10, 2),
            at(11, 3),
            at(11, 23),
        ];
        let is_sunday = |day: i32| (day + 4).rem_euclid(7) == 0;
        let mut all: std::collections::BTreeSet<i32> = named.into();
        for holiday in named.into_iter().filter(|holiday| is_sunday(*holiday)) {
            let substitute = (holiday + 1..).find(|day| !named.contains(day)).unwrap();
            all.insert(substitute);
        }
        for holiday in named {
            if named.contains(&(holiday + 2)) && !named.contains(&(holiday + 1)) && !is_sunday(holiday + 1) {
                all.insert(holiday + 1);
            }
        }
        all.into_iter().map(date_of_day).collect()
    }

    #[test]
    fn what_ships_is_what_the_law_says_for_every_day_of_its_years() {
        let shipped = CalendarText::read(SHIPPED).unwrap();
        assert_eq!(shipped.name, JAPANESE_BANKS);
        let of_law: Vec<String> = [2026, 2027].into_iter().flat_map(by_law).collect();
        let listed: Vec<String> = shipped.holidays.days.iter().map(|day| date_of_day(*day)).collect();
        assert_eq!(listed, of_law);
        let (from, until) = (date_of_day(shipped.holidays.from), date_of_day(shipped.holidays.until));
        assert_eq!((from.as_str(), until.as_str()), ("2026-01-01", "2027-12-31"));
    }

    #[test]
    fn a_cut_off_is_the_next_one_of_a_banking_day_and_never_a_guess() {
        let banks = Calendar::new(JAPANESE_BANKS, Vec::new());
        let next = |after: &str| banks.next_cut_off(&[15 * 60, 9 * 60 + 30], jst(after));
        assert_eq!(next("2026-11-20 08:00"), Ok(jst("2026-11-20 09:30")));
        assert_eq!(next("2026-11-20 09:30"), Ok(jst("2026-11-20 15:00")), "at the cut-off it is over");
        assert_eq!(next("2026-11-20 15:00"), Ok(jst("2026-11-24 09:30")), "over a long weekend");
        assert_eq!(next("2026-12-30 15:00"), Ok(jst("2027-01-04 09:30")));
        let unknown = next("2027-12-30 15:00").unwrap_err().to_string();
        assert!(unknown.contains("2028-01-04") && unknown.contains("koban calendar add"), "{unknown}");
        let every = Calendar::new(EVERY_DAY, Vec::new());
        assert_eq!(every.next_cut_off(&[0], jst("2031-05-03 00:00")), Ok(jst("2031-05-04 00:00")));
        let mine = Calendar::new("mine", Vec::new());
        assert!(mine.next_cut_off(&[0], jst("2026-05-03 00:00")).is_err(), "a calendar that nobody has filled");
        let closed = Holidays {
            from: day("2026-05-01"),
            until: day("2026-07-01"),
            days: (0..70).map(|n| day("2026-05-01") + n).collect(),
        };
        let never = Calendar::new("mine", vec![closed]).next_cut_off(&[0], jst("2026-05-03 00:00")).unwrap_err();
        assert_eq!(never, NoCutOff::Never("mine".into()));
    }

    #[test]
    fn what_an_operator_adds_goes_before_what_was_shipped() {
        let moved = Holidays { from: day("2026-11-01"), until: day("2026-11-30"), days: [day("2026-11-20")].into() };
        let later = Holidays { from: day("2028-01-01"), until: day("2028-12-31"), days: [day("2028-01-10")].into() };
        let banks = Calendar::new(JAPANESE_BANKS, vec![later, moved]);
        assert_eq!(banks.is_banking_day(day("2026-11-20")), Some(false));
        assert_eq!(banks.is_banking_day(day("2026-11-23")), Some(true));
        assert_eq!(banks.is_banking_day(day("2026-12-01")), Some(true));
        assert_eq!(banks.is_banking_day(day("2028-01-10")), Some(false));
        assert_eq!(banks.known_until(day("2026-11-20")).map(date_of_day), Some("2028-12-31".into()));
    }

    #[test]
    fn a_file_is_named_by_its_cut_off_and_number() {
        assert_eq!(file_name("debit-{date}-{time}.txt", jst("2026-11-20 09:30"), 7), "debit-20261120-0930.txt");
        assert_eq!(file_name("debit-{number}.txt", jst("2026-11-20 09:30"), 7), "debit-000007.txt");
        for bad in ["9:30", "24:00", "09:60", "0930", "", "09:3", "+9:30", "09:+3"] {
            assert_eq!(minutes_of(bad), None, "{bad}");
        }
    }
}
