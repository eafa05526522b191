//! What the guest that composes a file for a partner is told of it.

use serde::{Deserialize, Serialize};

/// A file for a partner, as the guest that composes it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingFile {
    /// Its name in the manifest.
    pub file: String,
    /// What it is called in the partner's directory.
    pub called: String,
    /// Its number, from 1 and without gaps.
    pub number: u32,
    /// The cut-off that it is for (Unix milliseconds).
    pub cut_off: u64,
}
