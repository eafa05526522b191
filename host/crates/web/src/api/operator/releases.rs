//! Releases of plugins as operators take them in, accept them, try them and take them back.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use koban_domain::packages::{PACKAGE_BYTES_MAX, Package};
use koban_domain::permissions::Permission;
use koban_domain::records::Digest;
use koban_domain::releases::{Scope, State as Stage};
use koban_service::releases::{self, Accept, Move, Placed, ReleaseView, Upload};
use koban_service::{App, beside};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Line, NamedRequest, moment, named};
use crate::identity::Operator;
use crate::json::{Bounds, Created, Json, read};
use crate::place::{Id, Ids, PageBody, PluginName, Query};
use crate::problem::Problem;

/// Routes of releases.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(upload))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(install))
        .routes(routes!(change))
        .routes(routes!(remove))
        .routes(routes!(rollback))
        .routes(routes!(revoke))
}

/// How a package is taken.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadQuery {
    /// Whether you take it although nobody signed it; the audit log says so.
    unsigned: Option<bool>,
}

/// What an operator accepts of a release.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstallRequest {
    /// The `asks` of the release, exactly as it was shown: you accept everything that it names. What goes beyond the installed release is
    /// in `grown`.
    #[schema(value_type = String)]
    accept: Digest,
    /// The most unsettled credits, in yen. Needed once for plugins that touch money.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64)]
    exposure_cap: Option<i64>,
    /// The most that may be written off to it, in yen. Needed once for plugins that touch money.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64)]
    loss_budget: Option<i64>,
    /// Its settings, whole; without them those of the installed release, as far as they fit.
    settings: Option<Vec<NamedRequest>>,
}

/// Where a release shall stand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateRequest {
    /// What it becomes.
    state: StageRequest,
    /// For whom: `platform` unless told, or a merchant's id.
    #[schema(value_type = Option<String>, example = "platform")]
    scope: Option<Scope>,
    /// A canary's share in thousandths, 1 to 999.
    #[schema(minimum = 1, maximum = 999, example = 50)]
    share: Option<u16>,
    /// Why; needed for a quarantine.
    #[schema(value_type = Option<String>)]
    reason: Option<Line>,
}

/// A state that an operator can give a release at a scope.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StageRequest {
    Shadow,
    Canary,
    Enabled,
    Draining,
    Disabled,
    Quarantined,
}

impl From<StageRequest> for Stage {
    fn from(stage: StageRequest) -> Stage {
        match stage {
            StageRequest::Shadow => Stage::Shadow,
            StageRequest::Canary => Stage::Canary,
            StageRequest::Enabled => Stage::Enabled,
            StageRequest::Draining => Stage::Draining,
            StageRequest::Disabled => Stage::Disabled,
            StageRequest::Quarantined => Stage::Quarantined,
        }
    }
}

/// What is taken back, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// For whom: `platform` unless told, or a merchant's id.
    #[schema(value_type = Option<String>, example = "platform")]
    scope: Option<Scope>,
    /// Why; goes into the audit log.
    #[schema(value_type = String, example = "declines too much since noon")]
    reason: Line,
}

/// A release of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Release)]
pub(crate) struct ReleaseBody {
    /// The plugin.
    #[schema(example = "fraud-rules")]
    plugin: String,
    /// The component.
    #[schema(value_type = String)]
    digest: Digest,
    /// Its version.
    #[schema(example = "1.1.0")]
    version: String,
    /// `uploaded`, `verified`, `installed` or `removed`.
    #[schema(example = "installed")]
    state: &'static str,
    /// Whether nothing may rest on it any more.
    revoked: bool,
    /// Who signed it; absent if an operator took it unsigned.
    publisher: Option<String>,
    /// The digest of its package.
    #[schema(value_type = Option<String>)]
    package: Option<Digest>,
    /// Everything that it asks for.
    permissions: Vec<PermissionBody>,
    /// What of it goes beyond the release that is installed; everything if none is.
    grown: Vec<PermissionBody>,
    /// What is sent back to accept all of it.
    #[schema(value_type = String)]
    asks: Digest,
    /// What an operator accepted, the two numbers included.
    #[schema(value_type = Option<String>)]
    consent: Option<Digest>,
    /// Where it stands.
    scopes: Vec<PlacedBody>,
    /// Names of its documents.
    documents: Vec<String>,
    /// When it came.
    at: String,
}

/// One thing that a plugin asks for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Permission)]
pub(crate) struct PermissionBody {
    /// Its place and value in the manifest.
    #[schema(example = "facts: device.id")]
    item: String,
    /// The same in words.
    #[schema(example = "is told the fact `device.id`")]
    words: String,
}

/// Where a release stands at one scope.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReleaseScope)]
pub(crate) struct PlacedBody {
    /// For whom.
    #[schema(value_type = String, example = "platform")]
    scope: Scope,
    /// From `shadow` to `quarantined`.
    #[schema(example = "enabled")]
    state: &'static str,
    /// A canary's share in thousandths; 0 otherwise.
    share: u16,
    /// Since when.
    since: String,
}

/// A release, and what came of asking it beside the decisions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReleaseDetail)]
pub(crate) struct ReleaseDetailBody {
    #[serde(flatten)]
    release: ReleaseBody,
    /// How often it agreed with what counted while it was in shadow.
    shadow: AgreementBody,
}

/// How often a release in shadow agreed with what counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agreement)]
pub(crate) struct AgreementBody {
    /// Calls.
    calls: i64,
    /// Calls that would have decided otherwise.
    differ: i64,
    /// Calls that faulted.
    faults: i64,
}

impl From<Permission> for PermissionBody {
    fn from(permission: Permission) -> PermissionBody {
        PermissionBody { item: permission.item, words: permission.words }
    }
}

impl From<Placed> for PlacedBody {
    fn from(placed: Placed) -> PlacedBody {
        let Placed { scope, state, share, since } = placed;
        PlacedBody { scope, state: state.word(), share, since: moment(since) }
    }
}

impl From<ReleaseView> for ReleaseBody {
    fn from(release: ReleaseView) -> ReleaseBody {
        ReleaseBody {
            plugin: release.plugin,
            digest: release.digest,
            version: release.version,
            state: release.state.word(),
            revoked: release.is_revoked,
            publisher: release.publisher,
            package: release.package,
            permissions: release.permissions.into_iter().map(PermissionBody::from).collect(),
            grown: release.grown.into_iter().map(PermissionBody::from).collect(),
            asks: release.asks,
            consent: release.consent,
            scopes: release.scopes.into_iter().map(PlacedBody::from).collect(),
            documents: release.documents,
            at: moment(release.at),
        }
    }
}

/// Upload a package.
///
/// It is verified before the answer comes: signature and publisher, component against manifest, compiled in a process of its own, asked who
/// it is. Nothing runs of it before it is installed and enabled. The same package again changes nothing.
#[utoipa::path(post, path = "/v1/operator/plugins", tag = "operator", security(("operator" = [])),
    params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A `.koban` package."),
    responses((status = 201, body = ReleaseBody)))]
pub(crate) async fn upload(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Created<ReleaseBody>, Problem> {
    let timeout = Bounds::of_request(&request).body_timeout;
    let bytes = read(request.into_body(), PACKAGE_BYTES_MAX, timeout).await?;
    let package = Package::decode(&bytes).map_err(|error| Problem::invalid("package", error.to_string()))?;
    let upload = Upload { package, unsigned: query.unsigned.unwrap_or(false) };
    let release: ReleaseBody = releases::upload(&app, &operator.reading(), upload).await?.into();
    let place = format!("/v1/operator/plugins/{}/releases/{}", release.plugin, release.digest);
    Ok(Created::new(place, release))
}

/// A plugin's releases, the latest first.
#[utoipa::path(get, path = "/v1/operator/plugins/{id}/releases", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PageBody<ReleaseBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Id(PluginName(id)): Id<PluginName>,
) -> Result<Json<PageBody<ReleaseBody>>, Problem> {
    Ok(Json(PageBody::whole(releases::list(&app, &id).await?)))
}

/// One release, with its permissions, and what it said in shadow.
#[utoipa::path(get, path = "/v1/operator/plugins/{id}/releases/{digest}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 200, body = ReleaseDetailBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Ids(PluginName(id), digest): Ids<PluginName, Digest>,
) -> Result<Json<ReleaseDetailBody>, Problem> {
    let release = releases::get(&app, &id, digest).await?.into();
    let agreement = beside::agreement(&app, &id, digest).await?;
    let shadow = AgreementBody { calls: agreement.calls, differ: agreement.differ, faults: agreement.faults };
    Ok(Json(ReleaseDetailBody { release, shadow }))
}

/// Accept what a release may do.
///
/// With its settings and, for plugins that touch money, the two numbers that bound what it can cost. It decides nothing before its state
/// says so.
#[utoipa::path(post, path = "/v1/operator/plugins/{id}/releases/{digest}/install", tag = "operator",
    security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 200, body = ReleaseBody)))]
pub(crate) async fn install(
    State(app): State<App>,
    operator: Operator,
    Ids(PluginName(id), digest): Ids<PluginName, Digest>,
    Json(body): Json<InstallRequest>,
) -> Result<Json<ReleaseBody>, Problem> {
    let InstallRequest { accept, exposure_cap, loss_budget, settings } = body;
    let settings = settings.map(|settings| named("settings", settings)).transpose()?;
    let accept = Accept { settings, exposure_cap, loss_budget, asks: Some(accept) };
    Ok(Json(releases::install(&app, &operator.reading(), &id, digest, accept).await?.into()))
}

/// Move a release: into shadow, to a share, to all, out.
///
/// What was enabled at the scope drains when another release is enabled there. At most two releases of a plugin are live at the same time.
#[utoipa::path(put, path = "/v1/operator/plugins/{id}/releases/{digest}/state", tag = "operator",
    security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 200, body = ReleaseBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    operator: Operator,
    Ids(PluginName(id), digest): Ids<PluginName, Digest>,
    Json(body): Json<StateRequest>,
) -> Result<Json<ReleaseBody>, Problem> {
    let step = Move {
        scope: body.scope.unwrap_or(Scope::Platform),
        to: body.state.into(),
        share: body.share.unwrap_or(0),
        reason: body.reason.map(|reason| reason.0),
    };
    Ok(Json(releases::move_to(&app, &operator.reading(), &id, digest, &step).await?.into()))
}

/// Forget a release.
///
/// It must decide nowhere, and its flows must have ended. Its bytes and its records stay.
#[utoipa::path(delete, path = "/v1/operator/plugins/{id}/releases/{digest}", tag = "operator",
    security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 200, body = ReleaseBody)))]
pub(crate) async fn remove(
    State(app): State<App>,
    operator: Operator,
    Ids(PluginName(id), digest): Ids<PluginName, Digest>,
) -> Result<Json<ReleaseBody>, Problem> {
    Ok(Json(releases::remove(&app, &operator.reading(), &id, digest).await?.into()))
}

/// Take a plugin back to what was enabled before, in one step.
#[utoipa::path(post, path = "/v1/operator/plugins/{id}/rollback", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = ReleaseBody, description = "The release that decides again.")))]
pub(crate) async fn rollback(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    Json(body): Json<RollbackRequest>,
) -> Result<Json<ReleaseBody>, Problem> {
    let scope = body.scope.unwrap_or(Scope::Platform);
    Ok(Json(releases::rollback(&app, &operator.reading(), &id, &scope, &body.reason.0).await?.into()))
}

/// Revoke a component.
///
/// From now on nothing may rest on it: payments are judged again without it, its flows stop for an operator. Where it was enabled, the last
/// good release before it decides again.
#[utoipa::path(post, path = "/v1/operator/components/{digest}/revoke", tag = "operator", security(("operator" = [])),
    params(("digest" = String, Path, description = "The component's digest: 64 hexadecimal digits.")),
    responses((status = 204, description = "It holds from the next commit on, on every host.")))]
pub(crate) async fn revoke(
    State(app): State<App>,
    operator: Operator,
    Id(digest): Id<Digest>,
    Json(body): Json<ReasonRequest>,
) -> Result<StatusCode, Problem> {
    releases::revoke(&app, &operator.reading(), digest, &body.reason.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
