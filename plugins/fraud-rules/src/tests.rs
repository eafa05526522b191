//! One sentence for each rule. Each test changes one thing about a harmless payment at noon and looks at verdict, score and reasons.

use koban_sdk::assess::{Payment, Signal, Verdict};
use koban_sdk::{Assess, Money, Named, Plugin, Settings, Values, pretend};

use crate::FraudRules;
use crate::settings::Limits;

/// 2026-04-01 12:00 in Japan.
const NOON: u64 = 1_775_012_400_000;
const HOUR_MS: u64 = 3_600_000;

struct Case {
    now: u64,
    amount: Money,
    facts: Vec<Named>,
    signals: Vec<Signal>,
    settings: Vec<Named>,
}

/// 1,280 yen at noon, with the settings that plugin.toml gives by default.
fn harmless() -> Case {
    let settings = vec![
        Named::new("amount_high", Money::yen(50_000)),
        Named::new("amount_limit", Money::yen(300_000)),
        Named::new("user_10m_count", 10),
        Named::new("user_1d_sum", Money::yen(500_000)),
        Named::new("merchant_10m_count", 3_000),
        Named::new("device_1h_count", 30),
        Named::new("new_payee_amount", Money::yen(30_000)),
        Named::new("night_amount", Money::yen(20_000)),
        Named::new("night_from", 0),
        Named::new("night_to", 6),
        Named::new("step_up_from", 300),
        Named::new("review_from", 600),
        Named::new("decline_from", 900),
    ];
    Case { now: NOON, amount: Money::yen(1_280), facts: vec![], signals: vec![], settings }
}

impl Case {
    fn at(mut self, now: u64) -> Case {
        self.now = now;
        self
    }

    fn paying(mut self, amount: Money) -> Case {
        self.amount = amount;
        self
    }

    fn yen(self, minor: i64) -> Case {
        self.paying(Money::yen(minor))
    }

    fn fact(mut self, fact: Named) -> Case {
        self.facts.push(fact);
        self
    }

    fn signal(mut self, name: &str, count: u64, sum: Money) -> Case {
        self.signals.push(Signal { name: name.into(), window_s: 600, count, sum });
        self
    }

    /// A setting in place of its default, or one more item of a list.
    fn with(mut self, setting: Named) -> Case {
        if !setting.name.starts_with("deny_") {
            self.settings.retain(|named| named.name != setting.name);
        }
        self.settings.push(setting);
        self
    }

    fn limits(&self) -> Limits {
        Limits::read(&self.settings).unwrap_or_else(|failures| panic!("{failures:?}"))
    }

    #[track_caller]
    fn check(self, expected: &str) {
        let payment = Payment { id: "p".into(), kind: "payment".into(), amount: self.amount.clone(), at: self.now };
        let ctx = pretend::context(self.now);
        let answer = FraudRules::assess(&ctx, &self.limits(), &payment, Values(&self.facts), &self.signals).unwrap();
        let reasons: Vec<String> =
            answer.reasons.iter().map(|reason| format!(" {}:{}", reason.code, reason.weight)).collect();
        let verdict = match answer.verdict {
            Verdict::Allow => "Allow",
            Verdict::StepUp => "StepUp",
            Verdict::Review => "Review",
            Verdict::Decline => "Decline",
        };
        assert_eq!(format!("{verdict} {}{}", answer.score, reasons.concat()), expected);
    }
}

#[test]
fn a_small_payment_at_noon_is_allowed() {
    harmless().check("Allow 0");
    harmless().yen(50_000).check("Allow 0");
}

#[test]
fn a_high_amount_asks_for_a_step_up_and_one_over_the_limit_is_declined() {
    harmless().yen(50_001).check("StepUp 400 amount_high:400");
    harmless().yen(300_000).check("StepUp 400 amount_high:400");
    harmless().yen(300_001).check("Decline 1000 amount_over_limit:1000");
}

#[test]
fn an_amount_that_no_limit_can_judge_asks_for_a_step_up() {
    harmless().paying(Money::new(1, "USD")).check("StepUp 400 currency_without_limit:400");
}

#[test]
fn a_user_who_pays_too_often_is_asked_to_step_up() {
    harmless().signal("user_10m", 9, Money::yen(9)).check("Allow 0");
    harmless().signal("user_10m", 10, Money::yen(10)).check("StepUp 400 user_count_high:400");
    harmless().signal("user_10m", u64::MAX, Money::yen(10)).check("StepUp 400 user_count_high:400");
}

#[test]
fn a_user_who_pays_too_much_in_a_day_is_asked_to_step_up() {
    harmless().signal("user_1d", 3, Money::yen(498_720)).check("Allow 0");
    harmless().signal("user_1d", 3, Money::yen(498_721)).check("StepUp 300 user_sum_high:300");
    harmless().signal("user_1d", 3, Money::yen(i64::MAX)).check("StepUp 300 user_sum_high:300");
}

#[test]
fn a_busy_merchant_alone_stops_nobody_but_weighs() {
    harmless().signal("merchant_10m", 2_999, Money::yen(1)).check("Allow 0");
    harmless().signal("merchant_10m", 3_000, Money::yen(1)).check("Allow 200 merchant_count_high:200");
}

#[test]
fn a_device_that_pays_too_often_is_asked_to_step_up() {
    harmless().signal("device_1h", 29, Money::yen(1)).check("Allow 0");
    harmless().signal("device_1h", 30, Money::yen(1)).check("StepUp 350 device_count_high:350");
}

#[test]
fn a_new_payee_weighs_only_with_a_high_amount() {
    let first = || harmless().fact(Named::new("payee.first_time", true));
    first().yen(30_000).check("Allow 0");
    first().yen(30_001).check("Allow 250 new_payee_amount:250");
    harmless().fact(Named::new("payee.first_time", false)).yen(30_001).check("Allow 0");
}

#[test]
fn night_weighs_only_with_a_high_amount_and_ends_at_six_in_japan() {
    let (midnight, before_six, six) = (NOON + 12 * HOUR_MS, NOON + 18 * HOUR_MS - 1, NOON + 18 * HOUR_MS);
    harmless().at(midnight).yen(20_001).check("Allow 150 night_amount:150");
    harmless().at(midnight).yen(20_000).check("Allow 0");
    harmless().at(before_six).yen(20_001).check("Allow 150 night_amount:150");
    harmless().at(six).yen(20_001).check("Allow 0");
    harmless().at(midnight - 1).yen(20_001).check("Allow 0");
}

#[test]
fn a_night_may_begin_before_midnight_or_not_exist() {
    let late = || harmless().with(Named::new("night_from", 22)).yen(20_001);
    late().at(NOON + 10 * HOUR_MS).check("Allow 150 night_amount:150");
    late().at(NOON + 13 * HOUR_MS).check("Allow 150 night_amount:150");
    late().at(NOON).check("Allow 0");
    harmless().with(Named::new("night_to", 0)).yen(20_001).at(NOON + 12 * HOUR_MS).check("Allow 0");
}

#[test]
fn what_is_on_the_deny_list_is_declined() {
    let listed = |list: &str| harmless().with(Named::new(list, "other")).with(Named::new(list, "7995"));
    listed("deny_devices").fact(Named::new("device.id", "7995")).check("Decline 1000 denied_device:1000");
    listed("deny_devices").fact(Named::new("device.id", "mine")).check("Allow 0");
    listed("deny_devices").check("Allow 0");
    listed("deny_categories").fact(Named::new("merchant.category", "7995")).check("Decline 1000 denied_category:1000");
}

#[test]
fn points_add_up_to_a_review_and_to_a_decline_but_never_above_a_thousand() {
    let suspicious = || harmless().yen(60_000).fact(Named::new("payee.first_time", true));
    suspicious().check("Review 650 amount_high:400 new_payee_amount:250");
    suspicious()
        .at(NOON + 12 * HOUR_MS)
        .signal("user_1d", 1, Money::yen(490_000))
        .check("Decline 1000 amount_high:400 user_sum_high:300 new_payee_amount:250 night_amount:150");
}

#[test]
fn a_band_above_the_highest_score_is_switched_off() {
    harmless().with(Named::new("decline_from", 1_001)).yen(300_001).check("Review 1000 amount_over_limit:1000");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let case = harmless().with(Named::new("amount_limit", Money::yen(1))).with(Named::new("review_from", 1));
    let messages = FraudRules::check_settings(&case.limits()).unwrap_err();
    let messages: Vec<&str> = messages.iter().map(|failure| failure.message.as_str()).collect();
    assert_eq!(
        messages,
        ["amount_high must be at most amount_limit", "step_up_from, review_from and decline_from must go up"]
    );
    assert_eq!(FraudRules::check_settings(&harmless().limits()), Ok(()));
}
