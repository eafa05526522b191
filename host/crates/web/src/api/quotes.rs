//! Prices for exchanges, named to a user and accepted in time.

use axum::extract::State;
use koban_domain::exchanges::Rate;
use koban_domain::ids::{QuoteId, RecordId};
use koban_domain::money::Currency;
use koban_domain::quotes::Quote;
use koban_service::App;
use koban_service::quotes::{self, QuoteInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::KeyHeader;
use super::exchanges::ExchangeBody;
use crate::Web;
use crate::amounts::{Minor, MoneyBody, moment};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json, NoBody};
use crate::place::Id;
use crate::problem::Problem;

/// Routes of quotes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(get)).routes(routes!(accept))
}

/// What a user asks the price of. One of the two amounts is named, the other follows from the rate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuoteRequest {
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
}

/// A price that holds for a while.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quote)]
pub(crate) struct QuoteBody {
    /// Its id: what is accepted.
    #[schema(value_type = String, example = "quo_019a3f0c7b2e7c41a5d3000000000000")]
    id: QuoteId,
    /// The exchange that named the rate.
    #[schema(example = "exchange-ecb")]
    plugin: String,
    /// The record of the call that named it.
    #[schema(value_type = String)]
    decision: RecordId,
    /// What is given.
    sell: MoneyBody,
    /// What is got.
    buy: MoneyBody,
    /// The rate, spread included.
    #[schema(value_type = String, example = "113.8727")]
    rate: Rate,
    /// The rate before the spread.
    #[schema(example = "112.7451813")]
    mid: String,
    /// Of which currency one unit has the rate.
    #[schema(value_type = String, example = "USD")]
    base: Currency,
    /// In which currency the rate is.
    #[schema(value_type = String, example = "JPY")]
    quote: Currency,
    /// When the oldest rate was fixed that it rests on.
    fixed_at: String,
    /// When it was named.
    at: String,
    /// Until when it may be accepted.
    expires_at: String,
    /// Whether an earlier price was named again because there was no new one.
    last_good: bool,
}

impl From<Quote> for QuoteBody {
    fn from(quote: Quote) -> QuoteBody {
        QuoteBody {
            id: quote.id,
            plugin: quote.plugin,
            decision: quote.decision,
            sell: quote.sell.into(),
            buy: quote.buy.into(),
            rate: quote.rate,
            mid: quote.mid.to_string(),
            base: quote.pair.base,
            quote: quote.pair.quote,
            fixed_at: moment(quote.fixed_at),
            at: moment(quote.at),
            expires_at: moment(quote.expires_at),
            last_good: quote.last_good,
        }
    }
}

/// Ask the price of an exchange. Nothing moves until it is accepted.
#[utoipa::path(post, path = "/v1/quotes", tag = "exchanges", security(("session" = [])),
    responses((status = 201, body = QuoteBody)))]
pub(crate) async fn ask(
    State(app): State<App>,
    user: SignedInUser,
    Json(body): Json<QuoteRequest>,
) -> Result<Created<QuoteBody>, Problem> {
    let input = QuoteInput { sell: body.sell, buy: body.buy, amount: body.amount.of(body.currency) };
    let quote = quotes::ask(&app, &user.reading(), input).await?;
    let place = format!("/v1/quotes/{}", quote.id);
    Ok(Created::new(place, quote.into()))
}

/// One quote of the signed-in user.
#[utoipa::path(get, path = "/v1/quotes/{id}", tag = "exchanges", security(("session" = [])),
    params(("id" = String, Path, description = "The quote's id.")),
    responses((status = 200, body = QuoteBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<QuoteId>,
) -> Result<Json<QuoteBody>, Problem> {
    Ok(Json(quotes::get(&app, &user.reading(), id).await?.into()))
}

/// Accept a quote: exchange at its rate.
///
/// A quote is accepted once, whatever the key: asked again, the first answer is given again.
#[utoipa::path(post, path = "/v1/quotes/{id}/accept", tag = "exchanges", security(("session" = [])),
    params(("id" = String, Path, description = "The quote's id."), KeyHeader),
    responses((status = 201, body = ExchangeBody)))]
pub(crate) async fn accept(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Id(id): Id<QuoteId>,
    _: NoBody,
) -> Result<Created<ExchangeBody>, Problem> {
    let made = quotes::accept(&app, &user.ctx(key), id).await?;
    Ok(Created::answered(made, |exchange: &ExchangeBody| format!("/v1/exchanges/{}", exchange.id)))
}
