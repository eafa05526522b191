//! Where the journal ends, and how the commit queue does.

use std::sync::atomic::Ordering;

use axum::extract::State;
use koban_domain::records::Digest;
use koban_service::App;
use koban_service::error::Error;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::Json;
use crate::problem::Problem;

/// Routes of the ledger.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(head))
}

/// Where the journal ends.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerHead)]
pub(crate) struct HeadBody {
    /// Entries so far.
    sequence: i64,
    /// The last entry's hash, which covers all before it; zeros before the first.
    #[schema(value_type = String)]
    hash: Digest,
    /// The last entry's time.
    at: String,
    /// Units of work that wait for a commit on this host.
    waiting: usize,
    /// Commits of this host since it started.
    commits: u64,
    /// Units of work in them.
    works: u64,
}

/// Where the journal ends, and how this host's commit queue does.
#[utoipa::path(get, path = "/v1/operator/ledger/head", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = HeadBody)))]
pub(crate) async fn head(State(app): State<App>, _: Operator) -> Result<Json<HeadBody>, Problem> {
    let lane = app.store.lane_head().await.map_err(Error::from)?;
    let counts = app.ledger.counts();
    Ok(Json(HeadBody {
        sequence: lane.head.sequence,
        hash: lane.head.hash,
        at: moment(lane.head.at),
        waiting: app.ledger.waiting(),
        commits: counts.commits.load(Ordering::Relaxed),
        works: counts.works.load(Ordering::Relaxed),
    }))
}
