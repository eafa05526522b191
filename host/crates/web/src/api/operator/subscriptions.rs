//! What plugins hear, and events that one could not take: given to it again, or given up.

use axum::extract::State;
use koban_domain::ids::{EventId, RecordId};
use koban_domain::subscriptions::Parked;
use koban_service::App;
use koban_service::subscriptions::{self, SubscriptionView};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::{Json, NoBody};
use crate::place::{Id, Ids, PageBody, PageQuery, ParkedId, Query, SubscriberName};
use crate::problem::Problem;

/// Routes of what plugins hear.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(parked))
        .routes(routes!(retry))
        .routes(routes!(dismiss))
}

/// How far a plugin has heard of what happens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct SubscriptionBody {
    /// The plugin's id.
    #[schema(example = "charge-campaign")]
    plugin: String,
    /// Events that it took.
    heard: i64,
    /// Commits with news that it has not looked at yet.
    behind: i64,
    /// Faults at its next event; it is put aside after the fourth.
    attempts: i64,
    /// Events that it could not take and that wait for an operator.
    parked: i64,
    /// Whether it is told nothing more until somebody has looked: 100 events wait.
    resting: bool,
    /// Values that it has remembered.
    remembered: i64,
    /// Their bytes, names included.
    remembered_bytes: i64,
    /// Since when it listens; it hears nothing of before.
    since: String,
    /// When it last got on.
    changed_at: String,
}

impl From<SubscriptionView> for SubscriptionBody {
    fn from(view: SubscriptionView) -> SubscriptionBody {
        let SubscriptionView { subscription, behind } = view;
        SubscriptionBody {
            heard: subscription.heard,
            behind,
            attempts: subscription.attempts,
            parked: subscription.parked,
            resting: subscription.is_resting(),
            remembered: subscription.kept,
            remembered_bytes: subscription.kept_bytes,
            since: moment(subscription.since),
            changed_at: moment(subscription.changed_at),
            plugin: subscription.plugin,
        }
    }
}

/// An event that a plugin could not take.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParkedEvent)]
pub(crate) struct ParkedBody {
    /// The event's id.
    #[schema(value_type = String, example = "evt_019a3f0c7b2e7c41a5d3000000000000")]
    event: EventId,
    /// Its type.
    #[schema(value_type = String, example = "payment.captured")]
    r#type: String,
    /// When it was committed.
    at: String,
    /// Why it could not be taken: the fault, or what the plugin said.
    reason: String,
    /// The record of the last call; null if there was none.
    #[schema(required, value_type = Option<String>)]
    decision: Option<RecordId>,
    /// Since when it waits.
    parked_at: String,
}

impl From<Parked> for ParkedBody {
    fn from(parked: Parked) -> ParkedBody {
        ParkedBody {
            event: parked.news.id,
            r#type: parked.news.kind,
            at: moment(parked.news.at),
            reason: parked.reason,
            decision: parked.decision,
            parked_at: moment(parked.at),
        }
    }
}

/// Every plugin that hears events, in the order of their ids.
#[utoipa::path(get, path = "/v1/operator/subscriptions", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<SubscriptionBody>)))]
pub(crate) async fn list(State(app): State<App>, _: Operator) -> Result<Json<PageBody<SubscriptionBody>>, Problem> {
    Ok(Json(PageBody::whole(subscriptions::list(&app).await?)))
}

/// How far one plugin has heard.
#[utoipa::path(get, path = "/v1/operator/subscriptions/{plugin}", tag = "operator", security(("operator" = [])),
    params(("plugin" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = SubscriptionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(SubscriberName(plugin)): Id<SubscriberName>,
) -> Result<Json<SubscriptionBody>, Problem> {
    Ok(Json(subscriptions::get(&app, &plugin).await?.into()))
}

/// Events that a plugin could not take, the oldest first.
#[utoipa::path(get, path = "/v1/operator/subscriptions/{plugin}/parked", tag = "operator", security(("operator" = [])),
    params(("plugin" = String, Path, description = "The plugin's id."), PageQuery),
    responses((status = 200, body = PageBody<ParkedBody>)))]
pub(crate) async fn parked(
    State(app): State<App>,
    _: Operator,
    Id(SubscriberName(plugin)): Id<SubscriberName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ParkedBody>>, Problem> {
    Ok(Json(PageBody::of(subscriptions::parked(&app, &plugin, &query.page()?).await?)))
}

/// Give an event that was put aside to its plugin once more.
///
/// It comes after what the plugin has heard meanwhile. If the plugin faults again, the event stays where it is, with the new reason.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{plugin}/parked/{event}/retry", tag = "operator", security(("operator" = [])),
    params(("plugin" = String, Path, description = "The plugin's id."), ("event" = String, Path, description = "The event's id.")),
    responses((status = 200, body = SubscriptionBody)))]
pub(crate) async fn retry(
    State(app): State<App>,
    operator: Operator,
    Ids(SubscriberName(plugin), ParkedId(event)): Ids<SubscriberName, ParkedId>,
    _: NoBody,
) -> Result<Json<SubscriptionBody>, Problem> {
    Ok(Json(subscriptions::retry(&app, &operator.reading(), &plugin, event).await?.into()))
}

/// Give up an event that was put aside: it is never given to the plugin again.
#[utoipa::path(post, path = "/v1/operator/subscriptions/{plugin}/parked/{event}/dismiss", tag = "operator", security(("operator" = [])),
    params(("plugin" = String, Path, description = "The plugin's id."), ("event" = String, Path, description = "The event's id.")),
    responses((status = 200, body = SubscriptionBody)))]
pub(crate) async fn dismiss(
    State(app): State<App>,
    operator: Operator,
    Ids(SubscriberName(plugin), ParkedId(event)): Ids<SubscriberName, ParkedId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<SubscriptionBody>, Problem> {
    let act = (event, body.reason.0.as_str());
    Ok(Json(subscriptions::dismiss(&app, &operator.reading(), &plugin, act).await?.into()))
}
