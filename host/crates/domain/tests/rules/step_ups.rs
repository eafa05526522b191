//! Step-ups: a challenge opens with the refusal, counts for the one request that it was opened for, and is used once.

use koban_domain::ids::StepUpId;
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::money::Money;
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::step_ups::{Challenge, StepUp, StepUpState, WAITS_MS, challenge_of};

use crate::world::{HANAKO, KENJI, SHOP, TARO, World, pay};

fn claim(key: &str, body: &str) -> Claim {
    Claim::new("user:taro", key, "POST /v1/payments", body.as_bytes())
}

fn challenge(proof: Option<StepUpId>) -> Challenge {
    Challenge { user: TARO, payee: SHOP.0, amount: Money::yen(500), proof }
}

/// Taro pays 500 yen under this key; without a proof the rules refuse.
fn wish(world: &mut World, key: &str, number: u128, proof: Option<StepUpId>) -> Work {
    Work {
        operation: Some(claim(key, "500 to the shop")),
        refused: proof.is_none().then_some(Refusal::StepUpRequired),
        commands: vec![pay(TARO, 500, number)],
        challenge: Some(challenge(proof)),
        ..world.work()
    }
}

/// A world in which Taro was challenged under the key `k1`.
fn challenged() -> (World, StepUpId) {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let work = wish(&mut world, "k1", 1, None);
    assert_eq!(world.commit(work).0, Decided::Refused(0, Refusal::StepUpRequired));
    let id = challenge_of(claim("k1", "").key);
    (world, id)
}

fn confirm(world: &mut World, id: StepUpId) {
    let known = *world.shelf.books.step_ups.get(&id).unwrap();
    let expires_at = world.now.plus_ms(WAITS_MS);
    world.shelf.books.step_ups.load(id, StepUp { state: StepUpState::Confirmed, expires_at, ..known });
}

fn refused(world: &mut World, work: Work) {
    let entries = world.shelf.entries.len();
    assert_eq!(world.commit(work).0, Decided::Refused(0, Refusal::StepUpRequired));
    assert_eq!(world.shelf.entries.len(), entries);
}

#[test]
fn a_refusal_opens_a_challenge_that_is_bound_to_the_request() {
    let (mut world, id) = challenged();
    let known = *world.shelf.books.step_ups.get(&id).unwrap();
    assert_eq!(
        (known.user, known.payee, known.amount, known.state),
        (TARO, SHOP.0, Money::yen(500), StepUpState::Open)
    );
    assert_eq!(known.expires_at, world.now.plus_ms(WAITS_MS));
    let again = wish(&mut world, "k1", 2, None);
    assert_eq!(world.commit(again).0, Decided::Replayed(Err(Refusal::StepUpRequired)));
    assert_eq!(world.shelf.books.step_ups.iter().count(), 1);
}

#[test]
fn a_confirmed_challenge_is_used_once_in_the_payments_own_commit() {
    let (mut world, id) = challenged();
    confirm(&mut world, id);
    let works = [wish(&mut world, "k2", 2, Some(id)), wish(&mut world, "k3", 3, Some(id))];
    let (decided, _) = world.shelf.commit(&works, world.now);
    assert!(matches!(decided[0], Decided::Done(_)), "{decided:?}");
    assert_eq!(decided[1], Decided::Refused(0, Refusal::StepUpRequired), "two in one commit");
    assert_eq!(world.shelf.books.step_ups.get(&id).unwrap().state, StepUpState::Used);
    let third = wish(&mut world, "k4", 4, Some(id));
    refused(&mut world, third);
    assert_eq!(world.payable(), 500);
    let newest = challenge_of(claim("k4", "").key);
    assert_eq!(world.shelf.books.step_ups.get(&newest).unwrap().state, StepUpState::Open, "there is a new one");
}

#[test]
fn a_challenge_that_nobody_confirmed_or_that_has_run_out_counts_for_nothing() {
    let (mut world, id) = challenged();
    let early = wish(&mut world, "k2", 2, Some(id));
    refused(&mut world, early);
    confirm(&mut world, id);
    world.now = world.now.plus_ms(WAITS_MS);
    let late = wish(&mut world, "k3", 3, Some(id));
    refused(&mut world, late);
    let unknown = wish(&mut world, "k4", 4, Some(StepUpId::default()));
    refused(&mut world, unknown);
    world.now = world.now.plus_ms(-1);
    let in_time = wish(&mut world, "k5", 5, Some(id));
    assert!(matches!(world.commit(in_time).0, Decided::Done(_)));
}

#[test]
fn a_challenge_counts_for_no_other_payer_payee_amount_or_request() {
    let (mut world, id) = challenged();
    world.charge(HANAKO, 10_000, "r2").unwrap();
    confirm(&mut world, id);
    for (place, other) in [
        Challenge { user: HANAKO, ..challenge(Some(id)) },
        Challenge { payee: KENJI.0, ..challenge(Some(id)) },
        Challenge { amount: Money::yen(501), ..challenge(Some(id)) },
    ]
    .into_iter()
    .enumerate()
    {
        let work = Work { challenge: Some(other), ..wish(&mut world, &format!("o{place}"), 2, Some(id)) };
        refused(&mut world, work);
    }
    let other = Work { operation: Some(claim("o9", "another body")), ..wish(&mut world, "", 2, Some(id)) };
    refused(&mut world, other);
}

#[test]
fn what_the_books_refuse_does_not_use_the_challenge_up() {
    let (mut world, id) = challenged();
    confirm(&mut world, id);
    let mut work = wish(&mut world, "k2", 2, Some(id));
    work.commands = vec![pay(TARO, 500_000, 2)];
    assert_eq!(world.commit(work).0, Decided::Refused(0, Refusal::AmountLimit));
    assert_eq!(world.shelf.books.step_ups.get(&id).unwrap().state, StepUpState::Confirmed);
    let work = wish(&mut world, "k3", 3, Some(id));
    assert!(matches!(world.commit(work).0, Decided::Done(_)));
}

#[test]
fn a_decline_stays_a_decline_whatever_was_confirmed() {
    let (mut world, id) = challenged();
    confirm(&mut world, id);
    let refused = Some(Refusal::DeclinedByFraud);
    let work = Work { refused, ..wish(&mut world, "k2", 2, Some(id)) };
    assert_eq!(world.commit(work).0, Decided::Refused(0, Refusal::DeclinedByFraud));
    assert_eq!(world.shelf.books.step_ups.get(&id).unwrap().state, StepUpState::Confirmed);
    let unasked: Vec<Command> = vec![pay(TARO, 500, 3)];
    let work = Work { refused: Some(Refusal::StepUpRequired), commands: unasked, ..world.work() };
    assert_eq!(
        world.commit(work).0,
        Decided::Refused(0, Refusal::StepUpRequired),
        "without an operation there is no challenge"
    );
    assert_eq!(world.shelf.books.step_ups.iter().count(), 1);
}
