//! Differences between partners' books and ours.

use axum::extract::State;
use koban_domain::guest::Side;
use koban_domain::ids::FileId;
use koban_domain::money::Currency;
use koban_domain::settlements::WrittenOff;
use koban_service::App;
use koban_service::differences::{self, DifferenceView, WriteOffInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, MoneyBody, moment};
use crate::api::KeyHeader;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::{PageBody, Query, page};
use crate::problem::Problem;

/// Routes of differences.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(write_off))
}

/// Which differences.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DifferenceQuery {
    /// Those with this plugin's partner.
    plugin: String,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// What an operator closes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteOffRequest {
    /// Whose partner: a plugin's id.
    #[schema(value_type = String, example = "charge-atm")]
    plugin: Line,
    /// `credit`, `reversal`, `capture` or `fee`.
    #[schema(value_type = String, example = "credit")]
    side: Side,
    /// The partner's reference.
    #[schema(value_type = String)]
    reference: Line,
    /// Why, in 1 to 500 characters; it goes into the audit log and the entry.
    #[schema(value_type = String)]
    reason: Line,
}

/// A difference that is open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
pub(crate) struct DifferenceBody {
    /// Whose partner.
    plugin: String,
    /// `credit`, `reversal`, `capture` or `fee`.
    #[schema(value_type = String, example = "credit")]
    side: Side,
    /// The partner's reference.
    reference: String,
    /// What our books say, in whole minor units; zero if they know nothing of it.
    ours: i64,
    /// What the partner says.
    theirs: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// In which file.
    #[schema(value_type = String)]
    file: FileId,
    /// When it was found.
    at: String,
}

impl From<DifferenceView> for DifferenceBody {
    fn from(view: DifferenceView) -> DifferenceBody {
        DifferenceBody {
            plugin: view.plugin,
            side: view.side,
            reference: view.reference,
            ours: view.difference.ours,
            theirs: view.difference.theirs,
            currency: view.difference.currency,
            file: view.difference.file,
            at: moment(view.difference.at),
        }
    }
}

/// What closing a difference did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WriteOff)]
pub(crate) struct WriteOffBody {
    /// Lost, against the plugin's loss budget.
    lost: MoneyBody,
    /// What the partner paid too much, now in suspense.
    to_suspense: MoneyBody,
}

impl From<WrittenOff> for WriteOffBody {
    fn from(written_off: WrittenOff) -> WriteOffBody {
        WriteOffBody { lost: written_off.lost.into(), to_suspense: written_off.to_suspense.into() }
    }
}

/// Open differences with a plugin's partner, oldest first.
#[utoipa::path(get, path = "/v1/operator/differences", tag = "operator", security(("operator" = [])),
    params(DifferenceQuery), responses((status = 200, body = PageBody<DifferenceBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<DifferenceQuery>,
) -> Result<Json<PageBody<DifferenceBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    Ok(Json(PageBody::of(differences::list(&app, &query.plugin, &page).await?)))
}

/// Close a difference, or a credit that the partner never settled.
///
/// What the partner says is taken as the truth; what is missing counts against the plugin's loss budget.
#[utoipa::path(post, path = "/v1/operator/differences/write-off", tag = "operator", security(("operator" = [])),
    params(KeyHeader), responses((status = 200, body = WriteOffBody)))]
pub(crate) async fn write_off(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Json(body): Json<WriteOffRequest>,
) -> Result<Done<WriteOffBody>, Problem> {
    let input =
        WriteOffInput { plugin: body.plugin.0, side: body.side, reference: body.reference.0, reason: body.reason.0 };
    Ok(Done::answered(differences::write_off(&app, &operator.ctx(key), input).await?))
}
