//! From the scan to the company number, and all the ways in which a session ends without a deposit.

use super::*;

#[test]
fn a_charge_begins_with_the_scan() {
    let (flow, begun) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    assert_eq!(flow.standing(), Standing::WaitingForUser);
    let Act::Show(Show::Form(fields)) = begun.effect("scan") else { panic!("{begun:?}") };
    assert_eq!(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["session"]);
}

#[test]
fn only_yen_and_only_whole_notes_can_be_charged() {
    let code = |at_most| Flow::begin(NOON, &settings(), &pretend::request(at_most, &[])).err().unwrap().code;
    assert_eq!(code(Money::new(1_000_000, "USD")), "currency_not_supported");
    assert_eq!(code(Money::yen(999)), "amount_too_small");
    assert_eq!(code(Money::yen(-1_000)), "amount_too_small");
}

#[test]
fn a_scanned_session_is_expected_approved_and_timed() {
    let (mut flow, _) = Flow::begin(NOON, &settings(), &request(30_500)).unwrap();
    flow.wait_ms(1_000);
    let taken = flow.form("scan", &[("session", "KOBAN-ATM:s-1".into())]).unwrap();
    assert_eq!(taken.standing, Standing::WaitingForPartner);
    assert_eq!(taken.effect("calls"), &Act::Expect("s-1".into()));
    assert_eq!(taken.effect("expiry"), &Act::Timer(NOON + 301_000));
    let Act::Http(approve) = taken.effect("approve") else { panic!("{taken:?}") };
    assert_eq!((approve.endpoint.as_str(), approve.operation.as_str()), ("network", "approve"));
    let expected =
        json!({"session": "s-1", "company_number": "4321", "max_amount": 30_000, "expires_at": NOON + 301_000});
    assert_eq!(body(&HttpAnswer { status: 200, headers: vec![], body: approve.body.clone() }), expected);
}

#[test]
fn the_maximum_is_the_least_of_authorisation_and_channel_limit_in_whole_notes() {
    for (at_most, kind, expected) in [
        (30_999, "prepaid", 30_000),
        (900_000, "prepaid", 100_000),
        (900_000, "funds", 500_000),
        (900_000, "unheard-of", 100_000),
    ] {
        let request = pretend::request(Money::yen(at_most), &[Named::new("account.kind", kind)]);
        let (mut flow, _) = Flow::begin(NOON, &settings(), &request).unwrap();
        let taken = flow.form("scan", &[("session", "s-1".into())]).unwrap();
        let Act::Http(approve) = taken.effect("approve") else { panic!("{taken:?}") };
        let body: Json = HttpAnswer { status: 0, headers: vec![], body: approve.body.clone() }.read().unwrap();
        assert_eq!(body["max_amount"], expected, "{at_most} {kind}");
    }
}

#[test]
fn a_session_typed_without_its_prefix_is_taken_too() {
    let (mut flow, _) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    let taken = flow.form("scan", &[("session", " s-1 ".into())]).unwrap();
    assert_eq!(taken.effect("calls"), &Act::Expect("s-1".into()));
}

#[test]
fn a_third_scan_of_something_else_ends_the_charge() {
    let (mut flow, _) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    for (form, next) in [("scan", "scan-2"), ("scan-2", "scan-3")] {
        let taken = flow.form(form, &[("session", "https://example.com/".into())]).unwrap();
        assert_eq!(taken.standing, Standing::WaitingForUser);
        assert!(matches!(taken.effect(next), Act::Show(Show::Form(_))));
    }
    let taken = flow.form("scan-3", &[]).unwrap();
    assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("session_invalid")));
}

#[test]
fn an_approved_session_shows_the_company_number() {
    let taken = scanned().answer("approve", 200, &ok()).unwrap();
    assert_eq!(taken.standing, Standing::WaitingForUser);
    assert_eq!(taken.effect("company-number"), &Act::Show(Show::Code("4321".into())));
}

#[test]
fn what_is_shown_goes_when_it_is_no_longer_true() {
    let taken = call(&mut approved(), "deposit", &cash("7", 10_000));
    let gone = |taken: &Taken, key: &str| taken.effects.iter().any(|effect| effect.act == Act::Cancel(key.into()));
    assert!(gone(&taken, "enter-number") && gone(&taken, "company-number"));
    let (mut flow, _) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    flow.form("scan", &[("session", "?".into())]).unwrap();
    assert!(gone(&flow.form("scan-2", &[("session", "s-1".into())]).unwrap(), "scan-2-why"));
    let mut unclear = scanned();
    unclear.lost("approve", Lost::Unknown).unwrap();
    assert!(gone(&unclear.ring("expiry").unwrap(), "checking"));
}

#[test]
fn a_session_that_the_network_refuses_ends_the_charge() {
    for (status, answer) in [(200, refused("closed")), (400, json!("what?")), (404, json!({}))] {
        let taken = scanned().answer("approve", status, &answer).unwrap();
        assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("approval_refused")), "{status}");
    }
    let taken = scanned().lost("approve", Lost::Refused).unwrap();
    assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("approval_refused")));
}

#[test]
fn without_a_clear_answer_the_charge_is_checking_and_a_deposit_still_counts() {
    for lost in [Lost::Unknown, Lost::NotSent, Lost::BadSignature] {
        let mut flow = scanned();
        assert_eq!(flow.lost("approve", lost).unwrap().standing, Standing::Checking);
        says(&call(&mut flow, "deposit", &cash("7", 10_000)), ok(), Standing::Done);
        assert_eq!(flow.credited_minor(), 10_000);
    }
    for (status, answer) in [(500, ok()), (200, json!({"result": "perhaps"})), (200, json!([])), (302, ok())] {
        let taken = scanned().answer("approve", status, &answer).unwrap();
        assert_eq!((taken.standing, taken.code()), (Standing::Checking, None), "{status}");
    }
}

#[test]
fn a_session_that_another_charge_has_used_ends_this_one() {
    let taken = scanned().lost("calls", Lost::Refused).unwrap();
    assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("session_used")));
}

#[test]
fn a_session_expires_when_nothing_came_in_time() {
    let unclear = || {
        let mut flow = scanned();
        flow.lost("approve", Lost::Unknown).unwrap();
        flow
    };
    for mut flow in [scanned(), approved(), unclear()] {
        let taken = flow.ring("expiry").unwrap();
        assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("session_expired")));
    }
}

#[test]
fn a_session_that_the_atm_ends_ends_the_charge_once() {
    let ended = json!({"session": "s-1", "reason": "three wrong numbers"});
    let mut flow = approved();
    let taken = call(&mut flow, "session-ended", &ended);
    says(&taken, ok(), Standing::Failed);
    assert_eq!(taken.code(), Some("session_ended"));
    let again = call(&mut flow, "session-ended", &ended);
    says(&again, ok(), Standing::Failed);
    assert_eq!(again.code(), None);
    says(&call(&mut done(), "session-ended", &ended), ok(), Standing::Done);
}

#[test]
fn a_charge_can_be_cancelled_until_a_deposit_came() {
    let (begun, _) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    for mut flow in [begun, scanned(), approved()] {
        assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::Cancelled);
    }
    assert_eq!(done().ask_to_cancel().unwrap().standing, Standing::Done);
}

#[test]
fn a_late_answer_changes_nothing_about_a_final_charge() {
    let mut flow = scanned();
    call(&mut flow, "deposit", &cash("7", 10_000));
    let answer = koban_sdk::flow::What::Answer(HttpAnswer::json(200, &refused("closed")));
    assert_eq!(flow.resume("approve", answer).unwrap().standing, Standing::Done);
}
