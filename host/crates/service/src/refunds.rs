//! Giving a payment back, in part or whole.

use koban_domain::ids::{PaymentId, RefundId};
use koban_domain::ledger::{Answer, Command, Work};
use koban_domain::money::Money;
use koban_domain::refunds::{GiveBack, Refund};
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
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
    let merchant = ctx.merchant()?;
    payments::check_amount(input.amount)?;
    let payment = payments::get(app, ctx, input.payment).await?;
    let operation = operations::begin(app, ctx, "POST /v1/payments/{id}/refunds", &input)?;
    let refund = RefundId(app.clock.id());
    let mut work = Work::new(refund.0, ctx.actor.to_string());
    work.commands = vec![Command::Refund(GiveBack {
        refund,
        payment: payment.id,
        merchant,
        payer: payment.payer,
        amount: input.amount,
    })];
    let answer = operation.commit(app, work).await;
    app.metrics.dealt("refund", operations::result_word(&answer));
    answer?.ok_or(Error::Busy)?.expect(|answer| match answer {
        Answer::Refunded(refund) => Some(refund),
        _ => None,
    })
}

/// The refunds of a payment, oldest first, for its payer or its merchant.
pub async fn list_of(app: &App, ctx: &Ctx, payment: PaymentId) -> Result<Vec<Refund>, Error> {
    let payment = payments::get(app, ctx, payment).await?;
    Ok(koban_store::payments::refunds(&app.store, payment.id, None, REFUNDS_MAX).await?)
}
