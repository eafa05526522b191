//! Charging at a kiosk: a payment number, and the partner who calls when it was paid.

use koban_sdk::flow::{
    Call, Credit, Event, HttpAnswer, HttpCall, Message, Refusal, Request, Routing, Show, Standing, Step, What,
};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{Charge, Context, Failure, Inbound, Machine, Money, Plugin, json};

#[cfg(test)]
mod tests;

/// The plugin.
pub struct Kiosk;

koban_sdk::charge_channel!(Kiosk);
koban_sdk::inbound!(Kiosk);

/// How long a number can be paid: three days.
const GOOD_FOR_MS: u64 = 3 * 86_400_000;
/// How often a number is asked for.
const ASKED_MAX: u8 = 3;

/// What a charge remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Charging {
    /// Where it stands.
    pub phase: Phase,
    /// Yen.
    pub amount: i64,
    /// How often a number was asked for.
    pub asked: u8,
    /// The partner's receipt, once it was credited.
    pub receipt: String,
}

/// How far a charge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub enum Phase {
    /// The network is asked for a number.
    Asking,
    /// It gave none; it is asked again in a minute.
    Pausing,
    /// The user has a number.
    Paying,
    /// Paid and credited.
    Done,
    /// Not paid, and never will be.
    Failed,
    /// The user stopped.
    Cancelled,
}

#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Number {
    number: String,
}

/// The network's call: somebody paid this number.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Paid {
    number: String,
    receipt: String,
    amount: i64,
}

impl Plugin for Kiosk {
    type Settings = ();
}

impl Charge for Kiosk {
    fn begin(_: &Context, (): &(), request: &Request) -> Result<Step<Charging>, Failure> {
        let Some(amount) = request.amount.as_ref().filter(|amount| amount.is_in("JPY")) else {
            return Err(Failure::new("amount_missing", "no amount in yen was given").text("amount-missing"));
        };
        let charging = Charging { phase: Phase::Asking, amount: amount.minor, asked: 0, receipt: String::new() };
        Ok(ask(charging))
    }
}

impl Machine for Kiosk {
    type State = Charging;

    fn resume(
        ctx: &Context,
        (): &(),
        charging: Charging,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Charging>, Failure> {
        Ok(match (charging.phase, &event.what) {
            (_, What::Message(message)) => paid(charging, event, message, refused),
            (Phase::Asking, What::Answer(answer)) => numbered(ctx, charging, answer),
            (Phase::Asking, What::Lost(_)) => again(ctx, charging),
            (Phase::Pausing, What::Rang) => ask(charging),
            (Phase::Paying, What::Rang) => fail(charging, Failure::new("not_paid", "three days").text("not-paid")),
            // Another charge has this number already: the network is confused, and this one shows nothing.
            (Phase::Paying, What::Lost(_)) => fail(charging, Failure::new("no_number", "used").text("no-number")),
            // Whoever has a number may be paying right now: only the network can say that nobody will.
            (Phase::Asking | Phase::Pausing, What::CancelAsked) => turn(charging, Phase::Cancelled),
            _ => stay(charging),
        })
    }
}

impl Inbound for Kiosk {
    fn route(_: &Context, (): &(), call: &Call) -> Result<Routing, Failure> {
        Ok(match call.read::<Paid>() {
            Ok(paid) => Routing::deliver(&paid.number, says("refused")),
            Err(problem) => Routing::Answer(HttpAnswer::json(400, &json!({ "result": "malformed", "why": problem }))),
        })
    }
}

/// Asks the network for a number. Each wish has a key of its own; a number that nobody was shown harms nobody.
fn ask(charging: Charging) -> Step<Charging> {
    let asked = charging.asked + 1;
    let call = HttpCall::json("network", "number", &json!({ "amount": charging.amount }));
    turn(Charging { asked, ..charging }, Phase::Asking).http(&format!("number-{asked}"), call)
}

fn again(ctx: &Context, charging: Charging) -> Step<Charging> {
    if charging.asked >= ASKED_MAX {
        return fail(charging, Failure::new("no_number", "no answer").text("no-number"));
    }
    let key = format!("again-{}", charging.asked);
    turn(charging, Phase::Pausing).timer(&key, ctx.now.saturating_add(60_000))
}

fn numbered(ctx: &Context, charging: Charging, answer: &HttpAnswer) -> Step<Charging> {
    match answer.read::<Number>() {
        Ok(Number { number }) if answer.is_success() && !number.is_empty() => turn(charging, Phase::Paying)
            .expect("calls", &number)
            .show("how", Show::Text("number".into()))
            .show("number", Show::Code(number.clone()))
            .timer("end", ctx.now.saturating_add(GOOD_FOR_MS)),
        _ => again(ctx, charging),
    }
}

/// Somebody paid. The kiosk asks before it keeps the money, so a refusal gives it back.
fn paid(charging: Charging, event: &Event, message: &Message, refused: Option<&Refusal>) -> Step<Charging> {
    let Ok(paid) = message.read::<Paid>() else { return stay(charging).reply(says("refused")) };
    if let Some(refusal) = refused {
        let note = Failure::new("payment_refused", refusal.outcome.clone());
        return fail(charging, note).reply(says("refused"));
    }
    match charging.phase {
        // Said again, because our answer was lost.
        Phase::Done if charging.receipt == paid.receipt => stay(charging).reply(says("ok")),
        Phase::Paying if paid.amount == charging.amount => {
            let credit = Credit::asked("payment", Money::yen(paid.amount), &paid.receipt, event);
            turn(Charging { receipt: paid.receipt, ..charging }, Phase::Done)
                .cancel("how-gone", "how")
                .cancel("number-gone", "number")
                .credit(credit)
                .reply(says("ok"))
        }
        _ => stay(charging).reply(says("refused")),
    }
}

fn says(result: &str) -> HttpAnswer {
    HttpAnswer::json(200, &json!({ "result": result }))
}

fn fail(charging: Charging, why: Failure) -> Step<Charging> {
    turn(charging, Phase::Failed).note(why)
}

fn turn(charging: Charging, phase: Phase) -> Step<Charging> {
    stay(Charging { phase, ..charging })
}

fn stay(charging: Charging) -> Step<Charging> {
    let standing = match charging.phase {
        Phase::Asking | Phase::Pausing => Standing::WaitingForPartner,
        Phase::Paying => Standing::WaitingForUser,
        Phase::Done => Standing::Done,
        Phase::Failed => Standing::Failed,
        Phase::Cancelled => Standing::Cancelled,
    };
    Step::new(charging, standing)
}
