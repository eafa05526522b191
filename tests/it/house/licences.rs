//! Licences we accept, decided over whole SPDX expressions.

use super::{metadata, none};

/// What may stand in the product. Each was read; none asks for more than a notice.
const ACCEPTED: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",         // tables of Unicode
    "CDLA-Permissive-2.0", // Mozilla's list of root certificates: data
];

#[test]
fn every_package_has_a_licence_we_accept() {
    let mut findings = Vec::new();
    for package in metadata::packages() {
        let name = format!("{} {}", package.name, package.version);
        match package.license.as_deref().map(|text| (text, accepted(text))) {
            Some((_, Some(true))) => {}
            Some((text, Some(false))) => findings.push(format!(
                "{name}: error: the licence {text} is banned, use a package under one of {}",
                ACCEPTED.join(", ")
            )),
            Some((text, None)) => {
                findings.push(format!("{name}: error: the licence `{text}` is no SPDX expression; read it and decide"))
            }
            None => {
                findings.push(format!("{name}: error: a package without a licence is banned, use one that states it"))
            }
        }
    }
    findings.sort();
    findings.dedup();
    none(findings);
}

/// Whether an SPDX expression can be satisfied with accepted licences; nothing if it cannot be read.
/// `OR` offers a choice, `AND` binds tighter and asks for both, `WITH` makes one licence of two names.
/// The old `/` between names means `OR`.
fn accepted(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, depth: 0 };
    let answer = reader.choice()?;
    reader.words.is_empty().then_some(answer)
}

/// Reads an expression from the left.
struct Reader<'a> {
    words: &'a [&'a str],
    depth: u32,
}

impl<'a> Reader<'a> {
    fn choice(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > 8 {
                return None; // no honest licence nests deeper
            }
            let answer = self.choice()?;
            self.depth -= 1;
            return self.take(")").then_some(answer);
        }
        let licence = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Some(ACCEPTED.contains(&format!("{licence} WITH {exception}").as_str()));
        }
        Some(ACCEPTED.contains(&licence))
    }

    fn name(&mut self) -> Option<&'a str> {
        let (word, rest) = self.words.split_first()?;
        if ["AND", "OR", "WITH", "(", ")"].contains(word) {
            return None;
        }
        self.words = rest;
        Some(word)
    }

    fn take(&mut self, wanted: &str) -> bool {
        match self.words.split_first() {
            Some((word, rest)) if *word == wanted => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[test]
fn an_expression_is_accepted_when_a_choice_of_accepted_licences_satisfies_it() {
    for expression in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        "MIT AND (GPL-2.0-only OR (ISC AND Zlib))",
        "GPL-2.0-only AND ISC OR MIT",
    ] {
        assert_eq!(accepted(expression), Some(true), "{expression}");
    }
}

#[test]
fn an_expression_is_refused_when_no_choice_satisfies_it() {
    for expression in [
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "GPL-3.0-only OR AGPL-3.0-only",
        "MIT WITH Classpath-exception-2.0",
        "(MIT OR ISC) AND SSPL-1.0",
        "MIT AND GPL-2.0-only OR MPL-2.0 AND ISC",
    ] {
        assert_eq!(accepted(expression), Some(false), "{expression}");
    }
}

#[test]
fn what_is_no_expression_is_not_guessed_at() {
    for expression in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT ISC", "((((((((((MIT))))))))))"] {
        assert_eq!(accepted(expression), None, "{expression}");
    }
}
