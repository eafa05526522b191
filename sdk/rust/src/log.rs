//! Lines for operators, kept with the record of the call.

use crate::bindings::plugin::koban::plugin::log::Level;

/// For whoever is looking for a mistake.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Something worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something odd that the plugin could deal with.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that should not have happened.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::bindings::plugin::koban::plugin::log::write(level, message);
}

/// Natively there is no host: the line goes to the test's output.
#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
