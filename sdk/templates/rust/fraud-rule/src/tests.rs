//! The rule, a sentence each, on both sides of every limit. Native: `cargo test` needs no Koban.

use koban_sdk::pretend;

use super::*;

#[track_caller]
fn check(yen: i64, is_first: Option<bool>, expected: Verdict) {
    let payment = Payment { id: "p".into(), kind: "payment".into(), amount: Money::yen(yen), at: 0 };
    let facts: Vec<Named> = is_first.into_iter().map(|is_first| Named::new("payee.first_time", is_first)).collect();
    let limits = Limits::read(&[Named::new("most", Money::yen(10_000))]).unwrap();
    let answer = MyPlugin::assess(&pretend::context(0), &limits, &payment, Values(&facts), &[]).unwrap();
    assert_eq!(answer.verdict, expected);
}

#[test]
fn a_high_first_payment_asks_for_a_step_up() {
    check(10_000, Some(true), Verdict::Allow);
    check(10_001, Some(true), Verdict::StepUp);
}

#[test]
fn a_payee_who_is_known_is_left_alone() {
    check(10_001, Some(false), Verdict::Allow);
    check(10_001, None, Verdict::Allow);
}
