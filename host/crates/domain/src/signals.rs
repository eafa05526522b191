//! Windowed counters over payments, one small ring per subject, written in the payment's own commit.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::guest::Signal;
use crate::ids::{MerchantId, UserId};
use crate::manifest::{SignalSpec, Subject};
use crate::money::Money;
use crate::records::Digest;
use crate::time::Timestamp;

/// Whose payments are counted: the first 16 bytes of SHA-256 over the kind of subject and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SubjectKey(pub Uuid);

impl SubjectKey {
    /// A user's payments.
    pub fn user(user: UserId) -> SubjectKey {
        SubjectKey::of(b"koban signal 1 user", user.0.as_bytes())
    }
    /// A merchant's payments.
    pub fn merchant(merchant: MerchantId) -> SubjectKey {
        SubjectKey::of(b"koban signal 1 merchant", merchant.0.as_bytes())
    }
    /// Payments made with a device.
    pub fn device(device: &str) -> SubjectKey {
        SubjectKey::of(b"koban signal 1 device", device.as_bytes())
    }
    fn of(kind: &[u8], id: &[u8]) -> SubjectKey {
        SubjectKey(Uuid::from_bytes(Digest::of_parts(&[kind, id]).half()))
    }
}

/// The subjects of one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subjects {
    /// The payer.
    pub user: SubjectKey,
    /// The payee, if it is a merchant.
    pub merchant: Option<SubjectKey>,
    /// The device, if it was named.
    pub device: Option<SubjectKey>,
}

impl Subjects {
    /// Each subject that there is.
    pub fn iter(&self) -> impl Iterator<Item = SubjectKey> {
        [Some(self.user), self.merchant, self.device].into_iter().flatten()
    }

    /// The key that a signal of this subject counts under.
    pub fn key(&self, subject: Subject) -> Option<SubjectKey> {
        match subject {
            Subject::User => Some(self.user),
            Subject::Merchant => self.merchant,
            Subject::Device => self.device,
        }
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// Minutes kept for windows of up to an hour, and hours kept for windows of up to a day; one more for the running one.
const MINUTES_KEPT: i64 = 61;
const HOURS_KEPT: i64 = 25;

/// The counts of one subject: by minute for the last hour, by hour for the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    minutes: Vec<Bucket>,
    hours: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    /// Which minute or hour since 1970.
    at: i64,
    count: u64,
    /// Minor units of every currency together: signals are advisory and the house pays in yen.
    sum: i64,
}

impl Ring {
    /// Counts one payment.
    pub fn count(&mut self, amount: i64, now: Timestamp) {
        bump(&mut self.minutes, now.0.div_euclid(MINUTE_MS), MINUTES_KEPT, amount);
        bump(&mut self.hours, now.0.div_euclid(HOUR_MS), HOURS_KEPT, amount);
    }

    /// Count and sum over the window that ends now: whole minutes up to an hour, whole hours beyond, the running one included.
    pub fn over(&self, window_s: u32, now: Timestamp) -> (u64, i64) {
        let window_ms = i64::from(window_s) * 1_000;
        let (buckets, unit) = if window_ms <= HOUR_MS { (&self.minutes, MINUTE_MS) } else { (&self.hours, HOUR_MS) };
        let from = now.plus_ms(-window_ms).0.div_euclid(unit);
        buckets
            .iter()
            .filter(|bucket| bucket.at > from)
            .fold((0, 0), |(count, sum), bucket| (count.saturating_add(bucket.count), sum.saturating_add(bucket.sum)))
    }

    /// The ring's bytes, postcard.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).unwrap_or_default()
    }

    /// Reads a ring back. Signals are advisory: damaged bytes read as an empty ring.
    pub fn decode(bytes: &[u8]) -> Ring {
        postcard::from_bytes(bytes).unwrap_or_default()
    }
}

fn bump(buckets: &mut Vec<Bucket>, at: i64, kept: i64, amount: i64) {
    buckets.retain(|bucket| bucket.at > at - kept);
    match buckets.iter_mut().find(|bucket| bucket.at == at) {
        Some(bucket) => {
            bucket.count = bucket.count.saturating_add(1);
            bucket.sum = bucket.sum.saturating_add(amount);
        }
        None => buckets.push(Bucket { at, count: 1, sum: amount }),
    }
}

/// The signals that a plugin asked for, read from the rings of a payment's subjects.
pub fn read(
    specs: &[SignalSpec],
    subjects: &Subjects,
    ring: impl Fn(SubjectKey) -> Ring,
    amount: Money,
    now: Timestamp,
) -> Vec<Signal> {
    specs
        .iter()
        .filter_map(|spec| {
            let (count, sum) = ring(subjects.key(spec.subject)?).over(spec.window_s, now);
            Some(Signal {
                name: spec.name.clone(),
                window_s: spec.window_s,
                count,
                sum: Money::new(sum, amount.currency),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_what_lies_before_it() {
        let mut ring = Ring::default();
        let start = Timestamp(1_000 * HOUR_MS);
        ring.count(100, start);
        ring.count(50, start.plus_ms(5 * MINUTE_MS));
        assert_eq!(ring.over(600, start.plus_ms(6 * MINUTE_MS)), (2, 150));
        assert_eq!(ring.over(600, start.plus_ms(12 * MINUTE_MS)), (1, 50));
        assert_eq!(ring.over(86_400, start.plus_ms(23 * HOUR_MS)), (2, 150));
        assert_eq!(ring.over(86_400, start.plus_ms(25 * HOUR_MS)), (0, 0));
    }

    #[test]
    fn a_ring_stays_small_however_long_it_is_used() {
        let mut ring = Ring::default();
        for minute in 0..100_000 {
            ring.count(1, Timestamp(minute * MINUTE_MS));
        }
        assert!(ring.encode().len() < 1_000, "{}", ring.encode().len());
        assert_eq!(Ring::decode(&ring.encode()), ring);
    }
}
