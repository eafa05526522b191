//! Checkpoints: where the chain stood at some time, signed, and what a chain that disagrees with them has suffered.

use serde::{Deserialize, Serialize};

use crate::journal::Head;
use crate::records::Digest;

/// Where a lane's chain stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which lane.
    pub lane: u16,
    /// Entries until then.
    pub sequence: i64,
    /// The last one's hash; zeros before the first.
    pub hash: Digest,
    /// When the checkpoint was made, Unix milliseconds.
    pub at: i64,
}

impl Checkpoint {
    /// What is signed: `KBNC`, version 1, then lane (2 bytes), sequence (8), hash (32) and time (8), big-endian.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(55);
        bytes.extend_from_slice(b"KBNC\x01");
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes
    }
}

/// A line of a file of checkpoints: the checkpoint, whose key signed it, and the signature, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which lane.
    pub lane: u16,
    /// Entries until then.
    pub sequence: i64,
    /// The last one's hash.
    pub hash: Digest,
    /// When, Unix milliseconds.
    pub at: i64,
    /// The public Ed25519 key, 32 bytes.
    pub key: String,
    /// The Ed25519 signature (RFC 8032) over [`Checkpoint::signed_bytes`], 64 bytes.
    pub signature: String,
}

impl Line {
    /// What the line says.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { lane: self.lane, sequence: self.sequence, hash: self.hash, at: self.at }
    }
}

/// What a chain has suffered since a checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suffered {
    /// The chain ends before the checkpoint: entries behind `ends_at` are gone.
    TailCut {
        /// The chain's last entry.
        ends_at: Head,
        /// What had been there.
        checkpoint: Checkpoint,
    },
    /// The entry has another hash: it, or one after the last checkpoint that still holds, was written anew.
    Rewritten {
        /// The last entry that a checkpoint still vouches for.
        good_until: i64,
        /// What had been there.
        checkpoint: Checkpoint,
        /// The hash found.
        found: Digest,
    },
}

impl std::fmt::Display for Suffered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Suffered::TailCut { ends_at, checkpoint } => write!(
                f,
                "the tail was cut off: the journal ends at entry {}, and at {} it had {} (hash {})",
                ends_at.sequence,
                crate::time::Timestamp(checkpoint.at),
                checkpoint.sequence,
                checkpoint.hash
            ),
            Suffered::Rewritten { good_until, checkpoint, found } => write!(
                f,
                "history was rewritten between entry {} and entry {}: entry {} had the hash {} at {}, now it has {found}",
                good_until + 1,
                checkpoint.sequence,
                checkpoint.sequence,
                checkpoint.hash,
                crate::time::Timestamp(checkpoint.at),
            ),
        }
    }
}

/// Compares one checkpoint with the hash that the chain has at its sequence, if it reaches that far. `good_until` is the
/// sequence of the last checkpoint before it that held.
pub fn compare(checkpoint: Checkpoint, found: Option<Digest>, head: Head, good_until: i64) -> Option<Suffered> {
    match found {
        None => Some(Suffered::TailCut { ends_at: head, checkpoint }),
        Some(found) if found != checkpoint.hash => Some(Suffered::Rewritten { good_until, checkpoint, found }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const CHECKPOINT: Checkpoint = Checkpoint { lane: 0, sequence: 5, hash: Digest([5; 32]), at: 1_537_851_600_000 };

    #[test]
    fn the_signed_bytes_are_as_documented() {
        expect_test::expect!["4b424e4301000000000000000000050505050505050505050505050505050505050505050505050505050505050505000001660f192c80"]
            .assert_eq(&hex::encode(CHECKPOINT.signed_bytes()));
    }

    #[test]
    fn a_cut_tail_and_a_rewritten_entry_are_told_apart() {
        let head = Head { sequence: 4, hash: Digest([4; 32]), at: Timestamp(0) };
        assert_eq!(compare(CHECKPOINT, Some(Digest([5; 32])), head, 3), None);
        let cut = compare(CHECKPOINT, None, head, 3).unwrap().to_string();
        assert!(cut.contains("ends at entry 4") && cut.contains("it had 5"), "{cut}");
        let rewritten = compare(CHECKPOINT, Some(Digest([6; 32])), head, 3).unwrap().to_string();
        assert!(rewritten.contains("between entry 4 and entry 5"), "{rewritten}");
    }
}
