//! Sealing everything again under another key, a bounded batch at a time: stopped anywhere, it goes on where it was.

use std::collections::BTreeMap;

use koban_domain::ids::AuditId;
use koban_domain::ledger::Audit;
use koban_store::Store;
use koban_store::sealed::{self as rows, Place, SealedRow};
use serde_json::json;

use super::file::KeyFile;
use super::{SealError, Sealed, Sealer};
use crate::clock::Clock;
use crate::ctx::Ctx;
use crate::error::Error;

/// Values that are read, sealed again and written in one transaction.
const BATCH: u16 = 100;
/// Most values that are named because they do not open.
const NAMED_MAX: usize = 20;

/// How many values name a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's id; empty for what is not sealed at all.
    pub id: String,
    /// Whether it seals.
    pub current: bool,
    /// Whether this host has it.
    pub known: bool,
    /// Values in the database that name it.
    pub values: i64,
}

/// What came of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals now.
    pub current: String,
    /// Whether it was made by this rotation.
    pub made: bool,
    /// Values that were sealed again.
    pub resealed: u64,
    /// What does not open, at most twenty of them; nothing of it was changed.
    pub unopened: Vec<String>,
    /// Keys that nothing names any more.
    pub removable: Vec<String>,
}

/// What each key is for, in the order of the host's keys; what the database names and the host lacks comes last.
pub async fn uses(store: &Store, sealer: &Sealer) -> Result<Vec<KeyUse>, Error> {
    let mut counts: BTreeMap<String, i64> = rows::count_by_key(store).await?;
    let own = sealer.ids().into_iter().enumerate().map(|(place, id)| {
        let values = counts.remove(&id).unwrap_or(0);
        KeyUse { id, current: place == 0, known: true, values }
    });
    let mut uses: Vec<KeyUse> = own.collect();
    uses.extend(counts.into_iter().map(|(id, values)| KeyUse { id, current: false, known: false, values }));
    Ok(uses)
}

/// Makes another key the one that seals, and seals everything again under it. Without `to` a new key is made, unless values still
/// name another key of the file: then a rotation was cut short, and this one ends it. Errors: the file has no key `to`.
pub async fn rotate(
    store: &Store,
    clock: &Clock,
    ctx: &Ctx,
    file: &KeyFile,
    sealer: &Sealer,
    to: Option<&str>,
) -> Result<Rotated, Error> {
    ctx.operator()?;
    let before = uses(store, sealer).await?;
    let is_unfinished = before.iter().any(|key| key.known && !key.current && key.values > 0);
    let (current, made) = match to {
        Some(id) => (id.to_owned(), false),
        None if is_unfinished => (sealer.current().ok_or(Error::NotFound("seal key"))?, false),
        None => (file.add()?, true),
    };
    // First the file, so that every host that reads it opens what is sealed next.
    file.put_first(&current)?;
    let mut rotated = reseal(store, clock, ctx, sealer).await?;
    rotated.made = made;
    Ok(rotated)
}

/// Seals everything again under the key that seals now, and what lies open.
pub async fn reseal(store: &Store, clock: &Clock, ctx: &Ctx, sealer: &Sealer) -> Result<Rotated, Error> {
    ctx.operator()?;
    let current = sealer.current().ok_or_else(|| Error::Conflict(SealError::NoKey.to_string()))?;
    let row = Audit {
        id: AuditId(clock.id()),
        actor: ctx.actor.to_string(),
        act: "seal-key.rotate".to_owned(),
        subject: current.clone(),
        detail: json!({ "keys": sealer.ids() }).to_string(),
    };
    koban_store::audit::append(store, &row, clock.now()).await?;
    let mut rotated = Rotated { current, made: false, resealed: 0, unopened: Vec::new(), removable: Vec::new() };
    let mut after = None;
    loop {
        let page = rows::not_under(store, &rotated.current, after.as_ref(), BATCH).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.place.clone());
        let mut changes = Vec::with_capacity(page.len());
        for row in page {
            match again(sealer, &row) {
                Ok(sealed) => changes.push((row, sealed.key_id, sealed.bytes)),
                Err(error) if rotated.unopened.len() < NAMED_MAX => {
                    rotated.unopened.push(format!("{}: {error}", about(&row.place)));
                }
                Err(_) => {}
            }
        }
        rotated.resealed += rows::replace(store, &changes).await?;
    }
    let left = uses(store, sealer).await?;
    rotated.removable =
        left.into_iter().filter(|key| key.known && !key.current && key.values == 0).map(|key| key.id).collect();
    Ok(rotated)
}

/// Takes a key away that nothing names any more. Errors: it seals, values name it, or the file has no such key.
pub async fn remove(
    store: &Store,
    clock: &Clock,
    ctx: &Ctx,
    file: &KeyFile,
    sealer: &Sealer,
    id: &str,
) -> Result<(), Error> {
    ctx.operator()?;
    let uses = uses(store, sealer).await?;
    let known = uses.iter().find(|key| key.id == id && key.known).ok_or(Error::NotFound("seal key"))?;
    if known.values > 0 {
        let values = known.values;
        return Err(Error::Conflict(format!(
            "{values} values are sealed with this key; `koban key rotate` seals them again"
        )));
    }
    file.remove(id)?;
    crate::audit::note(store, clock, ctx, "seal-key.remove", id).await
}

fn again(sealer: &Sealer, row: &SealedRow) -> Result<Sealed, SealError> {
    let about = about(&row.place);
    if row.key_id.is_empty() {
        return sealer.seal(&about, &row.bytes);
    }
    let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.bytes.clone() };
    sealer.seal(&about, &sealer.open(&about, &sealed)?)
}

/// What the seal binds a value to: in another row it does not open.
fn about(place: &Place) -> String {
    match place {
        Place::Submission { user, .. } => super::about_verification(*user),
        Place::Webhook(id) | Place::WebhookBefore(id) => super::about_webhook(*id),
        Place::Endpoint { plugin, name } => super::about_endpoint(plugin, name),
        Place::Consent { plugin, endpoint, user } => super::about_consent(plugin, endpoint, *user),
    }
}
