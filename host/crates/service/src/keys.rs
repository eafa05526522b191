//! Merchants' API keys: stored as hashes, scoped, rotated with an overlap so that no request fails meanwhile.

use std::collections::BTreeSet;

use koban_domain::ids::{KeyId, MerchantId};
use koban_domain::time::Timestamp;
use koban_store::keys::{self, ApiKeyRow, Made};
use koban_store::platform::Mode;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::clock;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::identity::token_hash;
use crate::users;

/// What a key may do. A closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Read payments, refunds, balance and statement.
    #[serde(rename = "payments:read")]
    PaymentsRead,
    /// Capture what is held, and let go of it.
    #[serde(rename = "payments:capture")]
    PaymentsCapture,
    /// Give payments back.
    #[serde(rename = "payments:refund")]
    PaymentsRefund,
    /// Make, rotate and revoke keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
    /// Set webhook endpoints, see what they were given and send it again.
    #[serde(rename = "webhooks:write")]
    WebhooksWrite,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 5] =
        [Scope::PaymentsRead, Scope::PaymentsCapture, Scope::PaymentsRefund, Scope::KeysWrite, Scope::WebhooksWrite];

    /// The word in requests and rows.
    pub const fn word(self) -> &'static str {
        match self {
            Scope::PaymentsRead => "payments:read",
            Scope::PaymentsCapture => "payments:capture",
            Scope::PaymentsRefund => "payments:refund",
            Scope::KeysWrite => "keys:write",
            Scope::WebhooksWrite => "webhooks:write",
        }
    }
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What the merchant calls it, 1 to 60 characters.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// Which.
    pub id: KeyId,
    /// Whose.
    pub merchant: MerchantId,
    /// What the merchant calls it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if it was rotated.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Whose key a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantKey {
    /// The merchant.
    pub merchant: MerchantId,
    /// The key.
    pub key: KeyId,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

/// What keys of this mode begin with, so that they are told from session tokens and from each other, and found when they leak.
pub const fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "kbn_live_",
        Mode::Test => "kbn_test_",
    }
}

/// What keys began with before they said their mode. Every one of them is live.
const PREFIX_BEFORE: &str = "ksk_";

/// Whether a bearer token is a merchant's key of this mode.
pub fn is_key(mode: Mode, token: &str) -> bool {
    token.starts_with(prefix(mode)) || (mode == Mode::Live && token.starts_with(PREFIX_BEFORE))
}

/// Most live keys of a merchant: neither expired nor revoked.
pub const LIVE_MAX: i64 = 50;
/// The longest overlap of a rotated key: seven days.
pub const OVERLAP_MAX_S: u32 = 7 * 86_400;

/// Makes a key. The secret is shown once and never again.
pub async fn create(app: &App, ctx: &Ctx, merchant: MerchantId, input: NewKey) -> Result<(KeyView, String), Error> {
    check_owner(ctx, merchant)?;
    koban_store::merchants::by_id(&app.store, merchant).await?.ok_or(Error::NotFound("merchant"))?;
    let name = users::check_name("name", &input.name)?;
    if input.scopes.is_empty() {
        return Err(Error::invalid("scopes", "give at least one scope"));
    }
    let secret = format!("{}{}", prefix(app.clock.mode()), clock::token());
    let row = ApiKeyRow {
        hash: token_hash(&secret),
        id: KeyId(app.clock.id()),
        merchant,
        name,
        scopes: input.scopes.iter().map(|scope| scope.word().to_owned()).collect(),
        created_at: app.clock.now(),
        expires_at: None,
        revoked_at: None,
    };
    let audit = users::audit(app, ctx, "key.create", row.id.to_string(), "{}");
    check_made(keys::create(&app.store, &row, LIVE_MAX, &audit).await?)?;
    Ok((row.into(), secret))
}

/// Makes a new key with the same name and scopes; the old one goes on for the overlap. Both or nothing. Errors:
/// [`Error::Conflict`] for a key that has expired or is revoked, or at [`LIVE_MAX`].
pub async fn rotate(
    app: &App,
    ctx: &Ctx,
    merchant: MerchantId,
    key: KeyId,
    overlap_s: u32,
) -> Result<(KeyView, String), Error> {
    if overlap_s > OVERLAP_MAX_S {
        return Err(Error::invalid("overlap_s", format!("use 0 to {OVERLAP_MAX_S} seconds")));
    }
    check_owner(ctx, merchant)?;
    let now = app.clock.now();
    let secret = format!("{}{}", prefix(app.clock.mode()), clock::token());
    let successor = ApiKeyRow {
        hash: token_hash(&secret),
        id: KeyId(app.clock.id()),
        merchant,
        name: String::new(),
        scopes: Vec::new(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    let detail = serde_json::json!({ "successor": successor.id }).to_string();
    let audits = [
        users::audit(app, ctx, "key.create", successor.id.to_string(), "{}"),
        users::audit(app, ctx, "key.rotate", key.to_string(), &detail),
    ];
    let until = now.plus_ms(i64::from(overlap_s) * 1_000);
    let (made, successor) = keys::rotate(&app.store, key, successor, until, LIVE_MAX, audits).await?;
    check_made(made)?;
    Ok((successor.into(), secret))
}

fn check_made(made: Made) -> Result<(), Error> {
    match made {
        Made::Done => Ok(()),
        Made::TooMany => {
            let problem =
                format!("the merchant has {LIVE_MAX} live keys, which is the most; revoke one that is not used");
            Err(Error::Conflict(problem))
        }
        Made::NoSuchKey => Err(Error::NotFound("key")),
        Made::NotGood => Err(Error::Conflict("this key has expired or is revoked; make a new one".to_owned())),
    }
}

/// One of a merchant's keys.
pub async fn get(app: &App, ctx: &Ctx, merchant: MerchantId, key: KeyId) -> Result<KeyView, Error> {
    own(app, ctx, merchant, key).await
}

/// Ends a key at once.
pub async fn revoke(app: &App, ctx: &Ctx, merchant: MerchantId, key: KeyId) -> Result<(), Error> {
    own(app, ctx, merchant, key).await?;
    let audit = users::audit(app, ctx, "key.revoke", key.to_string(), "{}");
    keys::revoke(&app.store, (merchant, key), &audit, app.clock.now()).await?;
    Ok(app.store.commit_under_way_has_ended().await?)
}

/// A merchant's keys, the hundred newest first: all that are live and some that were.
pub async fn list(app: &App, ctx: &Ctx, merchant: MerchantId) -> Result<Vec<KeyView>, Error> {
    check_owner(ctx, merchant)?;
    Ok(keys::list(&app.store, merchant, None, 100).await?.into_iter().map(KeyView::from).collect())
}

/// Whose secret this is. Errors: [`Error::NotSignedIn`] when it is unknown, expired or revoked.
pub async fn by_secret(app: &App, secret: &str) -> Result<MerchantKey, Error> {
    let row = keys::by_hash(&app.store, token_hash(secret)).await?.ok_or(Error::NotSignedIn)?;
    if !row.is_good(app.clock.now()) {
        return Err(Error::NotSignedIn);
    }
    // Money is decided by the commit; a frozen key is not to read either.
    if app.ledger.policy().frozen_keys.contains(&row.id) {
        return Err(Error::refused(koban_domain::outcomes::Refusal::KeyFrozen));
    }
    let key = KeyView::from(row);
    Ok(MerchantKey { merchant: key.merchant, key: key.id, scopes: key.scopes })
}

async fn own(app: &App, ctx: &Ctx, merchant: MerchantId, key: KeyId) -> Result<KeyView, Error> {
    check_owner(ctx, merchant)?;
    Ok(keys::by_id(&app.store, merchant, key).await?.ok_or(Error::NotFound("key"))?.into())
}

fn check_owner(ctx: &Ctx, merchant: MerchantId) -> Result<(), Error> {
    match ctx.actor {
        Actor::Operator(_) | Actor::CommandLine(_) => Ok(()),
        Actor::Merchant(own, _) if own == merchant => Ok(()),
        Actor::Merchant(..) => Err(Error::NotFound("merchant")),
        Actor::User(_) | Actor::Schedule(..) | Actor::IdentityCheck | Actor::System => {
            Err(Error::Forbidden("only merchants and operators have to do with keys"))
        }
    }
}

impl From<ApiKeyRow> for KeyView {
    fn from(row: ApiKeyRow) -> KeyView {
        let scopes = Scope::ALL.into_iter().filter(|scope| row.scopes.iter().any(|word| word == scope.word()));
        KeyView {
            id: row.id,
            merchant: row.merchant,
            name: row.name,
            scopes: scopes.collect(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}
