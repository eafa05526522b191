//! One unit of work: all of it or none, once for each operation, and nothing that rests on what is no longer in force.

use std::sync::Arc;

use koban_domain::flows::{Authorisation, Flow};
use koban_domain::ids::{AuditId, RecordId};
use koban_domain::ledger::{Answer, Audit, Counted, Decided, SealedRecord, Work};
use koban_domain::manifest::{Beginning, Kind};
use koban_domain::money::Money;
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::{PluginInForce, Reliance};
use koban_domain::records::Digest;
use koban_domain::signals::{SubjectKey, Subjects};
use uuid::Uuid;

use crate::world::{HANAKO, NOON, SHOP, TARO, World, credit, flow, pay, reverse};

fn record(number: u128) -> SealedRecord {
    SealedRecord {
        id: RecordId(Uuid::from_u128(number)),
        digest: Digest::of(&number.to_be_bytes()),
        bytes: vec![1],
        held: None,
    }
}

fn audit() -> Audit {
    let id = AuditId(Uuid::from_u128(1));
    Audit { id, actor: "operator".into(), act: "test".into(), subject: "r1".into(), detail: "{}".into() }
}

#[test]
fn the_same_operation_is_decided_once_and_answered_again() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let claim = |body: &[u8]| Some(Claim::new("user:taro", "k1", "POST /v1/payments", body));
    let work = Work { operation: claim(b"1280"), commands: vec![pay(TARO, 1_280, 1)], ..world.work() };
    let (Decided::Done(first), _) = world.commit(work.clone()) else { panic!() };
    let (again, commit) = world.commit(Work { id: Uuid::from_u128(5), ..work.clone() });
    assert_eq!(again, Decided::Replayed(Ok(first[0].clone())));
    assert!(commit.is_empty());
    let other = Work { operation: claim(b"1281"), commands: vec![pay(TARO, 1_281, 2)], ..world.work() };
    assert_eq!(world.commit(other).0, Decided::KeyReused);
    assert_eq!(world.wallet(TARO), (8_720, 0));
}

#[test]
fn the_same_operation_twice_in_one_commit_is_decided_once() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let operation = Some(Claim::new("user:taro", "k1", "POST /v1/payments", b"1280"));
    let batch = [1, 2].map(|number| Work { operation, commands: vec![pay(TARO, 1_280, number)], ..world.work() });
    let (decided, commit) = world.shelf.commit(&batch, NOON);
    assert!(matches!((&decided[0], &decided[1]), (Decided::Done(_), Decided::Replayed(Ok(Answer::Paid(_))))));
    assert_eq!(commit.entries.len(), 1);
}

#[test]
fn a_refusal_sticks_to_its_operation_even_when_it_would_be_accepted_by_now() {
    let mut world = World::new();
    let operation = Some(Claim::new("user:taro", "k1", "POST /v1/payments", b"1280"));
    let work = Work { operation, commands: vec![pay(TARO, 1_280, 1)], ..world.work() };
    assert_eq!(world.commit(work.clone()).0, Decided::Refused(0, Refusal::InsufficientFunds));
    world.charge(TARO, 10_000, "r1").unwrap();
    assert_eq!(world.commit(work).0, Decided::Replayed(Err(Refusal::InsufficientFunds)));
    assert_eq!(world.wallet(TARO), (10_000, 0));
}

#[test]
fn two_actors_and_two_keys_are_different_operations() {
    let claims = [("a", "k"), ("b", "k"), ("a", "l"), ("ak", ""), ("", "ak")]
        .map(|(actor, key)| Claim::new(actor, key, "r", b""));
    for (place, claim) in claims.iter().enumerate() {
        assert!(claims[..place].iter().all(|other| other.key != claim.key));
    }
}

#[test]
fn work_is_done_whole_or_not_at_all_and_its_records_stay() {
    let mut world = World::new();
    let before = world.shelf.clone();
    let subjects = Subjects { user: SubjectKey::user(TARO), merchant: Some(SubjectKey::merchant(SHOP)), device: None };
    let work = Work {
        commands: vec![credit(TARO, 10_000, "r1"), reverse(TARO, 4_000, "r1", "v1"), pay(TARO, 6_001, 1)],
        records: vec![record(1)],
        counted: Some(Counted { subjects, amount: 6_001 }),
        audit: vec![audit()],
        ..world.work()
    };
    let (decided, commit) = world.commit(work.clone());
    assert_eq!(decided, Decided::Refused(2, Refusal::InsufficientFunds));
    assert_eq!(commit.records, [record(1)], "the evidence of a refusal is kept");
    assert!(commit.entries.is_empty() && commit.news.is_empty() && commit.audit.is_empty() && commit.steps.is_empty());
    assert_eq!(world.shelf.head, before.head);
    for table in [world.shelf.books.accounts.iter().count(), world.shelf.books.references.iter().count()] {
        assert_eq!(table, 0);
    }
    assert!(!world.shelf.books.signals.contains(&SubjectKey::user(TARO)));

    let commands = vec![credit(TARO, 10_000, "r1"), reverse(TARO, 4_000, "r1", "v1"), pay(TARO, 6_000, 1)];
    let (decided, commit) = world.commit(Work { commands, ..work });
    assert!(matches!(&decided, Decided::Done(answers) if answers.len() == 3));
    assert_eq!((commit.entries.len(), commit.news.len(), commit.audit.len()), (3, 3, 1));
    assert_eq!(commit.entries[1].draft.reverses, Some(commit.entries[0].draft.id));
    assert_eq!(commit.entries[2].draft.records, [record(1).digest]);
    assert_eq!(world.shelf.books.signals.get(&SubjectKey::merchant(SHOP)).unwrap().over(60, NOON), (1, 6_001));
    world.audit();
}

#[test]
fn what_is_refused_does_not_disturb_its_neighbours_in_the_commit() {
    let mut together = World::new();
    let mut apart = together.clone();
    let works: Vec<Work> = [
        vec![credit(TARO, 10_000, "r1")],
        vec![credit(HANAKO, 5_000, "r2"), pay(HANAKO, 5_001, 1)],
        vec![pay(TARO, 1_000, 2)],
        vec![reverse(TARO, 10_001, "r1", "v1")],
        vec![reverse(TARO, 10_000, "r1", "v1")],
    ]
    .into_iter()
    .map(|commands| Work { commands, ..together.work() })
    .collect();
    let (batch, _) = together.shelf.commit(&works, NOON);
    let one_by_one: Vec<Decided> = works.into_iter().map(|work| apart.commit(work).0).collect();
    assert_eq!(batch, one_by_one);
    assert_eq!(together.shelf.head, apart.shelf.head, "the same history has the same head, however it was batched");
    together.check();
    together.audit();
}

#[test]
fn a_verdict_from_before_the_books_is_noted_like_any_refusal() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let operation = Some(Claim::new("user:taro", "k1", "POST /v1/payments", b"1280"));
    let work = Work {
        operation,
        refused: Some(Refusal::DeclinedByFraud),
        records: vec![record(1)],
        commands: vec![pay(TARO, 1_280, 1)],
        ..world.work()
    };
    let (decided, commit) = world.commit(work.clone());
    assert_eq!((decided, commit.records.len()), (Decided::Refused(0, Refusal::DeclinedByFraud), 1));
    assert_eq!(world.commit(work).0, Decided::Replayed(Err(Refusal::DeclinedByFraud)));
    assert_eq!(world.wallet(TARO), (10_000, 0));
}

#[test]
fn work_that_rests_on_a_replaced_or_revoked_component_is_decided_again() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
    let relying = |world: &mut World, digest, in_force| {
        let relies_on = vec![Reliance { plugin: "fraud-rules".into(), digest, in_force }];
        let work = Work { relies_on, records: vec![record(1)], commands: vec![pay(TARO, 1, 1)], ..world.work() };
        world.commit(work)
    };
    let mut policy = (*world.shelf.books.policy).clone();
    policy.enable("fraud-rules", PluginInForce { kind: Kind::FraudRule, digest: new, settings: Digest::default() });
    policy.revoked.insert(Digest::of(b"revoked"));
    world.shelf.books.policy = Arc::new(policy);
    let (decided, commit) = relying(&mut world, old, true);
    assert_eq!((decided, commit.is_empty()), (Decided::PluginChanged, true));
    assert_eq!(relying(&mut world, Digest::of(b"revoked"), false).0, Decided::PluginChanged);
    assert!(matches!(relying(&mut world, old, false).0, Decided::Done(_)), "a flow goes on with what it began with");
}

#[test]
fn a_step_is_taken_only_under_the_version_it_was_made_for() {
    let mut world = World::new();
    let authorisation = Authorisation { user: TARO, at_most: Money::yen(10_000), expires_at: NOON.plus_ms(300_000) };
    let opened = Flow::open(
        flow(1),
        "charge-atm",
        (Digest::of(b"c"), Digest::of(b"s")),
        Beginning::Charge,
        authorisation,
        "ja",
        NOON,
    );
    let mut step = koban_domain::flows::stuck(&opened, "test".into(), NOON);
    step.expected = None;
    let opening = |world: &mut World, step| Work { step: Some(Box::new(step)), ..world.work() };
    let work = opening(&mut world, step.clone());
    assert_eq!(world.commit(work).0, Decided::Done(vec![Answer::Opened(flow(1))]));
    let work = opening(&mut world, step.clone());
    assert_eq!(world.commit(work).0, Decided::FlowMoved, "a flow is opened once");
    let second = koban_domain::flows::retried(&step.flow, step.flow.settings, NOON);
    let stale = koban_domain::flows::faulted(&step.flow, &fault(), NOON);
    let work = opening(&mut world, second.clone());
    assert!(matches!(world.commit(work).0, Decided::Done(_)));
    let work = Work { commands: vec![credit(TARO, 1_000, "r1")], ..opening(&mut world, stale) };
    let (decided, commit) = world.commit(work);
    assert_eq!((decided, commit.is_empty()), (Decided::FlowMoved, true));
    assert_eq!(world.shelf.books.flows.get(&flow(1)), Some(&second.flow.version));
    assert_eq!(world.wallet(TARO), (0, 0));
}

#[test]
fn a_step_whose_money_is_refused_is_not_taken() {
    let mut world = World::new();
    let authorisation = Authorisation { user: TARO, at_most: Money::yen(10_000), expires_at: NOON.plus_ms(300_000) };
    let opened = Flow::open(
        flow(1),
        "charge-atm",
        (Digest::of(b"c"), Digest::of(b"s")),
        Beginning::Charge,
        authorisation,
        "ja",
        NOON,
    );
    let mut step = koban_domain::flows::stuck(&opened, "test".into(), NOON);
    step.expected = None;
    let commands = vec![credit(TARO, 1_000_001, "r1")];
    let work = Work { step: Some(Box::new(step)), commands, ..world.work() };
    let (decided, commit) = world.commit(work);
    assert_eq!(decided, Decided::Refused(0, Refusal::ExposureCapReached));
    assert!(commit.is_empty() && !world.shelf.books.flows.contains(&flow(1)));
}

#[test]
fn an_entry_is_never_older_than_the_one_before_it() {
    let mut world = World::new();
    world.charge(TARO, 1_000, "r1").unwrap();
    world.now = NOON.plus_ms(-60_000);
    world.charge(TARO, 1_000, "r2").unwrap();
    assert_eq!(world.shelf.entries[1].at, NOON);
    world.audit();
}

#[test]
fn words_from_outside_are_cut_before_they_reach_an_entry() {
    let mut world = World::new();
    let work = Work {
        actor: "あ".repeat(70_000),
        commands: vec![credit(TARO, 1_000, &"\"\n".repeat(50_000))],
        ..world.work()
    };
    let (decided, commit) = world.commit(work);
    assert!(matches!(decided, Decided::Done(_)));
    let draft = &commit.entries[0].draft;
    assert_eq!(draft.actor.chars().count(), 500);
    assert!(draft.meta.len() <= 4_096, "{}", draft.meta.len());
    assert!(serde_json::from_str::<serde_json::Value>(&draft.meta).is_ok());
}

fn fault() -> koban_domain::records::Fault {
    koban_domain::records::Fault { class: koban_domain::records::FaultClass::Trap, detail: "test".into() }
}
