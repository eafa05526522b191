//! What is wrong with an author's file, and where: `scenarios/deposit.toml:12: …`.

use std::path::Path;

/// One thing that is wrong, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {what}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Problem {
    /// The file, as the author named it.
    pub file: String,
    /// The line, counted from 1, when it can be told.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub what: String,
}

impl Problem {
    /// A problem at a line of a file.
    pub fn at(file: &str, line: usize, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), line: Some(line), what: what.into() }
    }

    /// A problem of a file as a whole.
    pub fn of(file: &str, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), line: None, what: what.into() }
    }

    /// What the reader of TOML says, with its line.
    pub(crate) fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Problem {
        let line = error.span().map(|span| line_of(text, span.start));
        Problem { file: file.to_owned(), line, what: error.message().trim().replace('\n', ", ") }
    }
}

/// The line in which this byte stands, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// Reads an author's file of at most 1 MiB. Errors: it is not there, too large or not UTF-8.
pub(crate) fn read(path: &Path) -> Result<String, Problem> {
    const BYTES_MAX: u64 = 1 << 20;
    let file = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| Problem::of(&file, error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(Problem::of(&file, format!("it has {size} bytes; at most {BYTES_MAX} are read")));
    }
    std::fs::read_to_string(path).map_err(|error| Problem::of(&file, error.to_string()))
}
