//! Hold, form, one transfer; and what happens when the answer is lost.

use koban_sdk::withdraw::Request;

use super::*;

const FORM: [(&str, &str); 4] = [("bank", "0005"), ("branch", "123"), ("account", "7654321"), ("name", "ハナ")];

fn request(amount: i64, at_most: i64) -> Request {
    Request {
        wallet: "w".into(),
        amount: Money::yen(amount),
        at_most: Money::yen(at_most),
        link: None,
        facts: Vec::new(),
    }
}

fn begun() -> (Flow, Taken) {
    Flow::begin_withdraw(NOON, &settings(), &request(10_000, 10_216)).unwrap()
}

/// A withdrawal that the bank is being asked for.
fn asked() -> Flow {
    let (mut flow, _) = begun();
    let form = FORM.map(|(name, value)| (name, text(value)));
    let taken = flow.form("payee", &form).unwrap();
    assert_eq!((taken.standing, flow.held_minor()), (Standing::WaitingForPartner, 10_216));
    let Act::Http(call) = taken.effect("transfer") else { panic!("{taken:?}") };
    let body = String::from_utf8(call.body.clone()).unwrap();
    assert!(body.contains(r#""account":"7654321""#) && body.contains(r#""amount":10000"#), "{body}");
    flow
}

fn done(receipt: &str) -> Json {
    json!({ "result": "done", "receipt": receipt })
}

#[test]
fn a_withdrawal_holds_amount_and_fee_and_is_captured_when_the_bank_has_done_it() {
    let (flow, begun) = begun();
    assert_eq!((begun.standing, flow.held_minor()), (Standing::WaitingForUser, 10_216));
    let mut flow = asked();
    let ended = flow.answer("transfer", 200, &done("B-1")).unwrap();
    assert_eq!((ended.standing, flow.held_minor(), flow.captured_minor()), (Standing::Done, 0, 10_216));
}

#[test]
fn another_fee_than_the_one_agreed_to_is_said_at_once() {
    for at_most in [10_000, 10_215, 10_217] {
        let refused = Flow::begin_withdraw(NOON, &settings(), &request(10_000, at_most)).err().unwrap();
        assert_eq!((refused.code.as_str(), refused.message.contains("216")), ("fee_differs", true));
    }
    let most = Flow::begin_withdraw(NOON, &settings(), &request(i64::MAX, i64::MAX)).err().unwrap();
    assert_eq!(most.code, "fee_differs");
}

#[test]
fn until_the_bank_is_asked_its_owner_may_still_stop_it() {
    let (mut flow, _) = begun();
    let ended = flow.ask_to_cancel().unwrap();
    assert_eq!((ended.standing, flow.held_minor()), (Standing::Cancelled, 0));
    let mut flow = asked();
    assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::WaitingForPartner);
    assert_eq!(flow.held_minor(), 10_216);
}

#[test]
fn what_the_bank_refuses_or_never_heard_costs_nothing() {
    let mut flow = asked();
    let failed = flow.answer("transfer", 200, &json!({ "result": "refused", "reason": "no_such_account" })).unwrap();
    assert_eq!((failed.code(), flow.held_minor()), (Some("refused_by_bank"), 0));
    for lost in [Lost::NotSent, Lost::Refused] {
        let mut flow = asked();
        assert_eq!(flow.lost("transfer", lost).unwrap().code(), Some("not_sent"));
        assert_eq!(flow.held_minor(), 0);
    }
}

/// A withdrawal of which nobody knows whether it was done; the bank is being asked.
fn unsure() -> Flow {
    let mut flow = asked();
    let taken = flow.lost("transfer", Lost::Unknown).unwrap();
    assert_eq!((taken.standing, flow.held_minor()), (Standing::Checking, 10_216));
    assert!(matches!(taken.effect("status-1"), Act::Http(call) if call.operation == "status"));
    flow
}

#[test]
fn a_lost_answer_is_asked_after_and_never_asked_for_again() {
    let mut flow = unsure();
    let ended = flow.answer("status-1", 200, &done("B-1")).unwrap();
    assert_eq!((ended.standing, flow.captured_minor()), (Standing::Done, 10_216));
    let mut flow = unsure();
    let taken = flow.answer("status-1", 200, &json!({ "result": "unknown" })).unwrap();
    assert!(matches!(taken.effect("cancel-1"), Act::Http(call) if call.operation == "cancel"));
    let failed = flow.answer("cancel-1", 200, &json!({ "result": "cancelled" })).unwrap();
    assert_eq!((failed.code(), flow.held_minor()), (Some("taken_back"), 0));
    let mut flow = unsure();
    flow.answer("status-1", 200, &json!({ "result": "unknown" })).unwrap();
    let ended = flow.answer("cancel-1", 200, &done("B-1")).unwrap();
    assert_eq!((ended.standing, flow.captured_minor()), (Standing::Done, 10_216), "it came meanwhile");
}

#[test]
fn a_bank_that_does_not_answer_is_asked_again_after_pauses_that_grow() {
    let mut flow = unsure();
    let mut pauses = Vec::new();
    let mut now = NOON;
    for round in 1..=10 {
        let waits = flow.lost(&format!("status-{round}"), Lost::Unknown).unwrap();
        let Act::Timer(at) = waits.effect(&format!("ask-{round}")) else { panic!("{waits:?}") };
        pauses.push((at - now) / 1_000);
        now = *at;
        flow.ring(&format!("ask-{round}")).unwrap();
    }
    assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    assert_eq!(flow.held_minor(), 10_216, "whatever happens, the money stays held");
}

#[test]
fn an_answer_that_says_nothing_clear_decides_nothing() {
    for (status, body) in [
        (500, json!({ "result": "busy" })),
        (503, done("B-1")),
        (200, json!({ "result": "perhaps" })),
        (200, json!({ "result": "done" })),
    ] {
        let mut flow = asked();
        let waits = flow.answer("transfer", status, &body).unwrap();
        assert_eq!((waits.standing, flow.held_minor()), (Standing::Checking, 10_216), "{status} {body}");
        assert!(matches!(waits.effect("ask-0"), Act::Timer(_)));
    }
}

#[test]
fn a_capture_that_the_ledger_refuses_needs_an_operator() {
    let mut flow = asked();
    flow.refuse_next("reference_used");
    assert_eq!(flow.answer("transfer", 200, &done("B-1")).unwrap_err().code, "capture_refused");
}
