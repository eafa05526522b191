//! Delivering webhooks: when an attempt counts, when the next one comes, when an endpoint is left alone and when it is switched off.

use crate::time::Timestamp;

/// Pauses after the first, second … attempt, in seconds. Ten attempts in a little over three days; then the delivery has failed.
pub const PAUSES_S: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// How long a delivery is tried, pauses lengthened by chance and waiting for a failing endpoint included.
pub const GIVE_UP_MS: i64 = 4 * 86_400_000;

/// An endpoint whose deliveries all failed for so long is switched off.
pub const DISABLE_AFTER_MS: i64 = 5 * 86_400_000;

/// So many failures in a row, and the endpoint as a whole is left alone between attempts.
const FAILURES_TO_REST: i64 = 5;
const REST_MS: i64 = 10_000;
const REST_MS_MAX: i64 = 300_000;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The endpoint answered with this HTTP status.
    Answered(u16),
    /// No answer, or none that we may ask for; in words.
    Failed(String),
}

/// What an attempt means for its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Delivered.
    Delivered,
    /// Again, not before this.
    Again(Timestamp),
    /// It has failed and is not tried any more.
    Failed,
    /// The endpoint says that it is gone: it is switched off, and what waits for it has failed.
    Gone,
}

/// How an endpoint has been doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Failed attempts since the last success.
    pub failures: i64,
    /// Since when there was no success; none while there is.
    pub failing_since: Option<Timestamp>,
    /// Left alone until then.
    pub resting_until: Timestamp,
}

/// Whether an attempt was a success: any 2xx, and nothing else. A redirect is not followed.
pub fn is_success(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Answered(200..=299))
}

/// What follows from an attempt. `attempts` counts it; `chance` is any number, from which the pause is lengthened or shortened by a fifth.
pub fn next(attempt: &Attempt, attempts: u32, chance: u32, now: Timestamp) -> Next {
    if is_success(attempt) {
        return Next::Delivered;
    }
    if *attempt == Attempt::Answered(410) {
        return Next::Gone;
    }
    let place = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1);
    match PAUSES_S.get(place) {
        // 80 % to 120 %, so that what failed together does not come back together.
        Some(pause) => Next::Again(now.plus_ms(pause * 10 * (80 + i64::from(chance % 41)))),
        None => Next::Failed,
    }
}

impl Health {
    /// After one more attempt.
    pub fn after(self, attempt: &Attempt, now: Timestamp) -> Health {
        if is_success(attempt) {
            return Health::default();
        }
        let failures = self.failures.saturating_add(1);
        let doubled = u32::try_from((failures - FAILURES_TO_REST).clamp(0, 16)).unwrap_or(0);
        let rest = if failures >= FAILURES_TO_REST { (REST_MS << doubled).min(REST_MS_MAX) } else { 0 };
        Health {
            failures,
            failing_since: Some(self.failing_since.unwrap_or(now)),
            resting_until: if rest > 0 { now.plus_ms(rest) } else { Timestamp(0) },
        }
    }

    /// Whether it has failed for so long that it is switched off.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.failing_since.is_some_and(|since| now.since_ms(since) >= DISABLE_AFTER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_777_000_000_000);

    fn failed() -> Attempt {
        Attempt::Failed("no answer".into())
    }

    #[test]
    fn only_2xx_is_success_and_410_ends_it() {
        for status in [200, 201, 204, 299] {
            assert_eq!(next(&Attempt::Answered(status), 1, 0, NOW), Next::Delivered, "{status}");
        }
        for status in [199, 300, 301, 400, 401, 404, 409, 429, 500, 503] {
            assert!(matches!(next(&Attempt::Answered(status), 1, 0, NOW), Next::Again(_)), "{status}");
        }
        assert_eq!(next(&Attempt::Answered(410), 1, 0, NOW), Next::Gone);
    }

    #[test]
    fn ten_attempts_take_about_three_days_whatever_chance_says() {
        let total = |chance: u32| {
            let mut now = NOW;
            for attempts in 1..10 {
                match next(&failed(), attempts, chance, now) {
                    Next::Again(at) => now = at,
                    other => panic!("attempt {attempts}: {other:?}"),
                }
            }
            assert_eq!(next(&failed(), 10, chance, now), Next::Failed);
            now.since_ms(NOW) / 3_600_000
        };
        assert_eq!((total(0), total(20), total(40)), (60, 75, 90));
        assert!(total(40) * 3_600_000 < GIVE_UP_MS);
    }

    #[test]
    fn an_endpoint_that_keeps_failing_is_left_alone_longer_and_longer_up_to_a_bound() {
        let mut health = Health::default();
        let mut rests = Vec::new();
        for _ in 0..12 {
            health = health.after(&failed(), NOW);
            rests.push(health.resting_until.since_ms(NOW).max(0) / 1_000);
        }
        assert_eq!(rests, [0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(health.after(&Attempt::Answered(200), NOW), Health::default());
        let long = Health { failures: i64::MAX, ..health }.after(&failed(), NOW);
        assert_eq!(long.resting_until, NOW.plus_ms(300_000));
    }

    #[test]
    fn five_days_without_success_and_it_is_lost() {
        let first = Health::default().after(&failed(), NOW);
        let later = first.after(&failed(), NOW.plus_ms(DISABLE_AFTER_MS - 1));
        assert_eq!(later.failing_since, Some(NOW));
        assert!(!later.is_lost(NOW.plus_ms(DISABLE_AFTER_MS - 1)));
        assert!(later.is_lost(NOW.plus_ms(DISABLE_AFTER_MS)));
        assert!(!Health::default().is_lost(NOW));
    }
}
