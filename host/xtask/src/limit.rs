//! A limit for what hangs: when its time is up, the running program and everything that it started are killed.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::run::{say, seconds};

/// The program that runs now; zero if none does. Chores run one at a time.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Says which program runs now, until it is dropped.
pub(crate) struct Running;

impl Running {
    pub(crate) fn is(child: u32) -> Running {
        RUNNING.store(child, Ordering::SeqCst);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(0, Ordering::SeqCst);
    }
}

/// Does a piece of work; what it runs is killed when it takes longer than this. Whether that happened is said beside the result.
pub(crate) fn within<T>(name: &str, limit: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            if waiting.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            say(&format!("{name}: still running after {}, which is its limit; it is killed", seconds(limit)));
            // What it starts while it is being killed is found by the next look.
            while waiting.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                kill_running();
            }
            true
        });
        let result = Finished(done).after(work);
        (result, watch.join().unwrap_or(false))
    })
}

/// Ends the watch by being dropped, also when the work panics.
struct Finished(#[expect(dead_code, reason = "it is there to be dropped")] Sender<()>);

impl Finished {
    fn after<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

fn kill_running() {
    let root = RUNNING.load(Ordering::SeqCst);
    if root == 0 {
        return;
    }
    let pids = with_descendants(root, &parents());
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    let _ = Command::new("kill").arg("-KILL").args(pids).stderr(std::process::Stdio::null()).status();
}

/// Every process with its parent, as /proc tells (proc(5): the fourth field of `stat`, after the name in brackets).
fn parents() -> HashMap<u32, u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// A process and all that it started, directly or not. Whoever started something comes before it, so that nobody sees a child
/// end and goes on.
fn with_descendants(root: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, known)| **known == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;

    #[test]
    fn a_process_is_found_with_all_that_it_started_and_no_others() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)]);
        assert_eq!(with_descendants(2, &parents), [2, 3, 4]);
        assert_eq!(with_descendants(6, &parents), [6]);
    }

    #[test]
    fn what_hangs_is_killed_with_its_children_and_what_ends_in_time_is_not() {
        let (ended, killed) =
            within("quick", Duration::from_secs(600), || run(Command::new("sh").args(["-c", "true"])));
        assert!(ended.is_ok() && !killed);
        let hang = "sleep 600 & sleep 600 & wait";
        let (ended, killed) =
            within("hangs", Duration::from_millis(200), || run(Command::new("sh").args(["-c", hang])));
        assert!(ended.is_err() && killed);
    }
}
