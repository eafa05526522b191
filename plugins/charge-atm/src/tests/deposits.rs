//! What a deposit does, when it comes as it should and when it does not.

use super::*;

#[test]
fn a_deposit_credits_the_wallet_and_ends_the_charge() {
    let mut flow = approved();
    let taken = call(&mut flow, "deposit", &cash("7", 10_000));
    says(&taken, ok(), Standing::Done);
    let koban_sdk::flow::Proposal::Credit(credit) = &taken.proposals[0] else { panic!("{taken:?}") };
    assert_eq!((credit.reference.as_str(), credit.arrived), ("A-17/2026-04-01/7", false));
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_deposit_that_overtakes_the_answer_to_approve_counts() {
    let mut flow = scanned();
    says(&call(&mut flow, "deposit", &cash("7", 30_000)), ok(), Standing::Done);
    assert_eq!(flow.credited_minor(), 30_000);
}

#[test]
fn a_deposit_sent_again_is_answered_again_and_credited_once() {
    let mut flow = done();
    for _ in 0..3 {
        says(&call(&mut flow, "deposit", &cash("7", 10_000)), ok(), Standing::Done);
    }
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_deposit_sent_again_with_another_amount_is_refused() {
    let mut flow = done();
    says(&call(&mut flow, "deposit", &cash("7", 11_000)), refused("amount_differs"), Standing::Done);
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_second_deposit_in_one_session_is_refused_for_ever() {
    let mut flow = done();
    says(&call(&mut flow, "deposit", &cash("8", 10_000)), refused("session_closed"), Standing::Done);
    assert!(flow.is_dead("A-17/2026-04-01/8"));
    assert_eq!(flow.credited_minor(), 10_000);
}

#[test]
fn a_deposit_that_is_no_whole_notes_or_too_much_is_refused_for_ever() {
    for yen in [500, 10_500, 31_000, i64::MAX] {
        let mut flow = approved();
        let taken = call(&mut flow, "deposit", &cash("7", yen));
        says(&taken, refused("amount_not_allowed"), Standing::Failed);
        assert_eq!(taken.code(), Some("amount_not_allowed"));
        assert!(flow.is_dead("A-17/2026-04-01/7"));
    }
}

#[test]
fn a_deposit_that_the_ledger_refuses_is_refused_with_its_outcome_for_ever() {
    let mut flow = approved();
    flow.refuse_next("balance_limit_reached");
    let taken = call(&mut flow, "deposit", &cash("7", 10_000));
    says(&taken, refused("balance_limit_reached"), Standing::Failed);
    assert_eq!(taken.code(), Some("deposit_refused"));
    assert!(flow.is_dead("A-17/2026-04-01/7"));
    assert_eq!(flow.credited_minor(), 0);
    says(&call(&mut flow, "deposit", &cash("7", 10_000)), refused("session_closed"), Standing::Failed);
}

#[test]
fn a_deposit_whose_reference_is_already_settled_is_refused_without_a_tombstone() {
    for outcome in ["reference_used", "reference_tombstoned", "reference_credited"] {
        let mut flow = approved();
        flow.refuse_next(outcome);
        let taken = call(&mut flow, "deposit", &cash("7", 10_000));
        says(&taken, refused(outcome), Standing::Failed);
        assert_eq!(taken.proposals, []);
    }
    let mut closed = done();
    closed.refuse_next("reference_credited");
    says(&call(&mut closed, "deposit", &cash("8", 10_000)), refused("reference_credited"), Standing::Done);
}

#[test]
fn a_deposit_after_the_charge_ended_is_refused_for_ever() {
    let expired = || {
        let mut flow = approved();
        flow.ring("expiry").unwrap();
        flow
    };
    let cancelled = || {
        let mut flow = approved();
        flow.ask_to_cancel().unwrap();
        flow
    };
    for mut flow in [expired(), cancelled()] {
        let standing = flow.standing();
        says(&call(&mut flow, "deposit", &cash("7", 10_000)), refused("session_closed"), standing);
        assert!(flow.is_dead("A-17/2026-04-01/7"));
        assert_eq!(flow.credited_minor(), 0);
    }
}
