//! Sending money to another verified user: judged by the same rules as payments.

use koban_domain::ids::{TransferId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::transfers::{Send, Transfer, TransferState};
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::judged::{Dealing, Payee};
use crate::operations::Answered;
use crate::orders::Order;
use crate::page::{Page, Paged};
use crate::payments::check_amount;

/// What a sender asks for.
#[derive(Debug, Clone, Serialize)]
pub struct SendInput {
    /// Who shall receive.
    pub receiver: UserId,
    /// How much.
    pub amount: Money,
    /// Words to the receiver, at most 100 characters.
    pub message: Option<String>,
}

/// Sends money from the signed-in user's funds.
pub async fn send(app: &App, ctx: &Ctx, input: SendInput) -> Result<Answered<Transfer>, Error> {
    order(ctx, input)?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Transferred(transfer) => Some(transfer),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) fn order(ctx: &Ctx, input: SendInput) -> Result<Order, Error> {
    let sender = ctx.user()?;
    check_amount(input.amount)?;
    check_message(input.message.as_deref())?;
    let dealing = Dealing {
        kind: "transfer",
        payer: sender,
        payee: Payee::User(input.receiver),
        amount: input.amount,
        name: |id| TransferId(id).to_string(),
        can_wait: true,
    };
    let asked = input.clone();
    let order = Order::new("transfer", "POST /v1/transfers", &input, move |id, judged| {
        Command::Transfer(Send {
            transfer: TransferId(id),
            sender,
            receiver: asked.receiver,
            amount: asked.amount,
            message: asked.message.clone(),
            decision: judged.decision,
            review: judged.review,
        })
    });
    Ok(order?.judged(dealing))
}

/// Words to the receiver: at most 100 characters, none of them invisible controls.
pub(crate) fn check_message(message: Option<&str>) -> Result<(), Error> {
    match message {
        Some(text) if text.chars().count() > 100 || text.chars().any(char::is_control) => {
            Err(Error::invalid("message", "use at most 100 printable characters"))
        }
        _ => Ok(()),
    }
}

/// A transfer, for its sender, and once it is sent for its receiver.
pub async fn get(app: &App, ctx: &Ctx, id: TransferId) -> Result<Transfer, Error> {
    let user = ctx.user()?;
    let transfer = koban_store::transfers::by_id(&app.store, id).await?;
    let seen = |transfer: &Transfer| {
        transfer.sender == user || transfer.receiver == user && transfer.state == TransferState::Sent
    };
    transfer.filter(seen).ok_or(Error::NotFound("transfer"))
}

/// The signed-in user's transfers in one currency, sent and received, newest first. Errors: the platform does not offer it.
pub async fn list(app: &App, ctx: &Ctx, (currency, page): (Currency, &Page)) -> Result<Paged<Transfer>, Error> {
    crate::wallets::check_offered(app, currency)?;
    let (user, limit) = (ctx.user()?, page.limit()?);
    let before = page.place::<8>()?.map(i64::from_be_bytes);
    let rows = koban_store::transfers::by_user(&app.store, user, currency, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |(sequence, _)| sequence.to_be_bytes().to_vec()).map(|(_, transfer)| transfer))
}
