//! Headers as values: language, device, idempotency key, bearer token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use koban_domain::ids::StepUpId;

use crate::codes::Trouble;
use crate::problem::Problem;
use crate::trials::OnTrial;

/// The header that names the device, for rules.
pub(crate) const DEVICE: HeaderName = HeaderName::from_static("koban-device");
/// The header that names a confirmed challenge.
pub(crate) const STEP_UP: HeaderName = HeaderName::from_static("koban-step-up");
/// The header that makes a money request safe to repeat.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Most characters of `Koban-Device`.
const DEVICE_CHARACTERS_MAX: usize = 128;
/// Most language ranges that are looked at.
const LANGUAGES_MAX: usize = 16;

/// The language that is asked for: `ja` or `en`; English without a wish, or where neither is wished for.
pub(crate) fn locale(headers: &HeaderMap) -> &'static str {
    let Some(wishes) = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()) else { return "en" };
    let mut best = ("en", 0);
    for wish in wishes.split(',').take(LANGUAGES_MAX) {
        let mut parts = wish.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, thousandths);
        let language = match range.split('-').next() {
            Some("ja") => "ja",
            Some("en") => "en",
            _ => continue,
        };
        if weight > best.1 {
            best = (language, weight);
        }
    }
    best.0
}

/// A weight such as `0.8` in thousandths; what cannot be read weighs nothing.
fn thousandths(text: &str) -> u32 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{decimals:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse().ok())) {
        ("1", _) => 1_000,
        ("0", Some(part)) => part,
        _ => 0,
    }
}

/// The device that the client names, if it does. Errors: a name that is no name.
pub(crate) fn device(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = single(headers, &DEVICE)? else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= DEVICE_CHARACTERS_MAX => Ok(Some(text.to_owned())),
        _ => Err(Problem::invalid("Koban-Device", "send 1 to 128 printable ASCII characters, or leave it out")),
    }
}

/// The challenge that the client says to have confirmed, if it does. Errors: what cannot be one.
pub(crate) fn step_up(headers: &HeaderMap) -> Result<Option<StepUpId>, Problem> {
    let Some(value) = single(headers, &STEP_UP)? else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => Err(Problem::invalid("Koban-Step-Up", "send the `step_up` of the problem, or leave it out")),
    }
}

/// The token of `Authorization: Bearer …`. Errors: nobody is signed in.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::from(Trouble::NotSignedIn);
    let value = single(headers, &header::AUTHORIZATION).map_err(|_| missing())?.ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    let plain = !token.is_empty() && token.len() <= 128 && token.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && plain { Ok(token) } else { Err(missing()) }
}

/// A header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a axum::http::HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Problem::invalid(name.as_str(), "send this header once")),
    }
}

/// The `Idempotency-Key` of a request that moves money.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey {
    /// The key; not used if the request is only tried.
    pub(crate) key: String,
    /// Whether the request is only tried.
    pub(crate) trial: bool,
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name = "Idempotency-Key";
        let trial = parts.extensions.get::<OnTrial>().is_some();
        let Some(value) = single(&parts.headers, &IDEMPOTENCY_KEY)? else {
            return Err(Problem::from(Trouble::IdempotencyKeyRequired).at(name));
        };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(IdempotencyKey { key: key.to_owned(), trial })
            }
            _ => Err(Problem::invalid(name, "send 1 to 255 printable ASCII characters without spaces")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wish: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, wish.parse().unwrap());
        locale(&headers)
    }

    #[test]
    fn the_heaviest_known_language_is_spoken() {
        assert_eq!(locale(&HeaderMap::new()), "en");
        for (wish, spoken) in [
            ("ja", "ja"),
            ("ja-JP", "ja"),
            ("fr, ja;q=0.1", "ja"),
            ("en", "en"),
            ("en-GB,en;q=0.9", "en"),
            ("ja,en;q=0.9", "ja"),
            ("fr, en;q=0.5, ja;q=0.4", "en"),
            ("en;q=0.5, ja;q=0.8", "ja"),
            ("ja;q=0", "en"),
            ("*", "en"),
            ("ja;q=nonsense", "en"),
            ("", "en"),
        ] {
            assert_eq!(asked(wish), spoken, "{wish}");
        }
    }

    #[test]
    fn a_bearer_token_is_one_plain_word() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            bearer(&headers).ok().map(str::to_owned)
        };
        assert_eq!(given("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(given("bearer abc").as_deref(), Some("abc"));
        for wrong in ["Basic abc", "Bearer", "Bearer ", "Bearer a b", "abc"] {
            assert_eq!(given(wrong), None, "{wrong}");
        }
    }
}
