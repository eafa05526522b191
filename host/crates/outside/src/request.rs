//! One request to a partner, and what must hold of it before anything is connected.

use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use koban_domain::manifest::Method;
use zeroize::Zeroizing;

use crate::base::{PathError, check_path};
use crate::hidden::{self, Hidden};

/// One request. The endpoint adds host, credential and signature; there is no way to set a header of one's own, so none can be smuggled in.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does.
    pub method: Method,
    /// Appended to the endpoint's base path; begins with `/`, already percent-encoded.
    pub path: String,
    /// Names and values as they are: encoded here.
    pub query: Vec<(String, String)>,
    /// At most 1 MiB. `{{secret:name}}` in it stands for a secret of the endpoint.
    pub body: Vec<u8>,
    /// The media type of the body, such as `application/json`; not sent with an empty body.
    pub content_type: String,
    /// Sent as `Idempotency-Key`: the same for every repeat of one effect, and never used for another.
    pub idempotency_key: Option<String>,
    /// Sent as `webhook-id`, covered by the signature and expected in the answer: the same for every repeat. Printable ASCII without a dot.
    pub message_id: String,
    /// Never used before: what a template signs as `{nonce}`. Printable ASCII.
    pub nonce: String,
    /// How long the whole exchange may take; cut to [`crate::Bounds::total`].
    pub timeout: Duration,
}

/// Why a request was not tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// The path would not mean the same to everyone who reads it.
    #[error("the path is not plain: {0}")]
    Path(PathError),
    /// More query than a request line holds.
    #[error("the query has {length} characters, more than {QUERY_LENGTH_MAX}")]
    QueryTooLong {
        /// Its length after encoding.
        length: usize,
    },
    /// More body than a message of a partner needs.
    #[error("the body has {length} bytes, more than {BODY_LENGTH_MAX}")]
    BodyTooLong {
        /// Its length.
        length: usize,
    },
    /// A secret that the operator has not given to this endpoint.
    #[error("the body asks for the secret `{name}`, which the operator has not given to this endpoint")]
    Secret {
        /// Its name.
        name: String,
    },
    /// The credential cannot sign this.
    #[error("the request cannot be signed: {0}")]
    Signature(&'static str),
    /// A header value with control characters, or too long.
    #[error("the {header} is empty, too long or has characters that a header may not hold")]
    Header {
        /// Which one.
        header: &'static str,
    },
}

/// The largest body that is sent, in bytes.
pub const BODY_LENGTH_MAX: usize = 1 << 20;
const QUERY_LENGTH_MAX: usize = 4_096;
const HEADER_LENGTH_MAX: usize = 255;

/// What was checked, in the form in which it is sent.
pub(crate) struct Checked {
    pub(crate) uri: Uri,
    pub(crate) content_type: HeaderValue,
    pub(crate) idempotency_key: Option<HeaderValue>,
    /// With its secrets filled in.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

pub(crate) fn check(
    request: &Request,
    base_path: &str,
    secrets: &[(String, Hidden)],
) -> Result<Checked, RequestRefused> {
    check_path(&request.path).map_err(RequestRefused::Path)?;
    let body =
        hidden::fill(&request.body, &request.content_type, secrets).map_err(|name| RequestRefused::Secret { name })?;
    if body.len() > BODY_LENGTH_MAX {
        return Err(RequestRefused::BodyTooLong { length: body.len() });
    }
    let mut path_and_query = format!("{base_path}{}", request.path);
    let query = encode_query(&request.query);
    if query.len() > QUERY_LENGTH_MAX {
        return Err(RequestRefused::QueryTooLong { length: query.len() });
    }
    if !query.is_empty() {
        path_and_query.push('?');
        path_and_query.push_str(&query);
    }
    if !crate::signature::is_message_id(&request.message_id) {
        return Err(RequestRefused::Header { header: "message id" });
    }
    header_value("nonce", &request.nonce)?;
    let content_type = header_value("content type", &request.content_type)?;
    let idempotency_key =
        request.idempotency_key.as_deref().map(|key| header_value("idempotency key", key)).transpose()?;
    // What was let through above is a subset of what a request line may hold.
    let uri = path_and_query.parse().map_err(|_| RequestRefused::Path(PathError::Character))?;
    Ok(Checked { uri, content_type, idempotency_key, body })
}

fn header_value(header: &'static str, value: &str) -> Result<HeaderValue, RequestRefused> {
    let plain = (1..=HEADER_LENGTH_MAX).contains(&value.len()) && value.bytes().all(|b| matches!(b, b' '..=b'~'));
    match HeaderValue::from_str(value) {
        Ok(value) if plain => Ok(value),
        _ => Err(RequestRefused::Header { header }),
    }
}

/// A text as forms and queries write it.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    encode_into(&mut encoded, text);
    encoded
}

/// Encodes everything but the unreserved characters of RFC 3986, so that no reader can split it differently.
pub fn encode_query(query: &[(String, String)]) -> String {
    let mut encoded = String::new();
    for (name, value) in query {
        if !encoded.is_empty() {
            encoded.push('&');
        }
        encode_into(&mut encoded, name);
        encoded.push('=');
        encode_into(&mut encoded, value);
    }
    encoded
}

fn encode_into(encoded: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            method: Method::Post,
            path: "/atm/approve".to_owned(),
            query: Vec::new(),
            body: b"{}".to_vec(),
            content_type: "application/json".to_owned(),
            idempotency_key: Some("k1".to_owned()),
            message_id: "msg_1".to_owned(),
            nonce: "n1".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Request)) -> RequestRefused {
        let mut request = request();
        change(&mut request);
        check(&request, "", &[]).err().expect("refused")
    }

    #[test]
    fn the_base_path_stands_before_the_path_and_the_query_is_encoded() {
        let mut request = request();
        request.query = vec![("a b".to_owned(), "1&2=3".to_owned()), ("名".to_owned(), String::new())];
        let checked = check(&request, "/v2", &[]).expect("fine");
        assert_eq!(checked.uri.to_string(), "/v2/atm/approve?a%20b=1%262%3D3&%E5%90%8D=");
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_refused() {
        for path in ["", "x", "//other.example/x", "/a/../b", "/a/./b", "/a//b", "/%2e%2e/x", "/%2Fx", "/%00", "/%zz"] {
            assert!(matches!(refused(|r| r.path = path.to_owned()), RequestRefused::Path(_)), "{path}");
        }
        for path in ["/a?b", "/a#b", "/a b", "/a\\b", "/a\r\nHost: x", "/ä", "/a\0"] {
            assert_eq!(refused(|r| r.path = path.to_owned()), RequestRefused::Path(PathError::Character), "{path}");
        }
        assert!(check(&Request { path: "/a%20b/".to_owned(), ..request() }, "", &[]).is_ok());
    }

    #[test]
    fn headers_cannot_be_injected() {
        for value in ["", "a\r\nHost: x", "a\nb", "a\0", "ä", &"x".repeat(256)] {
            let expected = RequestRefused::Header { header: "idempotency key" };
            assert_eq!(refused(|r| r.idempotency_key = Some(value.to_owned())), expected, "{value:?}");
            let expected = RequestRefused::Header { header: "content type" };
            assert_eq!(refused(|r| r.content_type = value.to_owned()), expected, "{value:?}");
            let expected = RequestRefused::Header { header: "message id" };
            assert_eq!(refused(|r| r.message_id = value.to_owned()), expected, "{value:?}");
        }
        assert_eq!(refused(|r| r.message_id = "a.b".to_owned()), RequestRefused::Header { header: "message id" });
    }

    #[test]
    fn sizes_are_bounded_and_the_bound_itself_is_allowed() {
        assert!(check(&Request { body: vec![0; BODY_LENGTH_MAX], ..request() }, "", &[]).is_ok());
        let refused = refused(|r| r.body = vec![0; BODY_LENGTH_MAX + 1]);
        assert_eq!(refused, RequestRefused::BodyTooLong { length: BODY_LENGTH_MAX + 1 });
        let query = |length: usize| vec![("q".to_owned(), "x".repeat(length - 2))];
        assert!(check(&Request { query: query(QUERY_LENGTH_MAX), ..request() }, "", &[]).is_ok());
        assert!(check(&Request { query: query(QUERY_LENGTH_MAX + 1), ..request() }, "", &[]).is_err());
    }
}
