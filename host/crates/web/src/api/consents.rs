//! What users let the platform do at partners, by OAuth: where they are sent, what they bring back, what holds.

use axum::extract::State;
use axum::http::StatusCode;
use koban_service::App;
use koban_service::consents::{self, Asked, Brought, ConsentView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::api::operator::endpoints::EndpointName;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::place::{Ids, PageBody, PluginName};
use crate::problem::Problem;

/// Routes of consents.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(ask)).routes(routes!(finish)).routes(routes!(end))
}

/// What a user wants to agree to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConsentRequest)]
pub(crate) struct AskRequest {
    /// The plugin's id.
    #[schema(value_type = String, example = "budget-live")]
    plugin: Line,
    /// The endpoint's name in its manifest.
    #[schema(value_type = String, example = "app")]
    endpoint: Line,
}

/// Where the user is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsentPage)]
pub(crate) struct AskedBody {
    /// The partner's page.
    url: String,
    /// Until when the user may come back.
    expires_at: String,
}

/// What the user brings back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConsentFinishRequest)]
pub(crate) struct FinishRequest {
    /// `state` of the address that the user came back to.
    #[schema(value_type = String)]
    state: Line,
    /// `code` of that address.
    code: String,
    /// `iss` of that address, if it has one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    issuer: Option<Line>,
}

/// A consent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Consent)]
pub(crate) struct ConsentBody {
    /// The plugin's id.
    plugin: String,
    /// The endpoint's name in its manifest.
    endpoint: String,
    /// Whether it is with the partner's sandbox.
    sandbox: bool,
    /// `given` or `ended`.
    #[schema(example = "given")]
    state: &'static str,
    /// Why it ended: `by_user`, `link_ended`, or the partner's word such as `invalid_grant`.
    #[schema(required)]
    reason: Option<String>,
    /// Since when.
    created_at: String,
    /// When it last changed.
    changed_at: String,
}

impl From<ConsentView> for ConsentBody {
    fn from(view: ConsentView) -> ConsentBody {
        ConsentBody {
            plugin: view.plugin,
            endpoint: view.endpoint,
            sandbox: view.sandbox,
            state: if view.holds { "given" } else { "ended" },
            reason: view.reason,
            created_at: moment(view.created_at),
            changed_at: moment(view.changed_at),
        }
    }
}

impl From<Asked> for AskedBody {
    fn from(asked: Asked) -> AskedBody {
        AskedBody { url: asked.url, expires_at: moment(asked.expires_at) }
    }
}

/// What the signed-in user has agreed to, ended consents among them.
#[utoipa::path(get, path = "/v1/consents", tag = "users", security(("session" = [])),
    responses((status = 200, body = PageBody<ConsentBody>)))]
pub(crate) async fn list(State(app): State<App>, user: SignedInUser) -> Result<Json<PageBody<ConsentBody>>, Problem> {
    Ok(Json(PageBody::whole(consents::list(&app, &user.reading()).await?)))
}

/// Go to a partner's page to agree to something.
///
/// The answer says where. The partner sends the user back with `state` and `code`, which are good for ten minutes, for this user, once.
#[utoipa::path(post, path = "/v1/consents", tag = "users", security(("session" = [])),
    responses((status = 200, body = AskedBody)))]
pub(crate) async fn ask(
    State(app): State<App>,
    user: SignedInUser,
    Json(body): Json<AskRequest>,
) -> Result<Json<AskedBody>, Problem> {
    Ok(Json(consents::ask(&app, &user.reading(), &body.plugin.0, &body.endpoint.0).await?.into()))
}

/// Come back from a partner's page.
#[utoipa::path(post, path = "/v1/consents/finish", tag = "users", security(("session" = [])),
    responses((status = 200, body = ConsentBody)))]
pub(crate) async fn finish(
    State(app): State<App>,
    user: SignedInUser,
    Json(body): Json<FinishRequest>,
) -> Result<Json<ConsentBody>, Problem> {
    let brought = Brought::new(body.state.0, body.code, body.issuer.map(|issuer| issuer.0));
    Ok(Json(consents::finish(&app, &user.reading(), brought).await?.into()))
}

/// End a consent.
///
/// Its tokens are wiped, links that rest on it end, and the partner's server is told if it can be.
#[utoipa::path(delete, path = "/v1/consents/{plugin}/{endpoint}", tag = "users", security(("session" = [])),
    params(("plugin" = String, Path, description = "The plugin's id."),
        ("endpoint" = String, Path, description = "The endpoint's name in its manifest.")),
    responses((status = 204, description = "It is over.")))]
pub(crate) async fn end(
    State(app): State<App>,
    user: SignedInUser,
    Ids(PluginName(plugin), EndpointName(endpoint)): Ids<PluginName, EndpointName>,
) -> Result<StatusCode, Problem> {
    consents::end(&app, &user.reading(), &plugin, &endpoint).await?;
    Ok(StatusCode::NO_CONTENT)
}
