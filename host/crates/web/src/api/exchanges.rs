//! Exchanging one currency of a wallet for another.

use axum::extract::State;
use koban_domain::exchanges::{Exchange, Rate};
use koban_domain::ids::{ExchangeId, UserId};
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::exchanges::{self, ExchangeInput, Price};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::KeyHeader;
use crate::Web;
use crate::amounts::{Minor, MoneyBody, moment};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json};
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of exchanges.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(rates)).routes(routes!(create, list)).routes(routes!(get))
}

/// What a pair of currencies is exchanged at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExchangeRate)]
pub(crate) struct RateBody {
    /// What is priced.
    #[schema(value_type = String, example = "USD")]
    base: Currency,
    /// In what it is priced.
    #[schema(value_type = String, example = "JPY")]
    quote: Currency,
    /// What one unit of the base costs who buys it.
    #[schema(value_type = String, example = "113.8727")]
    buying: Rate,
    /// What one unit of the base brings who sells it.
    #[schema(value_type = String, example = "111.6177")]
    selling: Rate,
    /// Since when.
    since: String,
    /// Until when, unless another is set before.
    until: String,
}

impl From<Price> for RateBody {
    fn from(price: Price) -> RateBody {
        RateBody {
            base: price.pair.base,
            quote: price.pair.quote,
            buying: price.buying,
            selling: price.selling,
            since: moment(price.since),
            until: moment(price.until),
        }
    }
}

/// What a user asks for. One of the two amounts is named, the other follows from the rate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExchangeRequest {
    /// The currency that is given.
    #[schema(value_type = String, example = "JPY")]
    sell: Currency,
    /// The currency that is got.
    #[schema(value_type = String, example = "USD")]
    buy: Currency,
    /// Whole minor units of the currency below: cents for USD.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 10_000)]
    amount: Minor,
    /// One of the two.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The rate that the user was shown: `buying` of who buys the base, `selling` of who sells it. Another one in force is refused.
    #[schema(value_type = String, example = "113.8727")]
    rate: Rate,
}

impl ExchangeRequest {
    /// What it asks for.
    pub(crate) fn input(self) -> ExchangeInput {
        ExchangeInput { sell: self.sell, buy: self.buy, amount: self.amount.of(self.currency), rate: self.rate }
    }
}

/// An exchange that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exchange)]
pub(crate) struct ExchangeBody {
    /// Its id.
    #[schema(value_type = String, example = "exc_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: ExchangeId,
    /// Who exchanged.
    #[schema(value_type = String)]
    user: UserId,
    /// What was given.
    sell: MoneyBody,
    /// What was got.
    buy: MoneyBody,
    /// The rate.
    #[schema(value_type = String, example = "113.8727")]
    rate: Rate,
    /// Of which currency one unit had the rate.
    #[schema(value_type = String, example = "USD")]
    base: Currency,
    /// In which currency the rate is.
    #[schema(value_type = String, example = "JPY")]
    quote: Currency,
    /// What of the amount got repaid what was owed, minor units.
    repaid: i64,
    /// When it was posted.
    at: String,
}

impl From<Exchange> for ExchangeBody {
    fn from(exchange: Exchange) -> ExchangeBody {
        ExchangeBody {
            id: exchange.id,
            user: exchange.user,
            sell: exchange.sell.into(),
            buy: exchange.buy.into(),
            rate: exchange.rate,
            base: exchange.pair.base,
            quote: exchange.pair.quote,
            repaid: exchange.repaid,
            at: moment(exchange.at),
        }
    }
}

/// What can be exchanged now, and at what.
#[utoipa::path(get, path = "/v1/exchange-rates", tag = "exchanges", security(("session" = [])),
    responses((status = 200, body = PageBody<RateBody>)))]
pub(crate) async fn rates(State(app): State<App>, _: SignedInUser) -> Result<Json<PageBody<RateBody>>, Problem> {
    Ok(Json(PageBody::whole(exchanges::prices(&app))))
}

/// Exchange funds of the signed-in user.
///
/// Amounts are rounded against the customer to whole minor units. Only verified users exchange.
#[utoipa::path(post, path = "/v1/exchanges", tag = "exchanges", security(("session" = [])),
    params(KeyHeader), responses((status = 201, body = ExchangeBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<ExchangeRequest>,
) -> Result<Created<ExchangeBody>, Problem> {
    let made = exchanges::exchange(&app, &user.ctx(key), body.input()).await?;
    Ok(Created::answered(made, |exchange: &ExchangeBody| format!("/v1/exchanges/{}", exchange.id)))
}

/// The signed-in user's exchanges, newest first.
#[utoipa::path(get, path = "/v1/exchanges", tag = "exchanges", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<ExchangeBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ExchangeBody>>, Problem> {
    Ok(Json(PageBody::of(exchanges::list(&app, &user.reading(), &query.page()?).await?)))
}

/// One exchange of the signed-in user.
#[utoipa::path(get, path = "/v1/exchanges/{id}", tag = "exchanges", security(("session" = [])),
    params(("id" = String, Path, description = "The exchange's id.")),
    responses((status = 200, body = ExchangeBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<ExchangeId>,
) -> Result<Json<ExchangeBody>, Problem> {
    Ok(Json(exchanges::get(&app, &user.reading(), id).await?.into()))
}
