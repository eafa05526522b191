//! What a host does by itself: drives flows, does effects, takes settlement files, delivers webhooks, takes rows to links, sweeps what has ended, watches what is stuck.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::flows::{Arrival, Flow};
use koban_domain::guest::{Standing, What};
use koban_domain::ids::FlowId;
use koban_domain::time::Timestamp;
use koban_store::flows::{self as rows, Which};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument as _;

use crate::app::App;
use crate::beside;
use crate::bonus;
use crate::captures;
use crate::closings;
use crate::disputes;
use crate::erasures;
use crate::error::Error;
use crate::feeds;
use crate::flows::begin::AUTHORISED_MS;
use crate::flows::drive::{self, Driven};
use crate::flows::{effects, partner_files, settlement};
use crate::loaded::{READY_MAX, loaded};
use crate::quotes;
use crate::releases;
use crate::reviews;
use crate::schedules;
use crate::standing;
use crate::step_ups;
use crate::syncs;

/// Most flows that are driven at the same moment.
const DRIVEN_MAX: usize = 32;
/// Most flows that are in hand, those that rest included.
const IN_HAND_MAX: usize = 1_024;
/// Most flows that one look into the store finds.
const FOUND_MAX: u16 = 256;
/// How often the store is asked for events that nobody rang for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon a change of policy by another process is seen.
const POLICY_EVERY: Duration = Duration::from_millis(250);
/// How often ended sessions are swept and stuck flows are counted.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Most sessions that one sweep deletes.
const SESSIONS_MAX: u16 = 1_000;
/// How long a host that commits nothing is remembered by its last mark.
const MARKS_MS: i64 = 7 * 86_400_000;
/// Pages of open flows that one sweep looks at; the next one goes on behind them.
const PAGES_MAX: u32 = 20;
const PAGE: u16 = 100;
/// How long stopping waits for the jobs. What is cut off is found again by the next start.
const STOP: Duration = Duration::from_secs(25);

/// The running jobs of a host. Dropping it lets them run until the process ends; [`Jobs::stop`] ends them in order.
#[derive(Debug)]
pub struct Jobs {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a host's jobs.
pub fn start(app: &App) -> Jobs {
    let (stop, told) = watch::channel(false);
    let tasks = vec![
        tokio::spawn(drive_flows(app.clone(), told.clone())),
        tokio::spawn(effects::run(app.clone(), told.clone())),
        tokio::spawn(settlement::run(app.clone(), told.clone())),
        tokio::spawn(partner_files::run(app.clone(), told.clone())),
        tokio::spawn(schedules::run(app.clone(), told.clone())),
        tokio::spawn(crate::webhooks::run(app.clone(), told.clone())),
        tokio::spawn(crate::subscriptions::run(app.clone(), told.clone())),
        tokio::spawn(watch_policy(app.clone(), told.clone())),
        tokio::spawn(keep_ready(app.clone(), told.clone())),
        tokio::spawn(beside::run(app.clone(), told.clone())),
        tokio::spawn(feeds::run(app.clone(), told.clone())),
        tokio::spawn(syncs::run(app.clone(), told.clone())),
        tokio::spawn(sweep(app.clone(), told)),
    ];
    Jobs { stop, tasks }
}

impl Jobs {
    /// Lets what runs come to its end, for a bounded time, and starts nothing new.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let aborts: Vec<_> = self.tasks.iter().map(JoinHandle::abort_handle).collect();
        let ended = tokio::time::timeout(STOP, async {
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a job ended badly");
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!("jobs were still running when the host stopped");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

/// Drives every flow that has an event: those that were rung, and from time to time those that the store knows of. A flow is in
/// one task's hand at a time; between two hosts its version decides.
async fn drive_flows(app: App, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(DRIVEN_MAX));
    let mut tasks = JoinSet::new();
    let mut in_hand: HashSet<FlowId> = HashSet::new();
    // Rung while in hand, or when there was no room.
    let mut waiting: HashSet<FlowId> = HashSet::new();
    let mut behind = 0;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            () = app.bell.driver_rung() => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(flow) => drop(in_hand.remove(&flow)),
                // Which flow it was cannot be told: all of them may be taken up again, and their versions decide.
                Err(error) => {
                    tracing::error!(%error, "driving a flow ended badly");
                    in_hand.clear();
                }
            },
            _ = looks.tick() => match rows::with_waiting_events(&app.store, behind, FOUND_MAX).await {
                Ok(found) => {
                    // Page by page, so that flows that rest do not hide those behind them.
                    let full = found.len() >= usize::from(FOUND_MAX);
                    behind = found.last().filter(|_| full).map_or(0, |(place, _)| *place);
                    waiting.extend(found.into_iter().map(|(_, flow)| flow));
                }
                Err(error) => tracing::warn!(error = %crate::ledger::chain(&error), "waiting events could not be read"),
            },
        }
        waiting.extend(app.bell.take_flows());
        let room = IN_HAND_MAX.saturating_sub(in_hand.len());
        let next: Vec<FlowId> = waiting.iter().filter(|flow| !in_hand.contains(*flow)).take(room).copied().collect();
        for flow in next {
            waiting.remove(&flow);
            in_hand.insert(flow);
            let (app, places, stop) = (app.clone(), Arc::clone(&places), stop.clone());
            tasks.spawn(async move {
                hold(&app, &places, flow, stop).await;
                flow
            });
        }
        // What does not fit is found in the store again.
        if waiting.len() > 10 * IN_HAND_MAX {
            waiting.clear();
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// One flow in hand: driven once there is a place, and kept back while it should rest.
async fn hold(app: &App, places: &Semaphore, flow: FlowId, mut stop: watch::Receiver<bool>) {
    let driven = {
        let Ok(_place) = places.acquire().await else { return };
        if *stop.borrow() {
            return;
        }
        let span = tracing::info_span!(target: crate::TRACE, "flow.drive", flow = %flow);
        drive::run(app, flow).instrument(span).await
    };
    match driven {
        Driven::Idle => {}
        // It has had its turn and has more to do.
        Driven::Stepped => app.bell.flow(flow),
        Driven::Later(pause) => {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
            app.bell.flow(flow);
        }
    }
}

/// Looks whether another host or the command line has changed the policy, so that this host judges under it at once and not only
/// after its next commit.
async fn watch_policy(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match app.store.lane_head().await {
            Ok(head) if head.generation != app.ledger.policy().generation => {
                if let Err(error) = app.ledger.refresh().await {
                    tracing::warn!(error = %crate::ledger::chain(&error), "a changed policy was not read; it is tried again");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %crate::ledger::chain(&error), "the lane's head was not read");
                if let Err(error) = app.store.reconnect().await {
                    tracing::warn!(error = %crate::ledger::chain(&error), "the host waits for a primary");
                }
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(POLICY_EVERY) => {}
        }
    }
}

/// Makes ready what is asked from now on, at the start and whenever the policy changes, so that no payment waits for a compiler where another
/// host let a release in.
async fn keep_ready(app: App, mut stop: watch::Receiver<bool>) {
    let mut done = None;
    while !*stop.borrow() {
        let policy = app.ledger.policy();
        if done != Some(policy.generation) {
            for version in policy.asked().take(READY_MAX) {
                if *stop.borrow() {
                    return;
                }
                if let Err(error) = loaded(&app, version.digest, version.settings).await {
                    let error = crate::ledger::chain(&error);
                    tracing::warn!(component = %version.digest, error, "a component was not made ready; its first call tries again");
                }
            }
            done = Some(policy.generation);
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(POLICY_EVERY) => {}
        }
    }
}

/// Sweeps ended sessions, stops flows that have outlived their kind, and counts what needs an operator.
async fn sweep(app: App, mut stop: watch::Receiver<bool>) {
    let mut round = Round::default();
    while !*stop.borrow() {
        if let Err(error) = sweep_once(&app, &mut round).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "a sweep did not end; the next one goes on");
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = app.clock.pause(SWEEP_EVERY) => {}
        }
    }
}

/// One round of what is done from time to time: ended sessions, flows that have outlived their kind, holds, reviews and disputes that
/// have run out, periods that are over, and what metrics count.
pub async fn sweep_once(app: &App, round: &mut Round) -> Result<(), Error> {
    let now = app.clock.now();
    koban_store::sessions::expire(&app.store, now, SESSIONS_MAX).await?;
    koban_store::marks::forget(&app.store, now.plus_ms(-MARKS_MS)).await?;
    round.sweep(app, now).await?;
    captures::expire_due(app, now).await?;
    reviews::expire_due(app, now).await?;
    bonus::expire_due(app, now).await?;
    disputes::expire_due(app, now).await?;
    closings::make_due(app, now).await?;
    step_ups::sweep(app, now).await?;
    erasures::sweep(app, now).await?;
    quotes::sweep(app, now).await?;
    releases::finish_draining(app).await?;
    app.metrics.queue_waiting.set(i64::try_from(app.ledger.waiting()).unwrap_or(i64::MAX));
    app.metrics.clocks(app.ledger.counts());
    crate::subscriptions::measure(app).await?;
    partner_files::measure(app).await?;
    Ok(standing::measure(app, now).await?)
}

/// A round through all open flows, newest first, in bounded parts: however many there are, each has its turn.
#[derive(Debug)]
pub struct Round {
    pages: u32,
    page: u16,
    /// Where the next part goes on; none at the beginning of a round.
    before: Option<FlowId>,
}

impl Default for Round {
    fn default() -> Round {
        Round::new(PAGES_MAX, PAGE)
    }
}

impl Round {
    /// Parts of so many pages of so many flows.
    pub fn new(pages: u32, page: u16) -> Round {
        Round { pages, page, before: None }
    }

    /// The next part: stops what has outlived its kind, and asks the plugins of charges that their users have left to end them.
    pub async fn sweep(&mut self, app: &App, now: Timestamp) -> Result<(), Error> {
        // Ids begin with their time: everything below this one is older than an authorisation holds.
        let lapsed = u64::try_from(now.plus_ms(-AUTHORISED_MS).0).unwrap_or(0);
        let newest = FlowId(uuid::Builder::from_unix_timestamp_millis(lapsed, &[0; 10]).into_uuid());
        for _ in 0..self.pages {
            let before = self.before.map_or(newest, |before| before.min(newest));
            let flows = rows::list(&app.store, Which::Open, None, Some(before), self.page).await?;
            for flow in flows.iter().filter(|flow| flow.stuck.is_none()) {
                // One flow that cannot be seen to does not keep the others from their turn.
                if let Err(error) = see_to(app, flow, now).await {
                    let error = crate::ledger::chain(&error);
                    tracing::warn!(flow = %flow.id, error, "an old flow could not be seen to; the next round tries again");
                }
            }
            let ended = flows.len() < usize::from(self.page);
            self.before = flows.last().filter(|_| !ended).map(|flow| flow.id);
            if ended {
                break;
            }
        }
        Ok(())
    }
}

async fn see_to(app: &App, flow: &Flow, now: Timestamp) -> Result<(), Error> {
    if let Some(reason) = drive::outlived(flow, now).or_else(|| flow.outgoing.overdue(now)) {
        drive::stop(app, flow, reason).await?;
    } else if is_left(flow, now) && rows::next_event(&app.store, flow).await?.is_none() {
        let arrival = Arrival { flow: flow.id, key: String::new(), what: What::CancelAsked, call: None, at: now };
        rows::arrive(&app.store, &arrival).await?;
        app.bell.flow(flow.id);
    }
    Ok(())
}

/// Whether a flow waits for a user whose authorisation has lapsed and who has not been seen since.
fn is_left(flow: &Flow, now: Timestamp) -> bool {
    flow.standing == Standing::WaitingForUser
        && now > flow.authorisation.expires_at
        && now.since_ms(flow.changed_at) > AUTHORISED_MS
}
