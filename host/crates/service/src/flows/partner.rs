//! A plugin's partner as an operator wrote it down: where it is, what is shared with it, and how its calls are checked.

use std::collections::BTreeMap;
use std::time::Duration;

use koban_domain::ids::UserId;
use koban_domain::manifest::{CredentialKind, EndpointSpec};
use koban_domain::time::Timestamp;
use koban_outside::base::Host;
use koban_outside::{
    Authorities, Base, ClientCertificate, Credential, Endpoint, Hidden, HmacKey, Keyring, Limits, SignatureError,
    TokenServer, Told,
};
use koban_store::endpoints::{self, EndpointRow};
use koban_store::platform::Mode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::inbound::InboundRequest;
use crate::app::App;
use crate::consents;
use crate::error::Error;
use crate::sealing::{Sealed, about_endpoint};

/// What is secret about an endpoint, as it is sealed. Those that were set by earlier hosts are `whsec_…` secrets, one a line.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Material {
    /// `whsec_…` secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<String>,
    /// The parts of any other credential, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) credential: BTreeMap<String, String>,
    /// What `{{secret:name}}` stands for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fill: BTreeMap<String, String>,
}

/// What is not secret about an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Detail {
    /// PEM of the partner's own authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<String>,
    /// The token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// The page where users agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authorize: Option<String>,
    /// Where they come back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect: Option<String>,
    /// Where its server is told that a token is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoke: Option<String>,
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_minute: Option<u32>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrent: Option<u32>,
    /// Bytes of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_bytes: Option<u32>,
    /// Seconds of an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_s: Option<u32>,
}

/// An endpoint put together. Tokens of users are not in it yet.
#[derive(Debug)]
pub(crate) struct Made {
    /// The endpoint.
    pub(crate) endpoint: Endpoint,
    /// Where its tokens come from, for OAuth of users.
    pub(crate) server: Option<TokenServer>,
    /// The page where users agree, and where they come back to.
    pub(crate) page: Option<(Base, String)>,
    /// Where its server is told that a token is given up, if it can be.
    pub(crate) revoke: Option<Base>,
}

/// A field that cannot be used, and what to write instead.
pub(crate) type Unusable = (String, String);

/// Why a partner cannot be called now.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// The operator has not said where it is, on the side that the plugin is on.
    Unset {
        /// Whether that is the sandbox.
        sandbox: bool,
    },
    /// The user has not agreed, or the consent is over.
    NoConsent(String),
    /// The token could not be refreshed now.
    Later(String),
}

impl NotReady {
    /// For operators.
    pub(crate) fn why(&self) -> String {
        match self {
            NotReady::Unset { sandbox } => {
                let side = if *sandbox { "sandbox" } else { "live base" };
                format!("the operator has not said where this endpoint's {side} is; see `koban plugin endpoint set`")
            }
            NotReady::NoConsent(why) | NotReady::Later(why) => why.clone(),
        }
    }
}

/// Puts an endpoint together of what the manifest says and what the operator gave. Errors: the field that does not fit.
pub(crate) fn make(
    (plugin, spec): (&str, &EndpointSpec),
    (base, allow_private): (&str, bool),
    material: &Material,
    detail: &Detail,
) -> Result<Made, Unusable> {
    let unusable = |field: &str, problem: String| (field.to_owned(), problem);
    let address = |field: &'static str, text: &str| -> Result<Base, Unusable> {
        let base = Base::parse(text).map_err(|error| unusable(field, error.to_string()))?;
        if let Host::Address(address) = base.host() {
            let checked = koban_outside::address::check(*address, allow_private);
            checked.map_err(|error| unusable(field, error.to_string()))?;
        }
        Ok(base)
    };
    let base = address("base", base)?;
    let (names, optional) = parts_of(spec);
    for name in material.credential.keys() {
        if !names.contains(&name.as_str()) {
            let problem = match names.is_empty() {
                true => format!("the credential `{}` has no such parts", spec.credential.word()),
                false => format!("the credential `{}` has the parts {}", spec.credential.word(), names.join(", ")),
            };
            return Err(unusable(&format!("credential.{name}"), problem));
        }
    }
    let part = |name: &str| -> Result<String, Unusable> {
        match material.credential.get(name) {
            Some(value) if is_value(value) => Ok(value.clone()),
            Some(_) => {
                Err(unusable(&format!("credential.{name}"), "use 1 to 16,384 characters without controls".to_owned()))
            }
            None if optional.contains(&name) => Ok(String::new()),
            None => Err(unusable(
                &format!("credential.{name}"),
                format!("the credential `{}` needs it", spec.credential.word()),
            )),
        }
    };
    let secret = |name: &str| -> Result<Hidden, Unusable> {
        let value = part(name)?;
        if !value.is_empty() && value.len() < koban_outside::hidden::SECRET_LENGTH_MIN {
            return Err(unusable(&format!("credential.{name}"), "a secret has at least 8 characters".to_owned()));
        }
        Ok(Hidden::new(value))
    };
    if spec.credential != CredentialKind::StandardWebhooks && !material.secrets.is_empty() {
        let problem = format!(
            "`whsec_` secrets belong to standard-webhooks; this endpoint's credential is `{}`",
            spec.credential.word()
        );
        return Err(unusable("secrets", problem));
    }
    let mut server = None;
    let credential = match spec.credential {
        CredentialKind::None => Credential::None,
        CredentialKind::StandardWebhooks => {
            let keys = Keyring::parse(material.secrets.iter().map(String::as_str));
            Credential::StandardWebhooks(keys.map_err(|error| unusable("secrets", error.to_string()))?)
        }
        CredentialKind::Bearer => Credential::Bearer(secret("token")?),
        CredentialKind::Basic => {
            let user = part("user")?;
            if user.contains(':') {
                return Err(unusable("credential.user", "a user name has no colon".to_owned()));
            }
            Credential::Basic { user, password: secret("password")? }
        }
        CredentialKind::Header => {
            let headers: Result<Vec<_>, Unusable> =
                spec.headers.iter().map(|name| Ok((name.clone(), secret(name)?))).collect();
            Credential::Headers(headers?)
        }
        CredentialKind::ClientCertificate => {
            let pem = |name: &str| {
                let text = material.credential.get(name);
                text.ok_or_else(|| {
                    unusable(&format!("credential.{name}"), "the credential needs it, as PEM".to_owned())
                })
            };
            let certificate = ClientCertificate::parse(pem("certificate")?, pem("key")?);
            Credential::Certificate(certificate.map_err(|error| unusable("credential.certificate", error.to_string()))?)
        }
        CredentialKind::Hmac => {
            let template =
                spec.hmac.clone().ok_or_else(|| unusable("credential", "the manifest has no template".to_owned()))?;
            let key = HmacKey { spec: template, key: part("key")?, secret: secret("secret")? };
            key.check().map_err(|why| unusable("credential.secret", why.to_owned()))?;
            Credential::Hmac(key)
        }
        CredentialKind::OauthClient | CredentialKind::OauthUser => {
            let needed = || unusable("token", "say where tokens are asked for".to_owned());
            let oauth = spec.oauth.clone().unwrap_or_default();
            let tokens = TokenServer {
                address: address("token", detail.token.as_deref().ok_or_else(needed)?)?,
                client: part("client_id")?,
                secret: secret("client_secret")?,
                shown: oauth.client,
                scopes: oauth.scopes,
                audience: oauth.audience,
            };
            if spec.credential == CredentialKind::OauthClient {
                Credential::OauthClient(tokens)
            } else {
                server = Some(tokens);
                Credential::None
            }
        }
    };
    let page = match (spec.credential, &detail.authorize, &detail.redirect) {
        (CredentialKind::OauthUser, Some(page), Some(redirect)) => {
            address("redirect", redirect)?;
            Some((address("authorize", page)?, redirect.clone()))
        }
        (CredentialKind::OauthUser, ..) => {
            return Err(unusable(
                "authorize",
                "say where users agree (`authorize`) and come back to (`redirect`)".to_owned(),
            ));
        }
        _ => None,
    };
    let revoke = match (spec.credential, &detail.revoke) {
        (CredentialKind::OauthUser, Some(place)) => Some(address("revoke", place)?),
        (_, Some(_)) => return Err(unusable("revoke", "only tokens of users are given up; leave it out".to_owned())),
        _ => None,
    };
    let mut secrets = Vec::new();
    for (name, value) in &material.fill {
        let plain =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
        if !plain || !(1..=40).contains(&name.len()) {
            return Err(unusable(&format!("fill.{name}"), "a name is 1 to 40 of a-z, 0-9, `_` and `-`".to_owned()));
        }
        if value.len() < koban_outside::hidden::SECRET_LENGTH_MIN || !is_value(value) {
            return Err(unusable(
                &format!("fill.{name}"),
                "a secret has 8 to 16,384 characters without controls".to_owned(),
            ));
        }
        secrets.push((name.clone(), Hidden::new(value.clone())));
    }
    let authorities = detail.authorities.as_deref().map(Authorities::parse).transpose();
    let authorities = authorities.map_err(|error| unusable("authorities", error.to_string()))?;
    let limits = limits(detail)?;
    let name = format!("{plugin}/{}", spec.name);
    let endpoint = Endpoint { allow_private, limits, authorities, secrets, ..Endpoint::new(name, base, credential) };
    Ok(Made { endpoint, server, page, revoke })
}

/// The parts that a credential has, and those of them that may be missing.
pub(crate) fn parts_of(spec: &EndpointSpec) -> (Vec<&str>, &'static [&'static str]) {
    match spec.credential {
        CredentialKind::None | CredentialKind::StandardWebhooks => (Vec::new(), &[]),
        CredentialKind::Bearer => (vec!["token"], &[]),
        CredentialKind::Basic => (vec!["user", "password"], &[]),
        CredentialKind::Header => (spec.headers.iter().map(String::as_str).collect(), &[]),
        CredentialKind::ClientCertificate => (vec!["certificate", "key"], &[]),
        CredentialKind::Hmac => (vec!["secret", "key"], &["key"]),
        CredentialKind::OauthClient => (vec!["client_id", "client_secret"], &[]),
        CredentialKind::OauthUser => (vec!["client_id", "client_secret"], &["client_secret"]),
    }
}

fn is_value(value: &str) -> bool {
    (1..=16_384).contains(&value.len()) && !value.chars().any(char::is_control)
}

fn limits(detail: &Detail) -> Result<Limits, Unusable> {
    let usual = Limits::default();
    let within = |field: &str, given: Option<u32>, usual: u32, most: u32| match given {
        Some(number) if !(1..=most).contains(&number) => Err((format!("limits.{field}"), format!("use 1 to {most}"))),
        given => Ok(given.unwrap_or(usual)),
    };
    let answer_bytes = within("answer_bytes", detail.answer_bytes, 64 * 1024, 64 * 1024)?;
    Ok(Limits {
        per_minute: within("per_minute", detail.per_minute, usual.per_minute, 60_000)?,
        concurrent: within("concurrent", detail.concurrent, usual.concurrent, 64)?,
        answer_bytes: usize::try_from(answer_bytes).unwrap_or(usual.answer_bytes),
        total: Duration::from_secs(u64::from(within("timeout_s", detail.timeout_s, 60, 60)?)),
    })
}

/// Whether a plugin talks to its partners' sandboxes. On a database for tests it always does: no live base is ever read there.
pub(crate) async fn is_on_sandbox(app: &App, plugin: &str) -> Result<bool, Error> {
    if app.clock.mode() == Mode::Test {
        return Ok(true);
    }
    Ok(endpoints::mode(&app.store, plugin).await?.unwrap_or(false))
}

/// The partner behind an endpoint of a plugin, on the side that the plugin is on, ready to be called for this user. Errors: what was set
/// cannot be read any more.
pub(crate) async fn endpoint(
    app: &App,
    plugin: &str,
    spec: &EndpointSpec,
    user: Option<UserId>,
) -> Result<Result<Endpoint, NotReady>, Error> {
    let sandbox = is_on_sandbox(app, plugin).await?;
    let Some(row) = endpoints::get(&app.store, plugin, &spec.name, sandbox).await? else {
        return Ok(Err(NotReady::Unset { sandbox }));
    };
    let made = read(app, &row, spec)?;
    let Some(server) = made.server else { return Ok(Ok(made.endpoint)) };
    let Some(user) = user else {
        return Ok(Err(NotReady::NoConsent("this endpoint is called for a user, and here is none".to_owned())));
    };
    let token = consents::token(app, (&row, &made.endpoint, &server), user, None).await?;
    Ok(token.map(|token| Endpoint { credential: Credential::Bearer(token), ..made.endpoint }))
}

/// The same endpoint with another token than the one that the partner did not take. None: there is no other one.
pub(crate) async fn again(
    app: &App,
    plugin: &str,
    spec: &EndpointSpec,
    user: UserId,
    stale: &Endpoint,
) -> Result<Option<Endpoint>, Error> {
    let Credential::Bearer(token) = &stale.credential else { return Ok(None) };
    let sandbox = is_on_sandbox(app, plugin).await?;
    let Some(row) = endpoints::get(&app.store, plugin, &spec.name, sandbox).await? else { return Ok(None) };
    let made = read(app, &row, spec)?;
    let Some(server) = made.server else { return Ok(None) };
    let token = consents::token(app, (&row, &made.endpoint, &server), user, Some(token)).await?;
    Ok(token.ok().map(|token| Endpoint { credential: Credential::Bearer(token), ..made.endpoint }))
}

/// Puts an endpoint together of its row.
pub(crate) fn read(app: &App, row: &EndpointRow, spec: &EndpointSpec) -> Result<Made, Error> {
    let name = kept_name(&row.name, row.sandbox);
    let unreadable = |what: &str, error: String| {
        Error::Internal(format!("the {what} of endpoint `{}/{name}` cannot be read: {error}; set it again", row.plugin))
    };
    let opened = open(app, row).map_err(|error| unreadable("secret", error))?;
    let material = material(&opened).map_err(|error| unreadable("secret", error))?;
    let detail: Detail = serde_json::from_str(&row.detail).map_err(|error| unreadable("detail", error.to_string()))?;
    make((&row.plugin, spec), (&row.base, row.allow_private), &material, &detail)
        .map_err(|(field, problem)| unreadable(&field, problem))
}

/// The name with its side, as rows and seals know it.
pub(crate) fn kept_name(name: &str, sandbox: bool) -> String {
    if sandbox { format!("{name}/sandbox") } else { name.to_owned() }
}

fn material(opened: &[u8]) -> Result<Material, String> {
    let text = std::str::from_utf8(opened).map_err(|_| "not text".to_owned())?;
    if text.starts_with('{') {
        // The error of a parser would repeat what it read.
        return serde_json::from_str(text).map_err(|_| "not as it was sealed".to_owned());
    }
    Ok(Material { secrets: text.split_whitespace().map(str::to_owned).collect(), ..Material::default() })
}

/// Seals what is secret about an endpoint. Errors: this host has no key to seal with.
pub(crate) fn seal(app: &App, plugin: &str, kept: &str, material: &Material) -> Result<Sealed, Error> {
    let plain = serde_json::to_vec(material).map_err(|error| Error::Internal(error.to_string()))?;
    let plain = Zeroizing::new(plain);
    app.sealer.seal(&about_endpoint(plugin, kept), &plain).map_err(|error| Error::Conflict(error.to_string()))
}

/// Opens the secrets of an endpoint. Those that were set before partners' secrets were sealed name no key and lie open until they
/// are set again or `koban key rotate` seals them.
pub(crate) fn open(app: &App, row: &EndpointRow) -> Result<Zeroizing<Vec<u8>>, String> {
    if row.key_id.is_empty() {
        return Ok(Zeroizing::new(row.secret.clone()));
    }
    let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.secret.clone() };
    let about = about_endpoint(&row.plugin, &kept_name(&row.name, row.sandbox));
    app.sealer.open(&about, &sealed).map_err(|error| error.to_string())
}

/// What a partner's call proved: the id or nonce that the reply is signed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved(String);

/// Checks that a call is the partner's. Errors: it is not.
pub(crate) fn verify(endpoint: &Endpoint, request: &InboundRequest, now: Timestamp) -> Result<Proved, SignatureError> {
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match &endpoint.credential {
        Credential::StandardWebhooks(keys) => {
            koban_outside::verify(headers, &request.body, keys, now).map(|verified| Proved(verified.id))
        }
        Credential::Hmac(key) => {
            let path = format!("/v1/inbound/{}/{}{}", request.plugin, request.operation, request.path);
            let media = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let told = Told {
                method: "POST",
                path: &path,
                query: &request.raw_query,
                body: &request.body,
                content_type: media.map_or("", |(_, value)| value),
                ..Told::default()
            };
            key.verify_call(headers.iter().copied(), &told, now).map(Proved)
        }
        // The gate of the manifest lets no other kind have calls.
        _ => Err(SignatureError::NoMatch),
    }
}

/// The headers that prove a reply of ours.
pub(crate) fn sign_reply(
    endpoint: &Endpoint,
    proved: &Proved,
    (status, content_type, body): (u16, &str, &[u8]),
    now: Timestamp,
) -> Vec<(String, String)> {
    match &endpoint.credential {
        Credential::StandardWebhooks(keys) => {
            let signed = koban_outside::sign_answer(&proved.0, body, keys, now);
            signed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        }
        Credential::Hmac(key) => {
            let nonce = crate::clock::random_id().to_string();
            let told = Told { status, body, content_type, nonce: &nonce, asked_nonce: &proved.0, ..Told::default() };
            // The secret was checked when the endpoint was put together: nothing is left that could fail.
            key.sign_reply(&told, now).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}
