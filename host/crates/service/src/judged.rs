//! What payments and transfers share: one read beforehand, the fraud rules, and a commit that is judged again if the policy changed.

use koban_domain::guest::{AssessPayment, Verdict};
use koban_domain::ids::{MerchantId, RecordId, UserId};
use koban_domain::ledger::{Answer, Command, Counted, Work};
use koban_domain::money::Money;
use koban_domain::signals::{SubjectKey, Subjects};
use uuid::Uuid;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::fraud::{self, Case};
use crate::operations::{self, Answered, Begun};
use crate::reads::Asked;

/// How often a dealing is judged again because a rule was switched meanwhile.
const JUDGED_MAX: u32 = 3;

/// Who shall have the money.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payee {
    /// A merchant.
    Merchant(MerchantId),
    /// Another user.
    User(UserId),
}

/// Money that a user would like to give away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dealing {
    /// `payment` or `transfer`, for rules and metrics.
    pub(crate) kind: &'static str,
    /// Who gives.
    pub(crate) payer: UserId,
    /// Who gets.
    pub(crate) payee: Payee,
    /// How much.
    pub(crate) amount: Money,
    /// How the dealing's id is written.
    pub(crate) name: fn(Uuid) -> String,
    /// Whether its amount can be held while an operator looks at it.
    pub(crate) can_wait: bool,
}

/// What came of the judgement, for the command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdicts {
    /// The decision behind it.
    pub(crate) decision: Option<RecordId>,
    /// Whether the amount is held until an operator has looked.
    pub(crate) review: bool,
}

/// Judges a dealing and commits it under its operation. `command` makes the command from the dealing's id and what was judged.
pub(crate) async fn commit(
    app: &App,
    ctx: &Ctx,
    operation: &Begun,
    dealing: &Dealing,
    command: impl Fn(Uuid, Verdicts) -> Command,
) -> Result<Answered<Answer>, Error> {
    let Dealing { kind, payer, payee, amount, name, can_wait } = *dealing;
    let device = ctx.device.as_deref();
    let merchant = match payee {
        Payee::Merchant(merchant) => Some(SubjectKey::merchant(merchant)),
        Payee::User(_) => None,
    };
    let subjects = Subjects { user: SubjectKey::user(payer), merchant, device: device.map(SubjectKey::device) };
    for _ in 0..JUDGED_MAX {
        // One read for the operation, the payer, the payee and the signals, shared with concurrent dealings.
        let asked = match payee {
            Payee::Merchant(merchant) => Asked::payment(&operation.claim, payer, merchant, &subjects),
            Payee::User(receiver) => Asked::transfer(&operation.claim, payer, receiver, &subjects),
        };
        let known = app.reads.payment(asked).await?;
        if let Some(decided) = operation.replay(app, known.operation.clone())? {
            return Ok(decided);
        }
        let (id, user) = (app.clock.id(), known.payer()?);
        let (category, payee) = match payee {
            Payee::Merchant(merchant) => (Some(known.category()?), merchant.0),
            Payee::User(receiver) => (None, receiver.0),
        };
        let at = u64::try_from(app.clock.now().0).unwrap_or(0);
        let case = Case {
            payment: AssessPayment { id: name(id), kind: kind.to_owned(), amount, at },
            subjects: subjects.clone(),
            rings: known.rings.clone(),
            kind: user.kind,
            since: user.created_at,
            first_time: !known.payee_known,
            device,
            category,
            locale: &ctx.locale,
        };
        let judged = fraud::assess(app, &case).await?;
        let mut work = Work::new(id, ctx.actor.to_string());
        let review = can_wait && judged.verdict == Verdict::Review;
        work.refused = judged.refusal().filter(|_| !review);
        work.commands = vec![command(id, Verdicts { decision: judged.decision, review })];
        work.counted = Some(Counted { subjects: subjects.clone(), amount: amount.minor });
        // Whoever is looked at first is not known before somebody has said yes.
        work.payee = (!known.payee_known && !review).then_some((payer, payee));
        work.records = judged.records;
        work.judged_under = Some(judged.under);
        work.relies_on = judged.relies_on;
        let answer = operation.commit(app, work).await;
        app.metrics.dealt(kind, operations::result_word(&answer));
        if let Some(answered) = answer? {
            return Ok(answered);
        }
    }
    Err(Error::Busy)
}
