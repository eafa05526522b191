//! Payments and transfers at a later time.

use axum::extract::State;
use koban_domain::ids::{MerchantId, ScheduleId, UserId};
use koban_domain::money::Currency;
use koban_domain::schedules::{Schedule, ScheduleState, Wish};
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::schedules::{self, ScheduleInput, WishInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DeviceHeader, KeyHeader};
use crate::Web;
use crate::amounts::{Line, Minor, moment};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json, NoBody};
use crate::place::{Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of schedules.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get)).routes(routes!(cancel))
}

/// What shall be done later: a payment to a merchant, or a transfer to a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleRequest {
    /// When, in Unix milliseconds: a time to come, at most 366 days ahead.
    #[schema(example = 1_577_804_400_000i64)]
    execute_at_ms: i64,
    /// For a payment: who shall be paid. Exactly one of `merchant` and `receiver` is given.
    #[schema(value_type = Option<String>, example = "mer_019a3f0c7b2e7c41a5d3000000000000")]
    merchant: Option<MerchantId>,
    /// For a transfer: who shall receive.
    #[schema(value_type = Option<String>)]
    receiver: Option<UserId>,
    /// Whole minor units: yen for JPY.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1280)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// For a payment: the merchant's own reference, 1 to 100 characters.
    #[schema(value_type = Option<String>)]
    reference: Option<Line>,
    /// For a transfer: words to the receiver, at most 100 characters.
    #[schema(value_type = Option<String>)]
    message: Option<Line>,
}

impl ScheduleRequest {
    fn input(self) -> Result<ScheduleInput, Problem> {
        let amount = self.amount.of(self.currency);
        let (reference, message) = (self.reference.map(|line| line.0), self.message.map(|line| line.0));
        let wish = match (self.merchant, self.receiver) {
            (Some(_), None) if message.is_some() => {
                return Err(Problem::invalid("message", "a payment has a reference, no message"));
            }
            (None, Some(_)) if reference.is_some() => {
                return Err(Problem::invalid("reference", "a transfer has a message, no reference"));
            }
            (Some(merchant), None) => WishInput::Payment { merchant, amount, reference },
            (None, Some(receiver)) => WishInput::Transfer { receiver, amount, message },
            _ => return Err(Problem::invalid("merchant", "give either `merchant` or `receiver`")),
        };
        Ok(ScheduleInput { wish, execute_at: Timestamp(self.execute_at_ms) })
    }
}

/// Something that is to be done at a time, or was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleBody {
    /// Its id.
    #[schema(value_type = String, example = "sch_019a3f0c7b2e7c41a5d3000000000000")]
    id: ScheduleId,
    /// `payment` or `transfer`.
    #[schema(value_type = String, example = "payment")]
    kind: &'static str,
    /// Who shall be paid.
    #[schema(value_type = Option<String>)]
    merchant: Option<MerchantId>,
    /// Who shall receive.
    #[schema(value_type = Option<String>)]
    receiver: Option<UserId>,
    /// Whole minor units.
    #[schema(example = 1280)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The merchant's own reference, or the words to the receiver.
    text: Option<String>,
    /// When.
    execute_at: String,
    /// `waiting`, `running`, `done`, `refused` or `cancelled`.
    #[schema(value_type = String, example = "waiting")]
    state: ScheduleState,
    /// The id of the payment or transfer once it is done; the code of the problem if it was refused.
    outcome: Option<String>,
    /// Since when.
    created_at: String,
    /// When it was done, refused or cancelled.
    ended_at: Option<String>,
}

impl From<Schedule> for ScheduleBody {
    fn from(schedule: Schedule) -> ScheduleBody {
        let (kind, merchant, receiver, amount, text) = match schedule.wish {
            Wish::Payment { merchant, amount, reference } => ("payment", Some(merchant), None, amount, reference),
            Wish::Transfer { receiver, amount, message } => ("transfer", None, Some(receiver), amount, message),
        };
        ScheduleBody {
            id: schedule.id,
            kind,
            merchant,
            receiver,
            amount: amount.minor,
            currency: amount.currency,
            text,
            execute_at: moment(schedule.execute_at),
            state: schedule.state,
            outcome: schedule.outcome,
            created_at: moment(schedule.created_at),
            ended_at: schedule.ended_at.map(moment),
        }
    }
}

/// Have a payment or a transfer done later, from the signed-in user's wallet.
///
/// Nothing is held back for it. When its time comes it is judged and decided like any other, once; what is refused then stays so.
#[utoipa::path(post, path = "/v1/schedules", tag = "schedules", security(("session" = [])),
    params(KeyHeader, DeviceHeader), responses((status = 201, body = ScheduleBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<ScheduleRequest>,
) -> Result<Created<ScheduleBody>, Problem> {
    let made = schedules::create(&app, &user.ctx(key), body.input()?).await?;
    Ok(Created::answered(made, |schedule: &ScheduleBody| format!("/v1/schedules/{}", schedule.id)))
}

/// The signed-in user's schedules, newest first.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<ScheduleBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ScheduleBody>>, Problem> {
    Ok(Json(PageBody::of(schedules::list(&app, &user.reading(), &query.page()?).await?)))
}

/// One schedule of the signed-in user.
#[utoipa::path(get, path = "/v1/schedules/{id}", tag = "schedules", security(("session" = [])),
    params(("id" = String, Path, description = "The schedule's id.")),
    responses((status = 200, body = ScheduleBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<ScheduleId>,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(schedules::get(&app, &user.reading(), id).await?.into()))
}

/// Cancel what still waits.
#[utoipa::path(post, path = "/v1/schedules/{id}/cancel", tag = "schedules", security(("session" = [])),
    params(("id" = String, Path, description = "The schedule's id.")),
    responses((status = 200, body = ScheduleBody)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<ScheduleId>,
    _: NoBody,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(schedules::cancel(&app, &user.reading(), id).await?.into()))
}
