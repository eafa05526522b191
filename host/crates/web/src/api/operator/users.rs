//! Users as operators see them, and the word that somebody is who they say.

use axum::extract::State;
use koban_domain::ids::UserId;
use koban_service::{App, users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::api::KeyHeader;
use crate::api::users::UserBody;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json, NoBody};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of users, for operators.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(verify))
}

/// Which users.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserQuery {
    /// The user with this email address.
    email: Option<String>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// What a verification did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verification)]
pub(crate) struct VerificationBody {
    /// How much prepaid value became funds, in yen.
    #[schema(example = 8720)]
    converted: i64,
}

impl From<i64> for VerificationBody {
    fn from(converted: i64) -> VerificationBody {
        VerificationBody { converted }
    }
}

/// Users, newest first, or the one with an email address.
#[utoipa::path(get, path = "/v1/operator/users", tag = "operator", security(("operator" = [])),
    params(UserQuery), responses((status = 200, body = PageBody<UserBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<UserQuery>,
) -> Result<Json<PageBody<UserBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let Some(email) = query.email else {
        return Ok(Json(PageBody::of(users::list(&app, &page).await?)));
    };
    match users::find_by_email(&app, &email).await {
        Ok(user) => Ok(Json(PageBody::whole(vec![user]))),
        Err(koban_service::Error::NotFound(_)) => Ok(Json(PageBody::whole::<users::UserView>(Vec::new()))),
        Err(error) => Err(error.into()),
    }
}

/// One user.
#[utoipa::path(get, path = "/v1/operator/users/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id.")),
    responses((status = 200, body = UserBody)))]
pub(crate) async fn get(State(app): State<App>, _: Operator, Id(id): Id<UserId>) -> Result<Json<UserBody>, Problem> {
    Ok(Json(users::get(&app, id).await?.into()))
}

/// Verify a user.
///
/// Prepaid value becomes funds, which may be sent.
#[utoipa::path(post, path = "/v1/operator/users/{id}/verification", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), KeyHeader),
    responses((status = 200, body = VerificationBody)))]
pub(crate) async fn verify(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<UserId>,
    _: NoBody,
) -> Result<Done<VerificationBody>, Problem> {
    Ok(Done::answered(users::verify(&app, &operator.ctx(key), id).await?))
}
