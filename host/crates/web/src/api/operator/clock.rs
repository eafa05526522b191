//! The platform's clock: read everywhere, moved only where money is not real.

use axum::extract::State;
use koban_service::App;
use koban_service::platform::{self, ClockView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::Json;
use crate::problem::Problem;

/// Routes of the clock.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(advance))
}

/// The platform's time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Clock)]
pub(crate) struct ClockBody {
    /// The time by which everything is decided.
    now: String,
    /// What the database is for: `live` or `test`.
    #[schema(value_type = String, example = "test")]
    mode: &'static str,
    /// How far it runs ahead of the machine's clock, milliseconds.
    #[schema(example = 86_400_000i64)]
    ahead_ms: i64,
}

impl From<ClockView> for ClockBody {
    fn from(clock: ClockView) -> ClockBody {
        ClockBody { now: moment(clock.now), mode: clock.mode.word(), ahead_ms: clock.ahead_ms }
    }
}

/// How far to move it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceRequest {
    /// Seconds, at most a year of them. A clock is never moved back.
    #[schema(minimum = 1, maximum = 31_622_400, example = 86_400)]
    by_s: i64,
}

/// The platform's time, and by which clock.
#[utoipa::path(get, path = "/v1/operator/clock", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = ClockBody)))]
pub(crate) async fn get(State(app): State<App>, operator: Operator) -> Result<Json<ClockBody>, Problem> {
    Ok(Json(platform::time(&app, &operator.reading())?.into()))
}

/// Move the clock on.
///
/// Only on a test's database, served with `--test-clock`. What became due by it is seen to at once; sessions may have ended.
#[utoipa::path(post, path = "/v1/operator/clock/advance", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = ClockBody)))]
pub(crate) async fn advance(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<AdvanceRequest>,
) -> Result<Json<ClockBody>, Problem> {
    Ok(Json(platform::move_clock(&app, &operator.reading(), body.by_s).await?.into()))
}
