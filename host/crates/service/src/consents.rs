//! What users let the platform do at partners, by OAuth 2.0: agreed to at the partner's page, kept sealed, refreshed once for all, ended in one clear state.
//!
//! The way there is the authorisation code with PKCE (RFC 7636, S256). What comes back is tied to the user who left and is good once. A refresh is done
//! by one host at a time, under a lease: partners that give a new refresh token with each use take the whole family away when an old one comes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use koban_domain::ids::UserId;
use koban_domain::manifest::CredentialKind;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_outside::{Endpoint, Grant, Hidden, NoToken, Token, TokenServer, encode_query};
use koban_store::consents::{self as rows, ConsentKey, ConsentRow, ConsentState, Refreshed, RequestRow, RevocationRow};
use koban_store::endpoints::{self, EndpointRow};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::app::App;
use crate::clock;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::own;
use crate::flows::partner::{self, Made, NotReady};
use crate::links;
use crate::plugins;
use crate::sealing::{Sealed, about_consent, about_consent_request};

/// How long a user may be at the partner's page.
const ASKED_MS: i64 = 600_000;
/// Most such visits of a user at a time.
const ASKED_MAX: i64 = 5;
/// A token that ends so soon is refreshed first.
const SPARE_MS: i64 = 30_000;
/// How long the right to refresh holds; longer than the token server is waited for.
const LEASE_MS: i64 = 60_000;
/// How long a call waits for somebody else's refresh.
const WAITS: u32 = 100;
const WAIT: Duration = Duration::from_millis(200);

/// A consent as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentView {
    /// The plugin's id.
    pub plugin: String,
    /// The endpoint's name in the manifest.
    pub endpoint: String,
    /// Whether it is with the partner's sandbox.
    pub sandbox: bool,
    /// Whether it holds.
    pub holds: bool,
    /// Why it ended, if it did: `by_user`, or what the partner said.
    pub reason: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Where a user is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The partner's page.
    pub url: String,
    /// Until when the user may come back.
    pub expires_at: Timestamp,
}

/// What a user brings back.
#[derive(Debug, Clone)]
pub struct Brought {
    /// `state`, as it was given along.
    pub state: String,
    /// The code.
    pub code: Hidden,
    /// `iss`, if the partner said who it is (RFC 9207).
    pub issuer: Option<String>,
}

impl Brought {
    /// What stood in the address that a user came back to.
    pub fn new(state: String, code: String, issuer: Option<String>) -> Brought {
        Brought { state, code: Hidden::new(code), issuer }
    }
}

/// Tokens as they are sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    access: String,
    refresh: Option<String>,
}

/// Sends a user to the partner's page. Errors: no such endpoint, or it is none that users agree to.
pub async fn ask(app: &App, ctx: &Ctx, plugin: &str, endpoint: &str) -> Result<Asked, Error> {
    let user = ctx.user()?;
    let (row, made) = found(app, plugin, endpoint).await?;
    let (Some(server), Some((page, redirect))) = (&made.server, &made.page) else {
        return Err(Error::NotFound("endpoint that asks for a consent"));
    };
    let (state, verifier) = (clock::token(), Zeroizing::new(clock::token()));
    let asked = Digest::of(state.as_bytes());
    let expires_at = app.clock.now().plus_ms(ASKED_MS);
    let sealed = app.sealer.seal(&about_consent_request(asked), verifier.as_bytes());
    let sealed = sealed.map_err(|error| Error::Conflict(error.to_string()))?;
    let request =
        RequestRow { asked, key: key_of(&row, user), secret: sealed.bytes, key_id: sealed.key_id, expires_at };
    if !rows::ask(&app.store, &request, ASKED_MAX, app.clock.now()).await? {
        let problem = format!("{ASKED_MAX} visits to partners' pages are open; finish one or wait ten minutes");
        return Err(Error::Conflict(problem));
    }
    let challenge = URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).0);
    let mut query = vec![
        ("response_type", "code".to_owned()),
        ("client_id", server.client.clone()),
        ("redirect_uri", redirect.clone()),
        ("state", state),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
    ];
    if !server.scopes.is_empty() {
        query.push(("scope", server.scopes.join(" ")));
    }
    let query: Vec<(String, String)> = query.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Asked { url: format!("{page}?{}", encode_query(&query)), expires_at })
}

/// Takes what a user brought back, once, and keeps the tokens that the partner gives for it. Errors: nobody sent this user there, or the
/// partner gives no token.
pub async fn finish(app: &App, ctx: &Ctx, brought: Brought) -> Result<ConsentView, Error> {
    let user = ctx.user()?;
    if !(1..=2_048).contains(&brought.code.reveal().len()) {
        return Err(Error::invalid("code", "send what the partner gave the user, 1 to 2,048 characters"));
    }
    let now = app.clock.now();
    let asked = Digest::of(brought.state.as_bytes());
    let missing = || Error::NotFound("open visit to a partner's page; begin again");
    let request = rows::take(&app.store, asked, user, now).await?.ok_or_else(missing)?;
    let endpoint = request.key.endpoint.trim_end_matches("/sandbox").to_owned();
    let (row, made) = found(app, &request.key.plugin, &endpoint).await?;
    if key_of(&row, user) != request.key {
        return Err(Error::Conflict("the plugin has changed between sandbox and live base; begin again".to_owned()));
    }
    let (Some(server), Some((page, redirect))) = (&made.server, &made.page) else { return Err(missing()) };
    if let Some(issuer) = &brought.issuer
        && !is_issuer(issuer, page)
    {
        return Err(Error::invalid("issuer", "another server answered than the one that was asked; begin again"));
    }
    let sealed = Sealed { key_id: request.key_id, bytes: request.secret };
    let verifier = app.sealer.open(&about_consent_request(asked), &sealed);
    let verifier = verifier.map_err(|error| Error::Internal(error.to_string()))?;
    let verifier = Hidden::new(String::from_utf8_lossy(&verifier).into_owned());
    let grant = Grant::Code { code: brought.code, verifier, redirect: redirect.clone() };
    let token = app.outside.token(&made.endpoint, server, &grant, now).await;
    let token = token.map_err(|why| Error::Conflict(format!("the partner gives no token: {why}; begin again")))?;
    let (secret, key_id) = seal(app, &request.key, &token, None)?;
    let consent = ConsentRow {
        key: request.key.clone(),
        state: ConsentState::Given,
        secret,
        key_id,
        ends_at: token.ends_at,
        generation: 1,
        reason: None,
        created_at: now,
        changed_at: app.clock.now(),
    };
    rows::give(&app.store, &consent).await?;
    tracing::info!(plugin = request.key.plugin, endpoint = request.key.endpoint, "a user has agreed");
    own::agreed(app, user, &request.key.plugin, &endpoint).await?;
    let given = rows::get(&app.store, &request.key).await?.ok_or(Error::NotFound("consent"))?;
    Ok(view(given))
}

/// RFC 9207: the issuer is the server whose page it was.
fn is_issuer(issuer: &str, page: &koban_outside::Base) -> bool {
    let origin = page.to_string();
    let origin = origin.get(..origin.len() - page.path().len()).unwrap_or_default();
    issuer == origin || issuer.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/'))
}

/// What a user has agreed to, ended consents among them.
pub async fn list(app: &App, ctx: &Ctx) -> Result<Vec<ConsentView>, Error> {
    let user = ctx.user()?;
    Ok(rows::of_user(&app.store, user).await?.into_iter().map(view).collect())
}

/// A user ends a consent: its tokens are wiped, the links that rest on it end, and its server is told if it can be. Errors: there is none that
/// holds.
pub async fn end(app: &App, ctx: &Ctx, plugin: &str, endpoint: &str) -> Result<(), Error> {
    let user = ctx.user()?;
    if !give_up(app, (plugin, endpoint, user), "by_user").await? {
        return Err(Error::NotFound("consent"));
    }
    links::consent_ended(app, ctx, plugin, endpoint).await
}

/// The last link that rested on a consent has ended: so does the consent.
pub(crate) async fn end_for_link(app: &App, plugin: &str, endpoint: &str, user: UserId) -> Result<(), Error> {
    give_up(app, (plugin, endpoint, user), "link_ended").await.map(drop)
}

/// Whether anything was given up.
async fn give_up(app: &App, (plugin, endpoint, user): (&str, &str, UserId), reason: &str) -> Result<bool, Error> {
    let mut ended = false;
    for sandbox in [false, true] {
        let key = ConsentKey { plugin: plugin.to_owned(), endpoint: partner::kept_name(endpoint, sandbox), user };
        let now = app.clock.now();
        let told = can_be_told(app, &key).await?;
        let noted = told && rows::end_and_tell(&app.store, &key, (clock::random_id(), reason), now).await?;
        ended |= noted || rows::end(&app.store, &key, None, reason, now).await?;
    }
    Ok(ended)
}

/// Whether the server of a consent can be told that it is over.
async fn can_be_told(app: &App, key: &ConsentKey) -> Result<bool, Error> {
    Ok(server_of(app, key).await?.is_some_and(|made| made.revoke.is_some()))
}

/// The endpoint of a consent as it is set now; none if it is not set, or no longer one that users agree to.
async fn server_of(app: &App, key: &ConsentKey) -> Result<Option<Made>, Error> {
    let (endpoint, sandbox) = match key.endpoint.strip_suffix("/sandbox") {
        Some(endpoint) => (endpoint, true),
        None => (key.endpoint.as_str(), false),
    };
    let Some(row) = endpoints::get(&app.store, &key.plugin, endpoint, sandbox).await? else { return Ok(None) };
    let plugin = match plugins::get(app, &key.plugin).await {
        Ok(plugin) => plugin,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let spec = plugin.manifest.endpoint(endpoint).filter(|spec| spec.credential == CredentialKind::OauthUser);
    // What cannot be read any more can be told nothing.
    Ok(spec.and_then(|spec| partner::read(app, &row, spec).ok()))
}

/// Most servers that are told in one go.
const TOLD_MAX: u16 = 16;
/// How often a server is told, and how long after the first time the second comes; each further pause is twice as long.
const TELLS_MAX: i32 = 10;
const TELL_AGAIN_MS: i64 = 30_000;

/// Tells servers of consents that ended. Two hosts may tell the same one: it is over once.
pub(crate) async fn revoke_due(app: &App) -> Result<(), Error> {
    for row in rows::revocations_due(&app.store, app.clock.now(), TOLD_MAX).await? {
        let why = match tell(app, &row).await {
            Ok(()) => None,
            Err(NoToken::Refused(why)) => {
                tracing::warn!(
                    plugin = row.key.plugin,
                    why,
                    "a server does not take back a token; it runs out by itself"
                );
                None
            }
            Err(why) => Some(why.to_string()),
        };
        match why {
            Some(why) if row.attempts + 1 < TELLS_MAX => {
                tracing::info!(plugin = row.key.plugin, why, "a server is told later that a consent has ended");
                let pause = TELL_AGAIN_MS.saturating_mul(1 << row.attempts.clamp(0, 16));
                rows::revoke_again(&app.store, row.id, app.clock.now().plus_ms(pause)).await?;
            }
            Some(why) => {
                tracing::warn!(plugin = row.key.plugin, why, "a server was never told that a consent has ended");
                rows::revoked(&app.store, row.id).await?;
            }
            None => rows::revoked(&app.store, row.id).await?,
        }
    }
    Ok(())
}

async fn tell(app: &App, row: &RevocationRow) -> Result<(), NoToken> {
    let failed = |error: Error| NoToken::NotAsked(error.to_string());
    let made = server_of(app, &row.key).await.map_err(failed)?;
    let gone = || NoToken::Refused("it is not set any more".to_owned());
    let (endpoint, server, place) =
        made.and_then(|made| Some((made.endpoint, made.server?, made.revoke?))).ok_or_else(gone)?;
    let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.secret.clone() };
    let about = about_consent(&row.key.plugin, &row.key.endpoint, row.key.user);
    let plain = app.sealer.open(&about, &sealed).map_err(|error| NoToken::NotAsked(error.to_string()))?;
    let kept: Kept =
        serde_json::from_slice(&plain).map_err(|_| NoToken::Refused("its tokens cannot be read".into()))?;
    let token = Hidden::new(kept.refresh.unwrap_or(kept.access));
    app.outside.revoke(&endpoint, &server, (&place, &token), app.clock.now()).await
}

/// Whether a consent holds on the side that the plugin is on.
pub(crate) async fn holds(app: &App, plugin: &str, endpoint: &str, user: UserId) -> Result<bool, Error> {
    let sandbox = partner::is_on_sandbox(app, plugin).await?;
    let key = ConsentKey { plugin: plugin.to_owned(), endpoint: partner::kept_name(endpoint, sandbox), user };
    Ok(rows::get(&app.store, &key).await?.is_some_and(|consent| consent.state == ConsentState::Given))
}

async fn found(app: &App, plugin: &str, endpoint: &str) -> Result<(EndpointRow, Made), Error> {
    let view = plugins::get(app, plugin).await?;
    let spec = view.manifest.endpoint(endpoint).filter(|spec| spec.credential == CredentialKind::OauthUser);
    let spec = spec.ok_or(Error::NotFound("endpoint that asks for a consent"))?;
    let sandbox = partner::is_on_sandbox(app, plugin).await?;
    let row = endpoints::get(&app.store, plugin, endpoint, sandbox).await?;
    let row = row.ok_or(Error::NotFound("endpoint that asks for a consent"))?;
    let made = partner::read(app, &row, spec)?;
    Ok((row, made))
}

fn key_of(row: &EndpointRow, user: UserId) -> ConsentKey {
    ConsentKey { plugin: row.plugin.clone(), endpoint: partner::kept_name(&row.name, row.sandbox), user }
}

fn view(row: ConsentRow) -> ConsentView {
    let (endpoint, sandbox) = match row.key.endpoint.strip_suffix("/sandbox") {
        Some(endpoint) => (endpoint.to_owned(), true),
        None => (row.key.endpoint.clone(), false),
    };
    ConsentView {
        plugin: row.key.plugin,
        endpoint,
        sandbox,
        holds: row.state == ConsentState::Given,
        reason: row.reason,
        created_at: row.created_at,
        changed_at: row.changed_at,
    }
}

fn seal(app: &App, key: &ConsentKey, token: &Token, before: Option<String>) -> Result<(Vec<u8>, String), Error> {
    let refresh = token.refresh.as_ref().map(|refresh| refresh.reveal().to_owned()).or(before);
    let kept = Kept { access: token.access.reveal().to_owned(), refresh };
    let plain = Zeroizing::new(serde_json::to_vec(&kept).map_err(|error| Error::Internal(error.to_string()))?);
    let sealed = app.sealer.seal(&about_consent(&key.plugin, &key.endpoint, key.user), &plain);
    let sealed = sealed.map_err(|error| Error::Conflict(error.to_string()))?;
    Ok((sealed.bytes, sealed.key_id))
}

fn open(app: &App, row: &ConsentRow) -> Result<Kept, Error> {
    let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.secret.clone() };
    let about = about_consent(&row.key.plugin, &row.key.endpoint, row.key.user);
    let plain = app.sealer.open(&about, &sealed).map_err(|error| Error::Internal(error.to_string()))?;
    // The error of a parser would repeat what it read.
    serde_json::from_slice(&plain).map_err(|_| Error::Internal("a consent's tokens cannot be read".to_owned()))
}

/// Refreshes of this host that are under way, so that calls at the same time wait for one of them.
#[derive(Debug, Default)]
pub struct Refreshing(Mutex<HashMap<ConsentKey, Arc<tokio::sync::Mutex<()>>>>);

impl Refreshing {
    fn place(&self, key: &ConsentKey) -> Arc<tokio::sync::Mutex<()>> {
        const KEPT_MAX: usize = 1_024;
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT_MAX {
            // Those that somebody waits at are held by him.
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        places.entry(key.clone()).or_default().clone()
    }
}

/// The token with which a partner is called for a user, refreshed first if it ends soon or the partner did not take it (`stale`). However many
/// calls wait, on however many hosts, one of them refreshes.
pub(crate) async fn token(
    app: &App,
    (row, endpoint, server): (&EndpointRow, &Endpoint, &TokenServer),
    user: UserId,
    stale: Option<&Hidden>,
) -> Result<Result<Hidden, NotReady>, Error> {
    let key = key_of(row, user);
    let place = app.refreshing.place(&key);
    let owner = clock::token();
    for _ in 0..WAITS {
        let waiting = place.lock().await;
        let Some(consent) = rows::get(&app.store, &key).await? else {
            return Ok(Err(NotReady::NoConsent("the user has not agreed to this yet".to_owned())));
        };
        if consent.state == ConsentState::Ended {
            let reason = consent.reason.unwrap_or_default();
            let why = format!("the user's consent has ended ({reason}); the user must agree again");
            return Ok(Err(NotReady::NoConsent(why)));
        }
        let kept = open(app, &consent)?;
        let access = Hidden::new(kept.access);
        let now = app.clock.now();
        if consent.ends_at.since_ms(now) > SPARE_MS && stale != Some(&access) {
            return Ok(Ok(access));
        }
        let generation = (&key, consent.generation);
        let Some(refresh) = kept.refresh else {
            rows::refreshed(&app.store, generation, &Refreshed::Ended("no_refresh_token".to_owned()), now).await?;
            continue;
        };
        if !rows::lease(&app.store, generation, &owner, now, now.plus_ms(LEASE_MS)).await? {
            drop(waiting);
            tokio::time::sleep(WAIT).await;
            continue;
        }
        let asked = app.outside.token(endpoint, server, &Grant::Refresh(Hidden::new(refresh.clone())), now).await;
        let (refreshed, later) = match asked {
            Ok(token) => {
                let (secret, key_id) = seal(app, &key, &token, Some(refresh))?;
                (Refreshed::Tokens(secret, key_id, token.ends_at), None)
            }
            Err(NoToken::Refused(word)) => {
                tracing::warn!(
                    plugin = key.plugin,
                    endpoint = key.endpoint,
                    word,
                    "a partner refuses to refresh a consent"
                );
                (Refreshed::Ended(word), None)
            }
            Err(why) => (Refreshed::Nothing, Some(why.to_string())),
        };
        rows::refreshed(&app.store, generation, &refreshed, app.clock.now()).await?;
        if let Some(why) = later {
            return Ok(Err(NotReady::Later(why)));
        }
        if matches!(refreshed, Refreshed::Tokens(..)) {
            // Read back by the next round: what holds is what was written. A token that the partner gave just now is not stale.
            let Some(consent) = rows::get(&app.store, &key).await? else { continue };
            if consent.state == ConsentState::Given {
                return Ok(Ok(Hidden::new(open(app, &consent)?.access)));
            }
        }
    }
    Ok(Err(NotReady::Later("another host refreshes this consent; it is tried again".to_owned())))
}
