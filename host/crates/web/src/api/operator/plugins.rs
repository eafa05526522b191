//! Plugins as operators see and bound them.

use axum::extract::State;
use koban_domain::guest::{Named, Value};
use koban_domain::manifest::{Kind, Words};
use koban_domain::money::Currency;
use koban_domain::records::Digest;
use koban_service::App;
use koban_service::plugins::{self, ExposureView, PluginView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{NamedRequest, moment, named};
use crate::identity::Operator;
use crate::json::{Json, NoBody};
use crate::place::{Id, PageBody, PluginName};
use crate::problem::Problem;

/// Routes of plugins.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(set_caps))
        .routes(routes!(set_settings))
        .routes(routes!(enable))
        .routes(routes!(disable))
}

/// The two numbers that say what a plugin may cost at most.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapsRequest {
    /// The most unsettled credits, in yen.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64, example = 1_000_000)]
    exposure_cap: i64,
    /// The most that may be written off to it, in yen.
    #[schema(minimum = 0, maximum = 1_000_000_000_000i64, example = 50_000)]
    loss_budget: i64,
}

/// A plugin's settings, whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsRequest {
    /// What is not given falls back to its default; the same name repeated makes a list.
    settings: Vec<NamedRequest>,
}

/// A plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(crate) struct PluginBody {
    /// Its id.
    #[schema(example = "charge-atm")]
    id: String,
    /// Its sort: `charge-channel` or `fraud-rule`.
    #[schema(value_type = String, example = "charge-channel")]
    kind: Kind,
    /// Its version.
    #[schema(example = "1.0.0")]
    version: String,
    /// The component that is installed.
    #[schema(value_type = String)]
    digest: Digest,
    /// Where the component stands that answers for the plugin: `enabled`, or from `installed` to `removed`.
    #[schema(value_type = String, example = "enabled")]
    state: &'static str,
    /// What it is called.
    name: WordsBody,
    /// What it is for.
    purpose: WordsBody,
    /// Its settings; secrets are not shown.
    settings: Vec<SettingBody>,
    /// What it may still cost, if it touches money.
    exposure: Option<ExposureBody>,
    /// Since when.
    installed_at: String,
}

/// A text in the two languages of the house.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Words)]
pub(crate) struct WordsBody {
    /// Japanese.
    ja: String,
    /// English.
    en: String,
}

impl From<Words> for WordsBody {
    fn from(words: Words) -> WordsBody {
        WordsBody { ja: words.ja, en: words.en }
    }
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Setting)]
pub(crate) struct SettingBody {
    /// Its name.
    name: String,
    /// Its value: text, a whole number, true or false, or an amount.
    value: serde_json::Value,
}

impl From<Named> for SettingBody {
    fn from(setting: Named) -> SettingBody {
        let value = match setting.value {
            Value::Text(text) => text.into(),
            Value::Whole(whole) => whole.into(),
            Value::Flag(flag) => flag.into(),
            Value::Moment(moment) => moment.into(),
            Value::Amount(money) => serde_json::json!({ "amount": money.minor, "currency": money.currency }),
            Value::Rate(rate) => serde_json::json!({ "mantissa": rate.mantissa, "scale": rate.scale }),
            Value::Secret(_) => "(secret)".into(),
        };
        SettingBody { name: setting.name, value }
    }
}

/// What a plugin may still cost, in whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exposure)]
pub(crate) struct ExposureBody {
    /// The most unsettled credits.
    cap: i64,
    /// Unsettled credits now.
    used: i64,
    /// The most that may be written off.
    loss_budget: i64,
    /// What was written off.
    lost: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<ExposureView> for ExposureBody {
    fn from(exposure: ExposureView) -> ExposureBody {
        ExposureBody {
            cap: exposure.cap.minor,
            used: exposure.used.minor,
            loss_budget: exposure.loss_budget.minor,
            lost: exposure.lost.minor,
            currency: exposure.cap.currency,
        }
    }
}

impl From<PluginView> for PluginBody {
    fn from(plugin: PluginView) -> PluginBody {
        PluginBody {
            id: plugin.id,
            kind: plugin.kind,
            version: plugin.version,
            digest: plugin.digest,
            state: plugin.state.word(),
            name: plugin.manifest.name.into(),
            purpose: plugin.manifest.purpose.into(),
            settings: plugin.settings.into_iter().map(SettingBody::from).collect(),
            exposure: plugin.exposure.map(ExposureBody::from),
            installed_at: moment(plugin.installed_at),
        }
    }
}

/// Every installed plugin, in the order of their ids.
#[utoipa::path(get, path = "/v1/operator/plugins", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<PluginBody>)))]
pub(crate) async fn list(State(app): State<App>, _: Operator) -> Result<Json<PageBody<PluginBody>>, Problem> {
    Ok(Json(PageBody::whole(plugins::list(&app).await?)))
}

/// One plugin.
#[utoipa::path(get, path = "/v1/operator/plugins/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PluginBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(PluginName(id)): Id<PluginName>,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(plugins::get(&app, &id).await?.into()))
}

/// Set the two numbers.
///
/// What is used of them stays. They hold from the next commit on, on every host.
#[utoipa::path(put, path = "/v1/operator/plugins/{id}/limits", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PluginBody)))]
pub(crate) async fn set_caps(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    Json(body): Json<CapsRequest>,
) -> Result<Json<PluginBody>, Problem> {
    let plugin = plugins::set_caps(&app, &operator.reading(), &id, body.exposure_cap, body.loss_budget).await?;
    Ok(Json(plugin.into()))
}

/// Set a plugin's settings, whole.
#[utoipa::path(put, path = "/v1/operator/plugins/{id}/settings", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PluginBody)))]
pub(crate) async fn set_settings(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    Json(body): Json<SettingsRequest>,
) -> Result<Json<PluginBody>, Problem> {
    let settings = named("settings", body.settings)?;
    Ok(Json(plugins::set_settings(&app, &operator.reading(), &id, &settings).await?.into()))
}

/// Switch a plugin on.
#[utoipa::path(post, path = "/v1/operator/plugins/{id}/enable", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PluginBody)))]
pub(crate) async fn enable(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    _: NoBody,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(plugins::set_enabled(&app, &operator.reading(), &id, true).await?.into()))
}

/// Switch a plugin off.
///
/// New payments and charges go on without it; flows in progress go on with it.
#[utoipa::path(post, path = "/v1/operator/plugins/{id}/disable", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PluginBody)))]
pub(crate) async fn disable(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    _: NoBody,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(plugins::set_enabled(&app, &operator.reading(), &id, false).await?.into()))
}
