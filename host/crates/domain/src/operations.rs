//! Operations: what an actor asked under which key, and the outcome that sticks to it for ever.

use serde::{Deserialize, Serialize};

use crate::ledger::Answer;
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::time::Timestamp;

/// Names an operation for ever: the first 16 bytes of SHA-256 over the actor and the key it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct OperationKey(pub [u8; 16]);

/// What was asked: the first 16 bytes of SHA-256 over the route and the canonical body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// What a request brings into the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who asked under which key.
    pub key: OperationKey,
    /// What was asked.
    pub fingerprint: Fingerprint,
}

impl Claim {
    /// The claim of an actor's request: its idempotency key, the route and the body in canonical form.
    pub fn new(actor: &str, key: &str, route: &str, body: &[u8]) -> Claim {
        let key = Digest::of_parts(&[b"koban operation 1", actor.as_bytes(), key.as_bytes()]);
        let fingerprint = Digest::of_parts(&[b"koban request 1", route.as_bytes(), body]);
        Claim { key: OperationKey(key.half()), fingerprint: Fingerprint(fingerprint.half()) }
    }
}

/// A decided operation. Refusals stick as answers do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// What came of it.
    pub outcome: Result<Answer, Refusal>,
    /// When it was decided.
    pub at: Timestamp,
}

impl Operation {
    /// The outcome's bytes, version 1: the byte 1, then `a` and the postcard of the answer, or `r` and the code of the refusal. A
    /// refusal is kept by its code, so that a later list of them changes no outcome that was given.
    pub fn encode_outcome(&self) -> Vec<u8> {
        match &self.outcome {
            Ok(answer) => postcard::to_extend(answer, vec![1, b'a']).unwrap_or_default(),
            Err(refusal) => [&[1, b'r'], refusal.code().as_bytes()].concat(),
        }
    }

    /// Reads an outcome back; `None` if the bytes are damaged or of a later version.
    pub fn decode_outcome(bytes: &[u8]) -> Option<Result<Answer, Refusal>> {
        match bytes {
            [1, b'a', answer @ ..] => {
                // Refunds were given out before bonus was: theirs end two zeros earlier.
                let longer = || postcard::from_bytes(&[answer, &[0, 0]].concat()).ok();
                postcard::from_bytes(answer).ok().or_else(longer).map(Ok)
            }
            [1, b'r', code @ ..] => Refusal::ALL.into_iter().find(|refusal| refusal.code().as_bytes() == code).map(Err),
            _ => None,
        }
    }
}
