//! Orders: money requests that were read and checked, ready to be decided alone, on trial, or as one of many.

use koban_domain::ledger::{Answer, Command, Work};
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::judged::{self, Dealing, Found, Verdicts};
use crate::operations::{self, Answered, Begun};
use crate::step_ups;

/// How often an order is decided again because a rule was switched meanwhile.
pub(crate) const DECIDED_MAX: u32 = 3;

type MakeCommand = Box<dyn Fn(Uuid, Verdicts) -> Command + Send + Sync>;

/// A money request whose fields can be used and that nobody has decided.
pub(crate) struct Order {
    /// The route that it comes by alone: part of its fingerprint, also in a bulk.
    route: &'static str,
    /// Its canonical body.
    body: Vec<u8>,
    /// `payment`, `refund` …, for metrics.
    pub(crate) kind: &'static str,
    /// What the fraud rules judge, if they do.
    pub(crate) dealing: Option<Dealing>,
    /// The component that it rests on although nobody asks it again, and what it is refused with once nothing may rest on that.
    rests_on: Option<(Reliance, Refusal)>,
    command: MakeCommand,
}

impl Order {
    /// An order that no rule judges. The command gets the id of what it makes.
    pub(crate) fn new(
        kind: &'static str,
        route: &'static str,
        input: &impl Serialize,
        command: impl Fn(Uuid, Verdicts) -> Command + Send + Sync + 'static,
    ) -> Result<Order, Error> {
        let body = serde_json::to_vec(input).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Order { route, body, kind, dealing: None, rests_on: None, command: Box::new(command) })
    }

    /// The same, judged as this dealing.
    pub(crate) fn judged(self, dealing: Dealing) -> Order {
        Order { dealing: Some(dealing), ..self }
    }

    /// The same, resting on what a component said before. Once the books do not honour that any more, it is refused so.
    pub(crate) fn resting_on(self, reliance: Reliance, refusal: Refusal) -> Order {
        Order { rests_on: Some((reliance, refusal)), ..self }
    }

    /// Begins it under a key of this actor. Errors: an unusable key, or the same key still running on this host.
    pub(crate) fn begin(&self, app: &App, ctx: &Ctx) -> Result<Begun, Error> {
        operations::begin_with(app, ctx, self.claim(ctx, &ctx.key, &[]))
    }

    /// What it claims under a key. `bound` ties the claim to more than the order itself.
    pub(crate) fn claim(&self, ctx: &Ctx, key: &str, bound: &[u8]) -> Claim {
        Claim::new(&ctx.actor.to_string(), key, self.route, &[&self.body, bound].concat())
    }

    /// The work that decides it, judged by the rules if it is a dealing.
    pub(crate) async fn work(&self, app: &App, ctx: &Ctx, found: Option<Found>) -> Result<Work, Error> {
        match (self.dealing, found) {
            (Some(dealing), Some(found)) => judged::work(app, ctx, &dealing, found, &self.command).await,
            _ => {
                let id = app.clock.id();
                let mut work = ctx.work(id);
                work.commands = vec![(self.command)(id, Verdicts::default())];
                match &self.rests_on {
                    Some((reliance, _)) if app.ledger.policy().honours(reliance) => {
                        work.relies_on = vec![reliance.clone()];
                    }
                    Some((_, refusal)) => work.refused = Some(*refusal),
                    None => {}
                }
                Ok(work)
            }
        }
    }

    /// Decides it by itself under the key of its request.
    pub(crate) async fn decide(&self, app: &App, ctx: &Ctx) -> Result<Answered<Answer>, Error> {
        let operation = self.begin(app, ctx)?;
        self.decide_under(app, ctx, &operation).await.map_err(|error| step_ups::name(error, ctx, &operation.claim))
    }

    async fn decide_under(&self, app: &App, ctx: &Ctx, operation: &Begun) -> Result<Answered<Answer>, Error> {
        for _ in 0..DECIDED_MAX {
            let mut found = None;
            if let Some(dealing) = &self.dealing {
                // One read for the operation, the payer, the payee and the signals, shared with concurrent dealings.
                let (known, read) = judged::read(app, ctx, &operation.claim, dealing).await?;
                if let Some(decided) = operation.replay(app, known)? {
                    return Ok(decided);
                }
                found = Some(read);
            }
            let mut work = self.work(app, ctx, found).await?;
            if let Some(dealing) = &self.dealing {
                step_ups::challenge(&mut work, ctx, dealing);
            }
            let answer = operation.commit(app, work).await;
            app.metrics.dealt(self.kind, operations::result_word(&answer));
            if let Some(answered) = answer? {
                return Ok(answered);
            }
        }
        Err(Error::Busy)
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").field("route", &self.route).field("dealing", &self.dealing).finish_non_exhaustive()
    }
}

/// A refusal by the code that was kept of it. A code of a later version of the house is a refusal all the same.
pub(crate) fn refusal_of(code: &str) -> Refusal {
    Refusal::ALL.into_iter().find(|refusal| refusal.code() == code).unwrap_or(Refusal::PathNotAllowed)
}
