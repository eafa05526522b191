//! Signing in and out, for users and operators.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::ids::OperatorId;
use koban_service::operators::OperatorView;
use koban_service::users::{self, SignedIn, UserView};
use koban_service::{App, operators};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::UserBody;
use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::Session;
use crate::json::{Created, Json};
use crate::layers::Address;
use crate::problem::Problem;

/// Routes of sessions.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(delete)).routes(routes!(create_operator))
}

/// What somebody signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInRequest {
    /// The email address.
    #[schema(value_type = String, example = "hana@example.com")]
    email: Line,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// A new session of a user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionBody {
    /// Send it as `Authorization: Bearer …`. It is shown once.
    token: String,
    /// When the session ends at the latest; without use it ends after 15 minutes.
    expires_at: String,
    /// Who has signed in.
    user: UserBody,
}

impl From<SignedIn<UserView>> for SessionBody {
    fn from(signed: SignedIn<UserView>) -> SessionBody {
        SessionBody { token: signed.token, expires_at: moment(signed.expires_at), user: signed.who.into() }
    }
}

/// A new session of an operator.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorSession)]
pub(crate) struct OperatorSessionBody {
    /// Send it as `Authorization: Bearer …`. It is shown once.
    token: String,
    /// When the session ends at the latest; without use it ends after 15 minutes.
    expires_at: String,
    /// Who has signed in.
    operator: OperatorBody,
}

/// An operator.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operator)]
pub(crate) struct OperatorBody {
    /// Who.
    #[schema(value_type = String, example = "opr_019a3f0c7b2e7c41a5d3000000000000")]
    id: OperatorId,
    /// Their email address.
    email: String,
    /// Their name.
    name: String,
    /// Since when.
    created_at: String,
}

impl From<OperatorView> for OperatorBody {
    fn from(operator: OperatorView) -> OperatorBody {
        let OperatorView { id, email, name, created_at } = operator;
        OperatorBody { id, email, name, created_at: moment(created_at) }
    }
}

impl From<SignedIn<OperatorView>> for OperatorSessionBody {
    fn from(signed: SignedIn<OperatorView>) -> OperatorSessionBody {
        OperatorSessionBody { token: signed.token, expires_at: moment(signed.expires_at), operator: signed.who.into() }
    }
}

/// Sign in as a user.
///
/// Tries are limited by address and by email. A wrong password and an unknown email have the same answer.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", responses((status = 201, body = SessionBody)))]
pub(crate) async fn create(
    State(web): State<Web>,
    State(app): State<App>,
    Address(address): Address,
    Json(body): Json<SignInRequest>,
) -> Result<Created<SessionBody>, Problem> {
    web.limits.sign_in(address, &body.email.0)?;
    let signed = users::sign_in(&app, &body.email.0, body.password).await?;
    Ok(Created::new("/v1/sessions/current".to_owned(), signed.into()))
}

/// Sign out.
///
/// Ends the session whose token is sent, a user's or an operator's.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions", security(("session" = []), ("operator" = [])),
    responses((status = 204, description = "The token is worth nothing any more.")))]
pub(crate) async fn delete(State(app): State<App>, Session(token): Session) -> Result<StatusCode, Problem> {
    users::sign_out(&app, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign in as an operator.
#[utoipa::path(post, path = "/v1/operators/sessions", tag = "sessions",
    responses((status = 201, body = OperatorSessionBody)))]
pub(crate) async fn create_operator(
    State(web): State<Web>,
    State(app): State<App>,
    Address(address): Address,
    Json(body): Json<SignInRequest>,
) -> Result<Created<OperatorSessionBody>, Problem> {
    web.limits.sign_in(address, &body.email.0)?;
    let signed = operators::sign_in(&app, &body.email.0, body.password).await?;
    Ok(Created::new("/v1/sessions/current".to_owned(), signed.into()))
}
