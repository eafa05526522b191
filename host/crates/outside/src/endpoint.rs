//! An endpoint: where a partner is, how we prove who we are there, and what the operator allowed.

use crate::base::Base;
use crate::signature::Keyring;
use crate::webhook::Signers;

/// One partner's address, as an operator wrote it down.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Unique among all endpoints of the host, such as `charge-atm/network`: breakers and log lines go by it.
    pub name: String,
    /// Where requests go.
    pub base: Base,
    /// How both sides prove who they are.
    pub credential: Credential,
    /// The operator's word, for this endpoint alone: private addresses may be connected to, also without TLS.
    pub allow_private: bool,
}

/// How both sides prove who they are. The list is closed: a new kind is written here, not brought by a plugin.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Requests and answers are signed with shared secrets, as [`crate::signature`] describes.
    StandardWebhooks(Keyring),
    /// Requests are signed with secrets and key pairs; whoever answers proves nothing, and only the status of an answer is read.
    Webhook(Signers),
}
