//! Many money requests at once, in the order in which they were sent: all of them or none, or each by itself.
//!
//! Everything that a single request meets an item meets, too: its checks, the fraud rules, limits, its record and its news. An atomic
//! bulk is one operation. An independent one is as many operations as it has items, and one more that ties its key to its body.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use koban_domain::ids::PaymentId;
use koban_domain::ledger::{Answer, Decided, Trial, Work};
use koban_domain::operations::{Claim, Operation};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::app::App;
use crate::captures::{self, CaptureInput, IncrementInput};
use crate::ctx::Ctx;
use crate::error::Error;
use crate::exchanges::{self, ExchangeInput};
use crate::judged::{self, Found};
use crate::operations::{self, Answered, Begun};
use crate::orders::{DECIDED_MAX, Order, refusal_of};
use crate::payments::{self, PayInput};
use crate::refunds::{self, RefundInput};
use crate::transfers::{self, SendInput};

/// Most items of a bulk.
pub const ITEMS_MAX: usize = 1_000;
/// Items of one bulk that are read for or judged at a time.
const AT_ONCE: usize = 16;

const ROUTE: &str = "POST /v1/bulk";

/// How a bulk is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All items or none.
    Atomic,
    /// Each item by itself.
    Independent,
}

/// A money request that may come in a bulk.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// A user pays a merchant, or has an amount held for it.
    Payment(PayInput),
    /// A user sends money.
    Transfer(SendInput),
    /// A user exchanges currencies.
    Exchange(ExchangeInput),
    /// A user has more held.
    Increment(IncrementInput),
    /// A merchant gives money back.
    Refund(RefundInput),
    /// A merchant takes from what is held.
    Capture(CaptureInput),
    /// A merchant lets go of what is held.
    Void(PaymentId),
}

/// An item, and the key of its own if it has one.
#[derive(Debug, Clone, Serialize)]
pub struct Keyed {
    /// Its idempotency key; without one it has a key that follows from the bulk's and its place.
    pub key: Option<String>,
    /// What is asked.
    pub item: Item,
}

/// What came of each item, in their order.
pub type Outcomes = Vec<Result<Answered<Answer>, Error>>;

#[derive(Serialize)]
struct Asked<'a> {
    mode: Mode,
    items: &'a [Keyed],
}

/// Decides a bulk. Answers what came of each item, and whether all of it was decided before. Errors: [`Error::Item`] names the item
/// that cannot be used, or for an atomic bulk the first one that is refused; then nothing was done.
pub async fn decide(app: &App, ctx: &Ctx, mode: Mode, items: Vec<Keyed>) -> Result<Answered<Outcomes>, Error> {
    check(mode, &items)?;
    let operation = operations::begin(app, ctx, ROUTE, &Asked { mode, items: &items })?;
    let known = operation.decided(app).await?;
    match (mode, known) {
        (Mode::Atomic, Some(known)) => whole(known),
        (Mode::Atomic, None) => atomic(app, ctx, &operation, items).await,
        (Mode::Independent, known) => {
            Independent { app, ctx, operation, is_known: known.is_some() }.decide(items).await
        }
    }
}

fn check(mode: Mode, items: &[Keyed]) -> Result<(), Error> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(Error::invalid("items", format!("give 1 to {ITEMS_MAX} items")));
    }
    let mut keys = HashSet::new();
    for (place, item) in items.iter().enumerate() {
        let Some(key) = &item.key else { continue };
        let wrong = |problem: &str| Err(Error::invalid("key", problem).at(place));
        if mode == Mode::Atomic {
            return wrong("leave it out: an atomic bulk is one operation under the key of its header");
        }
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("use 1 to 255 printable ASCII characters without spaces");
        }
        if !keys.insert(key) {
            return wrong("another item has this key; give each its own, or none");
        }
    }
    Ok(())
}

/// Reads and checks one item. Errors: it cannot be used, or is about something that is not there.
async fn order(app: App, ctx: Arc<Ctx>, item: Item) -> Result<Arc<Order>, Error> {
    let order = match item {
        Item::Payment(input) => payments::order(&ctx, input),
        Item::Transfer(input) => transfers::order(&ctx, input),
        Item::Exchange(input) => exchanges::order(&ctx, input),
        Item::Increment(input) => captures::increment_order(&app, &ctx, input).await,
        Item::Refund(input) => refunds::order(&app, &ctx, input).await,
        Item::Capture(input) => captures::capture_order(&app, &ctx, input).await,
        Item::Void(payment) => captures::void_order(&app, &ctx, payment).await,
    };
    order.map(Arc::new)
}

/// The answers of an atomic bulk that was decided before.
fn whole(known: Answered<Answer>) -> Result<Answered<Outcomes>, Error> {
    let replayed = known.replayed;
    match known.value {
        Answer::Bulk(answers) => {
            let outcomes = answers.into_iter().map(|value| Ok(Answered { value, replayed })).collect();
            Ok(Answered { value: outcomes, replayed })
        }
        Answer::Halted(place, code) => {
            let refused = Error::Refused { refusal: refusal_of(&code), replayed };
            Err(refused.at(usize::try_from(place).unwrap_or(usize::MAX)))
        }
        _ => Err(Error::Internal("the operation has another kind of answer".into())),
    }
}

async fn atomic(app: &App, ctx: &Ctx, operation: &Begun, items: Vec<Keyed>) -> Result<Answered<Outcomes>, Error> {
    let shared = Arc::new(ctx.clone());
    let orders = each(items, |keyed| order(app.clone(), Arc::clone(&shared), keyed.item)).await?;
    let orders: Vec<Arc<Order>> = placed(orders)?;
    for _ in 0..DECIDED_MAX {
        let reads = orders.iter().map(|order| (operation.claim, Arc::clone(order)));
        let found =
            each(reads.collect(), |(claim, order)| read(app.clone(), Arc::clone(&shared), claim, order)).await?;
        let mut found: Vec<Option<Found>> = placed(found)?.into_iter().map(|(_, found)| found).collect();
        one_after_another(app, &orders, &mut found);
        let judged = orders.iter().cloned().zip(found).collect();
        let parts = each(judged, |(order, found)| judge(app.clone(), Arc::clone(&shared), order, found)).await?;
        let mut work = ctx.work(app.clock.id());
        work.parts = placed(parts)?;
        if ctx.trial {
            work.trial = Some(Trial::Whole);
            operation.commit(app, work).await?;
            return Err(Error::Busy);
        }
        let decided = app.ledger.commit(operation.claimed(work)).await?;
        let word = match &decided {
            Decided::Done(_) => "done",
            Decided::Refused(_, refusal) => refusal.code(),
            _ => "decided_again",
        };
        orders.iter().for_each(|order| app.metrics.dealt(order.kind, word));
        match decided {
            Decided::Done(answers) => return whole(Answered { value: Answer::Bulk(answers), replayed: false }),
            Decided::Refused(place, refusal) => return Err(Error::refused(refusal).at(place)),
            Decided::Replayed(Ok(value)) => return whole(Answered { value, replayed: true }),
            Decided::Replayed(Err(refusal)) => return Err(Error::Refused { refusal, replayed: true }),
            Decided::KeyReused => return Err(Error::KeyReused),
            Decided::SignedOut => return Err(Error::NotSignedIn),
            Decided::PluginChanged | Decided::FlowMoved | Decided::Foreseen(_) => {}
        }
    }
    Err(Error::Busy)
}

/// An independent bulk while it is decided.
struct Independent<'a> {
    app: &'a App,
    ctx: &'a Ctx,
    operation: Begun,
    /// Whether its own operation was found.
    is_known: bool,
}

/// An item that nobody has decided.
struct Pending {
    place: usize,
    order: Arc<Order>,
    begun: Begun,
}

impl Independent<'_> {
    async fn decide(mut self, items: Vec<Keyed>) -> Result<Answered<Outcomes>, Error> {
        let (app, shared) = (self.app, Arc::new(self.ctx.clone()));
        let mut outcomes: Vec<Option<Result<Answered<Answer>, Error>>> = items.iter().map(|_| None).collect();
        let keys: Vec<Option<String>> = items.iter().map(|keyed| keyed.key.clone()).collect();
        let orders = each(items, |keyed| order(app.clone(), Arc::clone(&shared), keyed.item)).await?;
        if self.ctx.trial {
            return self.foresee(placed(orders)?).await;
        }
        self.claim_first().await?;
        let mut pending = Vec::with_capacity(orders.len());
        for (place, (order, key)) in orders.into_iter().zip(keys).enumerate() {
            let begun = order.and_then(|order| {
                let begun = operations::begin_with(app, self.ctx, self.claim(place, &order, key.as_deref()))?;
                Ok(Pending { place, order, begun })
            });
            match begun {
                Ok(item) => pending.push(item),
                Err(error) => outcomes[place] = Some(Err(error)),
            }
        }
        for _ in 0..DECIDED_MAX {
            if !pending.is_empty() {
                pending = self.round(pending, &mut outcomes).await?;
            }
        }
        let outcomes: Outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(Error::Busy))).collect();
        let replayed = outcomes.iter().all(|outcome| {
            matches!(outcome, Ok(Answered { replayed: true, .. }) | Err(Error::Refused { replayed: true, .. }))
        });
        Ok(Answered { value: outcomes, replayed })
    }

    /// The bulk's own key, before any item: another body under it would be refused, and then nothing of this one may be done.
    async fn claim_first(&mut self) -> Result<(), Error> {
        if !self.is_known {
            let claim = self.operation.claimed(self.ctx.work(self.app.clock.id()));
            operations::answered(self.app.ledger.commit(claim).await?)?;
            self.is_known = true;
        }
        Ok(())
    }

    /// The claim of an item. One without a key of its own is bound to the whole body, under a key that no client can send.
    fn claim(&self, place: usize, order: &Order, key: Option<&str>) -> Claim {
        match key {
            Some(key) => order.claim(self.ctx, key, &[]),
            None => {
                order.claim(self.ctx, &format!("{}\u{0}{place}", self.ctx.key), &self.operation.claim.fingerprint.0)
            }
        }
    }

    /// Decides what is pending, and answers what must be decided again because a rule was switched meanwhile.
    async fn round(
        &mut self,
        pending: Vec<Pending>,
        outcomes: &mut [Option<Result<Answered<Answer>, Error>>],
    ) -> Result<Vec<Pending>, Error> {
        let (app, shared) = (self.app, Arc::new(self.ctx.clone()));
        let reads = pending.iter().map(|item| (item.begun.claim, Arc::clone(&item.order)));
        let read = each(reads.collect(), |(claim, order)| read(app.clone(), Arc::clone(&shared), claim, order)).await?;
        let mut open = Vec::with_capacity(pending.len());
        let mut found = Vec::with_capacity(pending.len());
        for (item, read) in pending.into_iter().zip(read) {
            let known = read.and_then(|(known, found)| Ok((item.begun.replay(app, known)?, found)));
            match known {
                Ok((None, one)) => {
                    open.push(item);
                    found.push(one);
                }
                Ok((Some(decided), _)) => outcomes[item.place] = Some(Ok(decided)),
                Err(error) => outcomes[item.place] = Some(Err(error)),
            }
        }
        let orders: Vec<Arc<Order>> = open.iter().map(|item| Arc::clone(&item.order)).collect();
        one_after_another(app, &orders, &mut found);
        let judged = orders.into_iter().zip(found).collect();
        let judged = each(judged, |(order, found)| judge(app.clone(), Arc::clone(&shared), order, found)).await?;
        let mut works = Vec::with_capacity(open.len());
        let mut sent = Vec::with_capacity(open.len());
        for (item, work) in open.into_iter().zip(judged) {
            match work {
                Ok(work) => {
                    works.push(item.begun.claimed(work));
                    sent.push(item);
                }
                Err(error) => outcomes[item.place] = Some(Err(error)),
            }
        }
        let decided = app.ledger.commit_each(works).await?;
        let mut again = Vec::new();
        for (item, decided) in sent.into_iter().zip(decided) {
            let answer = decided.and_then(operations::answered);
            app.metrics.dealt(item.order.kind, operations::result_word(&answer));
            match answer {
                Ok(Some(answered)) => outcomes[item.place] = Some(Ok(answered)),
                Ok(None) => again.push(item),
                Err(error) => outcomes[item.place] = Some(Err(error)),
            }
        }
        Ok(again)
    }

    async fn foresee(self, orders: Vec<Arc<Order>>) -> Result<Answered<Outcomes>, Error> {
        let (app, shared) = (self.app, Arc::new(self.ctx.clone()));
        let claim = self.operation.claim;
        let reads = orders.iter().map(|order| (claim, Arc::clone(order))).collect();
        let found = each(reads, |(claim, order)| read(app.clone(), Arc::clone(&shared), claim, order)).await?;
        let tried = orders.into_iter().zip(placed(found)?).collect();
        let parts = each(tried, |(order, (_, found))| judge(app.clone(), Arc::clone(&shared), order, found)).await?;
        let mut work = self.ctx.work(app.clock.id());
        work.parts = placed(parts)?;
        work.trial = Some(Trial::Each);
        self.operation.commit(app, work).await?;
        Err(Error::Busy)
    }
}

type Read = (Option<Operation>, Option<Found>);

/// What an item needs to know before it is judged.
async fn read(app: App, ctx: Arc<Ctx>, claim: Claim, order: Arc<Order>) -> Result<Read, Error> {
    match &order.dealing {
        Some(dealing) => judged::read(&app, &ctx, &claim, dealing).await.map(|(known, found)| (known, Some(found))),
        None => Ok((None, None)),
    }
}

async fn judge(app: App, ctx: Arc<Ctx>, order: Arc<Order>, found: Option<Found>) -> Result<Work, Error> {
    order.work(&app, &ctx, found).await
}

/// Shows each dealing to the rules as if those before it had been posted.
fn one_after_another(app: &App, orders: &[Arc<Order>], found: &mut [Option<Found>]) {
    let (mut ahead, now) = (HashMap::new(), app.clock.now());
    for (order, found) in orders.iter().zip(found) {
        if let (Some(dealing), Some(found)) = (&order.dealing, found) {
            found.follow(&mut ahead, dealing.amount.minor, now);
        }
    }
}

/// All of them, or the first error with its place.
fn placed<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, Error> {
    results.into_iter().enumerate().map(|(place, result)| result.map_err(|error| error.at(place))).collect()
}

/// Does something for each item, for a bounded number at a time. Answers in the order of the items.
async fn each<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>, Error>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let mut done: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let mut waiting = items.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((place, item)) = waiting.next()
        {
            let work = work(item);
            running.spawn(async move { (place, work.await) });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((place, result))) => done[place] = Some(result),
            Some(Err(error)) => return Err(Error::Internal(error.to_string())),
        }
    }
    Ok(done.into_iter().flatten().collect())
}
