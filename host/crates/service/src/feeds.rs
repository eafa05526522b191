//! Feeds of exchange rates: each exchange's partner is asked from time to time, its plugin reads what came, and the newest rates are kept.
//!
//! A feed is asked by one host at a time, and again when its hour has come. Whatever goes wrong, the rates of before stand until they are too
//! old to be quoted; what went wrong stands beside them for operators.

use std::time::Duration;

use koban_domain::guest::MarketRate;
use koban_domain::manifest::{EndpointSpec, Kind, OperationSpec};
use koban_domain::records::{Input, Output};
use koban_domain::time::Timestamp;
use koban_outside::{Request, Sent};
use koban_runtime::Plugin;
use koban_store::feeds as rows;
pub use koban_store::feeds::FeedRow;
use tokio::sync::watch;

use crate::app::App;
use crate::audit;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::flows::{begin, partner};
use crate::guests::{self, For};
use crate::plugins;

/// How often feeds are looked for that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a feed that failed is asked again.
const AGAIN_MS: i64 = 60_000;
/// Most rates that a feed may have.
const RATES_MAX: usize = 1_000;

/// A plugin's feed as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedView {
    /// When it was asked, when it is asked next, and what went wrong.
    pub row: FeedRow,
    /// The newest rate of each pair.
    pub rates: Vec<MarketRate>,
}

/// How every feed stands, in the order of the plugins.
pub async fn list(app: &App, ctx: &Ctx) -> Result<Vec<FeedView>, Error> {
    ctx.operator()?;
    let mut views = Vec::new();
    for row in rows::list(&app.store).await? {
        let rates = rows::rates(&app.store, &row.plugin).await?;
        views.push(FeedView { row, rates });
    }
    Ok(views)
}

/// Asks a feed at the next look. Errors: there is no such feed.
pub async fn ask_soon(app: &App, ctx: &Ctx, plugin: &str) -> Result<(), Error> {
    ctx.operator()?;
    if !rows::list(&app.store).await?.iter().any(|row| row.plugin == plugin) {
        return Err(Error::NotFound("feed"));
    }
    audit::note(&app.store, &app.clock, ctx, "feed.ask", plugin).await?;
    Ok(rows::ask_soon(&app.store, plugin, app.clock.now()).await?)
}

/// Asks feeds as they become due, until told to stop.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = look(&app).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "feeds could not be seen to; it is tried again");
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// One look: asks every feed that is due.
pub async fn look(app: &App) -> Result<(), Error> {
    for plugin in plugins::all_in_force(app, Kind::Exchange).await? {
        let Some((spec, operation)) = plugin.manifest().feeds().next() else { continue };
        let now = app.clock.now();
        // Taking up writes; whether it is due is only read.
        if rows::due_at(&app.store, plugin.id()).await?.is_some_and(|due| due > now) {
            continue;
        }
        let every_ms = i64::from(operation.feed_every_s.unwrap_or(3_600)) * 1_000;
        if !rows::take_up(&app.store, plugin.id(), now, now.plus_ms(every_ms)).await? {
            continue;
        }
        let read = match fetch(app, &plugin, spec, operation, now).await? {
            Ok(content) => parse(app, &plugin, content).await?,
            Err(why) => Err(why),
        };
        match read {
            Ok(rates) => {
                rows::keep(&app.store, plugin.id(), &rates, app.clock.now()).await?;
                tracing::info!(plugin = plugin.id(), rates = rates.len(), "a feed was read");
            }
            Err(why) => {
                tracing::warn!(plugin = plugin.id(), why, "a feed could not be read; the rates of before stand");
                rows::failed(&app.store, plugin.id(), &why, app.clock.now().plus_ms(AGAIN_MS)).await?;
            }
        }
    }
    Ok(())
}

/// What the partner has, or why it could not be had.
async fn fetch(
    app: &App,
    plugin: &Plugin,
    spec: &EndpointSpec,
    operation: &OperationSpec,
    now: Timestamp,
) -> Result<Result<Vec<u8>, String>, Error> {
    let endpoint = match partner::endpoint(app, plugin.id(), spec, None).await? {
        Ok(endpoint) => endpoint,
        Err(not_ready) => return Ok(Err(not_ready.why())),
    };
    let request = Request {
        method: operation.method,
        path: operation.path.clone(),
        query: Vec::new(),
        body: Vec::new(),
        content_type: "application/octet-stream".to_owned(),
        idempotency_key: None,
        message_id: app.clock.id().to_string(),
        nonce: hex::encode(crate::clock::take::<16>()),
        timeout: Duration::from_secs(u64::from(operation.timeout_s)),
    };
    Ok(match app.outside.send(&endpoint, &request, now).await {
        Sent::Answer(answer) if answer.status == 200 => Ok(answer.body),
        Sent::Answer(answer) => Err(format!("the partner answered with status {}", answer.status)),
        Sent::Refused(why) => Err(why.to_string()),
        Sent::NotSent(why) => Err(why.to_string()),
        Sent::Unknown(why) => Err(why.to_string()),
        Sent::BadSignature(why) => Err(why.to_string()),
    })
}

/// What the plugin reads in it: the whole feed or why not.
async fn parse(app: &App, plugin: &Plugin, content: Vec<u8>) -> Result<Result<Vec<MarketRate>, String>, Error> {
    let (answer, record) = guests::call(app, plugin, For::PLATFORM, Input::ParseRates(content)).await;
    begin::keep(app, &Ctx::new(Actor::System, ""), vec![record]).await?;
    Ok(match answer {
        Ok(Output::Rates(rates)) if rates.is_empty() => Err("the plugin found no rates in it".to_owned()),
        Ok(Output::Rates(rates)) if rates.len() > RATES_MAX => {
            Err(format!("it has {} rates, at most {RATES_MAX} are taken", rates.len()))
        }
        Ok(Output::Rates(rates)) => Ok(rates),
        Ok(Output::Failure(failure)) => Err(format!("{}: {}", failure.code, failure.message)),
        Ok(_) => Err("the plugin gave another answer".to_owned()),
        Err(fault) => Err(format!("the plugin faulted: {fault}")),
    })
}
