//! Decisions: the records of guest calls, shown, exported and run again.

use koban_domain::guest::Named;
use koban_domain::ids::RecordId;
use koban_domain::manifest::Manifest;
use koban_domain::records::{Digest, Held, Kept, Record, RecordError};
use koban_runtime::{Door, Replayed};
use koban_store::plugins;
use koban_store::records::{self, Chained, RecordPlace};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::audit;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::page::{Page, Paged};

/// Everything that running a call again needs, in one file and without a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// The file's own format: `koban-decision-2`. Files of `koban-decision-1` are read as well.
    pub format: String,
    /// The record's canonical bytes, hexadecimal.
    pub record: String,
    /// Their digest, by which the journal names the record.
    pub digest: String,
    /// The link before the record's in the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The record's link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Digest>,
    /// The salt of its content, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Its content's canonical bytes, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The same record to read; replay uses the bytes.
    pub reading: serde_json::Value,
    /// The plugin's manifest.
    pub manifest: Manifest,
    /// The settings that the guest was given.
    pub settings: Vec<Named>,
    /// The component's bytes, base64.
    pub component: String,
}

/// The word that an export begins with.
const FORMAT: &str = "koban-decision-2";
/// The same of files whose record had its content inside.
const FORMAT_BEFORE: &str = "koban-decision-1";

/// A decision by id, in its chain.
pub async fn get(app: &App, id: RecordId) -> Result<Chained, Error> {
    records::find(&app.store, id).await?.ok_or(Error::NotFound("decision"))
}

/// Decisions, newest first, of one plugin or of all.
pub async fn list(app: &App, plugin: Option<&str>, page: &Page) -> Result<Paged<Kept>, Error> {
    let limit = page.limit()?;
    let before = page.place::<12>()?.map(|place| {
        let (page, place) = place.split_at(8);
        RecordPlace {
            page: i64::from_be_bytes(page.try_into().unwrap_or_default()),
            place: u32::from_be_bytes(place.try_into().unwrap_or_default()),
        }
    });
    let list = records::list(&app.store, plugin, before, limit).await?;
    let next = list.next.map(|place| {
        let mut bytes = place.page.to_be_bytes().to_vec();
        bytes.extend_from_slice(&place.place.to_be_bytes());
        crate::page::cursor(&bytes)
    });
    Ok(Paged { items: list.records.into_iter().map(|(_, record)| record).collect(), next })
}

/// A decision with all that its replay needs, for an operator; that it was handed out is in the audit log. Errors: its content was erased.
pub async fn export(app: &App, ctx: &Ctx, id: RecordId) -> Result<Export, Error> {
    ctx.operator()?;
    let export = replayable(app, id).await?;
    audit::note(&app.store, &app.clock, ctx, "decision.export", &id.to_string()).await?;
    Ok(export)
}

/// The whole record of a decision. Errors: its content was erased, or cannot be read by this host.
pub fn whole(kept: &Kept) -> Result<Record, Error> {
    kept.record().map_err(|error| match error {
        RecordError::Erased => Error::Conflict(error.to_string()),
        other => Error::Conflict(format!("the decision {} cannot be read: {other}", kept.head.id)),
    })
}

async fn replayable(app: &App, id: RecordId) -> Result<Export, Error> {
    use base64::Engine as _;
    let Chained { kept, previous, link } = get(app, id).await?;
    let record = whole(&kept)?;
    let component = plugins::component(&app.store, record.component).await?.ok_or(Error::NotFound("component"))?;
    let settings = plugins::settings(&app.store, record.settings).await?.ok_or(Error::NotFound("plugin settings"))?;
    Ok(Export {
        format: FORMAT.to_owned(),
        record: hex::encode(&kept.bytes),
        digest: kept.digest().to_string(),
        previous: Some(previous),
        link: Some(link),
        salt: kept.held.as_ref().map(|held| hex::encode(held.salt)),
        content: kept.held.as_ref().map(|held| hex::encode(&held.bytes)),
        reading: serde_json::to_value(&record).map_err(|error| Error::Internal(error.to_string()))?,
        manifest: component.manifest,
        settings,
        component: base64::engine::general_purpose::STANDARD.encode(component.bytes),
    })
}

/// Runs a decision again in a fresh sandbox and compares.
pub async fn replay(app: &App, id: RecordId) -> Result<Replayed, Error> {
    replay_export(&app.door, &replayable(app, id).await?).await
}

/// Runs an exported decision again. Needs no database. Errors: a file that is no export or has been changed.
pub async fn replay_export(door: &Door, export: &Export) -> Result<Replayed, Error> {
    use base64::Engine as _;
    let component = base64::engine::general_purpose::STANDARD.decode(&export.component);
    let component = component.map_err(|_| damaged("component"))?;
    let record = whole(&exported(export)?)?;
    door.replay(&component, &export.manifest, &export.settings, &record)
        .await
        .map_err(|error| Error::invalid("component", error.to_string()))
}

/// The record of an export. Errors: it is none, or was changed.
pub fn exported(export: &Export) -> Result<Kept, Error> {
    if export.format != FORMAT && export.format != FORMAT_BEFORE {
        return Err(Error::invalid("format", format!("this host reads `{FORMAT}`")));
    }
    let bytes = hex::decode(&export.record).map_err(|_| damaged("record"))?;
    if Digest::of(&bytes).to_string() != export.digest {
        return Err(damaged("digest"));
    }
    let held = match (&export.salt, &export.content) {
        (Some(salt), Some(content)) => {
            let mut held = Held { salt: [0; 16], bytes: hex::decode(content).map_err(|_| damaged("content"))? };
            hex::decode_to_slice(salt, &mut held.salt).map_err(|_| damaged("salt"))?;
            Some(held)
        }
        _ => None,
    };
    let kept = Kept::open(bytes, held).map_err(|error| Error::invalid("record", error.to_string()))?;
    match (export.previous, export.link) {
        // A record that an older host wrote has the link of its page.
        (Some(previous), Some(link))
            if kept.head.content.is_some() && koban_domain::records::link(previous, kept.digest()) != link =>
        {
            Err(damaged("link"))
        }
        _ => Ok(kept),
    }
}

fn damaged(what: &str) -> Error {
    Error::invalid(what, "the file is damaged; export the decision again")
}
