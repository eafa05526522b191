//! Flows that take money out: what a step may set aside, capture and let go, and when it must wait.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::flows::{self, Authorisation, Closing, Consumed, Flow, HOLDS_MAX, Plan, Resolution, StepRefused};
use koban_domain::guest::{Act, Bill, Capture, Effect, Event, Hold, Lost, Proposal, Standing, Step, What};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::manifest::{Beginning, Kind, Manifest, ProposalKind};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::flows::{answer, call, credit_of, effect, manifest as charging, step};
use crate::world::{NOON, TARO, World, flow, usd};

fn manifest() -> Manifest {
    let proposals = BTreeSet::from([ProposalKind::Hold, ProposalKind::Capture, ProposalKind::Release]);
    Manifest {
        id: "bill-slip".into(),
        kind: Kind::BillPayer,
        proposals: BTreeMap::from([(Beginning::PayBill, proposals)]),
        ..charging()
    }
}

fn hold(key: &str, yen: i64) -> Proposal {
    Proposal::Hold(Hold { key: key.into(), amount: Money::yen(yen) })
}

fn capture_of(key: &str, yen: i64, because: u32, last: bool) -> Capture {
    let reference = format!("p-{key}-{because}");
    Capture { hold: key.into(), amount: Money::yen(yen), fee: None, reference, because, last }
}

fn capture(key: &str, yen: i64, because: u32) -> Proposal {
    Proposal::Capture(capture_of(key, yen, because, true))
}

fn release(key: &str) -> Proposal {
    Proposal::Release(key.into())
}

/// A bill of Taro's of at most 10,000 yen.
#[derive(Debug, Clone)]
struct Paying {
    flow: Flow,
    now: Timestamp,
}

#[derive(Debug)]
struct Attempt(Result<Plan, StepRefused>, Timestamp);

impl Paying {
    fn opened() -> Paying {
        let authorisation =
            Authorisation { user: TARO, at_most: Money::yen(10_000), expires_at: NOON.plus_ms(300_000) };
        let runs_on = (Digest::of(b"component"), Digest::of(b"settings"));
        let mut opened = Flow::open(flow(1), "bill-slip", runs_on, Beginning::PayBill, authorisation, "ja", NOON);
        opened.outgoing.fee = 110;
        opened.outgoing.bill = Some(Bill {
            biller: "912345".into(),
            name: "a biller".into(),
            reference: "1".into(),
            amount: Money::yen(9_890),
            fee: Money::yen(110),
            due: None,
            fields: vec![],
        });
        Paying { flow: opened, now: NOON }
    }

    /// Has 10,000 yen set aside and asks the biller to take them.
    fn begun() -> Paying {
        Paying::opened()
            .begin(|step| {
                step.proposals.push(hold("bill", 10_000));
                step.effects.push(effect("pay", call("debit")));
            })
            .taken()
    }

    fn begin(&self, change: impl FnOnce(&mut Step)) -> Attempt {
        let mut begun = step(Standing::WaitingForPartner);
        change(&mut begun);
        Attempt(flows::advance(&self.flow, None, begun, &manifest(), self.now), self.now)
    }

    fn event(&self, key: &str, what: What, change: impl FnOnce(&mut Step)) -> Attempt {
        let number = self.flow.events + 1;
        let mut next = step(self.flow.standing);
        change(&mut next);
        let consumed =
            Consumed { place: i64::from(number), event: Event { number, key: key.into(), what }, call: None };
        Attempt(flows::advance(&self.flow, Some(&consumed), next, &manifest(), self.now), self.now)
    }

    /// The biller answers the call with this key.
    fn answered(&self, key: &str, change: impl FnOnce(&mut Step)) -> Attempt {
        self.event(key, What::Answer(answer()), change)
    }

    fn lost(&self, how: Lost, change: impl FnOnce(&mut Step)) -> Attempt {
        self.event("pay", What::Lost(how, "test".into()), change)
    }

    fn later(self, ms: i64) -> Paying {
        Paying { now: self.now.plus_ms(ms), ..self }
    }

    fn sums(&self) -> (i64, i64) {
        (self.flow.outgoing.held(), self.flow.outgoing.captured())
    }
}

impl Attempt {
    #[track_caller]
    fn plan(self) -> Plan {
        self.0.unwrap_or_else(|refused| panic!("the step was not taken: {refused}"))
    }

    #[track_caller]
    fn taken(self) -> Paying {
        let now = self.1;
        Paying { flow: self.plan().step.flow, now }
    }

    #[track_caller]
    fn refused(self) -> Refusal {
        match self.0 {
            Err(StepRefused::Refused(refusal)) => {
                Refusal::ALL.into_iter().find(|known| known.code() == refusal.outcome).unwrap()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    fn says(self, words: &str) {
        match self.0 {
            Err(StepRefused::Broken(why)) => assert!(why.contains(words), "`{why}` does not say `{words}`"),
            other => panic!("no rule was broken: {other:?}"),
        }
    }
}

#[test]
fn a_bill_is_held_captured_and_done_in_commands_of_its_own() {
    let begun = Paying::opened().begin(|step| step.proposals.push(hold("bill", 10_000))).plan();
    let [Command::SetAside(set_aside)] = &begun.commands[..] else { panic!("{:?}", begun.commands) };
    assert_eq!((set_aside.amount, set_aside.of.flow, set_aside.of.user), (10_000, flow(1), TARO));
    let done = Paying::begun().answered("pay", |step| {
        let fee = Some(Money::yen(110));
        step.proposals.push(Proposal::Capture(Capture { fee, ..capture_of("bill", 10_000, 1, true) }));
        step.standing = Standing::Done;
    });
    let plan = done.plan();
    let [Command::Take(take)] = &plan.commands[..] else { panic!("{:?}", plan.commands) };
    assert_eq!(
        (take.amount, take.fee, take.last, take.reference.as_str()),
        (Money::yen(10_000), 110, true, "p-bill-1")
    );
    assert_eq!(plan.step.flow.outgoing.captured(), 10_000);
}

#[test]
fn a_capture_rests_on_a_signed_answer_and_stays_within_its_hold() {
    let begun = Paying::begun();
    begun.lost(Lost::Unknown, |step| step.proposals.push(capture("bill", 10_000, 1))).says("no authenticated");
    begun.event("t", What::Rang, |step| step.proposals.push(capture("bill", 10_000, 1))).says("no authenticated");
    begun.answered("pay", |step| step.proposals.push(capture("bill", 10_000, 2))).says("event 2 is no authenticated");
    begun.answered("pay", |step| step.proposals.push(capture("other", 1, 1))).says("there is no hold `other`");
    let answered = |amount: Money| {
        begun.answered("pay", |step| {
            step.proposals.push(Proposal::Capture(Capture { amount, ..capture_of("bill", 1, 1, true) }));
        })
    };
    assert_eq!(answered(Money::yen(10_001)).refused(), Refusal::CaptureExceedsHold);
    assert_eq!(answered(Money::yen(0)).refused(), Refusal::AmountNotPositive);
    assert_eq!(answered(Money::new(1, usd())).refused(), Refusal::CurrencyNotAccepted);
    for fee in [Money::yen(-1), Money::yen(10), Money::new(1, usd())] {
        let with_fee = |step: &mut Step| {
            step.proposals.push(Proposal::Capture(Capture { fee: Some(fee), ..capture_of("bill", 10, 1, true) }));
        };
        begun.answered("pay", with_fee).says("a fee is a part of the captured amount");
    }
}

#[test]
fn fees_are_together_at_most_what_the_user_agreed_to_on_top() {
    let with_fee = |key: &str, yen, fee, because| {
        let fee = Some(Money::yen(fee));
        Proposal::Capture(Capture { fee, ..capture_of(key, yen, because, false) })
    };
    let begun = Paying::begun();
    let words = "a fee of 111 is more than what is left of the fee that the user agreed to, 110";
    begun.answered("pay", |step| step.proposals.push(with_fee("bill", 9_000, 111, 1))).says(words);
    let first = begun.answered("pay", |step| step.proposals.push(with_fee("bill", 4_000, 100, 1))).taken();
    first.answered("x", |step| step.proposals.push(with_fee("bill", 4_000, 11, 2))).says("user agreed to, 10");
    let all = first.answered("x", |step| step.proposals.push(with_fee("bill", 4_000, 10, 2))).taken();
    assert_eq!((all.sums(), all.flow.outgoing.fee_taken), ((2_000, 8_000), 110));
}

#[test]
fn a_second_capture_takes_what_is_left_and_none_comes_after_the_end() {
    let part = Proposal::Capture(capture_of("bill", 4_000, 1, false));
    let begun = Paying::begun().answered("pay", |step| step.proposals.push(part)).taken();
    assert_eq!(begun.sums(), (6_000, 4_000));
    let more = |yen| begun.answered("pay", |step| step.proposals.push(capture("bill", yen, 2)));
    assert_eq!(more(6_001).refused(), Refusal::CaptureExceedsHold);
    let all = more(6_000).taken();
    assert_eq!(all.answered("pay", |step| step.proposals.push(capture("bill", 1, 3))).refused(), Refusal::HoldEnded);
    let done = all.answered("pay", |step| step.standing = Standing::Done).taken();
    for late in [capture("bill", 1, 3), hold("more", 1), release("bill")] {
        done.answered("pay", |step| step.proposals.push(late)).says("a final flow may not propose");
    }
}

#[test]
fn holds_stay_within_the_authorisation_its_currency_and_its_time() {
    let opened = Paying::opened();
    let begin = |proposals: Vec<Proposal>| opened.begin(|step| step.proposals = proposals);
    assert_eq!(begin(vec![hold("a", 10_001)]).refused(), Refusal::AuthorisationExceeded);
    assert_eq!(begin(vec![hold("a", 6_000), hold("b", 4_001)]).refused(), Refusal::AuthorisationExceeded);
    assert_eq!(begin(vec![hold("a", i64::MAX), hold("b", i64::MAX)]).refused(), Refusal::AuthorisationExceeded);
    assert_eq!(begin(vec![hold("a", 0)]).refused(), Refusal::AmountNotPositive);
    let dollars = Proposal::Hold(Hold { key: "a".into(), amount: Money::new(1, usd()) });
    assert_eq!(begin(vec![dollars]).refused(), Refusal::CurrencyNotAccepted);
    begin(vec![hold("a", 1), hold("a", 1)]).says("the hold `a` was proposed before");
    begin(vec![hold("", 1)]).says("a hold's key has 1 to");
    begin(vec![hold("a\n", 1)]).says("no control characters");
    let late = Paying::opened().later(300_001);
    assert_eq!(late.begin(|step| step.proposals.push(hold("a", 1))).refused(), Refusal::AuthorisationExpired);
    let taken = Paying::begun().answered("pay", |step| step.proposals.push(capture("bill", 4_000, 1))).taken();
    let more = |yen| taken.answered("pay", |step| step.proposals.push(hold("more", yen)));
    assert_eq!(more(6_001).refused(), Refusal::AuthorisationExceeded, "what was taken counts for ever");
    more(6_000).taken();
}

#[test]
fn a_released_hold_gives_room_back_but_a_flow_makes_only_so_many() {
    let mut paying = Paying::opened().begin(|step| step.proposals.push(hold("0", 10_000))).taken();
    for number in 1..HOLDS_MAX {
        let both = vec![release(&(number - 1).to_string()), hold(&number.to_string(), 10_000)];
        paying = paying.answered("t", |step| step.proposals = both).taken();
    }
    assert_eq!(paying.sums(), (10_000, 0));
    let last = (HOLDS_MAX - 1).to_string();
    paying.answered("t", |step| step.proposals = vec![release(&last), hold("more", 1)]).says("at most 16 holds");
}

#[test]
fn a_bill_brings_no_money_and_a_charge_takes_none() {
    let begun = Paying::begun();
    begun.answered("pay", |step| step.proposals.push(credit_of(1, "r1", 1))).says("may not propose Credit");
    for proposal in [hold("a", 1), capture("a", 1, 1), release("a")] {
        let charge = crate::flows::Charge::begun(10_000).message(|step| step.proposals.push(proposal));
        assert!(charge.broken().contains("a Charge may not propose"));
    }
}

#[test]
fn nothing_is_let_go_while_a_call_is_under_way_or_unknown() {
    let begun = Paying::begun();
    let ends = |step: &mut Step| step.standing = Standing::Failed;
    begun.event("", What::CancelAsked, ends).says("while the call `pay` is open");
    begun.event("t", What::Rang, |step| step.proposals.push(release("bill"))).says("while the call `pay` is open");
    for how in [Lost::Unknown, Lost::BadSignature] {
        let unsure = begun.lost(how, |step| step.standing = Standing::Checking).taken();
        assert_eq!(unsure.sums(), (10_000, 0), "the hold stays");
        unsure.event("t", What::Rang, ends).says("nobody knows whether the partner did `pay`");
        begun.lost(how, |step| step.proposals.push(release("bill"))).says("nobody knows");
        begun.lost(how, ends).says("nobody knows");
        let asked = unsure.event("t", What::Rang, |step| step.effects.push(effect("status", call("approve")))).taken();
        asked.event("t2", What::Rang, ends).says("while the call `status` is open");
        let freed = asked.answered("status", ends).taken();
        assert_eq!((freed.sums(), freed.flow.standing), ((0, 0), Standing::Failed));
    }
    for how in [Lost::NotSent, Lost::Refused] {
        begun.lost(how, |step| step.proposals.push(release("bill"))).taken();
    }
    // Nor in the step that asks for a call.
    let both = Paying::opened().begin(|step| step.proposals.push(hold("bill", 10_000))).taken();
    both.answered("x", |step| {
        step.proposals.push(release("bill"));
        step.effects.push(effect("pay", call("debit")));
    })
    .says("while the call `pay` is open");
    // A last capture lets go of the rest, too.
    let open = begun.answered("other", |step| step.proposals.push(capture("bill", 9_999, 1)));
    open.says("while the call `pay` is open");
}

#[test]
fn an_answer_that_was_lost_for_too_long_needs_an_operator() {
    let unsure = Paying::begun().lost(Lost::Unknown, |step| step.standing = Standing::Checking).taken();
    // The deadline of the manifest's operations is a minute.
    assert_eq!(unsure.flow.outgoing.overdue(NOON.plus_ms(60_000)), None);
    let why = unsure.flow.outgoing.overdue(NOON.plus_ms(60_001)).unwrap();
    assert!(why.contains("nobody knows whether the partner did `pay`"), "{why}");
    // Who retries it gives it as long again.
    let again = flows::retried(&unsure.flow, unsure.flow.settings, NOON.plus_ms(60_001)).flow;
    assert_eq!(again.outgoing.overdue(NOON.plus_ms(120_001)), None);
    assert!(again.outgoing.overdue(NOON.plus_ms(120_002)).is_some());
    let known = unsure.answered("status", |_| {}).taken();
    assert_eq!(known.flow.outgoing.overdue(NOON.plus_ms(60_001)), None);
}

#[test]
fn the_end_of_a_flow_is_the_end_of_its_holds_and_an_unpaid_bill_may_be_paid_by_another() {
    let two = Paying::opened().begin(|step| step.proposals = vec![hold("a", 1_000), hold("b", 2_000)]).taken();
    let plan = two.answered("t", |step| step.standing = Standing::Failed).plan();
    let [Command::LetGo(first), Command::LetGo(second), Command::FreeBill(free)] = &plan.commands[..] else {
        panic!("{:?}", plan.commands)
    };
    assert_eq!((first.of.key.as_str(), second.of.key.as_str()), ("a", "b"));
    assert_eq!((free.bill.reference.as_str(), free.flow), ("1", flow(1)));
    let paid = two.answered("t", |step| {
        step.proposals.push(capture("a", 1_000, 1));
        step.standing = Standing::Done;
    });
    let plan = paid.plan();
    let [Command::Take(_), Command::LetGo(rest)] = &plan.commands[..] else { panic!("{:?}", plan.commands) };
    assert_eq!(rest.of.key, "b");
}

#[test]
fn a_stuck_flow_keeps_its_holds_until_an_operator_resolves_it() {
    let stuck = flows::stuck(&Paying::begun().flow, "test".into(), NOON).flow;
    assert_eq!(stuck.outgoing.held(), 10_000);
    let resolved = |resolution| flows::resolved(&stuck, &resolution, Closing::default(), NOON);
    let confirm = |yen| Resolution::ConfirmCapture { amount: Money::yen(yen), reference: "proved".into() };
    assert_eq!(resolved(confirm(10_001)).unwrap_err(), Refusal::CaptureExceedsHold);
    let plan = resolved(confirm(10_000)).unwrap();
    let [Command::Take(take)] = &plan.commands[..] else { panic!("{:?}", plan.commands) };
    assert_eq!((take.fee, take.last, plan.step.flow.standing), (110, true, Standing::Done));
    let part = resolved(confirm(9_000)).unwrap();
    assert!(matches!(&part.commands[..], [Command::Take(take)] if take.fee == 0 && take.last));
    let plan = resolved(Resolution::End).unwrap();
    assert!(matches!(&plan.commands[..], [Command::LetGo(_), Command::FreeBill(_)]), "{:?}", plan.commands);
    assert_eq!((plan.step.flow.outgoing.held(), plan.step.flow.standing), (0, Standing::Failed));
}

#[test]
fn the_books_and_the_flow_agree_from_the_beginning_to_the_end() {
    let mut world = World::new();
    world.charge(TARO, 20_000, "r1").unwrap();
    let mut take = |plan: Plan| {
        let work = Work { commands: plan.commands, step: Some(Box::new(plan.step)), ..world.work() };
        assert!(matches!(world.commit(work).0, Decided::Done(_)));
    };
    let begun = Paying::opened().begin(|step| {
        step.proposals.push(hold("bill", 10_000));
        step.effects.push(Effect { key: "pay".into(), act: call("debit") });
    });
    let plan = begun.plan();
    let paying = Paying { flow: plan.step.flow.clone(), now: NOON };
    take(plan);
    let done = paying.answered("pay", |step| {
        step.proposals.push(capture("bill", 9_000, 1));
        step.standing = Standing::Done;
    });
    take(done.plan());
    assert_eq!((world.available(TARO), world.wallet(TARO).0), (11_000, 11_000));
    world.audit();
}

#[test]
fn an_answer_is_not_of_a_timer() {
    // What a flow set aside is no timer's to take: the act is checked, not the key.
    let rings = Act::Timer(u64::try_from(NOON.plus_ms(1_000).0).unwrap());
    let begun = Paying::opened().begin(|step| {
        step.proposals.push(hold("bill", 10_000));
        step.effects.push(effect("pay", rings));
    });
    let rung = begun.taken().event("pay", What::Lost(Lost::Unknown, String::new()), |_| {}).taken();
    assert_eq!(rung.flow.outgoing.unsure, None, "only a call can be unknown");
}
