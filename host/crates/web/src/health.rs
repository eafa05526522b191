//! Health: alive, ready, started, for whoever decides where requests go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::codes::Trouble;
use crate::json::Json;
use crate::problem::Problem;

/// How long the store may take to answer one small read.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the host is on its way out.
#[derive(Debug, Default)]
pub(crate) struct Health {
    stopping: AtomicBool,
}

impl Health {
    /// From now on the host is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// What a healthy host says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthBody {
    /// `ok`.
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
}

const OK: HealthBody = HealthBody { status: "ok" };

/// Routes of health, which are never limited.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(started))
}

/// Whether the process works.
///
/// Says nothing about the store. Restart the host when this fails.
#[utoipa::path(get, path = "/livez", tag = "host", responses((status = 200, body = HealthBody)))]
pub(crate) async fn live() -> Json<HealthBody> {
    Json(OK)
}

/// Whether requests may be sent here.
///
/// Asks the store for a sign of life. Says no while the host stops; send no new requests then.
#[utoipa::path(get, path = "/readyz", tag = "host", responses((status = 200, body = HealthBody)))]
pub(crate) async fn ready(State(web): State<Web>) -> Result<Json<HealthBody>, Problem> {
    if web.health.is_stopping() {
        return Err(Problem::from(Trouble::NotReady).because("the host is stopping"));
    }
    match tokio::time::timeout(PROBE_TIMEOUT, web.app.store.ping()).await {
        Ok(Ok(())) => Ok(Json(OK)),
        Ok(Err(_)) | Err(_) => Err(Problem::from(Trouble::NotReady).because("the store does not answer")),
    }
}

/// Whether the host has started.
///
/// It answers as soon as the store is migrated and the plugins are loaded.
#[utoipa::path(get, path = "/startupz", tag = "host", responses((status = 200, body = HealthBody)))]
pub(crate) async fn started() -> Json<HealthBody> {
    Json(OK)
}
