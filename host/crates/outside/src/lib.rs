//! The way out: calls to partners over HTTP, the signatures of the calls that partners make, and the directories that are shared with them.
//!
//! This room knows no ledger and no guest. It is given an [`Endpoint`] that an operator wrote down, a [`Request`] that somebody decided on and
//! the time, and says in one of five words how it went ([`Sent`]). What it guarantees, whoever asks:
//! - nothing is sent to an address that [`address`] refuses, and the address that was checked is the one that is connected to;
//! - [`Sent::NotSent`] is said only if no byte of the request left this process; whatever is less certain is [`Sent::Unknown`];
//! - an answer is handed on only after its signature was checked;
//! - redirects are not followed, proxies of the environment are not used, compressed answers are not accepted;
//! - sizes, times and connections are bounded ([`Bounds`]), requests to one endpoint by its rate and its places ([`Limits`]), and an endpoint that keeps
//!   failing is left alone for a while ([`breaker`]);
//! - secrets are put in here and struck out of what comes back ([`hidden`]): who asks for a request never holds them.

pub mod address;
pub mod base;
pub mod breaker;
mod connection;
pub mod directories;
pub mod endpoint;
mod gates;
pub mod hidden;
mod message;
mod probe;
pub mod request;
pub mod send;
pub mod signature;
pub mod template;
mod tls;
pub mod token;
pub mod webhook;

pub use base::{Base, BaseError};
pub use breaker::Stands;
pub use directories::{Directories, DirectoryError, Lies, Listed};
pub use endpoint::{Authorities, ClientCertificate, Credential, Endpoint, Limits, PemError, TokenServer};
pub use gates::{GateView, Place};
pub use hidden::Hidden;
pub use probe::{Finding, How};
pub use request::{Request, RequestRefused, encode_query};
pub use send::{Answer, Asked, Bounds, NotSent, Outside, OutsideError, Refused, Resolver, Sent, Settings, Unknown};
pub use signature::{Keyring, Secret, SecretError, SignatureError, Verified, sign_answer, verify};
pub use template::{HmacKey, Told};
pub use token::{Grant, NoToken, Token};
pub use webhook::{Delivered, KeyPair, PublicKey, Receiver, Signers};
