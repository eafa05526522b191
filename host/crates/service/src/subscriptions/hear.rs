//! The job that lets plugins hear: reads the outbox, asks each plugin about its events in their order, and commits what they answer.
//!
//! Calls are made one after the other, each on what the ones before it will have left; their commits go into the queue together. The first that is not
//! taken as it was made ends the round, and the rest is asked again. Two hosts keep out of each other's way by a lease, and the version decides.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use koban_domain::events::Concern;
use koban_domain::ids::{RecordId, UserId};
use koban_domain::ledger::{Answer, Decided, News, SealedRecord, Work};
use koban_domain::manifest::Kind;
use koban_domain::policy::{PluginInForce, Policy};
use koban_domain::releases::Scope;
use koban_domain::subscriptions::{FAULTS_MAX, Heard, Kept, Parked, Subscription, Whose};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::{outbox, subscriptions as rows};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ask::{self, Asked};
use crate::app::App;
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::loaded::loaded;

/// How often the outbox is looked at.
const LOOK_EVERY_MS: u64 = 200;
/// Pages of the outbox that one look reads.
const PAGES_MAX: u16 = 64;
/// Events that are asked about before what was answered is committed.
const BATCH_MAX: usize = 32;
/// A plugin that nothing is for follows in steps of so many pages, or so often.
const PASS_PAGES: i64 = 256;
const PASS_EVERY_MS: u64 = 5_000;
/// How long a host has a plugin to itself.
const LEASE_MS: i64 = 30_000;
/// How long a plugin rests after its first, second and third fault at an event, milliseconds.
const REST_MS: [u64; 3] = [250, 1_000, 4_000];
/// How long after the host could not commit.
const BUSY_MS: u64 = 500;
/// How often what is over is forgotten, and how much at once.
const FORGET_EVERY_MS: u64 = 30_000;
const FORGET_MAX: u16 = 256;

/// What this host remembers of a plugin from look to look.
#[derive(Default)]
struct Ear {
    /// At this version, pages up to this one had nothing for it.
    passed: Option<(Uuid, i64)>,
    /// Since when it rests, and for how long, milliseconds.
    rests: Option<(Stopwatch, u64)>,
    /// Until when this host has it to itself.
    leased_until: Option<Timestamp>,
    /// When it last forgot what was over.
    forgot: Option<Stopwatch>,
    /// When its place was last written down without an event.
    passed_at: Option<Stopwatch>,
}

impl Ear {
    fn rest(&mut self, ms: u64) {
        self.rests = Some((Stopwatch::start(), ms));
    }

    fn is_resting(&self) -> bool {
        self.rests.as_ref().is_some_and(|(since, ms)| since.micros() < ms * 1_000)
    }
}

/// Lets every plugin hear that listens, until told to stop. None waits for another: a slow one delays itself.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let owner = crate::clock::token();
    let mut ears: HashMap<String, Ear> = HashMap::new();
    let (mut hearing, mut asked) = (JoinSet::new(), HashMap::new());
    while !*stop.borrow() {
        for tool in listening(&app).await {
            let is_resting = ears.get(&tool.id).is_some_and(Ear::is_resting);
            if is_resting || asked.values().any(|asked| *asked == tool.id) {
                continue;
            }
            let (id, mut ear) = (tool.id.clone(), ears.remove(&tool.id).unwrap_or_default());
            ear.rests = None;
            let (app, owner) = (app.clone(), owner.clone());
            let task = hearing.spawn(async move {
                let mut host = Host { app: &app, tool: &tool, owner: &owner, ear };
                let more = match host.listen().await {
                    Ok(more) => more,
                    Err(error) => {
                        let error = crate::ledger::chain(&error);
                        tracing::warn!(plugin = tool.id, error, "a plugin could not be told; it is tried again");
                        host.ear.rest(BUSY_MS);
                        false
                    }
                };
                if !more && host.ear.rests.is_none() {
                    host.ear.rest(LOOK_EVERY_MS);
                }
                host.ear
            });
            asked.insert(task.id(), id);
        }
        tokio::select! {
            _ = stop.changed() => {}
            Some(heard) = hearing.join_next_with_id() => {
                let task = heard.as_ref().map_or_else(tokio::task::JoinError::id, |(task, _)| *task);
                let plugin = asked.remove(&task).unwrap_or_default();
                let ear = heard.map(|(_, ear)| ear).unwrap_or_else(|error| {
                    tracing::error!(%error, plugin, "telling a plugin ended badly");
                    let mut ear = Ear::default();
                    ear.rest(BUSY_MS);
                    ear
                });
                ears.insert(plugin, ear);
            }
            () = tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)) => {}
        }
    }
    while hearing.join_next().await.is_some() {}
}

/// A plugin that listens, and its releases that hear for anybody.
struct Tool {
    id: String,
    releases: Vec<(PluginInForce, Plugin)>,
    policy: Arc<Policy>,
}

impl Tool {
    /// Whether one of its releases names such events.
    fn names(&self, event: &str) -> bool {
        self.releases.iter().any(|(_, plugin)| plugin.manifest().events.iter().any(|named| named == event))
    }

    /// The release that hears of this event and at which scope, if one does.
    fn hears(&self, news: &News, concern: &Concern) -> Option<(Scope, &Plugin)> {
        let (scope, chosen) = ask::chosen(&self.policy, &self.id, news, concern)?;
        let (_, plugin) = self.releases.iter().find(|(version, _)| *version == chosen)?;
        plugin.manifest().events.contains(&news.kind).then_some((scope, plugin))
    }
}

/// The plugins that name events. One of which a release cannot be loaded waits, and does not keep the others from hearing.
async fn listening(app: &App) -> Vec<Tool> {
    let policy = app.ledger.policy();
    let mut tools: BTreeMap<&str, Option<Vec<(PluginInForce, Plugin)>>> = BTreeMap::new();
    for (id, version) in policy.deciding_of(Kind::MerchantTool) {
        let releases = tools.entry(id).or_insert_with(|| Some(Vec::new()));
        match loaded(app, version.digest, version.settings).await {
            Ok(plugin) => drop(releases.as_mut().map(|releases| releases.push((version, plugin)))),
            Err(error) => {
                tracing::warn!(plugin = id, error = %crate::ledger::chain(&error), "a plugin cannot be loaded");
                *releases = None;
            }
        }
    }
    let whole = |(id, releases): (&str, Option<Vec<_>>)| {
        Some(Tool { id: id.to_owned(), releases: releases?, policy: Arc::clone(&policy) })
    };
    tools.into_iter().filter_map(whole).collect()
}

/// An event of the outbox, who hears of it, and the place behind it.
struct Due<'a> {
    behind: (i64, i64),
    news: News,
    concern: Concern,
    scope: Scope,
    plugin: &'a Plugin,
}

/// An event that a plugin was asked about, and how the subscription stood before it.
struct Told<'a> {
    before: Subscription,
    due: Due<'a>,
}

impl Told<'_> {
    /// It was not taken: what is noted, and how long the plugin rests, milliseconds.
    fn not_taken(&self, (reason, decision): (String, Option<RecordId>), now: Timestamp) -> (Heard, Option<u64>) {
        let Due { behind, news, plugin, .. } = &self.due;
        tracing::warn!(plugin = plugin.id(), event = %news.id, reason, "an event was not taken");
        let attempt = usize::try_from(self.before.attempts).unwrap_or(0);
        let rest = REST_MS.get(attempt).copied().filter(|_| self.before.attempts + 1 < FAULTS_MAX);
        let parked = Parked { news: news.clone(), reason, decision, at: now };
        (self.before.faulted(*behind, parked, now), rest)
    }
}

struct Host<'a> {
    app: &'a App,
    tool: &'a Tool,
    owner: &'a str,
    ear: Ear,
}

impl<'a> Host<'a> {
    /// One look at the outbox for a plugin. Whether there is more to do at once.
    async fn listen(&mut self) -> Result<bool, Error> {
        let Some(subscription) = self.subscription().await? else { return Ok(true) };
        if subscription.is_resting() {
            return Ok(false);
        }
        self.forget(&subscription).await?;
        let after = match self.ear.passed {
            Some((version, sequence)) if version == subscription.version => sequence,
            _ => subscription.sequence,
        };
        let pages = outbox::after(&self.app.store, after, PAGES_MAX).await?;
        let Some(last) = pages.last().map(|page| page.sequence) else { return Ok(false) };
        let full = pages.len() == usize::from(PAGES_MAX);
        let due = self.due(&subscription, pages).await?;
        if due.is_empty() {
            self.ear.passed = Some((subscription.version, last));
            let recently = self.ear.passed_at.as_ref().is_some_and(|since| since.micros() < PASS_EVERY_MS * 1_000);
            let far = last - subscription.sequence >= PASS_PAGES;
            if (far || !recently) && self.has_it(self.app.clock.now()).await? {
                self.ear.passed_at = Some(Stopwatch::start());
                let passed = subscription.passed((last, 0), self.app.clock.now());
                self.app.ledger.commit(self.aside(passed)).await?;
            }
            return Ok(full);
        }
        if !self.has_it(self.app.clock.now()).await? {
            return Ok(false);
        }
        self.tell(subscription, due).await
    }

    /// How far the plugin has heard; none if it has only now begun to listen.
    async fn subscription(&self) -> Result<Option<Subscription>, Error> {
        let (store, id) = (&self.app.store, self.tool.id.as_str());
        if let Some(known) = rows::by_plugin(store, id).await? {
            return Ok(Some(known));
        }
        let Some(row) = koban_store::plugins::by_id(store, id).await? else { return Ok(None) };
        let sequence = rows::page_before(store, row.installed_at).await?;
        rows::begin(store, &Subscription::begin(id, sequence, row.installed_at, self.app.clock.now())).await?;
        Ok(None)
    }

    /// The events that the plugin hears of, in order, at most a batch of them.
    async fn due(&self, subscription: &Subscription, pages: Vec<outbox::NewsPage>) -> Result<Vec<Due<'a>>, Error> {
        let mut due = Vec::new();
        for page in pages {
            let heard = if page.sequence == subscription.sequence + 1 { subscription.place } else { 0 };
            let count = i64::try_from(page.news.len()).unwrap_or(i64::MAX);
            for (place, news) in (1..).zip(page.news) {
                if place <= heard || !self.tool.names(&news.kind) {
                    continue;
                }
                let concern = ask::concerned(self.app, &news).await?;
                if let Some((scope, plugin)) = self.tool.hears(&news, &concern) {
                    let behind = if place == count { (page.sequence, 0) } else { (page.sequence - 1, place) };
                    due.push(Due { behind, news, concern, scope, plugin });
                }
                if due.len() >= BATCH_MAX {
                    return Ok(due);
                }
            }
        }
        Ok(due)
    }

    /// Whether this host has the plugin to itself for a while.
    async fn has_it(&mut self, now: Timestamp) -> Result<bool, Error> {
        if self.ear.leased_until.is_some_and(|until| until.since_ms(now) > LEASE_MS / 2) {
            return Ok(true);
        }
        let until = now.plus_ms(LEASE_MS);
        let has = rows::lease(&self.app.store, &self.tool.id, (self.owner, now, until)).await?;
        self.ear.leased_until = has.then_some(until);
        Ok(has)
    }

    /// Asks about each event, and commits all answers together. Whether there is more to do at once.
    async fn tell(&mut self, subscription: Subscription, due: Vec<Due<'a>>) -> Result<bool, Error> {
        let mut memory = Memory::default();
        let mut stands = subscription;
        let mut works: Vec<(Work, Told<'a>)> = Vec::with_capacity(due.len());
        let mut rest_ms = None;
        for due in due {
            let now = self.app.clock.now();
            let known = memory.about(self.app, &self.tool.id, due.concern.user).await?;
            let (asked, record) =
                ask::ask(self.app, (&due.scope, due.plugin), (&due.news, due.concern), &known).await?;
            let refused = match asked {
                Asked::Busy => {
                    rest_ms = Some(BUSY_MS);
                    break;
                }
                // What the events before it granted is not in the books yet: they first, then this one is asked again.
                Asked::Answered(answer) if answer.takes_back && !works.is_empty() => break,
                Asked::Answered(answer) => match stands.took(Some(due.behind), (&known, &answer.puts), now) {
                    Ok(heard) => {
                        memory.changed(&heard);
                        let after = heard.subscription.clone();
                        let mut work = self.work(due.plugin, vec![record], heard);
                        work.commands = answer.commands;
                        let before = std::mem::replace(&mut stands, Subscription { version: work.id, ..after });
                        works.push((work, Told { before, due }));
                        continue;
                    }
                    Err(too_much) => too_much.to_string(),
                },
                Asked::Faulted(why) => why,
            };
            let told = Told { before: stands, due };
            let (heard, rest) = told.not_taken((refused, Some(record.id)), now);
            rest_ms = rest;
            works.push((self.work(told.due.plugin, vec![record], heard), told));
            break;
        }
        let committed = self.commit(works).await?;
        if let Some(ms) = rest_ms {
            self.ear.rest(ms);
        }
        Ok(committed && rest_ms.is_none())
    }

    fn work(&self, plugin: &Plugin, records: Vec<SealedRecord>, heard: Heard) -> Work {
        let mut work = self.aside(heard);
        work.relies_on = vec![ask::reliance(plugin)];
        work.records = records;
        work
    }

    /// What is noted without asking.
    fn aside(&self, heard: Heard) -> Work {
        let mut work = Work::new(self.app.clock.id(), format!("plugin:{}", self.tool.id));
        work.heard = Some(Box::new(heard));
        work
    }

    /// Whether all of it was taken as it was made. What the books refuse counts as a fault.
    async fn commit(&mut self, works: Vec<(Work, Told<'a>)>) -> Result<bool, Error> {
        let (works, told): (Vec<Work>, Vec<Told<'a>>) = works.into_iter().unzip();
        if works.is_empty() {
            return Ok(true);
        }
        for (decided, told) in self.app.ledger.commit_each(works).await?.into_iter().zip(told) {
            match decided? {
                Decided::Done(answers) => self.taken(&answers),
                Decided::Refused(_, refusal) => {
                    let why = (format!("the books refused it: {}", refusal.code()), None);
                    let (heard, rest) = told.not_taken(why, self.app.clock.now());
                    self.app.ledger.commit(self.work(told.due.plugin, Vec::new(), heard)).await?;
                    self.ear.rest(rest.unwrap_or(BUSY_MS));
                    return Ok(false);
                }
                // Another host, an operator or an upgrade came between.
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn taken(&self, answers: &[Answer]) {
        for answer in answers {
            if let Answer::LeftOut(refusal) = answer {
                self.app.metrics.left_out(&self.tool.id, refusal);
                tracing::info!(plugin = self.tool.id, refusal, "a bonus was left out");
            }
        }
    }

    /// Forgets what is over, from time to time.
    async fn forget(&mut self, subscription: &Subscription) -> Result<(), Error> {
        if self.ear.forgot.as_ref().is_some_and(|since| since.micros() < FORGET_EVERY_MS * 1_000) {
            return Ok(());
        }
        self.ear.forgot = Some(Stopwatch::start());
        let now = self.app.clock.now();
        let over = rows::over(&self.app.store, &self.tool.id, now, FORGET_MAX).await?;
        if !over.is_empty() {
            self.app.ledger.commit(self.aside(subscription.forgets(&over, now))).await?;
        }
        Ok(())
    }
}

/// What a plugin has remembered, as the events of this round will have left it.
#[derive(Default)]
struct Memory {
    read: HashSet<Whose>,
    values: BTreeMap<(Whose, String), Kept>,
}

impl Memory {
    /// What is known about a user and the scope.
    async fn about(&mut self, app: &App, plugin: &str, user: Option<UserId>) -> Result<Vec<Kept>, Error> {
        let whose: Vec<Whose> = user.map(Whose).into_iter().chain([Whose::SCOPE]).collect();
        if whose.iter().any(|whose| !self.read.contains(whose)) {
            for kept in rows::remembered(&app.store, plugin, user).await? {
                if !self.read.contains(&kept.whose) {
                    self.values.insert((kept.whose, kept.name.clone()), kept);
                }
            }
            self.read.extend(whose.iter().copied());
        }
        let about = whose.into_iter().flat_map(|whose| {
            let from = (whose, String::new());
            self.values.range(from..).take_while(move |((of, _), _)| *of == whose).map(|(_, kept)| kept.clone())
        });
        Ok(about.collect())
    }

    fn changed(&mut self, heard: &Heard) {
        for kept in &heard.put {
            self.values.insert((kept.whose, kept.name.clone()), kept.clone());
        }
        for (whose, name) in &heard.forgotten {
            self.values.remove(&(*whose, name.clone()));
        }
    }
}
