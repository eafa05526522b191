//! What a use case may answer instead of its result. Web turns these into problems in one place.

use std::sync::Arc;

use koban_domain::ids::StepUpId;
use koban_domain::outcomes::Refusal;
use koban_domain::records::Fault;
use koban_store::{StoreError, StoreErrorKind};

use crate::trials::Foresight;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request cannot be used. Nothing was decided and nothing is kept.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, such as `amount.minor`.
        field: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// The books or a rule refused. The refusal sticks to the idempotency key.
    #[error("{refusal}")]
    Refused {
        /// Which refusal.
        refusal: Refusal,
        /// Whether the same key had this answer before.
        replayed: bool,
    },
    /// What would have come of a request that was only tried. Nothing was done.
    #[error("the request was only tried; nothing was done")]
    Foreseen(Box<Foresight>),
    /// A request of this kind cannot be tried.
    #[error("a request of this kind cannot be tried: what comes of it is not for the books alone to say")]
    TrialNotPossible,
    /// One of many that a request brought; why it could not be done.
    #[error("item {place}: {cause}")]
    Item {
        /// Its place, from 0.
        place: usize,
        /// Why.
        #[source]
        cause: Box<Error>,
    },
    /// A fraud rule wants the payer to prove again who they are. The refusal sticks to the key; once this challenge is confirmed, the
    /// same request may be sent under a new key with it.
    #[error("the payer must confirm who they are before this payment")]
    StepUp {
        /// What is to be confirmed.
        challenge: StepUpId,
        /// Whether the same key had this answer before.
        replayed: bool,
    },
    /// The key was used before for another request.
    #[error("this idempotency key was used for another request; use a new key")]
    KeyReused,
    /// The same request is being worked on.
    #[error("the first request with this key is still running; try again in a second")]
    KeyRunning,
    /// There is no such thing, or it is somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Nobody is signed in, or the session has ended.
    #[error("sign in first")]
    NotSignedIn,
    /// Email or password is wrong; which one is not said.
    #[error("email or password is wrong")]
    WrongCredentials,
    /// The identity is known but may not do this.
    #[error("this identity may not do this: {0}")]
    Forbidden(&'static str),
    /// Something of the kind exists already.
    #[error("{0}")]
    Exists(String),
    /// Something stands in the way; the message says what to do.
    #[error("{0}")]
    Conflict(String),
    /// Asked too often.
    #[error("too many requests; try again in {retry_after_s} s")]
    TooMany {
        /// When to come back.
        retry_after_s: u64,
    },
    /// The commit queue is full, or the host is stopping.
    #[error("the host is busy; try again in a second")]
    Busy,
    /// This host's clock leads the database server's by more than it may; nothing was decided.
    #[error("this host's clock is {lead_ms} ms ahead of the database server's; nothing was committed")]
    ClockLeads {
        /// By how much, in milliseconds.
        lead_ms: i64,
    },
    /// The plugin that is needed did not answer.
    #[error("the channel `{plugin}` does not answer")]
    PluginFault {
        /// Which plugin.
        plugin: String,
        /// What it did.
        #[source]
        fault: Fault,
    },
    /// The plugin itself refused.
    #[error("the channel `{plugin}` refused: {message}")]
    PluginRefused {
        /// Which plugin.
        plugin: String,
        /// Its own code, from its manifest.
        code: String,
        /// For operators.
        message: String,
        /// For the user, in the user's language.
        text: Option<String>,
    },
    /// A partner's call carries no valid signature.
    #[error("the call is not signed as this endpoint asks: {0}")]
    BadSignature(String),
    /// The store cannot be reached or failed.
    #[error("the books cannot be reached")]
    Store(#[source] Arc<StoreError>),
    /// The disk of the books is full; nothing was decided, and reading works.
    #[error("the disk of the books is full")]
    StorageFull(#[source] Arc<StoreError>),
    /// The disk of the books takes no writes; nothing was decided, and reading works.
    #[error("the books cannot be written")]
    StorageUnwritable(#[source] Arc<StoreError>),
    /// What should not happen did. The cause is in the log.
    #[error("something went wrong in the host: {0}")]
    Internal(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::from(Arc::new(error))
    }
}

impl From<Arc<StoreError>> for Error {
    fn from(error: Arc<StoreError>) -> Error {
        match error.kind() {
            StoreErrorKind::Full => Error::StorageFull(error),
            StoreErrorKind::Unwritable => Error::StorageUnwritable(error),
            _ => Error::Store(error),
        }
    }
}

impl Error {
    /// A field that cannot be used.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Invalid { field: field.into(), problem: problem.into() }
    }

    /// The same about one of many.
    pub fn at(self, place: usize) -> Error {
        Error::Item { place, cause: Box::new(self) }
    }

    /// A refusal decided now.
    pub fn refused(refusal: Refusal) -> Error {
        Error::Refused { refusal, replayed: false }
    }
}
