//! The platform's currencies: which are offered, at what they are exchanged, and what that made of its positions.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::exchanges::Pair;
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::exchanges::{self, CurrencyView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::identity::Operator;
use crate::json::Json;
use crate::place::PageBody;
use crate::problem::Problem;

/// Routes of currencies.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, put)).routes(routes!(put_rate))
}

/// A currency that wallets may hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlatformCurrency)]
pub(crate) struct CurrencyBody {
    /// ISO 4217 code.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The most that the platform's position may reach either way, minor units; null for yen.
    #[schema(example = 10_000_000)]
    position_limit: Option<i64>,
    /// What the platform holds of it by exchanges, minor units; below zero what it lacks.
    position: i64,
    /// What rounding left, minor units.
    rounding: i64,
}

impl From<CurrencyView> for CurrencyBody {
    fn from(view: CurrencyView) -> CurrencyBody {
        CurrencyBody {
            currency: view.currency,
            position_limit: view.position_limit,
            position: view.position,
            rounding: view.rounding,
        }
    }
}

/// A currency to be offered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyRequest {
    /// ISO 4217 code, any but JPY.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The most that the platform's position may reach either way, minor units. At 0 the currency can only flow back.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64, example = 10_000_000)]
    position_limit: i64,
}

/// What a pair is exchanged at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRequest {
    /// What is priced.
    #[schema(value_type = String, example = "USD")]
    base: Currency,
    /// In what it is priced.
    #[schema(value_type = String, example = "JPY")]
    quote: Currency,
    /// The middle, as text: at most 12 decimals.
    #[schema(value_type = String, example = "112.745181285556")]
    mid: Line,
    /// What is added for who buys the base and taken off for who sells it, as a share in text: at most 6 decimals, below 0.5.
    #[schema(value_type = String, example = "0.01")]
    spread: Line,
}

/// Every currency of the platform, yen first.
#[utoipa::path(get, path = "/v1/operator/currencies", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<CurrencyBody>)))]
pub(crate) async fn list(State(app): State<App>, operator: Operator) -> Result<Json<PageBody<CurrencyBody>>, Problem> {
    Ok(Json(PageBody::whole(exchanges::currencies(&app, &operator.reading()).await?)))
}

/// Offer a currency, or change the limit of the platform's position in it.
#[utoipa::path(put, path = "/v1/operator/currencies", tag = "operator", security(("operator" = [])),
    responses((status = 204, description = "It holds from the next commit on, on every host.")))]
pub(crate) async fn put(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<CurrencyRequest>,
) -> Result<StatusCode, Problem> {
    exchanges::put_currency(&app, &operator.reading(), body.currency, body.position_limit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set what a pair is exchanged at. It stands for four days.
#[utoipa::path(put, path = "/v1/operator/exchange-rates", tag = "operator", security(("operator" = [])),
    responses((status = 204, description = "It holds from the next commit on, on every host.")))]
pub(crate) async fn put_rate(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<RateRequest>,
) -> Result<StatusCode, Problem> {
    let pair = Pair { base: body.base, quote: body.quote };
    exchanges::put_reference(&app, &operator.reading(), pair, &body.mid.0, &body.spread.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
