//! Where the network's calls go, and what they are told when no flow ever expected them.

use koban_sdk::flow::{Delivery, Routing};

use super::*;

#[track_caller]
fn delivery(operation: &str, body: &Json) -> Delivery {
    match pretend::route::<ChargeAtm>(NOON, &settings(), operation, &meant(operation, body)).unwrap() {
        Routing::Deliver(delivery) => delivery,
        other => panic!("not delivered but {other:?}"),
    }
}

fn body_of(answer: &HttpAnswer) -> (u16, Json) {
    (answer.status, body(answer))
}

#[test]
fn a_deposit_that_nobody_expected_is_refused() {
    let delivery = delivery("deposit", &cash("7", 10_000));
    assert_eq!((delivery.correlation.as_str(), delivery.tombstone), ("s-1", None));
    assert_eq!(body_of(&delivery.otherwise), (200, refused("unknown_session")));
}

#[test]
fn a_reversal_that_nobody_expected_is_in_order_and_kills_its_deposit() {
    let delivery = delivery("reversal", &cash("7", 10_000));
    assert_eq!(delivery.tombstone.as_deref(), Some("A-17/2026-04-01/7"));
    assert_eq!(body_of(&delivery.otherwise), (200, ok()));
}

#[test]
fn the_end_of_a_session_that_nobody_expected_is_in_order() {
    let delivery = delivery("session-ended", &json!({"session": "s-1", "reason": "x"}));
    assert_eq!((delivery.correlation.as_str(), delivery.tombstone), ("s-1", None));
    assert_eq!(body_of(&delivery.otherwise), (200, ok()));
}

#[test]
fn what_cannot_be_read_is_answered_at_once_with_400_and_the_reason() {
    let with = |name: &str, value: Json| {
        let mut body = cash("7", 10_000);
        body[name] = value;
        body
    };
    for (operation, body) in [
        ("deposit", json!("hello")),
        ("deposit", json!({})),
        ("deposit", with("amount", json!("10000"))),
        ("deposit", with("amount", json!(10_000.5))),
        ("deposit", with("amount", json!(0))),
        ("deposit", with("amount", json!(-1_000))),
        ("deposit", with("session", json!(""))),
        ("deposit", with("session", json!("s 1"))),
        ("deposit", with("serial", json!("7/8"))),
        ("reversal", with("atm_id", json!("あ"))),
        ("reversal", with("business_date", json!("2026/04/01"))),
        ("reversal", with("serial", json!("1".repeat(33)))),
        ("session-ended", json!({"session": "s".repeat(65)})),
        ("session-ended", json!({"reason": "x"})),
        ("withdraw", cash("7", 10_000)),
    ] {
        match pretend::route::<ChargeAtm>(NOON, &settings(), operation, &meant(operation, &body)).unwrap() {
            Routing::Answer(answer) => {
                assert_eq!((answer.status, &body_of(&answer).1["result"]), (400, &json!("malformed")))
            }
            other => panic!("{operation} {body} became {other:?}"),
        }
    }
}

#[test]
fn a_body_that_was_signed_for_another_operation_is_not_taken() {
    for (signed, called) in [("deposit", "reversal"), ("reversal", "deposit"), ("session-ended", "deposit")] {
        let body = meant(signed, &cash("7", 10_000));
        match pretend::route::<ChargeAtm>(NOON, &settings(), called, &body).unwrap() {
            Routing::Answer(answer) => assert_eq!(answer.status, 400),
            other => panic!("{signed} as {called} became {other:?}"),
        }
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    use koban_sdk::{Plugin, Settings};
    let mut settings = settings();
    assert_eq!(ChargeAtm::check_settings(&Settings::read(&settings).unwrap()), Ok(()));
    settings[1] = Named::new("max_prepaid", Money::yen(600_000));
    let failures = ChargeAtm::check_settings(&Settings::read(&settings).unwrap()).unwrap_err();
    assert_eq!(failures[0].message, "max_prepaid must be at most max_funds");
}
