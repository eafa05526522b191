//! Charging with a voucher: the user types its code, the issuer redeems it, the wallet is credited.
//!
//! A flow is a state machine: `begin` and `resume` say what they would like done, the host does it after the commit, and what came of it
//! returns as an event. Answers get lost, events come twice: those cases are most of this file.

use koban_sdk::flow::{
    Credit, Event, Field, FieldKind, HttpAnswer, HttpCall, Lost, Refusal, Request, Show, Standing, Step, What,
};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{Charge, Context, Failure, Machine, Money, Plugin, Values, json};

#[cfg(test)]
mod tests;

/// The plugin: a name for the traits below.
pub struct MyPlugin;

koban_sdk::charge_channel!(MyPlugin);

impl Plugin for MyPlugin {
    type Settings = ();
}

/// What a charge remembers. Written with postcard: the order of the fields is part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Charging {
    /// How far it has come.
    pub phase: Phase,
    /// The most that the voucher may be worth, in yen.
    pub most: i64,
    /// The voucher's code, once it was typed.
    pub code: String,
    /// How often the issuer was asked.
    pub asked: u32,
}

/// How far a charge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub enum Phase {
    /// The user types the code.
    Typing,
    /// The issuer is asked.
    Redeeming,
    /// The issuer may have redeemed it; it is asked again later.
    Checking,
    /// Credited.
    Done,
    /// Not credited, and never will be.
    Failed,
    /// The user stopped before anything happened.
    Cancelled,
}

impl Phase {
    fn standing(self) -> Standing {
        match self {
            Phase::Typing => Standing::WaitingForUser,
            Phase::Redeeming => Standing::WaitingForPartner,
            Phase::Checking => Standing::Checking,
            Phase::Done => Standing::Done,
            Phase::Failed => Standing::Failed,
            Phase::Cancelled => Standing::Cancelled,
        }
    }
}

/// The issuer's answer.
#[derive(Debug, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Redeemed {
    /// `ok` or `refused`.
    result: String,
    /// Its own id of what it redeemed: the reference of the credit.
    #[serde(default)]
    id: String,
    /// Yen.
    #[serde(default)]
    amount: i64,
}

impl Charge for MyPlugin {
    fn begin(_: &Context, (): &(), request: &Request) -> Result<Step<Charging>, Failure> {
        if !request.at_most.is_in("JPY") {
            let failure = Failure::new("currency_not_supported", "vouchers are in yen");
            return Err(failure.text("currency-not-supported"));
        }
        let charging = Charging { phase: Phase::Typing, most: request.at_most.minor, code: String::new(), asked: 0 };
        let form = Show::Form(vec![Field::new("code", "code-label", FieldKind::Text).at_most(40)]);
        Ok(stay(charging).show("code", form))
    }
}

impl Machine for MyPlugin {
    type State = Charging;

    fn resume(
        ctx: &Context,
        (): &(),
        charging: Charging,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Charging>, Failure> {
        Ok(match (charging.phase, &event.what) {
            (Phase::Typing, What::Form(answers)) => {
                let code = Values(answers).get::<String>("code").unwrap_or_default();
                redeem(Charging { code, ..charging })
            }
            (Phase::Typing, What::CancelAsked) => turn(charging, Phase::Cancelled),
            (Phase::Redeeming, What::Answer(_)) if refused.is_some() => {
                // The issuer has the voucher, and the ledger cannot take the credit now: asked again later, the issuer says the same.
                let why = refused.map(|refusal| refusal.outcome.clone()).unwrap_or_default();
                check(ctx, charging).note(Failure::new("credit_refused", why).retryable())
            }
            (Phase::Redeeming, What::Answer(answer)) => answered(ctx, charging, event, answer),
            (Phase::Redeeming, What::Lost((Lost::Refused, why))) => fail(charging, why),
            // It may have happened: never say that it failed, ask again.
            (Phase::Redeeming, What::Lost(_)) => check(ctx, charging),
            (Phase::Checking, What::Rang) => redeem(charging),
            // Whatever comes twice or too late changes nothing.
            _ => stay(charging),
        })
    }
}

/// Asks the issuer. Each time is an effect with a key of its own; that it is the same voucher tells the issuer that it is the same wish.
fn redeem(charging: Charging) -> Step<Charging> {
    let asked = charging.asked + 1;
    let call = HttpCall::json("issuer", "redeem", &json!({ "code": charging.code, "max_amount": charging.most }));
    let step = turn(Charging { asked, ..charging }, Phase::Redeeming).http(&format!("redeem-{asked}"), call);
    if asked > 1 { step.cancel(&format!("checked-{asked}"), &format!("checking-{}", asked - 1)) } else { step }
}

fn answered(ctx: &Context, charging: Charging, event: &Event, answer: &HttpAnswer) -> Step<Charging> {
    match answer.read::<Redeemed>() {
        Ok(redeemed) if answer.is_success() && redeemed.result == "ok" && redeemed.amount > 0 => {
            // The issuer has redeemed it and cannot take that back: what the wallet has no room for waits in suspense.
            let credit = Credit::asked("voucher", Money::yen(redeemed.amount), &redeemed.id, event).arrived();
            turn(charging, Phase::Done).credit(credit)
        }
        Ok(redeemed) if answer.is_success() && redeemed.result == "refused" => fail(charging, "refused"),
        _ if (400..500).contains(&answer.status) => fail(charging, &format!("status {}", answer.status)),
        _ => check(ctx, charging),
    }
}

/// Asks again after a while: a minute, ten minutes, an hour, and then every six hours.
fn check(ctx: &Context, charging: Charging) -> Step<Charging> {
    let pause_min = match charging.asked {
        0 | 1 => 1,
        2 => 10,
        3 => 60,
        _ => 360,
    };
    let asked = charging.asked;
    turn(charging, Phase::Checking)
        .show(&format!("checking-{asked}"), Show::Text("checking".into()))
        .timer(&format!("again-{asked}"), ctx.now.saturating_add(pause_min * 60_000))
}

fn fail(charging: Charging, why: &str) -> Step<Charging> {
    turn(charging, Phase::Failed).note(Failure::new("voucher_refused", why).text("voucher-refused"))
}

fn turn(charging: Charging, phase: Phase) -> Step<Charging> {
    stay(Charging { phase, ..charging })
}

fn stay(charging: Charging) -> Step<Charging> {
    let standing = charging.phase.standing();
    Step::new(charging, standing)
}
