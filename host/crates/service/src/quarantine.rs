//! Takes out what faults again and again, before somebody is woken: the last good release decides in its place.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use koban_domain::records::{Digest, Fault, FaultClass};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;

use crate::app::App;
use crate::releases;

/// The window in which faults are counted, milliseconds.
const WINDOW_MS: i64 = 60_000;
/// So many faults in a window take a component out …
const FAULTS: u32 = 20;
/// … if at least every second call of it faulted: whoever finds an input that a rule cannot bear must not be able to switch it off by
/// sending it now and then.
const OF_CALLS: u32 = 2;
/// Most components that are watched; beyond it all counts begin anew.
const WATCHED_MAX: usize = 1_000;

/// What components did of late, on this host.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<Digest, Recent>>);

#[derive(Debug, Clone, Copy)]
struct Recent {
    since: Timestamp,
    calls: u32,
    faults: u32,
}

impl Faults {
    /// Counts so many calls, and a fault. Whether it was the fault that takes the component out.
    fn note(&self, component: Digest, (calls, faulted): (u32, bool), now: Timestamp) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= WATCHED_MAX && !all.contains_key(&component) {
            all.clear();
        }
        let fresh = Recent { since: now, calls: 0, faults: 0 };
        let recent = all.entry(component).or_insert(fresh);
        if now.since_ms(recent.since) > WINDOW_MS {
            *recent = fresh;
        }
        recent.calls = recent.calls.saturating_add(calls);
        recent.faults = recent.faults.saturating_add(u32::from(faulted));
        let enough = faulted && recent.faults >= FAULTS && recent.faults.saturating_mul(OF_CALLS) >= recent.calls;
        if enough {
            // Should taking it out fail, as many faults again try it again.
            *recent = fresh;
        }
        enough
    }
}

/// Whether a fault says something about the plugin: not that the host was busy, or the machine ill.
fn is_its_own(class: FaultClass) -> bool {
    !matches!(class, FaultClass::Busy | FaultClass::Deadline)
}

/// Counts a call, and takes its component out when it was one fault too many. The caller does not wait for that.
pub(crate) fn note(app: &App, plugin: &Plugin, fault: Option<&Fault>) {
    let fault = fault.filter(|fault| is_its_own(fault.class));
    if app.faults.note(plugin.digest(), (1, fault.is_some()), app.clock.now()) {
        take_out(app, plugin, fault);
    }
}

/// Counts a fault of a call that ended well: its answer breaks a rule that shows only now.
pub(crate) fn note_broken(app: &App, plugin: &Plugin, fault: &Fault) {
    if app.faults.note(plugin.digest(), (0, true), app.clock.now()) {
        take_out(app, plugin, Some(fault));
    }
}

fn take_out(app: &App, plugin: &Plugin, fault: Option<&Fault>) {
    let (app, id, component) = (app.clone(), plugin.id().to_owned(), plugin.digest());
    let last = fault.map(ToString::to_string).unwrap_or_default();
    tokio::spawn(async move {
        let reason = format!("{FAULTS} faults within a minute, the last one: {last}");
        if let Err(error) = releases::quarantine(&app, &id, component, &reason).await {
            let error = crate::ledger::chain(&error);
            tracing::error!(plugin = id, error, "a plugin that faults could not be taken out; it is tried again");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these calls, made so many milliseconds apart, took the component out.
    fn taken_out(calls: &[bool], apart_ms: i64) -> usize {
        let faults = Faults::default();
        let times = (0..).map(|number: i64| Timestamp(number * apart_ms));
        calls.iter().zip(times).filter(|(faulted, at)| faults.note(Digest::default(), (1, **faulted), *at)).count()
    }

    #[test]
    fn twenty_faults_within_a_minute_are_one_too_many() {
        assert_eq!(taken_out(&[true; 19], 1_000), 0);
        assert_eq!(taken_out(&[true; 20], 1_000), 1);
        assert_eq!(taken_out(&[true; 40], 4_000), 0, "not within a minute");
        assert_eq!(taken_out(&[true; 40], 10), 2, "should taking it out fail, it is tried again");
    }

    #[test]
    fn an_answer_that_breaks_a_rule_counts_as_the_fault_of_its_call() {
        let (faults, now) = (Faults::default(), Timestamp(0));
        let broken = |number: u32| {
            assert!(!faults.note(Digest::default(), (1, false), now), "the call ended well");
            // Every second call is good.
            number.is_multiple_of(2) && faults.note(Digest::default(), (0, true), now)
        };
        assert_eq!((0..39).map(broken).filter(|out| *out).count(), 1);
    }

    #[test]
    fn what_mostly_works_stays() {
        let rare: Vec<bool> = (0..1_000).map(|number| number % 3 == 0).collect();
        assert_eq!(taken_out(&rare, 10), 0);
    }
}
