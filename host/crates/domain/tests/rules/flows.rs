//! The rules of flows, each as a sentence: what a step may ask for and propose, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::flows::{
    self, AGE_MAX_MS, Authorisation, CallKey, Consumed, EffectState, Flow, KEY_BYTES_MAX, OPEN_EFFECTS_MAX,
    PROPOSALS_MAX, Plan, STATE_BYTES_MAX, STEPS_MAX, StepRefused,
};
use koban_domain::guest::{
    Act, Capture, Credit, Effect, Event, Hold, HttpAnswer, HttpCall, Lost, Message, Proposal, Reversal, Show, Standing,
    Step, What,
};
use koban_domain::ledger::Command;
use koban_domain::manifest::{
    Beginning, CredentialKind, EndpointSpec, EngineKind, Kind, Manifest, Method, OperationSpec, ProposalKind, Repeat,
    Words,
};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;

use crate::world::{NOON, TARO, atm, flow, usd};

pub(crate) fn manifest() -> Manifest {
    let words = || Words { ja: "試験".into(), en: "test".into() };
    let operation = |name: &str, repeat| OperationSpec {
        name: name.into(),
        method: Method::Post,
        path: "/approve".into(),
        repeat,
        timeout_s: 10,
        deadline_s: 60,
        feed_every_s: None,
        content_type: None,
        probe: false,
    };
    let proposals = BTreeSet::from([ProposalKind::Credit, ProposalKind::Reverse, ProposalKind::Tombstone]);
    Manifest {
        id: "charge-atm".into(),
        version: "1.0.0".into(),
        contract: koban_domain::guest::CONTRACT.into(),
        kind: Kind::ChargeChannel,
        engine: EngineKind::Native,
        name: words(),
        purpose: words(),
        settings: vec![],
        facts: vec![],
        signals: vec![],
        directories: vec![],
        endpoints: vec![EndpointSpec {
            name: "network".into(),
            credential: CredentialKind::StandardWebhooks,
            headers: vec![],
            hmac: None,
            oauth: None,
            operations: vec![operation("approve", Repeat::Safe), operation("debit", Repeat::Never)],
            inbound: vec![],
        }],
        proposals: BTreeMap::from([(Beginning::Charge, proposals)]),
        codes: vec![],
        texts: BTreeMap::new(),
        links: vec![],
        formats: vec![],
        events: vec![],
        budgets: vec![],
        tables: vec![],
    }
}

/// A step that asks for nothing.
pub(crate) fn step(standing: Standing) -> Step {
    Step { state: vec![1], standing, effects: vec![], proposals: vec![], reply: None, note: None }
}

pub(crate) fn credit_of(yen: i64, reference: &str, because: u32) -> Proposal {
    let (key, reference) = (format!("credit-{reference}"), reference.to_owned());
    Proposal::Credit(Credit { key, amount: Money::yen(yen), reference, because, arrived: false })
}

pub(crate) fn reversal_of(yen: i64, reference: &str, because: u32) -> Proposal {
    let (of, reference) = (format!("credit-{reference}"), format!("back-{reference}"));
    Proposal::Reverse(Reversal { of, amount: Money::yen(yen), reference, because })
}

pub(crate) fn effect(key: &str, act: Act) -> Effect {
    Effect { key: key.into(), act }
}

pub(crate) fn call(operation: &str) -> Act {
    let (endpoint, operation) = ("network".to_owned(), operation.to_owned());
    Act::Http(HttpCall { endpoint, operation, path: String::new(), query: vec![], body: b"{}".to_vec() })
}

pub(crate) fn answer() -> HttpAnswer {
    HttpAnswer { status: 200, headers: vec![], body: b"ok".to_vec() }
}

pub(crate) fn timer() -> Act {
    Act::Timer(u64::try_from(NOON.plus_ms(60_000).0).unwrap())
}

fn message() -> What {
    What::Message(Message { operation: "deposit".into(), path: String::new(), query: vec![], body: vec![] })
}

/// A charge of Taro's that has begun and expects calls.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    pub(crate) flow: Flow,
    pub(crate) now: Timestamp,
}

/// What became of a step.
#[derive(Debug)]
pub(crate) struct Attempt {
    charge: Charge,
    result: Result<Plan, StepRefused>,
}

impl Charge {
    pub(crate) fn opened(at_most: i64) -> Charge {
        let authorisation =
            Authorisation { user: TARO, at_most: Money::yen(at_most), expires_at: NOON.plus_ms(300_000) };
        let component = Digest::of(b"component");
        let opened = Flow::open(
            flow(1),
            "charge-atm",
            (component, Digest::of(b"settings")),
            Beginning::Charge,
            authorisation,
            "ja",
            NOON,
        );
        Charge { flow: opened, now: NOON }
    }

    pub(crate) fn begun(at_most: i64) -> Charge {
        let begin = |step: &mut Step| step.effects.push(effect("calls", Act::Expect("session-1".into())));
        Charge::opened(at_most).begin(begin).taken()
    }

    pub(crate) fn begin(self, change: impl FnOnce(&mut Step)) -> Attempt {
        let mut begun = step(Standing::WaitingForPartner);
        change(&mut begun);
        let result = flows::advance(&self.flow, None, begun, &manifest(), self.now);
        Attempt { charge: self, result }
    }

    pub(crate) fn later(self, ms: i64) -> Charge {
        Charge { now: self.now.plus_ms(ms), ..self }
    }

    /// The flow consumes an event with a step that stays where it stands unless it is changed.
    pub(crate) fn event(self, key: &str, what: What, change: impl FnOnce(&mut Step)) -> Attempt {
        let number = self.flow.events + 1;
        let mut next = step(self.flow.standing);
        change(&mut next);
        let event = Event { number, key: key.into(), what };
        let consumed = Consumed { place: i64::from(number), event, call: Some(CallKey([9; 16])) };
        let result = flows::advance(&self.flow, Some(&consumed), next, &manifest(), self.now);
        Attempt { charge: self, result }
    }

    pub(crate) fn message(self, change: impl FnOnce(&mut Step)) -> Attempt {
        self.event("calls", message(), change)
    }

    /// The next event's number.
    fn next(&self) -> u32 {
        self.flow.events + 1
    }

    fn credited(yen: i64) -> Charge {
        let charge = Charge::begun(10_000);
        let because = charge.next();
        charge.message(|step| step.proposals.push(credit_of(yen, "r1", because))).taken()
    }

    fn done() -> Charge {
        Charge::credited(5_000).message(|step| step.standing = Standing::Done).taken()
    }

    fn effect(&self, key: &str) -> EffectState {
        self.flow.effects.iter().find(|effect| effect.key == key).unwrap().state
    }
}

impl Attempt {
    #[track_caller]
    pub(crate) fn plan(self) -> Plan {
        self.result.unwrap_or_else(|refused| panic!("the step was not taken: {refused}"))
    }

    #[track_caller]
    pub(crate) fn taken(self) -> Charge {
        let now = self.charge.now;
        Charge { flow: self.plan().step.flow, now }
    }

    #[track_caller]
    pub(crate) fn refused(self) -> Refusal {
        match self.result {
            Err(StepRefused::Refused(refusal)) => {
                Refusal::ALL.into_iter().find(|known| known.code() == refusal.outcome).unwrap()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn broken(self) -> String {
        match self.result {
            Err(StepRefused::Broken(why)) => why,
            other => panic!("no rule was broken: {other:?}"),
        }
    }
}

#[track_caller]
fn says(attempt: Attempt, words: &str) {
    let why = attempt.broken();
    assert!(why.contains(words), "`{why}` does not say `{words}`");
}

#[test]
fn a_step_consumes_one_event_and_moves_the_flow_by_one_version() {
    let charge = Charge::begun(10_000);
    assert_eq!((charge.flow.version, charge.flow.steps, charge.flow.events), (1, 1, 0));
    let plan = charge.message(|step| step.proposals.push(credit_of(1_000, "r1", 1))).plan();
    assert_eq!((plan.step.expected, plan.step.consumed), (Some(1), vec![1]));
    assert_eq!((plan.step.flow.version, plan.step.flow.steps, plan.step.flow.events), (2, 2, 1));
    assert_eq!(plan.step.flow.net(), 1_000);
    let Command::Credit(credit) = &plan.commands[0] else { panic!("{:?}", plan.commands) };
    assert_eq!((credit.plugin, credit.flow, credit.user, credit.arrived), (atm(), flow(1), TARO, false));
}

#[test]
fn a_beginning_opens_the_flow_and_has_no_event_that_money_could_rest_on() {
    let plan = Charge::opened(10_000).begin(|_| {}).plan();
    assert_eq!((plan.step.expected, plan.step.consumed, plan.step.replies), (None, vec![], vec![]));
    for because in [0, 1] {
        let begun = Charge::opened(10_000).begin(|step| step.proposals.push(credit_of(1_000, "r1", because)));
        says(begun, "no authenticated answer or message");
    }
}

#[test]
fn commands_answer_to_proposals_in_order_before_anything_else() {
    let plan = Charge::begun(10_000)
        .message(|step| {
            step.effects.push(effect("more", Act::Expect("session-2".into())));
            step.proposals.push(credit_of(1_000, "r1", 1));
            step.proposals.push(Proposal::Tombstone("r2".into()));
            step.proposals.push(reversal_of(400, "r1", 1));
        })
        .plan();
    let [Command::Credit(_), Command::Tombstone(dead), Command::Reverse(back), Command::Expect(_)] = &plan.commands[..]
    else {
        panic!("{:?}", plan.commands)
    };
    assert_eq!((dead.flow, dead.reference.as_str()), (Some(flow(1)), "r2"));
    assert_eq!((back.of.as_str(), back.reference.as_str(), back.amount), ("r1", "back-r1", Money::yen(400)));
    assert_eq!(plan.step.flow.net(), 600);
}

#[test]
fn money_rests_on_an_authenticated_answer_or_message_and_on_nothing_else() {
    let rests = |what| Charge::begun(10_000).event("calls", what, |step| step.proposals.push(credit_of(1, "r1", 1)));
    rests(message()).taken();
    rests(What::Answer(answer())).taken();
    for what in
        [What::Rang, What::Form(vec![]), What::CancelAsked, What::Lost(Lost::Unknown, String::new()), What::Queued]
    {
        says(rests(what), "no authenticated answer or message");
    }
    let form = Charge::begun(10_000).event("scan", What::Form(vec![]), |_| {}).taken();
    let later = |because| form.clone().message(|step| step.proposals.push(credit_of(1, "r1", because)));
    says(later(1), "event 1 is no authenticated");
    says(later(3), "event 3 is no authenticated");
    let earlier = later(2).taken().event("t", What::Rang, |step| step.proposals.push(credit_of(1, "r2", 2)));
    earlier.taken();
}

#[test]
fn credits_never_exceed_the_authorisation_even_by_parts_or_after_reversals() {
    let charge = Charge::credited(10_000);
    assert_eq!(
        charge.clone().message(|step| step.proposals.push(credit_of(1, "r2", 1))).refused(),
        Refusal::AuthorisationExceeded
    );
    let reversed = charge.message(|step| step.proposals.push(reversal_of(10_000, "r1", 1))).taken();
    assert_eq!(reversed.flow.net(), 0);
    assert_eq!(
        reversed.message(|step| step.proposals.push(credit_of(1, "r2", 1))).refused(),
        Refusal::AuthorisationExceeded
    );
    let parts = Charge::begun(10_000).message(|step| {
        step.proposals.push(credit_of(6_000, "r1", 1));
        step.proposals.push(credit_of(6_000, "r2", 1));
    });
    let Err(StepRefused::Refused(refusal)) = parts.result else { panic!() };
    assert_eq!((refusal.proposal, refusal.outcome.as_str()), (1, "authorisation_exceeded"));
    let wrapped = Charge::begun(i64::MAX - 1).message(|step| {
        step.proposals.push(credit_of(i64::MAX - 1, "r1", 1));
        step.proposals.push(credit_of(i64::MAX - 1, "r2", 1));
    });
    assert_eq!(wrapped.refused(), Refusal::AuthorisationExceeded);
}

#[test]
fn a_credit_is_positive_and_in_the_currency_that_was_authorised() {
    let propose = |amount| {
        Charge::begun(10_000).message(|step| {
            let Proposal::Credit(credit) = credit_of(1, "r1", 1) else { panic!() };
            step.proposals.push(Proposal::Credit(Credit { amount, ..credit }));
        })
    };
    assert_eq!(propose(Money::yen(0)).refused(), Refusal::AmountNotPositive);
    assert_eq!(propose(Money::yen(i64::MIN)).refused(), Refusal::AmountNotPositive);
    assert_eq!(propose(Money::new(1, usd())).refused(), Refusal::CurrencyNotAccepted);
}

#[test]
fn after_its_expiry_an_authorisation_takes_only_money_that_has_arrived() {
    let propose = |late, arrived| {
        Charge::begun(10_000).later(late).message(|step| {
            let Proposal::Credit(credit) = credit_of(1_000, "r1", 1) else { panic!() };
            step.proposals.push(Proposal::Credit(Credit { arrived, ..credit }));
        })
    };
    propose(300_000, false).taken();
    assert_eq!(propose(300_001, false).refused(), Refusal::AuthorisationExpired);
    propose(300_001, true).taken();
}

#[test]
fn a_credits_key_is_used_once_in_its_flow() {
    let charge = Charge::credited(1_000);
    says(charge.message(|step| step.proposals.push(credit_of(1_000, "r1", 1))), "`credit-r1` was proposed before");
    let twice =
        Charge::begun(10_000).message(|step| step.proposals.extend([credit_of(1, "r1", 1), credit_of(1, "r1", 1)]));
    says(twice, "was proposed before");
}

#[test]
fn names_and_references_are_bounded() {
    let named = |key: String, reference: String| {
        let credit = Credit { key, amount: Money::yen(1), reference, because: 1, arrived: false };
        Charge::begun(10_000).message(|step| step.proposals.push(Proposal::Credit(credit)))
    };
    named("k".repeat(KEY_BYTES_MAX), "あ".repeat(200)).taken();
    says(named("k".repeat(KEY_BYTES_MAX + 1), "r1".into()), "key");
    says(named(String::new(), "r1".into()), "key");
    for reference in [String::new(), "あ".repeat(201), "r\n1".into(), "r\u{0}".into()] {
        says(named("k".into(), reference.clone()), "reference");
        says(Charge::begun(1).message(|step| step.proposals.push(Proposal::Tombstone(reference))), "reference");
    }
    let expecting =
        |correlation: String| Charge::begun(1).message(|step| step.effects.push(effect("e", Act::Expect(correlation))));
    expecting("c".repeat(200)).taken();
    says(expecting(String::new()), "correlation");
    says(expecting("c".repeat(201)), "correlation");
    for key in [String::new(), "k".repeat(KEY_BYTES_MAX + 1)] {
        says(Charge::begun(1).message(|step| step.effects.push(effect(&key, timer()))), "effect's key");
    }
}

#[test]
fn only_a_credit_of_its_own_can_be_reversed() {
    let other = Charge::credited(1_000).message(|step| step.proposals.push(reversal_of(1_000, "r2", 1)));
    says(other, "no credit `credit-r2`");
    Charge::credited(1_000).message(|step| step.proposals.push(reversal_of(1_000, "r1", 1))).taken();
}

#[test]
fn what_a_beginning_may_propose_is_a_closed_table() {
    let amount = Money::yen(1);
    let (hold, key) = ("h".to_owned(), "h".to_owned());
    let capture = Capture { hold, amount, fee: None, reference: "r1".into(), because: 1, last: true };
    for proposal in [Proposal::Hold(Hold { key, amount }), Proposal::Capture(capture), Proposal::Release("h".into())] {
        says(Charge::begun(1).message(|step| step.proposals.push(proposal)), "may not propose");
    }
}

#[test]
fn a_proposal_that_the_manifest_does_not_ask_for_is_not_granted() {
    let mut narrow = manifest();
    narrow.proposals.get_mut(&Beginning::Charge).unwrap().remove(&ProposalKind::Tombstone);
    let charge = Charge::begun(1);
    let mut next = step(Standing::WaitingForPartner);
    next.proposals.push(Proposal::Tombstone("r1".into()));
    let refused = flows::advance(&charge.flow, None, next, &narrow, NOON).unwrap_err();
    assert!(matches!(refused, StepRefused::Broken(why) if why.contains("Tombstone")));
}

#[test]
fn a_final_flow_may_only_reverse_its_own_credits_tombstone_reply_and_show() {
    says(
        Charge::done().message(|step| step.proposals.push(credit_of(1, "r2", 1))),
        "a final flow may not propose Credit",
    );
    for standing in [Standing::Failed, Standing::Cancelled, Standing::WaitingForUser, Standing::Checking] {
        says(Charge::done().message(|step| step.standing = standing), "cannot become");
    }
    for act in [call("approve"), timer(), Act::Expect("s2".into()), Act::Show(Show::Form(vec![]))] {
        says(Charge::done().message(|step| step.effects.push(effect("late", act))), "a final flow may only");
    }
    let plan = Charge::done()
        .message(|step| {
            step.proposals.push(reversal_of(5_000, "r1", 3));
            step.proposals.push(Proposal::Tombstone("r2".into()));
            step.effects.push(effect("why", Act::Show(Show::Text("taken-back".into()))));
            step.reply = Some(answer());
        })
        .plan();
    assert_eq!(plan.commands.len(), 2);
    assert_eq!((plan.step.flow.net(), plan.step.flow.standing), (0, Standing::Done));
    assert_eq!(plan.step.replies, [(CallKey([9; 16]), answer())]);
}

#[test]
fn the_step_that_ends_a_flow_may_still_credit() {
    let plan = Charge::begun(10_000)
        .message(|step| {
            step.standing = Standing::Done;
            step.proposals.push(credit_of(10_000, "r1", 1));
        })
        .plan();
    assert_eq!((plan.commands.len(), plan.step.flow.final_at), (1, Some(NOON)));
}

#[test]
fn when_a_flow_ends_its_timers_and_forms_are_closed_and_its_expectations_go_on() {
    let waiting = Charge::begun(10_000)
        .message(|step| {
            step.effects.push(effect("expiry", timer()));
            step.effects.push(effect("scan", Act::Show(Show::Form(vec![]))));
            step.effects.push(effect("number", Act::Show(Show::Code("1234".into()))));
        })
        .taken();
    let attempt = waiting.clone().message(|step| step.effects.push(effect("approve", call("approve"))));
    let asked = attempt.taken();
    let plan = asked.message(|step| step.standing = Standing::Cancelled).plan();
    assert_eq!(plan.step.cancelled, ["expiry", "scan", "approve"]);
    assert!(plan.step.queued.is_empty());
    let ended = Charge { flow: plan.step.flow, now: NOON };
    for (key, state) in
        [("calls", EffectState::Open), ("number", EffectState::Open), ("expiry", EffectState::Cancelled)]
    {
        assert_eq!(ended.effect(key), state, "{key}");
    }
    let late = waiting.message(|step| {
        step.standing = Standing::Done;
        step.effects.push(effect("late", timer()));
    });
    assert!(late.plan().step.queued.is_empty(), "a timer of the last step never rings");
}

#[test]
fn a_step_that_ends_the_flow_cannot_ask_for_a_call() {
    let last = Charge::begun(1).message(|step| {
        step.standing = Standing::Done;
        step.effects.push(effect("approve", call("approve")));
    });
    says(last, "nobody would hear of it");
}

#[test]
fn the_same_effect_key_with_the_same_content_is_the_same_effect() {
    let asked = Charge::begun(1).message(|step| step.effects.push(effect("approve", call("approve")))).plan();
    assert_eq!(asked.step.queued.len(), 1);
    assert_eq!((asked.step.queued[0].repeat, asked.step.queued[0].deadline), (Repeat::Safe, NOON.plus_ms(60_000)));
    let charge = Charge { flow: asked.step.flow, now: NOON };
    let again = charge.clone().message(|step| step.effects.push(effect("approve", call("approve")))).plan();
    assert!(again.step.queued.is_empty());
    says(charge.clone().message(|step| step.effects.push(effect("approve", call("debit")))), "with another content");
    says(charge.clone().message(|step| step.effects.push(effect("approve", timer()))), "with another content");
    let answered = charge.event("approve", What::Answer(answer()), |_| {}).taken();
    assert_eq!(answered.effect("approve"), EffectState::Ended);
    let after = answered.message(|step| step.effects.push(effect("approve", call("approve")))).plan();
    assert!(after.step.queued.is_empty(), "what came to its end is not done again");
}

#[test]
fn a_call_outside_the_manifest_is_a_broken_rule() {
    says(
        Charge::begun(1).message(|step| step.effects.push(effect("x", call("steal")))),
        "`network.steal` is not in the manifest",
    );
}

#[test]
fn a_timer_can_be_taken_back_and_a_call_cannot() {
    let charge = Charge::begun(1)
        .message(|step| step.effects.extend([effect("t", timer()), effect("c", call("debit"))]))
        .taken();
    let cancel = |key: &str| charge.clone().message(|step| step.effects.push(effect("x", Act::Cancel(key.into()))));
    assert_eq!(cancel("t").plan().step.cancelled, ["t"]);
    says(cancel("c"), "it may have left");
    assert!(cancel("unknown").plan().step.cancelled.is_empty());
    let at_once = Charge::begun(1).message(|step| {
        step.effects.extend([effect("t", timer()), effect("x", Act::Cancel("t".into()))]);
    });
    assert!(at_once.plan().step.queued.is_empty(), "asked for and taken back in one step");
}

#[test]
fn a_timer_rings_neither_in_the_past_nor_after_the_flows_age() {
    let due = |at: u64| {
        let plan = Charge::begun(1).message(|step| step.effects.push(effect("t", Act::Timer(at)))).plan();
        plan.step.queued[0].due_at
    };
    assert_eq!(due(0), NOON);
    assert_eq!(due(u64::MAX), NOON.plus_ms(AGE_MAX_MS));
}

#[test]
fn sixteen_effects_may_be_open_and_seventeen_may_not() {
    let ask = |many: usize| {
        Charge::opened(1).begin(|step| {
            step.effects.extend((0..many).map(|number| effect(&format!("t{number}"), timer())));
            step.effects.push(effect("text", Act::Show(Show::Text("hello".into()))));
        })
    };
    let full = ask(OPEN_EFFECTS_MAX).taken();
    says(ask(OPEN_EFFECTS_MAX + 1), "17 effects would be open");
    says(full.clone().message(|step| step.effects.push(effect("more", timer()))), "17 effects would be open");
    let rang = full.event("t3", What::Rang, |step| step.effects.push(effect("more", timer())));
    rang.taken();
}

#[test]
fn state_has_room_for_64_kib_and_not_a_byte_more() {
    Charge::begun(1).message(|step| step.state = vec![0; STATE_BYTES_MAX]).taken();
    says(Charge::begun(1).message(|step| step.state = vec![0; STATE_BYTES_MAX + 1]), "65537 bytes");
}

#[test]
fn a_step_makes_at_most_sixteen_proposals() {
    let kill = |many: usize| {
        Charge::begun(1).message(|step| {
            step.proposals.extend((0..many).map(|number| Proposal::Tombstone(format!("r{number}"))));
        })
    };
    kill(PROPOSALS_MAX).taken();
    says(kill(PROPOSALS_MAX + 1), "17 proposals");
}

#[test]
fn a_flow_gets_stuck_at_its_five_hundredth_step_unless_it_ends_with_it() {
    let mut charge = Charge::begun(10_000);
    while charge.flow.steps < STEPS_MAX - 1 {
        charge = charge.message(|_| {}).taken();
        assert_eq!(charge.flow.stuck, None);
    }
    let stuck = charge.clone().message(|step| step.proposals.push(credit_of(1_000, "r1", 1))).taken();
    assert!(stuck.flow.stuck.unwrap().reason.contains("500"));
    assert_eq!(stuck.flow.credits.len(), 1, "what the step did is done");
    let ended = charge.message(|step| step.standing = Standing::Done).taken();
    assert_eq!(ended.flow.stuck, None);
    let pestered = ended.message(|_| {}).taken();
    assert!(pestered.flow.stuck.is_some(), "a partner cannot keep a final flow busy for ever");
}

#[test]
fn a_flow_that_is_older_than_14_days_gets_stuck() {
    let charge = Charge::begun(1).later(AGE_MAX_MS);
    assert_eq!(charge.clone().message(|_| {}).taken().flow.stuck, None);
    assert!(charge.clone().later(1).message(|_| {}).taken().flow.stuck.unwrap().reason.contains("14 days"));
    let ended = charge.later(1).message(|step| step.standing = Standing::Failed).taken();
    assert_eq!(ended.flow.stuck, None);
    assert!(!ended.flow.is_over(ended.now.plus_ms(AGE_MAX_MS)));
    assert!(ended.flow.is_over(ended.now.plus_ms(AGE_MAX_MS + 1)), "then nobody hears its partner any more");
}

#[test]
fn a_message_without_a_reply_is_answered_with_no_content() {
    let plan = Charge::begun(1).message(|_| {}).plan();
    assert_eq!(plan.step.replies[0].1.status, 204);
}

#[test]
fn a_record_is_for_a_file_that_the_manifest_names() {
    let enqueue = Act::Enqueue("debits".into(), "c".into(), vec![]);
    let asked = Charge::begun(1).message(|step| step.effects.push(effect("row", enqueue)));
    says(asked, "the file `debits` is not in the manifest");
}

#[test]
fn the_wish_to_stop_ends_no_effect() {
    let charge = Charge::begun(1).message(|step| step.effects.push(effect("t", timer()))).taken();
    let asked = charge.event("", What::CancelAsked, |_| {}).taken();
    assert_eq!((asked.effect("t"), asked.effect("calls")), (EffectState::Open, EffectState::Open));
}
