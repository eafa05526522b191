//! What payments and transfers share: one read beforehand, and the fraud rules.

use std::collections::HashMap;

use koban_domain::guest::{AssessPayment, Verdict};
use koban_domain::ids::{MerchantId, RecordId, UserId};
use koban_domain::ledger::{Command, Counted, Work};
use koban_domain::money::Money;
use koban_domain::operations::{Claim, Operation};
use koban_domain::releases::Scope;
use koban_domain::signals::{Ring, SubjectKey, Subjects};
use koban_domain::time::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::fraud::{self, Case};
use crate::reads::{Asked, Known};

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
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Verdicts {
    /// The decision behind it.
    pub(crate) decision: Option<RecordId>,
    /// Whether the amount is held until an operator has looked.
    pub(crate) review: bool,
}

/// What was found for a dealing before it is judged.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    known: Known,
    subjects: Subjects,
}

impl Found {
    /// Counts dealings that are decided before this one, as signals would if all of them were posted: who sends many at once is
    /// judged like who sends them one after the other. `ahead` holds the rings so far and takes this dealing in.
    pub(crate) fn follow(&mut self, ahead: &mut HashMap<SubjectKey, Ring>, amount: i64, now: Timestamp) {
        let mut rings = Vec::new();
        for subject in self.subjects.iter() {
            let stored = self.known.rings.iter().find(|(known, _)| *known == subject).map(|(_, ring)| ring.clone());
            let ring = ahead.entry(subject).or_insert_with(|| stored.unwrap_or_default());
            rings.push((subject, ring.clone()));
            ring.count(amount, now);
        }
        self.known.rings = rings;
    }
}

/// Reads what a dealing needs, and the operation if it was decided before.
pub(crate) async fn read(
    app: &App,
    ctx: &Ctx,
    claim: &Claim,
    dealing: &Dealing,
) -> Result<(Option<Operation>, Found), Error> {
    let merchant = match dealing.payee {
        Payee::Merchant(merchant) => Some(SubjectKey::merchant(merchant)),
        Payee::User(_) => None,
    };
    let device = ctx.device.as_deref().map(SubjectKey::device);
    let subjects = Subjects { user: SubjectKey::user(dealing.payer), merchant, device };
    let asked = match dealing.payee {
        Payee::Merchant(merchant) => Asked::payment(claim, dealing.payer, merchant, &subjects),
        Payee::User(receiver) => Asked::transfer(claim, dealing.payer, receiver, &subjects),
    };
    let known = app.reads.payment(asked).await?;
    Ok((known.operation.clone(), Found { known, subjects }))
}

/// Judges a dealing and answers the work that decides it. `command` makes the command from the dealing's id and what was judged.
/// On trial no rule is asked: whoever could ask them without leaving a record could learn what they let through.
pub(crate) async fn work(
    app: &App,
    ctx: &Ctx,
    dealing: &Dealing,
    found: Found,
    command: &(dyn Fn(Uuid, Verdicts) -> Command + Send + Sync),
) -> Result<Work, Error> {
    let Dealing { kind, payer, payee, amount, name, can_wait } = *dealing;
    let Found { known, subjects } = found;
    let (id, user) = (app.clock.id(), known.payer()?);
    let (category, merchant, payee) = match payee {
        Payee::Merchant(merchant) => (Some(known.category()?), Some(merchant), merchant.0),
        Payee::User(receiver) => (None, None, receiver.0),
    };
    let mut work = ctx.work(id);
    if ctx.trial {
        work.commands = vec![command(id, Verdicts::default())];
        return Ok(work);
    }
    let at = u64::try_from(app.clock.now().0).unwrap_or(0);
    let scopes: Vec<Scope> = merchant.map(Scope::Merchant).into_iter().chain([Scope::Platform]).collect();
    let case = Case {
        payment: AssessPayment { id: name(id), kind: kind.to_owned(), amount, at },
        payer,
        subjects: subjects.clone(),
        rings: known.rings.clone(),
        kind: user.kind,
        since: user.created_at,
        first_time: !known.payee_known,
        device: ctx.device.as_deref(),
        category,
        locale: &ctx.locale,
        scopes: &scopes,
    };
    let judged = fraud::assess(app, &case).await?;
    let review = can_wait && judged.verdict == Verdict::Review;
    work.refused = judged.refusal().filter(|_| !review);
    work.commands = vec![command(id, Verdicts { decision: judged.decision, review })];
    work.counted = Some(Counted { subjects, amount: amount.minor });
    // Whoever is looked at first is not known before somebody has said yes.
    work.payee = (!known.payee_known && !review).then_some((payer, payee));
    work.records = judged.records;
    work.judged_under = Some(judged.under);
    work.relies_on = judged.relies_on;
    Ok(work)
}
