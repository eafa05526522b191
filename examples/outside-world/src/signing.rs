//! Signing and checking messages: Standard Webhooks 1.0.0 with shared secrets, written for this side alone.
//!
//! Signed is `id.timestamp.body` with HMAC-SHA256; the headers are `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`
//! (`v1,` and base64). An answer carries the id of what it answers.

use std::fmt;

use axum::http::HeaderMap;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secrets shared with Koban: the first signs, any is accepted.
#[derive(Clone)]
pub struct Signer(Vec<Vec<u8>>);

/// Why a secret is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    /// There must be one.
    #[error("at least one secret is needed")]
    None,
    /// Not `whsec_` and base64 of 24 to 64 bytes.
    #[error("a secret is `whsec_` followed by the base64 of 24 to 64 bytes")]
    Form,
}

/// Why a message is not Koban's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKoban {
    /// A header is missing or unreadable.
    #[error("the {0} header is missing or unreadable")]
    Header(&'static str),
    /// More than five minutes old, or from the future.
    #[error("the timestamp is more than five minutes away")]
    Time,
    /// No signature fits.
    #[error("no signature fits")]
    Signature,
    /// The answer belongs to another message.
    #[error("the answer is to another message")]
    OtherMessage,
}

impl Signer {
    /// Reads the secrets.
    pub fn parse(secrets: &[String]) -> Result<Signer, SecretProblem> {
        let keys = secrets.iter().map(|secret| {
            let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
            (24..=64).contains(&key.len()).then_some(key)
        });
        let keys: Vec<Vec<u8>> = keys.collect::<Option<_>>().ok_or(SecretProblem::Form)?;
        if keys.is_empty() { Err(SecretProblem::None) } else { Ok(Signer(keys)) }
    }

    /// The headers that prove a message to be ours.
    pub fn sign(&self, id: &str, body: &[u8], now_ms: i64) -> [(&'static str, String); 3] {
        let timestamp = (now_ms / 1_000).to_string();
        let key = self.0.first().map(Vec::as_slice).unwrap_or_default();
        let signature = BASE64_STANDARD.encode(mac(key, id, &timestamp, body).finalize().into_bytes());
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", format!("v1,{signature}")),
        ]
    }

    /// The id of a message that is Koban's.
    pub fn check(&self, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Result<String, NotKoban> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(NotKoban::Header(name));
        let id = header("webhook-id")?;
        let timestamp = header("webhook-timestamp")?;
        let seconds: i64 = timestamp.parse().map_err(|_| NotKoban::Header("webhook-timestamp"))?;
        if (now_ms / 1_000).abs_diff(seconds) > 300 {
            return Err(NotKoban::Time);
        }
        let fits = header("webhook-signature")?
            .split(' ')
            .take(16)
            .filter_map(|word| BASE64_STANDARD.decode(word.strip_prefix("v1,")?).ok())
            .any(|signature| self.0.iter().any(|key| mac(key, id, timestamp, body).verify_slice(&signature).is_ok()));
        if fits { Ok(id.to_owned()) } else { Err(NotKoban::Signature) }
    }

    /// Whether an answer is Koban's answer to the message with this id.
    pub fn check_answer(&self, asked: &str, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Result<(), NotKoban> {
        let id = self.check(headers, body, now_ms)?;
        if id == asked { Ok(()) } else { Err(NotKoban::OtherMessage) }
    }
}

fn mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with the Python reference package `standardwebhooks`, not with this code.
    const OLD: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";
    const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    const BODY: &[u8] =
        br#"{"session":"0f3a","atm_id":"7A01","business_date":"2026-04-24","serial":"000001","amount":10000}"#;
    const BY_OLD: &str = "v1,kwtfMf2XPQQsGARSrLL0MAfIk9nTUZfd+HMSS43wHV4=";
    const BY_NEW: &str = "v1,wPR0LccXjT1lJcgT1PnnV7ScHmQ4qEKRBZ/4Zz0rqkI=";
    const NOW_MS: i64 = 1_777_000_000_000;

    fn signer(secrets: &[&str]) -> Signer {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        Signer::parse(&secrets).expect("secrets")
    }

    fn headers(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_2b7f4c1d".parse().expect("a value"));
        headers.insert("webhook-timestamp", "1777000000".parse().expect("a value"));
        headers.insert("webhook-signature", signature.parse().expect("a value"));
        headers
    }

    #[test]
    fn the_reference_package_signs_the_same() {
        assert_eq!(signer(&[OLD]).sign("msg_2b7f4c1d", BODY, NOW_MS)[2].1, BY_OLD);
        assert_eq!(signer(&[NEW, OLD]).sign("msg_2b7f4c1d", BODY, NOW_MS)[2].1, BY_NEW);
    }

    #[test]
    fn any_secret_and_any_signature_is_accepted_and_a_changed_body_is_not() {
        for signatures in [BY_OLD, BY_NEW, &format!("v1a,x {BY_OLD} {BY_NEW}")] {
            assert!(signer(&[NEW, OLD]).check(&headers(signatures), BODY, NOW_MS).is_ok());
        }
        assert_eq!(signer(&[NEW]).check(&headers(BY_OLD), BODY, NOW_MS), Err(NotKoban::Signature));
        assert_eq!(signer(&[OLD]).check(&headers(BY_OLD), b"{}", NOW_MS), Err(NotKoban::Signature));
    }

    #[test]
    fn old_messages_and_answers_to_others_are_not_accepted() {
        let signer = signer(&[OLD]);
        assert!(signer.check(&headers(BY_OLD), BODY, NOW_MS + 300_000).is_ok());
        assert_eq!(signer.check(&headers(BY_OLD), BODY, NOW_MS + 301_000), Err(NotKoban::Time));
        assert_eq!(signer.check(&headers(BY_OLD), BODY, NOW_MS - 301_000), Err(NotKoban::Time));
        assert!(signer.check_answer("msg_2b7f4c1d", &headers(BY_OLD), BODY, NOW_MS).is_ok());
        assert_eq!(signer.check_answer("msg_x", &headers(BY_OLD), BODY, NOW_MS), Err(NotKoban::OtherMessage));
        assert_eq!(signer.check(&HeaderMap::new(), BODY, NOW_MS), Err(NotKoban::Header("webhook-id")));
    }
}
