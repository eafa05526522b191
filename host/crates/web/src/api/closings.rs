//! Closings as the merchant sees them: what it captured, gave back and pays for, and what it is to be paid.

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use koban_domain::arrangements::Share;
use koban_domain::closings::Closing;
use koban_domain::ids::{ClosingId, MerchantId};
use koban_domain::money::Currency;
use koban_domain::time::date_of_day;
use koban_service::{App, closings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::csv;
use crate::identity::{MerchantKey, ReadPayments};
use crate::json::Json;
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of closings, for merchants.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(table)).routes(routes!(get))
}

/// A closing. Amounts are whole minor units, and `carried + captured - refunded - disputed + returned + adjusted - fee - tax = due + left`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Closing)]
pub(crate) struct ClosingBody {
    /// Its id.
    #[schema(value_type = String, example = "clo_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: ClosingId,
    /// With whom.
    #[schema(value_type = String)]
    merchant: MerchantId,
    /// `closed`: what is due has not been paid out. `paid`: it has.
    #[schema(example = "closed")]
    state: &'static str,
    /// The Japanese day with whose beginning the period ends. It takes in all that was posted before it was made and that no closing
    /// before took in.
    #[schema(example = "2018-10-01")]
    until: String,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// What the closing before carried forward; below zero what the merchant was behind.
    carried: i64,
    /// What was captured or paid at once.
    #[schema(example = 100_000)]
    captured: i64,
    /// What was refunded.
    refunded: i64,
    /// What disputes set aside.
    disputed: i64,
    /// What disputes that were won brought back.
    returned: i64,
    /// What adjustments brought, less what they took.
    adjusted: i64,
    /// The share that the fee is of what was captured.
    #[schema(value_type = String, example = "0.0324")]
    fee_rate: Share,
    /// The fee, truncated.
    #[schema(example = 3_240)]
    fee: i64,
    /// The consumption tax of the period's last day.
    #[schema(value_type = String, example = "0.08")]
    tax_rate: Share,
    /// The tax on the fee, truncated.
    #[schema(example = 259)]
    tax: i64,
    /// What the merchant is to be paid.
    #[schema(example = 96_501)]
    due: i64,
    /// What stays on the account: zero, or below zero what the next closing begins with.
    left: i64,
    /// Under which reference of the bank it was paid.
    reference: Option<String>,
    /// The last entry of the journal that the closing before took in.
    after: i64,
    /// The last entry that this one takes in.
    through: i64,
    /// When it was made.
    at: String,
    /// When the payout was noted.
    paid_at: Option<String>,
}

impl From<Closing> for ClosingBody {
    fn from(closing: Closing) -> ClosingBody {
        ClosingBody {
            id: closing.id,
            merchant: closing.merchant,
            state: closing.state.word(),
            until: date_of_day(closing.until),
            currency: closing.currency,
            carried: closing.carried,
            captured: closing.captured,
            refunded: closing.refunded,
            disputed: closing.disputed,
            returned: closing.returned,
            adjusted: closing.adjusted,
            fee_rate: closing.fee_rate,
            fee: closing.fee,
            tax_rate: closing.tax_rate,
            tax: closing.tax,
            due: closing.due,
            left: closing.left,
            reference: closing.reference,
            after: closing.after,
            through: closing.through,
            at: moment(closing.at),
            paid_at: closing.paid_at.map(moment),
        }
    }
}

/// Closings as a file for spreadsheets.
pub(crate) fn as_file(closings: &[Closing]) -> impl IntoResponse + use<> {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"closings.csv\""),
    ];
    (headers, csv::of_closings(closings))
}

/// The merchant's closings, newest first.
#[utoipa::path(get, path = "/v1/merchant/closings", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(PageQuery), responses((status = 200, body = PageBody<ClosingBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ClosingBody>>, Problem> {
    Ok(Json(PageBody::of(closings::list(&app, Some(key.merchant), &query.page()?).await?)))
}

/// Which periods.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaysQuery {
    /// Periods that end on this Japanese day or later.
    #[param(example = "2018-10-01")]
    from: String,
    /// Periods that end before this day.
    #[param(example = "2019-01-01")]
    to: String,
}

/// The merchant's closings, the last period first, as CSV.
///
/// At most 10,000 lines. Amounts have the currency's decimals. Text that a spreadsheet would take for a formula begins with an
/// apostrophe.
#[utoipa::path(get, path = "/v1/merchant/closings.csv", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(DaysQuery), responses((status = 200, body = String, content_type = "text/csv")))]
pub(crate) async fn table(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Query(query): Query<DaysQuery>,
) -> Result<impl IntoResponse, Problem> {
    Ok(as_file(&closings::file(&app, Some(key.merchant), (&query.from, &query.to)).await?))
}

/// One closing of the merchant's.
#[utoipa::path(get, path = "/v1/merchant/closings/{id}", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(("id" = String, Path, description = "The closing's id.")),
    responses((status = 200, body = ClosingBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Id(id): Id<ClosingId>,
) -> Result<Json<ClosingBody>, Problem> {
    Ok(Json(closings::of_merchant(&app, &key.reading(), id).await?.into()))
}
