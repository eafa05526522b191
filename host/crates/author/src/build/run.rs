//! Runs a program and hands on its lines while it runs.

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// Last lines of a program's own words that an error repeats.
const TAIL_LINES: usize = 40;

/// How a program ended.
pub(super) struct Ended {
    pub(super) success: bool,
    /// The last lines of its standard error.
    pub(super) tail: String,
}

/// One line of its two streams.
enum Line {
    Out(String),
    Said(String),
}

/// Runs it to its end. `out` gets the lines of its standard output, `say` those of its standard error. Errors: it cannot be run.
pub(super) fn run(command: &mut Command, out: &mut dyn FnMut(&str), say: &mut dyn FnMut(&str)) -> io::Result<Ended> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, lines) = mpsc::sync_channel(256);
    let readers = [
        child.stdout.take().map(|stream| forward(stream, sender.clone(), Line::Out)),
        child.stderr.take().map(|stream| forward(stream, sender.clone(), Line::Said)),
    ];
    drop(sender);
    let mut tail = Vec::new();
    for line in lines {
        match line {
            Line::Said(line) => {
                say(&line);
                if tail.len() == TAIL_LINES {
                    tail.remove(0);
                }
                tail.push(line);
            }
            Line::Out(line) => out(&line),
        }
    }
    for reader in readers.into_iter().flatten() {
        // A reader ends with its stream; it has nothing that could panic.
        let _ = reader.join();
    }
    Ok(Ended { success: child.wait()?.success(), tail: tail.join("\n") })
}

fn forward<S: Read + Send + 'static>(
    stream: S,
    sender: mpsc::SyncSender<Line>,
    wrap: fn(String) -> Line,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(wrap(String::from_utf8_lossy(&line).trim_end().to_owned())).is_err() {
                return;
            }
        }
    })
}
