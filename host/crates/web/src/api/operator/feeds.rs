//! Feeds of exchange rates, and how far the quotes that rest on them are trusted.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::guest::MarketRate;
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;
use koban_service::feeds::{self, FeedView};
use koban_service::{App, quotes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::Operator;
use crate::json::{Json, NoBody};
use crate::place::{Id, PageBody, PluginName};
use crate::problem::Problem;

/// Routes of feeds.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(ask)).routes(routes!(get_policy, put_policy))
}

/// A feed of exchange rates.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Feed)]
pub(crate) struct FeedBody {
    /// The exchange whose feed it is.
    #[schema(example = "exchange-ecb")]
    plugin: String,
    /// When it is asked next.
    due_at: String,
    /// When it was read last; none if never.
    read_at: Option<String>,
    /// What went wrong last; none if nothing. The rates of before stand meanwhile.
    problem: Option<String>,
    /// The newest rate of each pair.
    rates: Vec<FeedRateBody>,
}

/// A rate of a feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeedRate)]
pub(crate) struct FeedRateBody {
    /// What one unit is priced of.
    #[schema(value_type = String, example = "EUR")]
    base: Currency,
    /// In what it is priced.
    #[schema(value_type = String, example = "JPY")]
    quote: Currency,
    /// The rate.
    #[schema(example = "132.78")]
    mid: String,
    /// When it was fixed.
    at: String,
}

impl From<MarketRate> for FeedRateBody {
    fn from(rate: MarketRate) -> FeedRateBody {
        let at = Timestamp(i64::try_from(rate.at).unwrap_or(i64::MAX));
        FeedRateBody { base: rate.base, quote: rate.quote, mid: rate.mid.to_string(), at: moment(at) }
    }
}

impl From<FeedView> for FeedBody {
    fn from(view: FeedView) -> FeedBody {
        let FeedView { row, rates } = view;
        FeedBody {
            plugin: row.plugin,
            due_at: moment(row.due_at),
            read_at: (row.read_at.0 > 0).then(|| moment(row.read_at)),
            problem: Some(row.problem).filter(|problem| !problem.is_empty()),
            rates: rates.into_iter().map(Into::into).collect(),
        }
    }
}

/// How far quotes are trusted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuotePolicy)]
pub(crate) struct QuotePolicyBody {
    /// The furthest that a quoted rate may be from the platform's reference, as a share.
    #[schema(example = "0.05")]
    band: String,
    /// How many seconds an earlier price is named again when an exchange gives no new one.
    #[schema(example = 300)]
    last_good_s: u32,
}

/// How far quotes shall be trusted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotePolicyRequest {
    /// The furthest that a quoted rate may be from the platform's reference, as a share in text: 0 to below 0.5 with at most 6 decimals.
    #[schema(value_type = String, example = "0.05")]
    band: Line,
    /// How many seconds an earlier price is named again when an exchange gives no new one: 0 to 3600.
    #[schema(minimum = 0, maximum = 3_600, example = 300)]
    last_good_s: u32,
}

/// Every feed, in the order of the plugins.
#[utoipa::path(get, path = "/v1/operator/feeds", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<FeedBody>)))]
pub(crate) async fn list(State(app): State<App>, operator: Operator) -> Result<Json<PageBody<FeedBody>>, Problem> {
    Ok(Json(PageBody::whole(feeds::list(&app, &operator.reading()).await?)))
}

/// Ask a feed now, such as after its address was set.
#[utoipa::path(post, path = "/v1/operator/feeds/{plugin}/ask", tag = "operator", security(("operator" = [])),
    params(("plugin" = String, Path, description = "The plugin's id.")),
    responses((status = 204, description = "It is asked within a second; `GET /v1/operator/feeds` says how it went.")))]
pub(crate) async fn ask(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(plugin)): Id<PluginName>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    feeds::ask_soon(&app, &operator.reading(), &plugin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How far quotes are trusted now.
#[utoipa::path(get, path = "/v1/operator/quote-policy", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = QuotePolicyBody)))]
pub(crate) async fn get_policy(State(app): State<App>, _: Operator) -> Result<Json<QuotePolicyBody>, Problem> {
    Ok(Json(policy(&app)))
}

/// Set how far quotes are trusted.
#[utoipa::path(put, path = "/v1/operator/quote-policy", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = QuotePolicyBody)))]
pub(crate) async fn put_policy(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<QuotePolicyRequest>,
) -> Result<Json<QuotePolicyBody>, Problem> {
    quotes::set_policy(&app, &operator.reading(), &body.band.0, body.last_good_s).await?;
    Ok(Json(policy(&app)))
}

fn policy(app: &App) -> QuotePolicyBody {
    let policy = quotes::policy(app);
    QuotePolicyBody { band: policy.band.normalize().to_string(), last_good_s: policy.last_good_s }
}
