//! The bank's file `eurofxref-daily.xml`: one day, one `Cube` per currency, each worth so many units for one euro.
//!
//! It is read as far as it says something about rates: the elements named `Cube`, in order, with their attributes. Anything that is not as the bank writes
//! it ends in a failure; half a file is never taken.

use koban_sdk::market::Rate;
use koban_sdk::{Decimal, Failure, time};

/// Most bytes of the file; a day has fewer than 3,000.
const BYTES_MAX: usize = 1 << 20;
/// Most decimals of a rate.
const SCALE_MAX: u8 = 6;

/// Reads the file. Errors: what cannot be read, and where.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Rate>, Failure> {
    let text = std::str::from_utf8(content).map_err(|_| unreadable("it is not UTF-8"))?;
    if text.len() > BYTES_MAX {
        return Err(unreadable("it is larger than any day's file"));
    }
    if text.contains("<!DOCTYPE") || text.contains("<!ENTITY") {
        return Err(unreadable("it has definitions of its own"));
    }
    let mut day = None;
    let mut rates: Vec<Rate> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("<Cube") {
        let Some((tag, behind)) = after.split_once('>') else { return Err(unreadable("an element does not end")) };
        rest = behind;
        let attributes = attributes(tag.trim_end_matches('/'))?;
        let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match (get("time"), get("currency"), get("rate")) {
            (Some(date), None, None) if attributes.len() == 1 => {
                if day.replace(fixed_at(date)?).is_some() {
                    return Err(unreadable("it has more than one day"));
                }
            }
            (None, Some(currency), Some(rate)) if attributes.len() == 2 => {
                let at = day.ok_or_else(|| unreadable("a rate stands before its day"))?;
                rates.push(Rate { base: "EUR".into(), quote: code(currency)?, mid: worth(currency, rate)?, at });
            }
            (None, None, None) if attributes.is_empty() => {}
            _ => return Err(unreadable(&format!("an element has other attributes: {}", short(tag)))),
        }
    }
    if rates.is_empty() {
        return Err(unreadable("it has no rates"));
    }
    if let Some(twice) = rates.iter().find(|rate| rates.iter().filter(|other| other.quote == rate.quote).count() > 1) {
        return Err(unreadable(&format!("{} stands there twice", twice.quote)));
    }
    Ok(rates)
}

/// The attributes of an element: names and values in either kind of quotes.
fn attributes(tag: &str) -> Result<Vec<(&str, &str)>, Failure> {
    let broken = || unreadable(&format!("an element cannot be read: {}", short(tag)));
    let mut found = Vec::new();
    let mut rest = tag.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(broken)?;
        let quote = after.chars().next().filter(|char| matches!(char, '\'' | '"')).ok_or_else(broken)?;
        let (value, after) = after[1..].split_once(quote).ok_or_else(broken)?;
        found.push((name.trim(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

/// 14:15 in Frankfurt is 13:15 UTC in winter and 12:15 in summer; the earlier is taken, so that a rate is never younger than it is.
fn fixed_at(date: &str) -> Result<u64, Failure> {
    time::parse_rfc3339(&format!("{date}T12:15:00Z")).ok_or_else(|| unreadable(&format!("`{}` is no day", short(date))))
}

fn code(currency: &str) -> Result<String, Failure> {
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()) && currency != "EUR";
    if is_code { Ok(currency.to_owned()) } else { Err(unreadable(&format!("`{}` is no currency", short(currency)))) }
}

fn worth(currency: &str, rate: &str) -> Result<Decimal, Failure> {
    let read = Decimal::parse(rate).filter(|rate| rate.mantissa > 0 && rate.scale <= SCALE_MAX);
    read.ok_or_else(|| unreadable(&format!("`{}` is no rate for {currency}", short(rate))))
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn unreadable(why: &str) -> Failure {
    Failure::new("feed_unreadable", format!("the bank's file: {why}"))
}
