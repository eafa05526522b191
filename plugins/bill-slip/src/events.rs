//! What each event does to a payment.

use koban_sdk::flow::{Capture, Event, HttpAnswer, HttpCall, Lost, Refusal, Show, Step, What};
use koban_sdk::serde::Deserialize;
use koban_sdk::{Context, Failure, Money, json, log};

use crate::begin::HOLD;
use crate::state::{Payment, Phase};

/// The first pause before the collector is asked again; it doubles.
const PAUSE_MS: u64 = 2_000;
/// The longest pause: a quarter of an hour.
const PAUSE_MS_MAX: u64 = 900_000;
/// How often the collector is asked at most; the host asks an operator long before.
const ASKED_MAX: u32 = 200;

/// What the collector says of a payment.
#[derive(Debug, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Said {
    result: String,
    #[serde(default)]
    receipt: String,
    #[serde(default)]
    reason: String,
}

/// One event, one step. Errors: the ledger refused what the collector has taken: an operator must look.
pub(crate) fn resume(
    ctx: &Context,
    payment: Payment,
    event: &Event,
    refused: Option<&Refusal>,
) -> Result<Step<Payment>, Failure> {
    if let Some(refusal) = refused {
        let message = format!("the ledger refused the capture of {}: {}", payment.id, refusal.outcome);
        return Err(Failure::new("capture_refused", message));
    }
    let operation = event.key.split('-').next().unwrap_or_default();
    Ok(match (payment.phase, &event.what, operation) {
        (Phase::Paying, What::Answer(answer), "pay") => answered(ctx, payment, event, answer),
        (Phase::Paying, What::Lost((Lost::NotSent, why)), "pay") => {
            fail(payment, Failure::new("not_sent", format!("nothing left the host: {why}")).text("not-sent"))
        }
        (Phase::Paying, What::Lost((Lost::Refused, why)), "pay") => {
            fail(payment, Failure::new("not_sent", format!("the host does not send it: {why}")).text("not-sent"))
        }
        // It may have been paid: whoever asks for it again might pay twice. So the question is how it stands.
        (Phase::Paying, What::Lost((_, why)), "pay") => {
            log::warn(&format!("whether {} was paid is unknown: {why}", payment.id));
            ask(Payment { phase: Phase::Checking, ..payment }).show("checking", Show::Text("checking".into()))
        }
        (Phase::Checking | Phase::TakingBack, What::Answer(answer), "status" | "cancel") => {
            answered(ctx, payment, event, answer)
        }
        (Phase::Checking | Phase::TakingBack, What::Lost((_, why)), "status" | "cancel") => {
            log::warn(&format!("how {} stands is unknown: {why}", payment.id));
            wait(ctx, payment)
        }
        (Phase::Checking | Phase::TakingBack, What::Rang, _) => ask(payment),
        _ => stay(payment),
    })
}

/// The collector says how the payment stands. Whatever is no clear word leaves it where it was, and the collector is asked again.
fn answered(ctx: &Context, payment: Payment, event: &Event, answer: &HttpAnswer) -> Step<Payment> {
    let said = match answer.read::<Said>() {
        Ok(said) if answer.is_success() || answer.status == 400 => said,
        Ok(said) => return unclear(ctx, payment, &format!("status {} with `{}`", answer.status, said.result)),
        Err(problem) => return unclear(ctx, payment, &format!("status {}: {problem}", answer.status)),
    };
    match said.result.as_str() {
        "paid" if !said.receipt.is_empty() => {
            let capture = Capture::last(HOLD, payment.whole(), &said.receipt, event);
            let capture = if payment.fee > 0 { capture.fee(Money::yen(payment.fee)) } else { capture };
            turn(payment, Phase::Done).capture(capture)
        }
        "refused" => {
            let text = if said.reason == "already_paid" { "already-paid" } else { "refused-by-collector" };
            let message = format!("the collector refused {}: {}", payment.id, said.reason);
            fail(payment, Failure::new("refused_by_collector", message).text(text))
        }
        "cancelled" => {
            let message = format!("{} never reached the collector, and never will", payment.id);
            fail(payment, Failure::new("taken_back", message).text("taken-back"))
        }
        // It has not come, but may still be on its way: it is taken back before the money is let go.
        "unknown" if payment.phase == Phase::Checking => {
            let body = json!({ "payment": payment.id });
            let key = format!("cancel-{}", payment.asked);
            turn(payment, Phase::TakingBack).http(&key, HttpCall::json("collector", "cancel", &body))
        }
        other => unclear(ctx, payment, &format!("status {} with `{other}`", answer.status)),
    }
}

/// The collector said nothing that decides anything.
fn unclear(ctx: &Context, payment: Payment, why: &str) -> Step<Payment> {
    log::warn(&format!("the collector's word about {} is unclear: {why}", payment.id));
    let first = payment.phase == Phase::Paying;
    let step = wait(ctx, Payment { phase: Phase::Checking, ..payment });
    if first { step.show("checking", Show::Text("checking".into())) } else { step }
}

/// Asks the collector how the payment stands.
fn ask(mut payment: Payment) -> Step<Payment> {
    payment.asked += 1;
    payment.phase = Phase::Checking;
    let body = json!({ "payment": payment.id });
    let key = format!("status-{}", payment.asked);
    stay(payment).http(&key, HttpCall::json("collector", "status", &body))
}

/// Asks it again after a pause. After very many times nobody asks any more: the hold stays, and an operator has been told long ago.
fn wait(ctx: &Context, payment: Payment) -> Step<Payment> {
    if payment.asked >= ASKED_MAX {
        return stay(payment);
    }
    let pause = PAUSE_MS.saturating_mul(1 << payment.asked.min(16)).min(PAUSE_MS_MAX);
    let key = format!("ask-{}", payment.asked);
    stay(payment).timer(&key, ctx.now.saturating_add(pause))
}

/// The end without a payment: what is held is given back with it.
fn fail(payment: Payment, why: Failure) -> Step<Payment> {
    turn(payment, Phase::Failed).release(HOLD).note(why)
}

fn turn(payment: Payment, phase: Phase) -> Step<Payment> {
    stay(Payment { phase, ..payment })
}

fn stay(payment: Payment) -> Step<Payment> {
    let standing = payment.phase.standing();
    Step::new(payment, standing)
}
