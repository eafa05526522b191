//! Decisions: the records of guest calls, shown, exported and run again.

use axum::extract::State;
use koban_domain::ids::{RecordId, UserId};
use koban_domain::records::{Digest, Kept, Outcome, Part};
use koban_service::decisions::{self, Export};
use koban_service::{App, audit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::{Json, NoBody};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of decisions.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(export)).routes(routes!(replay))
}

/// Which decisions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionQuery {
    /// Those of this plugin.
    plugin: Option<String>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// The record of one guest call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionBody {
    /// Its id.
    #[schema(value_type = String, example = "dec_019a3f0c7b2e7c41a5d3000000000000")]
    id: RecordId,
    /// When the call was made.
    at: String,
    /// The plugin.
    #[schema(example = "fraud-rules")]
    plugin: String,
    /// The function that was called.
    #[schema(example = "assess.assess")]
    function: String,
    /// The component's digest.
    #[schema(value_type = String)]
    component: Digest,
    /// The contract's name and version.
    contract: String,
    /// Engine name, version and settings.
    engine: String,
    /// Digest of the settings that the guest was given.
    #[schema(value_type = String)]
    settings: Digest,
    /// Digest of the manifest whose grants applied.
    #[schema(value_type = String)]
    grants: Digest,
    /// The record's own digest, by which the journal names it.
    #[schema(value_type = String)]
    digest: Digest,
    /// The decision that counted, if this one was asked beside it in shadow.
    #[schema(value_type = Option<String>)]
    beside: Option<RecordId>,
    /// The user whom the call was about, if it was about one.
    #[schema(value_type = Option<String>)]
    about: Option<UserId>,
    /// What of personal data its content holds.
    holds: Vec<String>,
    /// How it ended, in a word that stays when the content is erased: a verdict, `answered`, the code of a refusal or the class of a fault.
    #[schema(example = "decline")]
    outcome: String,
    /// Whether its content was erased; the next four are null then.
    erased: bool,
    /// What the guest was told of its surroundings.
    context: serde_json::Value,
    /// What it was asked.
    input: serde_json::Value,
    /// What it wrote to its log.
    log: Option<Vec<String>>,
    /// How it ended: with an output or a fault.
    ending: serde_json::Value,
    /// Fuel used.
    fuel: u64,
}

impl From<Kept> for DecisionBody {
    fn from(kept: Kept) -> DecisionBody {
        let (digest, erased, record) = (kept.digest(), kept.is_erased(), kept.record().ok());
        let head = kept.head;
        let value =
            |value: Option<serde_json::Result<serde_json::Value>>| value.and_then(Result::ok).unwrap_or_default();
        let record = record.as_ref();
        DecisionBody {
            digest,
            id: head.id,
            at: moment(head.at),
            function: match record {
                Some(record) => record.input.function().to_owned(),
                None => head.function,
            },
            plugin: head.plugin,
            component: head.component,
            contract: head.contract,
            engine: head.engine,
            settings: head.settings,
            grants: head.grants,
            beside: match head.part {
                Part::Live => None,
                Part::Shadow(live) => Some(live),
            },
            about: head.about,
            holds: head.holds,
            outcome: record.map_or(head.outcome, |record| Outcome::of(&record.ending)).word().to_owned(),
            erased,
            context: value(record.map(|record| serde_json::to_value(&record.context))),
            input: value(record.map(|record| serde_json::to_value(&record.input))),
            log: record.map(|record| record.log.iter().map(|(_, line)| line.clone()).collect()),
            ending: value(record.map(|record| serde_json::to_value(&record.ending))),
            fuel: record.map_or(head.fuel, |record| record.fuel),
        }
    }
}

/// What came of a replay.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayBody {
    /// Whether everything compared is the same.
    same: bool,
    /// Everything that is not.
    differences: Vec<ReplayDifferenceBody>,
    /// Whether fuel was compared: under the same engine only.
    fuel_compared: bool,
    /// Fuel used this time.
    fuel: u64,
}

/// Something that is not as the record says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayDifference)]
pub(crate) struct ReplayDifferenceBody {
    /// What: `component`, `settings`, `grants`, `ending`, `log` or `fuel`.
    #[schema(value_type = String, example = "ending")]
    what: &'static str,
    /// What the record says.
    recorded: String,
    /// What was found now.
    found: String,
}

/// Decisions, newest first.
#[utoipa::path(get, path = "/v1/operator/decisions", tag = "operator", security(("operator" = [])),
    params(DecisionQuery), responses((status = 200, body = PageBody<DecisionBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<DecisionQuery>,
) -> Result<Json<PageBody<DecisionBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    Ok(Json(PageBody::of(decisions::list(&app, query.plugin.as_deref(), &page).await?)))
}

/// One decision.
#[utoipa::path(get, path = "/v1/operator/decisions/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The decision's id.")),
    responses((status = 200, body = DecisionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<RecordId>,
) -> Result<Json<DecisionBody>, Problem> {
    Ok(Json(decisions::get(&app, id).await?.kept.into()))
}

/// A decision with all that running it again needs, as one file.
///
/// `koban decision replay FILE` reads it without a database.
#[utoipa::path(get, path = "/v1/operator/decisions/{id}/export", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The decision's id.")),
    responses((status = 200, body = serde_json::Value, description = "A file of the format `koban-decision-2`.")))]
pub(crate) async fn export(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<RecordId>,
) -> Result<Json<Export>, Problem> {
    Ok(Json(decisions::export(&app, &operator.reading(), id).await?))
}

/// Run a decision again in a fresh sandbox and compare.
#[utoipa::path(post, path = "/v1/operator/decisions/{id}/replay", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The decision's id.")),
    responses((status = 200, body = ReplayBody)))]
pub(crate) async fn replay(
    State(app): State<App>,
    operator: Operator,
    Id(id): Id<RecordId>,
    _: NoBody,
) -> Result<Json<ReplayBody>, Problem> {
    let replayed = decisions::replay(&app, id).await?;
    audit::note(&app.store, &app.clock, &operator.reading(), "decision.replay", &id.to_string()).await?;
    let differences = replayed.differences.into_iter().map(|difference| ReplayDifferenceBody {
        what: difference.what,
        recorded: difference.recorded,
        found: difference.found,
    });
    Ok(Json(ReplayBody {
        same: replayed.same,
        differences: differences.collect(),
        fuel_compared: replayed.fuel_compared,
        fuel: replayed.fuel,
    }))
}
