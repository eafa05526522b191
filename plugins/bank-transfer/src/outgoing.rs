//! A withdrawal: hold, form, one transfer, by a call or in a file; and what happens when the answer is lost.

use koban_sdk::flow::{
    Capture, Event, Field, FieldKind, HttpAnswer, HttpCall, Lost, Message, Refusal, Show, Step, What,
};
use koban_sdk::serde::Deserialize;
use koban_sdk::withdraw::Request;
use koban_sdk::{Context, Failure, Money, Named, Values, json, log};

use crate::settings::BankSettings;
use crate::state::{Outgoing, Sending, Transfer};
use crate::{results, zengin};

/// The key of the one hold.
const HOLD: &str = "withdrawal";
/// The first pause before the bank is asked again; it doubles.
const PAUSE_MS: u64 = 2_000;
/// The longest pause: a quarter of an hour.
const PAUSE_MS_MAX: u64 = 900_000;
/// How often the bank is asked at most; the host asks an operator long before.
const ASKED_MAX: u32 = 200;

/// What the bank says of a transfer.
#[derive(Debug, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Said {
    result: String,
    #[serde(default)]
    receipt: String,
    #[serde(default)]
    reason: String,
}

/// Holds amount and fee, and asks where the money shall go.
pub(crate) fn begin(ctx: &Context, settings: &BankSettings, request: &Request) -> Result<Step<Transfer>, Failure> {
    if !request.amount.is_in("JPY") {
        let message = format!("the bank takes JPY, not {}", request.amount.currency);
        return Err(Failure::new("currency_not_supported", message).text("currency-not-supported"));
    }
    let (amount, fee) = (request.amount.minor, settings.fee.minor);
    if amount.checked_add(fee) != Some(request.at_most.minor) {
        let message = format!("a withdrawal costs {fee} yen on top");
        return Err(Failure::new("fee_differs", message).text("fee-differs"));
    }
    // The call's id is ours alone and the same at every replay: the bank knows the transfer by it.
    let outgoing = Outgoing { phase: Sending::Asking, id: ctx.call.clone(), amount, fee, asked: 0 };
    let field = |name: &str, kind, digits| Field::new(name, name, kind).at_most(digits);
    let form = vec![
        field("bank", FieldKind::Digits, 4),
        field("branch", FieldKind::Digits, 3),
        field("account", FieldKind::Digits, 7),
        field("name", FieldKind::Kana, 30),
    ];
    Ok(stay(outgoing).hold(HOLD, request.at_most.clone()).show("payee", Show::Form(form)))
}

/// One event, one step. Errors: the ledger refused what the bank has transferred: an operator must look.
pub(crate) fn resume(
    ctx: &Context,
    settings: &BankSettings,
    outgoing: Outgoing,
    event: &Event,
    refused: Option<&Refusal>,
) -> Result<Step<Transfer>, Failure> {
    if let Some(refusal) = refused {
        let message = format!("the ledger refused the capture of {}: {}", outgoing.id, refusal.outcome);
        return Err(Failure::new("capture_refused", message));
    }
    let operation = event.key.split('-').next().unwrap_or_default();
    Ok(match (outgoing.phase, &event.what, operation) {
        (Sending::Asking, What::Form(values), _) if settings.by_file => file(ctx, outgoing, values),
        (Sending::Asking, What::Form(values), _) => transfer(outgoing, values),
        (Sending::Asking, What::CancelAsked, _) => turn(outgoing, Sending::Cancelled).release(HOLD),
        (Sending::Transferring, What::Answer(answer), "transfer") => answered(ctx, outgoing, event, answer),
        (Sending::Transferring, What::Lost((Lost::NotSent | Lost::Refused, why)), "transfer") => {
            fail(outgoing, Failure::new("not_sent", format!("nothing left the host: {why}")).text("not-sent"))
        }
        // It may have been transferred: whoever asks for it again might transfer twice. So the question is how it stands.
        (Sending::Transferring, What::Lost((_, why)), "transfer") => {
            log::warn(&format!("whether {} was transferred is unknown: {why}", outgoing.id));
            ask(Outgoing { phase: Sending::Checking, ..outgoing }).show("checking", Show::Text("checking".into()))
        }
        (Sending::Checking | Sending::TakingBack, What::Answer(answer), "status" | "cancel") => {
            answered(ctx, outgoing, event, answer)
        }
        (Sending::Checking | Sending::TakingBack, What::Lost((_, why)), "status" | "cancel") => {
            log::warn(&format!("how {} stands is unknown: {why}", outgoing.id));
            wait(ctx, outgoing)
        }
        (Sending::Checking | Sending::TakingBack, What::Rang, _) => ask(outgoing),
        (Sending::Filed, What::Sealed(_), _) => {
            turn(outgoing, Sending::WithTheBank).show("with-the-bank", Show::Text("with-the-bank".into()))
        }
        (Sending::Filed, What::Lost((_, why)), "record") => {
            fail(outgoing, Failure::new("not_sent", format!("it came into no file: {why}")).text("not-sent"))
        }
        (Sending::WithTheBank, What::Message(message), _) => result(outgoing, event, message)?,
        _ => stay(outgoing),
    })
}

/// The user said where it shall go: the bank is asked once.
fn transfer(outgoing: Outgoing, values: &[Named]) -> Step<Transfer> {
    let values = Values(values);
    let text = |name: &str| values.get::<String>(name).unwrap_or_default();
    let body = json!({ "transfer": outgoing.id, "bank": text("bank"), "branch": text("branch"),
        "account": text("account"), "name": text("name"), "amount": outgoing.amount });
    turn(outgoing, Sending::Transferring)
        .show("sending", Show::Text("sending".into()))
        .http("transfer", HttpCall::json("bank", "transfer", &body))
}

/// The user said where it shall go: its record goes into the file of the bank's next cut-off.
fn file(ctx: &Context, outgoing: Outgoing, values: &[Named]) -> Step<Transfer> {
    // Twenty characters that banks can write, the flow's own and the same at every replay.
    let reference = format!("K{:019}", ctx.seed % 10_000_000_000_000_000_000);
    let record = match zengin::record(&Values(values), outgoing.amount, &reference) {
        Ok(record) => record,
        Err(why) => return fail(outgoing, why),
    };
    turn(outgoing, Sending::Filed).show("in-file", Show::Text("in-file".into())).expect("result", &reference).enqueue(
        "record",
        "transfers",
        &reference,
        record,
    )
}

/// What the bank's result file says of it. Errors: it is for another sum than was asked: an operator must look.
fn result(outgoing: Outgoing, event: &Event, message: &Message) -> Result<Step<Transfer>, Failure> {
    let said = results::read(&message.body)?;
    if said.amount != outgoing.amount {
        let message = format!("the bank speaks of {} yen, asked were {}", said.amount, outgoing.amount);
        return Err(Failure::new("result_differs", message));
    }
    Ok(match said.outcome {
        Ok(receipt) => done(outgoing, &receipt, event),
        Err(reason) => {
            let message = format!("the bank refused {}: {reason}", outgoing.id);
            fail(outgoing, Failure::new("refused_by_bank", message).text("refused-by-bank"))
        }
    })
}

/// The bank has transferred it: the whole of what is held is taken.
fn done(outgoing: Outgoing, receipt: &str, event: &Event) -> Step<Transfer> {
    let whole = Money::yen(outgoing.amount.saturating_add(outgoing.fee));
    let capture = Capture::last(HOLD, whole, receipt, event);
    let capture = if outgoing.fee > 0 { capture.fee(Money::yen(outgoing.fee)) } else { capture };
    turn(outgoing, Sending::Done).capture(capture)
}

/// The bank says how the transfer stands. Whatever is no clear word leaves it where it was, and the bank is asked again.
fn answered(ctx: &Context, outgoing: Outgoing, event: &Event, answer: &HttpAnswer) -> Step<Transfer> {
    let said = match answer.read::<Said>() {
        Ok(said) if answer.is_success() || answer.status == 400 => said,
        Ok(said) => return unclear(ctx, outgoing, &format!("status {} with `{}`", answer.status, said.result)),
        Err(problem) => return unclear(ctx, outgoing, &format!("status {}: {problem}", answer.status)),
    };
    match said.result.as_str() {
        "done" if !said.receipt.is_empty() => done(outgoing, &said.receipt, event),
        "refused" => {
            let message = format!("the bank refused {}: {}", outgoing.id, said.reason);
            fail(outgoing, Failure::new("refused_by_bank", message).text("refused-by-bank"))
        }
        "cancelled" => {
            let message = format!("{} never reached the bank, and never will", outgoing.id);
            fail(outgoing, Failure::new("taken_back", message).text("taken-back"))
        }
        // It has not come, but may still be on its way: it is taken back before the money is let go.
        "unknown" if outgoing.phase == Sending::Checking => {
            let body = json!({ "transfer": outgoing.id });
            let key = format!("cancel-{}", outgoing.asked);
            turn(outgoing, Sending::TakingBack).http(&key, HttpCall::json("bank", "cancel", &body))
        }
        other => unclear(ctx, outgoing, &format!("status {} with `{other}`", answer.status)),
    }
}

/// The bank said nothing that decides anything.
fn unclear(ctx: &Context, outgoing: Outgoing, why: &str) -> Step<Transfer> {
    log::warn(&format!("the bank's word about {} is unclear: {why}", outgoing.id));
    let first = outgoing.phase == Sending::Transferring;
    let step = wait(ctx, Outgoing { phase: Sending::Checking, ..outgoing });
    if first { step.show("checking", Show::Text("checking".into())) } else { step }
}

/// Asks the bank how the transfer stands.
fn ask(mut outgoing: Outgoing) -> Step<Transfer> {
    outgoing.asked += 1;
    outgoing.phase = Sending::Checking;
    let body = json!({ "transfer": outgoing.id });
    let key = format!("status-{}", outgoing.asked);
    stay(outgoing).http(&key, HttpCall::json("bank", "status", &body))
}

/// Asks it again after a pause. After very many times nobody asks any more: the hold stays, and an operator has been told long ago.
fn wait(ctx: &Context, outgoing: Outgoing) -> Step<Transfer> {
    if outgoing.asked >= ASKED_MAX {
        return stay(outgoing);
    }
    let pause = PAUSE_MS.saturating_mul(1 << outgoing.asked.min(16)).min(PAUSE_MS_MAX);
    let key = format!("ask-{}", outgoing.asked);
    stay(outgoing).timer(&key, ctx.now.saturating_add(pause))
}

/// The end without a transfer: what is held is given back with it.
fn fail(outgoing: Outgoing, why: Failure) -> Step<Transfer> {
    turn(outgoing, Sending::Failed).release(HOLD).note(why)
}

fn turn(outgoing: Outgoing, phase: Sending) -> Step<Transfer> {
    stay(Outgoing { phase, ..outgoing })
}

fn stay(outgoing: Outgoing) -> Step<Transfer> {
    let standing = outgoing.phase.standing();
    Step::new(Transfer::Out(outgoing), standing)
}
