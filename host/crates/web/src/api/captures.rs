//! What becomes of a held amount: captures and voids by the merchant, increments by the payer.

use axum::extract::State;
use koban_domain::captures::Capture;
use koban_domain::ids::{CaptureId, PaymentId, RecordId};
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::captures::{self, CaptureInput, IncrementInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::payments::PaymentBody;
use super::{DeviceHeader, KeyHeader, StepUpHeader};
use crate::Web;
use crate::amounts::{Minor, moment};
use crate::headers::IdempotencyKey;
use crate::identity::{CapturePayments, MerchantKey, Party, SignedInUser};
use crate::json::{Created, Done, Json, NoBody};
use crate::place::{Id, PageBody};
use crate::problem::Problem;

/// Routes of held amounts.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(void)).routes(routes!(increase))
}

/// What a merchant captures.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureRequest {
    /// Whole minor units in the payment's own currency, at most what is held; all that is held if it is left out.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 980)]
    amount: Option<Minor>,
    /// Whether this is the last capture: what is left is let go. A capture of all that is held is always the last.
    #[serde(rename = "final", default)]
    last: bool,
}

/// A capture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Capture)]
pub(crate) struct CaptureBody {
    /// Its id.
    #[schema(value_type = String, example = "cap_019a3f0c7b2e7c41a5d3000000000000")]
    id: CaptureId,
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// Whole minor units.
    #[schema(example = 980)]
    amount: i64,
    /// What was let go with it.
    let_go: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Whether it was the last one: nothing is held any more.
    #[serde(rename = "final")]
    last: bool,
    /// The decision that authorised the payment.
    #[schema(value_type = Option<String>)]
    decision: Option<RecordId>,
    /// When it was posted.
    at: String,
}

impl From<Capture> for CaptureBody {
    fn from(capture: Capture) -> CaptureBody {
        CaptureBody {
            id: capture.id,
            payment: capture.payment,
            amount: capture.amount.minor,
            let_go: capture.let_go,
            currency: capture.amount.currency,
            last: capture.last,
            decision: capture.decision,
            at: moment(capture.at),
        }
    }
}

/// What a payer adds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncrementRequest {
    /// Whole minor units that are held beside what is held already.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 500)]
    amount: Minor,
    /// ISO 4217 code: the payment's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// Capture what is held, in part or whole, once or several times.
///
/// The parts are taken in the order in which they were held. After the hold's time, and after the last capture or a void, nothing
/// can be captured.
#[utoipa::path(post, path = "/v1/payments/{id}/captures", tag = "payments", security(("api_key" = ["payments:capture"])),
    params(("id" = String, Path, description = "The payment's id."), KeyHeader),
    responses((status = 201, body = CaptureBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    merchant: MerchantKey<CapturePayments>,
    key: IdempotencyKey,
    Id(payment): Id<PaymentId>,
    Json(body): Json<CaptureRequest>,
) -> Result<Created<CaptureBody>, Problem> {
    let input = CaptureInput { payment, amount: body.amount.map(|amount| amount.0), last: body.last };
    let captured = captures::capture(&app, &merchant.ctx(key), input).await?;
    Ok(Created::answered(captured, |capture: &CaptureBody| format!("/v1/payments/{}/captures", capture.payment)))
}

/// The captures of a payment, oldest first. A payment that was paid at once has none.
#[utoipa::path(get, path = "/v1/payments/{id}/captures", tag = "payments",
    security(("session" = []), ("api_key" = ["payments:read"])),
    params(("id" = String, Path, description = "The payment's id.")),
    responses((status = 200, body = PageBody<CaptureBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    party: Party,
    Id(payment): Id<PaymentId>,
) -> Result<Json<PageBody<CaptureBody>>, Problem> {
    Ok(Json(PageBody::whole(captures::list_of(&app, &party.reading(), payment).await?)))
}

/// Let go of all that is held.
///
/// What was captured stays captured; give that back with a refund.
#[utoipa::path(post, path = "/v1/payments/{id}/void", tag = "payments", security(("api_key" = ["payments:capture"])),
    params(("id" = String, Path, description = "The payment's id."), KeyHeader),
    responses((status = 200, body = PaymentBody)))]
pub(crate) async fn void(
    State(app): State<App>,
    merchant: MerchantKey<CapturePayments>,
    key: IdempotencyKey,
    Id(payment): Id<PaymentId>,
    _: NoBody,
) -> Result<Done<PaymentBody>, Problem> {
    Ok(Done::answered(captures::void(&app, &merchant.ctx(key), payment).await?))
}

/// Have more held for the merchant of an authorised payment.
///
/// The fraud rules judge it like a payment of its own. The hold ends when it would have ended.
#[utoipa::path(post, path = "/v1/payments/{id}/increments", tag = "payments", security(("session" = [])),
    params(("id" = String, Path, description = "The payment's id."), KeyHeader, DeviceHeader, StepUpHeader),
    responses((status = 200, body = PaymentBody)))]
pub(crate) async fn increase(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Id(payment): Id<PaymentId>,
    Json(body): Json<IncrementRequest>,
) -> Result<Done<PaymentBody>, Problem> {
    let input = IncrementInput { payment, amount: body.amount.of(body.currency) };
    Ok(Done::answered(captures::increase(&app, &user.ctx(key), input).await?))
}
