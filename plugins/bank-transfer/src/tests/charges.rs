//! An account number of its own, and the transfer that comes to it.

use koban_sdk::flow::Request;

use super::*;

fn begun() -> (Flow, Taken) {
    let request =
        Request { wallet: "w".into(), amount: None, at_most: Money::yen(50_000), link: None, facts: Vec::new() };
    Flow::begin(NOON, &settings(), &request).unwrap()
}

/// A charge that shows its account number.
fn shown() -> Flow {
    let (mut flow, _) = begun();
    let shown = flow.answer("open", 200, &json!({ "account": "1234567" })).unwrap();
    assert_eq!(shown.standing, Standing::WaitingForUser);
    assert_eq!(shown.effect("account"), &Act::Show(Show::Code("1234567".into())));
    assert_eq!(shown.effect("received"), &Act::Expect("1234567".into()));
    assert_eq!(shown.effect("late"), &Act::Timer(NOON + 30 * 60_000));
    flow
}

fn transfer(yen: i64, reference: &str) -> Json {
    json!({ "operation": "received", "account": "1234567", "reference": reference, "amount": yen })
}

fn result(taken: &Taken) -> String {
    taken.reply_json().1["result"].as_str().unwrap().to_owned()
}

#[test]
fn a_transfer_to_the_account_is_credited_once() {
    let (_, begun) = begun();
    assert!(matches!(begun.effect("open"), Act::Http(call) if call.operation == "open-account"));
    let mut flow = shown();
    let done = flow.partner_calls("received", &transfer(10_000, "B-1")).unwrap();
    assert_eq!((done.standing, flow.credited_minor(), result(&done).as_str()), (Standing::Done, 10_000, "ok"));
    let late = flow.partner_calls("received", &transfer(10_000, "B-2")).unwrap();
    assert_eq!((flow.credited_minor(), result(&late).as_str()), (10_000, "refused"), "the bank sends it back");
}

#[test]
fn what_the_ledger_refuses_goes_back() {
    let mut flow = shown();
    flow.refuse_next("balance_limit");
    let failed = flow.partner_calls("received", &transfer(10_000, "B-1")).unwrap();
    assert_eq!((failed.standing, failed.code()), (Standing::Failed, Some("transfer_refused")));
    assert_eq!((result(&failed).as_str(), flow.credited_minor()), ("refused", 0));
}

#[test]
fn a_charge_that_is_cancelled_or_too_late_credits_nothing() {
    let mut flow = shown();
    assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::Cancelled);
    let late = flow.partner_calls("received", &transfer(10_000, "B-1")).unwrap();
    assert_eq!((flow.credited_minor(), result(&late).as_str()), (0, "refused"));
    let mut flow = shown();
    assert_eq!(flow.ring("late").unwrap().code(), Some("not_received"));
}

#[test]
fn without_an_account_there_is_no_charge() {
    for (status, body) in [(200, json!({ "account": "12" })), (500, json!({ "account": "1234567" })), (200, json!({}))]
    {
        let (mut flow, _) = begun();
        assert_eq!(flow.answer("open", status, &body).unwrap().code(), Some("bank_unavailable"), "{status} {body}");
    }
    let (mut flow, _) = begun();
    assert_eq!(flow.lost("open", Lost::Unknown).unwrap().code(), Some("bank_unavailable"));
    let mut used = shown();
    assert_eq!(used.lost("received", Lost::Refused).unwrap().code(), Some("bank_unavailable"));
}

#[test]
fn a_transfer_that_says_nothing_clear_is_refused_and_others_are_not_expected() {
    let mut flow = shown();
    for yen in [0, -5] {
        let refused = flow.partner_calls("received", &transfer(yen, "B-1")).unwrap();
        assert_eq!((refused.standing, result(&refused).as_str()), (Standing::WaitingForUser, "refused"));
    }
    let routed = pretend::route::<BankTransfer>(NOON, &settings(), "received", &json!({ "amount": 1 })).unwrap();
    assert!(matches!(routed, Routing::Answer(answer) if answer.status == 400));
}

#[test]
fn the_bank_takes_yen_only() {
    let request =
        Request { wallet: "w".into(), amount: None, at_most: Money::new(1_000, "USD"), link: None, facts: Vec::new() };
    assert_eq!(Flow::begin(NOON, &settings(), &request).err().unwrap().code, "currency_not_supported");
}
