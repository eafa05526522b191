//! W6: holds from authorisation to their end, one step a request, ours and the baseline's.

use std::sync::Arc;

use koban_domain::captures::{Collect, OfPayment};
use koban_domain::ids::{CaptureId, PaymentId};
use koban_domain::ledger::{Command, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::{Pay, Terms};
use koban_service::ctx::Actor;
use koban_store::bench::{Baseline, BaselineHold, BaselineOutcome, HoldStep};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::clients::{Client, Outcome};
use super::random::Random;
use super::workloads::{amount, key, outcome, streams};
use super::world::World;

/// How a hold ends: of ten, seven are captured, two voided, and one runs out.
fn end(random: &mut Random) -> HoldStep {
    match random.below(10) {
        0 => HoldStep::Expire,
        1 | 2 => HoldStep::Void,
        _ => HoldStep::Capture,
    }
}

/// A step of ours: each is one unit of work through the commit queue, decided under a key of its own.
pub(super) struct Holds {
    world: Arc<World>,
    random: Random,
    /// The hold that this client has made, and how it shall end.
    open: Option<(OfPayment, HoldStep)>,
}

impl Holds {
    /// The clients of a run.
    pub(super) fn clients(world: &Arc<World>, clients: usize, run: u64) -> Vec<Holds> {
        let client = |stream| Holds { world: Arc::clone(world), random: Random::new(run, stream), open: None };
        streams(clients).map(client).collect()
    }
}

impl Client for Holds {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let (world, random) = (&self.world, &mut self.random);
        let id = world.app.clock.id();
        let (of, step) = match self.open {
            Some(open) => open,
            None => {
                let payer = world.users[world.zipf.draw(random)];
                let merchant = world.merchants[random.place(world.merchants.len())];
                (OfPayment { payment: PaymentId(id), payer, merchant, currency: Currency::JPY }, HoldStep::Authorise)
            }
        };
        let next = end(random);
        let (actor, command) = match step {
            HoldStep::Authorise => {
                let for_ms = if next == HoldStep::Expire { 1 } else { 3_600_000 };
                let pay = Pay {
                    payment: of.payment,
                    payer: of.payer,
                    merchant: of.merchant,
                    amount: amount(random),
                    reference: None,
                    decision: None,
                    terms: Terms::Held { for_ms },
                    review: false,
                };
                (Actor::User(of.payer).to_string(), Command::Pay(pay))
            }
            HoldStep::Capture => {
                let collect = Collect { capture: CaptureId(id), of, amount: None, last: true };
                (of.merchant.to_string(), Command::Collect(collect))
            }
            HoldStep::Void => (of.merchant.to_string(), Command::Void(of)),
            HoldStep::Expire => ("system".to_owned(), Command::Expire(of)),
        };
        let mut work = Work::new(id, actor.clone());
        work.operation = Some(Claim::new(&actor, &key(random), "hold", of.payment.0.as_bytes()));
        work.commands = vec![command];
        let done = outcome(world.app.ledger.commit(work).await)?;
        // What was refused (a hold whose millisecond is not over) is tried again.
        if done == Outcome::Done {
            self.open = (step == HoldStep::Authorise).then_some((of, next));
        }
        Ok(done)
    }
}

/// A step of the baseline.
pub(super) struct PlainHolds {
    world: Arc<World>,
    baseline: Arc<Baseline>,
    connections: Arc<Semaphore>,
    /// This client's turn at a connection.
    turn: Option<OwnedSemaphorePermit>,
    random: Random,
    open: Option<Open>,
}

#[derive(Clone, Copy)]
struct Open {
    hold: Uuid,
    payer: usize,
    merchant: usize,
    amount: Money,
    step: HoldStep,
}

impl PlainHolds {
    /// The clients of a run.
    pub(super) fn clients(
        world: &Arc<World>,
        (connections, baseline): &(u32, Arc<Baseline>),
        clients: usize,
        run: u64,
    ) -> Vec<PlainHolds> {
        let turns = Arc::new(Semaphore::new(usize::try_from(*connections).unwrap_or(1)));
        let client = |stream| PlainHolds {
            world: Arc::clone(world),
            baseline: Arc::clone(baseline),
            connections: Arc::clone(&turns),
            turn: None,
            random: Random::new(run, stream),
            open: None,
        };
        streams(clients).map(client).collect()
    }
}

impl Client for PlainHolds {
    async fn turn(&mut self) -> anyhow::Result<()> {
        self.turn = Some(Arc::clone(&self.connections).acquire_owned().await?);
        Ok(())
    }

    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let clock = &self.world.app.clock;
        let random = &mut self.random;
        // The last accounts are merchants: zipf seldom draws them.
        let merchants = self.world.merchants.len();
        let open = self.open.unwrap_or_else(|| Open {
            hold: clock.id(),
            payer: self.world.zipf.draw(random) % (self.world.users.len() - merchants),
            merchant: self.world.users.len() - 1 - random.place(merchants),
            amount: amount(random),
            step: HoldStep::Authorise,
        });
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.next().to_be_bytes());
        key[8..].copy_from_slice(&random.next().to_be_bytes());
        let hold = BaselineHold {
            step: open.step,
            hold: open.hold,
            payer: open.payer,
            merchant: open.merchant,
            amount: open.amount.minor,
            entry: clock.id(),
            key,
            at: clock.now(),
        };
        let done = self.baseline.hold(hold).await?;
        self.turn = None;
        match done {
            BaselineOutcome::Posted => {
                let next = Open { step: end(random), ..open };
                self.open = (open.step == HoldStep::Authorise).then_some(next);
                Ok(Outcome::Done)
            }
            BaselineOutcome::InsufficientFunds | BaselineOutcome::DayLimit | BaselineOutcome::Repeated => {
                self.open = None;
                Ok(Outcome::Refused)
            }
        }
    }
}
