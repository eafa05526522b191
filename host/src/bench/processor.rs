//! Processor time, as Linux counts it: of this process, and of a PostgreSQL server on the same machine.

use std::fs;

/// Whose time is measured.
#[derive(Debug, Clone)]
pub(super) struct Processor {
    /// The server's first process; none for SQLite or a server elsewhere.
    postmaster: Option<u32>,
}

/// Nanoseconds on a processor so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// By this process.
    pub(super) host: u64,
    /// By the database's server.
    pub(super) database: u64,
}

impl Processor {
    /// This process alone.
    pub(super) fn host() -> Processor {
        Processor { postmaster: None }
    }

    /// This process and the server of this backend, if it runs here.
    pub(super) fn with_backend(pid: i32) -> Processor {
        let pid = u32::try_from(pid).ok().filter(|pid| command(*pid).as_deref() == Some("postgres"));
        Processor { postmaster: pid.and_then(parent) }
    }

    /// What was spent so far. Compare two answers; processes that end in between take their time with them.
    pub(super) fn spent(&self) -> Spent {
        let host = threads().map(|thread| on_processor(&format!("/proc/self/task/{thread}/schedstat"))).sum();
        let database = match self.postmaster {
            None => 0,
            Some(postmaster) => processes()
                .filter(|pid| *pid == postmaster || parent(*pid) == Some(postmaster))
                .map(|pid| on_processor(&format!("/proc/{pid}/schedstat")))
                .sum(),
        };
        Spent { host, database }
    }
}

impl Spent {
    /// What was spent since.
    pub(super) fn since(self, before: Spent) -> Spent {
        Spent { host: self.host.saturating_sub(before.host), database: self.database.saturating_sub(before.database) }
    }
}

fn on_processor(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn command(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

fn parent(pid: u32) -> Option<u32> {
    parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fourth field; the second, a name in parentheses, may hold blanks and parentheses.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
}

fn threads() -> impl Iterator<Item = u32> {
    numbers("/proc/self/task")
}

fn processes() -> impl Iterator<Item = u32> {
    numbers("/proc")
}

fn numbers(dir: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        assert_eq!(parent_in("42 (postgres: a) b) S 7 42 42 0"), Some(7));
        assert_eq!(parent_in("nonsense"), None);
    }

    #[test]
    fn work_takes_processor_time() {
        let processor = Processor::host();
        let before = processor.spent();
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(processor.spent().since(before).host > 0);
        assert_eq!(processor.spent().since(before).database, 0);
    }
}
