//! Running programs: say what is being done, say how long it took, and name the command that failed.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::limit::Running;
use crate::tally::Tally;

/// Says what happens now and why, so that nobody wonders about a silent minute.
pub(crate) fn say(text: &str) {
    println!("==> {text}");
}

/// Does a piece of work between two lines that name it; the second one carries the time it took.
pub(crate) fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(what);
    let stopwatch = Stopwatch::start();
    let done = work()?;
    say(&format!("{what}: {}", seconds(stopwatch.elapsed())));
    Ok(done)
}

/// Runs a program with our own input and output, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child = command.spawn().with_context(|| format!("could not start {}", line(command)))?;
    let _running = Running::is(child.id());
    let status = child.wait().with_context(|| format!("could not wait for {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs tests: passes their output through and adds up the results that the runner reports.
pub(crate) fn run_tests(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start {}", line(command)))?;
    let _running = Running::is(child.id());
    let output = child.stdout.take().context("a piped child has an output")?;
    for row in BufReader::new(output).split(b'\n') {
        let row = row.context("the tests' output could not be read")?;
        // A test may print anything: what is not UTF-8 is shown with replacement characters.
        let row = String::from_utf8_lossy(&row);
        println!("{row}");
        tally.read(&row);
    }
    let status = child.wait().with_context(|| format!("could not wait for {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Whether a program starts and ends well, quietly. For asking whether something is there.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a program prints, trimmed; nothing if it fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A command as one would type it, for messages.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    format!("`{}`", words.join(" "))
}

/// A duration in seconds with one decimal.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
}

/// The one clock of the chores: they only measure how long they take.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "chores measure their own time and decide nothing by it")]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
