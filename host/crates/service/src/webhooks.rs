//! Webhooks: where merchants and the platform are told of events, and what became of each telling.

mod deliver;
mod keys;

use koban_domain::events;
use koban_domain::ids::{EventId, MerchantId, WebhookId};
use koban_domain::time::Timestamp;
use koban_domain::webhooks::GIVE_UP_MS;
use koban_outside::PublicKey;
use koban_outside::webhook::Receiver;
use koban_store::webhooks::deliveries;
use koban_store::webhooks::{self as rows, Change, WebhookRow, fan_out};

use crate::app::App;
use crate::audit;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::page::{Page, Paged};
use crate::users;

pub(crate) use deliver::run;
pub use koban_store::webhooks::deliveries::{DeliveryRow, State as DeliveryState};

/// Most endpoints of one owner.
pub const ENDPOINTS_MAX: i64 = 16;
/// The longest overlap of old and new keys: seven days.
pub const OVERLAP_MAX_S: u32 = 7 * 86_400;

/// What an endpoint is made from, or is set to.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where: `https://host[:port][/path]`.
    pub url: String,
    /// The types of events it is told; all that its owner may see if there are none.
    pub types: Vec<String>,
    /// What its owner calls it, at most 100 characters.
    pub description: String,
    /// Whether anything is sent. A new endpoint is switched on, whatever this says.
    pub enabled: bool,
    /// Only operators may say so: it may have a private address, and no TLS there. None leaves it as it is, except that a new address of a
    /// merchant's is not covered by what an operator said of the old one.
    pub allow_private: Option<bool>,
}

/// An endpoint, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookView {
    /// Which.
    pub id: WebhookId,
    /// Whose; none for the platform's own.
    pub merchant: Option<MerchantId>,
    /// Where.
    pub url: String,
    /// The types of events it is told; all if there are none.
    pub types: Vec<String>,
    /// What its owner calls it.
    pub description: String,
    /// With which its `v1a` signatures are checked.
    pub public_key: String,
    /// Until when messages are also signed with the keys before.
    pub old_keys_until: Option<Timestamp>,
    /// An operator lets it have a private address.
    pub allow_private: bool,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Why not, if the host switched it off.
    pub disabled_reason: Option<String>,
    /// Since when every attempt failed.
    pub failing_since: Option<Timestamp>,
    /// Whether it is being told once more.
    pub replaying: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// What is told once, when keys are made.
#[derive(Debug)]
pub struct NewKeys {
    /// The endpoint.
    pub endpoint: WebhookView,
    /// The shared secret, `whsec_…`: shown once and never again.
    pub secret: String,
}

/// What to send once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// One event that the endpoint was given.
    Event(EventId),
    /// Everything since a time, as far as the outbox reaches back.
    Since(Timestamp),
}

/// Makes an endpoint of this owner: a merchant, or none for the platform. It is told what is committed from now on.
pub async fn create(app: &App, ctx: &Ctx, owner: Option<MerchantId>, input: Input) -> Result<NewKeys, Error> {
    check_owner(ctx, owner)?;
    if let Some(merchant) = owner {
        koban_store::merchants::by_id(&app.store, merchant).await?.ok_or(Error::NotFound("merchant"))?;
    }
    let allow_private = allowed(ctx, input.allow_private)?.unwrap_or(false);
    let checked = check(owner, input, allow_private)?;
    let (id, now) = (WebhookId(app.clock.id()), app.clock.now());
    let (sealed, fresh) = keys::make(app, id)?;
    let row = WebhookRow {
        id,
        merchant: owner,
        url: checked.url,
        types: checked.types,
        description: checked.description,
        keys: sealed,
        old_keys: None,
        public_key: fresh.public_key,
        allow_private,
        enabled: true,
        disabled_reason: None,
        health: koban_domain::webhooks::Health::default(),
        since_sequence: 0,
        next_sequence: 1,
        replay: None,
        created_at: now,
        changed_at: now,
    };
    let audit = users::audit(app, ctx, "webhook.create", row.id.to_string(), &told(&row.url, allow_private));
    if !rows::create(&app.store, &row, ENDPOINTS_MAX, &audit).await? {
        return Err(Error::Conflict(format!("there are {ENDPOINTS_MAX} endpoints already; remove one first")));
    }
    Ok(NewKeys { endpoint: WebhookView::of(row, now), secret: fresh.secret })
}

/// Sets an endpoint, whole. Switched on again it forgets that it failed; what it missed is there to be replayed.
pub async fn set(
    app: &App,
    ctx: &Ctx,
    owner: Option<MerchantId>,
    id: WebhookId,
    input: Input,
) -> Result<WebhookView, Error> {
    let row = own(app, ctx, owner, id).await?;
    let moved = row.url != input.url;
    let allow_private = match (allowed(ctx, input.allow_private)?, ctx.actor) {
        (Some(said), _) => said,
        // What an operator said was said of that address.
        (None, Actor::Merchant(..)) => row.allow_private && !moved,
        (None, _) => row.allow_private,
    };
    let checked = check(row.merchant, input, allow_private)?;
    set_row(app, ctx, id, &checked).await
}

async fn set_row(app: &App, ctx: &Ctx, id: WebhookId, change: &Change) -> Result<WebhookView, Error> {
    let audit = users::audit(app, ctx, "webhook.set", id.to_string(), &told(&change.url, change.allow_private));
    if !rows::change(&app.store, id, change, &audit, app.clock.now()).await? {
        return Err(Error::NotFound("webhook endpoint"));
    }
    let row = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("webhook endpoint"))?;
    Ok(WebhookView::of(row, app.clock.now()))
}

/// Gives an endpoint new keys. For the overlap messages are signed with the old ones as well.
pub async fn rotate(
    app: &App,
    ctx: &Ctx,
    owner: Option<MerchantId>,
    id: WebhookId,
    overlap_s: u32,
) -> Result<NewKeys, Error> {
    if overlap_s > OVERLAP_MAX_S {
        return Err(Error::invalid("overlap_s", format!("use 0 to {OVERLAP_MAX_S} seconds")));
    }
    own(app, ctx, owner, id).await?;
    let now = app.clock.now();
    let (sealed, fresh) = keys::make(app, id)?;
    let until = now.plus_ms(i64::from(overlap_s) * 1_000);
    let audit = users::audit(app, ctx, "webhook.rotate", id.to_string(), &format!("{{\"old_until\":\"{until}\"}}"));
    if !rows::rotate(&app.store, id, (&sealed, fresh.public_key), until, &audit, now).await? {
        return Err(Error::NotFound("webhook endpoint"));
    }
    let endpoint = get(app, ctx, owner, id).await?;
    Ok(NewKeys { endpoint, secret: fresh.secret })
}

/// Takes an endpoint away with all that it was given.
pub async fn remove(app: &App, ctx: &Ctx, owner: Option<MerchantId>, id: WebhookId) -> Result<(), Error> {
    own(app, ctx, owner, id).await?;
    let audit = users::audit(app, ctx, "webhook.remove", id.to_string(), "{}");
    rows::remove(&app.store, id, &audit, app.clock.now()).await?;
    Ok(())
}

/// One endpoint.
pub async fn get(app: &App, ctx: &Ctx, owner: Option<MerchantId>, id: WebhookId) -> Result<WebhookView, Error> {
    Ok(WebhookView::of(own(app, ctx, owner, id).await?, app.clock.now()))
}

/// A merchant's endpoints, or for operators everybody's; newest first.
pub async fn list(app: &App, ctx: &Ctx, owner: Option<MerchantId>, page: &Page) -> Result<Paged<WebhookView>, Error> {
    check_owner(ctx, owner)?;
    let (limit, before) = (page.limit()?, page.before()?.map(WebhookId));
    let found = rows::list(&app.store, owner, before, limit + 1).await?;
    let now = app.clock.now();
    Ok(Paged::of(found, limit, |row| row.id.bytes().to_vec()).map(|row| WebhookView::of(row, now)))
}

/// What an endpoint was given, newest first.
pub async fn deliveries(
    app: &App,
    ctx: &Ctx,
    owner: Option<MerchantId>,
    id: WebhookId,
    page: &Page,
) -> Result<Paged<DeliveryRow>, Error> {
    own(app, ctx, owner, id).await?;
    let (limit, before) = (page.limit()?, page.place::<8>()?.map(i64::from_be_bytes));
    let found = deliveries::list(&app.store, id, before, limit + 1).await?;
    Ok(Paged::of(found, limit, |row| row.sequence.to_be_bytes().to_vec()))
}

/// One event as an endpoint was given it.
pub async fn delivery(
    app: &App,
    ctx: &Ctx,
    owner: Option<MerchantId>,
    id: WebhookId,
    event: EventId,
) -> Result<DeliveryRow, Error> {
    own(app, ctx, owner, id).await?;
    deliveries::by_event(&app.store, id, event).await?.ok_or(Error::NotFound("event of this endpoint"))
}

/// Sends again: one event, delivered or not, or everything since a time. It is done by the host's jobs.
pub async fn replay(app: &App, ctx: &Ctx, owner: Option<MerchantId>, id: WebhookId, again: Again) -> Result<(), Error> {
    let row = own(app, ctx, owner, id).await?;
    if !row.enabled {
        return Err(Error::Conflict("this endpoint is switched off; switch it on first".into()));
    }
    noted(app, ctx, "webhook.replay", id).await?;
    let now = app.clock.now();
    match again {
        Again::Event(event) => {
            if !deliveries::again(&app.store, id, event, now, now.plus_ms(GIVE_UP_MS)).await? {
                return Err(Error::NotFound("event of this endpoint"));
            }
        }
        Again::Since(since) => {
            if !fan_out::ask_again(&app.store, id, since).await? {
                return Err(Error::Conflict("this endpoint is being told once more already; wait for its end".into()));
            }
        }
    }
    app.bell.webhooks();
    Ok(())
}

/// Gives an endpoint an event that says nothing, signed like any other. Answers its id.
pub async fn test(app: &App, ctx: &Ctx, owner: Option<MerchantId>, id: WebhookId) -> Result<EventId, Error> {
    let row = own(app, ctx, owner, id).await?;
    if !row.enabled {
        return Err(Error::Conflict("this endpoint is switched off; switch it on first".into()));
    }
    noted(app, ctx, "webhook.test", id).await?;
    let now = app.clock.now();
    let news = events::test(EventId(app.clock.id()), now);
    if !deliveries::give(&app.store, id, &news, now.plus_ms(GIVE_UP_MS)).await? {
        return Err(Error::NotFound("webhook endpoint"));
    }
    app.bell.webhooks();
    Ok(news.id)
}

/// What operators have an endpoint told is in the audit log; a merchant's own is its own.
async fn noted(app: &App, ctx: &Ctx, act: &str, id: WebhookId) -> Result<(), Error> {
    match ctx.actor {
        Actor::Operator(_) | Actor::CommandLine(_) => {
            audit::note(&app.store, &app.clock, ctx, act, &id.to_string()).await
        }
        _ => Ok(()),
    }
}

async fn own(app: &App, ctx: &Ctx, owner: Option<MerchantId>, id: WebhookId) -> Result<WebhookRow, Error> {
    check_owner(ctx, owner)?;
    let row = rows::by_id(&app.store, id).await?;
    // Operators name no owner and may touch every endpoint.
    row.filter(|row| owner.is_none() || row.merchant == owner).ok_or(Error::NotFound("webhook endpoint"))
}

fn check_owner(ctx: &Ctx, owner: Option<MerchantId>) -> Result<(), Error> {
    match ctx.actor {
        Actor::Operator(_) | Actor::CommandLine(_) => Ok(()),
        Actor::Merchant(own, _) if Some(own) == owner => Ok(()),
        Actor::Merchant(..) => Err(Error::NotFound("webhook endpoint")),
        Actor::User(_) | Actor::Schedule(..) | Actor::IdentityCheck | Actor::System => {
            Err(Error::Forbidden("only merchants and operators have to do with webhooks"))
        }
    }
}

/// Only an operator's word opens private addresses.
fn allowed(ctx: &Ctx, said: Option<bool>) -> Result<Option<bool>, Error> {
    match (said, ctx.actor) {
        (Some(true), Actor::Operator(_) | Actor::CommandLine(_)) | (None | Some(false), _) => Ok(said),
        (Some(true), _) => Err(Error::Forbidden("only an operator may let an endpoint have a private address")),
    }
}

fn check(owner: Option<MerchantId>, input: Input, allow_private: bool) -> Result<Change, Error> {
    if let Err(error) = Receiver::parse(&input.url, allow_private) {
        return Err(Error::invalid("url", format!("{error}")));
    }
    let mut types = input.types;
    types.sort();
    types.dedup();
    for (place, name) in types.iter().enumerate() {
        let told = events::find(name).is_some_and(|kind| match kind.audience {
            events::Audience::Merchant => true,
            events::Audience::Platform => owner.is_none(),
            events::Audience::Asker => false,
        });
        if !told {
            let problem = "there is no such event for this endpoint; the page `events` of the reference lists them";
            return Err(Error::invalid(format!("types[{place}]"), problem));
        }
    }
    let description = input.description.trim().to_owned();
    if description.chars().count() > 100 {
        return Err(Error::invalid("description", "use at most 100 characters"));
    }
    Ok(Change { url: input.url, types, description, allow_private, enabled: input.enabled })
}

/// For the audit log.
fn told(url: &str, allow_private: bool) -> String {
    serde_json::json!({ "url": url, "allow_private": allow_private }).to_string()
}

impl WebhookView {
    fn of(row: WebhookRow, now: Timestamp) -> WebhookView {
        WebhookView {
            id: row.id,
            merchant: row.merchant,
            url: row.url,
            types: row.types,
            description: row.description,
            public_key: PublicKey(row.public_key).to_string(),
            old_keys_until: row.old_keys.map(|(_, until)| until).filter(|until| *until > now),
            allow_private: row.allow_private,
            enabled: row.enabled,
            disabled_reason: row.disabled_reason,
            failing_since: row.health.failing_since,
            replaying: row.replay.is_some(),
            created_at: row.created_at,
            changed_at: row.changed_at,
        }
    }
}
