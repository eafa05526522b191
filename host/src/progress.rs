//! How far long work has come, on one line of standard error, if a person is looking.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Cells of the bar.
const CELLS: u64 = 30;

/// A bar that is drawn again as work goes on and is gone when it is dropped. Draws nothing where standard error is no terminal.
pub(crate) struct Bar {
    is_seen: bool,
    is_drawn: AtomicBool,
}

impl Bar {
    pub(crate) fn new() -> Bar {
        Bar { is_seen: std::io::stderr().is_terminal(), is_drawn: AtomicBool::new(false) }
    }

    /// So much of so much, and in words.
    pub(crate) fn show(&self, done: u64, of: u64, words: &str) {
        if self.is_seen {
            self.is_drawn.store(true, Ordering::Relaxed);
            // Nobody is told less because a terminal went away.
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(done, of, words));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_drawn.load(Ordering::Relaxed) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, of: u64, words: &str) -> String {
    let of = of.max(1);
    let full = done.min(of).saturating_mul(CELLS) / of;
    let bar: String = (0..CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
    format!("[{bar}] {:>3} %  {words}", done.min(of).saturating_mul(100) / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_as_work_goes_on() {
        assert_eq!(line(0, 0, "nothing"), "[..............................]   0 %  nothing");
        assert_eq!(line(1, 2, "half"), "[###############...............]  50 %  half");
        assert_eq!(line(7, 5, "all"), "[##############################] 100 %  all");
    }
}
