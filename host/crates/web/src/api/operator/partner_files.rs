//! Files with partners that work in batches: what goes out, what came in, and what an operator can do about them.

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use koban_domain::ids::{PartnerFileId, ReceivedFileId};
use koban_domain::records::Digest;
use koban_service::App;
use koban_service::flows::partner_files::{self, File, PartnerFileRow, ReceivedRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::moment;
use crate::identity::Operator;
use crate::json::Json;
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of partners' files.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(content))
        .routes(routes!(seal))
        .routes(routes!(retry))
        .routes(routes!(send))
        .routes(routes!(received))
}

/// Which files.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesQuery {
    /// Of this plugin alone.
    #[param(example = "bank-transfer")]
    plugin: Option<String>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// A file to a partner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartnerFile)]
pub(crate) struct FileBody {
    /// Its id.
    #[schema(value_type = String, example = "pfl_019a3f0c7b2e7c41a5d3000000000000")]
    id: PartnerFileId,
    /// The plugin that composes it.
    #[schema(example = "bank-transfer")]
    plugin: String,
    /// Its name in the manifest.
    #[schema(example = "transfers")]
    file: String,
    /// The directory in the manifest.
    directory: String,
    /// What it is called in the directory; before it is sealed, the manifest's pattern.
    #[schema(example = "transfers-20261120-000007.txt")]
    name: String,
    /// Its number, once it is sealed: from 1, without gaps for each file of the manifest.
    #[schema(required)]
    number: Option<u32>,
    /// The cut-off that it is for.
    cut_off: String,
    /// `open`, `sealed`, `composed`, `written`, or `refused`: its plugin could not compose it.
    #[schema(example = "written")]
    state: &'static str,
    /// Records in it.
    records: i32,
    /// Digest of its bytes, once they are fixed.
    #[schema(required, value_type = Option<String>)]
    digest: Option<Digest>,
    /// What somebody should look at.
    #[schema(required)]
    note: Option<String>,
    /// When its state last changed.
    changed_at: String,
}

/// A file to a partner, and what lies in its place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartnerFileDetail)]
pub(crate) struct DetailBody {
    /// The file.
    #[serde(flatten)]
    file: FileBody,
    /// `not-yet` before it is written; `same` if it lies there as written, `nothing` if its partner took it, `other` if something else lies there, `unknown` if
    /// this host cannot see.
    #[schema(example = "same")]
    in_directory: &'static str,
}

/// A file from a partner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceivedFile)]
pub(crate) struct ReceivedBody {
    /// Its id.
    #[schema(value_type = String, example = "rfl_019a3f0c7b2e7c41a5d3000000000000")]
    id: ReceivedFileId,
    /// The plugin that read it.
    plugin: String,
    /// Its name in the manifest.
    file: String,
    /// What it was called in the directory, where it was seen first.
    name: String,
    /// Digest of its bytes: it is taken once.
    #[schema(value_type = String)]
    digest: Digest,
    /// `taken` or `unreadable`.
    #[schema(example = "taken")]
    state: &'static str,
    /// Records that were given to flows.
    records: i32,
    /// What somebody should look at.
    #[schema(required)]
    note: Option<String>,
    /// When.
    at: String,
}

impl From<PartnerFileRow> for FileBody {
    fn from(row: PartnerFileRow) -> FileBody {
        FileBody {
            id: row.id,
            plugin: row.key.plugin,
            file: row.key.file,
            directory: row.directory,
            name: row.name,
            number: row.number,
            cut_off: moment(row.key.cut_off),
            state: row.state.word(),
            records: row.records,
            digest: row.digest,
            note: row.note,
            changed_at: moment(row.changed_at),
        }
    }
}

impl From<File> for DetailBody {
    fn from(file: File) -> DetailBody {
        DetailBody { in_directory: file.lying.word(), file: file.row.into() }
    }
}

impl From<ReceivedRow> for ReceivedBody {
    fn from(row: ReceivedRow) -> ReceivedBody {
        ReceivedBody {
            id: row.id,
            plugin: row.plugin,
            file: row.file,
            name: row.name,
            digest: row.digest,
            state: if row.taken { "taken" } else { "unreadable" },
            records: row.records,
            note: row.note,
            at: moment(row.at),
        }
    }
}

/// Files to partners, newest first.
#[utoipa::path(get, path = "/v1/operator/partner-files", tag = "operator", security(("operator" = [])),
    params(FilesQuery), responses((status = 200, body = PageBody<FileBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<FilesQuery>,
) -> Result<Json<PageBody<FileBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let files = partner_files::list(&app, &operator.reading(), query.plugin.as_deref(), &page).await?;
    Ok(Json(PageBody::of(files)))
}

/// One file to a partner, and what lies in its place in the directory.
#[utoipa::path(get, path = "/v1/operator/partner-files/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, body = DetailBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    operator: Operator,
    Id(file): Id<PartnerFileId>,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(partner_files::get(&app, &operator.reading(), file).await?.into()))
}

/// The bytes of a file to a partner, as they were composed.
///
/// They may name users' accounts: who read them goes into the audit log.
#[utoipa::path(get, path = "/v1/operator/partner-files/{id}/content", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, body = String, content_type = "application/octet-stream")))]
pub(crate) async fn content(
    State(app): State<App>,
    operator: Operator,
    Id(file): Id<PartnerFileId>,
) -> Result<impl IntoResponse, Problem> {
    let (name, content) = partner_files::content(&app, &operator.reading(), file).await?;
    // Names of files have nothing that would have to be escaped.
    let name = format!("attachment; filename=\"{name}\"");
    let headers =
        [(CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()), (CONTENT_DISPOSITION.as_str(), name)];
    Ok((headers, content))
}

/// Seal an open file now, before its cut-off.
///
/// It is composed and written at once. Records that come later go into the file of the next cut-off.
#[utoipa::path(post, path = "/v1/operator/partner-files/{id}/seal", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, body = DetailBody)))]
pub(crate) async fn seal(
    State(app): State<App>,
    operator: Operator,
    Id(file): Id<PartnerFileId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(partner_files::seal(&app, &operator.reading(), file, &body.reason.0).await?.into()))
}

/// Have a file composed once more that its plugin could not compose.
///
/// A file whose bytes are fixed is never composed again.
#[utoipa::path(post, path = "/v1/operator/partner-files/{id}/retry", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, body = DetailBody)))]
pub(crate) async fn retry(
    State(app): State<App>,
    operator: Operator,
    Id(file): Id<PartnerFileId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(partner_files::retry(&app, &operator.reading(), file, &body.reason.0).await?.into()))
}

/// Write the same bytes into the directory once more, for a partner who lost them.
///
/// Something else that lies in the file's place is never overwritten: the answer names it.
#[utoipa::path(post, path = "/v1/operator/partner-files/{id}/send", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The file's id.")),
    responses((status = 200, body = DetailBody)))]
pub(crate) async fn send(
    State(app): State<App>,
    operator: Operator,
    Id(file): Id<PartnerFileId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(partner_files::send(&app, &operator.reading(), file, &body.reason.0).await?.into()))
}

/// Files from partners, newest first.
#[utoipa::path(get, path = "/v1/operator/received-files", tag = "operator", security(("operator" = [])),
    params(FilesQuery), responses((status = 200, body = PageBody<ReceivedBody>)))]
pub(crate) async fn received(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<FilesQuery>,
) -> Result<Json<PageBody<ReceivedBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    let files = partner_files::list_received(&app, &operator.reading(), query.plugin.as_deref(), &page).await?;
    Ok(Json(PageBody::of(files)))
}
