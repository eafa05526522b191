//! What plugins hear: events, each once and in order, and what operators see of it and do with what a plugin could not take.

mod ask;
mod hear;

use std::collections::BTreeSet;

use koban_domain::events::Concern;
use koban_domain::gifts::Bound;
use koban_domain::ids::{CampaignId, EventId, UserId};
use koban_domain::ledger::{Decided, News};
use koban_domain::manifest::Kind;
use koban_domain::records::{Fault, FaultClass};
use koban_domain::subscriptions::{Parked, Subscription, Whose};
use koban_store::{payments, subscriptions as rows};
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::loaded::loaded;
use crate::metrics::Of;
use crate::page::{Page, Paged};
use crate::plugins::{self, check_reason};
use crate::users::audit;
use ask::Asked;

pub(crate) use hear::run;

/// How far a plugin has heard, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// The subscription.
    pub subscription: Subscription,
    /// Commits with news that it has not looked at yet.
    pub behind: i64,
}

/// Most subscriptions that are listed; far more than a platform has tools.
const LISTED_MAX: u16 = 1_000;
/// How often an act of an operator is tried again because the plugin got on meanwhile.
const ROUNDS_MAX: u32 = 20;

/// Every plugin that hears, in the order of their ids.
pub async fn list(app: &App) -> Result<Vec<SubscriptionView>, Error> {
    let written = app.store.lane_head().await?.outbox_sequence;
    let all = rows::list(&app.store, "", LISTED_MAX).await?;
    Ok(all.into_iter().map(|subscription| SubscriptionView::of(subscription, written)).collect())
}

/// One of them.
pub async fn get(app: &App, plugin: &str) -> Result<SubscriptionView, Error> {
    let written = app.store.lane_head().await?.outbox_sequence;
    Ok(SubscriptionView::of(by_plugin(app, plugin).await?, written))
}

impl SubscriptionView {
    fn of(subscription: Subscription, written: i64) -> SubscriptionView {
        let behind = (written - subscription.sequence).max(0);
        SubscriptionView { subscription, behind }
    }
}

/// Events that a plugin could not take, the oldest first.
pub async fn parked(app: &App, plugin: &str, page: &Page) -> Result<Paged<Parked>, Error> {
    by_plugin(app, plugin).await?;
    let limit = page.limit()?;
    let found = rows::parked(&app.store, plugin, page.before()?.map(EventId), limit + 1).await?;
    Ok(Paged::of(found, limit, |parked| parked.news.id.bytes().to_vec()))
}

/// Gives an event that was put aside to its plugin once more. Errors: what the plugin did; the event then stays where it is.
pub async fn retry(app: &App, ctx: &Ctx, plugin: &str, event: EventId) -> Result<SubscriptionView, Error> {
    ctx.operator()?;
    for _ in 0..ROUNDS_MAX {
        let (subscription, parked) = (by_plugin(app, plugin).await?, by_event(app, plugin, event).await?);
        let now = app.clock.now();
        let concern = ask::concerned(app, &parked.news).await?;
        check_still_so(app, &parked.news, &concern).await?;
        let (scope, in_force) = ask::chosen(&app.ledger.policy(), plugin, &parked.news, &concern)
            .ok_or_else(|| Error::Conflict(format!("`{plugin}` is not switched on; enable it first")))?;
        let tool = loaded(app, in_force.digest, in_force.settings).await?;
        let known = rows::remembered(&app.store, plugin, concern.user).await?;
        let (asked, record) = ask::ask(app, (&scope, &tool), (&parked.news, concern), &known).await?;
        let mut work = ctx.work(app.clock.id());
        let outcome = match asked {
            Asked::Busy => return Err(Error::Busy),
            Asked::Answered(answer) => match subscription.took(None, (&known, &answer.puts), now) {
                Ok(heard) => {
                    work.commands = answer.commands;
                    work.heard = Some(Box::new(heard.unpark(event)));
                    Ok(())
                }
                Err(too_much) => Err(too_much.to_string()),
            },
            Asked::Faulted(why) => Err(why),
        };
        if let Err(why) = &outcome {
            let again = Parked { reason: why.clone(), decision: Some(record.id), ..parked };
            work.heard = Some(Box::new(subscription.parks_again(again, now)));
        }
        let detail = json!({ "event": event, "taken": outcome.is_ok(), "decision": record.id }).to_string();
        work.audit = vec![audit(app, ctx, "subscription.retry", plugin.to_owned(), &detail)];
        work.relies_on = vec![ask::reliance(&tool)];
        work.records = vec![record];
        match app.ledger.commit(work).await? {
            Decided::Done(_) => {
                return match outcome {
                    Ok(()) => get(app, plugin).await,
                    Err(detail) => {
                        let fault = Fault { class: FaultClass::BadAnswer, detail };
                        Err(Error::PluginFault { plugin: plugin.to_owned(), fault })
                    }
                };
            }
            Decided::Refused(_, refusal) => return Err(Error::refused(refusal)),
            Decided::SignedOut => return Err(Error::NotSignedIn),
            _ => {}
        }
    }
    Err(Error::Busy)
}

/// A plugin that hears of a payment now has heard of its refunds already, and would never take back its share of them.
async fn check_still_so(app: &App, news: &News, concern: &Concern) -> Result<(), Error> {
    let is_paid = matches!(news.kind.as_str(), "payment.captured" | "capture.posted");
    let Some(payment) = concern.payment.filter(|_| is_paid) else { return Ok(()) };
    match payments::by_id(&app.store, payment).await? {
        Some(payment) if payment.refunded > 0 => Err(Error::Conflict(format!(
            "{} was given back meanwhile, of which the plugin has heard: dismiss the event, and grant what is owed by hand",
            payment.id
        ))),
        _ => Ok(()),
    }
}

/// Gives up an event that was put aside: it is never given to the plugin again.
pub async fn dismiss(
    app: &App,
    ctx: &Ctx,
    plugin: &str,
    (event, reason): (EventId, &str),
) -> Result<SubscriptionView, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    for _ in 0..ROUNDS_MAX {
        let (subscription, _) = (by_plugin(app, plugin).await?, by_event(app, plugin, event).await?);
        let mut work = ctx.work(app.clock.id());
        let detail = json!({ "event": event, "reason": reason }).to_string();
        work.audit = vec![audit(app, ctx, "subscription.dismiss", plugin.to_owned(), &detail)];
        work.heard = Some(Box::new(subscription.dismissed(event, app.clock.now())));
        match app.ledger.commit(work).await? {
            Decided::Done(_) => return get(app, plugin).await,
            Decided::SignedOut => return Err(Error::NotSignedIn),
            _ => {}
        }
    }
    Err(Error::Busy)
}

/// What metrics say of plugins that hear.
pub(crate) async fn measure(app: &App) -> Result<(), Error> {
    for SubscriptionView { subscription, behind } in list(app).await? {
        let of = Of { plugin: subscription.plugin };
        app.metrics.subscription_behind.get_or_create(&of).set(behind);
        app.metrics.subscription_parked.get_or_create(&of).set(subscription.parked);
    }
    Ok(())
}

/// Up to which page of the outbox every plugin in force has heard; none if none hears. One that is switched off holds nothing back.
pub(crate) async fn heard_by_all(app: &App) -> Result<Option<i64>, Error> {
    let policy = app.ledger.policy();
    let all = rows::list(&app.store, "", LISTED_MAX).await?;
    let listening: BTreeSet<&str> = policy.deciding_of(Kind::MerchantTool).map(|(plugin, _)| plugin).collect();
    let in_force = all.iter().filter(|subscription| listening.contains(subscription.plugin.as_str()));
    Ok(in_force.map(|subscription| subscription.sequence).min())
}

/// Has every plugin forget what it has remembered about a user.
pub(crate) async fn forget_user(app: &App, ctx: &Ctx, user: UserId) -> Result<(), Error> {
    for SubscriptionView { subscription, .. } in list(app).await? {
        let (plugin, mut subscription) = (subscription.plugin.clone(), subscription);
        let mut rounds = 0..ROUNDS_MAX;
        loop {
            let mut known = rows::remembered(&app.store, &plugin, Some(user)).await?;
            known.retain(|kept| kept.whose == Whose(user));
            if known.is_empty() {
                break;
            }
            rounds.next().ok_or(Error::Busy)?;
            let mut work = ctx.work(app.clock.id());
            work.heard = Some(Box::new(subscription.forgets(&known, app.clock.now())));
            if matches!(app.ledger.commit(work).await?, Decided::SignedOut) {
                return Err(Error::NotSignedIn);
            }
            subscription = by_plugin(app, &plugin).await?;
        }
    }
    Ok(())
}

async fn by_plugin(app: &App, plugin: &str) -> Result<Subscription, Error> {
    rows::by_plugin(&app.store, plugin).await?.ok_or(Error::NotFound("subscription"))
}

async fn by_event(app: &App, plugin: &str, event: EventId) -> Result<Parked, Error> {
    rows::parked_by_id(&app.store, plugin, event).await?.ok_or(Error::NotFound("parked event"))
}

/// Whether a campaign may be bound as it says: the plugin is installed and has such a budget, and no other campaign is bound to it.
pub(crate) async fn check_bound(app: &App, campaign: CampaignId, bound: &Bound) -> Result<(), Error> {
    let plugin = plugins::get(app, &bound.plugin).await.map_err(|error| match error {
        Error::NotFound(_) => Error::invalid("bound.plugin", format!("no plugin `{}` is installed", bound.plugin)),
        other => other,
    })?;
    if plugin.kind != Kind::MerchantTool || !plugin.manifest.budgets.iter().any(|budget| budget.name == bound.budget) {
        let problem = format!("the manifest of `{}` has no budget `{}`", bound.plugin, bound.budget);
        return Err(Error::invalid("bound.budget", problem));
    }
    match rows::budgets(&app.store, &bound.plugin).await?.get(&bound.budget) {
        Some(other) if other.id != campaign => Err(Error::Conflict(format!(
            "campaign {} is bound to the budget `{}` of `{}` already; take it off there first",
            other.id, bound.budget, bound.plugin
        ))),
        _ => Ok(()),
    }
}
