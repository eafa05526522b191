//! How a partner and the host prove themselves to each other: the closed list, and what a plugin's author writes down of its partner's way.
//!
//! The author knows the partner's protocol and writes it here; the operator has the secrets and gives them to the host. Neither part is of use without
//! the other, and a template can place a digest or a signature of a secret into a request, never the secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointSpec, ManifestError, wrong};

/// How a partner and the host prove themselves to each other. A closed list: a new kind is written in the host, not brought by a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// Nobody asks who we are: a public feed. The partner proves itself by its certificate.
    None,
    /// Standard Webhooks 1.0.0 signatures (`v1`, HMAC-SHA256) on requests and answers, both ways.
    StandardWebhooks,
    /// `Authorization: Bearer …`, a token that does not change.
    Bearer,
    /// `Authorization: Basic …`: user and password.
    Basic,
    /// Secrets in headers of the partner's own, named in [`EndpointSpec::headers`].
    Header,
    /// A certificate of ours, shown when the connection is made.
    ClientCertificate,
    /// Signatures by a template, see [`EndpointSpec::hmac`].
    Hmac,
    /// A token that the host fetches as itself (OAuth 2.0 client credentials).
    OauthClient,
    /// A token for one user who agreed to it (OAuth 2.0 authorisation code), refreshed by the host.
    OauthUser,
}

impl CredentialKind {
    /// The word in the manifest.
    pub fn word(self) -> &'static str {
        match self {
            CredentialKind::None => "none",
            CredentialKind::StandardWebhooks => "standard-webhooks",
            CredentialKind::Bearer => "bearer",
            CredentialKind::Basic => "basic",
            CredentialKind::Header => "header",
            CredentialKind::ClientCertificate => "client-certificate",
            CredentialKind::Hmac => "hmac",
            CredentialKind::OauthClient => "oauth-client",
            CredentialKind::OauthUser => "oauth-user",
        }
    }
}

/// Signatures by a template: HMAC over a text that is made of parts of the message.
///
/// Placeholders of `request.text` and `inbound.text`: `{method}`, `{path}` (as on the wire, without the query), `{query}` (as on the wire, without `?`), `{body}`,
/// `{payload}` (the query of a GET or DELETE, otherwise the body), `{digest}`, `{content_type}`, `{timestamp}`, `{nonce}`, `{key}`, `{secret}`. Of `answer.text` and `reply.text`:
/// `{status}`, `{body}`, `{digest}`, `{content_type}`, `{timestamp}`, `{nonce}`, `{asked_nonce}` (the nonce of the message that is answered), `{key}`, `{secret}`. Of headers: `{mac}`,
/// `{key}`, `{timestamp}`, `{nonce}`, `{digest}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacSpec {
    /// The hash under the HMAC.
    #[serde(default)]
    pub algorithm: Hash,
    /// How `{mac}` is written.
    #[serde(default)]
    pub encoding: Writing,
    /// How the operator's secret becomes the key's bytes: as its UTF-8 bytes (`text`) or decoded.
    #[serde(default)]
    pub secret: SecretForm,
    /// How `{timestamp}` is written.
    #[serde(default)]
    pub time: TimeForm,
    /// What `{digest}` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestSpec>,
    /// The word that stands for `{digest}` and `{content_type}` of a message without a body; empty unless given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub without_body: String,
    /// How our requests are signed.
    pub request: Signing,
    /// How the partner signs its answers. Without it an answer is the partner's by its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Signing>,
    /// How the partner signs its calls; required if the endpoint has `inbound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Signing>,
    /// How we sign our replies to them; unsigned unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Signing>,
}

/// What is signed, and the headers that carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The text that is signed.
    pub text: String,
    /// Header names in lower case with their values. One of them holds `{mac}`.
    pub headers: BTreeMap<String, String>,
}

/// A digest over a part of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSpec {
    /// The hash. `md5` is for partners that insist on it: it protects nothing by itself, the HMAC around it does.
    pub algorithm: DigestHash,
    /// Of what: `{body}`, or `{content_type}{body}`.
    pub of: String,
    /// How it is written.
    #[serde(default)]
    pub encoding: Writing,
}

/// The hash under an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The hash of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DigestHash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writing {
    /// Standard base64 with padding.
    #[default]
    Base64,
    /// Base64 of URLs, without padding.
    Base64url,
    /// Hexadecimal digits in lower case.
    Hex,
}

/// How a secret is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretForm {
    /// Its characters are the key.
    #[default]
    Text,
    /// Base64 of the key.
    Base64,
    /// Hexadecimal digits of the key.
    Hex,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeForm {
    /// Whole seconds since 1970.
    #[default]
    Seconds,
    /// Whole milliseconds since 1970.
    Milliseconds,
    /// `2018-09-25T03:00:00Z`.
    Rfc3339,
    /// `Tue, 25 Sep 2018 03:00:00 GMT`.
    HttpDate,
}

/// What an OAuth server is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthSpec {
    /// The scopes, in the partner's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The audience or resource, if the server wants one named (`audience`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How client id and secret are shown to the server.
    #[serde(default)]
    pub client: ClientShown,
}

/// How client id and secret are shown to an OAuth server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientShown {
    /// As `Authorization: Basic`, which RFC 6749 prefers.
    #[default]
    Basic,
    /// In the form.
    Form,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// A part of the message.
    Part(Part),
}

/// A part of a message that a template names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The HTTP method.
    Method,
    /// The path on the wire.
    Path,
    /// The query on the wire.
    Query,
    /// The body.
    Body,
    /// The query of a GET or DELETE, otherwise the body.
    Payload,
    /// The digest.
    Digest,
    /// The media type of the body.
    ContentType,
    /// The time of the attempt.
    Timestamp,
    /// What is used once.
    Nonce,
    /// The nonce of the message that is answered.
    AskedNonce,
    /// The status of an answer.
    Status,
    /// The operator's public half: a key id, a channel id.
    Key,
    /// The secret; in signed texts alone.
    Secret,
    /// The signature; in headers alone.
    Mac,
}

const PARTS: [(&str, Part); 14] = [
    ("method", Part::Method),
    ("path", Part::Path),
    ("query", Part::Query),
    ("body", Part::Body),
    ("payload", Part::Payload),
    ("digest", Part::Digest),
    ("content_type", Part::ContentType),
    ("timestamp", Part::Timestamp),
    ("nonce", Part::Nonce),
    ("asked_nonce", Part::AskedNonce),
    ("status", Part::Status),
    ("key", Part::Key),
    ("secret", Part::Secret),
    ("mac", Part::Mac),
];

const OF_REQUESTS: &[Part] = &[
    Part::Method,
    Part::Path,
    Part::Query,
    Part::Body,
    Part::Payload,
    Part::Digest,
    Part::ContentType,
    Part::Timestamp,
    Part::Nonce,
    Part::Key,
    Part::Secret,
];
const OF_ANSWERS: &[Part] = &[
    Part::Status,
    Part::Body,
    Part::Digest,
    Part::ContentType,
    Part::Timestamp,
    Part::Nonce,
    Part::AskedNonce,
    Part::Key,
    Part::Secret,
];
const OF_HEADERS: &[Part] = &[Part::Mac, Part::Key, Part::Timestamp, Part::Nonce, Part::Digest];
const OF_DIGESTS: &[Part] = &[Part::Body, Part::ContentType];

/// Takes a template apart. Errors: a brace without its other, or a placeholder that nobody knows.
pub fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        let inside = from.strip_prefix('{').and_then(|from| from.split_once('}'));
        let Some((name, behind)) = inside else { return Err("a `{` or `}` stands without its other".to_owned()) };
        let known = PARTS.iter().find(|(known, _)| *known == name);
        let Some((_, part)) = known else {
            let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
            return Err(format!("`{{{name}}}` is no placeholder; there are {}", names.join(", ")));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Part(*part));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Most characters of a template.
const TEMPLATE_MAX: usize = 500;
/// Most headers of a credential.
const HEADERS_MAX: usize = 8;

/// Headers that the host sets itself, or that would change what a message is.
const HOST_HEADERS: [&str; 17] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept-encoding",
    "user-agent",
    "idempotency-key",
    "cookie",
    "set-cookie",
    "origin",
];

/// Whether a credential may be carried in a header of this name: lower case, and none of the host's own.
pub fn is_credential_header(name: &str) -> bool {
    (1..=60).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !HOST_HEADERS.contains(&name)
        && !name.starts_with("proxy-")
        && !name.starts_with("webhook-")
}

/// Everything that is wrong with how an endpoint proves itself.
pub(super) fn check(endpoint: &EndpointSpec, errors: &mut Vec<ManifestError>) {
    let place = |field: &str| format!("endpoints.{}.{field}", endpoint.name);
    let kind = endpoint.credential;
    let only = |field: &str, given: bool, of: &[CredentialKind], errors: &mut Vec<ManifestError>| {
        if given && !of.contains(&kind) {
            let kinds: Vec<&str> = of.iter().map(|kind| kind.word()).collect();
            errors.push(wrong(place(field), format!("belongs to the credential {}", kinds.join(" or "))));
        }
    };
    only("headers", !endpoint.headers.is_empty(), &[CredentialKind::Header], errors);
    only("hmac", endpoint.hmac.is_some(), &[CredentialKind::Hmac], errors);
    let oauth = [CredentialKind::OauthClient, CredentialKind::OauthUser];
    only("oauth", endpoint.oauth.is_some(), &oauth, errors);
    match (kind, &endpoint.hmac) {
        (CredentialKind::Header, _) if !(1..=HEADERS_MAX).contains(&endpoint.headers.len()) => {
            errors.push(wrong(place("headers"), format!("name 1 to {HEADERS_MAX} headers that carry the secrets")));
        }
        (CredentialKind::Hmac, None) => {
            errors.push(wrong(place("hmac"), "say what is signed and where the signature stands"));
        }
        (CredentialKind::Hmac, Some(spec)) => check_hmac(spec, &place, errors),
        _ => {}
    }
    for name in &endpoint.headers {
        if !is_credential_header(name) {
            let problem =
                format!("`{name}` cannot carry a secret: write it in lower case, and none that the host sets");
            errors.push(wrong(place("headers"), problem));
        }
    }
    if let Some(spec) = &endpoint.oauth {
        let word = |text: &String| {
            (1..=200).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        };
        if spec.scopes.len() > 50 || !spec.scopes.iter().chain(&spec.audience).all(word) {
            errors.push(wrong(place("oauth"), "scopes and audience are words of visible ASCII, at most 50"));
        }
    }
    let signs =
        kind == CredentialKind::StandardWebhooks || endpoint.hmac.as_ref().is_some_and(|spec| spec.inbound.is_some());
    if !endpoint.inbound.is_empty() && !signs {
        let problem = "a partner that calls must sign: use `standard-webhooks`, or `hmac` with `inbound`";
        errors.push(wrong(place("inbound"), problem));
    }
}

fn check_hmac(spec: &HmacSpec, place: &impl Fn(&str) -> String, errors: &mut Vec<ManifestError>) {
    let mut check = |field: &str, text: &str, allowed: &[Part]| -> Vec<Part> {
        if text.len() > TEMPLATE_MAX {
            errors.push(wrong(place(field), format!("has at most {TEMPLATE_MAX} characters")));
        }
        match pieces(text) {
            Ok(pieces) => {
                let parts =
                    pieces.iter().filter_map(|piece| if let Piece::Part(part) = piece { Some(*part) } else { None });
                let parts: Vec<Part> = parts.collect();
                if let Some(part) = parts.iter().find(|part| !allowed.contains(part)) {
                    errors.push(wrong(place(field), format!("may not name `{{{}}}`", word(*part))));
                }
                parts
            }
            Err(problem) => {
                errors.push(wrong(place(field), problem));
                Vec::new()
            }
        }
    };
    let digested = spec.digest.as_ref().map(|digest| check("hmac.digest.of", &digest.of, OF_DIGESTS));
    let covers = |parts: &[Part]| {
        let by_digest = digested.as_ref().is_some_and(|of| of.contains(&Part::Body));
        parts.contains(&Part::Body) || parts.contains(&Part::Payload) || (by_digest && parts.contains(&Part::Digest))
    };
    let places = [
        ("request", Some(&spec.request), OF_REQUESTS),
        ("answer", spec.answer.as_ref(), OF_ANSWERS),
        ("inbound", spec.inbound.as_ref(), OF_REQUESTS),
        ("reply", spec.reply.as_ref(), OF_ANSWERS),
    ];
    let mut problems = Vec::new();
    for (field, signing, allowed) in
        places.into_iter().filter_map(|(field, signing, allowed)| Some((field, signing?, allowed)))
    {
        let signed = check(&format!("hmac.{field}.text"), &signing.text, allowed);
        let mut shown = Vec::new();
        for value in signing.headers.values() {
            shown.extend(check(&format!("hmac.{field}.headers"), value, OF_HEADERS));
        }
        let names_bad = !signing.headers.keys().all(|name| is_credential_header(name));
        if names_bad || signing.headers.len() > HEADERS_MAX {
            problems.push((field, "headers are 1 to 8, named in lower case, and none that the host sets"));
        }
        if shown.iter().filter(|part| **part == Part::Mac).count() != 1 {
            problems.push((field, "exactly one header holds `{mac}`"));
        }
        if signed.contains(&Part::Digest) && digested.is_none() {
            problems.push((field, "`{digest}` needs a `digest`"));
        }
        if !covers(&signed) {
            problems.push((field, "what is signed must cover the body: `{body}`, `{payload}` or a `{digest}` of it"));
        }
        let reads = matches!(field, "answer" | "inbound");
        if reads && signed.contains(&Part::Timestamp) != shown.contains(&Part::Timestamp) {
            problems.push((field, "`{timestamp}` stands both in the text and in a header, or in neither"));
        }
        if reads && signed.contains(&Part::Nonce) && !shown.contains(&Part::Nonce) {
            problems.push((field, "a `{nonce}` that is signed must stand in a header"));
        }
        if field == "inbound" && !signed.contains(&Part::Timestamp) {
            problems.push((field, "a call must sign its `{timestamp}`, or an old one could be played again"));
        }
    }
    errors.extend(problems.into_iter().map(|(field, problem)| wrong(place(&format!("hmac.{field}")), problem)));
}

fn word(part: Part) -> &'static str {
    PARTS.iter().find(|(_, known)| *known == part).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(toml: &str) -> EndpointSpec {
        let text = format!("name = \"bank\"\n{toml}");
        toml_like(&text)
    }

    /// The manifest's language is read by another crate; JSON has the same fields.
    fn toml_like(text: &str) -> EndpointSpec {
        let fields = text.lines().filter_map(|line| line.split_once(" = "));
        let fields: Vec<String> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        serde_json::from_str(&format!("{{{}}}", fields.join(","))).unwrap()
    }

    #[track_caller]
    fn wrongs(endpoint: &EndpointSpec) -> Vec<String> {
        let mut errors = Vec::new();
        check(endpoint, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    const REQUEST: &str =
        r#"{"text":"{secret}{path}{payload}{nonce}","headers":{"x-mac":"{mac}","x-nonce":"{nonce}"}}"#;

    #[test]
    fn a_template_is_text_and_known_parts() {
        assert_eq!(
            pieces("hmac {key}:{mac}").unwrap(),
            [Piece::Text("hmac ".into()), Piece::Part(Part::Key), Piece::Text(":".into()), Piece::Part(Part::Mac)]
        );
        for bad in ["{", "}", "{mac", "mac}", "{password}", "{}"] {
            assert!(pieces(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_kind_takes_its_own_fields_and_no_others() {
        assert_eq!(wrongs(&endpoint("credential = \"bearer\"")), Vec::<String>::new());
        assert_eq!(wrongs(&endpoint("credential = \"header\"\nheaders = [\"x-api-key\"]")), Vec::<String>::new());
        assert_eq!(wrongs(&endpoint("credential = \"header\"")).len(), 1);
        assert_eq!(wrongs(&endpoint("credential = \"bearer\"\nheaders = [\"x-api-key\"]")).len(), 1);
        for header in ["Host", "host", "content-length", "proxy-authorization", "webhook-id", "x y", ""] {
            let spec = endpoint(&format!("credential = \"header\"\nheaders = [\"{header}\"]"));
            assert!(!wrongs(&spec).is_empty(), "{header}");
        }
        assert_eq!(
            wrongs(&endpoint("credential = \"oauth-client\"\noauth = {\"scopes\":[\"read\"]}")),
            Vec::<String>::new()
        );
        assert_eq!(wrongs(&endpoint("credential = \"basic\"\noauth = {}")).len(), 1);
    }

    #[test]
    fn an_hmac_signs_the_body_and_shows_no_secret() {
        let with =
            |request: &str| wrongs(&endpoint(&format!("credential = \"hmac\"\nhmac = {{\"request\":{request}}}")));
        assert_eq!(with(REQUEST), Vec::<String>::new());
        assert_eq!(wrongs(&endpoint("credential = \"hmac\"")).len(), 1);
        for (from, to) in [
            ("{payload}", ""),
            ("\"{mac}\"", "\"{secret}\""),
            ("\"{mac}\"", "\"{body}{mac}\""),
            ("\"{mac}\"", "\"{mac}{mac}\""),
            ("x-mac", "host"),
            ("{payload}", "{digest}"),
            ("{nonce}\",\"headers", "{status}{body}\",\"headers"),
        ] {
            assert!(!with(&REQUEST.replace(from, to)).is_empty(), "{from} -> {to}");
        }
    }

    #[test]
    fn a_partner_that_calls_must_sign_and_date_its_calls() {
        let inbound = r#"[{"name":"paid"}]"#;
        assert_eq!(wrongs(&endpoint(&format!("credential = \"bearer\"\ninbound = {inbound}"))).len(), 1);
        let hmac = |more: &str| {
            wrongs(&endpoint(&format!(
                "credential = \"hmac\"\nhmac = {{\"request\":{REQUEST}{more}}}\ninbound = {inbound}"
            )))
        };
        assert_eq!(hmac("").len(), 1);
        let dated = r#","inbound":{"text":"{timestamp}.{body}","headers":{"x-mac":"t={timestamp},v={mac}"}}"#;
        assert_eq!(hmac(dated), Vec::<String>::new());
        assert!(!hmac(&dated.replace("{timestamp}.", "")).is_empty());
        assert!(!hmac(&dated.replace("t={timestamp},", "")).is_empty());
    }
}
