//! TLS to partners: whom we believe, and which certificate of ours we show.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::endpoint::{ClientCertificate, Credential, Endpoint};

/// What all connections share.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    usual: TlsConnector,
}

impl Tls {
    /// The public authorities and these.
    pub(crate) fn new(roots: RootCertStore) -> Result<Tls, rustls::Error> {
        let provider = provider();
        let roots = Arc::new(roots);
        let usual = config(&provider, &roots, None)?;
        Ok(Tls { provider, roots, usual: TlsConnector::from(Arc::new(usual)) })
    }

    /// What an endpoint is connected to with. An endpoint with authorities of its own is believed by no others: a certificate from a public
    /// authority for the bank's name opens nothing there.
    pub(crate) fn connector(&self, endpoint: &Endpoint) -> Result<TlsConnector, rustls::Error> {
        let ours = match &endpoint.credential {
            Credential::Certificate(certificate) => Some(certificate),
            _ => None,
        };
        if endpoint.authorities.is_none() && ours.is_none() {
            return Ok(self.usual.clone());
        }
        let roots = match &endpoint.authorities {
            Some(own) => Arc::new(roots_of(&own.0)?),
            None => Arc::clone(&self.roots),
        };
        Ok(TlsConnector::from(Arc::new(config(&self.provider, &roots, ours)?)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    ours: Option<&ClientCertificate>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots));
    let mut config = match ours {
        None => builder.with_no_client_auth(),
        Some(ours) => builder.with_client_auth_cert(ours.chain.clone(), ours.key.clone_key())?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A store of these authorities alone.
pub(crate) fn roots_of(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

/// Whether a certificate of ours and its key belong together.
pub(crate) fn check_client(ours: &ClientCertificate) -> Result<(), rustls::Error> {
    config(&provider(), &Arc::new(RootCertStore::empty()), Some(ours)).map(|_| ())
}
