//! Effects: what a step asked for leaves after its commit, under a lease, and comes back as an event.
//!
//! An attempt is written down before a byte of it leaves. Whoever takes a lease over from a host that stopped finds it there
//! and treats it as *may have happened*: what is safe to repeat is repeated, anything else is unknown at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use koban_domain::flows::{Arrival, Flow};
use koban_domain::guest::{Act, HttpAnswer, HttpCall, Lost, Named, Value, What};
use koban_domain::ids::FlowId;
use koban_domain::manifest::{Beginning, CredentialKind, Kind, OperationSpec, Repeat};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_outside::{Answer, NotSent, Request, Sent, Unknown};
use koban_store::flows::{self as rows, EffectRow, Lease, LeasedEffect};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::partner::{self, NotReady};
use super::partner_files::{self, Enqueued};
use crate::app::App;
use crate::crash::{self, Point};
use crate::error::Error;
use crate::plugins;

/// Most effects under way on this host.
const RUNNING_MAX: usize = 64;
/// How long a lease holds, unless a manifest in force asks for longer attempts.
const LEASE_MS: i64 = 30_000;
/// How much longer than an attempt a lease holds, for what is written before and after.
const LEASE_SPARE_MS: i64 = 10_000;
/// How often the store is asked for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pause after the first attempt, doubled with each further one.
const PAUSE_MS: i64 = 500;
const PAUSE_MS_MAX: i64 = 15_000;
/// When an effect is looked at again that could not even be tried.
const LATER_MS: i64 = 1_000;
/// When a record is looked at again that waits for a calendar.
const CALENDAR_MS: i64 = 60_000;
/// How long stopping waits for what is under way. What is cut off is taken over as *may have happened*.
const STOP: Duration = Duration::from_secs(20);

/// Does effects as they become due, until told to stop.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let worker = Arc::new(Worker { owner: crate::clock::token(), app, unsent: Mutex::default() });
    let mut running = JoinSet::new();
    while !*stop.borrow() {
        while running.try_join_next().is_some() {}
        let free = RUNNING_MAX.saturating_sub(running.len());
        let leased = match worker.lease(free).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(error = %crate::ledger::chain(&error), "due effects could not be read; it is tried again");
                Vec::new()
            }
        };
        let more = free > 0 && leased.len() >= free;
        for effect in leased {
            let worker = Arc::clone(&worker);
            running.spawn(async move { worker.perform(effect).await });
        }
        if more {
            continue;
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = worker.app.bell.effects_rung() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(_) = running.join_next() => {}
        }
    }
    let ended = tokio::time::timeout(STOP, async { while running.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(cut_off = running.len(), "effects were still under way when the host stopped");
    }
}

struct Worker {
    app: App,
    /// Names this host's leases.
    owner: String,
    /// How many attempts of an effect certainly did not leave. Lost with the host: what is not known may have happened.
    unsent: Mutex<HashMap<(FlowId, String), u32>>,
}

/// How an attempt went.
enum Attempted {
    /// Something came of it.
    Ended(What),
    /// Nothing yet: again, not before this, unless the deadline comes first.
    Again(Lost, String, Timestamp),
    /// The lease went to somebody else, who sees to it.
    LeaseLost,
    /// All of it was done in a transaction of its own.
    Done,
    /// Not even tried: the partner's places, rate or breaker, or a token that somebody else refreshes. Not before this.
    NotTried(String, Timestamp),
}

impl Worker {
    async fn lease(&self, free: usize) -> Result<Vec<LeasedEffect>, Error> {
        let store = &self.app.store;
        let limit = u16::try_from(free).unwrap_or(u16::MAX);
        let now = self.app.clock.now();
        // Leasing writes; whether there is anything to lease is only read.
        if limit == 0 || rows::next_due(store).await?.is_none_or(|due| due > now) {
            return Ok(Vec::new());
        }
        let lease_ms = self.longest_attempt_ms().await?.saturating_add(LEASE_SPARE_MS).max(LEASE_MS);
        Ok(rows::lease_due(store, &self.owner, now, lease_ms, limit).await?)
    }

    /// The longest attempt that any plugin may make that decides for anybody.
    async fn longest_attempt_ms(&self) -> Result<i64, Error> {
        let mut longest = 0;
        for kind in Kind::ALL {
            let plugins = plugins::all_deciding(&self.app, kind).await?;
            let operations =
                plugins.iter().flat_map(|plugin| &plugin.manifest().endpoints).flat_map(|one| &one.operations);
            longest = operations.map(|operation| i64::from(operation.timeout_s) * 1_000).fold(longest, i64::max);
        }
        Ok(longest)
    }

    async fn perform(&self, leased: LeasedEffect) {
        if let Err(error) = self.try_perform(&leased).await {
            // The lease runs out, and whoever has it then finds the effect as it is.
            let (error, effect) = (crate::ledger::chain(&error), leased.effect);
            tracing::warn!(flow = %effect.flow, key = effect.key, error, "an effect could not be done; it is taken up again");
        }
    }

    async fn try_perform(&self, leased: &LeasedEffect) -> Result<(), Error> {
        let (effect, lease) = (&leased.effect, leased.lease());
        crash::pass(Point::EffectLeased);
        let attempted = match &effect.act {
            Act::Timer(_) => Attempted::Ended(What::Rang),
            Act::Http(call) => self.call(leased, call).await?,
            Act::Enqueue(file, correlation, record) => self.enqueue(leased, file, (correlation, record)).await?,
            // Shown, expected or refused in the step's own commit; never queued.
            Act::Show(_) | Act::Expect(_) | Act::Cancel(_) | Act::SaveLink(_) | Act::DropLink(_) => {
                Attempted::Ended(lost(Lost::Refused, "this is nothing that is done after a commit"))
            }
        };
        let now = self.app.clock.now();
        match attempted {
            Attempted::Ended(what) => self.finish(&lease, what).await,
            Attempted::Again(how, why, at) if at >= effect.deadline => {
                self.finish(&lease, lost(self.in_the_end(effect, how), &why)).await
            }
            Attempted::Again(_, why, at) => {
                tracing::info!(flow = %effect.flow, key = effect.key, why, "an effect is tried again");
                rows::requeue(&self.app.store, &lease, at).await?;
                Ok(())
            }
            Attempted::NotTried(why, at) if at >= effect.deadline && now >= effect.deadline => {
                self.finish(&lease, lost(self.before(effect), &why)).await
            }
            Attempted::NotTried(_, at) => {
                rows::requeue(&self.app.store, &lease, at.min(effect.deadline.max(now.plus_ms(1)))).await?;
                Ok(())
            }
            Attempted::LeaseLost | Attempted::Done => Ok(()),
        }
    }

    /// A record for a partner's file: nothing leaves, so it may be done again until it is in.
    async fn enqueue(
        &self,
        leased: &LeasedEffect,
        file: &str,
        (correlation, record): (&str, &[u8]),
    ) -> Result<Attempted, Error> {
        let Some(flow) = rows::by_id(&self.app.store, leased.effect.flow).await? else {
            return Err(Error::Internal(format!("the effect's flow {} is not there", leased.effect.flow)));
        };
        if self.app.ledger.policy().revoked.contains(&flow.digest) {
            return Ok(Attempted::Ended(lost(Lost::Refused, "the component that asked for it is revoked")));
        }
        let plugin = plugins::of_flow(&self.app, &flow).await?;
        let given = (leased, &flow, plugin.manifest());
        Ok(match partner_files::enqueue(&self.app, given, file, (correlation, record)).await? {
            Enqueued::Done => Attempted::Done,
            Enqueued::LeaseLost => Attempted::LeaseLost,
            Enqueued::Refused(why) => Attempted::Ended(lost(Lost::Refused, &why)),
            Enqueued::Later(why) => Attempted::NotTried(why, self.app.clock.now().plus_ms(CALENDAR_MS)),
        })
    }

    async fn call(&self, leased: &LeasedEffect, call: &HttpCall) -> Result<Attempted, Error> {
        let effect = &leased.effect;
        let ended = |how, why: &str| Ok(Attempted::Ended(lost(how, why)));
        let now = self.app.clock.now();
        let may_have_left = effect.attempts > self.unsent_of(effect);
        if leased.taken_over && may_have_left && effect.repeat == Repeat::Never {
            return ended(Lost::Unknown, "the host stopped while the request was under way");
        }
        if now >= effect.deadline {
            return ended(self.before(effect), "the deadline has passed");
        }
        let Some(flow) = rows::by_id(&self.app.store, effect.flow).await? else {
            return Err(Error::Internal(format!("the effect's flow {} is not there", effect.flow)));
        };
        let refused = if may_have_left { Lost::Unknown } else { Lost::Refused };
        if self.app.ledger.policy().revoked.contains(&flow.digest) {
            return ended(refused, "the component that asked for it is revoked");
        }
        if let Some(why) = self.link_is_over(&flow).await? {
            return ended(refused, why);
        }
        let plugin = plugins::of_flow(&self.app, &flow).await?;
        let spec = plugin.manifest().endpoint(&call.endpoint);
        let operation = plugin.manifest().operation(&call.endpoint, &call.operation);
        let (Some(spec), Some(operation)) = (spec, operation) else {
            return ended(refused, "the manifest has no such operation");
        };
        let user = flow.authorisation.user;
        let endpoint = match partner::endpoint(&self.app, &flow.plugin, spec, Some(user)).await? {
            Ok(endpoint) => endpoint,
            Err(NotReady::Later(why)) => return Ok(Attempted::NotTried(why, now.plus_ms(LATER_MS))),
            Err(why) => return ended(refused, &why.why()),
        };
        let Ok(query) = call.query.iter().map(parameter).collect::<Result<Vec<_>, &str>>() else {
            return ended(refused, "a query parameter is a secret, which this host cannot fill in");
        };
        let place = match self.app.outside.enter(&endpoint, now) {
            Ok(place) => place,
            Err(why) => return Ok(Attempted::NotTried(why.to_string(), retry_at(&why, now))),
        };
        let request = request(effect, call, operation, query, now);
        if !rows::mark_attempt(&self.app.store, &leased.lease()).await? {
            return Ok(Attempted::LeaseLost);
        }
        crash::pass(Point::AttemptCounted);
        self.app.metrics.effects_sent.inc();
        let span = tracing::info_span!(target: crate::TRACE, "partner",
            plugin = flow.plugin, endpoint = call.endpoint, operation = call.operation, flow = %effect.flow);
        let sent = self.app.outside.send_from(place, &endpoint, &request, now).instrument(span.clone()).await;
        let sent = match sent {
            // A token that its server has taken back: nothing was done. Another one, once.
            Sent::Answer(answer) if answer.status == 401 && spec.credential == CredentialKind::OauthUser => {
                match partner::again(&self.app, &flow.plugin, spec, user, &endpoint).await? {
                    Some(fresh) => self.app.outside.send(&fresh, &request, self.app.clock.now()).instrument(span).await,
                    None => Sent::Answer(answer),
                }
            }
            sent => sent,
        };
        crash::pass(Point::AnswerHeard);
        Ok(self.judge(effect, sent))
    }

    /// Why nothing more of the flow goes out, if the rows that it takes along are for a link that is over.
    async fn link_is_over(&self, flow: &Flow) -> Result<Option<&'static str>, Error> {
        let Some(key) = flow.linking.link.as_ref().filter(|_| flow.beginning == Beginning::Sync) else {
            return Ok(None);
        };
        let link = koban_store::links::by_key(&self.app.store, key).await?;
        let is_live = link.is_some_and(|link| link.is_live(self.app.clock.now()));
        Ok((!is_live).then_some("the link is over: its user's rows go nowhere"))
    }

    /// What an attempt means for the effect.
    fn judge(&self, effect: &EffectRow, sent: Sent) -> Attempted {
        let next = self.app.clock.now().plus_ms(pause_ms(effect.attempts));
        let again_if_safe = |how, why: String| match effect.repeat {
            Repeat::Safe => Attempted::Again(how, why, next),
            Repeat::Never => Attempted::Ended(lost(how, &why)),
        };
        match sent {
            Sent::Answer(answer) => Attempted::Ended(What::Answer(heard(answer))),
            // Asked again it would be as long.
            Sent::Unknown(why @ Unknown::AnswerTooLong { .. }) => {
                Attempted::Ended(lost(Lost::Unknown, &why.to_string()))
            }
            Sent::Refused(why) => {
                // Our own rules: no earlier attempt can have left either, unless the operator changed the address since.
                self.note_unsent(effect);
                Attempted::Ended(lost(self.in_the_end(effect, Lost::Refused), &why.to_string()))
            }
            // No byte left, so even what may never be repeated is simply tried.
            Sent::NotSent(why) => {
                self.note_unsent(effect);
                let next = next.max(retry_at(&why, next));
                Attempted::Again(Lost::NotSent, why.to_string(), next)
            }
            Sent::Unknown(why) => again_if_safe(Lost::Unknown, why.to_string()),
            Sent::BadSignature(why) => {
                tracing::warn!(flow = %effect.flow, key = effect.key, %why, "an answer was not signed by its partner");
                again_if_safe(Lost::BadSignature, why.to_string())
            }
        }
    }

    /// How an effect was lost, all its attempts considered: one that may have left makes it unknown whatever the last one says.
    fn in_the_end(&self, effect: &EffectRow, last: Lost) -> Lost {
        let left = effect.attempts.saturating_add(1) > self.unsent_of(effect);
        match last {
            Lost::NotSent | Lost::Refused if left => Lost::Unknown,
            other => other,
        }
    }

    /// How an effect was lost that is not tried any more.
    fn before(&self, effect: &EffectRow) -> Lost {
        if effect.attempts > self.unsent_of(effect) { Lost::Unknown } else { Lost::NotSent }
    }

    async fn finish(&self, lease: &Lease, what: What) -> Result<(), Error> {
        let app = &self.app;
        let arrival = Arrival { flow: lease.flow, key: lease.key.clone(), what, call: None, at: app.clock.now() };
        // Cancelled meanwhile, or done by whoever took the lease over: then nothing comes of it here.
        if rows::finish_effect(&app.store, lease, &arrival).await?.is_some() {
            crash::pass(Point::EventStored);
            app.bell.flow(lease.flow);
        }
        lock(&self.unsent).remove(&(lease.flow, lease.key.clone()));
        Ok(())
    }

    fn unsent_of(&self, effect: &EffectRow) -> u32 {
        lock(&self.unsent).get(&(effect.flow, effect.key.clone())).copied().unwrap_or(0)
    }

    fn note_unsent(&self, effect: &EffectRow) {
        const REMEMBERED_MAX: usize = 10_000;
        let mut unsent = lock(&self.unsent);
        let key = (effect.flow, effect.key.clone());
        if unsent.len() < REMEMBERED_MAX || unsent.contains_key(&key) {
            *unsent.entry(key).or_default() += 1;
        }
    }
}

/// The same for every attempt of one effect, and for no other: what the partner knows it by.
fn identity(flow: FlowId, key: &str) -> Digest {
    Digest::of_parts(&[b"koban effect 1", &flow.bytes(), key.as_bytes()])
}

fn request(
    effect: &EffectRow,
    call: &HttpCall,
    operation: &OperationSpec,
    query: Vec<(String, String)>,
    now: Timestamp,
) -> Request {
    let identity = identity(effect.flow, &effect.key);
    let left_ms = u64::try_from(effect.deadline.since_ms(now)).unwrap_or(0).max(1_000);
    // Nor longer than the lease, should the component be an older one that asks for more than any in force.
    let leased_ms = effect.leased_until.map_or(LEASE_MS, |until| until.since_ms(now)) - LEASE_SPARE_MS / 2;
    let bound_ms = left_ms.min(u64::try_from(leased_ms).unwrap_or(0).max(1_000));
    let timeout = Duration::from_secs(u64::from(operation.timeout_s)).min(Duration::from_millis(bound_ms));
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&call.body).is_ok();
    let told = || if is_json() { "application/json" } else { "application/octet-stream" };
    Request {
        method: operation.method,
        path: format!("{}{}", operation.path, call.path),
        query,
        body: call.body.clone(),
        content_type: operation.content_type.clone().unwrap_or_else(|| told().to_owned()),
        idempotency_key: Some(identity.to_string()),
        message_id: format!("msg_{}", hex::encode(identity.half())),
        // Of this attempt alone, unlike the two above.
        nonce: crate::clock::random_id().to_string(),
        timeout,
    }
}

/// When it is worth trying again, if the way out says so.
fn retry_at(why: &NotSent, otherwise: Timestamp) -> Timestamp {
    match why {
        NotSent::BreakerOpen { retry_at } | NotSent::Full { retry_at } | NotSent::TooOften { retry_at } => *retry_at,
        _ => otherwise,
    }
}

/// A query parameter as text. Errors: a secret, which belongs into a body.
fn parameter(named: &Named) -> Result<(String, String), &'static str> {
    let text = match &named.value {
        Value::Text(text) => text.clone(),
        Value::Whole(number) => number.to_string(),
        Value::Amount(amount) => amount.minor.to_string(),
        Value::Rate(rate) => {
            rust_decimal::Decimal::try_from_i128_with_scale(i128::from(rate.mantissa), u32::from(rate.scale))
                .map_err(|_| "a rate with too many places")?
                .to_string()
        }
        Value::Flag(flag) => flag.to_string(),
        Value::Moment(ms) => ms.to_string(),
        Value::Secret(_) => return Err("a secret"),
    };
    Ok((named.name.clone(), text))
}

/// The answer as the plugin sees it. Headers are not covered by the signature: only those that say how to read the body go on.
fn heard(answer: Answer) -> HttpAnswer {
    let known = |name: &str| matches!(name, "content-type" | "content-language" | "retry-after");
    let headers = answer.headers.into_iter().filter(|(name, _)| known(name)).collect();
    HttpAnswer { status: answer.status, headers, body: answer.body }
}

fn lost(how: Lost, why: &str) -> What {
    What::Lost(how, why.chars().take(300).collect())
}

fn pause_ms(attempts_before: u32) -> i64 {
    PAUSE_MS.saturating_mul(1 << attempts_before.min(10)).min(PAUSE_MS_MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Maps are whole even if somebody panicked beside them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_of_an_effect_carries_the_same_identity_and_no_other_effect_does() {
        let flow = FlowId(uuid::Uuid::from_u128(7));
        assert_eq!(identity(flow, "approve"), identity(flow, "approve"));
        assert_ne!(identity(flow, "approve"), identity(flow, "approve-2"));
        assert_ne!(identity(flow, "approve"), identity(FlowId::default(), "approve"));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!((0..7).map(pause_ms).collect::<Vec<_>>(), [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(pause_ms(u32::MAX), PAUSE_MS_MAX);
    }

    #[test]
    fn only_headers_that_say_how_to_read_the_body_reach_the_plugin() {
        let header = |name: &str| (name.to_owned(), "x".to_owned());
        let answer =
            Answer { status: 200, headers: vec![header("content-type"), header("x-token")], body: b"{}".to_vec() };
        assert_eq!(heard(answer).headers, [header("content-type")]);
    }

    #[test]
    fn a_secret_never_becomes_a_query_parameter() {
        let secret = Named { name: "pin".to_owned(), value: Value::Secret("sec_1".to_owned()) };
        assert!(parameter(&secret).is_err());
        let rate = Value::Rate(koban_domain::guest::Decimal { mantissa: -125, scale: 2 });
        let rate = Named { name: "rate".to_owned(), value: rate };
        assert_eq!(parameter(&rate), Ok(("rate".to_owned(), "-1.25".to_owned())));
    }
}
