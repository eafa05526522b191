//! Closings: each capture in exactly one, fee and tax truncated, what is below nought carried forward, each period closed once.

use koban_domain::accounts::Class;
use koban_domain::closings::{Closing, ClosingState};
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::outcomes::Refusal;

use crate::shops::{TODAY, close, of_shop};
use crate::world::{COLLEAGUE, DAY_MS, OPERATOR, TARO, World, judgement, pay, proposal};

use koban_domain::accounts::AccountKey;
use koban_domain::adjustments::{Judge, Line, Propose};
use koban_domain::disputes::Outcome;
use koban_domain::money::Currency;

fn world() -> World {
    let mut world = World::new();
    world.charge(TARO, 100_000, "r1").unwrap();
    world.arrange(0, "0.0324");
    world
}

#[test]
fn a_closing_takes_fee_and_tax_and_says_what_is_due() {
    let mut world = world();
    world.pay(TARO, 10_000, 1).unwrap();
    world.authorise(TARO, 5_000, 2).unwrap();
    world.capture(2, Some(1_234), true).unwrap();
    world.authorise(TARO, 700, 3).unwrap();
    world.refund(TARO, 1_000, 1).unwrap();
    let closing = world.close(TODAY).unwrap().unwrap();
    // 3.24 in a hundred of 11,234 is 363.98; 8 in a hundred of 363 is 29.04.
    assert_eq!((closing.captured, closing.refunded, closing.fee, closing.tax), (11_234, 1_000, 363, 29));
    assert_eq!((closing.due, closing.left, closing.carried), (9_842, 0, 0));
    assert_eq!(closing.tax_rate.to_string(), "0.08");
    assert_eq!((world.payable(), world.balance(of_shop(Class::PayoutDue))), (0, 9_842));
    assert_eq!((world.platform(Class::FeeIncome), world.platform(Class::ConsumptionTax)), (363, 29));
    world.check();
}

#[test]
fn each_capture_is_in_exactly_one_closing_whatever_is_in_the_same_commit() {
    let mut world = world();
    let mut made: Vec<Closing> = Vec::new();
    for day in 0..4_u128 {
        let mut works = Vec::new();
        for place in 0..5 {
            let mut work = world.work();
            let until = TODAY - 4 + i32::try_from(day).unwrap() + 1;
            work.commands =
                vec![if place == 2 { Command::MakeClosing(close(until)) } else { pay(TARO, 100, day * 10 + place) }];
            works.push(work);
        }
        let (decided, _) = world.shelf.commit(&works, world.now);
        world.check();
        for answer in decided.into_iter().filter_map(|decided| match decided {
            Decided::Done(mut answers) => answers.pop(),
            other => panic!("{other:?}"),
        }) {
            if let Answer::Closing(closing) = answer {
                made.extend(closing.map(|closing| *closing));
            }
        }
    }
    assert_eq!(made.iter().map(|closing| closing.captured).collect::<Vec<_>>(), [200, 400, 400, 400]);
    assert_eq!(world.payable(), 200, "the last two wait for the next one");
    // The entries that each took in, by the journal itself.
    for closing in &made {
        let within = world.shelf.entries.iter().filter(|entry| {
            let place = entry.sequence;
            place > closing.after && place <= closing.through
        });
        let captured: i64 = within
            .flat_map(|entry| &entry.draft.postings)
            .filter(|posting| posting.account.class == Class::Payable)
            .map(|posting| posting.amount)
            .sum();
        assert_eq!(captured, closing.captured, "{closing:?}");
    }
}

#[test]
fn a_period_is_closed_once_and_not_before_it_is_over() {
    let mut world = world();
    world.pay(TARO, 1_000, 1).unwrap();
    assert_eq!(world.close(TODAY + 1).unwrap_err(), Refusal::PeriodNotOver);
    world.close(TODAY).unwrap().unwrap();
    world.pay(TARO, 1_000, 2).unwrap();
    for until in [TODAY, TODAY - 1] {
        assert_eq!(world.close(until).unwrap_err(), Refusal::PeriodClosed);
    }
    world.now = world.now.plus_ms(DAY_MS);
    assert_eq!(world.close(TODAY + 1).unwrap().unwrap().captured, 1_000);
}

#[test]
fn a_period_in_which_nothing_moved_is_closed_and_leaves_no_closing() {
    let mut world = world();
    let entries = world.shelf.entries.len();
    assert_eq!(world.close(TODAY - 1).unwrap(), None);
    assert_eq!(world.shelf.entries.len(), entries);
    assert_eq!(world.close(TODAY - 1).unwrap_err(), Refusal::PeriodClosed);
    world.pay(TARO, 1_000, 1).unwrap();
    assert_eq!(world.close(TODAY).unwrap().unwrap().captured, 1_000);
}

#[test]
fn what_is_below_nought_is_carried_into_the_next_closing() {
    let mut world = world();
    world.arrange(500, "0.1");
    world.pay(TARO, 1_000, 1).unwrap();
    world.close(TODAY - 1).unwrap().unwrap();
    world.refund(TARO, 400, 1).unwrap();
    let second = world.close(TODAY).unwrap().unwrap();
    assert_eq!((second.refunded, second.fee, second.due, second.left), (400, 0, 0, -400));
    assert_eq!(world.payable(), -400);
    world.pay(TARO, 1_000, 2).unwrap();
    world.now = world.now.plus_ms(DAY_MS);
    let third = world.close(TODAY + 1).unwrap().unwrap();
    assert_eq!((third.carried, third.captured, third.fee, third.tax, third.due), (-400, 1_000, 100, 8, 492));
    world.audit();
}

#[test]
fn fees_are_owed_also_by_a_merchant_that_gave_everything_back() {
    let mut world = world();
    world.pay(TARO, 10_000, 1).unwrap();
    world.refund(TARO, 10_000, 1).unwrap();
    let closing = world.close(TODAY).unwrap().unwrap();
    assert_eq!((closing.fee, closing.tax, closing.due, closing.left), (324, 25, 0, -349));
    assert_eq!(world.payable(), -349);
    // No refund follows from having been taken so low by fees.
    world.pay(TARO, 300, 2).unwrap();
    assert_eq!(world.refund(TARO, 1, 2).unwrap_err(), Refusal::MerchantBalanceTooLow);
    world.pay(TARO, 100, 3).unwrap();
    world.refund(TARO, 51, 3).unwrap();
    assert_eq!(world.refund(TARO, 1, 3).unwrap_err(), Refusal::MerchantBalanceTooLow);
    world.check();
}

#[test]
fn disputes_and_adjustments_are_told_apart_from_captures_and_refunds() {
    let mut world = world();
    world.arrange(0, "0.1");
    world.pay(TARO, 1_000, 1).unwrap();
    world.pay(TARO, 1_000, 2).unwrap();
    world.contest(1, 300).unwrap();
    world.contest(2, 200).unwrap();
    world.end_dispute(1, Outcome::Won(OPERATOR)).unwrap();
    world.end_dispute(2, Outcome::Lost(OPERATOR)).unwrap();
    let line = |debit, credit, amount| Line { debit, credit, amount };
    let (payable, loss) = (AccountKey::payable(crate::world::SHOP, Currency::JPY), Class::WriteOff);
    let loss = AccountKey::platform(loss, Currency::JPY);
    let lines = vec![line(loss, payable, 50)];
    let proposed = Propose { lines: lines.clone(), ..proposal(1, 1) };
    world.does(Command::Propose(proposed)).unwrap();
    world.does(Command::Judge(Judge { lines, ..judgement(1, 1, COLLEAGUE, true) })).unwrap();
    let closing = world.close(TODAY).unwrap().unwrap();
    let Closing { captured, refunded, disputed, returned, adjusted, fee, tax, due, .. } = closing;
    assert_eq!((captured, refunded, disputed, returned, adjusted), (2_000, 0, 500, 300, 50));
    assert_eq!((fee, tax, due), (200, 16, 1_634));
    world.audit();
}

#[test]
fn a_dispute_over_a_closing_moves_between_the_periods_in_which_it_was_opened_and_won() {
    let mut world = world();
    world.arrange(0, "0");
    world.pay(TARO, 1_000, 1).unwrap();
    world.contest(1, 300).unwrap();
    assert_eq!(world.close(TODAY - 1).unwrap().unwrap().due, 700);
    world.end_dispute(1, Outcome::Won(OPERATOR)).unwrap();
    let closing = world.close(TODAY).unwrap().unwrap();
    assert_eq!((closing.captured, closing.returned, closing.due), (0, 300, 300));
    world.audit();
}

#[test]
fn what_is_due_is_paid_out_once_and_under_one_reference() {
    let mut world = world();
    world.arrange(0, "0");
    for (until, number) in [(TODAY - 1, 1), (TODAY, 2)] {
        world.pay(TARO, 1_000, number).unwrap();
        world.close(until).unwrap().unwrap();
    }
    let Answer::PaidOut(paid) = world.pay_out(TODAY - 1, "bank 1").unwrap() else { panic!() };
    assert_eq!(
        (paid.state, paid.reference.as_deref(), paid.paid_at),
        (ClosingState::Paid, Some("bank 1"), Some(world.now))
    );
    assert_eq!((world.balance(of_shop(Class::PayoutDue)), world.platform(Class::Bank)), (1_000, -1_000));
    assert_eq!(world.pay_out(TODAY - 1, "bank 2").unwrap_err(), Refusal::ClosingPaid);
    assert_eq!(world.pay_out(TODAY, "bank 1").unwrap_err(), Refusal::PayoutReferenceUsed);
    world.pay_out(TODAY, "bank 2").unwrap();
    world.check();
}

#[test]
fn of_two_closings_of_one_period_in_one_commit_one_is_made() {
    let mut world = world();
    world.pay(TARO, 1_000, 1).unwrap();
    let works: Vec<Work> =
        (0..2).map(|_| Work { commands: vec![Command::MakeClosing(close(TODAY))], ..world.work() }).collect();
    let (decided, _) = world.shelf.commit(&works, world.now);
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(decided[1], Decided::Refused(0, Refusal::PeriodClosed));
    world.check();
}
