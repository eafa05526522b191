//! What a back-test costs: recorded decisions asked again with another threshold, beside as many raw calls of the same component, both
//! on all cores.

use std::sync::Arc;
use std::time::Duration;

use koban_domain::guest::{Context, Named, Value};
use koban_domain::ids::{PaymentId, RecordId};
use koban_domain::ledger::{Decided, Work};
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use koban_service::backtests::{self, Report, Trial};
use koban_service::guests::{self, For};
use tokio::task::JoinSet;

use super::clients::now;
use super::figures;
use super::random::Random;
use super::workloads::question;
use super::world::World;

/// Records in one commit.
const AT_ONCE: u64 = 500;
/// Amounts are 1 to this many yen: most below the threshold, some between the two, some above.
const YEN_MAX: u64 = 100_000;
/// The threshold that is tried; the one in force is 50,000 yen.
const THRESHOLD_YEN: i64 = 30_000;

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Backtests {
    /// Decisions asked again, per second: the median of the repetitions.
    pub(super) per_second: f64,
    /// Raw calls, per second, alike.
    pub(super) raw_per_second: f64,
    /// Decisions there were.
    pub(super) decisions: u64,
    /// Those that would have been others.
    pub(super) flips: u64,
    /// Cores that both had.
    pub(super) cores: u64,
}

/// Records so many decisions, and asks all of them again so many times.
pub(super) async fn measure(world: &Arc<World>, decisions: u64, repetitions: u64) -> anyhow::Result<Backtests> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(1));
    let from = world.app.clock.now();
    let each = decisions / cores;
    on_all(cores, |core| record(Arc::clone(world), core, each)).await?;
    let to = world.app.clock.now().plus_ms(1);
    let (mut rates, mut raws, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..repetitions {
        raws.push(figures::per_second(each * cores, on_all(cores, |core| raw(Arc::clone(world), core, each)).await?));
        let began = now();
        let report = again(world, (from, to)).await?;
        rates.push(figures::per_second(report.totals.decisions, now() - began));
        last = Some(report.totals);
    }
    let (decisions, flips) = last.map_or((0, 0), |totals| (totals.decisions, totals.flips));
    Ok(Backtests { per_second: figures::median(rates), raw_per_second: figures::median(raws), decisions, flips, cores })
}

/// The same work on every core; answers how long it took.
async fn on_all<F>(cores: u64, work: impl Fn(u64) -> F) -> anyhow::Result<Duration>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let began = now();
    let mut tasks: JoinSet<anyhow::Result<()>> = (0..cores).map(work).collect();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(now() - began)
}

async fn record(world: Arc<World>, core: u64, count: u64) -> anyhow::Result<()> {
    let (app, mut random) = (&world.app, Random::new(1, core));
    let mut records = Vec::new();
    for number in 1..=count {
        let amount = Money::yen(i64::try_from(1 + random.next() % YEN_MAX)?);
        let id = PaymentId(app.clock.id()).to_string();
        let (answer, record) = guests::call(app, &world.rules, For::PLATFORM, question(&id, amount)).await;
        answer?;
        records.push(record);
        if number % AT_ONCE == 0 || number == count {
            let work = Work { records: std::mem::take(&mut records), ..Work::new(app.clock.id(), "system") };
            let decided = app.ledger.commit(work).await?;
            anyhow::ensure!(matches!(decided, Decided::Done(_)), "records were decided as {decided:?}");
        }
    }
    Ok(())
}

async fn raw(world: Arc<World>, core: u64, count: u64) -> anyhow::Result<()> {
    let mut random = Random::new(1, core);
    for _ in 0..count {
        let id = world.app.clock.id();
        let amount = Money::yen(i64::try_from(1 + random.next() % YEN_MAX)?);
        let context = Context {
            call: RecordId(id).to_string(),
            scope: "platform".to_owned(),
            now: u64::try_from(world.app.clock.now().0).unwrap_or(0),
            seed: 7,
            locale: "ja".to_owned(),
        };
        let question = question(&PaymentId(id).to_string(), amount);
        world.app.door.call_raw(&world.rules, &context, &question).await?;
    }
    Ok(())
}

async fn again(world: &World, (from, to): (Timestamp, Timestamp)) -> anyhow::Result<Report> {
    let app = &world.app;
    let component = koban_store::plugins::component(&app.store, world.rules.digest()).await?;
    let component = component.ok_or_else(|| anyhow::anyhow!("the rules' component is not there"))?;
    let threshold = Named { name: "amount_high".to_owned(), value: Value::Amount(Money::yen(THRESHOLD_YEN)) };
    let settings = backtests::settings(app, &component.manifest, &[threshold]).await?;
    let (component, manifest) = (component.bytes, component.manifest);
    let trial = Trial { component, manifest, settings, from, to, flips_max: None };
    Ok(backtests::run(app, trial, None, &|_| {}).await?)
}
