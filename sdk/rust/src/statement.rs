//! Statements of wallets, and the files that are made of them.

pub use crate::bindings::statement::exports::koban::plugin::statement::Document;
pub use crate::bindings::statement::koban::plugin::accounts::{Account, Row};

impl Document {
    /// A file of this name, without any folder.
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Document {
        Document { name: name.to_owned(), content: content.into() }
    }
}
