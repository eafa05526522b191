//! The signed-in user.

use axum::extract::State;
use koban_service::{App, users};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::UserBody;
use crate::Web;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::problem::Problem;

/// Routes of the signed-in user.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Who is signed in.
#[utoipa::path(get, path = "/v1/me", tag = "users", security(("session" = [])),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn get(State(app): State<App>, user: SignedInUser) -> Result<Json<UserBody>, Problem> {
    Ok(Json(users::get(&app, user.id).await?.into()))
}
