//! Circuit breakers: an endpoint that keeps failing is left alone for a while. Pure: the time is handed in.

use koban_domain::time::Timestamp;

/// When a breaker opens and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// So many failures in a row open it. At least 1.
    pub failures_to_open: u32,
    /// So long it refuses, and so long one trial may take before another is let through.
    pub open_ms: i64,
}

impl Default for BreakerRule {
    fn default() -> Self {
        BreakerRule { failures_to_open: 5, open_ms: 10_000 }
    }
}

/// One endpoint's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests go through; so many failed in a row.
    Closed { failures: u32 },
    /// Requests are refused until then.
    Open { until: Timestamp },
    /// One trial is on its way. Should nobody ever report how it ended, another may start at `until`.
    HalfOpen { until: Timestamp },
}

impl Default for State {
    fn default() -> Self {
        State::Closed { failures: 0 }
    }
}

/// How a breaker stands, for those who watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Requests go through; so many failed in a row.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Requests are refused until then.
    Open {
        /// When a trial is let through.
        until: Timestamp,
    },
    /// One trial is on its way.
    HalfOpen,
}

impl Stands {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Stands::Closed { .. } => "closed",
            Stands::Open { .. } => "open",
            Stands::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    /// How it stands.
    pub fn stands(&self) -> Stands {
        match self.state {
            State::Closed { failures } => Stands::Closed { failures },
            State::Open { until } => Stands::Open { until },
            State::HalfOpen { .. } => Stands::HalfOpen,
        }
    }

    /// May a request be tried now? If not: when it is worth asking again.
    pub fn admit(&mut self, rule: &BreakerRule, now: Timestamp) -> Result<(), Timestamp> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::HalfOpen { until } if now < until => Err(until),
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { until: now.plus_ms(rule.open_ms) };
                Ok(())
            }
        }
    }

    /// A request was answered as it should be: the endpoint is well.
    pub fn succeeded(&mut self) {
        self.state = State::default();
    }

    /// A request failed in a way that says something about the endpoint.
    pub fn failed(&mut self, rule: &BreakerRule, now: Timestamp) {
        self.state = match self.state {
            State::Closed { failures } if failures.saturating_add(1) < rule.failures_to_open => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } | State::HalfOpen { .. } => State::Open { until: now.plus_ms(rule.open_ms) },
            // A straggler from before it opened says nothing new.
            State::Open { until } => State::Open { until },
        };
    }

    /// Whether it holds nothing worth keeping.
    pub(crate) fn is_fresh(&self) -> bool {
        self.state == State::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule { failures_to_open: 3, open_ms: 1_000 };

    fn opened_at(now: i64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.admit(&RULE, Timestamp(now)), Ok(()));
            breaker.failed(&RULE, Timestamp(now));
        }
        breaker
    }

    #[test]
    fn it_opens_at_the_third_failure_in_a_row_and_not_before() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.failed(&RULE, Timestamp(0));
        }
        assert_eq!(breaker.admit(&RULE, Timestamp(0)), Ok(()));
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(&RULE, Timestamp(0));
        }
        assert_eq!(breaker.admit(&RULE, Timestamp(0)), Ok(()), "a success in between starts the count again");
        breaker.failed(&RULE, Timestamp(0));
        assert_eq!(breaker.admit(&RULE, Timestamp(999)), Err(Timestamp(1_000)));
    }

    #[test]
    fn after_its_time_it_lets_one_trial_through() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(&RULE, Timestamp(1_000)), Ok(()));
        assert_eq!(breaker.admit(&RULE, Timestamp(1_000)), Err(Timestamp(2_000)), "one, not two");
        breaker.succeeded();
        assert_eq!(breaker.admit(&RULE, Timestamp(1_001)), Ok(()));
        assert_eq!(breaker.admit(&RULE, Timestamp(1_001)), Ok(()));
    }

    #[test]
    fn a_failed_trial_opens_it_again_at_once() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(&RULE, Timestamp(1_500)), Ok(()));
        breaker.failed(&RULE, Timestamp(1_600));
        assert_eq!(breaker.admit(&RULE, Timestamp(2_599)), Err(Timestamp(2_600)));
    }

    #[test]
    fn a_trial_that_nobody_reports_does_not_close_the_endpoint_for_ever() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(&RULE, Timestamp(1_000)), Ok(()));
        assert_eq!(breaker.admit(&RULE, Timestamp(1_999)), Err(Timestamp(2_000)));
        assert_eq!(breaker.admit(&RULE, Timestamp(2_000)), Ok(()));
    }
}
