//! Rules in shadow: asked beside each decision once it is made, on their own time, with records that are marked as theirs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use koban_domain::guest::Verdict;
use koban_domain::ids::{RecordId, UserId};
use koban_domain::ledger::Work;
use koban_domain::manifest::{Kind, Manifest};
use koban_domain::policy::PluginInForce;
use koban_domain::records::{Digest, Input, Output};
use koban_domain::releases::Scope;
use koban_store::shadows::{self as rows, Agreement, ShadowCall};
use tokio::sync::{mpsc, watch};

use crate::app::App;
use crate::error::Error;
use crate::fraud::Case;
use crate::guests::{self, For};
use crate::loaded::{loaded, ready};

/// Most calls that wait; what finds no room is counted and left out, because a shadow must not hold anything up.
const WAITING_MAX: usize = 1_024;
/// Most calls whose records are committed together.
const TOGETHER_MAX: usize = 64;

/// Calls that are to be made beside decisions.
pub struct Shadows {
    offer: mpsc::Sender<Asked>,
    waiting: Mutex<Option<mpsc::Receiver<Asked>>>,
    open: AtomicUsize,
}

impl Default for Shadows {
    fn default() -> Shadows {
        let (offer, waiting) = mpsc::channel(WAITING_MAX);
        Shadows { offer, waiting: Mutex::new(Some(waiting)), open: AtomicUsize::new(0) }
    }
}

impl Shadows {
    /// Calls whose records are not kept yet.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A call that waits.
struct Asked {
    version: PluginInForce,
    plugin: String,
    /// Whose enablement it is in shadow under.
    scope: String,
    /// None: it is only made ready.
    input: Option<Input>,
    locale: String,
    payer: UserId,
    subject: String,
    decided: Verdict,
    beside: Option<RecordId>,
}

/// A decision that was just made.
pub(crate) struct Beside<'a> {
    /// What was judged.
    pub(crate) case: &'a Case<'a>,
    /// What came of it.
    pub(crate) verdict: Verdict,
    /// The record that gave it.
    pub(crate) decision: Option<RecordId>,
    /// What each rule said, by its id.
    pub(crate) said: &'a [(String, RecordId, Verdict)],
}

/// Has every rule in shadow asked what it would have said. Nobody waits for it. `input` makes what a rule of this manifest is told.
pub(crate) fn offer(app: &App, made: &Beside<'_>, input: impl Fn(&Manifest) -> Input) {
    let policy = app.ledger.policy();
    for (plugin, scope, version) in policy.shadows(Kind::FraudRule, made.case.scopes) {
        // What it is told follows from its manifest, which is known once it is ready: the first decision only makes it so.
        let input = ready(app, version.digest, version.settings).map(|ready| input(ready.manifest()));
        let asked = asked(plugin, (scope, version), input, made);
        app.shadows.open.fetch_add(1, Ordering::Relaxed);
        if app.shadows.offer.try_send(asked).is_err() {
            app.shadows.open.fetch_sub(1, Ordering::Relaxed);
            app.metrics.shadowed(plugin, "left-out");
        }
    }
}

fn asked(plugin: &str, (scope, version): (&Scope, PluginInForce), input: Option<Input>, made: &Beside<'_>) -> Asked {
    // A new release is compared with the one that decides in its place; a new rule with what all rules together said.
    let same = made.said.iter().find(|(id, ..)| id == plugin);
    Asked {
        version,
        plugin: plugin.to_owned(),
        scope: scope.to_string(),
        input,
        locale: made.case.locale.to_owned(),
        payer: made.case.payer,
        subject: made.case.payment.id.clone(),
        decided: same.map_or(made.verdict, |(.., verdict)| *verdict),
        beside: same.map(|(_, record, _)| *record).or(made.decision),
    }
}

/// Makes the calls, one after the other, until the host stops.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let waiting = app.shadows.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    let mut batch = Vec::with_capacity(TOGETHER_MAX);
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            came = waiting.recv_many(&mut batch, TOGETHER_MAX) => {
                if let Err(error) = ask(&app, batch.drain(..)).await {
                    tracing::warn!(error = %crate::ledger::chain(&error), "calls in shadow were not kept");
                }
                app.shadows.open.fetch_sub(came, Ordering::Relaxed);
            }
        }
    }
}

async fn ask(app: &App, batch: impl Iterator<Item = Asked>) -> Result<(), Error> {
    let (mut marks, mut works) = (Vec::new(), Vec::new());
    for asked in batch {
        if app.ledger.policy().revoked.contains(&asked.version.digest) {
            continue;
        }
        let plugin = match loaded(app, asked.version.digest, asked.version.settings).await {
            Ok(plugin) => plugin,
            Err(error) => {
                app.metrics.shadowed(&asked.plugin, "fault");
                tracing::warn!(plugin = asked.plugin, error = %crate::ledger::chain(&error), "a rule in shadow cannot be loaded");
                continue;
            }
        };
        let Some(input) = asked.input else { continue };
        let whom = For { scope: &asked.scope, locale: &asked.locale, about: Some(asked.payer) };
        // Where no rule decides yet there is no record to stand beside.
        let beside = asked.beside.unwrap_or(RecordId(uuid::Uuid::nil()));
        let (answer, record) = guests::call_beside(app, &plugin, whom, input, beside).await;
        let verdict = match answer {
            Ok(Output::Assessment(assessment)) => Some(assessment.verdict),
            Ok(_) | Err(_) => None,
        };
        let result = match verdict {
            Some(verdict) if verdict == asked.decided => "agrees",
            Some(_) => "differs",
            None => "fault",
        };
        app.metrics.shadowed(&asked.plugin, result);
        marks.push(ShadowCall {
            decision: record.id,
            beside: asked.beside,
            plugin: asked.plugin,
            digest: asked.version.digest,
            subject: asked.subject,
            decided: asked.decided,
            verdict,
            at: app.clock.now(),
        });
        let mut work = Work::new(app.clock.id(), "system");
        work.records = vec![record];
        works.push(work);
    }
    if marks.is_empty() {
        return Ok(());
    }
    rows::mark(&app.store, &marks).await?;
    for kept in app.ledger.commit_each(works).await? {
        kept?;
    }
    Ok(())
}

/// How often a release in shadow agreed with what counted.
pub async fn agreement(app: &App, plugin: &str, digest: Digest) -> Result<Agreement, Error> {
    Ok(rows::agreement(&app.store, plugin, digest).await?)
}
