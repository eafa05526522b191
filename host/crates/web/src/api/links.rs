//! Linking accounts at partners, such as a budgeting app: what can be linked, the linking itself, what is linked, and its end.

use axum::extract::State;
use koban_domain::guest::Standing;
use koban_domain::ids::{FlowId, LinkId};
use koban_domain::links::Link;
use koban_service::App;
use koban_service::charges::Note;
use koban_service::links::{self, LinkInput, LinkingView, OfferView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::charges::{AnswerRequest, NoteBody, ShownBody};
use super::operator::plugins::WordsBody;
use super::{DeviceHeader, KeyHeader};
use crate::Web;
use crate::amounts::{Line, moment, named};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json, NoBody};
use crate::place::{Id, LinkingId, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of links.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(offers))
        .routes(routes!(begin, linkings))
        .routes(routes!(linking))
        .routes(routes!(answer))
        .routes(routes!(cancel))
        .routes(routes!(list))
        .routes(routes!(get, end))
}

/// Something that can be linked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkOffer)]
pub(crate) struct OfferBody {
    /// The plugin's id.
    #[schema(example = "budget-live")]
    plugin: String,
    /// What the plugin is called.
    plugin_name: WordsBody,
    /// The kind of link.
    #[schema(example = "app")]
    kind: String,
    /// What the user is asked to agree to.
    about: WordsBody,
    /// The longest that it lasts before it must be renewed, in days.
    days_max: u32,
    /// Where the user may be sent to agree.
    consents: Vec<OfferedConsent>,
    /// Whether the plugin sends new rows of the wallet to what is linked.
    sends_rows: bool,
}

/// A partner's server where the user may be asked to agree.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OfferedConsent {
    /// The endpoint's name in the plugin's manifest.
    #[schema(example = "app")]
    endpoint: String,
    /// What is asked for, as the server names it.
    scopes: Vec<String>,
}

impl From<OfferView> for OfferBody {
    fn from(offer: OfferView) -> OfferBody {
        let consent = |(endpoint, scopes)| OfferedConsent { endpoint, scopes };
        OfferBody {
            plugin: offer.plugin,
            plugin_name: offer.plugin_name.into(),
            kind: offer.kind,
            about: offer.about.into(),
            days_max: offer.days_max,
            consents: offer.consents.into_iter().map(consent).collect(),
            sends_rows: offer.sends_rows,
        }
    }
}

/// What a user wants to link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkingRequest {
    /// The plugin's id.
    #[schema(value_type = String, example = "budget-live")]
    plugin: Line,
    /// One of its kinds of links.
    #[schema(value_type = String, example = "app")]
    kind: Line,
    /// The link that is to be renewed; a new one unless it is said.
    #[schema(value_type = Option<String>)]
    renews: Option<LinkId>,
}

/// A linking as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Linking)]
pub(crate) struct LinkingBody {
    /// Its id.
    #[schema(value_type = String, example = "flw_019a3f0c7b2e7c41a5d3000000000000")]
    id: FlowId,
    /// The plugin.
    #[schema(example = "budget-live")]
    plugin: String,
    /// The kind of link.
    #[schema(example = "app")]
    kind: String,
    /// `waiting-for-user`, `waiting-for-partner`, `checking`, or at last `done`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "waiting-for-user")]
    standing: Standing,
    /// What is shown now, in order.
    shows: Vec<ShownBody>,
    /// The link that it saved.
    #[schema(required, value_type = Option<String>)]
    link: Option<LinkId>,
    /// Why it failed, or was closed.
    note: Option<NoteBody>,
    /// When it began.
    opened_at: String,
    /// When it last changed.
    changed_at: String,
}

impl From<LinkingView> for LinkingBody {
    fn from(linking: LinkingView) -> LinkingBody {
        LinkingBody {
            id: linking.id,
            plugin: linking.plugin,
            kind: linking.kind,
            standing: linking.standing,
            shows: linking.shows.into_iter().map(ShownBody::from).collect(),
            link: linking.link,
            note: linking.note.map(|Note { code, text }| NoteBody { code, text }),
            opened_at: moment(linking.opened_at),
            changed_at: moment(linking.changed_at),
        }
    }
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub(crate) struct LinkBody {
    /// Its id.
    #[schema(value_type = String, example = "lnk_6f1c0a5e2b7d8c41a5d3000000000000")]
    id: LinkId,
    /// The plugin.
    #[schema(example = "budget-live")]
    plugin: String,
    /// The kind of link.
    #[schema(example = "app")]
    kind: String,
    /// What the user knows it by.
    #[schema(example = "Household book *0042")]
    label: String,
    /// `live` or `ended`.
    #[schema(example = "live")]
    state: &'static str,
    /// Why it ended: `by_user`, `by_partner`, `consent_ended`, `expired`, `account_closed` or `erased`.
    #[schema(required)]
    reason: Option<&'static str>,
    /// Since when.
    since: String,
    /// Until when it lasts by itself.
    expires_at: String,
    /// When it ended.
    #[schema(required)]
    ended_at: Option<String>,
    /// How many rows its partner was told.
    rows_sent: u64,
    /// When it last took some.
    #[schema(required)]
    sent_at: Option<String>,
    /// How often in a row its partner did not take new rows; they are tried again in growing pauses, at most six hours.
    failures: u32,
}

impl From<Link> for LinkBody {
    fn from(link: Link) -> LinkBody {
        LinkBody {
            id: link.id,
            plugin: link.plugin,
            kind: link.kind,
            label: link.label,
            state: if link.ended.is_none() { "live" } else { "ended" },
            reason: link.ended.map(|(_, by)| by.word()),
            since: moment(link.since),
            expires_at: moment(link.expires_at),
            ended_at: link.ended.map(|(at, _)| moment(at)),
            rows_sent: link.rows,
            sent_at: link.sent_at.map(moment),
            failures: link.failures,
        }
    }
}

/// What the signed-in user may link.
#[utoipa::path(get, path = "/v1/links/offers", tag = "links", security(("session" = [])),
    responses((status = 200, body = PageBody<OfferBody>)))]
pub(crate) async fn offers(State(app): State<App>, user: SignedInUser) -> Result<Json<PageBody<OfferBody>>, Problem> {
    Ok(Json(PageBody::whole(links::offers(&app, &user.reading()).await?)))
}

/// Begin to link an account at a partner.
///
/// The plugin says what happens next: read `shows`. A form is answered here; a `consent` names the endpoint to begin with at `POST /v1/consents`.
#[utoipa::path(post, path = "/v1/linkings", tag = "links", security(("session" = [])),
    params(KeyHeader, DeviceHeader), responses((status = 201, body = LinkingBody)))]
pub(crate) async fn begin(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<LinkingRequest>,
) -> Result<Created<LinkingBody>, Problem> {
    let input = LinkInput { plugin: body.plugin.0, kind: body.kind.0, renews: body.renews };
    let begun = links::begin(&app, &user.ctx(key), input).await?;
    Ok(Created::answered(begun, |linking: &LinkingBody| format!("/v1/linkings/{}", linking.id)))
}

/// The signed-in user's linkings, newest first.
#[utoipa::path(get, path = "/v1/linkings", tag = "links", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<LinkingBody>)))]
pub(crate) async fn linkings(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<LinkingBody>>, Problem> {
    Ok(Json(PageBody::of(links::linkings(&app, &user.reading(), &query.page()?).await?)))
}

/// One linking.
#[utoipa::path(get, path = "/v1/linkings/{id}", tag = "links", security(("session" = [])),
    params(("id" = String, Path, description = "The linking's id.")),
    responses((status = 200, body = LinkingBody)))]
pub(crate) async fn linking(
    State(app): State<App>,
    user: SignedInUser,
    Id(LinkingId(id)): Id<LinkingId>,
) -> Result<Json<LinkingBody>, Problem> {
    Ok(Json(links::linking(&app, &user.reading(), id).await?.into()))
}

/// Fill in a form that the linking shows.
///
/// The same answer again while it waits is the same answer.
#[utoipa::path(post, path = "/v1/linkings/{id}/answers", tag = "links", security(("session" = [])),
    params(("id" = String, Path, description = "The linking's id.")),
    responses((status = 200, body = LinkingBody)))]
pub(crate) async fn answer(
    State(app): State<App>,
    user: SignedInUser,
    Id(LinkingId(id)): Id<LinkingId>,
    Json(body): Json<AnswerRequest>,
) -> Result<Json<LinkingBody>, Problem> {
    let values = named("values", body.values)?;
    Ok(Json(links::answer(&app, &user.reading(), id, &body.key.0, values).await?.into()))
}

/// Ask the plugin to stop the linking.
#[utoipa::path(post, path = "/v1/linkings/{id}/cancel", tag = "links", security(("session" = [])),
    params(("id" = String, Path, description = "The linking's id.")),
    responses((status = 200, body = LinkingBody)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    user: SignedInUser,
    Id(LinkingId(id)): Id<LinkingId>,
    _: NoBody,
) -> Result<Json<LinkingBody>, Problem> {
    Ok(Json(links::cancel(&app, &user.reading(), id).await?.into()))
}

/// What the signed-in user has linked, newest first; what has ended is among it.
#[utoipa::path(get, path = "/v1/links", tag = "links", security(("session" = [])),
    responses((status = 200, body = PageBody<LinkBody>)))]
pub(crate) async fn list(State(app): State<App>, user: SignedInUser) -> Result<Json<PageBody<LinkBody>>, Problem> {
    Ok(Json(PageBody::whole(links::list(&app, &user.reading()).await?)))
}

/// One link.
#[utoipa::path(get, path = "/v1/links/{id}", tag = "links", security(("session" = [])),
    params(("id" = String, Path, description = "The link's id.")),
    responses((status = 200, body = LinkBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<LinkId>,
) -> Result<Json<LinkBody>, Problem> {
    Ok(Json(links::get(&app, &user.reading(), id).await?.into()))
}

/// End a link.
///
/// From now on nothing goes to its partner. A consent that no other link rests on ends with it. What the partner has it keeps. Ended before is ended.
#[utoipa::path(delete, path = "/v1/links/{id}", tag = "links", security(("session" = [])),
    params(("id" = String, Path, description = "The link's id.")),
    responses((status = 200, body = LinkBody)))]
pub(crate) async fn end(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<LinkId>,
) -> Result<Json<LinkBody>, Problem> {
    Ok(Json(links::end(&app, &user.reading(), id).await?.into()))
}
