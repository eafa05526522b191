//! What one call may use, by class: fuel, time, memory and bytes in every direction.

use koban_domain::manifest::EngineKind;
use koban_domain::records::Input;

/// Largest memory that the native engine's pool has room for; no native class may ask for more.
pub(crate) const POOL_MEMORY_BYTES: usize = 64 << 20;
/// Largest memory that the interpreter engine's pool has room for.
pub(crate) const INTERPRETER_MEMORY_BYTES: usize = 128 << 20;
/// The least time that the epoch guard gives, in milliseconds.
const DEADLINE_MS_MIN: u64 = 250;
/// The guard's deadline is 20 times what the fuel takes on the slowest supported machine, at 1.25 ns for each unit of fuel there: 25 ns a unit.
const FUEL_PER_DEADLINE_MS: u64 = 1_000_000 / 25;

/// A class of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// One question, one answer: `describe`, `check-settings`, `assess`, `recognise`, `quote`.
    Decision,
    /// One step of a flow, the routing of a partner's call, what follows from an event, a page of a table.
    FlowStep,
    /// A whole file: of a partner, of a feed, or for a user.
    Files,
    /// Any call of a plugin that carries an interpreter.
    Interpreter,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 4] = [Class::Decision, Class::FlowStep, Class::Files, Class::Interpreter];

    /// The class that a call belongs to, of a plugin that this engine runs.
    pub fn of(engine: EngineKind, input: &Input) -> Class {
        match (engine, input) {
            (EngineKind::Interpreter, _) => Class::Interpreter,
            (EngineKind::Native, input) => Class::native(input),
        }
    }

    fn native(input: &Input) -> Class {
        match input {
            Input::Describe | Input::CheckSettings | Input::Assess(..) | Input::Recognise(..) | Input::Quote(_) => {
                Class::Decision
            }
            Input::BeginCharge(_)
            | Input::BeginLinkedCharge(..)
            | Input::BeginWithdraw(_)
            | Input::BeginLink(_)
            | Input::BeginBill(_)
            | Input::BeginSync(_)
            | Input::Resume(..)
            | Input::Route(_)
            | Input::MigrateState(..)
            | Input::OnEvent(..)
            | Input::TableRows(_) => Class::FlowStep,
            Input::ParseSettlement(_)
            | Input::ComposeFile(..)
            | Input::ParseFile(..)
            | Input::ParseRates(_)
            | Input::ComposeStatement(..) => Class::Files,
        }
    }

    /// The word in metrics and messages.
    pub fn word(self) -> &'static str {
        match self {
            Class::Decision => "decision",
            Class::FlowStep => "flow-step",
            Class::Files => "files",
            Class::Interpreter => "interpreter",
        }
    }
}

/// What one call of a class may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Units of fuel, roughly one for each WebAssembly instruction. The only limit that an honest guest can meet.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Bytes of the input's texts and bodies.
    pub input_bytes: usize,
    /// Bytes of the answer; also the longest single log line that is read from the guest.
    pub output_bytes: usize,
    /// Bytes of all log lines together, kept or dropped; beyond them the call is ended.
    pub host_bytes: usize,
    /// Log lines kept in the record.
    pub log_lines: usize,
    /// Bytes of the log lines kept in the record.
    pub log_bytes: usize,
}

impl Limits {
    /// The epoch guard in milliseconds of running: 20 times what the fuel takes on the slowest supported machine, at least 250 ms. Its firing
    /// means that the machine is ill, not the guest.
    pub fn deadline_ms(&self) -> u64 {
        (self.fuel / FUEL_PER_DEADLINE_MS).max(DEADLINE_MS_MIN)
    }
}

/// The limits of every class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimits {
    /// For decisions.
    pub decision: Limits,
    /// For steps of flows.
    pub flow_step: Limits,
    /// For files.
    pub files: Limits,
    /// For plugins that carry an interpreter.
    pub interpreter: Limits,
}

impl Default for ClassLimits {
    fn default() -> ClassLimits {
        ClassLimits {
            decision: Limits {
                fuel: 10_000_000,
                memory_bytes: 16 << 20,
                input_bytes: 128 << 10,
                output_bytes: 20 << 10,
                host_bytes: 128 << 10,
                log_lines: 32,
                log_bytes: 4 << 10,
            },
            flow_step: Limits {
                fuel: 50_000_000,
                memory_bytes: 32 << 20,
                input_bytes: 256 << 10,
                output_bytes: 256 << 10,
                host_bytes: 512 << 10,
                log_lines: 64,
                log_bytes: 16 << 10,
            },
            files: Limits {
                fuel: 1_000_000_000,
                memory_bytes: 64 << 20,
                input_bytes: 4 << 20,
                output_bytes: 8 << 20,
                host_bytes: 1 << 20,
                log_lines: 64,
                log_bytes: 16 << 10,
            },
            interpreter: Limits {
                fuel: 200_000_000,
                memory_bytes: INTERPRETER_MEMORY_BYTES,
                input_bytes: 1 << 20,
                output_bytes: 1 << 20,
                host_bytes: 512 << 10,
                log_lines: 64,
                log_bytes: 16 << 10,
            },
        }
    }
}

/// A limit that an operator set higher than this host allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit {class}.{limit} is {given}, but it can only be lowered: set it to 1 to {most}", class = class.word())]
pub struct LimitsError {
    class: Class,
    limit: &'static str,
    given: u64,
    most: u64,
}

impl ClassLimits {
    /// The limits of one class.
    pub fn of(&self, class: Class) -> &Limits {
        match class {
            Class::Decision => &self.decision,
            Class::FlowStep => &self.flow_step,
            Class::Files => &self.files,
            Class::Interpreter => &self.interpreter,
        }
    }

    /// Limits can be lowered, never raised: a plugin that was checked against the published ones must run on every host. Errors: the first
    /// limit that is zero or above its published value.
    pub(crate) fn check(&self) -> Result<(), LimitsError> {
        let published = ClassLimits::default();
        for class in Class::ALL {
            let (given, most) = (self.of(class), published.of(class));
            let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            for (limit, given, most) in [
                ("fuel", given.fuel, most.fuel),
                ("memory_bytes", wide(given.memory_bytes), wide(most.memory_bytes)),
                ("input_bytes", wide(given.input_bytes), wide(most.input_bytes)),
                ("output_bytes", wide(given.output_bytes), wide(most.output_bytes)),
                ("host_bytes", wide(given.host_bytes), wide(most.host_bytes)),
                ("log_lines", wide(given.log_lines), wide(most.log_lines)),
                ("log_bytes", wide(given.log_bytes), wide(most.log_bytes)),
            ] {
                if given == 0 || given > most {
                    return Err(LimitsError { class, limit, given, most });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_be_lowered_but_not_raised() {
        let mut limits = ClassLimits::default();
        limits.decision.fuel = 1;
        assert_eq!(limits.check(), Ok(()));
        limits.files.memory_bytes += 1;
        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "limit files.memory_bytes is 67108865, but it can only be lowered: set it to 1 to 67108864");
    }

    #[test]
    fn the_guard_gives_at_least_250_milliseconds() {
        let limits = ClassLimits::default();
        assert_eq!(limits.decision.deadline_ms(), 250);
        assert_eq!(limits.flow_step.deadline_ms(), 1_250);
        assert_eq!(limits.files.deadline_ms(), 25_000);
        assert_eq!(limits.interpreter.deadline_ms(), 5_000);
    }
}
