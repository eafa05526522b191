//! Reads `plugin.toml`: errors name the line and the field, and say what to write instead.

use koban_domain::manifest::{Manifest, ManifestError};

/// The manifest's file in a plugin's directory and in its package.
pub const FILE: &str = "plugin.toml";

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not TOML, or a field is missing, unknown or of another type.
    #[error("{FILE}{}: {problem}; docs/reference/manifest.md has every field", at(*line))]
    Toml {
        /// The line, counted from 1, when it is known.
        line: Option<usize>,
        /// What is wrong, with the field's name.
        problem: String,
    },
    /// It can be read, but not everything in it makes sense.
    #[error("{}", lines(.0))]
    Fields(Vec<FieldError>),
}

/// One field that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The line where the field's name stands, when it can be told.
    pub line: Option<usize>,
    /// The field and what is wrong with it.
    pub error: ManifestError,
}

/// Reads and checks a manifest. Errors: [`ReadError`], with everything that is wrong and not only the first of it.
pub fn read(text: &str) -> Result<Manifest, ReadError> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| ReadError::Toml {
        line: error.span().map(|span| line_at(text, span.start)),
        problem: error.message().trim().replace('\n', ", "),
    })?;
    let errors = manifest.check();
    if errors.is_empty() {
        return Ok(manifest);
    }
    let with_line = |error: ManifestError| FieldError { line: line_of(text, &error.place), error };
    Err(ReadError::Fields(errors.into_iter().map(with_line).collect()))
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

fn lines(errors: &[FieldError]) -> String {
    let lines: Vec<String> =
        errors.iter().map(|FieldError { line, error }| format!("{FILE}{}: {error}", at(*line))).collect();
    lines.join("\n")
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// The line of a field, counted from 1: where its key stands, or where an item of a list says that this is its name.
fn line_of(text: &str, place: &str) -> Option<usize> {
    let names = place.split('.').rfind(|part| !["default", "about"].contains(part))?;
    let wanted = [format!("name=\"{names}\""), format!("code=\"{names}\"")];
    let is_it = |line: &str| {
        let dense: String = line.chars().filter(|char| !char.is_whitespace()).collect();
        wanted.iter().any(|wanted| dense.contains(wanted.as_str()))
            || dense.starts_with(&format!("{names}="))
            || [names, place].contains(&dense.trim_matches(['[', ']']))
    };
    text.lines().position(is_it).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id = "charge-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "charge-channel"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }

[proposals]
charge = ["credit"]

[[settings]]
name = "company_number"
type = "digits"
about = { ja = "番号", en = "Number" }
min = 4
max = 4
"#;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(read(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = read(GOOD).unwrap();
        assert_eq!((manifest.id.as_str(), manifest.settings[0].name.as_str()), ("charge-test", "company_number"));
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        check(
            &GOOD.replace("min = 4", "minimum = 4"),
            "plugin.toml, line 16: unknown field `minimum`, expected one of `name`, `type`, `about`, `default`, `min`, `max`, `list`; docs/reference/manifest.md has every field",
        );
        let ReadError::Toml { line, .. } = read(&GOOD.replace("\"1.0.0\"", "1.0.0")).unwrap_err() else { panic!() };
        assert_eq!(line, Some(3));
        check(
            &GOOD.replace("id = \"charge-test\"\n", ""),
            "plugin.toml, line 1: missing field `id`; docs/reference/manifest.md has every field",
        );
    }

    #[test]
    fn everything_that_makes_no_sense_is_said_at_once() {
        let text = GOOD.replace("\"charge-test\"", "\"Charge\"").replace("[\"credit\"]", "[\"credit\", \"capture\"]");
        check(
            &text,
            "plugin.toml, line 2: id: use 3 to 40 of a-z, 0-9 and `-`, beginning with a letter\n\
             plugin.toml, line 10: proposals.charge: a charge may never propose `capture`",
        );
        let text = GOOD.replace("max = 4", "max = 4\ndefault = \"12345\"");
        check(&text, "plugin.toml, line 13: settings.company_number: the number of digits must be 4 to 4, not 5");
    }
}
