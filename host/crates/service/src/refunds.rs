//! Giving a payment back, in part or whole.

use koban_domain::ids::{PaymentId, RefundId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Money;
use koban_domain::refunds::{GiveBack, Refund};
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::Answered;
use crate::orders::Order;
use crate::payments;

/// Most refunds of one payment that are listed: a payment of yen rarely has more.
const REFUNDS_MAX: u16 = 1_000;

/// What a merchant asks for.
#[derive(Debug, Clone, Serialize)]
pub struct RefundInput {
    /// Which payment.
    pub payment: PaymentId,
    /// How much of it.
    pub amount: Money,
}

/// Gives money back from what the merchant is owed.
pub async fn refund(app: &App, ctx: &Ctx, input: RefundInput) -> Result<Answered<Refund>, Error> {
    order(app, ctx, input).await?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Refunded(refund) => Some(refund),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) async fn order(app: &App, ctx: &Ctx, input: RefundInput) -> Result<Order, Error> {
    let merchant = ctx.merchant()?;
    payments::check_amount(input.amount)?;
    let payment = payments::get(app, ctx, input.payment).await?;
    let (of, payer, amount) = (payment.id, payment.payer, input.amount);
    Order::new("refund", "POST /v1/payments/{id}/refunds", &input, move |id, _| {
        Command::Refund(GiveBack { refund: RefundId(id), payment: of, merchant, payer, amount })
    })
}

/// The refunds of a payment, oldest first, for its payer or its merchant.
pub async fn list_of(app: &App, ctx: &Ctx, payment: PaymentId) -> Result<Vec<Refund>, Error> {
    let payment = payments::get(app, ctx, payment).await?;
    Ok(koban_store::payments::refunds(&app.store, payment.id, None, REFUNDS_MAX).await?)
}
