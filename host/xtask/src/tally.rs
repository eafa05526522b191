//! Adding up what the test runners report.

use anyhow::{Context as _, Result};

/// The results of all runners so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Takes one line of a runner's output. Only libtest's summary counts:
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s`.
    pub(crate) fn read(&mut self, row: &str) {
        let Some((_, counts)) = row.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let Some(Ok(number)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Says the closing line: on standard output, or into the file that `KOBAN_TALLY` names, for a caller who prints it last.
    pub(crate) fn close(&self) -> Result<()> {
        match std::env::var_os("KOBAN_TALLY") {
            None => println!("{}", self.line()),
            Some(file) => std::fs::write(&file, format!("{}\n", self.line()))
                .with_context(|| format!("{} cannot be written", file.to_string_lossy()))?,
        }
        Ok(())
    }

    /// The closing line.
    pub(crate) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: &[&str]) -> Tally {
        let mut tally = Tally::default();
        rows.iter().for_each(|row| tally.read(row));
        tally
    }

    #[test]
    fn summaries_of_several_runners_add_up() {
        let sum = tally(&[
            "running 13 tests",
            "test money::adds ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ]);
        assert_eq!(sum, Tally { passed: 14, failed: 1, skipped: 1 });
        assert_eq!(sum.line(), "14 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_a_test_prints_counts_for_nothing() {
        let sum = tally(&["the test result: ok. 5 passed;", "test result: ", "9 passed", "test result: ok. x passed;"]);
        assert_eq!(sum, Tally::default());
    }
}
