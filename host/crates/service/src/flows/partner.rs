//! A plugin's partner as an operator wrote it down: where it is, and the secrets that both sides sign with.

use koban_outside::{Base, Credential, Endpoint, Keyring};
use koban_store::endpoints;

use crate::app::App;
use crate::error::Error;

/// The endpoint of a plugin's manifest, with address and secrets; none if the operator has not set it. Errors: what was set
/// cannot be read any more.
pub(crate) async fn endpoint(app: &App, plugin: &str, name: &str) -> Result<Option<Endpoint>, Error> {
    let Some(row) = endpoints::get(&app.store, plugin, name).await? else { return Ok(None) };
    let unreadable = |what: &str, error: String| {
        Error::Internal(format!("the {what} of endpoint `{plugin}/{name}` cannot be read: {error}; set it again"))
    };
    let base = Base::parse(&row.base).map_err(|error| unreadable("address", error.to_string()))?;
    let text = std::str::from_utf8(&row.secret).map_err(|_| unreadable("secret", "not text".to_owned()))?;
    let keys = Keyring::parse(text.split_whitespace()).map_err(|error| unreadable("secret", error.to_string()))?;
    Ok(Some(Endpoint {
        name: format!("{plugin}/{name}"),
        base,
        credential: Credential::StandardWebhooks(keys),
        allow_private: row.allow_private,
    }))
}

/// The secrets that both sides of an endpoint sign with.
pub(crate) fn keys(endpoint: &Endpoint) -> Result<&Keyring, Error> {
    match &endpoint.credential {
        Credential::StandardWebhooks(keys) => Ok(keys),
        Credential::Webhook(_) => Err(Error::Internal(format!("`{}` is no partner's endpoint", endpoint.name))),
    }
}
