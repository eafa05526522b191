//! What is made of measured times: medians, percentiles, rates and ratios. The only room for floats, and none of them is money.

#![expect(clippy::float_arithmetic, reason = "rates and ratios of measurements")]

use std::time::Duration;

/// So many in so long, per second.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { wide(count) / seconds } else { 0.0 }
}

/// One by another; zero where there is nothing to divide by.
pub(super) fn ratio(of: f64, by: f64) -> f64 {
    if by > 0.0 { of / by } else { 0.0 }
}

/// A rate of requests as a rate of what they bring, so many each.
pub(super) fn times(rate: f64, each: u32) -> f64 {
    rate * f64::from(each)
}

/// How much of the first the second lacks, in percent; negative if it has more.
pub(super) fn lacking_percent(whole: f64, rest: f64) -> f64 {
    if whole > 0.0 { (1.0 - rest / whole) * 100.0 } else { 0.0 }
}

/// The middle one; of an even number, the greater of the two in the middle. Zero of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// So many nanoseconds shared by so many, in microseconds.
pub(super) fn share_us(nanoseconds: u64, count: u64) -> f64 {
    if count > 0 { wide(nanoseconds) / 1_000.0 / wide(count) } else { 0.0 }
}

/// So much for each of so many; zero of none.
pub(super) fn share(of: u64, count: u64) -> f64 {
    if count > 0 { wide(of) / wide(count) } else { 0.0 }
}

/// What is left of a whole without its parts; measured apart, they may add up to more, and then nothing is left.
pub(super) fn less(whole: f64, parts: impl Iterator<Item = f64>) -> f64 {
    (whole - parts.sum::<f64>()).max(0.0)
}

/// Rounded to two digits behind the point, as rows show it.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Rounded to a whole number, nothing below zero: what a bar is as long as.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates and times, far below 2^53")]
pub(super) fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

/// Latencies in microseconds, sorted once, read often.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies(Vec<u32>);

impl Latencies {
    /// Of these measurements, in any order.
    pub(super) fn of(mut us: Vec<u32>) -> Latencies {
        us.sort_unstable();
        Latencies(us)
    }

    /// The least time that so many of a thousand did not exceed; zero of none.
    pub(super) fn at_permille(&self, permille: usize) -> u32 {
        let place = (self.0.len() * permille).div_ceil(1_000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or(0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
fn wide(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these figures are rounded to values that floats hold exactly")]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_times_and_not_made_up_between_them() {
        let latencies = Latencies::of((1..=1_000).rev().collect());
        assert_eq!([500, 990, 999].map(|permille| latencies.at_permille(permille)), [500, 990, 999]);
        assert_eq!(Latencies::of(vec![7]).at_permille(999), 7);
        assert_eq!(Latencies::default().at_permille(500), 0);
    }

    #[test]
    fn a_median_is_not_moved_by_one_disturbed_run() {
        assert_eq!(rounded(median([10.0, 2.0, 11.0])), 10.0);
        assert_eq!(rounded(median([])), 0.0);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(rounded(per_second(5, Duration::ZERO)), 0.0);
        assert_eq!(rounded(ratio(5.0, 0.0)), 0.0);
        assert_eq!(rounded(share_us(5, 0)), 0.0);
        assert_eq!(rounded(per_second(30, Duration::from_millis(1_500))), 20.0);
        assert_eq!(rounded(less(10.0, [4.0, 8.0].into_iter())), 0.0);
        assert_eq!(rounded(lacking_percent(20.0, 15.0)), 25.0);
    }
}
