//! What a reversal does: after its deposit, before it, without it, and more than once.

use super::*;

#[test]
fn a_reversal_takes_its_deposit_back() {
    let mut flow = done();
    says(&call(&mut flow, "reversal", &cash("7", 10_000)), ok(), Standing::Done);
    assert_eq!(flow.credited_minor(), 0);
}

#[test]
fn a_reversal_sent_again_is_answered_again_and_posted_once() {
    let mut flow = done();
    call(&mut flow, "reversal", &cash("7", 10_000));
    let again = call(&mut flow, "reversal", &cash("7", 10_000));
    says(&again, ok(), Standing::Done);
    assert_eq!(again.proposals, []);
}

#[test]
fn a_deposit_sent_again_after_its_reversal_is_refused() {
    let mut flow = done();
    call(&mut flow, "reversal", &cash("7", 10_000));
    says(&call(&mut flow, "deposit", &cash("7", 10_000)), refused("reversed"), Standing::Done);
    assert_eq!(flow.credited_minor(), 0);
}

#[test]
fn a_reversal_before_its_deposit_ends_the_charge_and_the_deposit_is_dead() {
    for mut flow in [scanned(), approved()] {
        let taken = call(&mut flow, "reversal", &cash("7", 10_000));
        says(&taken, ok(), Standing::Failed);
        assert_eq!(taken.code(), Some("deposit_reversed"));
        assert!(flow.is_dead("A-17/2026-04-01/7"));
        says(&call(&mut flow, "reversal", &cash("7", 10_000)), ok(), Standing::Failed);
        says(&call(&mut flow, "deposit", &cash("7", 10_000)), refused("session_closed"), Standing::Failed);
        assert_eq!(flow.credited_minor(), 0);
    }
}

#[test]
fn a_reversal_of_another_deposit_leaves_this_one_alone() {
    let mut flow = done();
    says(&call(&mut flow, "reversal", &cash("8", 10_000)), ok(), Standing::Done);
    assert!(flow.is_dead("A-17/2026-04-01/8"));
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_reversal_of_another_amount_is_refused() {
    let mut flow = done();
    says(&call(&mut flow, "reversal", &cash("7", 9_000)), refused("amount_differs"), Standing::Done);
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_reversal_that_the_ledger_refuses_is_refused_and_noted() {
    let mut flow = done();
    flow.refuse_next("reversal_exceeds_credit");
    let taken = call(&mut flow, "reversal", &cash("7", 10_000));
    says(&taken, refused("reversal_exceeds_credit"), Standing::Done);
    assert_eq!(taken.code(), Some("reversal_refused"));
}

/// Goal: whatever the order and number of the network's messages, the wallet holds what the network believes, and nothing is credited twice.
/// Method: every order of two deposits, two reversals and an end of the session; the pretend host panics when a rule is broken.
#[test]
fn messages_in_any_order_and_twice_never_credit_what_was_taken_back() {
    let messages = ["deposit", "deposit", "reversal", "reversal", "session-ended"];
    let ended = json!({"session": "s-1", "reason": "user left"});
    for order in orders(messages.len()) {
        let mut flow = approved();
        let mut kept = 0;
        for operation in order.iter().map(|place| messages[*place]) {
            let body = if operation == "session-ended" { ended.clone() } else { cash("7", 10_000) };
            let reply = call(&mut flow, operation, &body).reply_json().1;
            match (operation, reply == ok()) {
                ("deposit", true) => kept = 10_000,
                ("reversal", true) => kept = 0,
                _ => {}
            }
        }
        assert_eq!(flow.credited_minor(), kept, "{order:?}");
        assert_eq!(kept, 0, "the last word was a reversal or a refusal: {order:?}");
    }
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for place in 0..count {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, place);
                longer
            })
        };
        orders = orders.into_iter().flat_map(insert).collect();
    }
    orders
}
