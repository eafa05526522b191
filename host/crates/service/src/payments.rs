//! Paying a merchant: identity and fraud before the queue, the books inside it, the news after it.

use koban_domain::captures::HOLD_MS_MAX;
use koban_domain::ids::{MerchantId, PaymentId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Money;
use koban_domain::payments::{Pay, Payment, Terms};
use koban_store::payments;
use serde::Serialize;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::judged::{Dealing, Payee};
use crate::operations::Answered;
use crate::orders::Order;
use crate::page::{Page, Paged};

/// What a payer asks for.
#[derive(Debug, Clone, Serialize)]
pub struct PayInput {
    /// Who shall be paid.
    pub merchant: MerchantId,
    /// How much.
    pub amount: Money,
    /// The merchant's own reference, 1 to 100 characters, unique for the merchant.
    pub reference: Option<String>,
    /// For how many seconds the amount is held for the merchant; none if it is paid at once. Left out of the fingerprint then: requests
    /// were fingerprinted before there were holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_s: Option<i64>,
}

/// Pays a merchant from the signed-in user's wallet, or holds the amount for it.
pub async fn pay(app: &App, ctx: &Ctx, input: PayInput) -> Result<Answered<Payment>, Error> {
    order(ctx, input)?.decide(app, ctx).await?.expect(|answer| match answer {
        Answer::Paid(payment) => Some(payment),
        _ => None,
    })
}

/// The same, to be decided.
pub(crate) fn order(ctx: &Ctx, input: PayInput) -> Result<Order, Error> {
    let payer = ctx.user()?;
    check_amount(input.amount)?;
    check_reference(input.reference.as_deref())?;
    let terms = match input.hold_s {
        None => Terms::AtOnce,
        Some(seconds) if (1..=HOLD_MS_MAX / 1_000).contains(&seconds) => Terms::Held { for_ms: seconds * 1_000 },
        Some(_) => return Err(Error::invalid("expires_in_s", "use 1 to 2,592,000 seconds: at most 30 days")),
    };
    let dealing = Dealing {
        kind: "payment",
        payer,
        payee: Payee::Merchant(input.merchant),
        amount: input.amount,
        name: |id| PaymentId(id).to_string(),
        can_wait: true,
    };
    let asked = input.clone();
    let order = Order::new("payment", "POST /v1/payments", &input, move |id, judged| {
        Command::Pay(Pay {
            payment: PaymentId(id),
            payer,
            merchant: asked.merchant,
            amount: asked.amount,
            reference: asked.reference.clone(),
            decision: judged.decision,
            terms,
            review: judged.review,
        })
    });
    Ok(order?.judged(dealing))
}

/// A payment, for its payer or its merchant.
pub async fn get(app: &App, ctx: &Ctx, id: PaymentId) -> Result<Payment, Error> {
    let payment = payments::by_id(&app.store, id).await?.ok_or(Error::NotFound("payment"))?;
    let own = match ctx.actor {
        Actor::User(user) | Actor::Schedule(_, user) => payment.payer == user,
        Actor::Merchant(merchant, _) => payment.merchant == merchant,
        Actor::Operator(_) | Actor::CommandLine(_) | Actor::IdentityCheck | Actor::System => true,
    };
    if own { Ok(payment) } else { Err(Error::NotFound("payment")) }
}

/// A user's or a merchant's payments, newest first; a merchant may ask for its own reference.
pub async fn list(app: &App, ctx: &Ctx, reference: Option<&str>, page: &Page) -> Result<Paged<Payment>, Error> {
    let limit = page.limit()?;
    let before = page.before()?.map(PaymentId);
    let rows = match (ctx.actor, reference) {
        (Actor::Merchant(merchant, _), Some(reference)) => {
            check_reference(Some(reference))?;
            return Ok(Paged {
                items: payments::by_reference(&app.store, merchant, reference).await?.into_iter().collect(),
                next: None,
            });
        }
        (Actor::Merchant(merchant, _), None) => payments::by_merchant(&app.store, merchant, before, limit + 1).await?,
        (Actor::User(user), None) => payments::by_payer(&app.store, user, before, limit + 1).await?,
        _ => return Err(Error::invalid("reference", "only merchants can search by reference")),
    };
    Ok(Paged::of(rows, limit, |payment| payment.id.bytes().to_vec()))
}

/// Amounts are positive and small enough that no sum of them can overflow the books.
pub(crate) fn check_amount(amount: Money) -> Result<(), Error> {
    check_minor(amount.minor)
}

/// The same for an amount in the currency of something that is there already.
pub(crate) fn check_minor(minor: i64) -> Result<(), Error> {
    match minor {
        1..=1_000_000_000_000 => Ok(()),
        _ => Err(Error::invalid("amount", "give whole minor units, 1 to 1,000,000,000,000")),
    }
}

pub(crate) fn check_reference(reference: Option<&str>) -> Result<(), Error> {
    match reference {
        Some(text) if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) => {
            Err(Error::invalid("reference", "use 1 to 100 printable characters"))
        }
        _ => Ok(()),
    }
}
