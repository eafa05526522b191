//! A plugin's partner as an operator wrote it down: where it is, and the secrets that both sides sign with.

use koban_outside::{Base, Credential, Endpoint, Keyring};
use koban_store::endpoints;
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::Error;
use crate::sealing::{Sealed, about_endpoint};

/// The endpoint of a plugin's manifest, with address and secrets; none if the operator has not set it. Errors: what was set
/// cannot be read any more.
pub(crate) async fn endpoint(app: &App, plugin: &str, name: &str) -> Result<Option<Endpoint>, Error> {
    let Some(row) = endpoints::get(&app.store, plugin, name).await? else { return Ok(None) };
    let unreadable = |what: &str, error: String| {
        Error::Internal(format!("the {what} of endpoint `{plugin}/{name}` cannot be read: {error}; set it again"))
    };
    let base = Base::parse(&row.base).map_err(|error| unreadable("address", error.to_string()))?;
    let secrets = open(app, plugin, name, row.key_id, row.secret).map_err(|error| unreadable("secret", error))?;
    let text = std::str::from_utf8(&secrets).map_err(|_| unreadable("secret", "not text".to_owned()))?;
    let keys = Keyring::parse(text.split_whitespace()).map_err(|error| unreadable("secret", error.to_string()))?;
    Ok(Some(Endpoint {
        name: format!("{plugin}/{name}"),
        base,
        credential: Credential::StandardWebhooks(keys),
        allow_private: row.allow_private,
    }))
}

/// Seals the secrets of an endpoint. Errors: this host has no key to seal with.
pub(crate) fn seal(app: &App, plugin: &str, name: &str, secrets: &[String]) -> Result<Sealed, Error> {
    let plain = Zeroizing::new(secrets.join("\n").into_bytes());
    app.sealer.seal(&about_endpoint(plugin, name), &plain).map_err(|error| Error::Conflict(error.to_string()))
}

/// Opens the secrets of an endpoint. Those that were set before partners' secrets were sealed name no key and lie open until they
/// are set again or `koban key rotate` seals them.
fn open(app: &App, plugin: &str, name: &str, key_id: String, secret: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, String> {
    if key_id.is_empty() {
        return Ok(Zeroizing::new(secret));
    }
    let sealed = Sealed { key_id, bytes: secret };
    app.sealer.open(&about_endpoint(plugin, name), &sealed).map_err(|error| error.to_string())
}

/// The secrets that both sides of an endpoint sign with.
pub(crate) fn keys(endpoint: &Endpoint) -> Result<&Keyring, Error> {
    match &endpoint.credential {
        Credential::StandardWebhooks(keys) => Ok(keys),
        Credential::Webhook(_) => Err(Error::Internal(format!("`{}` is no partner's endpoint", endpoint.name))),
    }
}
