//! Fraud rules: each rule that a payment meets weighs some points, and the sum of them decides.

use koban_sdk::assess::{Answer, Payment, Signal, Verdict};
use koban_sdk::{Assess, Context, Failure, Money, Plugin, SETTINGS_INVALID, Values, fraud_rule, time};

use crate::settings::Limits;

mod settings;
#[cfg(test)]
mod tests;

/// The plugin.
pub struct FraudRules;

fraud_rule!(FraudRules);

impl Plugin for FraudRules {
    type Settings = Limits;

    fn check_settings(limits: &Limits) -> Result<(), Vec<Failure>> {
        let mut failures = Vec::new();
        if !limits.amount_high.is_at_most(&limits.amount_limit) {
            failures.push(Failure::new(SETTINGS_INVALID, "amount_high must be at most amount_limit"));
        }
        if limits.step_up_from > limits.review_from || limits.review_from > limits.decline_from {
            failures.push(Failure::new(SETTINGS_INVALID, "step_up_from, review_from and decline_from must go up"));
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

impl Assess for FraudRules {
    fn assess(
        ctx: &Context,
        limits: &Limits,
        payment: &Payment,
        facts: Values<'_>,
        signals: &[Signal],
    ) -> Result<Answer, Failure> {
        let met = [
            denied("denied_device", facts.get("device.id"), &limits.deny_devices),
            denied("denied_category", facts.get("merchant.category"), &limits.deny_categories),
            amount(limits, payment),
            count("user_count_high", 400, signals, "user_10m", limits.user_10m_count),
            sum("user_sum_high", 300, signals, "user_1d", &limits.user_1d_sum, payment),
            count("merchant_count_high", 200, signals, "merchant_10m", limits.merchant_10m_count),
            count("device_count_high", 350, signals, "device_1h", limits.device_1h_count),
            new_payee(limits, payment, facts),
            night(limits, payment, ctx),
        ];
        let met: Vec<Points> = met.into_iter().flatten().collect();
        let score = met.iter().map(|points| points.weight).sum::<u32>().min(1000);
        let answer = Answer::new(verdict(limits, score), score);
        Ok(met.into_iter().fold(answer, |answer, points| answer.because(points.code, points.weight)))
    }
}

/// What a rule adds to the score when a payment meets it.
struct Points {
    code: &'static str,
    weight: u32,
}

fn points(code: &'static str, weight: u32) -> Option<Points> {
    Some(Points { code, weight })
}

fn verdict(limits: &Limits, score: u32) -> Verdict {
    let score = i64::from(score);
    if score >= limits.decline_from {
        Verdict::Decline
    } else if score >= limits.review_from {
        Verdict::Review
    } else if score >= limits.step_up_from {
        Verdict::StepUp
    } else {
        Verdict::Allow
    }
}

fn denied(code: &'static str, who: Option<String>, list: &[String]) -> Option<Points> {
    if list.contains(&who?) { points(code, 1000) } else { None }
}

fn amount(limits: &Limits, payment: &Payment) -> Option<Points> {
    if !payment.amount.is_in(&limits.amount_limit.currency) {
        // Limits are in one currency. An amount that they cannot judge is not harmless.
        return points("currency_without_limit", 400);
    }
    if is_above(&payment.amount, &limits.amount_limit) {
        points("amount_over_limit", 1000)
    } else if is_above(&payment.amount, &limits.amount_high) {
        points("amount_high", 400)
    } else {
        None
    }
}

/// The payment itself is not in the signal: with `most` of them counted before, this is one too many.
fn count(code: &'static str, weight: u32, signals: &[Signal], name: &str, most: i64) -> Option<Points> {
    let signal = signals.iter().find(|signal| signal.name == name)?;
    let fits = i64::try_from(signal.count).is_ok_and(|count| count < most);
    if fits { None } else { points(code, weight) }
}

fn sum(
    code: &'static str,
    weight: u32,
    signals: &[Signal],
    name: &str,
    most: &Money,
    payment: &Payment,
) -> Option<Points> {
    let signal = signals.iter().find(|signal| signal.name == name)?;
    if !payment.amount.is_in(&most.currency) || !signal.sum.is_in(&most.currency) {
        return None; // `amount` has already said what it thinks of another currency
    }
    let fits = signal.sum.plus(&payment.amount).is_some_and(|sum| sum.is_at_most(most));
    if fits { None } else { points(code, weight) }
}

fn new_payee(limits: &Limits, payment: &Payment, facts: Values<'_>) -> Option<Points> {
    let first_time = facts.get("payee.first_time").unwrap_or(false);
    if first_time && is_above(&payment.amount, &limits.new_payee_amount) {
        points("new_payee_amount", 250)
    } else {
        None
    }
}

fn night(limits: &Limits, payment: &Payment, ctx: &Context) -> Option<Points> {
    let hour = time::jst_hour(ctx.now);
    let is_night = if limits.night_from <= limits.night_to {
        (limits.night_from..limits.night_to).contains(&hour)
    } else {
        hour >= limits.night_from || hour < limits.night_to
    };
    if is_night && is_above(&payment.amount, &limits.night_amount) { points("night_amount", 150) } else { None }
}

fn is_above(amount: &Money, limit: &Money) -> bool {
    amount.is_in(&limit.currency) && !amount.is_at_most(limit)
}
