//! Webhook endpoints as operators see them: everybody's, and those of the platform itself, which are told everything.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::ids::{EventId, MerchantId, WebhookId};
use koban_service::App;
use koban_service::webhooks::{self, Again, Input};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::api::webhooks::{
    DeliveryBody, NewWebhookBody, ReplayRequest, TestBody, WebhookBody, WebhookRequest, WebhookRotateRequest,
};
use crate::identity::Operator;
use crate::json::{Created, Json, NoBody};
use crate::place::{Id, Ids, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of webhook endpoints, for operators.
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
pub(crate) struct OperatorWebhookRequest {
    /// Whose; without it the platform's own, which is told everything.
    #[schema(value_type = Option<String>)]
    merchant: Option<MerchantId>,
    /// Where events are posted to: `https://host[:port][/path]`, without user, query or fragment.
    #[schema(value_type = String, example = "https://ledger.example/koban")]
    url: Line,
    /// Which types of events; all if there are none.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    types: Vec<Line>,
    /// What you call it, at most 100 characters.
    #[schema(value_type = Option<String>)]
    description: Option<Line>,
    /// Lets this endpoint have a private address, and no TLS there. Nothing opens link-local or metadata addresses.
    #[serde(default)]
    #[schema(required = false)]
    allow_private: bool,
}

/// What an endpoint is set to, whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorWebhookSettings {
    /// Where events are posted to: `https://host[:port][/path]`, without user, query or fragment.
    #[schema(value_type = String, example = "https://ledger.example/koban")]
    url: Line,
    /// Which types of events; all if there are none.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    types: Vec<Line>,
    /// What you call it, at most 100 characters.
    #[schema(value_type = Option<String>)]
    description: Option<Line>,
    /// Whether anything is sent.
    enabled: bool,
    /// Lets this endpoint have a private address, and no TLS there. Nothing opens link-local or metadata addresses.
    allow_private: bool,
}

impl From<OperatorWebhookSettings> for Input {
    fn from(body: OperatorWebhookSettings) -> Input {
        let OperatorWebhookSettings { url, types, description, enabled, allow_private } = body;
        Input { enabled, ..WebhookRequest { url, types, description }.input(Some(allow_private)) }
    }
}

/// Make a webhook endpoint, for a merchant or for the platform.
#[utoipa::path(post, path = "/v1/operator/webhook-endpoints", tag = "operator", security(("operator" = [])),
    responses((status = 201, body = NewWebhookBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<OperatorWebhookRequest>,
) -> Result<Created<NewWebhookBody>, Problem> {
    let OperatorWebhookRequest { merchant, url, types, description, allow_private } = body;
    let input = WebhookRequest { url, types, description }.input(Some(allow_private));
    let made = webhooks::create(&app, &operator.reading(), merchant, input).await?;
    let location = format!("/v1/operator/webhook-endpoints/{}", made.endpoint.id);
    Ok(Created::new(location, made.into()))
}

/// Everybody's webhook endpoints, newest first.
#[utoipa::path(get, path = "/v1/operator/webhook-endpoints", tag = "operator", security(("operator" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<WebhookBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<WebhookBody>>, Problem> {
    Ok(Json(PageBody::of(webhooks::list(&app, &operator.reading(), None, &query.page()?).await?)))
}

/// One webhook endpoint.
#[utoipa::path(get, path = "/v1/operator/webhook-endpoints/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, body = WebhookBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(webhooks::get(&app, &operator.reading(), None, id).await?.into()))
}

/// Set a webhook endpoint, whole.
///
/// Switched on again it forgets that it failed; what it missed can be replayed.
#[utoipa::path(put, path = "/v1/operator/webhook-endpoints/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 200, body = WebhookBody)))]
pub(crate) async fn set(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
    Json(body): Json<OperatorWebhookSettings>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(webhooks::set(&app, &operator.reading(), None, id, body.into()).await?.into()))
}

/// Take a webhook endpoint away, with all that it was given.
#[utoipa::path(delete, path = "/v1/operator/webhook-endpoints/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 204, description = "Nothing is sent there any more.")))]
pub(crate) async fn remove(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
) -> Result<StatusCode, Problem> {
    webhooks::remove(&app, &operator.reading(), None, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a webhook endpoint new keys.
///
/// For the overlap messages are signed with the old keys as well, so that the receiver can change over in its own time.
#[utoipa::path(post, path = "/v1/operator/webhook-endpoints/{id}/rotate", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 201, body = NewWebhookBody)))]
pub(crate) async fn rotate(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
    Json(body): Json<WebhookRotateRequest>,
) -> Result<Created<NewWebhookBody>, Problem> {
    let made = webhooks::rotate(&app, &operator.reading(), None, id, body.overlap_s).await?;
    Ok(Created::new(format!("/v1/operator/webhook-endpoints/{id}"), made.into()))
}

/// What a webhook endpoint was given, newest first.
///
/// What ended is kept for 30 days, and at most 10,000 of it.
#[utoipa::path(get, path = "/v1/operator/webhook-endpoints/{id}/deliveries", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id."), PageQuery),
    responses((status = 200, body = PageBody<DeliveryBody>)))]
pub(crate) async fn list_deliveries(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<DeliveryBody>>, Problem> {
    let page = webhooks::deliveries(&app, &operator.reading(), None, id, &query.page()?).await?;
    Ok(Json(PageBody::of(page)))
}

/// One event as a webhook endpoint was given it.
#[utoipa::path(get, path = "/v1/operator/webhook-endpoints/{id}/deliveries/{event}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id."),
        ("event" = String, Path, description = "The event's id.")),
    responses((status = 200, body = DeliveryBody)))]
pub(crate) async fn get_delivery(
    State(app): State<App>,
    operator: Operator,
    Ids(id, event): Ids<WebhookId, EventId>,
) -> Result<Json<DeliveryBody>, Problem> {
    Ok(Json(webhooks::delivery(&app, &operator.reading(), None, id, event).await?.into()))
}

/// Send again everything that was committed since a time, at most 30 days back.
///
/// Events keep their ids, and those that were given before their numbers.
#[utoipa::path(post, path = "/v1/operator/webhook-endpoints/{id}/replay", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 202, description = "It is sent from now on.")))]
pub(crate) async fn replay(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
    Json(body): Json<ReplayRequest>,
) -> Result<StatusCode, Problem> {
    webhooks::replay(&app, &operator.reading(), None, id, body.again()?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Send one event again, delivered or not.
#[utoipa::path(post, path = "/v1/operator/webhook-endpoints/{id}/deliveries/{event}/replay", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id."),
        ("event" = String, Path, description = "The event's id.")),
    responses((status = 202, description = "It is sent from now on.")))]
pub(crate) async fn replay_one(
    State(app): State<App>,
    operator: Operator,
    Ids(id, event): Ids<WebhookId, EventId>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    webhooks::replay(&app, &operator.reading(), None, id, Again::Event(event)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Send a test event.
#[utoipa::path(post, path = "/v1/operator/webhook-endpoints/{id}/test", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The endpoint's id.")),
    responses((status = 202, body = TestBody)))]
pub(crate) async fn test(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<WebhookId>,
    _: NoBody,
) -> Result<(StatusCode, Json<TestBody>), Problem> {
    let event = webhooks::test(&app, &operator.reading(), None, id).await?;
    Ok((StatusCode::ACCEPTED, Json(event.into())))
}
