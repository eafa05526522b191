//! Bonus: campaigns with a budget, what they grant, and what operators do with it. Users see their lots.

use koban_domain::bonus::{Campaign, Grant, LASTS_MS_MAX, Lot, OfLot, Plan, Revoke};
use koban_domain::gifts::Bound;
use koban_domain::ids::{CampaignId, LotId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::time::Timestamp;
use koban_store::bonus as rows;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::captures::end_all;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::payments::check_amount;
use crate::plugins::check_reason;
use crate::subscriptions;
use crate::users::audit;

/// Most lots that are ended in one go, and so perhaps in one commit.
const ENDED_AT_ONCE: u16 = 256;
/// Most days that a lot lasts that a plugin has granted: 5 years.
const LASTS_DAYS_MAX: u16 = 1_827;
/// Most rounds of one sweep.
const ROUNDS_MAX: u32 = 40;

/// How an operator wants a campaign to be.
#[derive(Debug, Clone, Serialize)]
pub struct CampaignInput {
    /// What people know it by.
    pub name: String,
    /// The most that it may ever grant.
    pub budget: Money,
    /// Whether it grants.
    pub open: bool,
    /// From when on it grants nothing more.
    pub ends_at: Option<Timestamp>,
    /// The most that one user may ever have from it, minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_user: Option<i64>,
    /// The one budget of a plugin that may have it grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// Why.
    pub reason: String,
}

#[derive(Serialize)]
struct Change<'a> {
    campaign: CampaignId,
    input: &'a CampaignInput,
}

/// Makes a campaign.
pub async fn begin(app: &App, ctx: &Ctx, input: CampaignInput) -> Result<Answered<Campaign>, Error> {
    let id = CampaignId(app.clock.id());
    plan(app, ctx, ("POST /v1/operator/campaigns", &input), (id, "campaign.create"), &input).await
}

/// Changes a campaign: its name, its budget, or whether it grants.
pub async fn change(app: &App, ctx: &Ctx, id: CampaignId, input: CampaignInput) -> Result<Answered<Campaign>, Error> {
    campaign(app, id).await?;
    let asked = Change { campaign: id, input: &input };
    plan(app, ctx, ("PUT /v1/operator/campaigns/{id}", &asked), (id, "campaign.change"), &input).await
}

async fn plan(
    app: &App,
    ctx: &Ctx,
    (route, asked): (&str, &impl Serialize),
    (campaign, act): (CampaignId, &str),
    input: &CampaignInput,
) -> Result<Answered<Campaign>, Error> {
    ctx.operator()?;
    check_reason(&input.reason)?;
    if input.budget.minor < 1 || input.budget.minor > 1_000_000_000_000 {
        return Err(Error::invalid("budget", "give whole minor units, 1 to 1,000,000,000,000"));
    }
    if input.name.trim().is_empty() || input.name.chars().count() > 100 {
        return Err(Error::invalid("name", "use 1 to 100 characters"));
    }
    if input.per_user.is_some_and(|most| !(1..=1_000_000_000_000).contains(&most)) {
        return Err(Error::invalid("per_user", "give whole minor units, 1 to 1,000,000,000,000, or leave it out"));
    }
    if let Some(bound) = &input.bound {
        if !(1..=LASTS_DAYS_MAX).contains(&bound.lasts_days) {
            return Err(Error::invalid("bound.lasts_days", format!("use 1 to {LASTS_DAYS_MAX} days")));
        }
        subscriptions::check_bound(app, campaign, bound).await?;
    }
    let CampaignInput { name, budget, open, ends_at, per_user, bound, reason } = input.clone();
    let to = bound.as_ref().map(|bound| json!({ "plugin": bound.plugin, "budget": bound.budget }));
    let detail =
        json!({ "budget": budget.to_string(), "open": open, "per_user": per_user, "bound": to, "reason": reason });
    let detail = detail.to_string();
    let row = audit(app, ctx, act, campaign.to_string(), &detail);
    let command = Command::Plan(Plan { campaign, name, budget, open, ends_at, per_user, bound });
    operations::act(app, ctx, (route, asked), command, Some(row)).await?.expect(|answer| match answer {
        Answer::Planned(campaign) => Some(campaign),
        _ => None,
    })
}

/// One campaign.
pub async fn campaign(app: &App, id: CampaignId) -> Result<Campaign, Error> {
    rows::campaign_by_id(&app.store, id).await?.ok_or(Error::NotFound("campaign"))
}

/// Campaigns, newest first.
pub async fn campaigns(app: &App, page: &Page) -> Result<Paged<Campaign>, Error> {
    let limit = page.limit()?;
    let rows = rows::campaigns(&app.store, page.before()?.map(CampaignId), limit + 1).await?;
    Ok(Paged::of(rows, limit, |campaign| campaign.id.bytes().to_vec()))
}

/// What an operator has a campaign grant.
#[derive(Debug, Clone, Serialize)]
pub struct GrantInput {
    /// Which campaign.
    pub campaign: CampaignId,
    /// To whom.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// From when on it may be spent; at once if it does not say.
    pub usable_from: Option<Timestamp>,
    /// From when on it may not be spent any more.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Grants a user a lot of bonus out of a campaign's budget.
pub async fn grant(app: &App, ctx: &Ctx, input: GrantInput) -> Result<Answered<Lot>, Error> {
    ctx.operator()?;
    check_amount(input.amount)?;
    check_reason(&input.reason)?;
    if input.expires_at.since_ms(app.clock.now()) > LASTS_MS_MAX {
        return Err(Error::invalid("expires_on", "name a day within the next 5 years"));
    }
    let lot = LotId(app.clock.id());
    let GrantInput { campaign, user, amount, usable_from, expires_at, reason } = input.clone();
    let detail = json!({ "user": user, "campaign": campaign, "amount": amount.to_string(), "reason": reason });
    let row = audit(app, ctx, "bonus.grant", lot.to_string(), &detail.to_string());
    let command = Command::Grant(Grant { lot, user, campaign, amount, usable_from, expires_at, reason });
    let answer = operations::act(app, ctx, ("POST /v1/operator/campaigns/{id}/grants", &input), command, Some(row));
    answer.await?.expect(granted)
}

#[derive(Serialize)]
struct AskedOfLot<'a> {
    lot: LotId,
    reason: &'a str,
}

/// Takes back what is left of a lot. What was spent stays spent.
pub async fn revoke(app: &App, ctx: &Ctx, id: LotId, reason: &str) -> Result<Answered<Lot>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let of = OfLot::from(&lot(app, id).await?);
    let row = audit(app, ctx, "bonus.revoke", id.to_string(), &json!({ "reason": reason }).to_string());
    let command = Command::Revoke(Revoke { of, reason: reason.to_owned() });
    let asked = AskedOfLot { lot: id, reason };
    operations::act(app, ctx, ("POST /v1/operator/lots/{id}/revoke", &asked), command, Some(row)).await?.expect(granted)
}

/// Lets a lot be spent before its date.
pub async fn release(app: &App, ctx: &Ctx, id: LotId, reason: &str) -> Result<Answered<Lot>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let of = OfLot::from(&lot(app, id).await?);
    let row = audit(app, ctx, "bonus.release", id.to_string(), &json!({ "reason": reason }).to_string());
    let (command, asked) = (Command::Release(of), AskedOfLot { lot: id, reason });
    let route = "POST /v1/operator/lots/{id}/release";
    operations::act(app, ctx, (route, &asked), command, Some(row)).await?.expect(granted)
}

fn granted(answer: Answer) -> Option<Lot> {
    match answer {
        Answer::Granted(lot) => Some(lot),
        Answer::Ended(ended) => Some(ended.lot),
        _ => None,
    }
}

/// One lot.
pub async fn lot(app: &App, id: LotId) -> Result<Lot, Error> {
    rows::lot_by_id(&app.store, id).await?.ok_or(Error::NotFound("lot"))
}

/// What a user was granted, newest first: lots that were spent or ended, too.
pub async fn lots_of(app: &App, user: UserId, page: &Page) -> Result<Paged<Lot>, Error> {
    let limit = page.limit()?;
    let rows = rows::lots_of(&app.store, user, page.before()?.map(LotId), limit + 1).await?;
    Ok(Paged::of(rows, limit, |lot| lot.id.bytes().to_vec()))
}

/// What a wallet has of bonus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BonusView {
    /// What is left, held or for later included, as long as its time lasts.
    pub left: Money,
    /// What of it may be spent now.
    pub usable: Money,
    /// What of it ends next, and when; none if nothing is left.
    pub next: Option<(Money, Timestamp)>,
}

/// What a wallet has of bonus at this time. What is over is not told, whether a sweeper has come or not.
pub(crate) async fn view(app: &App, user: UserId, currency: Currency, now: Timestamp) -> Result<BonusView, Error> {
    let mut lots = rows::lots_left(&app.store, user, currency).await?;
    lots.retain(|lot| !lot.is_over(now));
    let money = |lots: &mut dyn Iterator<Item = i64>| Money::new(lots.sum(), currency);
    let next = lots.iter().map(|lot| lot.expires_at).min();
    Ok(BonusView {
        left: money(&mut lots.iter().map(|lot| lot.left)),
        usable: money(&mut lots.iter().map(|lot| lot.usable(now))),
        next: next.map(|end| (money(&mut lots.iter().filter(|lot| lot.expires_at == end).map(|lot| lot.left)), end)),
    })
}

/// Ends what is left of every lot whose time has run out. What is refused here is over already, or somebody has just spent it.
pub(crate) async fn expire_due(app: &App, now: Timestamp) -> Result<(), Error> {
    for _ in 0..ROUNDS_MAX {
        let due = rows::due(&app.store, now, ENDED_AT_ONCE).await?;
        let full = due.len() == usize::from(ENDED_AT_ONCE);
        if !end_all(app, due.iter().map(|lot| Command::Lapse(OfLot::from(lot)))).await? || !full {
            break;
        }
    }
    Ok(())
}
