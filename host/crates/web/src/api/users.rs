//! Signing up, and users as the API shows them.

use axum::extract::State;
use koban_domain::access::Access;
use koban_domain::ids::UserId;
use koban_domain::limits::WalletKind;
use koban_domain::verification::Verification;
use koban_service::App;
use koban_service::users::{self, SignUp, UserView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::json::{Created, Json};
use crate::layers::{Address, Language};
use crate::problem::Problem;

/// Routes of users.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create))
}

/// What somebody signs up with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUpRequest {
    /// An email address that no other user has.
    #[schema(value_type = String, example = "hana@example.com")]
    email: Line,
    /// 12 to 128 characters, whichever you like.
    #[schema(format = Password)]
    password: String,
    /// What others see, 1 to 60 characters.
    #[schema(value_type = String, example = "花子")]
    name: Line,
    /// `ja` or `en`; the language of `Accept-Language` unless told.
    #[schema(example = "ja")]
    locale: Option<String>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserBody {
    /// Who.
    #[schema(value_type = String, example = "usr_019a3f0c7b2e7c41a5d3000000000000")]
    id: UserId,
    /// Their email address.
    email: String,
    /// What others see.
    name: String,
    /// `prepaid` before verification, `funds` after it.
    #[schema(value_type = String, example = "prepaid")]
    kind: WalletKind,
    /// `open`, `frozen` or `closed`.
    #[schema(value_type = String, example = "open")]
    access: Access,
    /// `unverified`, `submitted`, `verified`, `rejected` or `revoked`.
    #[schema(value_type = String, example = "unverified")]
    verification: Verification,
    /// `ja` or `en`.
    locale: String,
    /// When they signed up.
    created_at: String,
}

impl From<UserView> for UserBody {
    fn from(user: UserView) -> UserBody {
        UserBody {
            id: user.id,
            email: user.email,
            name: user.name,
            kind: user.kind,
            access: user.access,
            verification: user.verification,
            locale: user.locale,
            created_at: moment(user.created_at),
        }
    }
}

/// Sign up.
///
/// Makes a user with an unverified wallet. Sign in afterwards.
#[utoipa::path(post, path = "/v1/users", tag = "users", responses((status = 201, body = UserBody)))]
pub(crate) async fn create(
    State(web): State<Web>,
    State(app): State<App>,
    Address(address): Address,
    Language(language): Language,
    Json(body): Json<SignUpRequest>,
) -> Result<Created<UserBody>, Problem> {
    web.limits.sign_up(address)?;
    let locale = body.locale.unwrap_or_else(|| language.to_owned());
    let input = SignUp { email: body.email.0, password: body.password, name: body.name.0, locale };
    let user = users::sign_up(&app, input).await?;
    Ok(Created::new("/v1/me".to_owned(), user.into()))
}
