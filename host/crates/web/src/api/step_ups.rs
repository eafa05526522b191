//! Step-ups: what a fraud rule wants the payer to confirm, and the confirmation.

use axum::extract::State;
use koban_domain::ids::StepUpId;
use koban_domain::money::Currency;
use koban_domain::step_ups::{StepUp, StepUpState};
use koban_service::{App, step_ups, users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::layers::Address;
use crate::place::Id;
use crate::problem::Problem;

/// Routes of step-ups.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(confirm))
}

/// A challenge. It is bound to one request: to its payer, payee, amount and currency and everything else in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepUp)]
pub(crate) struct StepUpBody {
    /// Its id.
    #[schema(value_type = String, example = "stu_5d41402abc4b2a76b9719d911017c592")]
    id: StepUpId,
    /// `open`: confirm it. `confirmed`: send the request again under a new key, with its id in `Koban-Step-Up`. `used`: it is over.
    #[schema(example = "open")]
    state: &'static str,
    /// How much the request is about, in whole minor units.
    #[schema(example = 50_000)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Until when it can be confirmed, or once confirmed be used.
    expires_at: String,
}

impl From<StepUp> for StepUpBody {
    fn from(step_up: StepUp) -> StepUpBody {
        StepUpBody {
            id: step_up.id,
            state: match step_up.state {
                StepUpState::Open => "open",
                StepUpState::Confirmed => "confirmed",
                StepUpState::Used => "used",
            },
            amount: step_up.amount.minor,
            currency: step_up.amount.currency,
            expires_at: moment(step_up.expires_at),
        }
    }
}

/// What the payer proves who they are with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// A challenge of the signed-in user.
#[utoipa::path(get, path = "/v1/step-ups/{id}", tag = "payments", security(("session" = [])),
    params(("id" = String, Path, description = "The id that the problem `step_up_required` names.")),
    responses((status = 200, body = StepUpBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<StepUpId>,
) -> Result<Json<StepUpBody>, Problem> {
    Ok(Json(step_ups::get(&app, &user.reading(), id).await?.into()))
}

/// Confirm a challenge by the password, within five minutes.
///
/// Then send the same request once more under a new key, with the id in `Koban-Step-Up`, within another five minutes. Tries are limited
/// as those of signing in are, and the fifth wrong one ends the challenge.
#[utoipa::path(post, path = "/v1/step-ups/{id}/confirm", tag = "payments", security(("session" = [])),
    params(("id" = String, Path, description = "The id that the problem `step_up_required` names.")),
    responses((status = 200, body = StepUpBody)))]
pub(crate) async fn confirm(
    State(web): State<Web>,
    State(app): State<App>,
    Address(address): Address,
    user: SignedInUser,
    Id(id): Id<StepUpId>,
    Json(body): Json<ConfirmRequest>,
) -> Result<Json<StepUpBody>, Problem> {
    let email = users::get(&app, user.id).await?.email;
    web.limits.sign_in(address, &email)?;
    Ok(Json(step_ups::confirm(&app, &user.reading(), id, body.password).await?.into()))
}
