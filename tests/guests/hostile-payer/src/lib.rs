//! A payer of bills that attacks the ledger and its host as its settings say. For tests only.
//!
//! It knows the bar code `bill:REFERENCE:YEN`, holds that many yen and expects calls with the reference. The inbound operation `paid`, with the body
//! `{correlation, amount, reference}`, makes it capture that many yen. What it does instead, by setting `attack`:
//!
//! | attack | what it does |
//! |---|---|
//! | `none` | captures exactly what the message says, and the bill is done |
//! | `asks` | asks its user something in a form, too |
//! | `hold-beyond` | holds one yen more than the user authorised |
//! | `hold-twice` | holds the whole twice, under two names |
//! | `begin-capture` | captures in its beginning what it holds there |
//! | `capture-beyond` | captures one yen more than it holds |
//! | `capture-no-event` | captures because of event 0 |
//! | `capture-timer` | captures because of a timer that it set itself |
//! | `capture-twice` | captures the whole twice in one step, under two references |
//! | `capture-after-done` | is done with the first message and captures at the second as well |
//! | `capture-released` | releases and captures in one step |
//! | `same-reference` | captures every bill under the reference `the-same-for-ever` |
//! | `hold-after-done` | is done with the first message and holds more at the second |
//! | `release-asking` | asks its partner something and releases the hold before there is an answer |
//! | `end-asking` | asks its partner something and fails before there is an answer |
//! | `done-with-hold` | is done at the message and captures nothing |
//! | `credit` | credits the wallet |
//! | `fee-of-all` | captures the whole as its own platform's fee |
//! | `negative` | captures a negative amount |

use koban_sdk::bill::{Bill, Code, Request, Source};
use koban_sdk::flow::{
    Call, Capture, Credit, Event, Field, FieldKind, HttpAnswer, HttpCall, Refusal, Routing, Show, Standing, Step, What,
};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{
    Context, Failure, Inbound, Machine, Money, Named, PayBill, Plugin, Reader, Settings, Values, bill_payer, inbound,
    json,
};

/// The plugin.
pub struct HostilePayer;

bill_payer!(HostilePayer);
inbound!(HostilePayer);

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
    yen: i64,
    messages: u32,
    is_done: bool,
}

/// The body of `paid`.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Paid {
    correlation: String,
    amount: i64,
    reference: String,
}

impl Plugin for HostilePayer {
    type Settings = Attack;
}

impl PayBill for HostilePayer {
    fn recognise(_: &Context, _: &Attack, code: &Code, _: Values<'_>) -> Result<Option<Bill>, Failure> {
        let mut parts = code.content.split(':');
        let (Some("bill"), Some(reference), Some(yen), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let yen = yen.parse().ok().filter(|yen| *yen > 0 && code.source == Source::BarCode);
        Ok(yen.map(|yen| Bill::new("somebody", "Somebody", reference, Money::yen(yen))))
    }

    fn begin(ctx: &Context, attack: &Attack, request: &Request) -> Result<Step<Loot>, Failure> {
        let yen = request.bill.amount.minor;
        let step = wait(Loot { yen, messages: 0, is_done: false }).expect("calls", &request.bill.reference);
        let ask = || HttpCall::json("partner", "ask", &json!({}));
        Ok(match attack.0.as_str() {
            "hold-beyond" => step.hold("bill", Money::yen(yen.saturating_add(1))),
            "hold-twice" => step.hold("bill", Money::yen(yen)).hold("again", Money::yen(yen)),
            "begin-capture" => step.hold("bill", Money::yen(yen)).capture(captured(yen, "early", 1)),
            "asks" => {
                let form = Show::Form(vec![Field::new("session", "label", FieldKind::Text)]);
                step.hold("bill", Money::yen(yen)).show("scan", form)
            }
            "capture-timer" => step.hold("bill", Money::yen(yen)).timer("soon", ctx.now.saturating_add(1)),
            "release-asking" | "end-asking" => step.hold("bill", Money::yen(yen)).http("ask", ask()),
            _ => step.hold("bill", Money::yen(yen)),
        })
    }
}

impl Machine for HostilePayer {
    type State = Loot;

    fn resume(
        _: &Context,
        attack: &Attack,
        loot: Loot,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Loot>, Failure> {
        if let Some(refusal) = refused {
            return Err(Failure::new("refused", refusal.outcome.clone()));
        }
        Ok(match &event.what {
            What::Rang if attack.0 == "capture-timer" => {
                let yen = loot.yen;
                wait(loot).capture(captured(yen, "timer", event.number))
            }
            What::Message(message) => match message.read::<Paid>() {
                Ok(paid) => take(attack, loot, event, &paid),
                Err(problem) => wait(loot).reply(malformed(&problem)),
            },
            What::CancelAsked if !loot.is_done => Step::new(loot, Standing::Cancelled),
            _ => wait(loot),
        })
    }
}

impl Inbound for HostilePayer {
    fn route(_: &Context, _: &Attack, call: &Call) -> Result<Routing, Failure> {
        Ok(match call.read::<Paid>() {
            Ok(paid) => Routing::deliver(&paid.correlation, HttpAnswer::json(200, &json!({"result": "unknown"}))),
            Err(problem) => Routing::Answer(malformed(&problem)),
        })
    }
}

fn take(attack: &Attack, mut loot: Loot, event: &Event, paid: &Paid) -> Step<Loot> {
    loot.messages += 1;
    let (first, yen, number) = (loot.messages == 1, loot.yen, event.number);
    let honest = captured(paid.amount, &paid.reference, number);
    let ok = HttpAnswer::json(200, &json!({"result": "ok"}));
    let done = |loot: Loot| wait(Loot { is_done: true, ..loot }).reply(ok.clone());
    match attack.0.as_str() {
        "capture-beyond" => done(loot).capture(captured(yen.saturating_add(1), &paid.reference, number)),
        "capture-no-event" => done(loot).capture(captured(paid.amount, &paid.reference, 0)),
        "capture-twice" => {
            let again = captured(paid.amount, &format!("{}-again", paid.reference), number);
            done(loot).capture(honest).capture(again)
        }
        "capture-after-done" => done(loot).capture(honest),
        "capture-released" => done(loot).release("bill").capture(honest),
        "same-reference" => done(loot).capture(captured(paid.amount, "the-same-for-ever", number)),
        "hold-after-done" if !first => done(loot).hold("more", Money::yen(1)),
        "release-asking" => wait(loot).reply(ok).release("bill"),
        "end-asking" => Step::new(loot, Standing::Failed).reply(ok),
        "done-with-hold" => done(loot),
        "credit" => {
            let credit = Credit::asked("credit", Money::yen(yen), &paid.reference, event);
            done(loot).credit(credit)
        }
        "fee-of-all" => done(loot).capture(honest.fee(Money::yen(paid.amount))),
        "negative" => done(loot).capture(captured(-paid.amount, &paid.reference, number)),
        // Honest: exactly as the message says, once.
        _ if first => done(loot).capture(honest),
        _ => wait(loot).reply(ok),
    }
}

fn wait(loot: Loot) -> Step<Loot> {
    let standing = if loot.is_done { Standing::Done } else { Standing::WaitingForPartner };
    Step::new(loot, standing)
}

fn captured(yen: i64, reference: &str, because: u32) -> Capture {
    Capture {
        hold: "bill".into(),
        amount: Money::yen(yen),
        fee: None,
        reference: reference.into(),
        because,
        final_: true,
    }
}

fn malformed(problem: &str) -> HttpAnswer {
    HttpAnswer::json(400, &json!({"result": "malformed", "reason": problem}))
}

#[cfg(test)]
mod tests {
    use koban_sdk::pretend::{self, Flow};

    use super::*;

    fn begun(attack: &str) -> Flow<HostilePayer> {
        let settings = [Named::new("attack", attack)];
        let code = Code::new(Source::BarCode, "bill:c-1:1000");
        let bill = pretend::recognise::<HostilePayer>(0, &settings, &code, &[]).unwrap().unwrap();
        Flow::begin_bill(0, &settings, &pretend::payment(code, bill, &[])).unwrap().0
    }

    fn paid(yen: i64, reference: &str) -> koban_sdk::Json {
        json!({"correlation": "c-1", "amount": yen, "reference": reference})
    }

    #[test]
    fn without_an_attack_it_captures_exactly_what_the_message_says_once() {
        let mut flow = begun("none");
        assert_eq!(flow.held_minor(), 1_000);
        flow.partner_calls("paid", &paid(1_000, "r-1")).unwrap();
        flow.partner_calls("paid", &paid(1_000, "r-2")).unwrap();
        assert_eq!((flow.captured_minor(), flow.standing()), (1_000, Standing::Done));
    }

    #[test]
    fn codes_of_others_are_none_of_its() {
        for content in ["91912345", "bill:x", "bill:x:0", "bill:x:1:2"] {
            let code = Code::new(Source::BarCode, content);
            let settings = [Named::new("attack", "none")];
            assert_eq!(pretend::recognise::<HostilePayer>(0, &settings, &code, &[]).unwrap(), None, "{content}");
        }
    }
}
