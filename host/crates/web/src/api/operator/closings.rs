//! What is agreed with merchants, and their closings and payouts, for operators.

use axum::extract::State;
use axum::response::IntoResponse;
use koban_domain::arrangements::{Arrangement, CutOff, Share};
use koban_domain::ids::{ClosingId, MerchantId};
use koban_domain::money::Currency;
use koban_domain::time::date_of_day;
use koban_service::App;
use koban_service::closings::{self, ArrangementInput, ClosingInput, PayoutInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::api::KeyHeader;
use crate::api::closings::{ClosingBody, as_file};
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Created, Done, Json};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of closings, for operators.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(put_arrangement, arrangements))
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(table))
        .routes(routes!(get))
        .routes(routes!(pay_out))
}

/// What is agreed with a merchant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArrangementRequest {
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// How far below zero refunds and disputes may take what the merchant is owed, in whole minor units; zero for not at all.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64, example = 50_000)]
    credit_limit: i64,
    /// The share of what it captures that the platform keeps, from 0 to 0.5 with at most six decimals.
    #[schema(value_type = String, example = "0.0324")]
    fee_rate: Share,
    /// `daily`, `twice-monthly` (the 1st and the 16th) or `monthly` (the 1st), each at midnight in Japan; left out, as the policy says.
    #[schema(value_type = Option<String>, example = "monthly")]
    cut_off: Option<CutOff>,
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "contract of 2018-09-01")]
    reason: Line,
}

/// What is agreed with a merchant in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Arrangement)]
pub(crate) struct ArrangementBody {
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// How far below zero refunds and disputes may take what the merchant is owed.
    credit_limit: i64,
    /// The share of what it captures that the platform keeps.
    #[schema(value_type = String, example = "0.0324")]
    fee_rate: Share,
    /// `daily`, `twice-monthly`, `monthly`; none for the policy's.
    #[schema(value_type = Option<String>, example = "monthly")]
    cut_off: Option<CutOff>,
    /// The Japanese day up to whose beginning it was closed with; none before the first closing.
    #[schema(example = "2018-10-01")]
    closed_to: Option<String>,
}

impl From<(Currency, Arrangement)> for ArrangementBody {
    fn from((currency, arrangement): (Currency, Arrangement)) -> ArrangementBody {
        let closed_to = arrangement.tally.closed_to;
        ArrangementBody {
            currency,
            credit_limit: arrangement.credit_limit,
            fee_rate: arrangement.fee_rate,
            cut_off: arrangement.cut_off,
            closed_to: (closed_to != 0).then(|| date_of_day(closed_to)),
        }
    }
}

/// Agree with a merchant on credit, fee and cut-off.
///
/// It counts for everything that no closing has taken in yet.
#[utoipa::path(put, path = "/v1/operator/merchants/{id}/arrangement", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id."), KeyHeader),
    responses((status = 200, body = ArrangementBody)))]
pub(crate) async fn put_arrangement(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(merchant): Id<MerchantId>,
    Json(body): Json<ArrangementRequest>,
) -> Result<Done<ArrangementBody>, Problem> {
    let currency = body.currency;
    let input = ArrangementInput {
        merchant,
        currency,
        credit_limit: body.credit_limit,
        fee_rate: body.fee_rate,
        cut_off: body.cut_off,
        reason: body.reason.0,
    };
    let arranged = closings::arrange(&app, &operator.ctx(key), input).await?;
    let value = (currency, arranged.value);
    Ok(Done::answered(arranged.with(value)))
}

/// What is agreed with a merchant, in each of its currencies.
#[utoipa::path(get, path = "/v1/operator/merchants/{id}/arrangement", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id.")),
    responses((status = 200, body = PageBody<ArrangementBody>)))]
pub(crate) async fn arrangements(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<MerchantId>,
) -> Result<Json<PageBody<ArrangementBody>>, Problem> {
    Ok(Json(PageBody::whole(closings::arrangements(&app, id).await?)))
}

/// A period to be closed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosingRequest {
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The Japanese day with whose beginning the period ends: today at the latest.
    #[schema(value_type = String, example = "2018-10-01")]
    until: Line,
}

/// Close with a merchant out of turn.
///
/// Hosts close every period by themselves when it is over; this is for a merchant that shall be closed with earlier. A closing is final.
#[utoipa::path(post, path = "/v1/operator/merchants/{id}/closings", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The merchant's id."), KeyHeader),
    responses((status = 201, body = ClosingBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(merchant): Id<MerchantId>,
    Json(body): Json<ClosingRequest>,
) -> Result<Created<ClosingBody>, Problem> {
    let input = ClosingInput { merchant, currency: body.currency, until: body.until.0 };
    let made = closings::make(&app, &operator.ctx(key), input).await?;
    Ok(Created::answered(made, |closing: &ClosingBody| format!("/v1/operator/closings/{}", closing.id)))
}

/// Which closings.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosingQuery {
    /// Only those of this merchant.
    #[param(value_type = Option<String>)]
    merchant: Option<MerchantId>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// Closings, newest first.
#[utoipa::path(get, path = "/v1/operator/closings", tag = "operator", security(("operator" = [])),
    params(ClosingQuery), responses((status = 200, body = PageBody<ClosingBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<ClosingQuery>,
) -> Result<Json<PageBody<ClosingBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    Ok(Json(PageBody::of(closings::list(&app, query.merchant, &page).await?)))
}

/// Which periods, and whose.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileQuery {
    /// Only those of this merchant.
    #[param(value_type = Option<String>)]
    merchant: Option<MerchantId>,
    /// Periods that end on this Japanese day or later.
    #[param(example = "2018-10-01")]
    from: String,
    /// Periods that end before this day.
    #[param(example = "2019-01-01")]
    to: String,
}

/// Closings, the last period first, as CSV.
///
/// At most 10,000 lines. Amounts have the currency's decimals. Text that a spreadsheet would take for a formula begins with an
/// apostrophe.
#[utoipa::path(get, path = "/v1/operator/closings.csv", tag = "operator", security(("operator" = [])),
    params(FileQuery), responses((status = 200, body = String, content_type = "text/csv")))]
pub(crate) async fn table(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<FileQuery>,
) -> Result<impl IntoResponse, Problem> {
    Ok(as_file(&closings::file(&app, query.merchant, (&query.from, &query.to)).await?))
}

/// One closing.
#[utoipa::path(get, path = "/v1/operator/closings/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The closing's id.")),
    responses((status = 200, body = ClosingBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ClosingId>,
) -> Result<Json<ClosingBody>, Problem> {
    Ok(Json(closings::get(&app, id).await?.into()))
}

/// What the bank's statement shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayoutRequest {
    /// The bank's reference of the transfer, 1 to 100 characters; no two payouts share one.
    #[schema(value_type = String, example = "20181005-0042")]
    reference: Line,
}

/// Note that the bank paid the whole of what a closing says is due.
#[utoipa::path(post, path = "/v1/operator/closings/{id}/payout", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The closing's id."), KeyHeader),
    responses((status = 200, body = ClosingBody)))]
pub(crate) async fn pay_out(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(closing): Id<ClosingId>,
    Json(body): Json<PayoutRequest>,
) -> Result<Done<ClosingBody>, Problem> {
    let input = PayoutInput { closing, reference: body.reference.0 };
    Ok(Done::answered(closings::pay_out(&app, &operator.ctx(key), input).await?))
}
