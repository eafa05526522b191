//! Step-ups: a payer confirms with the password what a fraud rule wants confirmed, and then asks again for the very same dealing.

use koban_domain::ids::StepUpId;
use koban_domain::ledger::Work;
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::step_ups::{ATTEMPTS_MAX, Challenge, StepUp, StepUpState, WAITS_MS, challenge_of};
use koban_domain::time::Timestamp;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::judged::{Dealing, Payee};

/// How long a challenge is kept after it has run out, for whoever looks it up.
const KEPT_MS: i64 = 86_400_000;
/// Most challenges that one sweep forgets.
const FORGOTTEN_MAX: u16 = 1_000;

/// Binds work that a rule wants confirmed to its dealing. A payer who names a challenge may go on: the commit looks at it, and uses it up
/// or refuses. Schedules and bulks have nobody who could be asked.
pub(crate) fn challenge(work: &mut Work, ctx: &Ctx, dealing: &Dealing) {
    if work.refused != Some(Refusal::StepUpRequired) || !matches!(ctx.actor, Actor::User(_)) {
        return;
    }
    let payee = match dealing.payee {
        Payee::Merchant(merchant) => merchant.0,
        Payee::User(receiver) => receiver.0,
    };
    work.challenge = Some(Challenge { user: dealing.payer, payee, amount: dealing.amount, proof: ctx.step_up });
    work.refused = work.refused.filter(|_| ctx.step_up.is_none());
}

/// Names the challenge where an operation was refused for want of one, now or before.
pub(crate) fn name(error: Error, ctx: &Ctx, claim: &Claim) -> Error {
    match error {
        Error::Refused { refusal: Refusal::StepUpRequired, replayed } if matches!(ctx.actor, Actor::User(_)) => {
            Error::StepUp { challenge: challenge_of(claim.key), replayed }
        }
        other => other,
    }
}

/// A challenge of the signed-in user: what it is about, and how long it waits.
pub async fn get(app: &App, ctx: &Ctx, id: StepUpId) -> Result<StepUp, Error> {
    koban_store::step_ups::by_id(&app.store, id, ctx.user()?).await?.ok_or(Error::NotFound("step-up"))
}

/// Confirms a challenge by the password. Each try is counted before it is made; after the fifth wrong one the challenge is dead.
/// Errors: [`Error::WrongCredentials`]; [`Error::Conflict`] for one that cannot be confirmed any more, whatever the reason.
pub async fn confirm(app: &App, ctx: &Ctx, id: StepUpId, password: String) -> Result<StepUp, Error> {
    let user = ctx.user()?;
    let challenge = get(app, ctx, id).await?;
    let over = || {
        Error::Conflict("this step-up cannot be confirmed any more; ask for the payment again with a new key".into())
    };
    let now = app.clock.now();
    if !koban_store::step_ups::attempt(&app.store, id, now, ATTEMPTS_MAX).await? {
        return Err(over());
    }
    let hash = koban_store::users::by_id(&app.store, user).await?.and_then(|user| user.password_hash);
    if !app.hashing.verify(password, hash).await? {
        return Err(Error::WrongCredentials);
    }
    let expires_at = now.plus_ms(WAITS_MS);
    if !koban_store::step_ups::confirm(&app.store, id, expires_at).await? {
        return Err(over());
    }
    Ok(StepUp { state: StepUpState::Confirmed, expires_at, ..challenge })
}

/// Forgets challenges that ran out a day ago.
pub(crate) async fn sweep(app: &App, now: Timestamp) -> Result<(), Error> {
    koban_store::step_ups::forget(&app.store, now.plus_ms(-KEPT_MS), FORGOTTEN_MAX).await?;
    Ok(())
}
