//! Files of the signed-in user's statement, written by plugins for household books and accounting programs.

use axum::extract::{FromRequestParts, Path as AnyPath, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::documents::{self, DocumentInput, FormatView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operator::plugins::WordsBody;
use crate::Web;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::place::{PageBody, Query};
use crate::problem::Problem;

/// Routes of documents.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(formats)).routes(routes!(write))
}

/// A format in which a plugin writes statements.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentFormat)]
pub(crate) struct FormatBody {
    /// The plugin's id.
    #[schema(example = "budget-export")]
    plugin: String,
    /// What the plugin is called.
    plugin_name: WordsBody,
    /// The format's name.
    #[schema(example = "ofx")]
    format: String,
    /// What the file is sent as.
    #[schema(example = "application/x-ofx")]
    media_type: String,
    /// What it is good for.
    about: WordsBody,
}

impl From<FormatView> for FormatBody {
    fn from(view: FormatView) -> FormatBody {
        FormatBody {
            plugin: view.plugin,
            plugin_name: view.plugin_name.into(),
            format: view.format,
            media_type: view.media_type,
            about: view.about.into(),
        }
    }
}

/// The formats in which the signed-in user can have statements.
#[utoipa::path(get, path = "/v1/wallet/documents", tag = "wallet", security(("session" = [])),
    responses((status = 200, body = PageBody<FormatBody>)))]
pub(crate) async fn formats(State(app): State<App>, user: SignedInUser) -> Result<Json<PageBody<FormatBody>>, Problem> {
    Ok(Json(PageBody::whole(documents::formats(&app, user.id).await?)))
}

/// Which plugin, which of its formats. What cannot be a name names nothing.
#[derive(Debug)]
pub(crate) struct FormatPath {
    plugin: String,
    format: String,
}

impl<S: Send + Sync> FromRequestParts<S> for FormatPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found("format");
        let path = AnyPath::<(String, String)>::from_request_parts(parts, state).await;
        let AnyPath((plugin, format)) = path.map_err(|_| missing())?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        match plugin.bytes().chain(format.bytes()).all(plain) && plugin.len() <= 40 && format.len() <= 40 {
            true => Ok(FormatPath { plugin, format }),
            false => Err(missing()),
        }
    }
}

/// From when to when, in which currency.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentQuery {
    /// From this time on, in Unix milliseconds.
    #[param(example = 1_575_126_000_000i64)]
    from_ms: i64,
    /// Up to before this time, in Unix milliseconds.
    #[param(example = 1_577_804_400_000i64)]
    to_ms: i64,
    /// ISO 4217 code, JPY unless told.
    #[param(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
}

/// The signed-in user's statement as a file, in a format that a plugin writes.
///
/// At most 10,000 lines. The header `Koban-Decision` names the record of the plugin's call.
#[utoipa::path(get, path = "/v1/wallet/documents/{plugin}/{format}", tag = "wallet", security(("session" = [])),
    params(("plugin" = String, Path, description = "The plugin's id."),
        ("format" = String, Path, description = "One of its formats."), DocumentQuery),
    responses((status = 200, body = String, content_type = "*/*",
        headers(("Koban-Decision" = String, description = "The record of the plugin's call.")))))]
pub(crate) async fn write(
    State(app): State<App>,
    user: SignedInUser,
    FormatPath { plugin, format }: FormatPath,
    Query(query): Query<DocumentQuery>,
) -> Result<impl IntoResponse, Problem> {
    let currency = query.currency.unwrap_or(Currency::JPY);
    let (from, to) = (Timestamp(query.from_ms), Timestamp(query.to_ms));
    let input = DocumentInput { plugin, format, currency, from, to };
    let written = documents::write(&app, &user.reading(), &input).await?;
    // Names and media types have been checked: they have nothing that would have to be escaped.
    let name = format!("attachment; filename=\"{}\"", written.document.name);
    let headers = [
        (CONTENT_TYPE.as_str(), written.media_type),
        (CONTENT_DISPOSITION.as_str(), name),
        ("koban-decision", written.decision.to_string()),
    ];
    Ok((headers, written.document.content))
}
