//! Pays a bundle of convenience-store slips, one after the other: a flow with an effect and a partner's call for each of them. For tests only.
//!
//! It knows the bar code `bundle:SLIP,SLIP,…`, holds the sum, and for each slip asks the collector once to pay it and waits for the collector's call `receipt`
//! (`{payment, receipt}`), on which the capture of that slip rests. When the answer is lost it asks how the payment stands; one that never came is taken
//! back and asked for anew, under another id.

use koban_sdk::bill::{Bill, Code, Request};
use koban_sdk::flow::{Call, Capture, Event, HttpAnswer, HttpCall, Lost, Refusal, Routing, Standing, Step, What};
use koban_sdk::serde::{Deserialize, Serialize};
use koban_sdk::{Context, Failure, Inbound, Machine, Money, PayBill, Plugin, Values, bill_payer, inbound, json};

/// The plugin.
pub struct BundlePayer;

bill_payer!(BundlePayer);
inbound!(BundlePayer);

/// What it remembers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub struct Bundle {
    id: String,
    slips: Vec<String>,
    /// The slip in hand.
    at: u32,
    /// How often it was begun to be paid.
    tries: u32,
    /// How often the collector was asked about it.
    asked: u32,
    is_done: bool,
    has_failed: bool,
}

/// What the collector says.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Said {
    result: String,
}

/// The body of `receipt`.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Receipt {
    payment: String,
    receipt: String,
}

impl Plugin for BundlePayer {
    type Settings = ();
}

impl PayBill for BundlePayer {
    fn recognise(_: &Context, (): &(), code: &Code, _: Values<'_>) -> Result<Option<Bill>, Failure> {
        let Some(slips) = code.content.strip_prefix("bundle:") else { return Ok(None) };
        let amounts: Option<Vec<i64>> = slips.split(',').map(amount).collect();
        let sum = amounts.map(|amounts| amounts.iter().sum());
        let first = slips.split(',').next().unwrap_or_default();
        Ok(sum.map(|sum| Bill::new("bundle", "A bundle", first, Money::yen(sum))))
    }

    fn begin(ctx: &Context, (): &(), request: &Request) -> Result<Step<Bundle>, Failure> {
        let slips = request.code.content.trim_start_matches("bundle:").split(',').map(str::to_owned).collect();
        let bundle =
            Bundle { id: ctx.call.clone(), slips, at: 0, tries: 0, asked: 0, is_done: false, has_failed: false };
        Ok(pay(bundle).hold("bundle", request.at_most.clone()))
    }
}

impl Machine for BundlePayer {
    type State = Bundle;

    fn resume(
        _: &Context,
        (): &(),
        bundle: Bundle,
        event: &Event,
        refused: Option<&Refusal>,
    ) -> Result<Step<Bundle>, Failure> {
        if let Some(refusal) = refused {
            return Err(Failure::new("refused", refusal.outcome.clone()));
        }
        let in_hand = event.key.ends_with(&format!("/{}", bundle.name()));
        Ok(match &event.what {
            What::Message(message) => match message.read::<Receipt>() {
                Ok(receipt) => captured(bundle, event, &receipt),
                Err(problem) => stay(bundle).reply(HttpAnswer::json(400, &json!({"result": problem}))),
            },
            // What is about a slip that was paid meanwhile says nothing new.
            _ if bundle.is_done || bundle.has_failed || !in_hand => stay(bundle),
            What::Answer(answer) => match answer.read::<Said>() {
                // The receipt comes by itself.
                Ok(said) if said.result == "paid" => stay(bundle),
                Ok(said) if said.result == "unknown" => ask(bundle, "cancel"),
                Ok(said) if said.result == "cancelled" => pay(bundle),
                _ => stay(Bundle { has_failed: true, ..bundle })
                    .release("bundle")
                    .note(Failure::new("refused", "the collector refused a slip")),
            },
            What::Lost((Lost::NotSent | Lost::Refused, _)) => pay(bundle),
            What::Lost(_) => ask(bundle, "status"),
            _ => stay(bundle),
        })
    }
}

impl Inbound for BundlePayer {
    fn route(_: &Context, (): &(), call: &Call) -> Result<Routing, Failure> {
        let unknown = || HttpAnswer::json(200, &json!({"result": "unknown"}));
        Ok(match call.read::<Receipt>() {
            Ok(receipt) => Routing::deliver(&receipt.payment, unknown()),
            Err(problem) => Routing::Answer(HttpAnswer::json(400, &json!({"result": problem}))),
        })
    }
}

impl Bundle {
    /// What the effects about the slip in hand are called.
    fn name(&self) -> String {
        format!("{}-{}", self.at, self.tries)
    }

    /// Under which id the collector knows its payment.
    fn payment(&self) -> String {
        format!("{}/{}", self.id, self.name())
    }

    fn slip(&self) -> &str {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        self.slips.get(at).map_or("", String::as_str)
    }
}

/// Asks the collector to pay the slip in hand, under an id of its own.
fn pay(mut bundle: Bundle) -> Step<Bundle> {
    bundle.tries += 1;
    let body = json!({"payment": bundle.payment(), "slip": bundle.slip(), "amount": amount(bundle.slip())});
    let (name, payment) = (bundle.name(), bundle.payment());
    stay(bundle)
        .expect(&format!("receipt/{name}"), &payment)
        .http(&format!("pay/{name}"), HttpCall::json("collector", "pay", &body))
}

/// Asks the collector how the payment in hand stands, or to take it back.
fn ask(mut bundle: Bundle, operation: &str) -> Step<Bundle> {
    bundle.asked += 1;
    let key = format!("{operation}-{}/{}", bundle.asked, bundle.name());
    let body = json!({"payment": bundle.payment()});
    let standing = Standing::Checking;
    Step::new(bundle, standing).http(&key, HttpCall::json("collector", operation, &body))
}

/// The collector has paid a slip: its part of the hold is taken, and the next one is paid.
fn captured(mut bundle: Bundle, event: &Event, receipt: &Receipt) -> Step<Bundle> {
    let ok = HttpAnswer::json(200, &json!({"result": "ok"}));
    if bundle.is_done || bundle.has_failed || receipt.payment != bundle.payment() {
        return stay(bundle).reply(ok);
    }
    let part = Money::yen(amount(bundle.slip()).unwrap_or(0));
    let capture = Capture::last("bundle", part, &receipt.receipt, event);
    bundle.at += 1;
    bundle.tries = 0;
    if bundle.slip().is_empty() {
        return stay(Bundle { is_done: true, ..bundle }).capture(capture).reply(ok);
    }
    pay(bundle).capture(capture.more_follows()).reply(ok)
}

fn stay(bundle: Bundle) -> Step<Bundle> {
    let standing = match (bundle.has_failed, bundle.is_done) {
        (true, _) => Standing::Failed,
        (_, true) => Standing::Done,
        _ => Standing::WaitingForPartner,
    };
    Step::new(bundle, standing)
}

/// What a slip is over.
fn amount(slip: &str) -> Option<i64> {
    let is_slip = slip.len() == 44 && slip.bytes().all(|byte| byte.is_ascii_digit());
    if is_slip { slip[37..43].parse().ok().filter(|yen| *yen > 0) } else { None }
}

#[cfg(test)]
mod tests {
    use koban_sdk::bill::Source;
    use koban_sdk::pretend::{self, Flow};

    use super::*;

    const SLIPS: &str =
        "bundle:91912345000000000000000000045218103100128004,91912345000000000000000000047018123100499993";

    fn begun() -> Flow<BundlePayer> {
        let code = Code::new(Source::BarCode, SLIPS);
        let bill = pretend::recognise::<BundlePayer>(0, &[], &code, &[]).unwrap().unwrap();
        Flow::begin_bill(0, &[], &pretend::payment(code, bill, &[])).unwrap().0
    }

    fn receipt(name: &str) -> koban_sdk::Json {
        json!({"payment": format!("pretend/{name}"), "receipt": format!("r-{name}")})
    }

    #[test]
    fn each_slip_is_paid_and_captured_in_turn() {
        let mut flow = begun();
        assert_eq!(flow.held_minor(), 62_799);
        flow.answer("pay/0-1", 200, &json!({"result": "paid"})).unwrap();
        flow.partner_calls("receipt", &receipt("0-1")).unwrap();
        assert_eq!((flow.captured_minor(), flow.held_minor()), (12_800, 49_999));
        flow.partner_calls("receipt", &receipt("0-1")).unwrap();
        flow.lost("pay/1-1", Lost::Unknown).unwrap();
        flow.answer("status-1/1-1", 200, &json!({"result": "unknown"})).unwrap();
        flow.answer("cancel-2/1-1", 200, &json!({"result": "cancelled"})).unwrap();
        flow.answer("pay/1-2", 200, &json!({"result": "paid"})).unwrap();
        flow.partner_calls("receipt", &receipt("1-2")).unwrap();
        assert_eq!((flow.captured_minor(), flow.standing()), (62_799, Standing::Done));
    }
}
