//! The rules of a kiosk charge, a sentence each, over the SDK's pretend host.

use koban_sdk::flow::Lost;
use koban_sdk::pretend::{self, Flow};

use super::*;

fn begun() -> Flow<Kiosk> {
    let request = Request { amount: Some(Money::yen(3_000)), ..pretend::request(Money::yen(3_000), &[]) };
    Flow::begin(0, &[], &request).unwrap().0
}

fn paying() -> Flow<Kiosk> {
    let mut flow = begun();
    flow.answer("number-1", 200, &json!({ "number": "1234-5678" })).unwrap();
    flow
}

fn paid(amount: i64) -> koban_sdk::Json {
    json!({ "operation": "paid", "number": "1234-5678", "receipt": "K-1", "amount": amount })
}

#[test]
fn what_was_paid_is_credited_once() {
    let mut flow = paying();
    for _ in 0..2 {
        let taken = flow.partner_calls("paid", &paid(3_000)).unwrap();
        assert_eq!((taken.reply_json(), taken.standing), ((200, json!({ "result": "ok" })), Standing::Done));
    }
    assert_eq!(flow.credited_minor(), 3_000);
}

#[test]
fn another_amount_is_refused() {
    let mut flow = paying();
    assert_eq!(flow.partner_calls("paid", &paid(2_999)).unwrap().reply_json().1, json!({ "result": "refused" }));
    assert_eq!(flow.credited_minor(), 0);
}

#[test]
fn a_number_is_asked_for_three_times() {
    let mut flow = begun();
    for asked in 1..3 {
        flow.lost(&format!("number-{asked}"), Lost::Unknown).unwrap();
        flow.ring(&format!("again-{asked}")).unwrap();
    }
    assert_eq!(flow.lost("number-3", Lost::NotSent).unwrap().code(), Some("no_number"));
}

#[test]
fn without_an_amount_there_is_no_charge() {
    let failure = Flow::<Kiosk>::begin(0, &[], &pretend::request(Money::yen(3_000), &[])).err().unwrap();
    assert_eq!(failure.code, "amount_missing");
}
