//! What the reference pages say: classes with their side and floor, kinds of entries, and the table of paths.

use std::collections::{BTreeMap, BTreeSet};

use crate::AuditError;

const ACCOUNTS: &str = include_str!("../../../../docs/reference/accounts.md");
const ENCODING: &str = include_str!("../../../../docs/reference/encoding.md");

/// A class of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) word: String,
    pub(crate) grows_by_credit: bool,
    /// Whether it never falls below zero.
    pub(crate) has_floor: bool,
}

/// The pages as data.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) classes: BTreeMap<u8, Class>,
    pub(crate) kinds: BTreeMap<u8, String>,
    paths: BTreeSet<(String, String, String)>,
}

impl Rules {
    pub(crate) fn from_pages() -> Result<Rules, AuditError> {
        let classes: BTreeMap<u8, Class> = section(ACCOUNTS, "## Classes")
            .filter_map(|cells| match cells.as_slice() {
                [word, code, side, floor, ..] => Some((
                    code.parse().ok()?,
                    Class { word: (*word).to_owned(), grows_by_credit: *side == "credit", has_floor: *floor == "0" },
                )),
                _ => None,
            })
            .collect();
        let paths: BTreeSet<_> = section(ACCOUNTS, "## The table of paths")
            .filter_map(|cells| match cells.as_slice() {
                ["entry", ..] => None,
                [kind, debit, credit] => Some(((*kind).to_owned(), (*debit).to_owned(), (*credit).to_owned())),
                _ => None,
            })
            .collect();
        let kinds = ENCODING.lines().find_map(|line| line.strip_prefix("| kind: ")).unwrap_or_default();
        let kinds: BTreeMap<u8, String> = kinds
            .split('|')
            .next()
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.trim().split_once(' '))
            .filter_map(|(code, word)| Some((code.parse().ok()?, word.trim().to_owned())))
            .collect();
        if classes.len() < 10 || paths.len() < 40 || kinds.len() < 12 {
            let what = format!("{} classes, {} paths, {} kinds", classes.len(), paths.len(), kinds.len());
            return Err(AuditError::Unreadable(format!("the reference pages hold only {what}")));
        }
        Ok(Rules { classes, kinds, paths })
    }

    /// The word of a kind.
    pub(crate) fn kind(&self, code: u8) -> &str {
        self.kinds.get(&code).map_or("unknown kind", String::as_str)
    }

    /// The word of a class.
    pub(crate) fn class(&self, code: u8) -> &str {
        self.classes.get(&code).map_or("unknown class", |class| &class.word)
    }

    /// Whether a class grows on the credit side.
    pub(crate) fn grows_by_credit(&self, code: u8) -> bool {
        self.classes.get(&code).is_some_and(|class| class.grows_by_credit)
    }

    pub(crate) fn has_floor(&self, code: u8) -> bool {
        self.classes.get(&code).is_some_and(|class| class.has_floor)
    }

    /// Whether an entry of this kind may debit the one class and credit the other.
    pub(crate) fn allows(&self, kind: u8, debit: u8, credit: u8) -> bool {
        let path = (self.kind(kind).to_owned(), self.class(debit).to_owned(), self.class(credit).to_owned());
        self.paths.contains(&path)
    }
}

/// The cells of each row of the table under a heading, without marks of code.
fn section<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines = page.lines().skip_while(move |line| *line != heading).skip(1);
    let heading = lines.take_while(|line| !line.starts_with("## "));
    heading.filter_map(|line| {
        let row = line.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
        Some(row.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_say_what_the_auditor_goes_by() {
        let rules = Rules::from_pages().unwrap();
        assert!(rules.allows(3, 1, 4), "a payment takes prepaid value and owes it to the merchant");
        assert!(!rules.allows(5, 1, 2), "prepaid value is never sent");
        assert!(rules.has_floor(1) && !rules.has_floor(5));
        assert!(rules.grows_by_credit(4) && !rules.grows_by_credit(6));
        for kind in ["closure", "adjustment", "exchange"] {
            assert!(rules.kinds.values().any(|known| known == kind), "encoding.md names the kind {kind}");
        }
        let named: BTreeSet<_> = rules.paths.iter().map(|(kind, ..)| kind).collect();
        for kind in named {
            assert!(rules.kinds.values().any(|known| known == kind), "encoding.md names the kind {kind}");
        }
    }
}
