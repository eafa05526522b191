//! Sending money to another verified user: judged by the same rules as payments.

use koban_domain::guest::AssessPayment;
use koban_domain::ids::{TransferId, UserId};
use koban_domain::ledger::{Answer, Command, Counted, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::signals::{SubjectKey, Subjects};
use koban_domain::transfers::{Send, Transfer};
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::fraud::{self, Case};
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::payments::check_amount;
use crate::reads::Asked;

/// How often a transfer is judged again because a rule was switched meanwhile.
const JUDGED_MAX: u32 = 3;

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
    let sender = ctx.user()?;
    check_amount(input.amount)?;
    if input.message.as_ref().is_some_and(|text| text.chars().count() > 100 || text.chars().any(char::is_control)) {
        return Err(Error::invalid("message", "use at most 100 printable characters"));
    }
    let operation = operations::begin(app, ctx, "POST /v1/transfers", &input)?;
    let subjects = Subjects {
        user: SubjectKey::user(sender),
        merchant: None,
        device: ctx.device.as_deref().map(SubjectKey::device),
    };
    for _ in 0..JUDGED_MAX {
        let known = app.reads.payment(Asked::transfer(&operation.claim, sender, input.receiver, &subjects)).await?;
        if let Some(decided) = operation.replay(app, known.operation.clone())? {
            return decided.into_transfer();
        }
        let transfer = TransferId(app.clock.id());
        let user = known.payer()?;
        let judged = fraud::assess(
            app,
            &Case {
                payment: AssessPayment {
                    id: transfer.to_string(),
                    kind: "transfer".to_owned(),
                    amount: input.amount,
                    at: u64::try_from(app.clock.now().0).unwrap_or(0),
                },
                subjects: subjects.clone(),
                rings: known.rings.clone(),
                kind: user.kind,
                since: user.created_at,
                first_time: !known.payee_known,
                device: ctx.device.as_deref(),
                category: None,
                locale: &ctx.locale,
            },
        )
        .await?;
        let mut work = Work::new(transfer.0, ctx.actor.to_string());
        work.refused = judged.refusal();
        work.commands = vec![Command::Transfer(Send {
            transfer,
            sender,
            receiver: input.receiver,
            amount: input.amount,
            message: input.message.clone(),
            decision: judged.decision,
        })];
        work.counted = Some(Counted { subjects: subjects.clone(), amount: input.amount.minor });
        work.payee = (!known.payee_known).then_some((sender, input.receiver.0));
        work.records = judged.records;
        work.judged_under = Some(judged.under);
        work.relies_on = judged.relies_on;
        let answer = operation.commit(app, work).await;
        app.metrics.dealt("transfer", operations::result_word(&answer));
        if let Some(answered) = answer? {
            return answered.into_transfer();
        }
    }
    Err(Error::Busy)
}

impl Answered<Answer> {
    fn into_transfer(self) -> Result<Answered<Transfer>, Error> {
        self.expect(|answer| match answer {
            Answer::Transferred(transfer) => Some(transfer),
            _ => None,
        })
    }
}

/// A transfer, for its sender or receiver.
pub async fn get(app: &App, ctx: &Ctx, id: TransferId) -> Result<Transfer, Error> {
    let user = ctx.user()?;
    let transfer = koban_store::transfers::by_id(&app.store, id).await?;
    transfer.filter(|transfer| transfer.sender == user || transfer.receiver == user).ok_or(Error::NotFound("transfer"))
}

/// The signed-in user's transfers, sent and received, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<Transfer>, Error> {
    let (user, limit) = (ctx.user()?, page.limit()?);
    let before = page.place::<8>()?.map(i64::from_be_bytes);
    let rows = koban_store::transfers::by_user(&app.store, user, Currency::JPY, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |(sequence, _)| sequence.to_be_bytes().to_vec()).map(|(_, transfer)| transfer))
}
