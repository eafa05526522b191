//! Closing an account.

use axum::extract::State;
use koban_domain::ids::UserId;
use koban_domain::money::{Currency, Money};
use koban_service::{App, closures};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::api::KeyHeader;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::Id;
use crate::problem::Problem;

/// Routes of closures.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(close))
}

/// What an account held when it was closed.
#[derive(Serialize, ToSchema)]
#[schema(as = Closure)]
pub(crate) struct ClosureBody {
    /// One amount for each currency that it held; owed to its owner.
    set_aside: Vec<SetAsideBody>,
}

/// An amount that was set aside.
#[derive(Serialize, ToSchema)]
#[schema(as = SetAside)]
pub(crate) struct SetAsideBody {
    /// Whole minor units.
    #[schema(example = 8720)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<Vec<Money>> for ClosureBody {
    fn from(amounts: Vec<Money>) -> ClosureBody {
        let set_aside = amounts.iter().map(|money| SetAsideBody { amount: money.minor, currency: money.currency });
        ClosureBody { set_aside: set_aside.collect() }
    }
}

/// Close a user's account, for ever.
///
/// Refused while something is owed, held or under way. What the account holds is set aside in `closed-balances`; money that
/// arrives later waits in suspense.
#[utoipa::path(post, path = "/v1/operator/users/{id}/closure", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The user's id."), KeyHeader),
    responses((status = 200, body = ClosureBody)))]
pub(crate) async fn close(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(id): Id<UserId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<ClosureBody>, Problem> {
    Ok(Done::answered(closures::close(&app, &operator.ctx(key), id, &body.reason.0).await?))
}
