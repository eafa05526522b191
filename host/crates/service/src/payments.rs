//! Paying a merchant: identity and fraud before the queue, the books inside it, the news after it.

use koban_domain::guest::AssessPayment;
use koban_domain::ids::{MerchantId, PaymentId};
use koban_domain::ledger::{Answer, Command, Counted, Work};
use koban_domain::money::Money;
use koban_domain::payments::{Pay, Payment};
use koban_domain::signals::{SubjectKey, Subjects};
use koban_store::payments;
use serde::Serialize;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::fraud::{self, Case};
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::reads::Asked;

/// How often a payment is judged again because a rule was switched meanwhile.
const JUDGED_MAX: u32 = 3;

/// What a payer asks for.
#[derive(Debug, Clone, Serialize)]
pub struct PayInput {
    /// Who shall be paid.
    pub merchant: MerchantId,
    /// How much.
    pub amount: Money,
    /// The merchant's own reference, 1 to 100 characters, unique for the merchant.
    pub reference: Option<String>,
}

/// Pays a merchant from the signed-in user's wallet.
pub async fn pay(app: &App, ctx: &Ctx, input: PayInput) -> Result<Answered<Payment>, Error> {
    let payer = ctx.user()?;
    check_amount(input.amount)?;
    check_reference(input.reference.as_deref())?;
    let operation = operations::begin(app, ctx, "POST /v1/payments", &input)?;
    let subjects = Subjects {
        user: SubjectKey::user(payer),
        merchant: Some(SubjectKey::merchant(input.merchant)),
        device: ctx.device.as_deref().map(SubjectKey::device),
    };
    for _ in 0..JUDGED_MAX {
        // One read for the operation, the payer, the merchant, the payee and the signals, shared with concurrent payments.
        let known = app.reads.payment(Asked::payment(&operation.claim, payer, input.merchant, &subjects)).await?;
        if let Some(decided) = operation.replay(app, known.operation.clone())? {
            return decided.into_payment();
        }
        let payment = PaymentId(app.clock.id());
        let (user, merchant) = (known.payer()?, known.merchant()?);
        let judged = fraud::assess(
            app,
            &Case {
                payment: AssessPayment {
                    id: payment.to_string(),
                    kind: "payment".to_owned(),
                    amount: input.amount,
                    at: u64::try_from(app.clock.now().0).unwrap_or(0),
                },
                subjects: subjects.clone(),
                rings: known.rings.clone(),
                kind: user.kind,
                since: user.created_at,
                first_time: !known.payee_known,
                device: ctx.device.as_deref(),
                category: Some(&merchant.category),
                locale: &ctx.locale,
            },
        )
        .await?;
        let mut work = Work::new(payment.0, ctx.actor.to_string());
        work.refused = judged.refusal();
        work.commands = vec![Command::Pay(Pay {
            payment,
            payer,
            merchant: input.merchant,
            amount: input.amount,
            reference: input.reference.clone(),
            decision: judged.decision,
        })];
        work.counted = Some(Counted { subjects: subjects.clone(), amount: input.amount.minor });
        work.payee = (!known.payee_known).then_some((payer, input.merchant.0));
        work.records = judged.records;
        work.judged_under = Some(judged.under);
        work.relies_on = judged.relies_on;
        let answer = operation.commit(app, work).await;
        app.metrics.dealt("payment", operations::result_word(&answer));
        if let Some(answered) = answer? {
            return answered.into_payment();
        }
    }
    Err(Error::Busy)
}

impl Answered<Answer> {
    fn into_payment(self) -> Result<Answered<Payment>, Error> {
        self.expect(|answer| match answer {
            Answer::Paid(payment) => Some(payment),
            _ => None,
        })
    }
}

/// A payment, for its payer or its merchant.
pub async fn get(app: &App, ctx: &Ctx, id: PaymentId) -> Result<Payment, Error> {
    let payment = payments::by_id(&app.store, id).await?.ok_or(Error::NotFound("payment"))?;
    let own = match ctx.actor {
        Actor::User(user) => payment.payer == user,
        Actor::Merchant(merchant, _) => payment.merchant == merchant,
        Actor::Operator(_) | Actor::System => true,
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
    match amount.minor {
        1..=1_000_000_000_000 => Ok(()),
        _ => Err(Error::invalid("amount", "give whole minor units, 1 to 1,000,000,000,000")),
    }
}

fn check_reference(reference: Option<&str>) -> Result<(), Error> {
    match reference {
        Some(text) if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) => {
            Err(Error::invalid("reference", "use 1 to 100 printable characters"))
        }
        _ => Ok(()),
    }
}
