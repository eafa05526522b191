//! HMAC signatures by a template of the manifest: the canonical string is built from parts of the message, as the partner's documents say.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use koban_domain::manifest::{DigestHash, Hash, HmacSpec, Part, Piece, SecretForm, Signing, TimeForm, Writing, pieces};
use koban_domain::time::Timestamp;
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hidden::Hidden;
use crate::signature::{SignatureError, TOLERANCE_S};

/// A template with the operator's half: what the partner knows us by, and the secret.
#[derive(Clone, Debug)]
pub struct HmacKey {
    /// The template.
    pub spec: HmacSpec,
    /// The public half: a key id, a channel id. Empty if the template names none.
    pub key: String,
    /// The secret.
    pub secret: Hidden,
}

/// A message, as far as a template may name it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path as on the wire, without the query.
    pub path: &'a str,
    /// The query as on the wire, without `?`.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The media type of the body.
    pub content_type: &'a str,
    /// The status of an answer.
    pub status: u16,
    /// What is used once.
    pub nonce: &'a str,
    /// The nonce of the message that is answered.
    pub asked_nonce: &'a str,
}

/// Most characters of a header that is taken apart.
const HEADER_LENGTH_MAX: usize = 2_048;
/// Characters of a nonce.
const NONCE_LENGTH_MAX: usize = 128;

impl HmacKey {
    /// Whether the secret can be used. Errors: what is wrong with it, without repeating it.
    pub fn check(&self) -> Result<(), &'static str> {
        self.bytes().map(|_| ())
    }

    /// Signs a request of ours: the headers that carry it.
    pub fn sign(&self, told: &Told<'_>, now: Timestamp) -> Result<Vec<(String, String)>, &'static str> {
        self.headers(&self.spec.request, told, now)
    }

    /// Signs a reply of ours; nothing if the template has none.
    pub fn sign_reply(&self, told: &Told<'_>, now: Timestamp) -> Result<Vec<(String, String)>, &'static str> {
        match &self.spec.reply {
            Some(signing) => self.headers(signing, told, now),
            None => Ok(Vec::new()),
        }
    }

    /// Checks an answer to a request whose nonce was `told.asked_nonce`. Without a template the certificate has to do.
    pub fn verify_answer<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        told: &Told<'_>,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        match &self.spec.answer {
            Some(signing) => self.verify(signing, headers, told, now).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Checks a call that the partner makes; answers its nonce, which a reply may name.
    pub fn verify_call<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        told: &Told<'_>,
        now: Timestamp,
    ) -> Result<String, SignatureError> {
        let signing = self.spec.inbound.as_ref().ok_or(SignatureError::NoMatch)?;
        self.verify(signing, headers, told, now)
    }

    /// The header whose presence says that an answer claims to be signed.
    pub(crate) fn answer_header(&self) -> Option<&str> {
        let headers = &self.spec.answer.as_ref()?.headers;
        headers.iter().find(|(_, value)| value.contains("{mac}")).map(|(name, _)| name.as_str())
    }

    fn headers(
        &self,
        signing: &Signing,
        told: &Told<'_>,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, &'static str> {
        let time = write_time(self.spec.time, now);
        let mac = write(self.spec.encoding, &self.mac(signing, told, &time)?);
        let mut headers = Vec::new();
        for (name, template) in &signing.headers {
            let mut value = String::new();
            for piece in parsed(template)? {
                match piece {
                    Piece::Text(text) => value.push_str(&text),
                    Piece::Part(Part::Mac) => value.push_str(&mac),
                    // The gate of the manifest lets no secret stand in a header.
                    Piece::Part(Part::Secret) => return Err("a header names the secret"),
                    Piece::Part(part) => value.push_str(&String::from_utf8_lossy(&self.part(part, told, &time))),
                }
            }
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }

    fn verify<'a>(
        &self,
        signing: &Signing,
        headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        told: &Told<'_>,
        now: Timestamp,
    ) -> Result<String, SignatureError> {
        let mut said: HashMap<Part, String> = HashMap::new();
        for (name, template) in &signing.headers {
            let mut values =
                headers.clone().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            let value = values.next().ok_or_else(|| SignatureError::MissingHeader(name.clone()))?;
            if values.next().is_some() {
                return Err(SignatureError::RepeatedHeader(name.clone()));
            }
            let pieces = pieces(template).map_err(|_| SignatureError::NoMatch)?;
            take_apart(&pieces, value, &mut said).ok_or_else(|| SignatureError::UnreadableHeader(name.clone()))?;
        }
        let mac = said.remove(&Part::Mac).ok_or(SignatureError::NoMatch)?;
        let time = said.remove(&Part::Timestamp).unwrap_or_default();
        if !time.is_empty() {
            timely(self.spec.time, &time, now)?;
        }
        let nonce = said.remove(&Part::Nonce).unwrap_or_default();
        if nonce.len() > NONCE_LENGTH_MAX {
            return Err(SignatureError::Id);
        }
        let told = Told { nonce: &nonce, ..*told };
        let expected = self.mac(signing, &told, &time).map_err(|_| SignatureError::NoMatch)?;
        let given = read(self.spec.encoding, &mac).ok_or(SignatureError::NoMatch)?;
        let key_fits = said.get(&Part::Key).is_none_or(|key| *key == self.key);
        let digest_fits =
            said.get(&Part::Digest).is_none_or(|digest| digest.as_bytes() == self.digest(&told).as_slice());
        let mac_fits = bool::from(given.as_slice().ct_eq(expected.as_slice()));
        if mac_fits && key_fits && digest_fits { Ok(nonce) } else { Err(SignatureError::NoMatch) }
    }

    fn mac(&self, signing: &Signing, told: &Told<'_>, time: &str) -> Result<Vec<u8>, &'static str> {
        let key = self.bytes()?;
        let mut text = Zeroizing::new(Vec::new());
        for piece in parsed(&signing.text)? {
            match piece {
                Piece::Text(plain) => text.extend_from_slice(plain.as_bytes()),
                Piece::Part(part) => text.extend_from_slice(&self.part(part, told, time)),
            }
        }
        Ok(match self.spec.algorithm {
            Hash::Sha256 => {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).map_err(|_| "the secret is no key")?;
                mac.update(&text);
                mac.finalize().into_bytes().to_vec()
            }
            Hash::Sha512 => {
                let mut mac = <Hmac<Sha512> as KeyInit>::new_from_slice(&key).map_err(|_| "the secret is no key")?;
                mac.update(&text);
                mac.finalize().into_bytes().to_vec()
            }
        })
    }

    fn part(&self, part: Part, told: &Told<'_>, time: &str) -> Zeroizing<Vec<u8>> {
        let bytes = match part {
            Part::Method => told.method.as_bytes(),
            Part::Path => told.path.as_bytes(),
            Part::Query => told.query.as_bytes(),
            Part::Body => told.body,
            Part::Payload if matches!(told.method, "GET" | "DELETE") => told.query.as_bytes(),
            Part::Payload => told.body,
            Part::ContentType => self.content_type(told).as_bytes(),
            Part::Timestamp => time.as_bytes(),
            Part::Nonce => told.nonce.as_bytes(),
            Part::AskedNonce => told.asked_nonce.as_bytes(),
            Part::Key => self.key.as_bytes(),
            Part::Secret => self.secret.reveal().as_bytes(),
            Part::Digest => return Zeroizing::new(self.digest(told)),
            Part::Status => return Zeroizing::new(told.status.to_string().into_bytes()),
            Part::Mac => b"",
        };
        Zeroizing::new(bytes.to_vec())
    }

    fn content_type<'t>(&'t self, told: &Told<'t>) -> &'t str {
        if told.body.is_empty() { &self.spec.without_body } else { told.content_type }
    }

    fn digest(&self, told: &Told<'_>) -> Vec<u8> {
        let Some(digest) = &self.spec.digest else { return Vec::new() };
        if told.body.is_empty() && !self.spec.without_body.is_empty() {
            return self.spec.without_body.clone().into_bytes();
        }
        let mut of = Vec::new();
        for piece in pieces(&digest.of).unwrap_or_default() {
            match piece {
                Piece::Text(text) => of.extend_from_slice(text.as_bytes()),
                Piece::Part(Part::ContentType) => of.extend_from_slice(self.content_type(told).as_bytes()),
                Piece::Part(_) => of.extend_from_slice(told.body),
            }
        }
        let bytes = match digest.algorithm {
            DigestHash::Sha256 => Sha256::digest(&of).to_vec(),
            DigestHash::Sha512 => Sha512::digest(&of).to_vec(),
            DigestHash::Md5 => Md5::digest(&of).to_vec(),
        };
        write(digest.encoding, &bytes).into_bytes()
    }

    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let text = self.secret.reveal();
        let bytes = match self.spec.secret {
            SecretForm::Text => Some(text.as_bytes().to_vec()),
            SecretForm::Base64 => STANDARD.decode(text).ok(),
            SecretForm::Hex => read(Writing::Hex, text),
        };
        let bytes = Zeroizing::new(bytes.ok_or("the secret is not written as the manifest says")?);
        if bytes.len() < crate::hidden::SECRET_LENGTH_MIN { Err("the secret is too short") } else { Ok(bytes) }
    }
}

fn parsed(template: &str) -> Result<Vec<Piece>, &'static str> {
    pieces(template).map_err(|_| "the template cannot be read")
}

/// Takes a header's value apart by its template. A part ends where the text behind it begins for the first time, the last one at the end.
fn take_apart(pieces: &[Piece], value: &str, said: &mut HashMap<Part, String>) -> Option<()> {
    if value.len() > HEADER_LENGTH_MAX {
        return None;
    }
    let mut rest = value;
    for (place, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Part(part) => {
                let end = match pieces.get(place + 1) {
                    Some(Piece::Text(next)) => rest.find(next.as_str())?,
                    // Nothing tells where one part ends and the next begins.
                    Some(Piece::Part(_)) => return None,
                    None => rest.len(),
                };
                let found = &rest[..end];
                if said.insert(*part, found.to_owned()).is_some_and(|before| before != found) {
                    return None;
                }
                rest = &rest[end..];
            }
        }
    }
    rest.is_empty().then_some(())
}

fn timely(form: TimeForm, text: &str, now: Timestamp) -> Result<(), SignatureError> {
    let at = read_time(form, text).ok_or(SignatureError::Timestamp)?;
    let age_s = now.since_ms(at).div_euclid(1_000);
    match age_s {
        age if age > TOLERANCE_S => Err(SignatureError::TooOld { seconds: age }),
        age if age < -TOLERANCE_S => Err(SignatureError::TooNew { seconds: age.saturating_neg() }),
        _ => Ok(()),
    }
}

fn write(writing: Writing, bytes: &[u8]) -> String {
    match writing {
        Writing::Base64 => STANDARD.encode(bytes),
        Writing::Base64url => URL_SAFE_NO_PAD.encode(bytes),
        Writing::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn read(writing: Writing, text: &str) -> Option<Vec<u8>> {
    match writing {
        Writing::Base64 => STANDARD.decode(text).ok(),
        Writing::Base64url => URL_SAFE_NO_PAD.decode(text).ok(),
        Writing::Hex => {
            let digits = text.as_bytes();
            let pairs = digits.chunks_exact(2);
            if !pairs.remainder().is_empty() {
                return None;
            }
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            pairs.map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?)).collect()
        }
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn write_time(form: TimeForm, at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1_000);
    // 2018-09-25T03:00:00.000Z
    let text = Timestamp(seconds.saturating_mul(1_000)).to_string();
    match form {
        TimeForm::Seconds => seconds.to_string(),
        TimeForm::Milliseconds => at.0.to_string(),
        TimeForm::Rfc3339 => text.replace(".000Z", "Z"),
        TimeForm::HttpDate => {
            let day = usize::try_from(seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
            let month = text.get(5..7).and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
            let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
            format!("{}, {} {} {} {} GMT", DAYS[day], part(8, 10), MONTHS[(month - 1) % 12], part(0, 4), part(11, 19))
        }
    }
}

/// Reads a time in the one way in which it is written: what was signed is the text, so each time has one text.
fn read_time(form: TimeForm, text: &str) -> Option<Timestamp> {
    let number = || if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<i64>().ok() } else { None };
    let at = match form {
        TimeForm::Seconds => Timestamp(number()?.checked_mul(1_000)?),
        TimeForm::Milliseconds => Timestamp(number()?),
        TimeForm::Rfc3339 => Timestamp::parse(text)?,
        TimeForm::HttpDate => {
            let parts: Vec<&str> = text.split(' ').collect();
            let [_, day, month, year, clock, "GMT"] = parts[..] else { return None };
            let month = MONTHS.iter().position(|known| *known == month)? + 1;
            Timestamp::parse(&format!("{year}-{month:02}-{day}T{clock}Z"))?
        }
    };
    (form == TimeForm::Milliseconds || write_time(form, at) == text).then_some(at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use koban_domain::manifest::DigestSpec;

    use super::*;

    const AT: Timestamp = Timestamp(1_537_851_600_000);

    fn signing(text: &str, headers: &[(&str, &str)]) -> Signing {
        let headers: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Signing { text: text.to_owned(), headers }
    }

    fn spec(request: Signing) -> HmacSpec {
        HmacSpec {
            algorithm: Hash::Sha256,
            encoding: Writing::Base64,
            secret: SecretForm::Text,
            time: TimeForm::Seconds,
            digest: None,
            without_body: String::new(),
            request,
            answer: None,
            inbound: None,
            reply: None,
        }
    }

    fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
        headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// LINE Pay Online API v3, with the vectors of its clients.
    #[test]
    fn line_pay_signs_secret_path_payload_and_nonce() {
        let headers = [
            ("x-line-authorization", "{mac}"),
            ("x-line-authorization-nonce", "{nonce}"),
            ("x-line-channelid", "{key}"),
        ];
        let key = HmacKey {
            spec: spec(signing("{secret}{path}{payload}{nonce}", &headers)),
            key: "1234567890".to_owned(),
            secret: Hidden::new("s3cr3t-channel-key-0001"),
        };
        let nonce = "7e603858-6465-4323-8a5d-dddcdc11ebd0";
        let confirm = Told {
            method: "POST",
            path: "/v3/payments/2018092500000000123/confirm",
            body: br#"{"amount":1280,"currency":"JPY"}"#,
            nonce,
            ..Told::default()
        };
        let signed = key.sign(&confirm, AT).unwrap();
        assert_eq!(header(&signed, "x-line-authorization"), "CVrYjXA9ikJ5MMMcfUzMh0fcOHIBNfhgpS02Bc9av/U=");
        assert_eq!(header(&signed, "x-line-authorization-nonce"), nonce);
        assert_eq!(header(&signed, "x-line-channelid"), "1234567890");
        let details = Told {
            method: "GET",
            path: "/v3/payments",
            query: "transactionId=2018092500000000123&fields=ALL",
            nonce,
            ..Told::default()
        };
        let signed = key.sign(&details, AT).unwrap();
        assert_eq!(header(&signed, "x-line-authorization"), "6kUw/xnM+4jMDsNzGlBIAuEjlTA5UYOk3dXJT/e9hJQ=");
    }

    fn open_payment() -> HmacKey {
        let text = "{path}\n{method}\n{nonce}\n{timestamp}\n{content_type}\n{digest}";
        let request = signing(text, &[("authorization", "hmac OPA-Auth:{key}:{mac}:{nonce}:{timestamp}:{digest}")]);
        let digest =
            DigestSpec { algorithm: DigestHash::Md5, of: "{content_type}{body}".to_owned(), encoding: Writing::Base64 };
        HmacKey {
            spec: HmacSpec {
                digest: Some(digest),
                without_body: "empty".to_owned(),
                inbound: Some(request.clone()),
                ..spec(request)
            },
            key: "APIKeyGenerated".to_owned(),
            secret: Hidden::new("APIKeySecretGenerated"),
        }
    }

    const CODE: &[u8] = br#"{"merchantPaymentId":"mp-0001","amount":{"amount":1280,"currency":"JPY"}}"#;

    fn code() -> Told<'static> {
        Told {
            method: "POST",
            path: "/v2/codes",
            body: CODE,
            content_type: "application/json",
            nonce: "acd028",
            ..Told::default()
        }
    }

    /// PayPay's open payment API, with its published vectors.
    #[test]
    fn an_open_payment_request_signs_a_digest_of_its_body() {
        let key = open_payment();
        let signed = key.sign(&code(), AT).unwrap();
        assert_eq!(
            header(&signed, "authorization"),
            "hmac OPA-Auth:APIKeyGenerated:HBqRK6NObcoCREQwLrzko76jTm0XGJyPeNySFC1jfiY=:acd028:1537851600:R4hNq/kv1ReUER/VhqiT7g=="
        );
        let get = Told { method: "GET", path: "/v2/codes/payments/mp-0001", nonce: "acd028", ..Told::default() };
        let signed = key.sign(&get, AT).unwrap();
        assert_eq!(
            header(&signed, "authorization"),
            "hmac OPA-Auth:APIKeyGenerated:IrwQ846h7g3HKiGbJwlzZGyFdRqYf5g8vhUmYg3YfnA=:acd028:1537851600:empty"
        );
    }

    #[test]
    fn a_call_is_the_partners_only_unchanged_and_in_time() {
        let key = open_payment();
        let signed = key.sign(&code(), AT).unwrap();
        let verify = |signed: &[(String, String)], told: &Told<'_>, now: Timestamp| {
            key.verify_call(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())), told, now)
        };
        let without_nonce = Told { nonce: "", ..code() };
        assert_eq!(verify(&signed, &without_nonce, AT), Ok("acd028".to_owned()));
        assert_eq!(verify(&signed, &without_nonce, AT.plus_ms(301_000)), Err(SignatureError::TooOld { seconds: 301 }));
        assert_eq!(verify(&signed, &without_nonce, AT.plus_ms(-301_000)), Err(SignatureError::TooNew { seconds: 301 }));
        for changed in [
            Told { path: "/v2/refunds", ..without_nonce },
            Told { method: "PUT", ..without_nonce },
            Told { body: b"{}", ..without_nonce },
            Told { content_type: "text/plain", ..without_nonce },
        ] {
            assert_eq!(verify(&signed, &changed, AT), Err(SignatureError::NoMatch), "{changed:?}");
        }
        assert!(matches!(verify(&[], &without_nonce, AT), Err(SignatureError::MissingHeader(_))));
        let twice = [signed.clone(), signed.clone()].concat();
        assert!(matches!(verify(&twice, &without_nonce, AT), Err(SignatureError::RepeatedHeader(_))));
        for value in ["", "hmac", "hmac OPA-Auth:a:b:c", "bearer x", &"x".repeat(4_000)] {
            let header = [("authorization".to_owned(), value.to_owned())];
            assert!(matches!(verify(&header, &without_nonce, AT), Err(SignatureError::UnreadableHeader(_))), "{value}");
        }
        let other_key = header(&signed, "authorization").replace("APIKeyGenerated", "SomebodyElse");
        assert_eq!(
            verify(&[("authorization".to_owned(), other_key)], &without_nonce, AT),
            Err(SignatureError::NoMatch)
        );
    }

    #[test]
    fn an_answer_can_be_bound_to_its_question() {
        let mut key = open_payment();
        key.spec.answer =
            Some(signing("{asked_nonce}\n{status}\n{timestamp}\n{body}", &[("x-signature", "t={timestamp},v={mac}")]));
        let told = |asked_nonce: &'static str| Told { status: 200, body: b"ok", asked_nonce, ..Told::default() };
        let signing = key.spec.answer.clone().unwrap();
        let signed = key.headers(&signing, &told("n1"), AT).unwrap();
        let headers = || signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(key.verify_answer(headers(), &told("n1"), AT), Ok(()));
        assert_eq!(key.verify_answer(headers(), &told("n2"), AT), Err(SignatureError::NoMatch));
        assert_eq!(key.verify_answer(headers(), &Told { status: 500, ..told("n1") }, AT), Err(SignatureError::NoMatch));
    }

    #[test]
    fn times_are_written_and_read_in_one_way() {
        for (form, text) in [
            (TimeForm::Seconds, "1537851600"),
            (TimeForm::Milliseconds, "1537851600000"),
            (TimeForm::Rfc3339, "2018-09-25T05:00:00Z"),
            (TimeForm::HttpDate, "Tue, 25 Sep 2018 05:00:00 GMT"),
        ] {
            assert_eq!(write_time(form, AT), text);
            assert_eq!(read_time(form, text), Some(AT), "{form:?}");
        }
        for (form, text) in [
            (TimeForm::Seconds, "01537851600"),
            (TimeForm::Seconds, "-5"),
            (TimeForm::Seconds, ""),
            (TimeForm::HttpDate, "Mon, 25 Sep 2018 05:00:00 GMT"),
            (TimeForm::HttpDate, "Tue, 25 Sep 2018 05:00:00"),
            (TimeForm::Rfc3339, "2018-09-25"),
        ] {
            assert_eq!(read_time(form, text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_as_the_manifest_says_it_is_written() {
        let mut key = open_payment();
        key.spec.secret = SecretForm::Hex;
        assert!(key.check().is_err());
        key.secret = Hidden::new("00112233445566778899aabbccddeeff");
        assert!(key.check().is_ok());
        key.spec.secret = SecretForm::Text;
        key.secret = Hidden::new("short");
        assert!(key.check().is_err());
    }
}
