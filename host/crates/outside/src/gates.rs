//! What stands before each endpoint: its rate, its places and its breaker. Pure values behind one lock; the time is handed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use koban_domain::time::Timestamp;

use crate::breaker::{Breaker, BreakerRule, Stands};
use crate::endpoint::{Endpoint, Limits};
use crate::send::NotSent;

/// So many endpoints are remembered; above it those that hold nothing worth keeping are forgotten.
const GATES_MAX: usize = 4_096;
/// When a full endpoint is worth asking again.
const FULL_MS: i64 = 300;

/// What an endpoint's gate looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateView {
    /// The endpoint's name.
    pub endpoint: String,
    /// Its breaker.
    pub breaker: Stands,
    /// Requests on their way.
    pub running: u32,
    /// Requests that were let through since the host started.
    pub admitted: u64,
    /// Those that the rate, the places or the breaker held back.
    pub held_back: u64,
    /// Exchanges that spoke against the endpoint.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Gate {
    breaker: Breaker,
    running: u32,
    /// When the requests so far would all be due, one after the other, in microseconds.
    due_us: i64,
    admitted: u64,
    held_back: u64,
    failed: u64,
}

/// All endpoints' gates of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<HashMap<String, Gate>>>);

/// A place at an endpoint, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    gates: Gates,
    endpoint: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gates.at(&self.endpoint, |gate| gate.running = gate.running.saturating_sub(1));
    }
}

impl Place {
    /// Whether it is a place at this endpoint.
    pub(crate) fn is_at(&self, endpoint: &Endpoint) -> bool {
        self.endpoint == endpoint.name
    }
}

impl Gates {
    fn at<T>(&self, endpoint: &str, act: impl FnOnce(&mut Gate) -> T) -> T {
        // Gates are plain values: they are whole even if somebody panicked beside them.
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= GATES_MAX && !gates.contains_key(endpoint) {
            gates.retain(|_, gate| gate.running > 0 || !gate.breaker.is_fresh());
        }
        act(gates.entry(endpoint.to_owned()).or_default())
    }

    /// May a request be made now? Errors: when it is worth asking again.
    pub(crate) fn enter(&self, endpoint: &Endpoint, rule: &BreakerRule, now: Timestamp) -> Result<Place, NotSent> {
        let entered = self.at(&endpoint.name, |gate| {
            let entered = gate.enter(endpoint.limits, rule, now);
            match entered {
                Ok(()) => gate.admitted += 1,
                Err(_) => gate.held_back += 1,
            }
            entered
        });
        entered.map(|()| Place { gates: self.clone(), endpoint: endpoint.name.clone() })
    }

    pub(crate) fn succeeded(&self, endpoint: &Endpoint) {
        self.at(&endpoint.name, |gate| gate.breaker.succeeded());
    }

    pub(crate) fn failed(&self, endpoint: &Endpoint, rule: &BreakerRule, now: Timestamp) {
        self.at(&endpoint.name, |gate| {
            gate.failed += 1;
            gate.breaker.failed(rule, now);
        });
    }

    /// Every gate, in the order of names.
    pub(crate) fn views(&self) -> Vec<GateView> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<GateView> = gates
            .iter()
            .map(|(endpoint, gate)| GateView {
                endpoint: endpoint.clone(),
                breaker: gate.breaker.stands(),
                running: gate.running,
                admitted: gate.admitted,
                held_back: gate.held_back,
                failed: gate.failed,
            })
            .collect();
        views.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
        views
    }
}

impl Gate {
    fn enter(&mut self, limits: Limits, rule: &BreakerRule, now: Timestamp) -> Result<(), NotSent> {
        if self.running >= limits.concurrent {
            return Err(NotSent::Full { retry_at: now.plus_ms(FULL_MS) });
        }
        // Each request pushes the line of those that are due back by its share of a minute; it may reach ten seconds into the future.
        let per_minute = i64::from(limits.per_minute.max(1));
        let share_us = 60_000_000 / per_minute;
        let reach_us = share_us * (per_minute / 6).max(1);
        let now_us = now.0.saturating_mul(1_000);
        let due_us = self.due_us.max(now_us).saturating_add(share_us);
        if due_us - now_us > reach_us {
            let wait_ms = (due_us - now_us - reach_us + 999) / 1_000;
            return Err(NotSent::TooOften { retry_at: now.plus_ms(wait_ms) });
        }
        self.breaker.admit(rule, now).map_err(|retry_at| NotSent::BreakerOpen { retry_at })?;
        self.due_us = due_us;
        self.running += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Base;
    use crate::endpoint::Credential;

    const NOW: Timestamp = Timestamp(1_777_000_000_000);

    fn endpoint(per_minute: u32, concurrent: u32) -> Endpoint {
        let limits = Limits { per_minute, concurrent, ..Limits::default() };
        Endpoint { limits, ..Endpoint::new("a/b", Base::parse("https://partner.example").unwrap(), Credential::None) }
    }

    #[test]
    fn so_many_are_under_way_and_no_more_until_one_is_back() {
        let (gates, rule, endpoint) = (Gates::default(), BreakerRule::default(), endpoint(6_000, 2));
        let first = gates.enter(&endpoint, &rule, NOW).unwrap();
        let _second = gates.enter(&endpoint, &rule, NOW).unwrap();
        assert!(matches!(gates.enter(&endpoint, &rule, NOW), Err(NotSent::Full { .. })));
        drop(first);
        assert!(gates.enter(&endpoint, &rule, NOW).is_ok());
        let view = &gates.views()[0];
        assert_eq!((view.running, view.admitted, view.held_back), (1, 3, 1));
    }

    #[test]
    fn a_sixth_of_a_minutes_requests_may_come_at_once_and_the_rest_in_its_time() {
        let (gates, rule, endpoint) = (Gates::default(), BreakerRule::default(), endpoint(60, 100));
        for _ in 0..10 {
            assert!(gates.enter(&endpoint, &rule, NOW).is_ok());
        }
        let Err(NotSent::TooOften { retry_at }) = gates.enter(&endpoint, &rule, NOW) else { panic!("not held back") };
        assert_eq!(retry_at, NOW.plus_ms(1_000));
        assert!(gates.enter(&endpoint, &rule, retry_at).is_ok());
        assert!(gates.enter(&endpoint, &rule, retry_at).is_err());
        let let_through =
            (0..60_000).step_by(100).filter(|ms| gates.enter(&endpoint, &rule, NOW.plus_ms(60_000 + ms)).is_ok());
        assert_eq!(let_through.count(), 69, "ten at once and one a second");
    }

    #[test]
    fn what_is_held_back_takes_no_place_and_no_share() {
        let (gates, endpoint) = (Gates::default(), endpoint(60, 100));
        let rule = BreakerRule { failures_to_open: 1, open_ms: 1_000 };
        gates.failed(&endpoint, &rule, NOW);
        for _ in 0..50 {
            assert!(matches!(gates.enter(&endpoint, &rule, NOW), Err(NotSent::BreakerOpen { .. })));
        }
        assert!(gates.enter(&endpoint, &rule, NOW.plus_ms(1_000)).is_ok());
        let view = &gates.views()[0];
        assert_eq!((view.breaker.word(), view.failed, view.held_back), ("half-open", 1, 50));
    }
}
