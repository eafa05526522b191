//! Directories that a plugin shares with a partner that works in batches: files that go out at cut-offs, files that come in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Manifest, ManifestError, unique, wrong};
use crate::calendars::{is_calendar_name, minutes_of};

/// A directory that is shared with one partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectorySpec {
    /// Unique in the manifest. The host keeps it below its directory of partners, under the plugin's id and this name.
    pub name: String,
    /// Files that the host seals, has composed and writes into `out`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<OutgoingSpec>,
    /// Files that the partner puts into `in`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incoming: Vec<IncomingSpec>,
}

/// A file that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingSpec {
    /// What `enqueue` and `compose` call it; unique in the manifest.
    pub name: String,
    /// What it is called in the directory: `{date}` and `{time}` of the cut-off, `{number}` of the file.
    pub called: String,
    /// When it is sealed, in Japan: `15:00`.
    pub cut_offs: Vec<String>,
    /// On which days: `jp-banking`, `every-day`, or a calendar of the operator's.
    pub calendar: String,
}

impl OutgoingSpec {
    /// Its cut-offs as minutes of the day.
    pub fn minutes(&self) -> Vec<u16> {
        self.cut_offs.iter().filter_map(|text| minutes_of(text)).collect()
    }

    /// Whether no two of its files can have one name.
    fn tells_apart(&self) -> bool {
        let holds = |part: &str| self.called.contains(part);
        holds("{number}") || (holds("{date}") && (self.cut_offs.len() == 1 || holds("{time}")))
    }
}

/// A file that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncomingSpec {
    /// What `parse` calls it, and the operation of the messages that come of it; unique in the manifest.
    pub name: String,
    /// What it is called in the directory; one `*` stands for any characters.
    pub called: String,
}

impl IncomingSpec {
    /// Whether a file of this name is meant.
    pub fn takes(&self, name: &str) -> bool {
        match self.called.split_once('*') {
            Some((before, behind)) => {
                name.len() >= before.len() + behind.len() && name.starts_with(before) && name.ends_with(behind)
            }
            None => name == self.called,
        }
    }
}

/// Whether this is a name that a file in a shared directory may have: nothing hidden, nothing that leads elsewhere.
pub fn is_file_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl Manifest {
    /// The file of this name that goes out, with its directory.
    pub fn outgoing(&self, name: &str) -> Option<(&DirectorySpec, &OutgoingSpec)> {
        self.directories.iter().find_map(|directory| {
            directory.outgoing.iter().find(|known| known.name == name).map(|known| (directory, known))
        })
    }
}

/// Everything that is wrong with a manifest's directories.
pub(super) fn check(manifest: &Manifest, errors: &mut Vec<ManifestError>) {
    unique("directories", manifest.directories.iter().map(|directory| directory.name.as_str()), errors);
    let outgoing = || manifest.directories.iter().flat_map(|directory| &directory.outgoing);
    let incoming = || manifest.directories.iter().flat_map(|directory| &directory.incoming);
    unique("directories.outgoing", outgoing().map(|file| file.name.as_str()), errors);
    unique("directories.incoming", incoming().map(|file| file.name.as_str()), errors);
    if !manifest.directories.is_empty() && !manifest.kind.optional_interfaces().contains(&"files") {
        errors.push(wrong("directories", format!("a {} shares no directories", manifest.kind.word())));
    }
    if outgoing().count() + incoming().count() > 20 {
        errors.push(wrong("directories", "at most 20 files in all"));
    }
    for directory in &manifest.directories {
        let called: BTreeSet<&str> = directory.outgoing.iter().map(|file| file.called.as_str()).collect();
        if called.len() != directory.outgoing.len() {
            errors.push(wrong(format!("directories.{}", directory.name), "two files that go out are called the same"));
        }
    }
    for file in outgoing() {
        let place = format!("directories.outgoing.{}", file.name);
        let plain =
            ["{date}", "{time}", "{number}"].iter().fold(file.called.clone(), |name, part| name.replace(part, "0"));
        if !is_file_name(&plain) || file.called.len() > 80 {
            errors.push(wrong(
                &place,
                "`called` is made of a-z, A-Z, 0-9, `.`, `_`, `-`, `{date}`, `{time}` and `{number}`",
            ));
        }
        if !file.tells_apart() {
            errors.push(wrong(
                &place,
                "`called` holds `{number}`, or `{date}` and, if there are several cut-offs, `{time}`",
            ));
        }
        if !(1..=24).contains(&file.cut_offs.len()) || file.minutes().len() != file.cut_offs.len() {
            errors.push(wrong(&place, "`cut_offs` are 1 to 24 times such as \"15:00\""));
        }
        if !is_calendar_name(&file.calendar) {
            errors.push(wrong(&place, "`calendar` is jp-banking, every-day, or the name of one that the operator has"));
        }
    }
    for file in incoming() {
        if !is_file_name(&file.called.replacen('*', "x", 1)) {
            let place = format!("directories.incoming.{}", file.name);
            errors.push(wrong(&place, "`called` is made of a-z, A-Z, 0-9, `.`, `_`, `-` and at most one `*`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incoming_file_is_known_by_its_pattern() {
        let results = IncomingSpec { name: "results".into(), called: "result-*.txt".into() };
        assert!(results.takes("result-20260401.txt") && results.takes("result-.txt"));
        assert!(!results.takes("result-.tx") && !results.takes("other-1.txt") && !results.takes("result.txt"));
        assert!(IncomingSpec { name: "one".into(), called: "one.txt".into() }.takes("one.txt"));
    }

    #[test]
    fn a_file_name_leads_nowhere_else() {
        for good in ["a", "a.txt", "A-1_2.csv"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\0", "ä", "a\\b", &"a".repeat(101)] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }

    #[test]
    fn two_files_never_have_one_name() {
        for (called, cut_offs, apart) in [
            ("a-{date}.txt", &["15:00"][..], true),
            ("a-{date}.txt", &["09:00", "15:00"], false),
            ("a-{date}-{time}.txt", &["09:00", "15:00"], true),
            ("a-{number}.txt", &["09:00", "15:00"], true),
            ("a.txt", &["15:00"], false),
        ] {
            let cut_offs = cut_offs.iter().map(|text| (*text).to_owned()).collect();
            let file = OutgoingSpec { name: "a".into(), called: called.into(), cut_offs, calendar: "every-day".into() };
            assert_eq!(file.tells_apart(), apart, "{called}");
        }
    }
}
