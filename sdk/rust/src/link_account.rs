//! What a linking begins with.

pub use crate::bindings::link_account::exports::koban::plugin::link_account::Request;

use crate::Values;

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}
