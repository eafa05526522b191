//! The audit log.

use axum::extract::State;
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::audit::{self, Filter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::Json;
use crate::place::{PageBody, Query, page};
use crate::problem::Problem;

/// Routes of the audit log.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which rows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// Those of this actor, such as `operator:opr_…`.
    actor: Option<String>,
    /// Those of this act, such as `user.verify`.
    act: Option<String>,
    /// Those about this id.
    subject: Option<String>,
    /// From this time on, in Unix milliseconds.
    #[param(example = 1_575_126_000_000i64)]
    from_ms: Option<i64>,
    /// Up to before this time, in Unix milliseconds.
    #[param(example = 1_577_804_400_000i64)]
    to_ms: Option<i64>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// One row of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRow)]
pub(crate) struct AuditBody {
    /// Its id.
    #[schema(example = "aud_019a3f0c7b2e7c41a5d3000000000000")]
    id: String,
    /// Its place in the log.
    sequence: i64,
    /// When.
    at: String,
    /// Who.
    actor: String,
    /// What was done.
    act: String,
    /// To whom or what.
    subject: String,
    /// Particulars.
    detail: serde_json::Value,
}

/// Rows of the audit log, newest first.
///
/// Who: `operator:opr_…` over the API or with the operator's password on the command line, `command-line:NAME` without it,
/// `user:usr_…`, `merchant:mer_…`, `schedule:…`, `identity-check` or `system`.
#[utoipa::path(get, path = "/v1/operator/audit", tag = "operator", security(("operator" = [])),
    params(AuditQuery), responses((status = 200, body = PageBody<AuditBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<AuditQuery>,
) -> Result<Json<PageBody<AuditBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let filter = Filter {
        actor: query.actor,
        act: query.act,
        subject: query.subject,
        from: query.from_ms.map(Timestamp),
        to: query.to_ms.map(Timestamp),
    };
    let rows = audit::list(&app, &filter, &page).await?.map(|row| AuditBody {
        id: row.audit.id.to_string(),
        sequence: row.sequence,
        at: moment(row.at),
        actor: row.audit.actor,
        act: row.audit.act,
        subject: row.audit.subject,
        detail: serde_json::from_str(&row.audit.detail).unwrap_or(serde_json::Value::String(row.audit.detail)),
    });
    Ok(Json(PageBody::of(rows)))
}
