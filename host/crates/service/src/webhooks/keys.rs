//! The keys of a webhook endpoint: made here, kept sealed, opened for each attempt.

use koban_domain::ids::WebhookId;
use koban_domain::time::Timestamp;
use koban_outside::{KeyPair, Keyring, Secret, Signers};
use koban_store::webhooks::{Sealed, WebhookRow};
use zeroize::Zeroizing;

use crate::app::App;
use crate::clock;
use crate::error::Error;
use crate::sealing;

/// Bytes of shared secret, and of the seed of a key pair.
const HALF: usize = 32;

/// What may be told of new keys.
pub(super) struct Fresh {
    /// `whsec_…`, for the endpoint's owner.
    pub(super) secret: String,
    /// The public half of the key pair.
    pub(super) public_key: [u8; 32],
}

/// New keys, sealed, and what may be told of them.
pub(super) fn make(app: &App, endpoint: WebhookId) -> Result<(Sealed, Fresh), Error> {
    let mut bytes = Zeroizing::new(vec![0; 2 * HALF]);
    clock::fill(&mut bytes);
    let (secret, pair) = halves(&bytes).ok_or_else(|| Error::Internal("new keys cannot be read".into()))?;
    let fresh = Fresh { secret: secret.reveal().to_string(), public_key: pair.public().0 };
    let sealed = app
        .sealer
        .seal(&sealing::about_webhook(endpoint), &bytes)
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok((Sealed { bytes: sealed.bytes, key_id: sealed.key_id }, fresh))
}

/// What an endpoint's messages are signed with now: its keys, and those before them while they overlap.
pub(super) fn open(app: &App, row: &WebhookRow, now: Timestamp) -> Result<Signers, Error> {
    let old = row.old_keys.as_ref().filter(|(_, until)| now < *until).map(|(keys, _)| keys);
    let (mut secrets, mut pairs) = (Vec::new(), Vec::new());
    for sealed in std::iter::once(&row.keys).chain(old) {
        let sealed = sealing::Sealed { key_id: sealed.key_id.clone(), bytes: sealed.bytes.clone() };
        let unreadable = |why: &str| Error::Internal(format!("the keys of {} cannot be opened: {why}", row.id));
        let bytes = app
            .sealer
            .open(&sealing::about_webhook(row.id), &sealed)
            .map_err(|error| unreadable(&error.to_string()))?;
        let (secret, pair) = halves(&bytes).ok_or_else(|| unreadable("not two halves; rotate them"))?;
        secrets.push(secret);
        pairs.push(pair);
    }
    let secrets = Keyring::new(secrets).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Signers { secrets, pairs })
}

fn halves(bytes: &[u8]) -> Option<(Secret, KeyPair)> {
    let (secret, seed) = bytes.split_at_checked(HALF)?;
    let seed = Zeroizing::new(<[u8; HALF]>::try_from(seed).ok()?);
    Some((Secret::from_bytes(Zeroizing::new(secret.to_vec())).ok()?, KeyPair::from_seed(seed)))
}
