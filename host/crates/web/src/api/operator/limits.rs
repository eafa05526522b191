//! Limits of wallets: dated rows.

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;
use koban_service::{App, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Minor, moment};
use crate::identity::Operator;
use crate::json::Json;
use crate::place::PageBody;
use crate::problem::Problem;

/// Routes of limits.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, put))
}

/// A limit that begins now or later.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitRequest {
    /// For which wallets: `prepaid` or `funds`.
    #[schema(value_type = String, example = "funds")]
    wallet: WalletKind,
    /// About what: `charge`, `pay`, `send`, `withdraw` or `hold`.
    #[schema(value_type = String, example = "send")]
    action: Action,
    /// Over what: `once`, `day` or `month`, in Japan.
    #[schema(value_type = String, example = "day")]
    window: Window,
    /// The most allowed, in whole minor units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 1_000_000)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// From when on, in Unix milliseconds; now unless told.
    #[schema(example = 1_577_804_400_000i64)]
    from_ms: Option<i64>,
}

/// A dated limit. Of several rows for the same thing, the latest that has begun applies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitBody {
    /// For which wallets.
    #[schema(value_type = String, example = "funds")]
    wallet: WalletKind,
    /// About what.
    #[schema(value_type = String, example = "send")]
    action: Action,
    /// Over what.
    #[schema(value_type = String, example = "day")]
    window: Window,
    /// The most allowed, in whole minor units.
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// From when on.
    from: String,
}

impl From<Limit> for LimitBody {
    fn from(limit: Limit) -> LimitBody {
        LimitBody {
            wallet: limit.wallet,
            action: limit.action,
            window: limit.window,
            amount: limit.amount.minor,
            currency: limit.amount.currency,
            from: moment(limit.from),
        }
    }
}

/// Every limit, those to come included.
#[utoipa::path(get, path = "/v1/operator/limits", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<LimitBody>)))]
pub(crate) async fn list(State(app): State<App>, _: Operator) -> Result<Json<PageBody<LimitBody>>, Problem> {
    Ok(Json(PageBody::whole(limits::list(&app))))
}

/// Add a limit.
///
/// A row is never changed, only followed by a later one.
#[utoipa::path(put, path = "/v1/operator/limits", tag = "operator", security(("operator" = [])),
    responses((status = 204, description = "It holds from its time on, on every host.")))]
pub(crate) async fn put(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<LimitRequest>,
) -> Result<StatusCode, Problem> {
    let limit = Limit {
        wallet: body.wallet,
        action: body.action,
        window: body.window,
        amount: body.amount.of(body.currency),
        from: body.from_ms.map_or_else(|| app.clock.now(), Timestamp),
    };
    limits::put(&app, &operator.reading(), limit).await?;
    Ok(StatusCode::NO_CONTENT)
}
