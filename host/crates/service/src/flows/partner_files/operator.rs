//! What operators see of files with partners, and what they do about them.

use koban_domain::ids::{PartnerFileId, ReceivedFileId};
use koban_domain::ledger::Audit;
use koban_outside::Lies;
use koban_store::partner_files::{self as rows, PartnerFileRow, PartnerFileState, ReceivedRow};
use serde_json::json;

use super::outgoing::{look_at, put_down};
use super::own_draft;
use crate::app::App;
use crate::crash::{self, Point};
use crate::ctx::Ctx;
use crate::error::Error;
use crate::page::{Page, Paged};
use crate::plugins::check_reason;
use crate::users::audit;

/// What lies in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lying {
    /// It was not written yet.
    NotYet,
    /// What was written.
    Same,
    /// Something else: somebody changed it, or another file was there before.
    Other,
    /// Nothing: its partner took it, or somebody took it away.
    Nothing,
    /// The directory cannot be read from here.
    Unknown,
}

impl Lying {
    /// The word in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Lying::NotYet => "not-yet",
            Lying::Same => "same",
            Lying::Other => "other",
            Lying::Nothing => "nothing",
            Lying::Unknown => "unknown",
        }
    }
}

/// A file to a partner, and what lies in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file.
    pub row: PartnerFileRow,
    /// What lies in its place.
    pub lying: Lying,
}

/// Files to partners, newest first: of one plugin or of all.
pub async fn list(app: &App, ctx: &Ctx, plugin: Option<&str>, page: &Page) -> Result<Paged<PartnerFileRow>, Error> {
    ctx.operator()?;
    let limit = page.limit()?;
    let before = page.before()?.map(PartnerFileId);
    let found = rows::list(&app.store, plugin, before, limit + 1).await?;
    Ok(Paged::of(found, limit, |file| file.id.bytes().to_vec()))
}

/// Files from partners, newest first: of one plugin or of all.
pub async fn list_received(
    app: &App,
    ctx: &Ctx,
    plugin: Option<&str>,
    page: &Page,
) -> Result<Paged<ReceivedRow>, Error> {
    ctx.operator()?;
    let limit = page.limit()?;
    let before = page.before()?.map(ReceivedFileId);
    let found = rows::list_received(&app.store, plugin, before, limit + 1).await?;
    Ok(Paged::of(found, limit, |file| file.id.bytes().to_vec()))
}

/// One file, and what lies in its place as this host sees it.
pub async fn get(app: &App, ctx: &Ctx, file: PartnerFileId) -> Result<File, Error> {
    ctx.operator()?;
    let row = rows::by_id(&app.store, file).await?.ok_or(Error::NotFound("partner file"))?;
    let lying = match row.state {
        PartnerFileState::Written => match look_at(&app.store, app.outside.directories(), &row).await? {
            Ok(Lies::Same) => Lying::Same,
            Ok(Lies::Other) => Lying::Other,
            Ok(Lies::Nothing) => Lying::Nothing,
            Err(_) => Lying::Unknown,
        },
        _ => Lying::NotYet,
    };
    Ok(File { row, lying })
}

/// A file's bytes, with its name; who read them goes into the audit log, for they name users' accounts. Errors: it is not composed yet.
pub async fn content(app: &App, ctx: &Ctx, file: PartnerFileId) -> Result<(String, Vec<u8>), Error> {
    let found = get(app, ctx, file).await?.row;
    let content = rows::content(&app.store, file).await?;
    let content = content.ok_or_else(|| Error::Conflict("the file is not composed yet; it has no bytes".to_owned()))?;
    note(app, ctx, "partner-file.read", &found, None).await?;
    Ok((found.name, content))
}

/// Seals an open file before its cut-off. Records that come later go into the file of the next one. Errors: it is sealed already.
pub async fn seal(app: &App, ctx: &Ctx, file: PartnerFileId, reason: &str) -> Result<File, Error> {
    check_reason(reason)?;
    let found = get(app, ctx, file).await?.row;
    let row = row(app, ctx, "partner-file.seal", &found, Some(reason));
    if !rows::seal(&app.store, file, Some(&row), app.clock.now()).await? {
        return Err(Error::Conflict("the file is sealed already".to_owned()));
    }
    crash::pass(Point::FileSealed);
    get(app, ctx, file).await
}

/// Has a file composed once more that its plugin could not compose. Errors: it waits for nothing of the kind.
pub async fn retry(app: &App, ctx: &Ctx, file: PartnerFileId, reason: &str) -> Result<File, Error> {
    check_reason(reason)?;
    let found = get(app, ctx, file).await?.row;
    let row = row(app, ctx, "partner-file.retry", &found, Some(reason));
    if !rows::retry(&app.store, file, &row, app.clock.now()).await? {
        let text =
            "only a file that its plugin could not compose is composed again; `send` writes the same bytes once more";
        return Err(Error::Conflict(text.to_owned()));
    }
    get(app, ctx, file).await
}

/// Writes the same bytes into the directory once more, for a partner who lost them. Errors: it was not written yet, or something else lies in its place, which is
/// never overwritten.
pub async fn send(app: &App, ctx: &Ctx, file: PartnerFileId, reason: &str) -> Result<File, Error> {
    check_reason(reason)?;
    let found = get(app, ctx, file).await?.row;
    let content = rows::content(&app.store, file).await?.filter(|_| found.state == PartnerFileState::Written);
    let content = content.ok_or_else(|| Error::Conflict("the file was not written yet; it will be".to_owned()))?;
    note(app, ctx, "partner-file.send", &found, Some(reason)).await?;
    let written = put_down(app, &found, content, &own_draft()).await?;
    written.map_err(|error| Error::Conflict(error.to_string()))?;
    if found.note.is_some() {
        rows::note(&app.store, file, None).await?;
    }
    get(app, ctx, file).await
}

fn row(app: &App, ctx: &Ctx, act: &str, file: &PartnerFileRow, reason: Option<&str>) -> Audit {
    let (plugin, called) = (&file.key.plugin, &file.key.file);
    let digest = file.digest.map(|digest| digest.to_string());
    let detail = json!({ "plugin": plugin, "file": called, "name": file.name, "digest": digest, "reason": reason });
    audit(app, ctx, act, file.id.to_string(), &detail.to_string())
}

async fn note(app: &App, ctx: &Ctx, act: &str, file: &PartnerFileRow, reason: Option<&str>) -> Result<(), Error> {
    let row = row(app, ctx, act, file, reason);
    Ok(koban_store::audit::append(&app.store, &row, app.clock.now()).await?)
}
