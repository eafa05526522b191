//! Hold, call, capture or release; and what happens when the answer is lost.

use super::*;

#[test]
fn a_bill_is_held_paid_and_captured_with_the_fee() {
    let (mut flow, begun) = begun();
    assert_eq!((flow.held_minor(), begun.standing), (12_910, Standing::WaitingForPartner));
    assert!(matches!(begun.effect("pay"), Act::Http(call) if call.operation == "pay"));
    let done = flow.answer("pay", 200, &paid("C-1")).unwrap();
    assert_eq!((done.standing, flow.held_minor(), flow.captured_minor()), (Standing::Done, 0, 12_910));
}

#[test]
fn what_the_collector_refuses_costs_nothing_and_says_why() {
    for (reason, text) in [("already_paid", "already-paid"), ("slip_invalid", "refused-by-collector")] {
        let (mut flow, _) = begun();
        let failed = flow.answer("pay", 200, &json!({ "result": "refused", "reason": reason })).unwrap();
        assert_eq!((failed.standing, failed.code()), (Standing::Failed, Some("refused_by_collector")));
        assert_eq!(failed.note.unwrap().text.as_deref(), Some(text));
        assert_eq!((flow.held_minor(), flow.captured_minor()), (0, 0));
    }
}

#[test]
fn what_never_left_the_host_costs_nothing() {
    for lost in [Lost::NotSent, Lost::Refused] {
        let (mut flow, _) = begun();
        assert_eq!(flow.lost("pay", lost).unwrap().code(), Some("not_sent"));
        assert_eq!(flow.held_minor(), 0);
    }
}

/// A payment of which nobody knows whether it happened; the collector is being asked.
fn unsure() -> Flow {
    let (mut flow, _) = begun();
    let taken = flow.lost("pay", Lost::Unknown).unwrap();
    assert_eq!((taken.standing, flow.held_minor()), (Standing::Checking, 12_910));
    assert!(matches!(taken.effect("status-1"), Act::Http(call) if call.operation == "status"));
    assert_eq!(taken.effect("checking"), &Act::Show(Show::Text("checking".into())));
    flow
}

#[test]
fn a_lost_answer_is_asked_after_and_never_asked_for_again() {
    let mut flow = unsure();
    let done = flow.answer("status-1", 200, &paid("C-1")).unwrap();
    assert_eq!((done.standing, flow.captured_minor()), (Standing::Done, 12_910));
    assert!(done.effects.is_empty());
    let mut flow = unsure();
    let failed = flow.answer("status-1", 200, &json!({ "result": "refused", "reason": "x" })).unwrap();
    assert_eq!((failed.standing, flow.held_minor()), (Standing::Failed, 0));
}

#[test]
fn a_payment_that_never_came_is_taken_back_before_the_money_is_let_go() {
    let mut flow = unsure();
    let taken = flow.answer("status-1", 200, &json!({ "result": "unknown" })).unwrap();
    assert_eq!((taken.standing, flow.held_minor()), (Standing::Checking, 12_910));
    assert!(matches!(taken.effect("cancel-1"), Act::Http(call) if call.operation == "cancel"));
    let failed = flow.answer("cancel-1", 200, &json!({ "result": "cancelled" })).unwrap();
    assert_eq!((failed.code(), flow.held_minor()), (Some("taken_back"), 0));
}

#[test]
fn a_payment_that_came_while_it_was_taken_back_is_paid() {
    let mut flow = unsure();
    flow.answer("status-1", 200, &json!({ "result": "unknown" })).unwrap();
    let done = flow.answer("cancel-1", 200, &paid("C-1")).unwrap();
    assert_eq!((done.standing, flow.captured_minor()), (Standing::Done, 12_910));
}

#[test]
fn a_collector_that_does_not_answer_is_asked_again_after_pauses_that_grow() {
    let mut flow = unsure();
    let mut pauses = Vec::new();
    let mut now = NOON;
    for round in 1..=12 {
        let waits = flow.lost(&format!("status-{round}"), Lost::Unknown).unwrap();
        let Act::Timer(at) = waits.effect(&format!("ask-{round}")) else { panic!("{waits:?}") };
        pauses.push((at - now) / 1_000);
        now = *at;
        let asked = flow.ring(&format!("ask-{round}")).unwrap();
        assert!(matches!(asked.effect(&format!("status-{}", round + 1)), Act::Http(_)));
    }
    assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
    assert_eq!(flow.held_minor(), 12_910, "whatever happens, the money stays held");
}

#[test]
fn a_lost_taking_back_begins_with_the_question_again() {
    let mut flow = unsure();
    flow.answer("status-1", 200, &json!({ "result": "unknown" })).unwrap();
    flow.lost("cancel-1", Lost::Unknown).unwrap();
    let asked = flow.ring("ask-1").unwrap();
    assert!(matches!(asked.effect("status-2"), Act::Http(call) if call.operation == "status"));
}

#[test]
fn an_answer_that_says_nothing_clear_decides_nothing() {
    for (status, body) in [
        (500, json!({ "result": "busy" })),
        (503, json!({ "result": "paid", "receipt": "C-1" })),
        (200, json!({ "result": "perhaps" })),
        (200, json!({ "result": "paid" })),
        (200, json!("paid")),
    ] {
        let (mut flow, _) = begun();
        let waits = flow.answer("pay", status, &body).unwrap();
        assert_eq!((waits.standing, flow.held_minor()), (Standing::Checking, 12_910), "{status} {body}");
        assert!(matches!(waits.effect("ask-0"), Act::Timer(_)));
    }
}

#[test]
fn the_user_cannot_stop_what_the_biller_may_have() {
    let (mut flow, _) = begun();
    let stays = flow.ask_to_cancel().unwrap();
    assert_eq!((stays.standing, flow.held_minor()), (Standing::WaitingForPartner, 12_910));
    let mut flow = unsure();
    assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::Checking);
}

#[test]
fn a_capture_that_the_ledger_refuses_needs_an_operator() {
    let (mut flow, _) = begun();
    flow.refuse_next("reference_used");
    let failure = flow.answer("pay", 200, &paid("C-1")).unwrap_err();
    assert_eq!(failure.code, "capture_refused");
}

#[test]
fn another_bill_than_the_one_agreed_to_is_not_begun() {
    let bill = recognise(&scanned(SLIP)).unwrap().unwrap();
    let cheaper = koban_sdk::bill::Bill { amount: Money::yen(1), ..bill };
    let request = pretend::payment(scanned(SLIP), cheaper, &[]);
    assert_eq!(Flow::begin_bill(NOON, &settings(), &request).err().unwrap().code, "bill_differs");
}
