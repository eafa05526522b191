//! Payments and transfers at a later time: written down now, judged and done when their time comes, once.
//!
//! A host takes up what is due with a lease and does it under an operation of the schedule's own, so that hosts that die or
//! overtake each other find the first one's outcome. Taking up and cancelling exclude each other in the row.

use std::time::Duration;

use koban_domain::ids::{MerchantId, ScheduleId, UserId};
use koban_domain::money::Money;
use koban_domain::schedules::{AHEAD_MS_MAX, Schedule, ScheduleState, WAITING_MAX, Wish};
use koban_domain::time::Timestamp;
use koban_store::schedules as rows;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::payments::{self, PayInput, check_amount, check_reference};
use crate::transfers::{self, SendInput, check_message};

/// How often due schedules are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most that are done at the same moment.
const AT_ONCE: u16 = 32;
/// How long a host that took one up is believed to be at it.
const LEASE_MS: i64 = 60_000;

/// What a user asks for.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleInput {
    /// What.
    pub wish: WishInput,
    /// When.
    pub execute_at: Timestamp,
}

/// What shall be done then.
#[derive(Debug, Clone, Serialize)]
pub enum WishInput {
    /// Pay a merchant.
    Payment {
        /// Who shall be paid.
        merchant: MerchantId,
        /// How much.
        amount: Money,
        /// The merchant's own reference.
        reference: Option<String>,
    },
    /// Send to a user.
    Transfer {
        /// Who shall receive.
        receiver: UserId,
        /// How much.
        amount: Money,
        /// Words to the receiver.
        message: Option<String>,
    },
}

/// Writes down what shall be done later for the signed-in user. Nothing is held back for it until then.
pub async fn create(app: &App, ctx: &Ctx, input: ScheduleInput) -> Result<Answered<Schedule>, Error> {
    let (user, now) = (ctx.user()?, app.clock.now());
    ctx.not_on_trial()?;
    match &input.wish {
        WishInput::Payment { amount, reference, .. } => {
            check_amount(*amount)?;
            check_reference(reference.as_deref())?;
        }
        WishInput::Transfer { amount, message, .. } => {
            check_amount(*amount)?;
            check_message(message.as_deref())?;
        }
    }
    let operation = operations::begin(app, ctx, "POST /v1/schedules", &input)?;
    let wish = match input.wish {
        WishInput::Payment { merchant, amount, reference } => Wish::Payment { merchant, amount, reference },
        WishInput::Transfer { receiver, amount, message } => Wish::Transfer { receiver, amount, message },
    };
    let schedule = Schedule {
        id: ScheduleId(app.clock.id()),
        user,
        wish,
        execute_at: input.execute_at,
        device: ctx.device.clone(),
        locale: ctx.locale.clone(),
        state: ScheduleState::Waiting,
        outcome: None,
        created_at: now,
        ended_at: None,
    };
    // A key that was used answers as it did, also when its time has passed meanwhile.
    let known = rows::by_operation(&app.store, operation.claim).await?;
    if known.is_none() && (input.execute_at <= now || input.execute_at.since_ms(now) > AHEAD_MS_MAX) {
        return Err(Error::invalid("execute_at_ms", "name a time to come, at most 366 days ahead"));
    }
    let made = match known {
        Some(known) => Some(known),
        None => {
            // The key is used up in the books first, where every other request looks for it. Killed in between, the same request goes on.
            let noted = operation.commit(app, ctx.work(app.clock.id())).await?;
            noted.ok_or(Error::Busy)?;
            rows::create(&app.store, &schedule, operation.claim).await?
        }
    };
    let Some((found, fingerprint)) = made else {
        return Err(Error::Conflict(format!("{WAITING_MAX} schedules wait already; cancel one first")));
    };
    if fingerprint != operation.claim.fingerprint {
        return Err(Error::KeyReused);
    }
    Ok(Answered { replayed: found.id != schedule.id, value: found })
}

/// A schedule, for whoever made it.
pub async fn get(app: &App, ctx: &Ctx, id: ScheduleId) -> Result<Schedule, Error> {
    let user = ctx.user()?;
    rows::by_id(&app.store, id).await?.filter(|schedule| schedule.user == user).ok_or(Error::NotFound("schedule"))
}

/// The signed-in user's schedules, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<Schedule>, Error> {
    let (user, limit) = (ctx.user()?, page.limit()?);
    let before = page.before()?.map(ScheduleId);
    let found = rows::by_user(&app.store, user, before, limit + 1).await?;
    Ok(Paged::of(found, limit, |schedule| schedule.id.bytes().to_vec()))
}

/// Cancels what still waits; again: the same answer. Errors: [`Error::Conflict`] if its time has come.
pub async fn cancel(app: &App, ctx: &Ctx, id: ScheduleId) -> Result<Schedule, Error> {
    get(app, ctx, id).await?;
    rows::cancel(&app.store, id, app.clock.now()).await?;
    let schedule = get(app, ctx, id).await?;
    match schedule.state {
        ScheduleState::Cancelled => Ok(schedule),
        _ => Err(Error::Conflict("its time has come: it was taken up and cannot be cancelled any more".into())),
    }
}

/// Does what is due, until told to stop.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match run_due(&app).await {
            // There may be more.
            Ok(found) if found >= usize::from(AT_ONCE) => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %crate::ledger::chain(&error), "due schedules could not be read; it is tried again");
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = app.clock.pause(LOOK_EVERY) => {}
        }
    }
}

/// Takes up what is due and does it. Answers how many there were.
async fn run_due(app: &App) -> Result<usize, Error> {
    let now = app.clock.now();
    // Taking up writes; whether there is anything to take up is only read.
    if rows::next_due(&app.store).await?.is_none_or(|due| due > now) {
        return Ok(0);
    }
    let due = rows::take_up(&app.store, now, LEASE_MS, AT_ONCE).await?;
    let found = due.len();
    let mut running = JoinSet::new();
    for schedule in due {
        let app = app.clone();
        running.spawn(async move { execute(&app, schedule).await });
    }
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a schedule ended badly; it is taken up again");
        }
    }
    Ok(found)
}

/// Does one schedule under its own operation and writes down what came of it. What nobody can say yet is taken up again.
async fn execute(app: &App, schedule: Schedule) {
    let (id, user) = (schedule.id, schedule.user);
    let ctx = Ctx {
        // What was scheduled is done whether its user is signed in or not.
        warrant: None,
        actor: Actor::Schedule(id, user),
        key: "once".to_owned(),
        device: schedule.device.clone(),
        locale: schedule.locale.clone(),
        trial: false,
        step_up: None,
    };
    let done = match schedule.wish {
        Wish::Payment { merchant, amount, reference } => {
            payments::pay(app, &ctx, PayInput { merchant, amount, reference, hold_s: None })
                .await
                .map(|paid| paid.value.id.to_string())
        }
        Wish::Transfer { receiver, amount, message } => {
            let sent = transfers::send(app, &ctx, SendInput { receiver, amount, message }).await;
            sent.map(|sent| sent.value.id.to_string())
        }
    };
    let (state, outcome) = match done {
        Ok(made) => (ScheduleState::Done, made),
        Err(Error::Refused { refusal, .. }) => (ScheduleState::Refused, refusal.code().to_owned()),
        Err(Error::NotFound(_)) => (ScheduleState::Refused, "not_found".to_owned()),
        Err(Error::Invalid { .. }) => (ScheduleState::Refused, "invalid_request".to_owned()),
        Err(error) => {
            tracing::warn!(schedule = %id, error = %crate::ledger::chain(&error), "a schedule was not done; it is taken up again");
            return;
        }
    };
    if let Err(error) = rows::end(&app.store, id, state, &outcome, app.clock.now()).await {
        tracing::warn!(schedule = %id, error = %crate::ledger::chain(&error), "a schedule's end was not written; it is taken up again");
    }
}
