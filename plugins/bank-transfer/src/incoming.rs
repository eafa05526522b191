//! A charge: an account number of its own, and the transfer that comes to it.

use koban_sdk::flow::{
    Call, Credit, Event, HttpAnswer, HttpCall, Lost, Message, Refusal, Request, Routing, Show, Step, What,
};
use koban_sdk::serde::Deserialize;
use koban_sdk::{Context, Failure, Money, json};

use crate::settings::BankSettings;
use crate::state::{Incoming, Receiving, Transfer};

/// What the bank says of the account.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Opened {
    account: String,
}

/// A transfer that has come.
#[derive(Deserialize)]
#[serde(crate = "koban_sdk::serde")]
struct Received {
    account: String,
    reference: String,
    amount: i64,
}

/// Asks the bank for an account number.
pub(crate) fn begin(ctx: &Context, request: &Request) -> Result<Step<Transfer>, Failure> {
    if !request.at_most.is_in("JPY") {
        let message = format!("the bank takes JPY, not {}", request.at_most.currency);
        return Err(Failure::new("currency_not_supported", message).text("currency-not-supported"));
    }
    Ok(turn(Receiving::Opening)
        .show("opening", Show::Text("opening".into()))
        .http("open", HttpCall::json("bank", "open-account", &json!({ "request": ctx.call }))))
}

/// A transfer goes to the charge that shows its account. The bank sends back what nobody expects.
pub(crate) fn route(call: &Call) -> Routing {
    match call.read::<Received>() {
        Ok(received) => Routing::deliver(&received.account, refused("no_such_account")),
        Err(problem) => Routing::Answer(HttpAnswer::json(400, &json!({ "result": "malformed", "reason": problem }))),
    }
}

/// One event, one step.
pub(crate) fn resume(
    ctx: &Context,
    settings: &BankSettings,
    incoming: Incoming,
    event: &Event,
    refusal: Option<&Refusal>,
) -> Step<Transfer> {
    match (incoming.phase, &event.what) {
        (Receiving::Opening, What::Answer(answer)) => opened(ctx, settings, answer),
        (Receiving::Opening, What::Lost((_, why))) => {
            fail("bank_unavailable", format!("the bank gave no account: {why}"), "bank-unavailable")
        }
        // Another charge has this number for ever: the bank gave it twice.
        (Receiving::Waiting, What::Lost((Lost::Refused, why))) => {
            fail("bank_unavailable", format!("the bank gave a used account: {why}"), "bank-unavailable")
        }
        (Receiving::Waiting, What::Rang) => fail("not_received", "no transfer came in time".to_owned(), "not-received"),
        (Receiving::Opening | Receiving::Waiting, What::CancelAsked) => turn(Receiving::Cancelled),
        (Receiving::Waiting, What::Message(message)) => received(message, event, refusal),
        // It has ended: what comes now goes back.
        (phase, What::Message(_)) => turn(phase).reply(refused("ended")),
        (phase, _) => turn(phase),
    }
}

fn opened(ctx: &Context, settings: &BankSettings, answer: &HttpAnswer) -> Step<Transfer> {
    let account = answer.read::<Opened>().ok().filter(|_| answer.is_success()).map(|opened| opened.account);
    let is_account = |account: &String| account.len() == 7 && account.bytes().all(|byte| byte.is_ascii_digit());
    match account.filter(is_account) {
        Some(account) => turn(Receiving::Waiting)
            .cancel("opened", "opening")
            .show("here", Show::Text("transfer-here".into()))
            .show("account", Show::Code(account.clone()))
            .expect("received", &account)
            .timer("late", ctx.now.saturating_add(settings.waits_ms())),
        None => fail("bank_unavailable", format!("status {} and no account", answer.status), "bank-unavailable"),
    }
}

/// The bank asks whether it may book a transfer; what is refused it sends back.
fn received(message: &Message, event: &Event, refusal: Option<&Refusal>) -> Step<Transfer> {
    let received = match message.read::<Received>() {
        Ok(received) if received.amount > 0 => received,
        Ok(_) | Err(_) => return turn(Receiving::Waiting).reply(refused("malformed")),
    };
    if let Some(refusal) = refusal {
        let message = format!("the ledger refused {} yen: {}", received.amount, refusal.outcome);
        return fail("transfer_refused", message, "transfer-refused").reply(refused(&refusal.outcome));
    }
    let credit = Credit::asked("transfer", Money::yen(received.amount), &received.reference, event);
    turn(Receiving::Done).credit(credit).reply(HttpAnswer::json(200, &json!({ "result": "ok" })))
}

fn refused(reason: &str) -> HttpAnswer {
    HttpAnswer::json(200, &json!({ "result": "refused", "reason": reason }))
}

fn fail(code: &str, message: String, text: &str) -> Step<Transfer> {
    turn(Receiving::Failed).note(Failure::new(code, message).text(text))
}

fn turn(phase: Receiving) -> Step<Transfer> {
    Step::new(Transfer::In(Incoming { phase }), phase.standing())
}
