//! The smallest plugin: a rule that says hello in its log and lets everybody pass.

use koban_sdk::assess::{Answer, Payment, Signal};
use koban_sdk::{Assess, Context, Failure, Plugin, Values, log};

/// The plugin.
pub struct Hello;

koban_sdk::fraud_rule!(Hello);

impl Plugin for Hello {
    type Settings = ();
}

impl Assess for Hello {
    fn assess(_: &Context, (): &(), payment: &Payment, _: Values<'_>, _: &[Signal]) -> Result<Answer, Failure> {
        log::info(&format!("hello, {} {}", payment.amount.minor, payment.amount.currency));
        Ok(Answer::allow())
    }
}

#[cfg(test)]
mod tests {
    use koban_sdk::assess::Verdict;
    use koban_sdk::{Money, pretend};

    use super::*;

    #[test]
    fn everybody_may_pass() {
        let payment = Payment { id: "p".into(), kind: "payment".into(), amount: Money::yen(1_280), at: 0 };
        let answer = Hello::assess(&pretend::context(0), &(), &payment, Values(&[]), &[]).unwrap();
        assert_eq!((answer.verdict, answer.reasons.len()), (Verdict::Allow, 0));
    }
}
