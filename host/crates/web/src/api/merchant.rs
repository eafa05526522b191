//! The merchant whose API key is sent.

use axum::extract::State;
use koban_domain::access::Access;
use koban_domain::ids::MerchantId;
use koban_domain::money::{Currency, Money};
use koban_service::App;
use koban_service::merchants::{self, MerchantView};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::statements::StatementLineBody;
use crate::Web;
use crate::amounts::moment;
use crate::identity::{MerchantKey, ReadPayments};
use crate::json::Json;
use crate::place::{PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of the merchant.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(statement))
}

/// A merchant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Merchant)]
pub(crate) struct MerchantBody {
    /// Who.
    #[schema(value_type = String, example = "mer_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: MerchantId,
    /// What payers see.
    name: String,
    /// ISO 18245 category code.
    #[schema(example = "5812")]
    category: String,
    /// In which currencies it is paid.
    #[schema(value_type = Vec<String>)]
    currencies: Vec<Currency>,
    /// `open` or `frozen`.
    #[schema(value_type = String, example = "open")]
    access: Access,
    /// Since when.
    created_at: String,
}

impl From<MerchantView> for MerchantBody {
    fn from(merchant: MerchantView) -> MerchantBody {
        MerchantBody {
            id: merchant.id,
            name: merchant.name,
            category: merchant.category,
            access: merchant.access,
            currencies: merchant.currencies,
            created_at: moment(merchant.created_at),
        }
    }
}

/// A merchant with what it is owed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnMerchant)]
pub(crate) struct OwnMerchantBody {
    /// Who.
    #[serde(flatten)]
    merchant: MerchantBody,
    /// What it is owed now, in whole minor units.
    #[schema(example = 1000)]
    balance: i64,
    /// ISO 4217 code of the balance.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<(MerchantView, Money)> for OwnMerchantBody {
    fn from((merchant, balance): (MerchantView, Money)) -> OwnMerchantBody {
        OwnMerchantBody { merchant: merchant.into(), balance: balance.minor, currency: balance.currency }
    }
}

/// Who the key's merchant is, and what it is owed.
#[utoipa::path(get, path = "/v1/merchant", tag = "merchant", security(("api_key" = ["payments:read"])),
    responses((status = 200, body = OwnMerchantBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
) -> Result<Json<OwnMerchantBody>, Problem> {
    let merchant = merchants::get(&app, key.merchant).await?;
    let balance = merchants::balance(&app, key.merchant).await?;
    Ok(Json((merchant, balance).into()))
}

/// What happened on the merchant's account, newest first.
#[utoipa::path(get, path = "/v1/merchant/statement", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(PageQuery), responses((status = 200, body = PageBody<StatementLineBody>)))]
pub(crate) async fn statement(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<StatementLineBody>>, Problem> {
    Ok(Json(PageBody::of(merchants::statement(&app, key.merchant, &query.page()?).await?)))
}
