//! Paying merchants.

use axum::extract::State;
use koban_domain::captures::HOLD_MS;
use koban_domain::ids::{MerchantId, PaymentId, RecordId, UserId};
use koban_domain::money::Currency;
use koban_domain::payments::{Payment, PaymentState};
use koban_service::App;
use koban_service::payments::{self, PayInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DeviceHeader, KeyHeader, StepUpHeader};
use crate::Web;
use crate::amounts::{Line, Minor, moment};
use crate::headers::IdempotencyKey;
use crate::identity::{Party, SignedInUser};
use crate::json::{Created, Json};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of payments.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get))
}

/// What a payer asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayRequest {
    /// Who shall be paid.
    #[schema(value_type = String, example = "mer_019a3f0c7b2e7c41a5d3000000000000")]
    merchant: MerchantId,
    /// Whole minor units: yen for JPY.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1280)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The merchant's own reference, 1 to 100 characters; no two payments to a merchant share one.
    #[schema(value_type = Option<String>, example = "order-1001")]
    reference: Option<Line>,
    /// Whether the merchant gets the amount now. If not, it is held until the merchant captures it.
    #[serde(default = "yes")]
    #[schema(default = true)]
    capture: bool,
    /// With `capture: false`: for how many seconds the amount is held, 7 days unless told, at most 30.
    #[schema(minimum = 1, maximum = 2_592_000, example = 604_800)]
    expires_in_s: Option<u32>,
}

impl PayRequest {
    /// What it asks for. Errors: a hold's time without a hold.
    pub(crate) fn input(self) -> Result<PayInput, Problem> {
        let hold_s = match (self.capture, self.expires_in_s) {
            (true, None) => None,
            (true, Some(_)) => {
                return Err(Problem::invalid("expires_in_s", "leave it out, or send `\"capture\": false` with it"));
            }
            (false, told) => Some(told.map_or(HOLD_MS / 1_000, i64::from)),
        };
        let (merchant, amount) = (self.merchant, self.amount.of(self.currency));
        Ok(PayInput { merchant, amount, reference: self.reference.map(|line| line.0), hold_s })
    }
}

fn yes() -> bool {
    true
}

/// A payment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Payment)]
pub(crate) struct PaymentBody {
    /// Its id.
    #[schema(value_type = String, example = "pay_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: PaymentId,
    /// Who paid.
    #[schema(value_type = String)]
    payer: UserId,
    /// Who was paid.
    #[schema(value_type = String)]
    merchant: MerchantId,
    /// `authorised` and `in-review`: the amount is held. `captured`: nothing is held any more. `voided`, `expired`, `declined`: all of
    /// it was let go.
    #[schema(example = "captured")]
    state: &'static str,
    /// What was paid at once or held in total, in whole minor units.
    #[schema(example = 1280)]
    amount: i64,
    /// What is held and not captured yet.
    held: i64,
    /// What the merchant got.
    captured: i64,
    /// What of that has been given back.
    refunded: i64,
    /// What of it is in dispute and set aside.
    disputed: i64,
    /// What of it can still be given back.
    refundable: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The merchant's own reference.
    reference: Option<String>,
    /// The decision that allowed it.
    #[schema(value_type = Option<String>)]
    decision: Option<RecordId>,
    /// When what is held is let go, or was to be; none if it was paid at once.
    expires_at: Option<String>,
    /// When it was posted or held.
    at: String,
}

impl From<Payment> for PaymentBody {
    fn from(payment: Payment) -> PaymentBody {
        PaymentBody {
            id: payment.id,
            payer: payment.payer,
            merchant: payment.merchant,
            state: payment.state.word(),
            amount: payment.amount.minor,
            held: payment.held(),
            captured: payment.captured,
            refunded: payment.refunded,
            disputed: payment.disputed,
            refundable: payment.refundable(),
            currency: payment.amount.currency,
            reference: payment.reference,
            decision: payment.decision,
            expires_at: payment.expires_at.map(moment),
            at: moment(payment.at),
        }
    }
}

/// Which payments.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentQuery {
    /// For merchants: the payment with this reference of theirs.
    reference: Option<String>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// Pay a merchant from the signed-in user's wallet.
///
/// The fraud rules judge it first. Bonus is spent first, then prepaid value, then funds. With `capture: false` the amount is held for the merchant. If a
/// rule wants a person to look, the amount is held until then and the answer is 202.
#[utoipa::path(post, path = "/v1/payments", tag = "payments", security(("session" = [])),
    params(KeyHeader, DeviceHeader, StepUpHeader), responses((status = 201, body = PaymentBody),
        (status = 202, body = PaymentBody, description = "Held until an operator has looked at it.")))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<PayRequest>,
) -> Result<Created<PaymentBody>, Problem> {
    let paid = payments::pay(&app, &user.ctx(key), body.input()?).await?;
    let waits = paid.value.state == PaymentState::InReview;
    Ok(Created::answered(paid, |payment: &PaymentBody| format!("/v1/payments/{}", payment.id)).waiting(waits))
}

/// Payments made by the signed-in user, or to the merchant whose key is sent, newest first.
#[utoipa::path(get, path = "/v1/payments", tag = "payments",
    security(("session" = []), ("api_key" = ["payments:read"])),
    params(PaymentQuery), responses((status = 200, body = PageBody<PaymentBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    party: Party,
    Query(query): Query<PaymentQuery>,
) -> Result<Json<PageBody<PaymentBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let payments = payments::list(&app, &party.reading(), query.reference.as_deref(), &page).await?;
    Ok(Json(PageBody::of(payments)))
}

/// One payment, for its payer or its merchant.
#[utoipa::path(get, path = "/v1/payments/{id}", tag = "payments",
    security(("session" = []), ("api_key" = ["payments:read"])),
    params(("id" = String, Path, description = "The payment's id.")),
    responses((status = 200, body = PaymentBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    party: Party,
    Id(id): Id<PaymentId>,
) -> Result<Json<PaymentBody>, Problem> {
    Ok(Json(payments::get(&app, &party.reading(), id).await?.into()))
}
