//! The workloads as clients: W1 bulks, W3 and W7 transfers, W4 payments to one merchant, W5 the full path of a payment, and the baseline
//! that each is measured beside.

use std::sync::Arc;

use anyhow::bail;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use koban_domain::guest::{AssessPayment, Named, Signal};
use koban_domain::ids::{PaymentId, TransferId, UserId};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::{Pay, Terms};
use koban_domain::policy::Reliance;
use koban_domain::records::Input;
use koban_domain::transfers::Send;
use koban_service::Error;
use koban_service::ctx::Actor;
use koban_service::guests::{self, For};
use koban_store::bench::{Baseline, BaselineOutcome, BaselineTransfer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::clients::{Client, Outcome};
use super::random::Random;
use super::world::World;

/// What each transfer says to its receiver: with the rest of its row some hundred bytes that somebody wrote.
const MESSAGE: &str = "For the tickets on Saturday, and thank you for waiting in the rain for so long!";
/// Amounts are 1 to this many yen: nobody runs dry, so that every request moves money.
const YEN_MAX: u64 = 10;

/// W3: transfers between verified users drawn by zipf, each balance-checked, limited and decided under a key of its own.
/// W7: the same with guest calls before the commit and their records in it.
pub(super) struct Transfers {
    world: Arc<World>,
    random: Random,
    plugins: usize,
}

impl Transfers {
    /// The clients of a run. `plugins` guest calls are made for each transfer.
    pub(super) fn clients(world: &Arc<World>, clients: usize, run: u64, plugins: usize) -> Vec<Transfers> {
        streams(clients)
            .map(|stream| Transfers { world: Arc::clone(world), random: Random::new(run, stream), plugins })
            .collect()
    }
}

impl Client for Transfers {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let app = &self.world.app;
        let (sender, receiver) = self.world.zipf.pair(&mut self.random);
        let (sender, receiver) = (self.world.users[sender], self.world.users[receiver]);
        let amount = amount(&mut self.random);
        let id = app.clock.id();
        let actor = Actor::User(sender).to_string();
        let key = key(&mut self.random);
        let mut work = Work::new(id, actor.clone());
        let transfer = TransferId(id);
        work.operation = Some(Claim::new(&actor, &key, "POST /v1/transfers", receiver.0.as_bytes()));
        for _ in 0..self.plugins {
            let (answer, record) =
                guests::call(app, &self.world.rules, For::PLATFORM, question(&transfer.to_string(), amount)).await;
            answer?;
            work.relies_on.push(Reliance {
                plugin: self.world.rules.id().to_owned(),
                digest: self.world.rules.digest(),
                in_force: true,
            });
            work.records.push(record);
        }
        let decision = work.records.first().map(|record| record.id);
        let message = Some(MESSAGE.to_owned());
        work.commands =
            vec![Command::Transfer(Send { transfer, sender, receiver, amount, message, decision, review: false })];
        outcome(app.ledger.commit(work).await)
    }
}

/// W1: from one user to one other ("world to bank"), transfers in atomic bulks, each bulk decided under a key of its own. Each transfer is
/// balance-checked, limited and an entry of its own, with its message, its row and its news.
pub(super) struct Bulks {
    world: Arc<World>,
    random: Random,
}

impl Bulks {
    /// Transfers in a bulk: the most that the API takes.
    pub(super) const ITEMS: u32 = 1_000;

    /// The clients of a run.
    pub(super) fn clients(world: &Arc<World>, clients: usize, run: u64) -> Vec<Bulks> {
        streams(clients).map(|stream| Bulks { world: Arc::clone(world), random: Random::new(run, stream) }).collect()
    }
}

impl Client for Bulks {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let app = &self.world.app;
        // Those whom zipf draws least: what they hold is still theirs.
        let [.., receiver, sender] = self.world.users[..] else { bail!("the world has no two users") };
        let actor = Actor::User(sender).to_string();
        let mut work = Work::new(app.clock.id(), actor.clone());
        work.operation = Some(Claim::new(&actor, &key(&mut self.random), "POST /v1/bulk", receiver.0.as_bytes()));
        let part = || {
            let id = app.clock.id();
            let (transfer, amount, message) = (TransferId(id), Money::yen(1), Some(MESSAGE.to_owned()));
            let send = Send { transfer, sender, receiver, amount, message, decision: None, review: false };
            Work { commands: vec![Command::Transfer(send)], ..Work::new(id, actor.clone()) }
        };
        work.parts = (0..Bulks::ITEMS).map(|_| part()).collect();
        outcome(app.ledger.commit(work).await)
    }
}

/// W4: everybody pays the same merchant, through the commit queue.
pub(super) struct HotMerchant {
    world: Arc<World>,
    random: Random,
}

impl HotMerchant {
    /// The clients of a run.
    pub(super) fn clients(world: &Arc<World>, clients: usize, run: u64) -> Vec<HotMerchant> {
        streams(clients)
            .map(|stream| HotMerchant { world: Arc::clone(world), random: Random::new(run, stream) })
            .collect()
    }
}

impl Client for HotMerchant {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let app = &self.world.app;
        let payer = self.world.users[self.random.place(self.world.users.len())];
        let merchant = self.world.merchants[0];
        let id = app.clock.id();
        let actor = Actor::User(payer).to_string();
        let mut work = Work::new(id, actor.clone());
        work.operation = Some(Claim::new(&actor, &key(&mut self.random), "POST /v1/payments", merchant.0.as_bytes()));
        work.commands = vec![Command::Pay(Pay {
            payment: PaymentId(id),
            payer,
            merchant,
            amount: amount(&mut self.random),
            reference: None,
            decision: None,
            terms: Terms::AtOnce,
            review: false,
        })];
        outcome(app.ledger.commit(work).await)
    }
}

/// W5: `POST /v1/payments` through every layer of the host, from the request's bytes to the answer's, without a socket.
pub(super) struct FullPayments {
    world: Arc<World>,
    random: Random,
}

impl FullPayments {
    /// The clients of a run.
    pub(super) fn clients(world: &Arc<World>, clients: usize, run: u64) -> Vec<FullPayments> {
        streams(clients)
            .map(|stream| FullPayments { world: Arc::clone(world), random: Random::new(run, stream) })
            .collect()
    }
}

impl Client for FullPayments {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let (world, random) = (&self.world, &mut self.random);
        let at = random.place(world.tokens.len());
        let merchant = world.merchants[random.place(world.merchants.len())];
        let body = format!(r#"{{"merchant":"{merchant}","amount":{},"currency":"JPY"}}"#, amount(random).minor);
        let request = Request::post("/v1/payments")
            .header("authorization", format!("Bearer {}", world.tokens[at]))
            .header("content-type", "application/json")
            .header("idempotency-key", key(random))
            .header("koban-device", device(world.users[at]))
            .body(Full::new(Bytes::from(body)))?;
        let Ok(answer) = world.routes.clone().oneshot(request).await;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        match status.as_u16() {
            201 => Ok(Outcome::Done),
            429 | 503 => Ok(Outcome::Busy),
            403 | 409 | 422 => Ok(Outcome::Refused),
            _ => bail!("a payment was answered with {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// The device that a user pays with.
pub(super) fn device(user: UserId) -> String {
    format!("bench-{}", user.0.simple())
}

/// Who pays whom in the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Both sides drawn by zipf, as W3.
    Zipf,
    /// Anybody to one account, as W4.
    Hot,
    /// Steps of holds, as W6: [`super::holds::PlainHolds`].
    Holds,
}

/// The baseline: one SQL transaction for each transfer.
pub(super) struct Plain {
    world: Arc<World>,
    baseline: Arc<Baseline>,
    connections: Arc<Semaphore>,
    /// This client's turn at a connection.
    turn: Option<OwnedSemaphorePermit>,
    random: Random,
    pattern: Pattern,
}

impl Plain {
    /// The clients of a run.
    pub(super) fn clients(
        world: &Arc<World>,
        (connections, baseline): &(u32, Arc<Baseline>),
        clients: usize,
        run: u64,
        pattern: Pattern,
    ) -> Vec<Plain> {
        // They queue for as many connections as the baseline has.
        let turns = Arc::new(Semaphore::new(usize::try_from(*connections).unwrap_or(1)));
        let client = |stream| Plain {
            world: Arc::clone(world),
            baseline: Arc::clone(baseline),
            connections: Arc::clone(&turns),
            turn: None,
            random: Random::new(run, stream),
            pattern,
        };
        streams(clients).map(client).collect()
    }
}

impl Client for Plain {
    async fn turn(&mut self) -> anyhow::Result<()> {
        self.turn = Some(Arc::clone(&self.connections).acquire_owned().await?);
        Ok(())
    }

    async fn request(&mut self) -> anyhow::Result<Outcome> {
        let (debit, credit) = match self.pattern {
            Pattern::Zipf | Pattern::Holds => self.world.zipf.pair(&mut self.random),
            Pattern::Hot => (1 + self.random.place(self.world.users.len() - 1), 0),
        };
        let clock = &self.world.app.clock;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.random.next().to_be_bytes());
        key[8..].copy_from_slice(&self.random.next().to_be_bytes());
        let amount = amount(&mut self.random).minor;
        let transfer = BaselineTransfer { debit, credit, amount, entry: clock.id(), key, at: clock.now() };
        let outcome = self.baseline.transfer(transfer).await?;
        self.turn = None;
        match outcome {
            BaselineOutcome::Posted => Ok(Outcome::Done),
            BaselineOutcome::InsufficientFunds | BaselineOutcome::DayLimit | BaselineOutcome::Repeated => {
                Ok(Outcome::Refused)
            }
        }
    }
}

/// What the rules are asked in W7 and at the door: a payment as the full path describes it.
pub(super) fn question(id: &str, amount: Money) -> Input {
    let payment = AssessPayment { id: id.to_owned(), kind: "payment".to_owned(), amount, at: 1_700_000_000_000 };
    let facts = vec![
        Named::flag("payee.first_time", false),
        Named::text("device.id", "bench-0123456789abcdef"),
        Named::text("merchant.category", "5812"),
    ];
    let signal = |name: &str, window_s, count| Signal {
        name: name.to_owned(),
        window_s,
        count,
        sum: Money::new(12_800, Currency::JPY),
    };
    let signals = vec![
        signal("user_10m", 600, 2),
        signal("user_1d", 86_400, 9),
        signal("merchant_10m", 600, 120),
        signal("device_1h", 3_600, 3),
    ];
    Input::Assess(payment, facts, signals)
}

/// What a client counts a decision as.
pub(super) fn outcome(decided: Result<Decided, Error>) -> anyhow::Result<Outcome> {
    match decided {
        Ok(Decided::Done(_)) => Ok(Outcome::Done),
        Ok(Decided::Refused(..)) => Ok(Outcome::Refused),
        Ok(other) => bail!("a request with a key of its own came back as {other:?}"),
        Err(Error::Busy) => Ok(Outcome::Busy),
        Err(error) => Err(error.into()),
    }
}

/// What is moved.
pub(super) fn amount(random: &mut Random) -> Money {
    Money::yen(i64::try_from(1 + random.below(YEN_MAX)).unwrap_or(1))
}

/// A key as clients make them.
pub(super) fn key(random: &mut Random) -> String {
    format!("{:016x}{:016x}", random.next(), random.next())
}

/// A stream of random numbers for each client.
pub(super) fn streams(clients: usize) -> impl Iterator<Item = u64> {
    (0_u64..).take(clients)
}
