//! One exchange's two messages: ours with what proves who we are, and the judgement from whom the answer is.

use http_body_util::Full;
use hyper::Version;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use koban_domain::manifest::Method;
use koban_domain::time::Timestamp;

use crate::endpoint::{Credential, Endpoint};
use crate::hidden::{self, Hidden};
use crate::request::{Checked, Request, RequestRefused};
use crate::send::{ANSWER_HEADERS_MAX, Answer, RawAnswer, Refused, Sent, Unknown};
use crate::signature::{self, SIGNATURE_HEADER};
use crate::template::Told;
use crate::token::basic;

const ANSWER_HEADER_LENGTH_MAX: usize = 1_024;
const USER_AGENT: &str = concat!("koban/", env!("CARGO_PKG_VERSION"));

/// The message as it is written, with what proves who we are.
pub(crate) fn message(
    endpoint: &Endpoint,
    request: &Request,
    checked: &Checked,
    token: Option<&Hidden>,
    now: Timestamp,
) -> Result<hyper::Request<Full<Bytes>>, Refused> {
    let mut message = hyper::Request::new(Full::new(Bytes::copy_from_slice(&checked.body)));
    *message.method_mut() = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Delete => hyper::Method::DELETE,
    };
    *message.version_mut() = Version::HTTP_11;
    *message.uri_mut() = checked.uri.clone();
    let method = message.method().clone();
    let headers = message.headers_mut();
    // All of these are plain ASCII by what was checked when base, id and secrets were read.
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::HOST, &endpoint.base.authority());
    set(header::USER_AGENT, USER_AGENT);
    set(header::ACCEPT_ENCODING, "identity");
    set(header::CONNECTION, "close");
    for (name, value) in proof(endpoint, request, checked, token, method.as_str(), now)? {
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::from_str(value.reveal())) else {
            return Err(Refused::Request(RequestRefused::Signature("a header of the credential cannot be written")));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    if !checked.body.is_empty() {
        headers.insert(header::CONTENT_TYPE, checked.content_type.clone());
    }
    if let Some(key) = &checked.idempotency_key {
        headers.insert(HeaderName::from_static("idempotency-key"), key.clone());
    }
    Ok(message)
}

/// The headers that prove who we are.
fn proof(
    endpoint: &Endpoint,
    request: &Request,
    checked: &Checked,
    token: Option<&Hidden>,
    method: &str,
    now: Timestamp,
) -> Result<Vec<(String, Hidden)>, Refused> {
    let authorization = |value: Hidden| vec![("authorization".to_owned(), value)];
    let bearer = |token: &Hidden| authorization(Hidden::new(format!("Bearer {}", token.reveal())));
    let shown = |headers: [(&'static str, String); 3]| {
        headers.into_iter().map(|(name, value)| (name.to_owned(), Hidden::new(value))).collect()
    };
    Ok(match &endpoint.credential {
        Credential::None | Credential::Certificate(_) => Vec::new(),
        Credential::StandardWebhooks(secrets) => {
            shown(signature::sign(&request.message_id, &checked.body, secrets, now))
        }
        Credential::Webhook(signers) => shown(signers.sign(&request.message_id, &checked.body, now)),
        Credential::Bearer(token) => bearer(token),
        Credential::Basic { user, password } => authorization(basic(user, password)),
        Credential::Headers(headers) => headers.clone(),
        Credential::Hmac(key) => {
            let told = told(request, checked, method);
            let signed = key.sign(&told, now).map_err(|why| Refused::Request(RequestRefused::Signature(why)))?;
            signed.into_iter().map(|(name, value)| (name, Hidden::new(value))).collect()
        }
        Credential::OauthClient(_) => token.map(bearer).unwrap_or_default(),
    })
}

/// A request of ours, as far as templates name it.
fn told<'a>(request: &'a Request, checked: &'a Checked, method: &'a str) -> Told<'a> {
    Told {
        method,
        path: checked.uri.path(),
        query: checked.uri.query().unwrap_or_default(),
        body: &checked.body,
        content_type: checked.content_type.to_str().unwrap_or_default(),
        nonce: &request.nonce,
        ..Told::default()
    }
}

/// From whom is it? The table of [`Sent::BadSignature`] is decided here.
pub(crate) fn judge(
    endpoint: &Endpoint,
    request: &Request,
    checked: &Checked,
    token: Option<&Hidden>,
    raw: RawAnswer,
    now: Timestamp,
) -> Sent {
    let status = raw.status.as_u16();
    let signed_by = match &endpoint.credential {
        Credential::StandardWebhooks(_) => Some(SIGNATURE_HEADER),
        Credential::Hmac(key) => key.answer_header(),
        _ => None,
    };
    if raw.status.is_server_error() && !signed_by.is_some_and(|header| raw.headers.contains_key(header)) {
        return Sent::Unknown(Unknown::ServerError { status });
    }
    let verified = match &endpoint.credential {
        Credential::StandardWebhooks(secrets) => {
            let asked = (request.message_id.as_str(), checked.body.as_slice());
            signature::verify_answer(readable(&raw.headers), &raw.body, asked, secrets, now).map(|_| ())
        }
        Credential::Hmac(key) => {
            let content_type = raw.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let told = Told {
                status,
                body: &raw.body,
                content_type: content_type.unwrap_or_default(),
                asked_nonce: &request.nonce,
                ..Told::default()
            };
            let headers: Vec<(&str, &str)> = readable(&raw.headers).collect();
            key.verify_answer(headers.iter().copied(), &told, now)
        }
        _ => Ok(()),
    };
    if let Err(why) = verified {
        return Sent::BadSignature(why);
    }
    // Only now: what was signed is what the partner sent.
    let strike = |bytes: Vec<u8>| hidden::strike(endpoint.strike(bytes), token);
    let mut headers = keep(&raw.headers);
    for (_, value) in &mut headers {
        let clean = strike(std::mem::take(value).into_bytes());
        *value = String::from_utf8_lossy(&clean).into_owned();
    }
    Sent::Answer(Answer { status, headers, body: strike(raw.body) })
}

fn readable(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

fn keep(headers: &HeaderMap) -> Vec<(String, String)> {
    let of_the_connection = |name: &str| {
        matches!(name, "connection" | "keep-alive" | "transfer-encoding" | "trailer" | "upgrade" | "te" | "set-cookie")
            || name.starts_with("proxy-")
            || name.starts_with("webhook-")
    };
    readable(headers)
        .filter(|(name, value)| !of_the_connection(name) && value.len() <= ANSWER_HEADER_LENGTH_MAX)
        .take(ANSWER_HEADERS_MAX)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
