//! What bill a code is, and the beginning of its payment.

use koban_sdk::bill::{Bill, Code, Request, Source};
use koban_sdk::flow::{HttpCall, Show, Step};
use koban_sdk::{Context, Failure, Money, Value, json};

use crate::settings::SlipSettings;
use crate::slip::{self, NoSlip, Slip};
use crate::state::{Payment, Phase};

/// The key of the one hold.
pub(crate) const HOLD: &str = "bill";

/// The bill that a code is; nothing if it is no slip.
pub(crate) fn recognise(ctx: &Context, settings: &SlipSettings, code: &Code) -> Result<Option<Bill>, Failure> {
    Ok(read(ctx, settings, code)?.map(|slip| bill(settings, &slip)))
}

/// Holds amount and fee, and asks the collector to pay the biller.
pub(crate) fn begin(ctx: &Context, settings: &SlipSettings, request: &Request) -> Result<Step<Payment>, Failure> {
    let slip = read(ctx, settings, &request.code)?;
    let Some(slip) = slip.filter(|slip| bill(settings, slip) == request.bill) else {
        let message = "the code is not the bill that was agreed to";
        return Err(Failure::new("bill_differs", message).text("bill-differs"));
    };
    let payment = Payment {
        phase: Phase::Paying,
        // The call's id is ours alone and the same at every replay: the collector knows the payment by it.
        id: ctx.call.clone(),
        amount: slip.amount,
        fee: settings.fee.minor,
        asked: 0,
    };
    let pay = json!({ "payment": payment.id, "slip": slip.digits, "amount": slip.amount });
    let (whole, standing) = (payment.whole(), payment.phase.standing());
    Ok(Step::new(payment, standing)
        .hold(HOLD, whole)
        .show("paying", Show::Text("paying".into()))
        .http("pay", HttpCall::json("collector", "pay", &pay)))
}

/// The slip, if it may be paid here and now.
fn read(ctx: &Context, settings: &SlipSettings, code: &Code) -> Result<Option<Slip>, Failure> {
    if code.source == Source::Qr {
        return Ok(None);
    }
    let slip = match slip::read(&code.content, code.source == Source::Typed) {
        None => return Ok(None),
        Some(Ok(slip)) => slip,
        Some(Err(NoSlip::CheckDigit)) => {
            return Err(Failure::new("check_digit", "the check digit does not fit").text("check-digit"));
        }
        Some(Err(NoSlip::Malformed)) => {
            let message = "the slip has no amount, or a last day that does not exist";
            return Err(Failure::new("slip_malformed", message).text("slip-malformed"));
        }
    };
    if slip.due.is_some_and(|due| ctx.now > due) {
        return Err(Failure::new("overdue", "the last day of the slip has passed").text("overdue"));
    }
    if slip.amount > settings.most.minor {
        let message = format!("the slip is over {} yen, at most {} are paid", slip.amount, settings.most.minor);
        return Err(Failure::new("amount_too_high", message).text("amount-too-high"));
    }
    Ok(Some(slip))
}

/// What the user is asked to agree to. The reference leaves the reissue count out: a slip that was sent again is the same bill.
fn bill(settings: &SlipSettings, slip: &Slip) -> Bill {
    let name = settings.name_of(&slip.company);
    let bill = Bill::new(&slip.company, &name, &slip.free, Money::yen(slip.amount)).fee(settings.fee.minor);
    let bill = bill.line("slip-number", Value::Text(slip.free.clone()));
    match slip.due {
        Some(due) => bill.due(due).line("due", Value::Moment(due)),
        None => bill,
    }
}
