//! The rules of a voucher, a sentence each, over the SDK's pretend host. Native: `cargo test` needs no Koban.

use koban_sdk::Json;
use koban_sdk::pretend::{self, Flow};

use super::*;

fn typed() -> Flow<MyPlugin> {
    let (mut flow, _) = Flow::begin(0, &[], &pretend::request(Money::yen(50_000), &[])).unwrap();
    flow.form("code", &[("code", "GIFT-1".into())]).unwrap();
    flow
}

fn ok() -> Json {
    json!({ "result": "ok", "id": "R-1", "amount": 3_000 })
}

#[test]
fn a_voucher_that_the_issuer_redeems_is_credited() {
    let mut flow = typed();
    let taken = flow.answer("redeem-1", 200, &ok()).unwrap();
    assert_eq!((taken.standing, flow.credited_minor()), (Standing::Done, 3_000));
}

#[test]
fn a_voucher_that_the_issuer_refuses_is_not() {
    for (status, answer) in [(200, json!({ "result": "refused" })), (404, json!({}))] {
        let mut flow = typed();
        let taken = flow.answer("redeem-1", status, &answer).unwrap();
        assert_eq!((taken.standing, taken.code()), (Standing::Failed, Some("voucher_refused")));
    }
}

#[test]
fn without_a_clear_answer_the_issuer_is_asked_again() {
    let mut flow = typed();
    assert_eq!(flow.lost("redeem-1", Lost::Unknown).unwrap().standing, Standing::Checking);
    flow.ring("again-1").unwrap();
    assert_eq!(flow.answer("redeem-2", 200, &ok()).unwrap().standing, Standing::Done);
    assert_eq!(flow.credited_minor(), 3_000);
}

#[test]
fn what_the_ledger_refuses_is_tried_again() {
    let mut flow = typed();
    flow.refuse_next("exposure_cap_reached");
    let taken = flow.answer("redeem-1", 200, &ok()).unwrap();
    assert_eq!((taken.standing, taken.code()), (Standing::Checking, Some("credit_refused")));
}

#[test]
fn only_yen_and_only_before_the_issuer_was_asked() {
    let dollars = pretend::request(Money::new(1_000, "USD"), &[]);
    assert_eq!(Flow::<MyPlugin>::begin(0, &[], &dollars).err().unwrap().code, "currency_not_supported");
    let (mut flow, _) = Flow::<MyPlugin>::begin(0, &[], &pretend::request(Money::yen(1_000), &[])).unwrap();
    assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::Cancelled);
    assert_eq!(typed().ask_to_cancel().unwrap().standing, Standing::WaitingForPartner);
}
