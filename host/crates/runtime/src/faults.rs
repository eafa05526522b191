//! Turns whatever ended a call into a typed fault.

use koban_domain::records::{Fault, FaultClass};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::limits::{Class, Limits};
use crate::state::Stopped;

/// Longest detail of a fault, in characters.
const DETAIL_CHARS_MAX: usize = 500;

pub(crate) fn fault(class: FaultClass, detail: impl AsRef<str>) -> Fault {
    Fault { class, detail: detail.as_ref().chars().take(DETAIL_CHARS_MAX).collect() }
}

/// The answer makes no sense.
pub(crate) fn bad(detail: impl AsRef<str>) -> Fault {
    fault(FaultClass::BadAnswer, detail)
}

/// The answer asks for what the manifest does not give.
pub(crate) fn denied(detail: impl AsRef<str>) -> Fault {
    fault(FaultClass::Denied, detail)
}

/// What ended a call of this class. `panic` is the text that the guest logged before it trapped.
pub(crate) fn from_error(error: &wasmtime::Error, panic: Option<&str>, class: Class, limits: &Limits) -> Fault {
    let class_word = class.word();
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        let fault_class = match stopped {
            Stopped::Memory { .. } | Stopped::Table { .. } => FaultClass::MemoryDenied,
            Stopped::HostBytes => FaultClass::HostDataTooLarge,
        };
        return fault(fault_class, format!("{stopped} ({class_word})"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            return fault(FaultClass::FuelExhausted, format!("all {} units of fuel used ({class_word})", limits.fuel));
        }
        Some(Trap::Interrupt) => {
            return fault(FaultClass::Deadline, format!("stopped after {} ms ({class_word})", limits.deadline_ms()));
        }
        Some(Trap::StackOverflow) => return fault(FaultClass::StackOverflow, "the call stack is used up"),
        Some(Trap::AllocationTooLarge) => return fault(FaultClass::MemoryDenied, "the allocation is too large"),
        Some(trap) => return fault(FaultClass::Trap, panic.map_or_else(|| trap.to_string(), ToOwned::to_owned)),
        None => {}
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return fault(FaultClass::Busy, "the engine has no room for another call");
    }
    let cause = error.root_cause().to_string();
    // wasmtime keeps this error's type to itself. Inside a host call there are frames of the guest below it, at the answer there are none.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => fault(
                FaultClass::HostDataTooLarge,
                format!("a log line is larger than {} bytes ({class_word})", limits.output_bytes),
            ),
            None => fault(
                FaultClass::OutputTooLarge,
                format!("the answer is larger than {} bytes ({class_word})", limits.output_bytes),
            ),
        };
    }
    // What is left breaks the canonical ABI: text that is not UTF-8, a pointer out of bounds, an unknown case of a variant.
    fault(FaultClass::Trap, panic.unwrap_or(&cause))
}
