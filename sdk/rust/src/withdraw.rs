//! What a withdrawal begins with.

pub use crate::bindings::withdraw::exports::koban::plugin::withdraw::Request;

use crate::Values;

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}
