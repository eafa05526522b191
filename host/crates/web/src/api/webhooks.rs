//! A merchant's webhook endpoints, and what each was given.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::ids::{EventId, MerchantId, WebhookId};
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::webhooks::{self, Again, Input, NewKeys, WebhookView};
use koban_service::webhooks::{DeliveryRow, DeliveryState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::{MerchantKey, WriteWebhooks};
use crate::json::{Created, Json, NoBody};
use crate::place::{Id, Ids, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of a merchant's webhook endpoints.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, set, remove))
        .routes(routes!(rotate))
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(replay))
        .routes(routes!(replay_one))
        .routes(routes!(test))
}

/// What an endpoint is made from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookRequest {
    /// Where events are posted to: `https://host[:port][/path]`, without user, query or fragment.
    #[schema(value_type = String, example = "https://shop.example/hooks/koban")]
    pub(crate) url: Line,
    /// Which types of events; all if there are none.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false, example = json!(["payment.captured"]))]
    pub(crate) types: Vec<Line>,
    /// What you call it, at most 100 characters.
    #[schema(value_type = Option<String>, example = "orders")]
    pub(crate) description: Option<Line>,
}

/// What an endpoint is set to, whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    /// Where events are posted to: `https://host[:port][/path]`, without user, query or fragment.
    #[schema(value_type = String, example = "https://shop.example/hooks/koban")]
    url: Line,
    /// Which types of events; all if there are none.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false, example = json!(["payment.captured"]))]
    types: Vec<Line>,
    /// What you call it, at most 100 characters.
    #[schema(value_type = Option<String>, example = "orders")]
    description: Option<Line>,
    /// Whether anything is sent. Switched off, what waits is not sent any more; switched on, it can be replayed.
    enabled: bool,
}

impl WebhookRequest {
    /// As a new endpoint.
    pub(crate) fn input(self, allow_private: Option<bool>) -> Input {
        Input {
            url: self.url.0,
            types: self.types.into_iter().map(|name| name.0).collect(),
            description: self.description.map(|line| line.0).unwrap_or_default(),
            enabled: true,
            allow_private,
        }
    }
}

impl From<WebhookSettings> for Input {
    fn from(body: WebhookSettings) -> Input {
        let WebhookSettings { url, types, description, enabled } = body;
        Input { enabled, ..WebhookRequest { url, types, description }.input(None) }
    }
}

/// An endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
pub(crate) struct WebhookBody {
    /// Which.
    #[schema(value_type = String, example = "whk_019a3f0c7b2e7c41a5d3000000000000")]
    id: WebhookId,
    /// Whose; null for the platform's own.
    #[schema(value_type = Option<String>)]
    merchant: Option<MerchantId>,
    /// Where events are posted to.
    url: String,
    /// Which types of events; all if there are none.
    types: Vec<String>,
    /// What its owner calls it.
    description: String,
    /// With which the `v1a` signatures are checked: `whpk_` and base64 of an Ed25519 public key.
    #[schema(example = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")]
    public_key: String,
    /// Until when messages are signed with the keys before as well, after a rotation.
    old_keys_until: Option<String>,
    /// Whether an operator lets it have a private address.
    allow_private: bool,
    /// Whether anything is sent.
    enabled: bool,
    /// Why not, if the host switched it off.
    disabled_reason: Option<String>,
    /// Since when every attempt failed.
    failing_since: Option<String>,
    /// Whether it is being told once more what it was told before.
    replaying: bool,
    /// Since when.
    created_at: String,
    /// When it was last changed.
    changed_at: String,
}

impl From<WebhookView> for WebhookBody {
    fn from(view: WebhookView) -> WebhookBody {
        WebhookBody {
            id: view.id,
            merchant: view.merchant,
            url: view.url,
            types: view.types,
            description: view.description,
            public_key: view.public_key,
            old_keys_until: view.old_keys_until.map(moment),
            allow_private: view.allow_private,
            enabled: view.enabled,
            disabled_reason: view.disabled_reason,
            failing_since: view.failing_since.map(moment),
            replaying: view.replaying,
            created_at: moment(view.created_at),
            changed_at: moment(view.changed_at),
        }
    }
}

/// An endpoint with its new secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewWebhookEndpoint)]
pub(crate) struct NewWebhookBody {
    /// The endpoint.
    pub(crate) endpoint: WebhookBody,
    /// With which the `v1` signatures are checked. It is shown once; keep it where secrets are kept.
    #[schema(example = "whsec_…")]
    secret: String,
}

impl From<NewKeys> for NewWebhookBody {
    fn from(made: NewKeys) -> NewWebhookBody {
        NewWebhookBody { endpoint: made.endpoint.into(), secret: made.secret }
    }
}

/// How long the old keys go on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookRotateRequest {
    /// Seconds that messages are signed with the old keys beside the new ones, at most seven days.
    #[schema(minimum = 0, maximum = 604_800, example = 86_400)]
    pub(crate) overlap_s: u32,
}

/// Since when to send again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// Everything that was committed since then: RFC 3339 in UTC.
    #[schema(value_type = String, example = "2026-11-20T00:00:00Z")]
    since: Line,
}

impl ReplayRequest {
    /// Since when. Errors: a time that cannot be read.
    pub(crate) fn again(self) -> Result<Again, Problem> {
        Timestamp::parse(&self.since.0)
            .map(Again::Since)
            .ok_or_else(|| Problem::invalid("since", "write a time such as 2026-11-20T00:00:00Z, in UTC"))
    }
}

/// The event that a test is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestBody {
    /// Its id, which stands in the header `webhook-id`.
    #[schema(value_type = String, example = "evt_019a3f0c7b2e7c41a5d3000000000000")]
    event: EventId,
}

impl From<EventId> for TestBody {
    fn from(event: EventId) -> TestBody {
        TestBody { event }
    }
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookTry)]
pub(crate) struct TryBody {
    /// When it ended.
    at: String,
    /// The HTTP status that was answered, if any was.
    status: Option<u16>,
    /// Why there was none.
    problem: Option<String>,
}

/// One event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryBody {
    /// The event's id.
    #[schema(value_type = String, example = "evt_019a3f0c7b2e7c41a5d3000000000000")]
    event: EventId,
    /// Counts what this endpoint was given.
    #[schema(example = 1)]
    sequence: i64,
    /// The event's type.
    #[serde(rename = "type")]
    #[schema(example = "payment.captured")]
    kind: String,
    /// `waiting`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    state: &'static str,
    /// Attempts since it was last asked for.
    attempts: u32,
    /// When it is tried next, while it waits.
    next_at: Option<String>,
    /// The last attempts, oldest first.
    tries: Vec<TryBody>,
    /// What is sent, to the byte.
    body: String,
    /// When it was given.
    created_at: String,
    /// When it last changed.
    changed_at: String,
}

impl From<DeliveryRow> for DeliveryBody {
    fn from(row: DeliveryRow) -> DeliveryBody {
        let (state, waits) = match row.state {
            DeliveryState::Waiting | DeliveryState::Leased => ("waiting", true),
            DeliveryState::Delivered => ("delivered", false),
            DeliveryState::Failed => ("failed", false),
        };
        DeliveryBody {
            event: row.event,
            sequence: row.sequence,
            kind: row.kind,
            state,
            attempts: row.attempts,
            next_at: waits.then(|| moment(row.due_at)),
            tries: row
                .tries
                .into_iter()
                .map(|one| TryBody { at: moment(one.at), status: one.status, problem: one.problem })
                .collect(),
            body: row.body,
            created_at: moment(row.created_at),
            changed_at: moment(row.changed_at),
        }
    }
}

/// Make a webhook endpoint.
///
/// It is told what is committed from now on. The answer is the only one that shows its secret.
#[utoipa::path(post, path = "/v1/webhook-endpoints", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    responses((status = 201, body = NewWebhookBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Json(body): Json<WebhookRequest>,
) -> Result<Created<NewWebhookBody>, Problem> {
    let made = webhooks::create(&app, &key.reading(), Some(key.merchant), body.input(None)).await?;
    let location = format!("/v1/webhook-endpoints/{}", made.endpoint.id);
    Ok(Created::new(location, made.into()))
}

/// The merchant's webhook endpoints, newest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(PageQuery), responses((status = 200, body = PageBody<WebhookBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<WebhookBody>>, Problem> {
    Ok(Json(PageBody::of(webhooks::list(&app, &key.reading(), Some(key.merchant), &query.page()?).await?)))
}

/// One webhook endpoint.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, body = WebhookBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(webhooks::get(&app, &key.reading(), Some(key.merchant), id).await?.into()))
}

/// Set a webhook endpoint, whole.
///
/// Switched on again it forgets that it failed; what it missed can be replayed. A new address is not covered by what an operator allowed the old one.
#[utoipa::path(put, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, body = WebhookBody)))]
pub(crate) async fn set(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    Json(body): Json<WebhookSettings>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(webhooks::set(&app, &key.reading(), Some(key.merchant), id, body.into()).await?.into()))
}

/// Take a webhook endpoint away, with all that it was given.
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 204, description = "Nothing is sent there any more.")))]
pub(crate) async fn remove(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
) -> Result<StatusCode, Problem> {
    webhooks::remove(&app, &key.reading(), Some(key.merchant), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a webhook endpoint new keys.
///
/// For the overlap messages are signed with the old keys as well, so that the receiver can change over in its own time.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/rotate", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 201, body = NewWebhookBody)))]
pub(crate) async fn rotate(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    Json(body): Json<WebhookRotateRequest>,
) -> Result<Created<NewWebhookBody>, Problem> {
    let made = webhooks::rotate(&app, &key.reading(), Some(key.merchant), id, body.overlap_s).await?;
    Ok(Created::new(format!("/v1/webhook-endpoints/{id}"), made.into()))
}

/// What a webhook endpoint was given, newest first.
///
/// What ended is kept for 30 days, and at most 10,000 of it.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}/deliveries", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id."), PageQuery),
    responses((status = 200, body = PageBody<DeliveryBody>)))]
pub(crate) async fn list_deliveries(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<DeliveryBody>>, Problem> {
    let page = webhooks::deliveries(&app, &key.reading(), Some(key.merchant), id, &query.page()?).await?;
    Ok(Json(PageBody::of(page)))
}

/// One event as a webhook endpoint was given it.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}/deliveries/{event}", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id."),
        ("event" = String, Path, description = "The event's id.")),
    responses((status = 200, body = DeliveryBody)))]
pub(crate) async fn get_delivery(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Ids(id, event): Ids<WebhookId, EventId>,
) -> Result<Json<DeliveryBody>, Problem> {
    Ok(Json(webhooks::delivery(&app, &key.reading(), Some(key.merchant), id, event).await?.into()))
}

/// Send again everything that was committed since a time, at most 30 days back.
///
/// Events keep their ids, and those that were given before their numbers.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/replay", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 202, description = "It is sent from now on.")))]
pub(crate) async fn replay(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    Json(body): Json<ReplayRequest>,
) -> Result<StatusCode, Problem> {
    webhooks::replay(&app, &key.reading(), Some(key.merchant), id, body.again()?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Send one event again, delivered or not.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/deliveries/{event}/replay", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id."),
        ("event" = String, Path, description = "The event's id.")),
    responses((status = 202, description = "It is sent from now on.")))]
pub(crate) async fn replay_one(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Ids(id, event): Ids<WebhookId, EventId>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    webhooks::replay(&app, &key.reading(), Some(key.merchant), id, Again::Event(event)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Send a test event.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/test", tag = "webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 202, body = TestBody)))]
pub(crate) async fn test(
    State(app): State<App>,
    key: MerchantKey<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    _: NoBody,
) -> Result<(StatusCode, Json<TestBody>), Problem> {
    let event = webhooks::test(&app, &key.reading(), Some(key.merchant), id).await?;
    Ok((StatusCode::ACCEPTED, Json(event.into())))
}
