//! Disputes about a merchant's payments, as the merchant sees them.

use axum::extract::State;
use koban_domain::disputes::Dispute;
use koban_domain::ids::{DisputeId, PaymentId};
use koban_domain::money::Currency;
use koban_service::{App, disputes};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::{MerchantKey, ReadPayments};
use crate::json::Json;
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of disputes, for merchants.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// A dispute.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Dispute)]
pub(crate) struct DisputeBody {
    /// Its id.
    #[schema(value_type = String, example = "dsp_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: DisputeId,
    /// About which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// `open`: the amount is set aside. `won`: the merchant has it again. `lost`: the payer has it back.
    #[schema(example = "open")]
    state: &'static str,
    /// Whole minor units.
    #[schema(example = 1280)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// What the payer says.
    reason: String,
    /// Until when it is to be decided.
    due_at: String,
    /// Since when.
    at: String,
    /// When it was decided.
    ended_at: Option<String>,
}

impl From<Dispute> for DisputeBody {
    fn from(dispute: Dispute) -> DisputeBody {
        DisputeBody {
            id: dispute.id,
            payment: dispute.of.payment,
            state: dispute.state.word(),
            amount: dispute.amount.minor,
            currency: dispute.amount.currency,
            reason: dispute.reason,
            due_at: moment(dispute.due_at),
            at: moment(dispute.at),
            ended_at: dispute.ended_at.map(moment),
        }
    }
}

/// Disputes about the merchant's payments, newest first.
#[utoipa::path(get, path = "/v1/merchant/disputes", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(PageQuery), responses((status = 200, body = PageBody<DisputeBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<DisputeBody>>, Problem> {
    Ok(Json(PageBody::of(disputes::list_own(&app, &key.reading(), &query.page()?).await?)))
}

/// One dispute about a payment of the merchant's.
#[utoipa::path(get, path = "/v1/merchant/disputes/{id}", tag = "merchant", security(("api_key" = ["payments:read"])),
    params(("id" = String, Path, description = "The dispute's id.")),
    responses((status = 200, body = DisputeBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    key: MerchantKey<ReadPayments>,
    Id(id): Id<DisputeId>,
) -> Result<Json<DisputeBody>, Problem> {
    Ok(Json(disputes::of_merchant(&app, &key.reading(), id).await?.into()))
}
