//! Reading and writing JSON strictly: one object, known fields, whole numbers, and an answer that names what is wrong.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use koban_service::operations::Answered;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codes::Trouble;
use crate::problem::{Problem, REPLAYED};

/// How much of a body is read, and for how long it may take. Put into each request by [`crate::layers`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most bytes of a JSON body.
    pub(crate) body_bytes_max: usize,
    /// Most bytes of a bulk.
    pub(crate) bulk_bytes_max: usize,
    /// Most bytes of a partner's call.
    pub(crate) inbound_bytes_max: usize,
    /// How long a body may take.
    pub(crate) body_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let config = crate::config::WebConfig::default();
        Bounds::of(&config)
    }
}

impl Bounds {
    /// The bounds that the operator set.
    pub(crate) fn of(config: &crate::config::WebConfig) -> Bounds {
        Bounds {
            body_bytes_max: config.body_bytes_max,
            bulk_bytes_max: config.bulk_bytes_max,
            inbound_bytes_max: config.inbound_bytes_max,
            body_timeout: config.body_timeout,
        }
    }

    /// The bounds of this request.
    pub(crate) fn of_request(request: &Request) -> Bounds {
        request.extensions().get::<Bounds>().copied().unwrap_or_default()
    }
}

/// More of a body than this beyond its bound is not even read away; the connection is closed.
const READ_AWAY_MAX: usize = 2 * 1024 * 1024;

/// Reads a whole body within its bounds. A little too much is read away, so that the answer is not lost in a reset.
pub(crate) async fn read(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let generous = bytes_max.saturating_add(READ_AWAY_MAX);
    let (mut body, mut kept, mut seen) = (body, Vec::new(), 0_usize);
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::from(Trouble::MalformedJson).because("the body broke off"))?;
            let Some(data) = frame.data_ref() else { continue };
            seen = seen.saturating_add(data.len());
            if seen > generous {
                break;
            }
            if seen <= bytes_max {
                kept.extend_from_slice(data);
            }
        }
        Ok::<(), Problem>(())
    };
    tokio::time::timeout(timeout, reading).await.unwrap_or_else(|_| Err(Trouble::RequestTimeout.into()))?;
    if seen > bytes_max {
        return Err(
            Problem::from(Trouble::BodyTooLarge).because(format!("the body may have at most {bytes_max} bytes"))
        );
    }
    Ok(kept.into())
}

/// A JSON body of this type: read strictly as a request, written without whitespace as an answer.
#[derive(Debug, Clone)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bounds = Bounds::of_request(&request);
        let bytes = read(request.into_body(), bounds.body_bytes_max, bounds.body_timeout).await?;
        parse(&bytes).map(Json)
    }
}

/// A JSON body of many items.
#[derive(Debug, Clone)]
pub(crate) struct Large<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Large<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bounds = Bounds::of_request(&request);
        let bytes = read(request.into_body(), bounds.bulk_bytes_max, bounds.body_timeout).await?;
        parse(&bytes).map(Large)
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let wrong = |why: &str| Err(Problem::from(Trouble::UnsupportedMediaType).because(why));
    if headers.contains_key(header::CONTENT_ENCODING) {
        return wrong("send the body without Content-Encoding");
    }
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else {
        return wrong("the Content-Type header is missing; send application/json");
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|part| {
        part.split_once('=').is_none_or(|(name, value)| {
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if is_json && is_utf8 { Ok(()) } else { wrong("send Content-Type: application/json, in UTF-8") }
}

/// Reads one JSON value of this type. Duplicate and unknown fields are mistakes because every body is a struct that denies
/// them; nesting is bounded by the reader itself.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    reader.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let text = error.to_string();
    // The reader adds where it stood, which says little of a body on one line.
    let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
    let about_a_value = words.starts_with("number out of range");
    match error.classify() {
        Category::Data => Problem::invalid(field(path, words), reworded(words)),
        Category::Syntax if about_a_value => Problem::invalid(field(path, words), "the number is too large"),
        Category::Syntax | Category::Eof | Category::Io => Problem::from(Trouble::MalformedJson).because(text),
    }
}

/// The field that a message is about: the path, with the name that the message gives for a missing, unknown or doubled one.
fn field(path: &str, words: &str) -> String {
    let parent = if path == "." { "" } else { path };
    let about_name = ["missing field `", "unknown field `", "duplicate field `"];
    let named = about_name.iter().find_map(|start| words.strip_prefix(start)).and_then(|rest| rest.split('`').next());
    match named {
        None if parent.is_empty() => "body".to_owned(),
        None => parent.to_owned(),
        Some(name) if parent.is_empty() || parent == name => name.to_owned(),
        Some(name) if parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) => format!("{parent}.{name}"),
    }
}

fn reworded(words: &str) -> String {
    let whole = "give a whole number that fits 64 bits, without quotes, point or exponent";
    if words.starts_with("missing field") {
        "the field is missing; send it".to_owned()
    } else if let Some(rest) = words.strip_prefix("unknown field") {
        let known = rest.split_once("expected").map_or("", |(_, known)| known.trim());
        format!("the field is not known here; known are {}", known.trim_start_matches("one of "))
    } else if words.starts_with("duplicate field") {
        "the field is given twice; give it once".to_owned()
    } else if words.ends_with("expected i64") || words.ends_with("expected u32") || words.ends_with("expected u64") {
        format!("{words}; {whole}")
    } else {
        words.to_owned()
    }
}

/// A request that has nothing to say: no body, or `{}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoBody;

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bounds = Bounds::of_request(&request);
        let bytes = read(request.into_body(), bounds.body_bytes_max, bounds.body_timeout).await?;
        match bytes.trim_ascii() {
            b"" | b"{}" => Ok(NoBody),
            _ => Err(Problem::invalid("body", "this request takes no fields; send no body or `{}`")),
        }
    }
}

fn written<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let kind = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, kind)], bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            Problem::from(Trouble::Internal).into_response()
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        written(StatusCode::OK, &self.0)
    }
}

/// Something new, with the place where it is from now on. Given again for a repeated key, it says so.
#[derive(Debug)]
pub(crate) struct Created<T> {
    location: String,
    body: T,
    replayed: bool,
    waiting: bool,
}

impl<T> Created<T> {
    /// Something that has just been made.
    pub(crate) fn new(location: String, body: T) -> Created<T> {
        Created { location, body, replayed: false, waiting: false }
    }

    /// What an operation made, now or before.
    pub(crate) fn answered<V: Into<T>>(answered: Answered<V>, location: impl FnOnce(&T) -> String) -> Created<T> {
        let body = answered.value.into();
        Created { location: location(&body), body, replayed: answered.replayed, waiting: false }
    }

    /// The same, but if it waits for somebody, the answer is that it was accepted and not that it was made.
    pub(crate) fn waiting(self, waiting: bool) -> Created<T> {
        Created { waiting, ..self }
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let status = if self.waiting { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        let mut response = written(status, &self.body);
        if let Ok(location) = HeaderValue::try_from(self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        mark(&mut response, self.replayed);
        response
    }
}

/// What an operation did, now or before.
#[derive(Debug)]
pub(crate) struct Done<T> {
    body: T,
    replayed: bool,
}

impl<T> Done<T> {
    /// What an operation did.
    pub(crate) fn answered<V: Into<T>>(answered: Answered<V>) -> Done<T> {
        Done { body: answered.value.into(), replayed: answered.replayed }
    }
}

impl<T: Serialize> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        let mut response = written(StatusCode::OK, &self.body);
        mark(&mut response, self.replayed);
        response
    }
}

fn mark(response: &mut Response, replayed: bool) {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amounts::{Line, Minor, NamedRequest};
    use koban_domain::ids::MerchantId;
    use koban_domain::money::Currency;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is looked at")]
    struct Order {
        merchant: MerchantId,
        amount: Minor,
        currency: Currency,
        reference: Option<Line>,
        #[serde(default)]
        values: Vec<NamedRequest>,
    }

    const MERCHANT: &str = r#""merchant":"mer_00000000000000000000000000000007""#;

    /// The code and field of the problem that a body of these fields beside the merchant meets; nothing if it is read.
    fn problem_of(fields: &str) -> Option<(String, String, String)> {
        problem_of_body(format!("{{{MERCHANT},{fields}}}").as_bytes())
    }

    fn problem_of_body(body: &[u8]) -> Option<(String, String, String)> {
        let problem = parse::<Order>(body).err()?;
        let body = serde_json::to_value(problem.body("en", "req_1")).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Some((text("code"), text("field"), text("detail")))
    }

    #[test]
    fn a_good_body_is_read() {
        assert_eq!(problem_of(r#""amount":1280,"currency":"JPY","reference":"注文 7""#), None);
        let amount = r#"{"name":"amount","value":{"amount":1,"currency":"JPY"}}"#;
        let values = format!(
            r#"{{"name":"code","value":"0012"}},{{"name":"n","value":-3}},{{"name":"f","value":true}},{amount}"#
        );
        assert_eq!(problem_of(&format!(r#""amount":1280,"currency":"JPY","values":[{values}]"#)), None);
    }

    #[test]
    fn an_amount_that_is_no_positive_whole_number_is_named() {
        let amounts = [
            "0",
            "-1",
            "-0",
            "1.0",
            "12.80",
            "1e3",
            "1E400",
            "1e400",
            "\"1280\"",
            "null",
            "true",
            "[]",
            "{}",
            "[[[[1]]]]",
            "9223372036854775808",
            "-9223372036854775809",
            "170141183460469231731687303715884105728",
        ];
        for amount in amounts {
            let (code, field, detail) = problem_of(&format!(r#""amount":{amount},"currency":"JPY""#)).expect(amount);
            assert_eq!((code.as_str(), field.as_str()), ("invalid_request", "amount"), "{amount}: {detail}");
            assert!(!detail.is_empty() && !detail.contains("line 1"), "{amount}: {detail}");
        }
        for amount in ["NaN", "Infinity", "+1", "01", "1x10", "1_000", ""] {
            let (code, ..) = problem_of(&format!(r#""amount":{amount},"currency":"JPY""#)).expect(amount);
            assert_eq!(code, "malformed_json", "{amount}");
        }
    }

    #[test]
    fn a_currency_or_an_id_of_another_kind_is_named() {
        for currency in ["\"jpy\"", "\"ZZZ\"", "\"\"", "\"ＪＰＹ\"", "392", "null"] {
            let (code, field, _) = problem_of(&format!(r#""amount":1,"currency":{currency}"#)).expect(currency);
            assert_eq!((code.as_str(), field.as_str()), ("invalid_request", "currency"), "{currency}");
        }
        let body = br#"{"merchant":"usr_00000000000000000000000000000007","amount":1,"currency":"JPY"}"#;
        let (_, field, detail) = problem_of_body(body).unwrap();
        assert_eq!(field, "merchant");
        assert!(detail.contains("`mer_`"), "{detail}");
    }

    #[test]
    fn fields_that_are_missing_unknown_or_doubled_are_named() {
        let (code, field, _) = problem_of(r#""amount":1"#).unwrap();
        assert_eq!((code.as_str(), field.as_str()), ("invalid_request", "currency"));
        let (_, field, detail) = problem_of(r#""amount":1,"currency":"JPY","admin":true"#).unwrap();
        assert_eq!(field, "admin");
        assert!(detail.contains("`amount`"), "{detail}");
        let (_, field, detail) = problem_of(r#""amount":1,"currency":"JPY","amount":2"#).unwrap();
        assert_eq!(field, "amount");
        assert!(detail.contains("twice"), "{detail}");
        let doubled =
            r#""amount":1,"currency":"JPY","values":[{"name":"a","value":1},{"name":"a","name":"b","value":1}]"#;
        let (_, field, _) = problem_of(doubled).unwrap();
        assert_eq!(field, "values[1].name");
    }

    #[test]
    fn text_that_would_deceive_is_refused() {
        for text in ["a\\u0000b", "a\\nb", "\\u202egnp", "\\u2066x", "\\ud800"] {
            let found = problem_of(&format!(r#""amount":1,"currency":"JPY","reference":"{text}""#));
            assert!(found.is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_json_object_is_malformed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let deep_inside =
            format!(r#"{{{MERCHANT},"amount":1,"currency":"JPY","values":[{{"name":"a","value":{deep}}}]}}"#);
        for body in [
            &b""[..],
            b"{",
            b"null",
            b"[]",
            b"1",
            b"\"x\"",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            deep.as_bytes(),
            deep_inside.as_bytes(),
        ] {
            let (code, ..) = problem_of_body(body).unwrap();
            assert!(["malformed_json", "invalid_request"].contains(&code.as_str()), "{code}");
        }
        let (code, ..) = problem_of_body(b"{\"merchant\":\"\xff\xfe\"}").unwrap();
        assert_eq!(code, "malformed_json", "text that is not UTF-8");
        let (code, ..) =
            problem_of_body(format!("{{{MERCHANT},\"amount\":1,\"currency\":\"JPY\"}} x").as_bytes()).unwrap();
        assert_eq!(code, "malformed_json", "something behind the object");
    }
}
