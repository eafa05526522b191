//! What a user submits to be verified.

use axum::extract::State;
use koban_service::verification::{self, Particulars};
use koban_service::{App, users};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::Line;
use crate::api::KeyHeader;
use crate::api::users::UserBody;
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Done, Json};
use crate::problem::Problem;

/// Routes of a user's own verification.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(submit))
}

/// Who somebody says they are. It is sealed before it is stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Submission)]
pub(crate) struct SubmissionRequest {
    /// The name in full, 1 to 100 characters.
    #[schema(value_type = String, example = "山田 花子")]
    name: Line,
    /// The day of birth.
    #[schema(value_type = String, example = "1990-04-01")]
    birth_date: Line,
    /// Where they live, 1 to 300 characters.
    #[schema(value_type = String, example = "東京都千代田区千代田1-1")]
    address: Line,
    /// What the account is for, 1 to 100 characters.
    #[schema(value_type = String, example = "日々の支払い")]
    purpose: Line,
    /// What they do for a living, 1 to 100 characters.
    #[schema(value_type = String, example = "会社員")]
    occupation: Line,
}

/// Submit who you are.
///
/// Somebody of the platform decides; until then `verification` is `submitted`. After a rejection it may be submitted anew.
#[utoipa::path(post, path = "/v1/me/verification", tag = "users", security(("session" = [])),
    params(KeyHeader), responses((status = 200, body = UserBody)))]
pub(crate) async fn submit(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<SubmissionRequest>,
) -> Result<Done<UserBody>, Problem> {
    let particulars = Particulars {
        name: body.name.0,
        birth_date: body.birth_date.0,
        address: body.address.0,
        purpose: body.purpose.0,
        occupation: body.occupation.0,
    };
    let done = verification::submit(&app, &user.ctx(key), particulars).await?;
    Ok(Done::answered(done.with(users::get(&app, user.id).await?)))
}
