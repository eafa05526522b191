//! What a push of new rows begins with.

pub use crate::bindings::sync::exports::koban::plugin::sync::Request;

use crate::Values;

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}
