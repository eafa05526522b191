//! The signed-in user.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use koban_service::identity::PasswordChange;
use koban_service::{App, users};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::UserBody;
use crate::Web;
use crate::headers;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::layers::Address;
use crate::problem::Problem;

/// Routes of the signed-in user.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(change_password))
}

/// Who is signed in.
#[utoipa::path(get, path = "/v1/me", tag = "users", security(("session" = [])),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn get(State(app): State<App>, user: SignedInUser) -> Result<Json<UserBody>, Problem> {
    Ok(Json(users::get(&app, user.id).await?.into()))
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    /// The password you have.
    #[schema(format = Password)]
    current: String,
    /// The password you want, 12 to 128 characters, whichever you like.
    #[schema(format = Password)]
    new: String,
}

impl From<PasswordRequest> for PasswordChange {
    fn from(body: PasswordRequest) -> PasswordChange {
        PasswordChange { current: body.current, new: body.new }
    }
}

/// Change your password.
///
/// Your other sessions end, this one goes on. Tries are limited like those of signing in.
#[utoipa::path(post, path = "/v1/me/password", tag = "users", security(("session" = [])),
    responses((status = 204, description = "The new password holds.")))]
pub(crate) async fn change_password(
    State(web): State<Web>,
    State(app): State<App>,
    user: SignedInUser,
    Address(address): Address,
    headers: HeaderMap,
    Json(body): Json<PasswordRequest>,
) -> Result<StatusCode, Problem> {
    web.limits.sign_in(address, &user.id.to_string())?;
    users::change_password(&app, &user.reading(), headers::bearer(&headers)?, body.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
