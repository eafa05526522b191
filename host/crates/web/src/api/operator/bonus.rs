//! Campaigns with their budgets, what they grant, and the lots of users.

use axum::extract::State;
use koban_domain::bonus::Campaign;
use koban_domain::gifts::Bound;
use koban_domain::ids::{CampaignId, LotId, UserId};
use koban_domain::money::Currency;
use koban_service::bonus::{self, CampaignInput, GrantInput};
use koban_service::{App, users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Day, Line, Minor, moment};
use crate::api::KeyHeader;
use crate::api::bonus::LotBody;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Created, Done, Json};
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of campaigns and lots.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, change))
        .routes(routes!(grant))
        .routes(routes!(lots))
        .routes(routes!(lot))
        .routes(routes!(revoke))
        .routes(routes!(release))
}

/// A campaign as an operator wants it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignRequest {
    /// What people know it by, 1 to 100 characters.
    #[schema(value_type = String, example = "Spring 2019")]
    name: Line,
    /// The most that it may ever grant, in whole minor units. What ends or is taken back does not return to it.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1_000_000)]
    budget: Minor,
    /// ISO 4217 code; a campaign keeps it.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Whether it grants; true unless told.
    open: Option<bool>,
    /// The last day in Japan on which it grants; without it only an operator closes it.
    #[schema(value_type = Option<String>, example = "2019-03-31")]
    ends_on: Option<Day>,
    /// The most that one user may ever have from it, in whole minor units; without it the budget is the only bound.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 500)]
    per_user: Option<Minor>,
    /// The budget of a plugin that may have it grant; without it operators alone do.
    bound: Option<BoundRequest>,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "agreed with marketing")]
    reason: Line,
}

impl From<CampaignRequest> for CampaignInput {
    fn from(body: CampaignRequest) -> CampaignInput {
        CampaignInput {
            name: body.name.0,
            budget: body.budget.of(body.currency),
            open: body.open.unwrap_or(true),
            ends_at: body.ends_on.map(|day| day.end()),
            per_user: body.per_user.map(|most| most.of(body.currency).minor),
            bound: body.bound.map(Bound::from),
            reason: body.reason.0,
        }
    }
}

/// The budget of a plugin that shall have a campaign grant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundRequest {
    /// The plugin's id.
    #[schema(value_type = String, example = "charge-campaign")]
    plugin: Line,
    /// The budget's name in its manifest.
    #[schema(value_type = String, example = "spend_back")]
    budget: Line,
    /// How many days a lot lasts that it grants, the day of the grant in Japan included.
    #[schema(minimum = 1, maximum = 1_827, example = 60)]
    lasts_days: u16,
}

impl From<BoundRequest> for Bound {
    fn from(body: BoundRequest) -> Bound {
        Bound { plugin: body.plugin.0, budget: body.budget.0, lasts_days: body.lasts_days }
    }
}

/// The budget of a plugin that has a campaign grant.
#[derive(Serialize, ToSchema)]
#[schema(as = CampaignBound)]
pub(crate) struct BoundBody {
    /// The plugin's id.
    #[schema(example = "charge-campaign")]
    plugin: String,
    /// The budget's name in its manifest.
    #[schema(example = "spend_back")]
    budget: String,
    /// How many days a lot lasts that it grants, the day of the grant in Japan included.
    #[schema(example = 60)]
    lasts_days: u16,
}

impl From<Bound> for BoundBody {
    fn from(bound: Bound) -> BoundBody {
        BoundBody { plugin: bound.plugin, budget: bound.budget, lasts_days: bound.lasts_days }
    }
}

/// A campaign.
#[derive(Serialize, ToSchema)]
#[schema(as = Campaign)]
pub(crate) struct CampaignBody {
    /// Its id.
    #[schema(value_type = String, example = "cmp_019a3f0c7b2e7c41a5d3000000000000")]
    id: CampaignId,
    /// What people know it by.
    name: String,
    /// The most that it may ever grant, in whole minor units.
    #[schema(example = 1_000_000)]
    budget: i64,
    /// What it has granted.
    #[schema(example = 300)]
    granted: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Whether it grants.
    open: bool,
    /// From when on it grants nothing more.
    ends_at: Option<String>,
    /// Since when it is there.
    at: String,
    /// The most that one user may ever have from it; null if the budget is the only bound.
    #[schema(required)]
    per_user: Option<i64>,
    /// The budget of a plugin that may have it grant; null if operators alone do.
    #[schema(required)]
    bound: Option<BoundBody>,
}

impl From<Campaign> for CampaignBody {
    fn from(campaign: Campaign) -> CampaignBody {
        CampaignBody {
            id: campaign.id,
            name: campaign.name,
            budget: campaign.budget.minor,
            granted: campaign.granted,
            currency: campaign.budget.currency,
            open: campaign.open,
            ends_at: campaign.ends_at.map(moment),
            at: moment(campaign.at),
            per_user: campaign.per_user,
            bound: campaign.bound.map(BoundBody::from),
        }
    }
}

/// Make a campaign.
#[utoipa::path(post, path = "/v1/operator/campaigns", tag = "operator", security(("operator" = [])),
    params(KeyHeader), responses((status = 201, body = CampaignBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Json(body): Json<CampaignRequest>,
) -> Result<Created<CampaignBody>, Problem> {
    let made = bonus::begin(&app, &operator.ctx(key), body.into()).await?;
    Ok(Created::answered(made, |made: &CampaignBody| format!("/v1/operator/campaigns/{}", made.id)))
}

/// Campaigns, newest first.
#[utoipa::path(get, path = "/v1/operator/campaigns", tag = "operator", security(("operator" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<CampaignBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<CampaignBody>>, Problem> {
    Ok(Json(PageBody::of(bonus::campaigns(&app, &query.page()?).await?)))
}

/// One campaign.
#[utoipa::path(get, path = "/v1/operator/campaigns/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The campaign's id.")),
    responses((status = 200, body = CampaignBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<CampaignId>,
) -> Result<Json<CampaignBody>, Problem> {
    Ok(Json(bonus::campaign(&app, id).await?.into()))
}

/// Change a campaign: its name, its budget, or whether and until when it grants.
///
/// The whole of it is replaced. A budget below what was granted is refused, and so is another currency.
#[utoipa::path(put, path = "/v1/operator/campaigns/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The campaign's id."), KeyHeader),
    responses((status = 200, body = CampaignBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<CampaignId>,
    Json(body): Json<CampaignRequest>,
) -> Result<Done<CampaignBody>, Problem> {
    Ok(Done::answered(bonus::change(&app, &operator.ctx(key), id, body.into()).await?))
}

/// What a campaign grants a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantRequest {
    /// To whom.
    #[schema(value_type = String)]
    user: UserId,
    /// Whole minor units, at most what is left of the campaign's budget.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 300)]
    amount: Minor,
    /// ISO 4217 code: the campaign's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The first day in Japan on which it may be spent; at once unless told.
    #[schema(value_type = Option<String>, example = "2019-03-01")]
    usable_on: Option<Day>,
    /// The last day in Japan on which it may be spent; it ends at midnight.
    #[schema(value_type = String, example = "2019-03-31")]
    expires_on: Day,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "won the draw")]
    reason: Line,
}

/// Grant a user bonus out of a campaign's budget.
///
/// A budget is never passed, however many grants come at once. The lot counts toward the wallet's balance limit.
#[utoipa::path(post, path = "/v1/operator/campaigns/{id}/grants", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The campaign's id."), KeyHeader),
    responses((status = 201, body = LotBody)))]
pub(crate) async fn grant(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<CampaignId>,
    Json(body): Json<GrantRequest>,
) -> Result<Created<LotBody>, Problem> {
    let input = GrantInput {
        campaign: id,
        user: body.user,
        amount: body.amount.of(body.currency),
        usable_from: body.usable_on.map(|day| day.0),
        expires_at: body.expires_on.end(),
        reason: body.reason.0,
    };
    let granted = bonus::grant(&app, &operator.ctx(key), input).await?;
    Ok(Created::answered(granted, |lot: &LotBody| format!("/v1/operator/lots/{}", lot.id)))
}

/// What a user was granted of bonus, newest first; what was spent or has ended, too.
#[utoipa::path(get, path = "/v1/operator/users/{id}/lots", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), PageQuery),
    responses((status = 200, body = PageBody<LotBody>)))]
pub(crate) async fn lots(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<UserId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<LotBody>>, Problem> {
    users::get(&app, id).await?;
    Ok(Json(PageBody::of(bonus::lots_of(&app, id, &query.page()?).await?)))
}

/// One lot of bonus.
#[utoipa::path(get, path = "/v1/operator/lots/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The lot's id.")), responses((status = 200, body = LotBody)))]
pub(crate) async fn lot(State(app): State<App>, _: Operator, Id(id): Id<LotId>) -> Result<Json<LotBody>, Problem> {
    Ok(Json(bonus::lot(&app, id).await?.into()))
}

/// Take back what is left of a lot of bonus.
///
/// What was spent stays spent. What is held may still be captured; if it is let go, it ends.
#[utoipa::path(post, path = "/v1/operator/lots/{id}/revoke", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The lot's id."), KeyHeader),
    responses((status = 200, body = LotBody)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<LotId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<LotBody>, Problem> {
    Ok(Done::answered(bonus::revoke(&app, &operator.ctx(key), id, &body.reason.0).await?))
}

/// Let a lot of bonus be spent before its date.
#[utoipa::path(post, path = "/v1/operator/lots/{id}/release", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The lot's id."), KeyHeader),
    responses((status = 200, body = LotBody)))]
pub(crate) async fn release(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<LotId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<LotBody>, Problem> {
    Ok(Done::answered(bonus::release(&app, &operator.ctx(key), id, &body.reason.0).await?))
}
