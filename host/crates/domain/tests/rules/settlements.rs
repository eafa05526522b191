//! Settlement files: what they release, what they leave open, and how an operator closes it.

use koban_domain::accounts::Class;
use koban_domain::charges::{ReferenceKey, ReferenceState};
use koban_domain::guest::Side::{Capture, Credit, Fee, Reversal};
use koban_domain::ledger::Answer;
use koban_domain::outcomes::Refusal;
use koban_domain::settlements::{Settled, WrittenOff};

use crate::world::{HANAKO, LOSS_BUDGET, TARO, World, arrived, atm};

/// Matched, repeated, differences, released.
fn counts(answer: Result<Answer, Refusal>) -> (u32, u32, u32, i64) {
    match answer {
        Ok(Answer::Settled(Settled { matched, repeated, differences, released })) => {
            (matched, repeated, differences, released)
        }
        other => panic!("not settled: {other:?}"),
    }
}

/// Lost, to suspense.
fn closed(answer: Result<Answer, Refusal>) -> (i64, i64) {
    match answer {
        Ok(Answer::WrittenOff(WrittenOff { lost, to_suspense })) => (lost.minor, to_suspense.minor),
        other => panic!("not written off: {other:?}"),
    }
}

/// Bank, clearing, suspense, write-off.
fn books(world: &World) -> (i64, i64, i64, i64) {
    world.audit();
    let bank = world.platform(Class::Bank);
    (bank, world.clearing(), world.platform(Class::Suspense), world.platform(Class::WriteOff))
}

#[test]
fn exposure_falls_row_by_row() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.charge(HANAKO, 20_000, "r2").unwrap();
    assert_eq!(world.exposure().used, 30_000);
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000)])), (1, 0, 0, 10_000));
    assert_eq!(world.exposure().used, 20_000);
    assert_eq!(counts(world.settle(&[(Credit, "r2", 20_000)])), (1, 0, 0, 20_000));
    assert_eq!((world.exposure().used, books(&world)), (0, (30_000, 0, 0, 0)));
}

#[test]
fn a_reversed_credit_is_released_only_when_both_its_rows_came_in_either_order_and_in_different_files() {
    for rows in [[(Credit, "r1", 10_000), (Reversal, "v1", 10_000)], [(Reversal, "v1", 10_000), (Credit, "r1", 10_000)]]
    {
        let mut world = World::new();
        world.charge(TARO, 10_000, "r1").unwrap();
        world.reverse(TARO, 10_000, "r1", "v1").unwrap();
        assert_eq!(world.exposure().used, 10_000, "gross: a reversal alone releases nothing");
        assert_eq!(counts(world.settle(&rows[..1])), (1, 0, 0, 0));
        assert_eq!(world.exposure().used, 10_000);
        assert_eq!(counts(world.settle(&rows[1..])), (1, 0, 0, 10_000));
        assert_eq!((world.exposure().used, books(&world)), (0, (0, 0, 0, 0)));
    }
}

#[test]
fn a_credit_reversed_in_parts_waits_for_the_rows_of_all_of_them() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.reverse(TARO, 4_000, "r1", "v1").unwrap();
    world.reverse(TARO, 1_000, "r1", "v2").unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000), (Reversal, "v2", 1_000)])), (2, 0, 0, 0));
    assert_eq!(counts(world.settle(&[(Reversal, "v1", 4_000)])), (1, 0, 0, 10_000));
    assert_eq!(books(&world), (5_000, 0, 0, 0));
}

#[test]
fn the_same_file_twice_changes_nothing() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    let rows = [(Credit, "r1", 10_000), (Fee, "r1", 110), (Credit, "unknown", 5_000)];
    assert_eq!(counts(world.settle_as(1, 7, &rows)), (2, 0, 1, 10_000));
    let before = books(&world);
    assert_eq!(world.settle_as(2, 7, &rows), Err(Refusal::FileUsed));
    assert_eq!(counts(world.settle_as(1, 7, &rows)), (0, 3, 0, 0), "the same file taken again after a crash");
    assert_eq!(counts(world.settle_as(3, 8, &rows)), (0, 3, 0, 0), "the same rows in another file");
    assert_eq!(books(&world), before);
    assert_eq!(world.open_differences(), [ReferenceKey::credit(atm(), "unknown")]);
}

#[test]
fn money_in_suspense_is_settled_like_any_other() {
    let mut world = World::new();
    world.charge(TARO, 95_000, "r1").unwrap();
    world.does(arrived(TARO, 10_000, "r2")).unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r2", 10_000)])), (1, 0, 0, 0));
    assert_eq!((world.exposure().used, books(&world)), (95_000, (10_000, 95_000, 10_000, 0)));
}

#[test]
fn a_tombstoned_booking_that_is_listed_with_its_cancellation_closes_itself_in_either_order() {
    let (booking, cancellation) = ((Credit, "r1", 10_000), (Reversal, "r1", 10_000));
    for rows in [[booking, cancellation], [cancellation, booking]] {
        let mut together = World::new();
        together.tombstone("r1").unwrap();
        assert_eq!(counts(together.settle(&rows)), (2, 0, 0, 0));
        assert_eq!((together.open_differences(), books(&together)), (vec![], (0, 0, 0, 0)));

        let mut apart = World::new();
        apart.tombstone("r1").unwrap();
        assert_eq!(counts(apart.settle(&rows[..1])), (0, 0, 1, 0));
        assert_eq!(apart.open_differences().len(), 1);
        assert_eq!(counts(apart.settle(&rows[1..])), (2, 0, 0, 0));
        assert_eq!((apart.open_differences(), books(&apart)), (vec![], (0, 0, 0, 0)));
        assert_eq!(counts(apart.settle(&rows)), (0, 2, 0, 0), "listed once more it says nothing new");
        assert_eq!(apart.open_differences(), vec![]);
    }
}

#[test]
fn two_lines_that_cancelled_each_other_out_are_both_open_again_when_the_partner_says_otherwise_of_one() {
    let mut world = World::new();
    world.settle(&[(Credit, "r1", 10_000), (Reversal, "r1", 10_000)]).unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 9_000)])), (0, 0, 2, 0));
    assert_eq!(world.open_differences().len(), 2);
    assert_eq!(counts(world.settle(&[(Reversal, "r1", 9_000)])), (2, 0, 0, 0));
    assert_eq!((world.open_differences(), books(&world)), (vec![], (0, 0, 0, 0)));
}

#[test]
fn a_cancellation_of_another_amount_does_not_close_a_booking() {
    let mut world = World::new();
    world.tombstone("r1").unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000), (Reversal, "r1", 9_000)])), (0, 0, 2, 0));
    assert_eq!(world.open_differences().len(), 2);
}

#[test]
fn a_cancellation_does_not_close_the_booking_of_a_credit_that_stands() {
    let mut world = World::new();
    world.settle(&[(Credit, "r1", 10_000)]).unwrap();
    world.charge(TARO, 10_000, "r1").unwrap();
    assert_eq!(counts(world.settle(&[(Reversal, "r1", 10_000)])), (0, 0, 1, 0));
    assert_eq!(world.open_differences().len(), 2, "an operator has to look at both");
}

#[test]
fn a_loss_counts_against_the_budget_and_stays_open_beyond_it() {
    let mut world = World::new();
    world.charge(TARO, 40_000, "r1").unwrap();
    world.charge(TARO, 20_000, "r2").unwrap();
    world.settle(&[(Credit, "r1", 1), (Credit, "r2", 19_999)]).unwrap();
    assert_eq!(closed(world.write_off(Credit, "r1")), (39_999, 0));
    assert_eq!(world.exposure().lost, 39_999);
    world.budget(1_000_000, 39_999);
    assert_eq!(world.write_off(Credit, "r2"), Err(Refusal::LossBudgetExhausted));
    assert_eq!(world.open_differences(), [ReferenceKey::credit(atm(), "r2")]);
    assert_eq!(world.charge(HANAKO, 1_000, "r3"), Err(Refusal::LossBudgetExhausted), "nothing more is lent to it");
    let Ok(Answer::Credited(credited)) = world.does(arrived(HANAKO, 1_000, "r3")) else { panic!() };
    assert_eq!(credited.suspended, Some(Refusal::LossBudgetExhausted));
    world.budget(1_000_000, LOSS_BUDGET);
    assert_eq!(closed(world.write_off(Credit, "r2")), (1, 0));
    assert_eq!(books(&world), (20_000, 1_000, 1_000, 40_000));
}

#[test]
fn a_loss_budget_of_nothing_is_not_used_up_by_losing_nothing() {
    let mut world = World::new();
    world.budget(1_000_000, 0);
    world.charge(TARO, 10_000, "r1").unwrap();
    world.settle(&[(Credit, "r1", 12_000)]).unwrap();
    assert_eq!(closed(world.write_off(Credit, "r1")), (0, 2_000), "a gain needs no budget");
}

#[test]
fn every_kind_of_difference_can_be_closed_and_leaves_the_bank_with_what_the_partner_said() {
    type Story = (&'static str, fn(&mut World), koban_domain::guest::Side, (i64, i64), (i64, i64, i64, i64));
    let stories: &[Story] = &[
        ("an unknown booking", |_| {}, Credit, (0, 10_000), (10_000, 0, 10_000, 0)),
        (
            "a booking of a dead reference",
            |world| drop(world.tombstone("r1").unwrap()),
            Credit,
            (0, 10_000),
            (10_000, 0, 10_000, 0),
        ),
        (
            "a booking that was written off as never listed",
            |world| {
                world.charge(TARO, 8_000, "r1").unwrap();
                world.write_off(Credit, "r1").unwrap();
            },
            Credit,
            (0, 10_000),
            (10_000, 0, 10_000, 8_000),
        ),
        (
            "too little",
            |world| drop(world.charge(TARO, 11_000, "r1").unwrap()),
            Credit,
            (1_000, 0),
            (10_000, 0, 0, 1_000),
        ),
        ("too much", |world| drop(world.charge(TARO, 9_000, "r1").unwrap()), Credit, (0, 1_000), (10_000, 0, 1_000, 0)),
        (
            "too little of a credit that was reversed in part",
            |world| {
                world.charge(TARO, 11_000, "r1").unwrap();
                world.reverse(TARO, 4_000, "r1", "v1").unwrap();
                world.settle(&[(Reversal, "v1", 4_000)]).unwrap();
            },
            Credit,
            (1_000, 0),
            (6_000, 0, 0, 1_000),
        ),
        ("an unknown cancellation", |_| {}, Reversal, (10_000, 0), (-10_000, 0, 0, 10_000)),
        (
            "a cancellation of more than was reversed, before its credit was settled",
            |world| {
                world.charge(TARO, 30_000, "c1").unwrap();
                world.settle(&[(Credit, "c1", 30_000)]).unwrap();
                world.charge(TARO, 20_000, "c2").unwrap();
                world.reverse(TARO, 9_000, "c2", "r1").unwrap();
                world.settle(&[(Credit, "c2", 20_000)]).unwrap();
            },
            Reversal,
            (1_000, 0),
            (40_000, 0, 0, 1_000),
        ),
        (
            "a cancellation of less than was reversed, after its credit was settled",
            |world| {
                world.charge(TARO, 20_000, "c2").unwrap();
                world.settle(&[(Credit, "c2", 20_000)]).unwrap();
                world.reverse(TARO, 11_000, "c2", "r1").unwrap();
            },
            Reversal,
            (0, 1_000),
            (10_000, 0, 1_000, 0),
        ),
        (
            "a cancellation whose credit was written off",
            |world| {
                world.charge(TARO, 11_000, "c2").unwrap();
                world.reverse(TARO, 10_000, "c2", "r1").unwrap();
                world.write_off(Credit, "c2").unwrap();
            },
            Reversal,
            (10_000, 0),
            (-10_000, 0, 0, 11_000),
        ),
        ("a capture that nobody asked for", |_| {}, Capture, (10_000, 0), (-10_000, 0, 0, 10_000)),
        (
            "a fee that was said to be less",
            |world| {
                world.charge(TARO, 10_000, "r1").unwrap();
                world.settle(&[(Credit, "r1", 10_000), (Fee, "r1", 9_900)]).unwrap();
            },
            Fee,
            (100, 0),
            (0, 0, 0, 100),
        ),
    ];
    for (story, before, side, lost_and_extra, after) in stories {
        let mut world = World::new();
        before(&mut world);
        assert_eq!(counts(world.settle(&[(*side, "r1", 10_000)])), (0, 0, 1, 0), "{story}");
        assert_eq!(world.open_differences().len(), 1, "{story}");
        assert_eq!(closed(world.write_off(*side, "r1")), *lost_and_extra, "{story}");
        assert_eq!(world.open_differences(), [], "{story}");
        assert_eq!(books(&world), *after, "{story}");
        assert_eq!(world.write_off(*side, "r1"), Err(Refusal::DifferenceNotFound), "{story}");
        assert_eq!(counts(world.settle(&[(*side, "r1", 10_000)])), (0, 1, 0, 0), "{story}: said again");
        assert_eq!(counts(world.settle(&[(*side, "r1", 10_500)])), (0, 0, 1, 0), "{story}: said otherwise");
        world.write_off(*side, "r1").unwrap();
        let more = if *side == Credit { 500 } else { -500 };
        assert_eq!(books(&world).0, after.0 + more, "{story}: only what is new was posted");
    }
}

#[test]
fn a_closed_credit_releases_its_exposure() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.settle(&[(Credit, "r1", 9_000)]).unwrap();
    assert_eq!(world.exposure().used, 10_000, "a difference is no settlement");
    world.write_off(Credit, "r1").unwrap();
    assert_eq!((world.exposure().used, world.exposure().lost), (0, 1_000));
    let state = world.shelf.books.references.get(&ReferenceKey::credit(atm(), "r1")).unwrap().state;
    assert_eq!(state, ReferenceState::WrittenOff);
}

#[test]
fn a_file_that_corrects_an_earlier_one_closes_the_difference() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 9_000)])), (0, 0, 1, 0));
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000)])), (1, 0, 0, 10_000));
    assert_eq!((world.open_differences(), books(&world)), (vec![], (10_000, 0, 0, 0)));
    assert_eq!(world.write_off(Credit, "r1"), Err(Refusal::DifferenceNotFound), "or the bank would have it twice");
    assert_eq!(counts(world.settle(&[(Credit, "r1", 9_500)])), (0, 0, 1, 0), "the last word is another again");
    assert_eq!(closed(world.write_off(Credit, "r1")), (500, 0));
    assert_eq!(books(&world), (9_500, 0, 0, 500));
}

#[test]
fn a_booking_that_is_listed_before_our_credit_matches_when_it_is_listed_again() {
    let mut world = World::new();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000)])), (0, 0, 1, 0));
    world.charge(TARO, 10_000, "r1").unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000)])), (1, 0, 0, 10_000));
    assert_eq!((world.open_differences(), books(&world)), (vec![], (10_000, 0, 0, 0)));
}

#[test]
fn a_credit_whose_reversal_is_never_listed_can_be_closed_with_what_the_partner_paid() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.reverse(TARO, 10_000, "r1", "v1").unwrap();
    world.settle(&[(Credit, "r1", 10_000)]).unwrap();
    assert_eq!(closed(world.write_off(Reversal, "v1")), (0, 10_000));
    assert_eq!((world.exposure().used, books(&world)), (0, (10_000, 0, 10_000, 0)));
    assert_eq!(counts(world.settle(&[(Reversal, "v1", 10_000)])), (0, 0, 1, 0), "listed late after all");
    assert_eq!(closed(world.write_off(Reversal, "v1")), (10_000, 0));
    assert_eq!(books(&world), (0, 0, 10_000, 10_000));
}

#[test]
fn a_line_that_was_closed_is_not_brought_again_by_a_late_message() {
    let mut world = World::new();
    world.settle(&[(Credit, "r1", 10_000)]).unwrap();
    world.write_off(Credit, "r1").unwrap();
    assert_eq!(world.charge(TARO, 10_000, "r1"), Err(Refusal::ReferenceUsed), "the money is in suspense already");
    world.settle(&[(Credit, "r1", 11_000)]).unwrap();
    assert_eq!(world.charge(TARO, 11_000, "r1"), Err(Refusal::ReferenceUsed), "most of it, though it is open again");
    world.settle(&[(Credit, "r1", 10_000)]).unwrap();
    assert_eq!(world.open_differences(), [], "the partner took that back");
    world.charge(TARO, 5_000, "r2").unwrap();
    world.settle(&[(Credit, "r2", 5_000), (Reversal, "v2", 5_000)]).unwrap();
    world.write_off(Reversal, "v2").unwrap();
    assert_eq!(world.reverse(TARO, 5_000, "r2", "v2"), Err(Refusal::ReferenceUsed), "the loss is in the books already");
    world.tombstone("r1").unwrap();
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000)])), (0, 1, 0, 0), "nor by a tombstone");
}

#[test]
fn a_credit_that_was_written_off_cannot_be_reversed() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    world.write_off(Credit, "r1").unwrap();
    assert_eq!(world.reverse(TARO, 10_000, "r1", "r1"), Err(Refusal::CreditNotFound));
    assert_eq!(counts(world.settle(&[(Credit, "r1", 10_000), (Reversal, "r1", 10_000)])), (2, 0, 0, 0));
    assert_eq!(books(&world), (0, 0, 0, 10_000), "booked and cancelled: the loss stands, the bank has nothing");
}
