//! What the host keeps for one running guest: its log, its memory bound and its deadline.

use koban_domain::texts::misleads;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::bindings::koban::plugin::{accounts, flow, log, market, types};
use crate::engine::Bounds;
use crate::limits::Limits;

/// Longest text of a panic that goes into a fault, in characters.
const PANIC_CHARS_MAX: usize = 400;
/// Longest single line that is kept.
const LINE_BYTES_MAX: usize = 1_024;
/// What every line costs beside its bytes, so that a flood of empty lines meets its bound too.
const LINE_COST: usize = 16;

/// The state of one call.
pub(crate) struct State {
    ticks_left: u64,
    memory_bytes: usize,
    bounds: Bounds,
    memory_seen: usize,
    log: Vec<(u8, String)>,
    log_lines_left: usize,
    log_bytes_left: usize,
    host_bytes_left: usize,
    dropped: u32,
    panic: Option<String>,
}

/// What the host itself ended a call for; found again in the error that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("memory of {wanted} bytes asked for, {limit} allowed")]
    Memory { wanted: usize, limit: usize },
    #[error("a table of {wanted} entries asked for, {limit} allowed")]
    Table { wanted: usize, limit: usize },
    #[error("more bytes logged than the class allows")]
    HostBytes,
}

impl State {
    pub(crate) fn new(limits: &Limits, bounds: Bounds, deadline_ticks: u64) -> State {
        State {
            ticks_left: deadline_ticks,
            memory_bytes: limits.memory_bytes,
            bounds,
            memory_seen: 0,
            log: Vec::new(),
            log_lines_left: limits.log_lines,
            log_bytes_left: limits.log_bytes,
            host_bytes_left: limits.host_bytes,
            dropped: 0,
            panic: None,
        }
    }

    /// Called at every tick of the epoch that finds the guest running: lets neighbours run, or ends the call. Only such ticks count:
    /// a guest that waits for its turn on a busy machine uses up nothing.
    pub(crate) fn at_tick(&mut self) -> UpdateDeadline {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }

    /// The most linear memory that the guest had, in bytes.
    pub(crate) fn memory_seen(&self) -> usize {
        self.memory_seen
    }

    /// The lines kept, and the panic's text if there was one.
    pub(crate) fn into_log(mut self) -> (Vec<(u8, String)>, Option<String>) {
        if self.dropped > 0 {
            self.log.push((2, format!("{} more lines were dropped by the host", self.dropped)));
        }
        (self.log, self.panic)
    }
}

/// The text on one line, with everything escaped that could forge a line or steer a terminal, cut to so many bytes.
fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for char in text.chars() {
        let before = line.len();
        if misleads(char) {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
        if line.len() > bytes_max {
            line.truncate(before);
            break;
        }
    }
    line
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let cost = message.len().saturating_add(LINE_COST);
        self.host_bytes_left = self.host_bytes_left.checked_sub(cost).ok_or(Stopped::HostBytes)?;
        if level == log::Level::Error && self.panic.is_none() && message.starts_with("panic") {
            // Kept beside the log, so that a flood cannot hide it.
            let text: String = message.replace('\n', " ").chars().take(PANIC_CHARS_MAX).collect();
            self.panic = Some(one_line(&text, PANIC_CHARS_MAX * 4));
        }
        if self.log_lines_left == 0 || self.log_bytes_left == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return Ok(());
        }
        let line = one_line(&message, self.log_bytes_left.min(LINE_BYTES_MAX));
        self.log_lines_left -= 1;
        self.log_bytes_left = self.log_bytes_left.saturating_sub(line.len());
        self.log.push((level as u8, line));
        Ok(())
    }
}

impl types::Host for State {}
impl flow::Host for State {}
impl market::Host for State {}
impl accounts::Host for State {}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if wanted > self.memory_bytes {
            // An error and not a refusal: a guest that could see the refusal could answer differently on a host with other limits.
            return Err(Stopped::Memory { wanted, limit: self.memory_bytes }.into());
        }
        self.memory_seen = self.memory_seen.max(wanted);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.bounds.table_elements;
        if wanted > limit {
            return Err(Stopped::Table { wanted, limit }.into());
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        usize::try_from(self.bounds.instances).unwrap_or(usize::MAX)
    }

    fn tables(&self) -> usize {
        usize::try_from(self.bounds.instances).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(self.bounds.instances).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ClassLimits;
    use koban_domain::manifest::EngineKind;
    use log::Host as _;

    fn state() -> State {
        State::new(&ClassLimits::default().decision, Bounds::of(EngineKind::Native), 1)
    }

    #[test]
    fn a_line_cannot_forge_another_line_or_steer_a_terminal() {
        let mut state = state();
        state.write(log::Level::Info, "paid\r\nERROR \u{1b}[2J\u{202e}</script>".into()).unwrap();
        let (log, _) = state.into_log();
        assert_eq!(log, [(1, "paid\\r\\nERROR \\u{1b}[2J\\u{202e}</script>".to_owned())]);
    }

    #[test]
    fn lines_over_the_bound_are_dropped_and_counted_and_a_panic_is_still_seen() {
        let mut state = state();
        for _ in 0..40 {
            state.write(log::Level::Debug, "x".into()).unwrap();
        }
        state.write(log::Level::Error, "panicked at src/lib.rs:1:1: boom".into()).unwrap();
        let (log, panic) = state.into_log();
        assert_eq!(log.len(), 33);
        assert_eq!(log[32], (2, "9 more lines were dropped by the host".to_owned()));
        assert_eq!(panic.as_deref(), Some("panicked at src/lib.rs:1:1: boom"));
    }

    #[test]
    fn a_flood_ends_the_call() {
        let mut state = state();
        let error = (0..100_000).find_map(|_| state.write(log::Level::Debug, String::new()).err()).unwrap();
        assert_eq!(error.downcast_ref::<Stopped>(), Some(&Stopped::HostBytes));
    }
}
