//! Giving payments back.

use axum::extract::State;
use koban_domain::ids::{PaymentId, RefundId, UserId};
use koban_domain::money::Currency;
use koban_domain::refunds::Refund;
use koban_service::refunds::{self, RefundInput};
use koban_service::{Actor, App};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::KeyHeader;
use crate::Web;
use crate::amounts::{Minor, moment};
use crate::headers::IdempotencyKey;
use crate::identity::{MerchantKey, Party, RefundPayments};
use crate::json::{Created, Json};
use crate::place::{Id, PageBody};
use crate::problem::Problem;

/// Routes of refunds.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list))
}

/// What a merchant gives back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundRequest {
    /// Whole minor units, at most what is left of the payment.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 280)]
    amount: Minor,
    /// ISO 4217 code: the payment's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refund)]
pub(crate) struct RefundBody {
    /// Its id.
    #[schema(value_type = String, example = "ref_019a3f0c7b2e7c41a5d3000000000000")]
    id: RefundId,
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// Who got it.
    #[schema(value_type = String)]
    payer: UserId,
    /// Whole minor units.
    #[schema(example = 280)]
    amount: i64,
    /// What of it repaid an amount that the payer owed. Only the payer is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    repaid: Option<i64>,
    /// What of it went back to the payer's lots of bonus. Only the payer is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    bonus: Option<i64>,
    /// What of it had been paid with bonus that has ended since: nobody gets it back. Only the payer is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    lapsed: Option<i64>,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// When it was posted.
    at: String,
}

impl RefundBody {
    /// As the payer sees it: what was owed, and what was paid with, is nobody else's business.
    fn of_payer(refund: Refund) -> RefundBody {
        let (repaid, bonus, lapsed) = (Some(refund.repaid), Some(refund.bonus), Some(refund.lapsed));
        RefundBody { repaid, bonus, lapsed, ..RefundBody::from(refund) }
    }
}

impl From<Refund> for RefundBody {
    fn from(refund: Refund) -> RefundBody {
        RefundBody {
            id: refund.id,
            payment: refund.payment,
            payer: refund.payer,
            amount: refund.amount.minor,
            repaid: None,
            bonus: None,
            lapsed: None,
            currency: refund.amount.currency,
            at: moment(refund.at),
        }
    }
}

/// Give a payment back, in part or whole.
///
/// The money comes from what the merchant is owed and goes to the kinds that paid, in reverse order.
#[utoipa::path(post, path = "/v1/payments/{id}/refunds", tag = "payments", security(("api_key" = ["payments:refund"])),
    params(("id" = String, Path, description = "The payment's id."), KeyHeader),
    responses((status = 201, body = RefundBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    merchant: MerchantKey<RefundPayments>,
    key: IdempotencyKey,
    Id(payment): Id<PaymentId>,
    Json(body): Json<RefundRequest>,
) -> Result<Created<RefundBody>, Problem> {
    let input = RefundInput { payment, amount: body.amount.of(body.currency) };
    let refunded = refunds::refund(&app, &merchant.ctx(key), input).await?;
    Ok(Created::answered(refunded, |refund: &RefundBody| format!("/v1/payments/{}/refunds", refund.payment)))
}

/// The refunds of a payment, oldest first.
#[utoipa::path(get, path = "/v1/payments/{id}/refunds", tag = "payments",
    security(("session" = []), ("api_key" = ["payments:read"])),
    params(("id" = String, Path, description = "The payment's id.")),
    responses((status = 200, body = PageBody<RefundBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    party: Party,
    Id(payment): Id<PaymentId>,
) -> Result<Json<PageBody<RefundBody>>, Problem> {
    let ctx = party.reading();
    let refunds = refunds::list_of(&app, &ctx, payment).await?.into_iter();
    Ok(Json(match ctx.actor {
        Actor::User(_) => PageBody::whole(refunds.map(RefundBody::of_payer).collect()),
        _ => PageBody::whole(refunds.map(RefundBody::from).collect()),
    }))
}
