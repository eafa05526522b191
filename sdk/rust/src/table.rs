//! Pages of the console that a plugin fills.

pub use crate::bindings::table::exports::koban::plugin::table::{Request, Row, Subject};

use crate::Values;

impl Subject {
    /// What is remembered about them.
    pub fn values(&self) -> Values<'_> {
        Values(&self.values)
    }
}
