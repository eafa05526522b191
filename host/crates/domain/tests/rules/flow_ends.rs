//! What happens to a flow when its step cannot be taken, and what an operator can do; expectations across flows.

use koban_domain::accounts::Class;
use koban_domain::adjustments::Propose;
use koban_domain::flows::{self, Closing, FAULTS_MAX, Plan, Resolution};
use koban_domain::guest::{Failure, Lost, Proposal, Reversal, Standing, StepRefusal, What};
use koban_domain::ledger::{Command, Decided, Expect, Unexpected, Work};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::records::{Fault, FaultClass};

use crate::flows::{Charge, credit_of, effect, reversal_of, timer};
use crate::world::{COLLEAGUE, NOON, OPERATOR, TARO, World, arrived, atm, flow, judgement, proposal};

fn fault() -> Fault {
    Fault { class: FaultClass::Trap, detail: "unreachable".into() }
}

fn refusal(outcome: Refusal) -> StepRefusal {
    StepRefusal { proposal: 0, outcome: outcome.code().into() }
}

/// Commits a plan as the driver does.
fn take(world: &mut World, plan: Plan) -> Decided {
    let work = Work { commands: plan.commands, step: Some(Box::new(plan.step)), ..world.work() };
    world.commit(work).0
}

/// A charge in the books with one credit of so much under `r1`, and the platform that it is in.
fn credited(yen: i64) -> (World, Charge) {
    let mut world = World::new();
    let opened = Charge::opened(10_000).begin(|step| {
        step.effects.push(effect("calls", koban_domain::guest::Act::Expect("session-1".into())));
        step.effects.push(effect("expiry", timer()));
    });
    let plan = opened.plan();
    let charge = Charge { flow: plan.step.flow.clone(), now: NOON };
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    let plan = charge.message(|step| step.proposals.push(credit_of(yen, "r1", 1))).plan();
    let charge = Charge { flow: plan.step.flow.clone(), now: NOON };
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    (world, charge)
}

#[test]
fn a_flow_is_stuck_after_three_faults_in_a_row_and_a_step_between_them_forgives() {
    let mut charge = Charge::begun(1);
    for faults in 1..FAULTS_MAX {
        let commit = flows::faulted(&charge.flow, &fault(), NOON);
        assert_eq!(
            (&commit.consumed, commit.flow.faults, &commit.flow.stuck),
            (&vec![], faults, &None),
            "the event stays"
        );
        charge.flow = commit.flow;
    }
    let forgiven = charge.clone().message(|_| {}).taken();
    assert_eq!(forgiven.flow.faults, 0);
    let commit = flows::faulted(&charge.flow, &fault(), NOON);
    assert_eq!(commit.flow.stuck.as_ref().unwrap().reason, "its plugin faulted 3 times: trap (unreachable)");
    let retried = flows::retried(&commit.flow, commit.flow.settings, NOON);
    assert_eq!((retried.flow.faults, retried.flow.stuck), (0, None));
}

#[test]
fn a_flow_is_told_of_a_refusal_once_and_is_stuck_after_the_second_of_the_same_event() {
    let charge = Charge::begun(1);
    let first = flows::refused(&charge.flow, 4, refusal(Refusal::BalanceLimit), NOON);
    assert_eq!((&first.consumed, &first.flow.stuck), (&vec![], &None));
    assert_eq!(first.flow.refusal_of(4), Some(refusal(Refusal::BalanceLimit)));
    assert_eq!(first.flow.refusal_of(5), None);
    let second = flows::refused(&first.flow, 4, refusal(Refusal::ReferenceUsed), NOON);
    let stuck = second.flow.stuck.unwrap();
    assert_eq!((stuck.reason.as_str(), stuck.since), ("the same event was refused 2 times: reference_used", NOON));
    let other = flows::refused(&first.flow, 5, refusal(Refusal::ReferenceUsed), NOON);
    assert_eq!(other.flow.stuck, None, "another event is another matter");
    let answered = Charge { flow: first.flow, now: NOON }.message(|_| {}).taken();
    assert_eq!(answered.flow.refused, None);
}

#[test]
fn a_credit_that_the_partner_proved_can_be_confirmed_by_an_operator() {
    let (mut world, charge) = credited(4_000);
    let confirm = |yen| Resolution::ConfirmCredit { amount: Money::yen(yen), reference: "r2".into() };
    assert_eq!(
        flows::resolved(&charge.flow, &confirm(6_001), Closing::default(), NOON).unwrap_err(),
        Refusal::AuthorisationExceeded
    );
    let plan = flows::resolved(&charge.flow, &confirm(6_000), Closing::default(), NOON).unwrap();
    assert_eq!((plan.step.flow.standing, plan.step.flow.final_at), (Standing::Done, Some(NOON)));
    assert_eq!(plan.step.cancelled, ["expiry"]);
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    assert_eq!(world.wallet(TARO), (10_000, 0));
    world.audit();
}

#[test]
fn a_confirmed_credit_is_an_ordinary_command_and_can_be_refused() {
    let (mut world, charge) = credited(4_000);
    let again = Resolution::ConfirmCredit { amount: Money::yen(1_000), reference: "r1".into() };
    let plan = flows::resolved(&charge.flow, &again, Closing::default(), NOON).unwrap();
    assert_eq!(take(&mut world, plan), Decided::Refused(0, Refusal::ReferenceUsed));
    let nothing = Resolution::ConfirmCredit { amount: Money::yen(-4_000), reference: "r2".into() };
    let plan = flows::resolved(&charge.flow, &nothing, Closing::default(), NOON).unwrap();
    assert_eq!(take(&mut world, plan), Decided::Refused(0, Refusal::AmountNotPositive));
    assert_eq!(world.shelf.books.flows.get(&flow(1)), Some(&charge.flow.version), "then the flow stays as it was");
}

#[test]
fn an_operator_can_take_back_what_a_flow_credited() {
    let (mut world, charge) = credited(4_000);
    world.pay(TARO, 3_000, 1).unwrap();
    let plan = flows::resolved(&charge.flow, &Resolution::ReverseCredits, Closing::default(), NOON).unwrap();
    assert_eq!(plan.step.flow.standing, Standing::Failed);
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    assert_eq!(world.wallet(TARO), (0, 3_000));
    world
        .settle(&[(koban_domain::guest::Side::Credit, "r1", 4_000), (koban_domain::guest::Side::Reversal, "r1", 4_000)])
        .unwrap();
    assert_eq!((world.exposure().used, world.clearing(), world.platform(Class::Bank)), (0, 0, 0));
    world.audit();
}

#[test]
fn what_is_left_of_a_credit_reversed_in_part_can_be_taken_back_as_well() {
    let (mut world, charge) = credited(4_000);
    let part = Reversal { of: "credit-r1".into(), amount: Money::yen(1_000), reference: "r1".into(), because: 1 };
    let plan = charge.message(|step| step.proposals.push(Proposal::Reverse(part))).plan();
    let reversed = plan.step.flow.clone();
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    let plan = flows::resolved(&reversed, &Resolution::ReverseCredits, Closing::default(), NOON).unwrap();
    assert!(matches!(take(&mut world, plan), Decided::Done(_)), "under a reference of its own, for `r1` is used");
    assert_eq!(world.wallet(TARO), (0, 0));
}

#[test]
fn a_flow_can_be_ended_without_money() {
    let plan = flows::resolved(&Charge::begun(1).flow, &Resolution::End, Closing::default(), NOON).unwrap();
    assert!(plan.commands.is_empty());
    assert_eq!(plan.step.flow.standing, Standing::Failed);
}

#[test]
fn an_adjustment_for_a_flow_is_posted_with_its_end_by_another_person_and_not_without() {
    let (mut world, charge) = credited(4_000);
    world.charge(TARO, 91_000, "r8").unwrap();
    world.does(arrived(TARO, 10_000, "r9")).unwrap();
    for (number, flow) in [(1, charge.flow.id), (2, flow(9))] {
        world.does(Command::Propose(Propose { flow: Some(flow), ..proposal(number, 700) })).unwrap();
    }
    let alone = world.does(Command::Judge(judgement(1, 700, COLLEAGUE, true)));
    assert_eq!(alone, Err(Refusal::AdjustmentNotFound), "it is not posted without the flow's end");
    let resolved = |number, operator| {
        // What the operator says of flow and approval does not count.
        let resolution = Resolution::Adjust(judgement(number, 700, operator, false));
        flows::resolved(&charge.flow, &resolution, Closing::default(), NOON).unwrap()
    };
    for (plan, refusal) in
        [(resolved(2, COLLEAGUE), Refusal::AdjustmentNotFound), (resolved(1, OPERATOR), Refusal::SecondPersonRequired)]
    {
        assert!(matches!(take(&mut world, plan), Decided::Refused(0, found) if found == refusal), "{refusal}");
    }
    assert_eq!(world.wallet(TARO), (95_000, 0));
    let plan = resolved(1, COLLEAGUE);
    assert_eq!(plan.step.flow.standing, Standing::Failed);
    assert!(matches!(take(&mut world, plan), Decided::Done(_)));
    assert_eq!((world.wallet(TARO), world.platform(Class::Suspense)), ((95_700, 0), 9_300));
    world.does(Command::Judge(judgement(2, 700, COLLEAGUE, false))).unwrap();
}

#[test]
fn a_final_flow_that_got_stuck_keeps_its_end_when_it_is_resolved() {
    let done = Charge::begun(1).message(|step| step.standing = Standing::Done).taken();
    let stuck = flows::stuck(&done.flow, "test".into(), NOON).flow;
    let plan = flows::resolved(&stuck, &Resolution::End, Closing::default(), NOON.plus_ms(1)).unwrap();
    assert_eq!((plan.step.flow.standing, plan.step.flow.final_at), (Standing::Done, Some(NOON)));
    assert_eq!(plan.step.flow.stuck, None);
}

#[test]
fn a_reversal_that_exceeds_the_credit_is_refused_by_the_books_and_the_step_with_it() {
    let (mut world, charge) = credited(4_000);
    for yen in [4_001, 0, i64::MIN, i64::MAX] {
        let plan = charge.clone().message(|step| step.proposals.push(reversal_of(yen, "r1", 1))).plan();
        assert!(matches!(take(&mut world, plan), Decided::Refused(0, _)), "{yen}");
    }
    assert_eq!(world.wallet(TARO), (4_000, 0));
}

fn expecting(number: u128, key: &str) -> Command {
    Command::Expect(Expect { plugin: atm(), correlation: "session-1".into(), flow: flow(number), key: key.into() })
}

#[test]
fn a_correlation_belongs_to_the_first_flow_that_expects_it() {
    let mut world = World::new();
    let work = Work { commands: vec![expecting(1, "calls"), expecting(2, "calls")], ..world.work() };
    let (decided, commit) = world.commit(work);
    assert!(matches!(decided, Decided::Done(_)));
    let [arrival] = &commit.arrivals[..] else { panic!("{:?}", commit.arrivals) };
    assert_eq!((arrival.flow, arrival.key.as_str()), (flow(2), "calls"));
    assert!(matches!(arrival.what, What::Lost(Lost::Refused, _)));
    let work = Work { commands: vec![expecting(1, "again")], ..world.work() };
    assert!(world.commit(work).1.arrivals.is_empty(), "asking again is no new wish");
}

#[test]
fn a_call_that_came_before_any_flow_expected_it_keeps_its_correlation_from_all_of_them() {
    let mut world = World::new();
    let call = || Command::Unexpected(Unexpected { plugin: atm(), correlation: "session-1".into() });
    world.does(call()).unwrap();
    world.does(call()).unwrap();
    let work = Work { commands: vec![expecting(1, "calls")], ..world.work() };
    assert_eq!(world.commit(work).1.arrivals.len(), 1);
}

#[test]
fn the_last_note_stays() {
    let note = |code: &str| Failure { code: code.into(), message: String::new(), text: None, retryable: false };
    let noted = Charge::begun(1).message(|step| step.note = Some(note("first"))).taken();
    let quiet = noted.message(|_| {}).taken();
    assert_eq!(quiet.flow.note, Some(note("first")));
    assert_eq!(quiet.message(|step| step.note = Some(note("second"))).taken().flow.note, Some(note("second")));
}
