//! More payments in ten minutes than allowed ask for a step-up, twice as many are declined.

use koban_sdk::assess::{Answer, Payment, Signal, Verdict};
use koban_sdk::{Assess, Context, Failure, Named, Plugin, Reader, Settings, Values};

/// The plugin.
pub struct ManyPayments;

koban_sdk::fraud_rule!(ManyPayments);

/// What an operator may set.
pub struct Limits {
    /// How many payments may be made in ten minutes.
    pub most: u64,
}

impl Settings for Limits {
    fn read(list: &[Named]) -> Result<Limits, Vec<Failure>> {
        let mut read = Reader::of(list);
        let most: i64 = read.one("most");
        read.finish(Limits { most: most.unsigned_abs() })
    }
}

impl Plugin for ManyPayments {
    type Settings = Limits;
}

impl Assess for ManyPayments {
    fn assess(_: &Context, limits: &Limits, _: &Payment, _: Values<'_>, signals: &[Signal]) -> Result<Answer, Failure> {
        // Without the signal nothing is known: let pass. The payment in question is not counted yet.
        let made = signals.iter().find(|signal| signal.name == "user_10m").map_or(0, |signal| signal.count);
        let answer = match made {
            made if made < limits.most => return Ok(Answer::allow()),
            made if made < limits.most.saturating_mul(2) => Answer::new(Verdict::StepUp, 500),
            _ => Answer::decline(),
        };
        let weight = answer.score;
        Ok(answer.because("many_payments", weight))
    }
}

#[cfg(test)]
mod tests {
    use koban_sdk::{Money, pretend};

    use super::*;

    #[track_caller]
    fn check(made: Option<u64>, expected: Verdict) {
        let payment = Payment { id: "p".into(), kind: "payment".into(), amount: Money::yen(100), at: 0 };
        let signal = |count| Signal { name: "user_10m".into(), window_s: 600, count, sum: Money::yen(0) };
        let signals: Vec<Signal> = made.into_iter().map(signal).collect();
        let limits = Limits::read(&[Named::new("most", 5)]).unwrap();
        let answer = ManyPayments::assess(&pretend::context(0), &limits, &payment, Values(&[]), &signals).unwrap();
        assert_eq!(answer.verdict, expected);
    }

    #[test]
    fn the_sixth_payment_asks_for_a_step_up_and_the_eleventh_is_declined() {
        check(Some(4), Verdict::Allow);
        check(Some(5), Verdict::StepUp);
        check(Some(9), Verdict::StepUp);
        check(Some(10), Verdict::Decline);
    }

    #[test]
    fn without_the_signal_everybody_may_pass() {
        check(None, Verdict::Allow);
    }
}
