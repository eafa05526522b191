//! What an operator may set, as a type; plugin.toml says what each means and its bounds.

use koban_sdk::{Failure, Money, Named, Reader, SETTINGS_INVALID, Settings};

/// The limits of one slip, and what billers are called.
pub struct SlipSettings {
    pub(crate) most: Money,
    pub(crate) fee: Money,
    billers: Vec<(String, String)>,
}

impl SlipSettings {
    /// What users know a biller by.
    pub(crate) fn name_of(&self, company: &str) -> String {
        let known = self.billers.iter().find(|(code, _)| code == company);
        known.map_or_else(|| format!("GS1 {company}"), |(_, name)| name.clone())
    }
}

impl Settings for SlipSettings {
    fn read(list: &[Named]) -> Result<SlipSettings, Vec<Failure>> {
        let mut read = Reader::of(list);
        let (most, fee, billers) = (read.one("most"), read.one("fee"), read.list::<String>("billers"));
        let (billers, mut wrong) = (billers.iter().map(|line| biller(line)), Vec::new());
        let mut known: Vec<(String, String)> = Vec::new();
        for biller in billers {
            match biller {
                Ok((code, _)) if known.iter().any(|(other, _)| *other == code) => {
                    wrong.push(Failure::new(SETTINGS_INVALID, format!("the biller {code} is named twice")));
                }
                Ok(biller) => known.push(biller),
                Err(failure) => wrong.push(failure),
            }
        }
        let settings = read.finish(SlipSettings { most, fee, billers: known })?;
        if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
    }
}

/// `912345=Tokyo Power`.
fn biller(line: &str) -> Result<(String, String), Failure> {
    let wrong = || Failure::new(SETTINGS_INVALID, format!("`{line}` is no biller; write `912345=Tokyo Power`"));
    let (code, name) = line.split_once('=').ok_or_else(wrong)?;
    let good = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) && !name.trim().is_empty();
    if good { Ok((code.to_owned(), name.trim().to_owned())) } else { Err(wrong()) }
}
