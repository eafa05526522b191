//! The first payment to somebody new asks for a step-up when it is high.

use koban_sdk::assess::{Answer, Payment, Signal, Verdict};
use koban_sdk::{Assess, Context, Failure, Money, Named, Plugin, Reader, Settings, Values};

#[cfg(test)]
mod tests;

/// The plugin: a name for the traits below.
pub struct MyPlugin;

koban_sdk::fraud_rule!(MyPlugin);

/// What an operator may set; plugin.toml says what each means and its bounds.
pub struct Limits {
    /// A first payment above this asks for a step-up.
    pub most: Money,
}

impl Settings for Limits {
    fn read(list: &[Named]) -> Result<Limits, Vec<Failure>> {
        let mut read = Reader::of(list);
        let limits = Limits { most: read.one("most") };
        read.finish(limits)
    }
}

impl Plugin for MyPlugin {
    type Settings = Limits;
}

impl Assess for MyPlugin {
    /// The rule. It sees nothing but its arguments, so the same payment always gets the same verdict.
    fn assess(
        _ctx: &Context,
        limits: &Limits,
        payment: &Payment,
        facts: Values<'_>,
        _signals: &[Signal],
    ) -> Result<Answer, Failure> {
        // A fact may be missing: decide what that means.
        let is_first = facts.get("payee.first_time").unwrap_or(false);
        if is_first && !payment.amount.is_at_most(&limits.most) {
            return Ok(Answer::new(Verdict::StepUp, 500).because("first_payment_high", 500));
        }
        Ok(Answer::allow())
    }
}
