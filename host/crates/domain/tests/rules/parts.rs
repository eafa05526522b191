//! Work of several parts, and work that is only tried: all or none, and nothing left behind.

use koban_domain::ids::TransferId;
use koban_domain::ledger::{Answer, Command, Decided, Foreseen, Trial, Work};
use koban_domain::money::Money;
use koban_domain::operations::{Claim, Operation};
use koban_domain::outcomes::Refusal;
use koban_domain::signals::{SubjectKey, Subjects};
use koban_domain::transfers::Send;
use uuid::Uuid;

use crate::world::{HANAKO, KENJI, TARO, World, pay};

fn send(yen: i64, number: u128) -> Command {
    let (transfer, amount) = (TransferId(Uuid::from_u128(0xc000 + number)), Money::yen(yen));
    Command::Transfer(Send {
        transfer,
        sender: HANAKO,
        receiver: KENJI,
        amount,
        message: None,
        decision: None,
        review: false,
    })
}

/// One work with a part for each command, each counted by signals.
fn bulk(world: &mut World, commands: Vec<Command>) -> Work {
    let parts = commands
        .into_iter()
        .map(|command| {
            let mut part = Work { commands: vec![command], ..world.work() };
            let subjects = Subjects { user: SubjectKey::user(HANAKO), merchant: None, device: None };
            part.counted = Some(koban_domain::ledger::Counted { subjects, amount: 1 });
            part.payee = Some((HANAKO, KENJI.0));
            part
        })
        .collect();
    let operation = Some(Claim::new("user:test", "bulk", "POST /v1/bulk", b"items"));
    Work { parts, operation, ..world.work() }
}

#[test]
fn parts_are_posted_in_order_each_as_an_entry_of_its_own() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let work = bulk(&mut world, vec![send(300, 1), pay(HANAKO, 200, 2), send(100, 3)]);
    let (decided, commit) = world.commit(work.clone());
    let Decided::Done(answers) = decided else { panic!("{decided:?}") };
    assert!(matches!(answers[..], [Answer::Transferred(_), Answer::Paid(_), Answer::Transferred(_)]), "{answers:?}");
    assert_eq!((commit.entries.len(), commit.news.len(), commit.payees.len()), (3, 3, 3));
    let rings: Vec<_> = commit.books.signals.changed().map(|row| row.value.over(600, world.now)).collect();
    assert_eq!(rings, [(3, 3)], "each part is counted");
    assert_eq!(world.wallet(HANAKO), (400, 0));
    let (again, _) = world.commit(work);
    assert_eq!(again, Decided::Replayed(Ok(Answer::Bulk(answers))));
    assert_eq!(world.wallet(HANAKO), (400, 0));
    world.audit();
}

#[test]
fn the_first_part_that_is_refused_is_named_and_nothing_of_the_others_is_left() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let before = world.shelf.head;
    let work = bulk(&mut world, vec![send(600, 1), send(600, 2), send(2_000, 3)]);
    let (decided, commit) = world.commit(work.clone());
    assert_eq!(decided, Decided::Refused(1, Refusal::InsufficientFunds));
    assert!(commit.entries.is_empty() && commit.news.is_empty() && commit.payees.is_empty());
    assert_eq!(commit.books.signals.changed().count() + commit.books.counters.changed().count(), 0);
    assert_eq!((world.shelf.head, world.wallet(HANAKO)), (before, (1_000, 0)));
    world.charge(HANAKO, 5_000, "r2").unwrap();
    let (again, _) = world.commit(work);
    let halted = Answer::Halted(1, "insufficient_funds".into());
    assert_eq!(again, Decided::Replayed(Ok(halted)), "the refusal sticks, with its place");
    world.audit();
}

#[test]
fn what_is_done_before_and_after_a_refused_bulk_in_the_same_commit_stays() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let first = Work { commands: vec![send(100, 1)], ..world.work() };
    let refused = bulk(&mut world, vec![send(200, 2), send(5_000, 3)]);
    let last = Work { commands: vec![send(300, 4)], ..world.work() };
    let (decided, _) = world.shelf.commit(&[first, refused, last], world.now);
    assert!(matches!(decided[0], Decided::Done(_)) && matches!(decided[2], Decided::Done(_)), "{decided:?}");
    assert_eq!(decided[1], Decided::Refused(1, Refusal::InsufficientFunds));
    assert_eq!(world.wallet(HANAKO), (600, 0));
    world.audit();
}

#[test]
fn a_part_that_was_judged_under_an_older_policy_sends_the_whole_back() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let mut work = bulk(&mut world, vec![send(100, 1), send(100, 2)]);
    work.parts[1].judged_under = Some(world.shelf.books.policy.generation + 1);
    assert_eq!(world.commit(work).0, Decided::PluginChanged);
    assert_eq!(world.wallet(HANAKO), (1_000, 0));
}

#[test]
fn a_part_that_the_rules_declined_refuses_the_whole_at_its_place() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let mut work = bulk(&mut world, vec![send(100, 1), send(100, 2)]);
    work.parts[1].refused = Some(Refusal::DeclinedByFraud);
    assert_eq!(world.commit(work).0, Decided::Refused(1, Refusal::DeclinedByFraud));
    assert_eq!(world.wallet(HANAKO), (1_000, 0));
}

#[test]
fn the_outcome_of_a_bulk_is_read_back_as_it_was_kept() {
    for outcome in [Answer::Bulk(vec![Answer::Noted, Answer::Reversed(7)]), Answer::Halted(3, "day_limit".into())] {
        let operation =
            Operation { fingerprint: Default::default(), outcome: Ok(outcome.clone()), at: crate::world::NOON };
        assert_eq!(Operation::decode_outcome(&operation.encode_outcome()), Some(Ok(outcome)));
    }
}

#[test]
fn a_trial_says_what_the_real_thing_then_does() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    for command in [send(300, 1), pay(HANAKO, 200, 2)] {
        let real = Work { commands: vec![command], ..world.work() };
        let trial = Work { trial: Some(Trial::Whole), ..real.clone() };
        let before = world.shelf.clone();
        let (foreseen, commit) = world.commit(trial);
        assert!(commit.is_empty(), "nothing to write");
        assert_eq!((world.shelf.head, world.wallet(HANAKO)), (before.head, world.wallet(HANAKO)));
        let Decided::Foreseen(units) = foreseen else { panic!("{foreseen:?}") };
        let (decided, commit) = world.commit(real);
        assert!(matches!(decided, Decided::Done(_)), "{decided:?}");
        let mut posted: Vec<_> = commit.entries.into_iter().map(|entry| entry.draft).collect();
        // What was only tried has no place in the journal, and so none after an earlier entry.
        posted.iter_mut().flat_map(|draft| &mut draft.postings).for_each(|posting| posting.previous = 0);
        assert_eq!(units[0].entries, posted);
        let counted = commit.books.counters.changed().map(|row| (*row.key, *row.value)).collect::<Vec<_>>();
        let mut told: Vec<_> = units[0].limits.iter().map(|used| (used.counter, used.used)).collect();
        let mut counted_sorted = counted;
        told.sort();
        counted_sorted.sort();
        assert_eq!(told, counted_sorted);
    }
    world.audit();
}

#[test]
fn a_trial_is_told_the_refusal_that_would_come_and_keeps_no_key() {
    let mut world = World::new();
    world.charge(TARO, 100, "r1").unwrap();
    let claim = Claim::new("user:test", "k1", "POST /v1/payments", b"{}");
    let work =
        Work { commands: vec![pay(TARO, 500, 1)], operation: Some(claim), trial: Some(Trial::Whole), ..world.work() };
    let refused = Foreseen { refusal: Some(Refusal::InsufficientFunds), ..Foreseen::default() };
    assert_eq!(world.commit(work.clone()).0, Decided::Foreseen(vec![refused]));
    assert!(world.shelf.books.operations.get(&claim.key).is_none());
    assert_eq!(world.commit(Work { trial: None, ..work }).0, Decided::Refused(0, Refusal::InsufficientFunds));
}

#[test]
fn parts_that_are_tried_each_by_itself_stand_on_those_before_them() {
    let mut world = World::new();
    world.charge(HANAKO, 1_000, "r1").unwrap();
    let commands = vec![send(600, 1), send(600, 2), send(400, 3), send(1, 4)];
    let mut work = bulk(&mut world, commands.clone());
    work.trial = Some(Trial::Each);
    let refusals = |decided: &Decided| match decided {
        Decided::Foreseen(units) => units.iter().map(|unit| unit.refusal).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let short = Some(Refusal::InsufficientFunds);
    assert_eq!(refusals(&world.commit(work.clone()).0), [None, short, None, short]);
    work.trial = Some(Trial::Whole);
    let (decided, _) = world.commit(work);
    assert_eq!(refusals(&decided), [None, short], "a whole ends where it is refused");
    let Decided::Foreseen(units) = decided else { panic!() };
    assert!(units.iter().all(|unit| unit.entries.is_empty()), "nothing of it would be posted");
    assert_eq!(world.wallet(HANAKO), (1_000, 0));
    for (command, short) in commands.into_iter().zip([false, true, false, true]) {
        assert_eq!(world.does(command).is_err(), short);
    }
    world.audit();
}
