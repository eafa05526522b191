//! Webhooks: one signed message to an address that somebody outside chose, by Standard Webhooks 1.0.0.
//!
//! Each message carries a `v1` signature (HMAC-SHA256, for whom a shared secret is enough) and a `v1a` one (Ed25519, which a receiver checks with a
//! public key and can show to others). While keys are changed it carries those of the old ones as well, and receivers take any that fits.
//! The same rules as for partners decide where it may go: [`crate::address`], asked again for each connection. A redirect is no success.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use koban_domain::manifest::Method;
use koban_domain::time::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::base::{Base, BaseError, PathError, Scheme, check_path};
use crate::endpoint::{Credential, Endpoint, Limits};
use crate::request::Request;
use crate::send::{Outside, Refused, Sent};
use crate::signature::{
    self, ID_HEADER, Keyring, SIGNATURE_HEADER, SecretError, SignatureError, Signed, TIMESTAMP_HEADER, Verified,
};

/// An Ed25519 key pair of ours. The private half is wiped when dropped and never shown.
#[derive(Clone)]
pub struct KeyPair {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

/// The public half: `whpk_` and base64 of its 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl KeyPair {
    /// The pair that these 32 unpredictable bytes stand for.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> KeyPair {
        let pair = pair(&seed);
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        KeyPair { seed, public: PublicKey(public) }
    }

    /// The half that may be shown.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    fn word(&self, signed: &[u8]) -> String {
        format!("v1a,{}", BASE64.encode(pair(&self.seed).sign(signed)))
    }
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are the seed of a key pair")
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, …)", self.public)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whpk_{}", BASE64.encode(self.0))
    }
}

impl PublicKey {
    /// Reads `whpk_` followed by base64 of 32 bytes.
    pub fn parse(text: &str) -> Result<PublicKey, SecretError> {
        let encoded = text.strip_prefix("whpk_").ok_or(SecretError::Prefix)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SecretError::Encoding)?;
        let length = bytes.len();
        bytes.try_into().map(PublicKey).map_err(|_| SecretError::Length(length))
    }

    /// Checks a message as its receiver does who holds only this key: `headers` are all headers of the call, `body` its bytes as they came.
    pub fn verify<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        let Signed { id, timestamp, signatures } = Signed::read(headers)?;
        let seconds = signature::timely(id, timestamp, signatures, now)?;
        let signed = signed_bytes(id, timestamp, body);
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        let mut words = signatures.split(' ').filter_map(|word| BASE64.decode(word.strip_prefix("v1a,")?).ok());
        match words.any(|word| key.verify(&signed, &word).is_ok()) {
            true => Ok(Verified { id: id.to_owned(), timestamp: Timestamp(seconds.saturating_mul(1_000)) }),
            false => Err(SignatureError::NoMatch),
        }
    }
}

fn signed_bytes(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// All that one endpoint's messages are signed with, the newest first.
#[derive(Debug, Clone)]
pub struct Signers {
    /// Shared secrets.
    pub secrets: Keyring,
    /// Key pairs.
    pub pairs: Vec<KeyPair>,
}

impl Signers {
    /// The three headers of a message. `id` must be a message id, as [`signature::is_message_id`] says.
    pub fn sign(&self, id: &str, body: &[u8], now: Timestamp) -> [(&'static str, String); 3] {
        let timestamp = now.0.div_euclid(1_000).to_string();
        let mut words = signature::words(id, &timestamp, body, &self.secrets);
        let signed = signed_bytes(id, &timestamp, body);
        words.extend(self.pairs.iter().map(|pair| pair.word(&signed)));
        [(ID_HEADER, id.to_owned()), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, words.join(" "))]
    }
}

/// Where webhooks are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    origin: Base,
    path: String,
}

/// Why an address is nothing to post webhooks to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// It cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Its path is not plain.
    #[error("the path of the address is not plain: {0}")]
    Path(PathError),
    /// It goes where only an operator may let it.
    #[error("{0}")]
    Refused(Refused),
}

impl Receiver {
    /// Reads `https://host[:port][/path]`. What can be told without a name being looked up is refused here; the rest at each connection.
    pub fn parse(url: &str, allow_private: bool) -> Result<Receiver, ReceiverError> {
        let host_at = url.find("://").map_or(0, |at| at + 3);
        let (origin, path) = match url[host_at..].find('/') {
            Some(at) => url.split_at(host_at + at),
            None => (url, "/"),
        };
        let origin = Base::parse(origin)?;
        check_path(path).map_err(ReceiverError::Path)?;
        if origin.scheme() == Scheme::Http && !allow_private {
            return Err(ReceiverError::Refused(Refused::ClearText));
        }
        if let crate::base::Host::Address(address) = origin.host() {
            crate::address::check(*address, allow_private)
                .map_err(|error| ReceiverError::Refused(Refused::Address(error)))?;
        }
        Ok(Receiver { origin, path: path.to_owned() })
    }
}

/// What came of posting a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The receiver answered with this status; whether that is success is for the caller to say.
    Answered(u16),
    /// Our own rules forbid it.
    Refused(String),
    /// No answer, in words.
    Failed(String),
}

impl Outside {
    /// Posts one message and waits for the status of the answer. `name` stands in log lines; `now` is the time at the start.
    pub async fn deliver(
        &self,
        (name, to): (&str, &Receiver),
        (signers, allow_private): (&Signers, bool),
        (id, body): (&str, &str),
        timeout: Duration,
        now: Timestamp,
    ) -> Delivered {
        let endpoint = Endpoint {
            name: name.to_owned(),
            base: to.origin.clone(),
            credential: Credential::Webhook(signers.clone()),
            allow_private,
            limits: Limits { total: timeout, ..Limits::default() },
            authorities: None,
            secrets: Vec::new(),
        };
        let request = Request {
            method: Method::Post,
            path: to.path.clone(),
            query: Vec::new(),
            body: body.as_bytes().to_vec(),
            content_type: "application/json".to_owned(),
            idempotency_key: None,
            message_id: id.to_owned(),
            nonce: id.to_owned(),
            timeout,
        };
        match self.post(&endpoint, &request, now).await {
            Ok(status) => Delivered::Answered(status),
            Err(Sent::Refused(why)) => Delivered::Refused(why.to_string()),
            Err(Sent::NotSent(why)) => Delivered::Failed(why.to_string()),
            Err(Sent::Unknown(why)) => Delivered::Failed(why.to_string()),
            Err(Sent::BadSignature(why)) => Delivered::Failed(why.to_string()),
            Err(Sent::Answer(answer)) => Delivered::Answered(answer.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_a29iYW4gdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIGxvbmc=";
    const AT: Timestamp = Timestamp(1_777_000_000_000);

    fn signers(seeds: &[u8]) -> Signers {
        let pairs = seeds.iter().map(|seed| KeyPair::from_seed(Zeroizing::new([*seed; 32]))).collect();
        Signers { secrets: Keyring::parse([SECRET]).expect("a secret"), pairs }
    }

    fn headers(signed: &[(&'static str, String); 3]) -> Vec<(&'static str, String)> {
        signed.to_vec()
    }

    fn check(key: PublicKey, signed: &[(&'static str, String)], body: &[u8]) -> Result<Verified, SignatureError> {
        key.verify(signed.iter().map(|(name, value)| (*name, value.as_str())), body, AT)
    }

    #[test]
    fn the_key_pair_is_that_of_rfc_8032() {
        // RFC 8032, section 7.1, tests 1 and 2.
        let seed = |hex: &str| {
            let bytes: Vec<u8> =
                (0..64).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            Zeroizing::new(<[u8; 32]>::try_from(bytes).unwrap())
        };
        let pair = KeyPair::from_seed(seed("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        assert_eq!(pair.public().to_string(), "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_eq!(
            pair.word(b""),
            "v1a,5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="
        );
    }

    #[test]
    fn a_message_carries_a_signature_of_both_kinds_and_each_is_enough() {
        let signers = signers(&[1]);
        let signed = signers.sign("evt_1", b"{}", AT);
        let words: Vec<&str> = signed[2].1.split(' ').map(|word| word.split(',').next().unwrap()).collect();
        assert_eq!(words, ["v1", "v1a"]);
        assert!(check(signers.pairs[0].public(), &headers(&signed), b"{}").is_ok());
        let given = signed.iter().map(|(name, value)| (*name, value.as_str()));
        assert!(signature::verify(given, b"{}", &signers.secrets, AT).is_ok());
    }

    #[test]
    fn while_keys_change_receivers_with_the_old_or_the_new_one_are_both_served() {
        let both = signers(&[2, 1]);
        let signed = headers(&both.sign("evt_1", b"{}", AT));
        for pair in &both.pairs {
            assert!(check(pair.public(), &signed, b"{}").is_ok());
        }
        let stranger = KeyPair::from_seed(Zeroizing::new([3; 32])).public();
        assert_eq!(check(stranger, &signed, b"{}"), Err(SignatureError::NoMatch));
    }

    #[test]
    fn what_was_changed_after_signing_is_refused() {
        let signers = signers(&[1]);
        let key = signers.pairs[0].public();
        let signed = headers(&signers.sign("evt_1", b"{}", AT));
        assert_eq!(check(key, &signed, b"{ }"), Err(SignatureError::NoMatch));
        for (at, other) in [(0, "evt_2"), (1, "1777000001")] {
            let mut changed = signed.clone();
            changed[at].1 = other.to_owned();
            assert_eq!(check(key, &changed, b"{}"), Err(SignatureError::NoMatch));
        }
        let late = key.verify(signed.iter().map(|(n, v)| (*n, v.as_str())), b"{}", Timestamp(AT.0 + 301_000));
        assert_eq!(late, Err(SignatureError::TooOld { seconds: 301 }));
    }

    #[test]
    fn public_keys_read_back_and_private_ones_are_never_shown() {
        let pair = KeyPair::from_seed(Zeroizing::new([7; 32]));
        assert_eq!(PublicKey::parse(&pair.public().to_string()), Ok(pair.public()));
        assert_eq!(PublicKey::parse("whsec_AAAA"), Err(SecretError::Prefix));
        assert_eq!(PublicKey::parse("whpk_AAAA"), Err(SecretError::Length(3)));
        assert!(!format!("{pair:?}").contains("BwcHBwcH"), "{pair:?}");
    }

    #[test]
    fn an_address_is_taken_to_the_letter_or_refused() {
        let receiver = Receiver::parse("https://shop.example/hooks/koban/", false).expect("fine");
        assert_eq!(
            (receiver.origin.to_string().as_str(), receiver.path.as_str()),
            ("https://shop.example", "/hooks/koban/")
        );
        assert_eq!(Receiver::parse("https://shop.example", false).expect("fine").path, "/");
        assert!(Receiver::parse("http://127.0.0.1:9/x", true).is_ok());
        for url in [
            "http://shop.example/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://user@shop.example/",
            "https://shop.example/a?b=c",
            "https://shop.example/a#b",
            "https://shop.example/../x",
            "https://2130706433/",
            "ftp://shop.example/",
            "shop.example",
            "",
        ] {
            assert!(Receiver::parse(url, false).is_err(), "{url}");
        }
        // No operator's word opens these.
        assert!(Receiver::parse("https://169.254.169.254/", true).is_err());
        assert!(Receiver::parse("http://0.0.0.0/", true).is_err());
    }
}
