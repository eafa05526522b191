//! The jobs behind webhooks: news become deliveries, deliveries are sent, what is old is let go.
//!
//! Delivered means that the endpoint said so. A host that stops between sending and writing that down leaves a lease behind, and whoever
//! takes it over sends again under the same id. Endpoints are kept apart: a slow one has a few places of its own and no more.

use std::collections::HashMap;
use std::time::Duration;

use koban_domain::ids::WebhookId;
use koban_domain::webhooks::{self, Attempt, GIVE_UP_MS, Health, Next};
use koban_outside::Delivered;
use koban_outside::webhook::Receiver;
use koban_store::webhooks::deliveries::{self, DeliveryRow, Ended, LeasedDelivery, State, Try};
use koban_store::webhooks::fan_out::{self, Lag};
use koban_store::{outbox, webhooks as rows};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::keys;
use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::users;

/// Most deliveries under way on this host, a quarter of the connections that the way out has.
const RUNNING_MAX: usize = 64;
/// Most of them to one endpoint.
const PER_ENDPOINT_MAX: u16 = 4;
/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a lease holds: longer than an attempt with all that is written around it.
const LEASE_MS: i64 = 45_000;
/// How often the store is asked for news and for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long what ended is gathered before it is written down.
const GATHER: Duration = Duration::from_millis(10);
/// Pages of the outbox that one transaction hands out.
const PAGES_MAX: u16 = 64;
/// While nobody is there to be told, the cursor follows in steps of so many pages.
const SKIP_PAGES: i64 = 256;
/// How often what is old is let go.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_ROWS: u16 = 1_000;
/// How long ended deliveries and news that were handed out are kept: so far back reaches a replay.
const KEPT_MS: i64 = 30 * 86_400_000;
/// Most ended deliveries that are kept of one endpoint.
const KEPT_MAX: i64 = 10_000;
/// How long stopping waits for what is under way. What is cut off is sent again by whoever takes its lease over.
const STOP: Duration = Duration::from_secs(20);

/// Hands out news, sends deliveries and sweeps, until told to stop.
pub(crate) async fn run(app: App, stop: watch::Receiver<bool>) {
    tokio::join!(hand_out(app.clone(), stop.clone()), send(app.clone(), stop.clone()), sweep(app, stop));
}

async fn hand_out(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match hand_out_once(&app).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %crate::ledger::chain(&error), "news could not be handed out; it is tried again");
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// One look at the outbox. Whether there is more to do.
async fn hand_out_once(app: &App) -> Result<bool, Error> {
    let lag: Lag = fan_out::lag(&app.store).await?;
    let behind = lag.written - lag.handed_out;
    app.metrics.outbox_lag.set(if lag.anybody { behind } else { 0 });
    let now = app.clock.now();
    let give_up_at = now.plus_ms(GIVE_UP_MS);
    if !lag.anybody && !lag.replaying {
        if behind >= SKIP_PAGES {
            fan_out::skip(&app.store).await?;
        }
        return Ok(false);
    }
    let mut more = false;
    if behind > 0 {
        let out = fan_out::hand_out(&app.store, PAGES_MAX, now, give_up_at).await?;
        more = out.pages > 0 && out.pages < behind;
        if out.deliveries > 0 {
            app.bell.webhooks();
        }
    }
    if lag.replaying && fan_out::replay(&app.store, PAGES_MAX, now, give_up_at).await? {
        app.bell.webhooks();
        more = true;
    }
    Ok(more)
}

async fn send(app: App, mut stop: watch::Receiver<bool>) {
    let mut sender = Sender {
        owner: crate::clock::token(),
        app,
        under_way: HashMap::new(),
        running: JoinSet::new(),
        ended: Vec::new(),
    };
    while !*stop.borrow() {
        sender.write_down_ended().await;
        if let Err(error) = sender.begin_due().await {
            tracing::warn!(error = %crate::ledger::chain(&error), "due deliveries could not be read; it is tried again");
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = sender.app.bell.webhooks_rung() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(joined) = sender.running.join_next() => {
                sender.has_ended(joined);
                // Others that end with it are written down with it.
                tokio::time::sleep(GATHER).await;
            }
        }
    }
    let ended = tokio::time::timeout(STOP, async {
        while let Some(joined) = sender.running.join_next().await {
            sender.has_ended(joined);
            sender.write_down_ended().await;
        }
    });
    if ended.await.is_err() {
        tracing::warn!(cut_off = sender.running.len(), "deliveries were still under way when the host stopped");
    }
}

/// Sends what is due and writes down what came of it, many at a time.
struct Sender {
    app: App,
    /// Names this host's leases.
    owner: String,
    /// How many deliveries are under way to each endpoint, from this host.
    under_way: HashMap<WebhookId, u16>,
    running: JoinSet<Attempted>,
    /// Attempts that ended and are not written down.
    ended: Vec<Attempted>,
}

/// An attempt that ended.
struct Attempted {
    leased: LeasedDelivery,
    /// None if it could not be made at all: then the lease runs out.
    attempt: Option<Attempt>,
}

impl Sender {
    async fn begin_due(&mut self) -> Result<(), Error> {
        let free = RUNNING_MAX.saturating_sub(self.running.len());
        if free == 0 {
            return Ok(());
        }
        let (now, limit) = (self.app.clock.now(), u16::try_from(free).unwrap_or(u16::MAX));
        let bounds = (PER_ENDPOINT_MAX, limit);
        let leased =
            deliveries::lease_due(&self.app.store, (&self.owner, now, LEASE_MS), bounds, &self.under_way).await?;
        for leased in leased {
            *self.under_way.entry(leased.endpoint.id).or_default() += 1;
            let app = self.app.clone();
            self.running.spawn(async move {
                let attempt = attempt(&app, &leased).await;
                Attempted { leased, attempt }
            });
        }
        Ok(())
    }

    fn has_ended(&mut self, joined: Result<Attempted, JoinError>) {
        match joined {
            Ok(attempted) => {
                let endpoint = attempted.leased.endpoint.id;
                if let Some(count) = self.under_way.get_mut(&endpoint) {
                    *count = count.saturating_sub(1);
                }
                self.under_way.retain(|_, count| *count > 0);
                self.ended.push(attempted);
            }
            // Which one it was cannot be told: its lease runs out.
            Err(error) => {
                tracing::error!(%error, "a delivery ended badly");
                self.under_way.clear();
            }
        }
    }

    /// Writes down, in one transaction, what came of the attempts that ended.
    async fn write_down_ended(&mut self) {
        while let Some(joined) = self.running.try_join_next() {
            self.has_ended(joined);
        }
        let ended = std::mem::take(&mut self.ended);
        if let Err(error) = write_down(&self.app, ended).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "what came of deliveries was not written down; they are made again");
        }
    }
}

async fn attempt(app: &App, LeasedDelivery { endpoint, delivery }: &LeasedDelivery) -> Option<Attempt> {
    let receiver = match Receiver::parse(&endpoint.url, endpoint.allow_private) {
        Ok(receiver) => receiver,
        Err(error) => return Some(Attempt::Failed(error.to_string())),
    };
    let now = app.clock.now();
    let signers = match keys::open(app, endpoint, now) {
        Ok(signers) => signers,
        Err(error) => {
            tracing::error!(endpoint = %endpoint.id, %error, "a delivery cannot be signed");
            return None;
        }
    };
    let (name, event) = (endpoint.id.to_string(), delivery.event.to_string());
    let (to, with) = ((name.as_str(), &receiver), (&signers, endpoint.allow_private));
    Some(match app.outside.deliver(to, with, (&event, &delivery.body), TIMEOUT, now).await {
        Delivered::Answered(status) => Attempt::Answered(status),
        Delivered::Refused(why) | Delivered::Failed(why) => Attempt::Failed(why),
    })
}

async fn write_down(app: &App, ended: Vec<Attempted>) -> Result<(), Error> {
    let mut health: HashMap<WebhookId, Health> = HashMap::new();
    let mut rows_ended: Vec<(DeliveryRow, Ended)> = Vec::with_capacity(ended.len());
    for Attempted { leased: LeasedDelivery { endpoint, delivery }, attempt } in ended {
        let Some(attempt) = attempt else { continue };
        // As it stands now: others may have succeeded or failed meanwhile.
        let before = match health.get(&endpoint.id) {
            Some(known) => *known,
            None => rows::by_id(&app.store, endpoint.id).await?.map_or(endpoint.health, |row| row.health),
        };
        let ended = judge(app, &delivery, attempt, before);
        health.insert(endpoint.id, ended.health);
        rows_ended.push((delivery, ended));
    }
    if rows_ended.is_empty() {
        return Ok(());
    }
    let held = deliveries::end(&app.store, &rows_ended, app.clock.now()).await?;
    for ((_, ended), held) in rows_ended.iter().zip(held) {
        app.metrics.delivered(match ended.state {
            _ if !held => "lease-lost",
            State::Delivered => "delivered",
            State::Failed => "failed",
            State::Waiting | State::Leased => "again",
        });
    }
    Ok(())
}

/// What follows from an attempt, for the delivery and for its endpoint.
fn judge(app: &App, delivery: &DeliveryRow, attempt: Attempt, before: Health) -> Ended {
    let now = app.clock.now();
    let mut chance = [0; 4];
    crate::clock::fill(&mut chance);
    let next = webhooks::next(&attempt, delivery.attempts.saturating_add(1), u32::from_be_bytes(chance), now);
    let health = before.after(&attempt, now);
    let reason = match next {
        Next::Gone => Some("it answered 410: it is gone"),
        _ if health.is_lost(now) => Some("every attempt failed for five days"),
        _ => None,
    };
    let (state, due_at) = match next {
        Next::Delivered => (State::Delivered, now),
        Next::Again(at) if reason.is_none() && at < delivery.give_up_at => (State::Waiting, at),
        Next::Again(_) | Next::Failed | Next::Gone => (State::Failed, now),
    };
    let (status, problem) = match attempt {
        Attempt::Answered(status) => (Some(status), None),
        Attempt::Failed(why) => (None, Some(why.chars().take(200).collect())),
    };
    let disabled = reason.map(|reason| {
        let endpoint = delivery.endpoint;
        tracing::warn!(%endpoint, reason, "a webhook endpoint is switched off");
        let detail = serde_json::json!({ "reason": reason }).to_string();
        let audit = users::audit(app, &Ctx::new(Actor::System, ""), "webhook.disable", endpoint.to_string(), &detail);
        (reason.to_owned(), audit)
    });
    Ended { state, due_at, tried: Try { at: now, status, problem }, health, disabled }
}

async fn sweep(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = sweep_once(&app).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "old deliveries were not swept; the next sweep goes on");
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn sweep_once(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let before = now.plus_ms(-KEPT_MS);
    deliveries::sweep(&app.store, now, before, KEPT_MAX, SWEEP_ROWS).await?;
    let (waiting, disabled) = deliveries::backlog(&app.store).await?;
    app.metrics.webhooks_waiting.set(waiting);
    app.metrics.webhooks_disabled.set(disabled);
    let lag = fan_out::lag(&app.store).await?;
    let heard = crate::subscriptions::heard_by_all(app).await?;
    outbox::trim(&app.store, heard.map_or(lag.handed_out, |heard| heard.min(lag.handed_out)), before, SWEEP_ROWS)
        .await?;
    Ok(())
}
