//! Money requests with a key: the first answer sticks, whoever asks again and however often.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use koban_domain::ids::KeyId;
use koban_domain::ledger::{Answer, Audit, Command, Decided, Trial, Work};
use koban_domain::operations::{Claim, Operation, OperationKey};
use koban_domain::outcomes::Refusal;
use serde::Serialize;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::trials::Foresight;

/// Operations that are being worked on by this host.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<OperationKey>>>);

/// An operation that nobody has decided yet. While it lives, the same key on this host is told to come back.
#[derive(Debug)]
pub struct Begun {
    /// What the commit brings in.
    pub claim: Claim,
    /// Where it is marked as running; nowhere if it is only tried.
    running: Option<Running>,
    /// The API key that the request came by, and the device that it came from: frozen ones are refused in the commit.
    key: Option<KeyId>,
    device: Option<String>,
    /// Who tries it, if it is only tried.
    trial: Option<Actor>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.claim.key);
        }
    }
}

/// An answer, and whether it is the first one given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub value: T,
    /// Whether the operation was decided before this request.
    pub replayed: bool,
}

/// Claims an operation before anything is done for it. The canonical body is its JSON without whitespace.
/// Errors: an unusable key, or the same key still running on this host.
pub fn begin(app: &App, ctx: &Ctx, route: &str, body: &impl Serialize) -> Result<Begun, Error> {
    let body = serde_json::to_vec(body).map_err(|error| Error::Internal(error.to_string()))?;
    begin_with(app, ctx, Claim::new(&ctx.actor.to_string(), &ctx.key, route, &body))
}

/// The same with a claim that was made before.
pub(crate) fn begin_with(app: &App, ctx: &Ctx, claim: Claim) -> Result<Begun, Error> {
    check_key(ctx)?;
    let running = match ctx.trial {
        true => None,
        false if app.running.0.lock().unwrap_or_else(PoisonError::into_inner).insert(claim.key) => {
            Some(app.running.clone())
        }
        false => return Err(Error::KeyRunning),
    };
    let key = match ctx.actor {
        Actor::Merchant(_, key) => Some(key),
        _ => None,
    };
    Ok(Begun { claim, running, key, device: ctx.device.clone(), trial: ctx.trial.then_some(ctx.actor) })
}

/// A key is 1 to 255 printable ASCII characters; what is only tried needs none.
fn check_key(ctx: &Ctx) -> Result<(), Error> {
    let key = &ctx.key;
    if ctx.trial || (1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Ok(());
    }
    Err(Error::invalid("Idempotency-Key", "send this header with 1 to 255 printable ASCII characters"))
}

impl Begun {
    /// The outcome, if the operation was decided before: a decided operation never calls a plugin again.
    pub async fn decided(&self, app: &App) -> Result<Option<Answered<Answer>>, Error> {
        self.replay(app, koban_store::operations::by_keys(&app.store, &[self.claim.key]).await?.remove(&self.claim.key))
    }

    /// The outcome that a read found under this operation's key. Errors: another request used the key. What is only tried has
    /// no key.
    pub fn replay(&self, app: &App, known: Option<Operation>) -> Result<Option<Answered<Answer>>, Error> {
        let Some(known) = known.filter(|_| self.trial.is_none()) else { return Ok(None) };
        if known.fingerprint != self.claim.fingerprint {
            return Err(Error::KeyReused);
        }
        app.metrics.replays.inc();
        outcome(known.outcome, true).map(Some)
    }

    /// The work under this operation's claim, with the key and the device that it came by.
    pub(crate) fn claimed(&self, mut work: Work) -> Work {
        work.operation = Some(self.claim).filter(|_| self.trial.is_none());
        (work.key, work.device) = (self.key, self.device.clone());
        work
    }

    /// Commits the work under this operation's key. [`Decided::FlowMoved`] and [`Decided::PluginChanged`] come back as `None`:
    /// decide again. Errors: [`Error::Foreseen`] if it is only tried, beside what [`crate::ledger::Ledger::commit`] says.
    pub async fn commit(&self, app: &App, work: Work) -> Result<Option<Answered<Answer>>, Error> {
        let mut work = self.claimed(work);
        if let Some(actor) = self.trial {
            if work.step.is_some() {
                return Err(Error::TrialNotPossible);
            }
            work.trial = work.trial.or(Some(Trial::Whole));
            return match app.ledger.commit(work).await? {
                Decided::Foreseen(units) => Err(Error::Foreseen(Box::new(Foresight::of(actor, units)))),
                other => Err(Error::Internal(format!("a trial was decided: {other:?}"))),
            };
        }
        answered(app.ledger.commit(work).await?)
    }
}

/// What a decision means to who asked; none if it must be made again.
pub(crate) fn answered(decided: Decided) -> Result<Option<Answered<Answer>>, Error> {
    match decided {
        Decided::Done(answers) => {
            outcome(answers.into_iter().next_back().ok_or(Refusal::PathNotAllowed), false).map(Some)
        }
        Decided::Refused(_, refusal) => outcome(Err(refusal), false).map(Some),
        Decided::Replayed(known) => outcome(known, true).map(Some),
        Decided::KeyReused => Err(Error::KeyReused),
        Decided::SignedOut => Err(Error::NotSignedIn),
        Decided::FlowMoved | Decided::PluginChanged | Decided::Foreseen(_) => Ok(None),
    }
}

/// Commits one command of an operator or a user under a key, with its row in the audit log.
pub(crate) async fn act(
    app: &App,
    ctx: &Ctx,
    (route, asked): (&str, &impl Serialize),
    command: Command,
    audit: Option<Audit>,
) -> Result<Answered<Answer>, Error> {
    let operation = begin(app, ctx, route, asked)?;
    if let Some(decided) = operation.decided(app).await? {
        return Ok(decided);
    }
    let mut work = ctx.work(app.clock.id());
    work.commands = vec![command];
    work.audit.extend(audit);
    operation.commit(app, work).await?.ok_or(Error::Busy)
}

impl<T> Answered<T> {
    /// Another value, answered in the same way.
    pub fn with<U>(&self, value: U) -> Answered<U> {
        Answered { value, replayed: self.replayed }
    }
}

impl Answered<Answer> {
    /// The part of the answer that this route gives. An answer of another kind under the same fingerprint cannot be.
    pub fn expect<T>(self, part: impl FnOnce(Answer) -> Option<T>) -> Result<Answered<T>, Error> {
        let value =
            part(self.value).ok_or_else(|| Error::Internal("the operation has another kind of answer".into()))?;
        Ok(Answered { value, replayed: self.replayed })
    }
}

/// The word under which metrics count an outcome.
pub fn result_word<T>(result: &Result<Option<T>, Error>) -> &'static str {
    match result {
        Ok(Some(_)) => "done",
        Ok(None) => "decided_again",
        Err(Error::Refused { refusal, .. }) => refusal.code(),
        Err(Error::Foreseen(_)) => "tried",
        Err(_) => "error",
    }
}

fn outcome(outcome: Result<Answer, Refusal>, replayed: bool) -> Result<Answered<Answer>, Error> {
    match outcome {
        Ok(value) => Ok(Answered { value, replayed }),
        Err(refusal) => Err(Error::Refused { refusal, replayed }),
    }
}
