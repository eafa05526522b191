//! What becomes of a held amount: the merchant captures it or lets it go, the payer has more held, or its time runs out.

use koban_domain::captures::{Capture, Collect, Increase, OfPayment};
use koban_domain::ids::{CaptureId, PaymentId};
use koban_domain::ledger::{Answer, Command, Work};
use koban_domain::money::Money;
use koban_domain::payments::Payment;
use koban_domain::time::Timestamp;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::judged::{Dealing, Payee};
use crate::operations::Answered;
use crate::orders::Order;
use crate::payments;

/// Most captures of one payment that are listed.
const CAPTURES_MAX: u16 = 1_000;
/// Most holds that are ended in one go, and so perhaps in one commit.
const EXPIRED_AT_ONCE: u16 = 256;
/// Most rounds of one sweep.
const ROUNDS_MAX: u32 = 40;

/// What a merchant asks for.
#[derive(Debug, Clone, Serialize)]
pub struct CaptureInput {
    /// Of which payment.
    pub payment: PaymentId,
    /// How much, minor units; all that is held if it does not say.
    pub amount: Option<i64>,
    /// Whether the rest is let go.
    #[serde(rename = "final")]
    pub last: bool,
}

/// Takes from what is held for the merchant.
pub async fn capture(app: &App, ctx: &Ctx, input: CaptureInput) -> Result<Answered<Capture>, Error> {
    capture_order(app, ctx, input).await?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Captured(capture) => Some(capture),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) async fn capture_order(app: &App, ctx: &Ctx, input: CaptureInput) -> Result<Order, Error> {
    ctx.merchant()?;
    if let Some(amount) = input.amount {
        payments::check_minor(amount)?;
    }
    let of = OfPayment::from(&payments::get(app, ctx, input.payment).await?);
    let (amount, last) = (input.amount, input.last);
    Order::new("capture", "POST /v1/payments/{id}/captures", &input, move |id, _| {
        Command::Collect(Collect { capture: CaptureId(id), of, amount, last })
    })
}

/// Lets go of all that is held for the merchant.
pub async fn void(app: &App, ctx: &Ctx, payment: PaymentId) -> Result<Answered<Payment>, Error> {
    void_order(app, ctx, payment).await?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Voided(payment) => Some(payment),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) async fn void_order(app: &App, ctx: &Ctx, payment: PaymentId) -> Result<Order, Error> {
    ctx.merchant()?;
    let of = OfPayment::from(&payments::get(app, ctx, payment).await?);
    Order::new("void", "POST /v1/payments/{id}/void", &payment, move |_, _| Command::Void(of))
}

/// The captures of a payment, oldest first, for its payer or its merchant. A payment that was paid at once has none.
pub async fn list_of(app: &App, ctx: &Ctx, payment: PaymentId) -> Result<Vec<Capture>, Error> {
    let payment = payments::get(app, ctx, payment).await?;
    Ok(koban_store::captures::of_payment(&app.store, payment.id, None, CAPTURES_MAX).await?)
}

/// What a payer asks for.
#[derive(Debug, Clone, Serialize)]
pub struct IncrementInput {
    /// Of which payment.
    pub payment: PaymentId,
    /// How much more.
    pub amount: Money,
}

/// Has more held for the merchant. The fraud rules judge it like a payment of its own.
pub async fn increase(app: &App, ctx: &Ctx, input: IncrementInput) -> Result<Answered<Payment>, Error> {
    increment_order(app, ctx, input).await?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Increased(payment) => Some(payment),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) async fn increment_order(app: &App, ctx: &Ctx, input: IncrementInput) -> Result<Order, Error> {
    let payer = ctx.user()?;
    payments::check_amount(input.amount)?;
    let payment = payments::get(app, ctx, input.payment).await?;
    let dealing = Dealing {
        kind: "payment",
        payer,
        payee: Payee::Merchant(payment.merchant),
        amount: input.amount,
        name: |id| PaymentId(id).to_string(),
        // Part of it is the merchant's already: an operator could no longer say no to the whole.
        can_wait: false,
    };
    let (of, amount) = (OfPayment::from(&payment), input.amount);
    let order = Order::new("payment", "POST /v1/payments/{id}/increments", &input, move |_, _| {
        Command::Increase(Increase { of, amount })
    });
    Ok(order?.judged(dealing))
}

/// Ends every hold whose time has run out. What is refused here is over already, or somebody else has just ended it.
pub(crate) async fn expire_due(app: &App, now: Timestamp) -> Result<(), Error> {
    for _ in 0..ROUNDS_MAX {
        let due = koban_store::payments::holds_due(&app.store, now, EXPIRED_AT_ONCE).await?;
        let full = due.len() == usize::from(EXPIRED_AT_ONCE);
        let commands = due.iter().map(|payment| Command::Expire(OfPayment::from(payment)));
        if !end_all(app, commands).await? || !full {
            break;
        }
    }
    Ok(())
}

/// Commits each command by itself, all at the same moment, so that they share commits. Answers whether any was done.
pub(crate) async fn end_all(app: &App, commands: impl Iterator<Item = Command>) -> Result<bool, Error> {
    let mut ends = JoinSet::new();
    for command in commands {
        let mut work = Work::new(app.clock.id(), Actor::System.to_string());
        work.commands = vec![command];
        let ledger = app.ledger.clone();
        ends.spawn(async move { ledger.commit(work).await });
    }
    let mut any = false;
    while let Some(ended) = ends.join_next().await {
        let decided = ended.map_err(|error| Error::Internal(error.to_string()))??;
        any |= matches!(decided, koban_domain::ledger::Decided::Done(_));
    }
    Ok(any)
}
