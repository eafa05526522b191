//! A charge channel that attacks the ledger and its host as its settings say. For tests only.
//!
//! It asks the user for a correlation (form `start`, field `correlation`) and expects calls with it. The inbound operation `pay`, with the body
//! `{correlation, amount, reference, arrived}`, makes it credit that many yen, and `take-back` with the same body makes it reverse them. What it does
//! instead, by setting `attack`:
//!
//! | attack | what it does |
//! |---|---|
//! | `none` | the first payment is credited exactly as the message says, and the charge is done |
//! | `beyond-authorisation` | credits one yen more than the user authorised |
//! | `no-event` | credits because of event 0 |
//! | `own-form` | credits because of the user's form, with no partner's word |
//! | `timer` | credits because of a timer that it set itself |
//! | `old-event` | credits because of the form's number when a message is at hand |
//! | `same-reference` | credits every payment under the reference `the-same-for-ever` |
//! | `same-key` | credits twice under one key in one step |
//! | `after-done` | is done with the first payment and credits the second as well |
//! | `done-with-nothing` | is done without any credit |
//! | `hold`, `capture`, `release` | proposes what no charge may |
//! | `reverse-more` | reverses one yen more than it credited |
//! | `other-currency` | credits dollars |
//! | `negative` | credits a negative amount |
//! | `huge-state` | remembers 65 KiB |
//! | `many-effects` | asks for 17 timers in one step |
//! | `open-effects` | asks for 9 timers at the form and 9 more at each message |
//! | `many-proposals` | kills 10,000 references in one step |
//! | `unknown-endpoint`, `unknown-operation` | calls a partner that its manifest does not name |
//! | `same-effect-key` | gives one effect key two contents |
//! | `unknown-code` | fails with a code that its manifest does not list |
//! | `loop` | never comes back from a message |
//! | `panic` | panics at a message |
//! | `insist` | credits as the message says, and proposes the same again when it was refused |
//! | `begin-credit` | proposes a credit in its beginning |
//! | `begin-loop` | never comes back from its beginning |

use std::ops::Range;

use koban_sdk::flow::{
    Call, Capture, Credit, Event, Field, FieldKind, Hold, HttpAnswer, HttpCall, Proposal, Refusal, Request, Reversal,
    Routing, Show, Standing, Step, What,
};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{
    Charge, Context, Failure, Inbound, Machine, Money, Named, Plugin, Reader, Settings, Values, charge_channel,
    inbound, json,
};

/// The plugin.
pub struct HostileChannel;

charge_channel!(HostileChannel);
inbound!(HostileChannel);

/// Which attack.
pub struct Attack(String);

impl Settings for Attack {
    fn read(list: &[Named]) -> Result<Attack, Vec<Failure>> {
        let mut read = Reader::of(list);
        let attack = Attack(read.one("attack"));
        read.finish(attack)
    }
}

/// What it remembers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Loot {
    at_most: i64,
    paid: u32,
    form_number: u32,
    is_done: bool,
    ballast: Vec<u8>,
}

/// The body of `pay` and `take-back`.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Payment {
    correlation: String,
    amount: i64,
    reference: String,
    #[serde(default)]
    arrived: bool,
}

impl Plugin for HostileChannel {
    type Settings = Attack;
}

impl Charge for HostileChannel {
    fn begin(_: &Context, attack: &Attack, request: &Request) -> Result<Step<Loot>, Failure> {
        if attack.0 == "begin-loop" {
            run_for_ever();
        }
        let loot =
            Loot { at_most: request.at_most.minor, paid: 0, form_number: 0, is_done: false, ballast: Vec::new() };
        let field = Field::new("correlation", "correlation", FieldKind::Text);
        let step = Step::new(loot, Standing::WaitingForUser).show("start", Show::Form(vec![field]));
        Ok(match attack.0.as_str() {
            "begin-credit" => step.credit(credit("early", 1_000, "early", 1)),
            _ => step,
        })
    }
}

impl Machine for HostileChannel {
    type State = Loot;

    fn resume(
        ctx: &Context,
        attack: &Attack,
        mut loot: Loot,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Loot>, Failure> {
        match &event.what {
            What::Form(answers) => {
                loot.form_number = event.number;
                let correlation = Values(answers).get::<String>("correlation").unwrap_or_default();
                Ok(started(ctx, attack, loot, event, &correlation))
            }
            What::Rang if attack.0 == "timer" => Ok(wait(loot).credit(credit("timer", 1_000, "timer", event.number))),
            What::Message(message) => match message.read::<Payment>() {
                Ok(payment) if message.operation == "take-back" => {
                    Ok(take_back(attack, loot, event, &payment, refused))
                }
                Ok(payment) => pay(ctx, attack, loot, event, &payment, refused),
                Err(problem) => Ok(wait(loot).reply(malformed(&problem))),
            },
            What::CancelAsked if !loot.is_done => Ok(Step::new(loot, Standing::Cancelled)),
            _ => Ok(wait(loot)),
        }
    }
}

impl Inbound for HostileChannel {
    fn route(_: &Context, _: &Attack, call: &Call) -> Result<Routing, Failure> {
        Ok(match call.read::<Payment>() {
            Ok(payment) => Routing::deliver(&payment.correlation, refused_with("unknown_correlation")),
            Err(problem) => Routing::Answer(malformed(&problem)),
        })
    }
}

fn started(ctx: &Context, attack: &Attack, mut loot: Loot, event: &Event, correlation: &str) -> Step<Loot> {
    match attack.0.as_str() {
        "huge-state" => loot.ballast = vec![7; 65 * 1024],
        "done-with-nothing" => loot.is_done = true,
        _ => {}
    }
    let step = wait(loot).expect("calls", correlation);
    let ask = |endpoint, operation| HttpCall::json(endpoint, operation, &json!({"correlation": correlation}));
    match attack.0.as_str() {
        "own-form" => step.credit(credit("form", 1_000, "form", event.number)),
        "timer" => step.timer("soon", ctx.now.saturating_add(1)),
        "many-effects" => timers(step, ctx, 0..17),
        "open-effects" => timers(step, ctx, 0..9),
        "unknown-endpoint" => step.http("ask", ask("elsewhere", "ask")),
        "unknown-operation" => step.http("ask", ask("partner", "give-me-all")),
        "same-effect-key" => {
            step.timer("soon", ctx.now.saturating_add(3_600_000)).timer("soon", ctx.now.saturating_add(7_200_000))
        }
        _ => step,
    }
}

/// Timers in an hour, which thus stay open.
fn timers(step: Step<Loot>, ctx: &Context, numbers: Range<u32>) -> Step<Loot> {
    let at = ctx.now.saturating_add(3_600_000);
    numbers.fold(step, |step, number| step.timer(&format!("timer-{number}"), at))
}

fn pay(
    ctx: &Context,
    attack: &Attack,
    mut loot: Loot,
    event: &Event,
    payment: &Payment,
    refused: Option<&Refusal>,
) -> Result<Step<Loot>, Failure> {
    if let Some(refusal) = refused
        && attack.0 != "insist"
    {
        let note = Failure::new("refused", refusal.outcome.clone());
        let standing = if loot.is_done { Standing::Done } else { Standing::Failed };
        loot.is_done = true;
        return Ok(Step::new(loot, standing).note(note).reply(refused_with(&refusal.outcome)));
    }
    loot.paid += 1;
    let (number, at_most, form_number) = (event.number, loot.at_most, loot.form_number);
    let key = format!("pay-{}", loot.paid);
    let honest = Credit { arrived: payment.arrived, ..credit(&key, payment.amount, &payment.reference, number) };
    let yen = |amount| Credit { amount: Money::yen(amount), ..honest.clone() };
    let step = |loot: Loot| wait(loot).reply(ok());
    Ok(match attack.0.as_str() {
        "beyond-authorisation" => step(loot).credit(yen(at_most.saturating_add(1))),
        "no-event" => step(loot).credit(Credit { because: 0, ..honest }),
        "old-event" => step(loot).credit(Credit { because: form_number, ..honest }),
        "same-reference" => step(loot).credit(Credit { reference: "the-same-for-ever".into(), ..honest }),
        "same-key" => {
            let again = Credit { reference: format!("{}-again", honest.reference), ..honest.clone() };
            step(loot).credit(honest).credit(again)
        }
        "after-done" => {
            loot.is_done = true;
            step(loot).credit(honest)
        }
        "hold" => step(loot).propose(Proposal::Hold(Hold { key, amount: honest.amount })),
        "capture" => step(loot).propose(Proposal::Capture(Capture {
            hold: key,
            amount: honest.amount,
            fee: None,
            reference: honest.reference,
            because: number,
            final_: true,
        })),
        "release" => step(loot).propose(Proposal::Release(key)),
        "other-currency" => step(loot).credit(Credit { amount: Money::new(payment.amount, "USD"), ..honest }),
        "negative" => step(loot).credit(yen(-payment.amount)),
        "many-proposals" => {
            (0..10_000).fold(step(loot), |step, number| step.tombstone(&format!("{}-{number}", payment.reference)))
        }
        "open-effects" => {
            let first = loot.paid * 9;
            timers(step(loot), ctx, first..first + 9)
        }
        "unknown-code" => return Err(Failure::new("not_in_the_manifest", "a code of my own")),
        "loop" => run_for_ever(),
        "panic" => panic!("a panic on purpose, for {} yen", payment.amount),
        // Honest: one credit, exactly as the message says. What comes later was done already.
        _ if loot.is_done => step(loot),
        _ => {
            loot.is_done = true;
            step(loot).credit(honest)
        }
    })
}

fn take_back(attack: &Attack, loot: Loot, event: &Event, payment: &Payment, refused: Option<&Refusal>) -> Step<Loot> {
    if let Some(refusal) = refused
        && attack.0 != "insist"
    {
        return wait(loot).reply(refused_with(&refusal.outcome));
    }
    let more = i64::from(attack.0 == "reverse-more");
    let amount = Money::yen(payment.amount.saturating_add(more));
    wait(loot).reverse(Reversal::new("pay-1", amount, &payment.reference, event)).reply(ok())
}

fn wait(loot: Loot) -> Step<Loot> {
    let standing = if loot.is_done { Standing::Done } else { Standing::WaitingForPartner };
    Step::new(loot, standing)
}

fn credit(key: &str, yen: i64, reference: &str, because: u32) -> Credit {
    Credit { key: key.into(), amount: Money::yen(yen), reference: reference.into(), because, arrived: false }
}

fn ok() -> HttpAnswer {
    HttpAnswer::json(200, &json!({"result": "ok"}))
}

fn refused_with(reason: &str) -> HttpAnswer {
    HttpAnswer::json(200, &json!({"result": "refused", "reason": reason}))
}

fn malformed(problem: &str) -> HttpAnswer {
    HttpAnswer::json(400, &json!({"result": "malformed", "reason": problem}))
}

fn run_for_ever() -> ! {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use koban_sdk::pretend::{self, Flow};

    use super::*;

    fn started(attack: &str) -> Flow<HostileChannel> {
        let settings = [Named::new("attack", attack)];
        let (mut flow, _) = Flow::begin(0, &settings, &pretend::request(Money::yen(10_000), &[])).unwrap();
        flow.form("start", &[("correlation", "c-1".into())]).unwrap();
        flow
    }

    fn payment(amount: i64, reference: &str) -> koban_sdk::Json {
        json!({"correlation": "c-1", "amount": amount, "reference": reference})
    }

    #[test]
    fn without_an_attack_it_credits_exactly_what_the_message_says_and_can_take_it_back() {
        let mut flow = started("none");
        flow.partner_calls("pay", &payment(1_000, "r-1")).unwrap();
        flow.partner_calls("pay", &payment(1_000, "r-2")).unwrap();
        assert_eq!((flow.credited_minor(), flow.standing()), (1_000, Standing::Done));
        flow.partner_calls("take-back", &payment(1_000, "r-1")).unwrap();
        assert_eq!(flow.credited_minor(), 0);
    }

    #[test]
    #[should_panic(expected = "a credit beyond the authorisation")]
    fn the_pretend_host_sees_a_credit_beyond_the_authorisation() {
        let _ = started("beyond-authorisation").partner_calls("pay", &payment(1_000, "r-1"));
    }

    #[test]
    #[should_panic(expected = "rests on another event")]
    fn the_pretend_host_sees_a_credit_without_an_event() {
        let _ = started("no-event").partner_calls("pay", &payment(1_000, "r-1"));
    }

    #[test]
    #[should_panic(expected = "no partner said")]
    fn the_pretend_host_sees_a_credit_because_of_a_timer() {
        let _ = started("timer").ring("soon");
    }

    #[test]
    #[should_panic(expected = "a final flow proposes a credit")]
    fn the_pretend_host_sees_a_credit_after_done() {
        let mut flow = started("after-done");
        flow.partner_calls("pay", &payment(1_000, "r-1")).unwrap();
        let _ = flow.partner_calls("pay", &payment(1_000, "r-2"));
    }

    #[test]
    #[should_panic(expected = "a charge may never propose")]
    fn the_pretend_host_sees_a_hold_by_a_charge() {
        let _ = started("hold").partner_calls("pay", &payment(1_000, "r-1"));
    }

    #[test]
    #[should_panic(expected = "a step with 18 effects")]
    fn the_pretend_host_sees_too_many_effects_in_a_step() {
        started("many-effects");
    }

    #[test]
    #[should_panic(expected = "19 effects are open")]
    fn the_pretend_host_sees_too_many_open_effects() {
        let _ = started("open-effects").partner_calls("pay", &payment(1_000, "r-1"));
    }

    #[test]
    #[should_panic(expected = "the flow would be stuck")]
    fn the_pretend_host_sees_who_insists() {
        let mut flow = started("insist");
        flow.refuse_next("exposure_cap_reached");
        let _ = flow.partner_calls("pay", &payment(1_000, "r-1"));
    }
}
