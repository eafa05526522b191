//! Signatures of messages in both directions: Standard Webhooks 1.0.0, kind `v1` (HMAC-SHA256).
//!
//! Signed is `id.timestamp.body`, with the timestamp in whole seconds. Three headers carry it: `webhook-id` (stays the same when a message is
//! repeated), `webhook-timestamp` (of this attempt) and `webhook-signature` (`v1,<base64>`, several separated by spaces). Answers are signed in
//! the same way under the id of the message that they answer, so an answer cannot be moved to another question.
//!
//! The scheme covers neither method nor path nor status; TLS does. So a message names in its body what it is about, and whoever reads an
//! answer trusts its body before its status. Because one secret serves both directions, an answer that is our own request sent back is
//! refused where answers are checked ([`verify_answer`]).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use koban_domain::time::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hidden::Hidden;

/// The header with the message's id.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the attempt's time in whole seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far the two clocks may be apart, in seconds; the bound itself is accepted.
pub const TOLERANCE_S: i64 = 300;

const ID_LENGTH_MAX: usize = 128;
const SIGNATURE_HEADER_LENGTH_MAX: usize = 2_048;
const SIGNATURES_MAX: usize = 16;
const SECRETS_MAX: usize = 8;

/// One shared secret of 24 to 64 bytes. It is wiped when dropped and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret or a ring of them is not usable. The text of the secret is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Another kind of key, or none.
    #[error("a secret must begin with `whsec_`")]
    Prefix,
    /// What follows the prefix is not base64.
    #[error("what follows `whsec_` must be standard base64 with padding")]
    Encoding,
    /// Too short to be safe, or longer than the standard allows.
    #[error("a secret must have 24 to 64 bytes, this one has {0}")]
    Length(usize),
    /// A ring without a secret signs and accepts nothing.
    #[error("give 1 to {SECRETS_MAX} secrets, not {0}")]
    Count(usize),
}

impl Secret {
    /// Reads `whsec_` followed by base64.
    pub fn parse(text: &str) -> Result<Secret, SecretError> {
        let encoded = text.strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| SecretError::Encoding)?);
        Secret::from_bytes(bytes)
    }

    /// Takes the bytes of a secret: 24 to 64 of them, from a good source of randomness.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Secret, SecretError> {
        match bytes.len() {
            24..=64 => Ok(Secret(bytes)),
            length => Err(SecretError::Length(length)),
        }
    }

    /// The form in which a secret is given to a partner. Show it once, to whom it belongs.
    pub fn reveal(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(BASE64.encode(self.0.as_slice()));
        Zeroizing::new(format!("whsec_{}", encoded.as_str()))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        // HMAC takes a key of any length: a shorter one is padded, a longer one hashed.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(whsec_…)")
    }
}

/// The secrets shared with one partner: one, or several while they are being changed.
///
/// Messages are signed with each of them and accepted with any, so the two sides may change in either order: add the new one here, then
/// there, then take the old one away.
#[derive(Clone, Debug)]
pub struct Keyring(Vec<Secret>);

impl Keyring {
    /// Takes 1 to 8 secrets, the newest first.
    pub fn new(secrets: Vec<Secret>) -> Result<Keyring, SecretError> {
        match secrets.len() {
            1..=SECRETS_MAX => Ok(Keyring(secrets)),
            count => Err(SecretError::Count(count)),
        }
    }

    /// The secrets as they are given to a partner.
    pub(crate) fn revealed(&self) -> Vec<Hidden> {
        self.0.iter().map(|secret| Hidden::new(secret.reveal().as_str())).collect()
    }

    /// Reads secrets as [`Secret::parse`] does.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Keyring, SecretError> {
        Keyring::new(texts.into_iter().map(Secret::parse).collect::<Result<_, _>>()?)
    }
}

/// Why a message is not taken for the partner's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// One of the three headers is not there.
    #[error("the {0} header is missing")]
    Missing(&'static str),
    /// One of the three headers is there twice, so two readers may read two messages.
    #[error("the {0} header is there more than once")]
    Repeated(&'static str),
    /// The id is empty, too long, or holds a dot or unprintable characters.
    #[error("the {ID_HEADER} is not usable as an id")]
    Id,
    /// Not whole seconds since 1970.
    #[error("the {TIMESTAMP_HEADER} is not a whole number of seconds")]
    Timestamp,
    /// Signed too long ago: possibly an old message played again.
    #[error("the message was signed {seconds} s ago, more than {TOLERANCE_S}; check both clocks")]
    TooOld {
        /// Its age.
        seconds: i64,
    },
    /// Signed by a clock that is ahead.
    #[error("the message was signed {seconds} s in the future, more than {TOLERANCE_S}; check both clocks")]
    TooNew {
        /// How far ahead.
        seconds: i64,
    },
    /// A header that a template names is not there.
    #[error("the {0} header is missing")]
    MissingHeader(String),
    /// A header that a template names is there twice, so two readers may read two messages.
    #[error("the {0} header is there more than once")]
    RepeatedHeader(String),
    /// A header that a template names is written in another way.
    #[error("the {0} header is not written as the manifest says")]
    UnreadableHeader(String),
    /// More signatures than a rotation needs.
    #[error("the {SIGNATURE_HEADER} is too long")]
    TooMany,
    /// None of the signatures fits any of the secrets.
    #[error("no signature fits; check that both sides hold the same secret")]
    NoMatch,
    /// Correctly signed, but as the answer to another message.
    #[error("the answer is signed as the answer to another message")]
    OtherMessage,
    /// Correctly signed, by us: our own request came back.
    #[error("the answer is our own request sent back")]
    Echo,
}

/// What a signature proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The message's id: the same for each repeat of it.
    pub id: String,
    /// When this attempt was signed, by the partner's clock.
    pub timestamp: Timestamp,
}

/// Checks a call that a partner makes: `headers` are all headers of the call, in any case and order, and `body` its bytes as they came.
///
/// A repeated message passes again: that it is answered once is for the caller to see to, by [`Verified::id`] or by what the body names.
pub fn verify<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
    secrets: &Keyring,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let Signed { id, timestamp, signatures } = Signed::read(headers)?;
    let seconds = timely(id, timestamp, signatures, now)?;
    // Every signature is compared with every secret, without stopping early and in constant time each: how long it took says nothing.
    let expected: Vec<[u8; 32]> = secrets.0.iter().map(|secret| secret.mac(id, timestamp, body)).collect();
    let mut fits = subtle::Choice::from(0);
    for signature in signatures.split(' ').filter_map(|word| word.strip_prefix("v1,")) {
        let Ok(signature) = BASE64.decode(signature) else { continue };
        for mac in &expected {
            fits |= signature.as_slice().ct_eq(mac.as_slice());
        }
    }
    if !bool::from(fits) {
        return Err(SignatureError::NoMatch);
    }
    Ok(Verified { id: id.to_owned(), timestamp: Timestamp(seconds.saturating_mul(1_000)) })
}

/// What must hold of a signed message before any signature is looked at; answers its time in seconds.
pub(crate) fn timely(id: &str, timestamp: &str, signatures: &str, now: Timestamp) -> Result<i64, SignatureError> {
    if !is_message_id(id) {
        return Err(SignatureError::Id);
    }
    let seconds = parse_timestamp(timestamp).ok_or(SignatureError::Timestamp)?;
    let age_s = now.0.div_euclid(1_000).saturating_sub(seconds);
    if age_s > TOLERANCE_S {
        return Err(SignatureError::TooOld { seconds: age_s });
    }
    if age_s < -TOLERANCE_S {
        return Err(SignatureError::TooNew { seconds: age_s.saturating_neg() });
    }
    if signatures.len() > SIGNATURE_HEADER_LENGTH_MAX || signatures.split(' ').count() > SIGNATURES_MAX {
        return Err(SignatureError::TooMany);
    }
    Ok(seconds)
}

/// Checks the answer to a request of ours: signed, under our request's id, and not our own request sent back.
pub fn verify_answer<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
    asked: (&str, &[u8]),
    secrets: &Keyring,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let (asked_id, asked_body) = asked;
    let verified = verify(headers, body, secrets, now)?;
    if verified.id != asked_id {
        return Err(SignatureError::OtherMessage);
    }
    // An empty answer to an empty question is what a partner may well say, and says nothing that could mislead.
    if !body.is_empty() && body == asked_body {
        return Err(SignatureError::Echo);
    }
    Ok(verified)
}

/// The three headers of a message of ours. `id` must be a message id: printable ASCII without a dot, at most 128 characters.
pub fn sign(id: &str, body: &[u8], secrets: &Keyring, now: Timestamp) -> [(&'static str, String); 3] {
    let timestamp = now.0.div_euclid(1_000).to_string();
    let words = words(id, &timestamp, body, secrets).join(" ");
    [(ID_HEADER, id.to_owned()), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, words)]
}

/// The words of a message's signature header, one for each secret: `v1,<base64>`.
pub(crate) fn words(id: &str, timestamp: &str, body: &[u8], secrets: &Keyring) -> Vec<String> {
    secrets.0.iter().map(|secret| format!("v1,{}", BASE64.encode(secret.mac(id, timestamp, body)))).collect()
}

/// The three headers of our answer to a partner's message; `id` is that message's [`Verified::id`].
pub fn sign_answer(id: &str, body: &[u8], secrets: &Keyring, now: Timestamp) -> [(&'static str, String); 3] {
    sign(id, body, secrets, now)
}

/// Says whether a text can be a message id. A dot would let two different messages be signed alike.
pub fn is_message_id(text: &str) -> bool {
    (1..=ID_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'.')
}

/// Digits only and without leading zeros: what was signed is the text, so each time has one text.
fn parse_timestamp(text: &str) -> Option<i64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 12;
    if plain { text.parse().ok() } else { None }
}

/// The three headers, each there exactly once.
pub(crate) struct Signed<'a> {
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) signatures: &'a str,
}

impl<'a> Signed<'a> {
    pub(crate) fn read(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Signed<'a>, SignatureError> {
        let names = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];
        let mut found: [Option<&str>; 3] = [None; 3];
        for (name, value) in headers {
            let Some(at) = names.iter().position(|known| name.eq_ignore_ascii_case(known)) else { continue };
            if found[at].replace(value).is_some() {
                return Err(SignatureError::Repeated(names[at]));
            }
        }
        let [id, timestamp, signatures] = found;
        Ok(Signed {
            id: id.ok_or(SignatureError::Missing(ID_HEADER))?,
            timestamp: timestamp.ok_or(SignatureError::Missing(TIMESTAMP_HEADER))?,
            signatures: signatures.ok_or(SignatureError::Missing(SIGNATURE_HEADER))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with the Python reference package `standardwebhooks`, not with this code.
    const SECRET: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";
    const ID: &str = "msg_2b7f4c1d";
    const AT: Timestamp = Timestamp(1_777_000_000_000);
    const BODY: &[u8] =
        br#"{"session":"0f3a","atm_id":"7A01","business_date":"2026-04-24","serial":"000001","amount":10000}"#;
    const SIGNATURE: &str = "v1,kwtfMf2XPQQsGARSrLL0MAfIk9nTUZfd+HMSS43wHV4=";
    const SIGNATURE_OF_NOTHING: &str = "v1,ALvZWkBv+X0jCFlkJmAlykjlErOQFwkbxGrOxZCpdu8=";
    const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    const OTHER_SIGNATURE: &str = "v1,wPR0LccXjT1lJcgT1PnnV7ScHmQ4qEKRBZ/4Zz0rqkI=";

    fn ring(secrets: &[&str]) -> Keyring {
        Keyring::parse(secrets.iter().copied()).expect("secrets")
    }

    fn headers(signatures: &str) -> [(&str, &str); 3] {
        [("webhook-id", ID), ("Webhook-Timestamp", "1777000000"), ("WEBHOOK-SIGNATURE", signatures)]
    }

    fn check(signatures: &str, body: &[u8], secrets: &[&str], now: Timestamp) -> Result<Verified, SignatureError> {
        verify(headers(signatures), body, &ring(secrets), now)
    }

    #[test]
    fn our_signatures_are_those_of_the_reference_package() {
        let [id, timestamp, signature] = sign(ID, BODY, &ring(&[SECRET]), AT);
        assert_eq!(id, ("webhook-id", ID.to_owned()));
        assert_eq!(timestamp, ("webhook-timestamp", "1777000000".to_owned()));
        assert_eq!(signature, ("webhook-signature", SIGNATURE.to_owned()));
        assert_eq!(sign_answer(ID, b"", &ring(&[SECRET]), AT)[2].1, SIGNATURE_OF_NOTHING);
    }

    #[test]
    fn a_message_of_the_reference_package_is_accepted() {
        let verified = check(SIGNATURE, BODY, &[SECRET], AT).expect("accepted");
        assert_eq!(verified, Verified { id: ID.to_owned(), timestamp: AT });
        assert!(check(SIGNATURE_OF_NOTHING, b"", &[SECRET], AT).is_ok());
    }

    #[test]
    fn while_secrets_change_all_sign_and_any_is_accepted() {
        let both = sign(ID, BODY, &ring(&[OTHER_SECRET, SECRET]), AT)[2].1.clone();
        assert_eq!(both, format!("{OTHER_SIGNATURE} {SIGNATURE}"));
        for secrets in [&[SECRET][..], &[OTHER_SECRET], &[OTHER_SECRET, SECRET]] {
            assert!(check(&both, BODY, secrets, AT).is_ok());
        }
        for signatures in [SIGNATURE, OTHER_SIGNATURE] {
            assert!(check(signatures, BODY, &[OTHER_SECRET, SECRET], AT).is_ok());
        }
        assert!(check(&format!("v1a,AAAA v1,!! v1, {SIGNATURE}"), BODY, &[SECRET], AT).is_ok());
    }

    #[test]
    fn what_was_changed_after_signing_is_refused() {
        assert_eq!(check(SIGNATURE, b"{}", &[SECRET], AT), Err(SignatureError::NoMatch));
        assert_eq!(check(SIGNATURE, BODY, &[OTHER_SECRET], AT), Err(SignatureError::NoMatch));
        for signatures in
            ["", "v1,", "v1", &SIGNATURE[3..], &SIGNATURE.replace("v1,", "v2,"), &SIGNATURE[..43], "v1,AAAA"]
        {
            assert_eq!(check(signatures, BODY, &[SECRET], AT), Err(SignatureError::NoMatch), "{signatures}");
        }
        let other_id = [("webhook-id", "msg_x"), ("webhook-timestamp", "1777000000"), ("webhook-signature", SIGNATURE)];
        assert_eq!(verify(other_id, BODY, &ring(&[SECRET]), AT), Err(SignatureError::NoMatch));
        let other_time = [("webhook-id", ID), ("webhook-timestamp", "1777000001"), ("webhook-signature", SIGNATURE)];
        assert_eq!(verify(other_time, BODY, &ring(&[SECRET]), AT), Err(SignatureError::NoMatch));
    }

    #[test]
    fn five_minutes_either_way_are_accepted_and_a_second_more_is_not() {
        for seconds in [-300, -299, 0, 299, 300] {
            assert!(check(SIGNATURE, BODY, &[SECRET], Timestamp(AT.0 + seconds * 1_000)).is_ok(), "{seconds}");
        }
        let late = check(SIGNATURE, BODY, &[SECRET], Timestamp(AT.0 + 301_000));
        assert_eq!(late, Err(SignatureError::TooOld { seconds: 301 }));
        let early = check(SIGNATURE, BODY, &[SECRET], Timestamp(AT.0 - 301_000));
        assert_eq!(early, Err(SignatureError::TooNew { seconds: 301 }));
    }

    #[test]
    fn missing_repeated_or_unreadable_headers_are_refused_by_name() {
        let all = headers(SIGNATURE);
        for missing in 0..3 {
            let rest = all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, header)| *header);
            let name = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER][missing];
            assert_eq!(verify(rest, BODY, &ring(&[SECRET]), AT), Err(SignatureError::Missing(name)));
            let twice = all.iter().copied().chain([all[missing]]);
            assert_eq!(verify(twice, BODY, &ring(&[SECRET]), AT), Err(SignatureError::Repeated(name)));
        }
        for timestamp in ["", "now", "-1777000000", "+1777000000", "01777000000", "1777000000.0", "9999999999999999999"]
        {
            let headers = [(ID_HEADER, ID), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, SIGNATURE)];
            assert!(verify(headers, BODY, &ring(&[SECRET]), AT).is_err(), "{timestamp}");
        }
        for id in ["", "a.b", "a b", "é", &"x".repeat(129)] {
            let headers = [(ID_HEADER, id), (TIMESTAMP_HEADER, "1777000000"), (SIGNATURE_HEADER, SIGNATURE)];
            assert_eq!(verify(headers, BODY, &ring(&[SECRET]), AT), Err(SignatureError::Id), "{id}");
        }
        assert_eq!(check(&"v1,AA ".repeat(17), BODY, &[SECRET], AT), Err(SignatureError::TooMany));
    }

    #[test]
    fn an_answer_belongs_to_its_question_and_is_not_the_question() {
        let ring = ring(&[SECRET]);
        let answer = |asked: (&str, &[u8])| verify_answer(headers(SIGNATURE), BODY, asked, &ring, AT);
        assert!(answer((ID, b"question")).is_ok());
        assert_eq!(answer(("msg_other", b"question")), Err(SignatureError::OtherMessage));
        assert_eq!(answer((ID, BODY)), Err(SignatureError::Echo));
        assert!(verify_answer(headers(SIGNATURE_OF_NOTHING), b"", (ID, b""), &ring, AT).is_ok());
    }

    #[test]
    fn a_secret_has_24_to_64_bytes_and_is_never_shown() {
        let of = |length: usize| Secret::from_bytes(Zeroizing::new(vec![7; length]));
        assert!(of(24).is_ok() && of(64).is_ok());
        assert_eq!(of(23).err(), Some(SecretError::Length(23)));
        assert_eq!(of(65).err(), Some(SecretError::Length(65)));
        assert_eq!(Secret::parse("a29iYW4=").err(), Some(SecretError::Prefix));
        assert_eq!(Secret::parse("whsec_!").err(), Some(SecretError::Encoding));
        assert_eq!(Keyring::new(Vec::new()).err(), Some(SecretError::Count(0)));
        let secret = Secret::parse(SECRET).expect("a secret");
        assert_eq!(secret.reveal().as_str(), SECRET);
        let shown = format!("{secret:?} {:?}", ring(&[SECRET]));
        assert!(!shown.contains("a29i") && !shown.contains("107"), "{shown}");
    }
}
