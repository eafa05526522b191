//! A file for a partner that works in batches, as the plugin that composes it is told.

pub use crate::bindings::files::exports::koban::plugin::files::Outgoing;
