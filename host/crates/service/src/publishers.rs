//! Publishers: whose signature under a package counts. Trust is given by an operator, and taken away for everything at once.

use koban_domain::packages::{Package, signed_bytes};
use koban_store::publishers as rows;
pub use koban_store::publishers::{PublisherRow, PublisherState};
use koban_store::releases::{self, Change};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::plugins::check_reason;
use crate::releases::{DECIDED_MAX, plugins_without};
use crate::users::audit;

/// Most publishers that are listed; far more than a platform knows by name.
const PUBLISHERS_MAX: u16 = 1_000;

/// Adds a publisher's key. Nothing that it signs is taken before somebody trusts it. Errors: a name or key that cannot be used or is
/// there already.
pub async fn add(app: &App, ctx: &Ctx, name: &str, key: &str) -> Result<PublisherRow, Error> {
    ctx.operator()?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(2..=40).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(Error::invalid("name", "use 2 to 40 of a-z, 0-9 and `-`"));
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(key.trim(), &mut bytes)
        .map_err(|_| Error::invalid("key", "give the publisher's public key: 64 hexadecimal digits"))?;
    let now = app.clock.now();
    let publisher = PublisherRow {
        name: name.to_owned(),
        key: bytes,
        state: PublisherState::Known,
        note: String::new(),
        added_at: now,
        changed_at: now,
    };
    let detail = json!({ "key": hex::encode(bytes) }).to_string();
    let audit = audit(app, ctx, "publisher.add", name.to_owned(), &detail);
    if !rows::add(&app.store, &publisher, &audit).await? {
        return Err(Error::Exists(
            "a publisher of this name or with this key is there already; see the list".to_owned(),
        ));
    }
    Ok(publisher)
}

/// Says that what a publisher signs is taken.
pub async fn trust(app: &App, ctx: &Ctx, name: &str, reason: &str) -> Result<PublisherRow, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    for _ in 0..DECIDED_MAX {
        let publisher = get(app, name).await?;
        if publisher.state == PublisherState::Revoked {
            let text = "this publisher was revoked, and what it signed stays so; let it make a new key and add that";
            return Err(Error::Conflict(text.to_owned()));
        }
        let audit = audit(app, ctx, "publisher.trust", name.to_owned(), &json!({ "reason": reason }).to_string());
        let change = Change {
            under: app.store.lane_head().await?.generation,
            publisher: Some((name.to_owned(), PublisherState::Trusted, reason.to_owned())),
            audits: vec![audit],
            ..Change::default()
        };
        if releases::write(&app.store, &change, app.clock.now()).await?.is_some() {
            return get(app, name).await;
        }
    }
    Err(Error::Busy)
}

/// Says that nothing that a publisher ever signed may be rested on: its releases are revoked in one commit, and what was enabled before
/// each of them decides again, if somebody else has signed it.
pub async fn revoke(app: &App, ctx: &Ctx, name: &str, reason: &str) -> Result<PublisherRow, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    for _ in 0..DECIDED_MAX {
        get(app, name).await?;
        let under = app.store.lane_head().await?.generation;
        let signed = releases::of_publisher(&app.store, name).await?;
        let digests: Vec<_> = signed.iter().map(|(_, digest)| *digest).collect();
        let plugins = plugins_without(app, signed.iter().map(|(plugin, _)| plugin.as_str()), &digests).await?;
        let detail = json!({ "reason": reason, "components": digests, "returned_to": plugins.returned() });
        let why = format!("its publisher {name} was revoked: {reason}");
        let change = Change {
            under,
            plugins: plugins.changes,
            revoked: digests.into_iter().map(|digest| (digest, why.clone())).collect(),
            publisher: Some((name.to_owned(), PublisherState::Revoked, reason.to_owned())),
            audits: vec![audit(app, ctx, "publisher.revoke", name.to_owned(), &detail.to_string())],
            ..Change::default()
        };
        if releases::write(&app.store, &change, app.clock.now()).await?.is_some() {
            app.ledger.refresh().await?;
            return get(app, name).await;
        }
    }
    Err(Error::Busy)
}

/// Every publisher, in the order of names.
pub async fn list(app: &App) -> Result<Vec<PublisherRow>, Error> {
    Ok(rows::list(&app.store, PUBLISHERS_MAX).await?)
}

/// One publisher.
pub async fn get(app: &App, name: &str) -> Result<PublisherRow, Error> {
    rows::by_name(&app.store, name).await?.ok_or(Error::NotFound("publisher"))
}

/// Whether what this publisher signed is taken still; nobody has signed what is taken unsigned. Errors: it is not trusted, or not any more.
pub(crate) async fn check_trusted(app: &App, name: Option<&str>) -> Result<(), Error> {
    match name {
        Some(name) => trusted(get(app, name).await?).map(drop),
        None => Ok(()),
    }
}

/// Who signed this package; nobody if it carries no signature. Errors: a signature that does not fit, of somebody unknown or not trusted.
pub(crate) async fn signer(app: &App, package: &Package) -> Result<Option<PublisherRow>, Error> {
    let Some(signature) = &package.signature else { return Ok(None) };
    let message = signed_bytes(package.digest());
    if UnparsedPublicKey::new(&ED25519, signature.key).verify(&message, &signature.bytes).is_err() {
        let text = "its signature does not fit its content: it was changed after it was signed; fetch it again from its publisher";
        return Err(Error::invalid("package", text));
    }
    let key = hex::encode(signature.key);
    let publisher = rows::by_key(&app.store, signature.key).await?.ok_or_else(|| {
        Error::Conflict(format!(
            "it is signed with the key {key}, which nobody here knows; compare it with its publisher by another way, then add and \
             trust it: `koban publisher add NAME {key}`, `koban publisher trust NAME --reason …`"
        ))
    })?;
    trusted(publisher).map(Some)
}

fn trusted(publisher: PublisherRow) -> Result<PublisherRow, Error> {
    match publisher.state {
        PublisherState::Trusted => Ok(publisher),
        PublisherState::Known => Err(Error::Conflict(format!(
            "its publisher `{0}` is known and not trusted; if it should be: `koban publisher trust {0} --reason …`",
            publisher.name
        ))),
        PublisherState::Revoked => Err(Error::Conflict(format!(
            "its publisher `{}` was revoked ({}); nothing it signed is taken",
            publisher.name, publisher.note
        ))),
    }
}
