//! An endpoint: where a partner is, how we prove who we are there, and what the operator allowed.

use std::sync::Arc;
use std::time::Duration;

use koban_domain::manifest::ClientShown;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::Base;
use crate::hidden::Hidden;
use crate::signature::Keyring;
use crate::template::HmacKey;
use crate::webhook::Signers;

/// One partner's address, as an operator wrote it down.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Unique among all endpoints of the host, such as `charge-atm/network`: breakers, limits and log lines go by it.
    pub name: String,
    /// Where requests go.
    pub base: Base,
    /// How both sides prove who they are.
    pub credential: Credential,
    /// The operator's word, for this endpoint alone: private addresses may be connected to, also without TLS.
    pub allow_private: bool,
    /// What the host allows itself there.
    pub limits: Limits,
    /// The partner's own authorities, which then are the only ones that are believed there.
    pub authorities: Option<Authorities>,
    /// What `{{secret:name}}` in a body stands for: names and values.
    pub secrets: Vec<(String, Hidden)>,
}

impl Endpoint {
    /// An endpoint with the usual limits, believed by the public authorities.
    pub fn new(name: impl Into<String>, base: Base, credential: Credential) -> Endpoint {
        Endpoint {
            name: name.into(),
            base,
            credential,
            allow_private: false,
            limits: Limits::default(),
            authorities: None,
            secrets: Vec::new(),
        }
    }

    /// Strikes everything that is secret about this endpoint out of bytes that come from there.
    pub fn strike(&self, bytes: Vec<u8>) -> Vec<u8> {
        let hidden = self.credential.hidden();
        crate::hidden::strike(bytes, hidden.iter().chain(self.secrets.iter().map(|(_, value)| value)))
    }
}

/// What the host allows itself at one endpoint. Each host counts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in a minute, spread: at most a sixth of it at once.
    pub per_minute: u32,
    /// Requests on their way at the same time.
    pub concurrent: u32,
    /// Bytes of an answer's body; [`crate::Bounds::answer_body`] bounds it as well.
    pub answer_bytes: usize,
    /// From the start to the last byte of the answer; [`crate::Bounds::total`] and the request bound it as well.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { per_minute: 600, concurrent: 16, answer_bytes: 64 * 1024, total: Duration::from_secs(60) }
    }
}

/// How both sides prove who they are. The list is closed: a new kind is written here, not brought by a plugin.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nobody asks who we are.
    None,
    /// Requests and answers are signed with shared secrets, as [`crate::signature`] describes.
    StandardWebhooks(Keyring),
    /// Requests are signed with secrets and key pairs; whoever answers proves nothing, and only the status of an answer is read.
    Webhook(Signers),
    /// `Authorization: Bearer …`.
    Bearer(Hidden),
    /// `Authorization: Basic …`.
    Basic {
        /// The user, without a colon.
        user: String,
        /// The password.
        password: Hidden,
    },
    /// Secrets in headers of the partner's own.
    Headers(Vec<(String, Hidden)>),
    /// A certificate of ours.
    Certificate(ClientCertificate),
    /// Signatures by a template.
    Hmac(HmacKey),
    /// A token that the host fetches as itself, kept until it ends.
    OauthClient(TokenServer),
}

impl Credential {
    /// Everything of it that nobody else may see.
    pub(crate) fn hidden(&self) -> Vec<Hidden> {
        match self {
            Credential::None | Credential::Webhook(_) | Credential::Certificate(_) => Vec::new(),
            Credential::StandardWebhooks(keys) => keys.revealed(),
            Credential::Bearer(token) => vec![token.clone()],
            Credential::Basic { user, password } => {
                vec![password.clone(), Hidden::new(format!("{user}:{}", password.reveal()))]
            }
            Credential::Headers(headers) => headers.iter().map(|(_, value)| value.clone()).collect(),
            Credential::Hmac(key) => vec![key.secret.clone()],
            Credential::OauthClient(server) => vec![server.secret.clone()],
        }
    }

    /// In a word, for reports.
    pub fn word(&self) -> &'static str {
        match self {
            Credential::None => "none",
            Credential::StandardWebhooks(_) => "standard-webhooks",
            Credential::Webhook(_) => "webhook",
            Credential::Bearer(_) => "bearer",
            Credential::Basic { .. } => "basic",
            Credential::Headers(_) => "header",
            Credential::Certificate(_) => "client-certificate",
            Credential::Hmac(_) => "hmac",
            Credential::OauthClient(_) => "oauth-client",
        }
    }
}

/// Where tokens are fetched, and who we are there.
#[derive(Clone, Debug)]
pub struct TokenServer {
    /// The token endpoint, whole. It is judged like every other address.
    pub address: Base,
    /// Who we are.
    pub client: String,
    /// The client's secret; empty for a public client, which proves itself by PKCE.
    pub secret: Hidden,
    /// How both are shown.
    pub shown: ClientShown,
    /// The scopes, in the partner's words.
    pub scopes: Vec<String>,
    /// The audience, if the server wants one.
    pub audience: Option<String>,
}

/// Authorities that an operator gave for one endpoint.
#[derive(Clone, Debug)]
pub struct Authorities(pub(crate) Arc<Vec<CertificateDer<'static>>>);

/// A certificate of ours with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// What is wrong with a text that should hold certificates or a key. The text itself is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No certificate in it.
    #[error("there is no certificate in it; give PEM: -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// No key in it.
    #[error("there is no private key in it; give PEM: -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// More than one endpoint needs.
    #[error("there are more than {CERTIFICATES_MAX} certificates in it")]
    TooMany,
    /// Key and certificate do not fit, or are of a sort that TLS does not know.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(String),
}

const CERTIFICATES_MAX: usize = 32;

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        found.push(certificate.map_err(|_| PemError::NoCertificate)?);
        if found.len() > CERTIFICATES_MAX {
            return Err(PemError::TooMany);
        }
    }
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

impl Authorities {
    /// Reads PEM.
    pub fn parse(pem: &str) -> Result<Authorities, PemError> {
        let found = certificates(pem)?;
        crate::tls::roots_of(&found).map_err(|error| PemError::Unusable(error.to_string()))?;
        Ok(Authorities(Arc::new(found)))
    }
}

impl ClientCertificate {
    /// Reads a chain, our own certificate first, and its key, both PEM.
    pub fn parse(chain: &str, key: &str) -> Result<ClientCertificate, PemError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| PemError::NoKey)?;
        let certificate = ClientCertificate { chain, key: Arc::new(key) };
        crate::tls::check_client(&certificate).map_err(|error| PemError::Unusable(error.to_string()))?;
        Ok(certificate)
    }
}
