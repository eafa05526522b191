//! What a partner's end-of-day file comes to.

pub mod daily;

pub use crate::bindings::settlement::exports::koban::plugin::settlement::{Line, Side};
