//! What the door counts, for metrics: calls, faults by class, and how long calls waited for a slot.

use std::sync::atomic::{AtomicU64, Ordering};

use koban_domain::records::FaultClass;

/// Every fault class, in the order in which the door counts them.
const CLASSES: [FaultClass; 10] = [
    FaultClass::FuelExhausted,
    FaultClass::Deadline,
    FaultClass::MemoryDenied,
    FaultClass::OutputTooLarge,
    FaultClass::HostDataTooLarge,
    FaultClass::StackOverflow,
    FaultClass::Trap,
    FaultClass::Denied,
    FaultClass::BadAnswer,
    FaultClass::Busy,
];

/// The running counts.
#[derive(Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    faults: [AtomicU64; CLASSES.len()],
    waits: AtomicU64,
    wait_us: AtomicU64,
}

/// The counts at one moment, since the door was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meters {
    /// Calls made, faults included.
    pub calls: u64,
    /// Faults by class.
    pub faults: Vec<(FaultClass, u64)>,
    /// Calls that found no free slot at once.
    pub waits: u64,
    /// Microseconds that those waited, together.
    pub wait_us: u64,
    /// Calls running now.
    pub running: usize,
    /// Slots in all.
    pub slots: usize,
}

impl Counters {
    pub(crate) fn called(&self, fault: Option<FaultClass>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(at) = fault.and_then(|class| CLASSES.iter().position(|known| *known == class)) {
            self.faults[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn waited(&self, us: u64) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.wait_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, running: usize, slots: usize) -> Meters {
        let faults =
            CLASSES.iter().zip(&self.faults).map(|(class, count)| (*class, count.load(Ordering::Relaxed))).collect();
        Meters {
            calls: self.calls.load(Ordering::Relaxed),
            faults,
            waits: self.waits.load(Ordering::Relaxed),
            wait_us: self.wait_us.load(Ordering::Relaxed),
            running,
            slots,
        }
    }
}
